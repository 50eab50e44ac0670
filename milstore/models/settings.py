"""A model's settings: the fields of its `Config`, listed, parsed from `--set name=value`, and checked.

Nothing here imports torch, so that a list of models and a refused setting answer at once.
"""

import ast
import dataclasses
import inspect
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

from milstore.errors import UsageError

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a model's `Config`."""

    name: str
    kind: type
    """int, float, bool or str."""
    default: Any
    help: str
    """The line under the field; empty where there is none."""
    choices: tuple[str, ...] = ()
    """What a text may be; empty for any."""

    @property
    def kind_name(self) -> str:
        """What to give, as text: the choices, or the kind of value."""
        return " | ".join(self.choices) if self.choices else _WORDS[self.kind]


def settings_of(config: type[Any]) -> tuple[Setting, ...]:
    """The fields of a model's `Config`.

    Raises:
        UsageError: it is no frozen dataclass, or a field is no plain value or has no default.
    """
    if config not in _KNOWN:
        _KNOWN[config] = _read(config)
    return _KNOWN[config]


def settings_in(source: str, class_name: str) -> tuple[Setting, ...]:
    """The fields of the `Config` nested in a class, read from a built-in model's source without running it.

    What it takes to list models without importing torch. Fields are annotated int, float, bool, str or Literal[...],
    and their defaults are written out.
    """
    config = next(
        each
        for part in lineage(source, class_name)
        for each in part.body
        if isinstance(each, ast.ClassDef) and each.name == "Config"
    )
    lines = _help_in(config)
    found = []
    for statement in config.body:
        if not isinstance(statement, ast.AnnAssign):
            continue
        assert isinstance(statement.target, ast.Name) and statement.value is not None
        choices: tuple[str, ...] = ()
        if isinstance(statement.annotation, ast.Subscript):
            choices = tuple(ast.literal_eval(statement.annotation.slice))
            kind: type = str
        else:
            kind = {each.__name__: each for each in _WORDS}[ast.unparse(statement.annotation)]
        name, default = statement.target.id, ast.literal_eval(statement.value)
        found.append(Setting(name, kind, default, lines.get(name, ""), choices))
    return tuple(found)


def lineage(source: str, class_name: str) -> list[ast.ClassDef]:
    """The definition of a class at the top of a module's source, then of the classes there that it inherits from.

    KeyError where there is no such class.
    """
    classes = {each.name: each for each in ast.parse(source).body if isinstance(each, ast.ClassDef)}
    found = [classes[class_name]]
    for part in found:
        found += [classes[base.id] for base in part.bases if isinstance(base, ast.Name) and base.id in classes]
    return found


def read_settings(assignments: Iterable[str], settings: Sequence[Setting]) -> dict[str, Any]:
    """The values of `--set name=value`, each of its field's type; the last of a name wins.

    Raises:
        UsageError: no `=`, an unknown name (the nearest is offered), or a value of the wrong type.

    >>> dropout = Setting("dropout", float, 0.3, "")
    >>> read_settings(["dropout=.5"], [dropout])
    {'dropout': 0.5}
    """
    by_name = {setting.name: setting for setting in settings}
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set {assignment!r}: write name=value, such as --set {_example(settings)}")
        setting = by_name.get(name)
        if setting is None:
            raise _unknown(name, by_name, "--set")
        values[name] = _parsed(setting, text.strip())
    return values


def make_config(config: type[Any], values: Mapping[str, object], where: str = "--set") -> Any:
    """A model's `Config` with these values in place of its defaults.

    Args:
        config: the model's `Config`.
        values: by the field's name: what `read_settings` gave, or a TOML file's table [model], where a whole number
            stands for a real one too.
        where: where the values come from, for errors.

    Raises:
        UsageError: an unknown name, a value of the wrong type, or one that the model refuses.
    """
    checked = check_values(values, settings_of(config), where)
    try:
        return config(**checked)
    except ValueError as error:
        raise UsageError(f"{where}: {' '.join(str(error).split())}") from error


def check_values(values: Mapping[str, object], settings: Sequence[Setting], where: str) -> dict[str, Any]:
    """Values by the names of their fields, each of its field's type.

    Args:
        values: by name, as for `make_config`.
        settings: the fields.
        where: where the values come from, for errors.

    Raises:
        UsageError: an unknown name, or a value of the wrong type.
    """
    by_name = {setting.name: setting for setting in settings}
    checked = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in by_name:
            raise _unknown(name, by_name, where)
        checked[name] = _checked(by_name[name], value, where)
    return checked


