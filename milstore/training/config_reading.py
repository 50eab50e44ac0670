"""Reads a training's configuration: a preset, then a TOML file, then command-line options, each overriding the former.

Nothing here imports torch, so that `milstore train --help` and a refused option answer at once.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from milstore.errors import DataError, UsageError
from milstore.models.registry import DEFAULT as DEFAULT_MODEL
from milstore.store.tomlfile import read_toml
from milstore.training.config import TrainingConfig, check_choice, option_fields
from milstore.training.model_settings import lay_settings
from milstore.training.presets import PRESETS


def read_config(
    path: Path | None, options: Mapping[str, object], preset: str | None = None, assignments: Sequence[str] = ()
) -> TrainingConfig:
    """The configuration of a preset, overridden by a TOML file, and both by options.

    Args:
        path: TOML file whose keys are TrainingConfig's fields; its table [model] holds settings of the model, and may
            say by `name` which model. None for none.
        options: fields given on the command line; they win. None values count as not given.
        preset: one of PRESETS, in place of the defaults; None for these.
        assignments: settings of the model, each as name=value (`--set`).

    Raises:
        UsageError: no such file, preset or model, broken TOML, an unknown key (the nearest is offered), a value of the
            wrong type or out of its range, or settings of another model.
    """
    if preset is not None:
        check_choice("preset", preset, tuple(PRESETS))
    values = dict(PRESETS[preset]) if preset is not None else {}
    from_file, table = ({}, {}) if path is None else _read_toml(path)
    given = {name: value for name, value in options.items() if value is not None}
    model = str(given.get("model", table.get("name", from_file.get("model", DEFAULT_MODEL))))
    if preset is not None and model != values["model"]:
        raise UsageError(f"--preset {preset} is of the model {values['model']}: leave it out, or --model {model}")
    told = lay_settings(
        model, from_file, {key: value for key, value in table.items() if key != "name"}, given, assignments,
        where=f"--config {path}", of_table=str(table.get("name", from_file.get("model", model))),
    )  # fmt: skip
    return TrainingConfig(**{**values, **from_file, **told.below, **given, **told.above, "model": model})


def _read_toml(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that a file gives, and its table [model]."""
    try:
        values = read_toml(path, "a configuration")
    except DataError as error:
        raise UsageError(f"--config {error}") from error
    except FileNotFoundError as error:
        raise UsageError(f"--config {path}: {error.strerror}: give a readable TOML file") from error
    table = values.pop("model") if isinstance(values.get("model"), dict) else {}
    known = {each.name: type(each.default) for each in option_fields()}
    for key in values:
        if key not in known:
            # Of megabytes, comparing takes long, and nothing is near.
            near = get_close_matches(key[:100].replace("-", "_"), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
            raise UsageError(f"--config {path}: unknown key {key!r}: {hint}")
    # What TOML writes more naturally than the command line does: whole numbers for real ones, a list of weights.
    for key, value in values.items():
        if known[key] is float and type(value) is int:
            values[key] = float(value)
        if key == "class_weights" and isinstance(value, list):
            values[key] = ",".join(f"{weight}" for weight in value)
    return values, table
