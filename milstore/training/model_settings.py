"""Reads the settings of a model: from options, a TOML file's table [model], and `--set name=value`.

Nothing here imports torch, unless a user's own model is named, whose file does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from milstore.errors import UsageError
from milstore.models.registry import DEFAULT, describe
from milstore.models.settings import check_values, read_settings
from milstore.userfile import is_path

MODEL_FIELDS = (
    "pooling",
    "hidden",
    "attention_dim",
    "gated",
    "dropout",
    "attention_dropout",
    "classifier_dropout",
)
"""The settings of the default model, which are fields of TrainingConfig and options of their own."""


class Told(NamedTuple):
    """The given settings of a model, as fields of TrainingConfig."""

    below: dict[str, Any]
    """What options of their own win over."""
    above: dict[str, Any]
    """What wins over all."""


def known_as(model: str) -> str:
    """A model's name in a run: that of a built-in model, or the class of a user's own.

    >>> known_as("abmil"), known_as("./models/mine.py:Mine")
    ('abmil', 'Mine')
    """
    return model.rpartition(":")[2] if is_path(model) else model


def lay_settings(
    model: str,
    fields: Mapping[str, Any],
    table: Mapping[str, Any],
    options: Mapping[str, Any],
    assignments: Sequence[str],
    *,
    where: str,
    of_table: str,
) -> Told:
    """The settings of a model, from all places where they can be given, checked by name and type.

    Args:
        model: which model.
        fields: the fields of TrainingConfig that the TOML file gives.
        table: its table [model].
        options: the fields that options give.
        assignments: each name=value.
        where: the file, for errors.
        of_table: the model that the file is of.

    Raises:
        UsageError: there is no such model or setting, a value is of the wrong type, a setting is said twice, or one of
            the default model is said of another.
    """
    if table and of_table != model:
        raise UsageError(f"{where}: its [model] is of {of_table}, and --model says {model}: leave one of them out")
    if model != DEFAULT:
        refuse_fields_of_default(model, {**fields, **options})
    elif not table and not assignments:
        return Told({}, {})
    known = describe(model).settings
    from_table = check_values(table, known, f"{where}, [model]")
    from_set = read_settings(assignments, known)
    if model != DEFAULT:
        return Told({}, {"settings": {**from_table, **from_set}})
    for name in from_table:
        if name in fields:
            raise UsageError(f"{where}: {name} stands both at the top and under [model]: leave one of them out")
    for name in from_set:
        if name in options:
            raise UsageError(f"--set {name} and {_option(name)} are the same: leave one of them out")
    return Told(from_table, from_set)


def refuse_fields_of_default(model: str, given: Mapping[str, Any]) -> None:
    """Raises UsageError if an option of the default model is given for another model."""
    for name in MODEL_FIELDS:
        if name in given:
            raise UsageError(
                f"{_option(name)} is a setting of the model {DEFAULT}: for {known_as(model)} write --set name=value "
                f"(milstore models {model} lists its settings)"
            )


def _option(field: str) -> str:
    return "--" + field.replace("_", "-")
