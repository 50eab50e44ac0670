"""Evaluates weights of the study's trainers on the store's features: predictions and attention of each case.

torch and the models are imported where they are used: most imports of runs need neither.

Legend: N patches, G slices, S stains of one case, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import DataError
from milstore.ingest.member_positions import rows_in
from milstore.store.features import PackedFeatures
from milstore.store.names import natural_key
from milstore.store.patch_index import PLACE
from milstore.store.run_reader import MODEL_CODE

if TYPE_CHECKING:
    from milstore.formats.study_checkpoint import StudyCheckpoint
    from milstore.models.hierarchical import Hierarchical

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
MODEL = "hierarchical"


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """What weights say."""

    attention: pa.Table
    """The table `attention` without rank and n_patches, of every patch that was shown to the model."""
    chances_of: Mapping[str, Floats]
    """Of each case, in the order of the trainer's own classes."""


def seen_rows(packed: PackedFeatures, seen: pa.Table) -> Mask:
    """Which rows of `packed.patches` are among some patches (case_id, stain, slice_idx, patch_idx)."""
    found: Mask = rows_in(packed.patches, seen.cast(packed.patches.schema), PLACE) >= 0
    return found


def evaluate_weights(checkpoint: "StudyCheckpoint", packed: PackedFeatures, seen: Mask) -> Evaluated:
    """Run the model over all cases, in float32 as the trainers did.

    Args:
        checkpoint: the weights.
        packed: the features.
        seen: which rows of `packed.patches` are shown to the model; a case without any is left out.

    Raises:
        DataError: the weights take vectors of another length.
    """
    import torch

    from milstore.models.attention import levels
    from milstore.models.interface import make_bag

    if checkpoint.n_features != packed.n_features:
        raise DataError(
            f"{checkpoint.path} takes vectors of {checkpoint.n_features} numbers, and those of encoder {packed.encoder} "
            f"have {packed.n_features}: name the encoder that it was trained with by --encoder"
        )
    model = _model(checkpoint)
    columns: dict[str, list[Any]] = {name: [] for name in ("stain", "slice", "patch", "effective")}
    rows, chances = [], {}
    for case_id in sorted(packed.case_rows, key=natural_key):
        first, end = packed.case_rows[case_id]
        kept = np.flatnonzero(seen[first:end])
        if not len(kept):
            continue
        place = packed.patches.slice(first, end - first).take(pa.array(kept))
        slice_N, stain_G = _groups(place)
        vectors = torch.from_numpy(packed.read(case_id)[kept].astype(np.float32))
        with torch.no_grad():
            bag = make_bag(vectors, torch.from_numpy(slice_N), torch.from_numpy(stain_G))
            output = model(bag)
            assert output.attention is not None
            found = levels(output.attention, bag)
            chances[case_id] = output.logits_C.double().softmax(0).numpy()
        columns["stain"].append(found.stain_S[stain_G][slice_N])
        columns["slice"].append(found.slice_G[slice_N])
        columns["patch"].append(found.patch_N)
        columns["effective"].append(found.effective_N)
        rows.append(first + kept)
    table = packed.patches.take(pa.array(_joined(rows).astype(np.int64))).select(list(PLACE))
    for name, parts in columns.items():
        table = table.append_column(f"{name}_attention", pa.array(_joined(parts).astype(np.float32)))
    return Evaluated(attention=table, chances_of=chances)


def _joined(parts: list[Any]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)


def _groups(place: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The slice of each patch, and the stain of each slice, from 0, as the rows' order has them."""
    pairs = list(zip(place["stain"].to_pylist(), place["slice_idx"].to_pylist(), strict=True))
    slices = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
    stains = {stain: i for i, stain in enumerate(dict.fromkeys(stain for stain, _ in slices))}
    slice_N = np.array([slices[pair] for pair in pairs], np.int64)
    return slice_N, np.array([stains[stain] for stain, _ in slices], np.int64)


def _model(checkpoint: "StudyCheckpoint") -> "Hierarchical":
    """The hierarchical model with these weights, in evaluation mode."""
    from torch import nn

    from milstore.models.hierarchical import Hierarchical

    model = Hierarchical(_config(checkpoint), checkpoint.n_features, checkpoint.n_classes)
    # By torch's own product, which the trainers used: ours is faster and rounds otherwise, by 1e-6 of a weight.
    plain = nn.Linear(checkpoint.n_features, checkpoint.hidden)
    model.project.linear = plain  # type: ignore[assignment]
    model.load_state_dict(dict(checkpoint.state))
    return model.eval()


def _config(checkpoint: "StudyCheckpoint") -> "Hierarchical.Config":
    from milstore.models.hierarchical import Hierarchical

    return Hierarchical.Config(hidden=checkpoint.hidden, attention_dim=checkpoint.attention_dim, gated=checkpoint.gated)


def model_facts(checkpoint: "StudyCheckpoint") -> dict[str, Any]:
    """What `run.json` says of the model: its name, what it was made of, and how many weights it has."""
    from milstore.models.hierarchical import Hierarchical

    code = {
        "class": f"{Hierarchical.__module__}:{Hierarchical.__qualname__}",
        "config": asdict(_config(checkpoint)),
        "sha256": {},
        "source": {},
    }
    n_parameters = sum(value.numel() for value in checkpoint.state.values())
    return {"model": MODEL, MODEL_CODE: code, "n_parameters": n_parameters}


def weights_writer(
    checkpoint: "StudyCheckpoint", label_in_store: list[int], facts: Mapping[str, Any]
) -> Callable[[Path], None]:
    """What writes the weights as a training writes its own, the classes in the order of the store's labels."""

    def write(path: Path) -> None:
        import json

        import torch
        from safetensors.torch import save

        order = torch.tensor([label_in_store.index(label) for label in range(len(label_in_store))])
        state = dict(checkpoint.state)
        for name in ("classify.1.weight", "classify.1.bias"):
            state[name] = state[name][order]
        weights = {f"inner.{name}": value.contiguous() for name, value in state.items()}
        path.write_bytes(save(weights, metadata={"milstore": json.dumps(facts, sort_keys=True)}))

    return write
