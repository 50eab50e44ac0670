"""The stored form of a training's configuration: JSON, hashed and compared across versions."""

import json
from dataclasses import fields
from typing import Any

from milstore.models.registry import DEFAULT as DEFAULT_MODEL
from milstore.store.configuration import differing, hash_of, in_words, sorted_json
from milstore.training.config import TrainingConfig
from milstore.training.model_settings import MODEL_FIELDS, known_as
from milstore.training.presets import HASHED_IF_USED, SINCE_0_2, WHEN_ABSENT


def config_from_json(text: str, model: str | None = None) -> TrainingConfig:
    """The configuration that `canonical_json` wrote for a run, by this version or an earlier one.

    Args:
        text: the JSON.
        model: ./file.py:Class of a user's own model, of which the JSON knows the class alone.
    """
    known = {each.name for each in fields(TrainingConfig)}
    stored = {**WHEN_ABSENT, **json.loads(text)}
    if model is not None:
        stored["model"] = model
    return TrainingConfig(**{name: value for name, value in stored.items() if name in known})


def same_settings(theirs: str, ours: str) -> bool:
    """Whether two configurations' JSON stand for the same training, whichever version wrote them."""
    return _complete(theirs) == _complete(ours)


def _complete(text: str) -> dict[str, Any]:
    """A stored configuration, completed by today's rules: in the first version the split set was a part of it."""
    return {name: value for name, value in {**WHEN_ABSENT, **json.loads(text)}.items() if name != "split_set"}


def canonical_json(config: TrainingConfig, *, encoder: str) -> str:
    """The full configuration as JSON with sorted keys: every field, and the encoder.

    Split set, split and seed are not in it: runs that differ in nothing else are one experiment.
    """
    return sorted_json({**stored_fields(config), "encoder": encoder})


def stored_fields(config: TrainingConfig) -> dict[str, Any]:
    """The fields of a configuration that stand for it, as plain JSON values.

    Of the default model, no word of the model, and of what 0.2 added only what is used: so a configuration has the hash
    that it had before. Of any other model, its settings and the SHA-256 of its files in place of the default's fields,
    and no path: a file may be moved.
    """
    values = {each.name: getattr(config, each.name) for each in fields(config)}
    needless = {name for name in SINCE_0_2 if values[name] == WHEN_ABSENT[name]}
    if config.model == DEFAULT_MODEL:
        needless |= {"model", "settings", "model_sha256"}
    else:
        needless |= set(MODEL_FIELDS)
        values |= {
            "model": known_as(config.model),
            "settings": dict(config.settings),
            "model_sha256": dict(config.model_sha256),
        }
    return {name: value for name, value in values.items() if name not in needless}


def config_hash(config_json: str) -> str:
    """SHA-256 of a configuration by the rule of `milstore.schema.CONFIG_VERSION`, in hexadecimal, whichever version wrote it.

    Hashes of other versions are never compared: they are computed again from the stored configuration.
    """
    whole = _complete(config_json)
    return hash_of(
        {name: value for name, value in whole.items() if name not in HASHED_IF_USED or value != WHEN_ABSENT[name]}
    )


def default_experiment(config_json: str) -> str:
    """Name of an experiment that was given none: `mil-` and the first six digits of the configuration's hash."""
    return f"mil-{config_hash(config_json)[:6]}"


def differences(theirs: str, ours: str) -> list[str]:
    """What differs between two configurations' JSON, such as `lr 0.0003 there, 0.001 here`."""
    there, here = _complete(theirs), _complete(ours)
    if there["model"] != here["model"]:
        # Settings of two models cannot be compared.
        for of in (there, here):
            for name in (*MODEL_FIELDS, "settings", "model_sha256"):
                of.pop(name, None)
    files = [
        f"{name} is another file"
        for name, _, _ in differing(there.pop("model_sha256", {}), here.pop("model_sha256", {}))
    ]
    settings = differing(there.pop("settings", {}), here.pop("settings", {}))
    return in_words(differing(there, here) + settings) + files