def check_settings(config: Any, *, at_least_1: Iterable[str] = (), shares: Iterable[str] = ()) -> None:
    """Check the values of a `Config` that a notebook made: their types, and the ranges that are told.

    Args:
        config: the settings.
        at_least_1: fields that are 1 or more.
        shares: fields from 0 to below 1.

    Raises:
        UsageError: a value of the wrong type or out of its range.
    """
    for setting in settings_of(type(config)):
        _checked(setting, getattr(config, setting.name), "--set")
    for name in at_least_1:
        require(name, getattr(config, name), getattr(config, name) >= 1, "at least 1")
    for name in shares:
        require(name, getattr(config, name), 0 <= getattr(config, name) < 1, "from 0 to below 1")


def require(name: str, value: object, holds: bool, wanted: str) -> None:
    """Refuse a setting's value that does not hold.

    Raises:
        UsageError: it does not.
    """
    if not holds:
        raise UsageError(f"--set {name}={value}: give a value {wanted}")


_KNOWN: dict[type[Any], tuple[Setting, ...]] = {}


def _read(config: type[Any]) -> tuple[Setting, ...]:
    parameters = getattr(config, "__dataclass_params__", None)
    if parameters is None or not parameters.frozen:
        raise UsageError(f"{config.__qualname__} is no frozen dataclass: write @dataclass(frozen=True, kw_only=True)")
    hints, lines = get_type_hints(config), _help_of(config)
    found = []
    for field in dataclasses.fields(config):
        kind, choices = _kind(config, field.name, hints[field.name])
        if field.default is dataclasses.MISSING:
            raise UsageError(f"{config.__qualname__}: {field.name} has no default: give it one")
        found.append(Setting(field.name, kind, field.default, lines.get(field.name, ""), choices))
    return tuple(found)


def _kind(config: type[Any], name: str, hint: object) -> tuple[type, tuple[str, ...]]:
    if get_origin(hint) is Literal and all(isinstance(choice, str) for choice in get_args(hint)):
        return str, get_args(hint)
    if isinstance(hint, type) and hint in _WORDS:
        return hint, ()
    raise UsageError(f"{config.__qualname__}: {name} is {hint}: a field is int, float, bool, str or a Literal of texts")


def _help_of(config: type[Any]) -> dict[str, str]:
    """The line under each field, those of the classes that it inherits from included."""
    lines: dict[str, str] = {}
    for part in reversed(config.__mro__):
        if dataclasses.is_dataclass(part):
            try:
                (definition,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
            except (OSError, TypeError, SyntaxError):
                continue  # A class made in a notebook has no source to read: its fields have no help.
            assert isinstance(definition, ast.ClassDef)
            lines |= _help_in(definition)
    return lines


def _help_in(definition: ast.ClassDef) -> dict[str, str]:
    lines = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            lines[statement.target.id] = " ".join(str(following.value.value).split())
    return lines


def _unknown(name: str, known: Mapping[str, Setting], where: str) -> UsageError:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    names = ", ".join(known) or "none"
    hint = f"did you mean {near[0]}?" if near else f"the model's settings are {names}"
    return UsageError(f"{where}: unknown setting {name!r}: {hint}")


def _example(settings: Sequence[Setting]) -> str:
    return f"{settings[0].name}={_written(settings[0].default)}" if settings else "name=value"


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(setting: Setting, text: str) -> Any:
    if setting.kind is str:
        return _checked(setting, text, "--set")
    try:
        value: object = _TRUTH[text.lower()] if setting.kind is bool else setting.kind(text)
    except (KeyError, ValueError):
        raise UsageError(f"--set {setting.name}={text}: give {_WORDS[setting.kind]}") from None
    return _checked(setting, value, "--set")


def _checked(setting: Setting, value: object, where: str) -> Any:
    said = f"{where}: {setting.name} {value!r}" if where != "--set" else f"--set {setting.name}={_written(value)}"
    if setting.kind is float and type(value) is int:
        value = float(value)
    if type(value) is not setting.kind:
        raise UsageError(f"{said}: give {_WORDS[setting.kind]}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{said}: give a finite number")
    if setting.choices and value not in setting.choices:
        near = get_close_matches(str(value), setting.choices, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"{said}: give one of {', '.join(setting.choices)}{hint}")
    return value
