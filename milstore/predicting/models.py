"""The model of a finished run: built as its configuration says, with its weights and its standardisation."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from milstore.errors import MilstoreError, StoreError
from milstore.predicting.sources import Source
from milstore.store.io import sha256_of
from milstore.store.paths import Store
from milstore.store.plain import check_plain
from milstore.store.run_reader import WEIGHTS
from milstore.training.model_choice import ChosenModel, choose_model, model_of_run
from milstore.training.objective import Standardised
from milstore.training.stored_config import config_from_json


@dataclass(frozen=True)
class LoadedRun:
    """A model that answers."""

    source: Source
    chosen: ChosenModel
    model: Standardised
    class_names: tuple[str, ...]
    """Names of the classes that it knows, in the order of their numbers."""
    n_features: int
    stains: tuple[str, ...]
    """The stains of the store when it was trained."""


def load_run(store: Store, source: Source, given: str | None, device: torch.device) -> LoadedRun:
    """The model of a run.

    Args:
        store: the store.
        source: the run.
        given: ./file.py:Class, where the model is the user's own: a file is never executed because a store says so.
        device: where it is to compute.

    Raises:
        UsageError: `given` is missing, or of another model.
        DataError: the model's files are not those that the run was trained with.
        StoreError: the weights cannot be read, are not what was stored, or do not fit the model.
    """
    from safetensors.torch import load

    file = model_of_run(source.run_id, source.facts, given)
    chosen = choose_model(config_from_json(source.facts["config"], file))
    path = store.run_folder(source.run_id) / WEIGHTS
    again = "run milstore doctor"
    try:
        check_plain(path, store.root)
        if sha256_of(path) != source.facts["files"][WEIGHTS]["sha256"]:
            raise StoreError(f"{path} is not what was stored (SHA-256 differs): {again}")
        content = path.read_bytes()
        said = _metadata(content)
        names, stains, n_features = tuple(said["class_names"]), tuple(said.get("stains") or ()), int(said["n_features"])
        model = Standardised(
            chosen.build(n_features, len(names), stains), n_features, standardise=chosen.config.standardise == "train"
        )
        model.load_state_dict(_named_as_now(load(content)))
    except MilstoreError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise StoreError(f"{path} cannot be used ({why}): {again}") from error
    return LoadedRun(source, chosen, model.to(device).eval(), names, n_features, stains)


def _metadata(content: bytes) -> Mapping[str, Any]:
    """What a training wrote beside its weights. ValueError or KeyError if there is no such thing."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    found: Mapping[str, Any] = json.loads(header["__metadata__"]["milstore"])
    return found


_OF_VERSION_1 = {"project": "inner.project.linear", "classify": "inner.classify.1"} | {
    f"{level}_pool": f"inner.{level}_pool.score" for level in ("stain", "slice", "patch")
}
"""What the parts of the one model of 0.1 are called now."""


def _named_as_now(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights by the names that they have now; those of 0.1 clipped nothing."""
    if any(name.startswith("inner.") for name in weights):
        return weights
    named = {}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        named[f"{_OF_VERSION_1.get(part, part)}.{rest}"] = value
    return named | ({"standardise.clip": torch.tensor(torch.inf)} if "standardise.shift_D" in named else {})
