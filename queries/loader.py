"""Reads the header of a question's file, and finds questions by name."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from milstore.errors import DataError, UsageError

Value = str | int | float | bool | None

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PARAMETER = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*) (?P<type>text|integer|double|boolean|run)"
    r"(?: = (?P<default>[^:\[]+?))?(?: \[(?P<low>[^,\]]*), (?P<high>[^\]]*)\])?: (?P<help>.+)"
)
_ATTENTION = re.compile(r"\b(attention|slice_weights|slices_asked)\b")
"""The tables that hold attention, and what is defined over them."""
_COVERAGE = re.compile(r"\b(coverage|case_coverage)\b")
"""The table that counts the patches that a run saw, and what is defined over it."""
_TYPES: dict[str, type[str] | type[int] | type[float] | type[bool]] = {
    "text": str,
    "integer": int,
    "double": float,
    "boolean": bool,
    "run": str,
}
_LARGEST = 1_000_000
REQUIRED = object()
OVER = ("cases", "tests", "repeats", "experiments", "runs")
"""What a question may be over; milstore.queries says what each means."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A typed parameter of a question; bound, never pasted."""

    name: str
    kind: str
    """text, integer, double, boolean, or run: a run's id, or how it begins."""
    default: Any
    """Its value if none is given; `REQUIRED` if one must be."""
    low: float | None
    high: float | None
    help: str

    @property
    def python_type(self) -> type[str] | type[int] | type[float] | type[bool]:
        """The Python type of its values."""
        return _TYPES[self.kind]

    def checked(self, value: Any) -> Value:
        """The value in the parameter's type. UsageError if it does not fit its type or range."""
        if value is None:
            return None
        try:
            fit = _converted(value, self.kind)
        except (ValueError, OverflowError):
            raise UsageError(f"{self.name} is {value!r}, not of type {self.kind}") from None
        if not isinstance(fit, str) and not (
            (self.low is None or fit >= self.low) and (self.high is None or fit <= self.high)
        ):
            low, high = ("" if bound is None else f"{bound:g}" for bound in (self.low, self.high))
            raise UsageError(f"{self.name} is {fit:g}: it must lie in [{low}, {high}]")
        return fit


def _converted(value: Any, kind: str) -> str | int | float | bool:
    if kind == "boolean":
        if str(value).lower() not in ("true", "false"):
            raise ValueError
        return str(value).lower() == "true"
    return _TYPES[kind](value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A question: its SQL and what its header promises."""

    name: str
    title: str
    """What it answers, one line."""
    about: str
    """The whole of the header's prose."""
    grain: str
    over_runs: bool
    """Whether it is about runs: `selection` then holds every run that was named, whatever the subset."""
    over_tests: bool
    """Whether it counts predictions: `selection` then holds a case once for each split that has it in test."""
    over_repeats: bool
    """Whether it pools: `selection` then holds the test cases of every complete repeat (split set and seed) of the
    experiment."""
    over_experiments: bool
    """The same of every experiment, unless one is named."""
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]
    """The columns that the SQL gives, in order."""
    shown: tuple[str, ...]
    """The columns of the answer that a table for people has; none means all."""
    then: str | None
    """Function of `milstore.analysis` that the rows go through."""
    answer: str | None
    """Function of `milstore.analysis` that says the answer in sentences; it is given the rows."""
    told: str | None
    """Function of `milstore.analysis` that says what must be told with the rows; it is given a function that gives columns."""
    report: str | None
    """Function of `milstore.analysis` that writes the rows as a text."""
    internal: str | None
    """Column that says which splits a row is of, where the experiment's own test stands beside a prediction's answer."""
    needs_attention: bool
    """Whether it asks where attention lies, and cannot be asked of a run without any."""
    reads_attention: bool
    """Whether it looks at attention, be that where there is some."""
    needs: str
    """What it needs of attention: `whole` (of every patch), `top` (of the most attended), or nothing of the kind."""
    takes_scores: bool
    """Whether it can be asked by a score of patches in place of attention: `by_score` gives it so."""
    needs_coverage: bool
    """Whether it asks how many patches a run saw, and cannot be asked of cases of which that is not known."""
    sql: str
    built_in: bool
    """False for a file of the store's own, which is run like any foreign SQL."""

    @property
    def wants_case(self) -> bool:
        """Whether it is a question about one case, given as the parameter `case`."""
        return any(parameter.name == "case" for parameter in self.parameters)

    def bind(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """A value for every parameter. UsageError for an unknown, a missing or an unfit one."""
        names = [parameter.name for parameter in self.parameters]
        unknown = [name for name in values if name not in names]
        if unknown:
            has = ", ".join(names) or "none"
            raise UsageError(f"query {self.name} has no parameter {unknown[0]!r}: it has {has}")
        bound: dict[str, Value] = {}
        for parameter in self.parameters:
            value = values.get(parameter.name)
            if value is None and parameter.default is REQUIRED:
                raise UsageError(f"query {self.name} needs --{parameter.name.replace('_', '-')}: {parameter.help}")
            bound[parameter.name] = parameter.checked(parameter.default if value is None else value)
        return bound


# Once a command: its options, its answer and its chart are all of the same text.
@lru_cache(maxsize=64)
def parse(name: str, text: str, *, built_in: bool = True) -> Query:
    """Read a question's file. DataError, naming file and line, if its header cannot be read."""
    where = f"queries/{name}.sql"
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].strip())
    prose, fields, parameters = [], {}, []
    for line in lines:
        key, _, rest = line.partition(":")
        if line.startswith("param "):
            parameters.append(_parameter(line.removeprefix("param "), where))
        elif key in (
            "grain",
            "over",
            "columns",
            "then",
            "answer",
            "told",
            "report",
            "attention",
            "needs",
            "scores",
            "shown",
            "internal",
        ):
            fields[key] = rest.strip()
        elif line:
            prose.append(line)
    for needed in ("grain", "columns"):
        if not fields.get(needed):
            raise DataError(f"{where} has no line '-- {needed}: …' in its header: add it")
    if not prose:
        raise DataError(f"{where} does not say in its first line what it answers: add a comment")
    _check_choices(fields, where)
    names = [parameter.name for parameter in parameters]
    if len(set(names)) < len(names):
        raise DataError(f"{where} declares a parameter twice: {', '.join(names)}")
    if not built_in and not {"then", "answer", "told", "report", "internal"}.isdisjoint(fields):
        raise DataError(f"{where} names a function: a store's own questions are SQL alone")
    if not built_in and "scores" in fields:
        raise DataError(
            f"{where} takes scores, as milstore's own questions alone do: leave the line '-- scores: …' out"
        )
    return Query(
        name=name,
        title=prose[0].rstrip("."),
        about=" ".join(prose),
        grain=fields["grain"],
        over_runs=fields.get("over") == "runs",
        over_tests=fields.get("over") in ("tests", "repeats", "experiments"),
        over_repeats=fields.get("over") in ("repeats", "experiments"),
        over_experiments=fields.get("over") == "experiments",
        parameters=tuple(parameters),
        columns=_listed(fields["columns"]),
        shown=_shown(fields, where),
        then=fields.get("then"),
        answer=fields.get("answer"),
        told=fields.get("told"),
        report=fields.get("report"),
        internal=fields.get("internal"),
        needs_attention=fields.get("attention") != "optional"
        and _ATTENTION.search(_without_comments(text)) is not None,
        reads_attention=_ATTENTION.search(_without_comments(text)) is not None,
        needs=fields.get("needs", ""),
        takes_scores="scores" in fields,
        needs_coverage=fields.get("attention") != "optional" and _COVERAGE.search(_without_comments(text)) is not None,
        sql=text,
        built_in=built_in,
    )


def _check_choices(fields: Mapping[str, str], where: str) -> None:
    """DataError for a word that is none of those that may stand there."""
    if fields.get("over", "cases") not in OVER:
        raise DataError(f"{where} is over {fields['over']!r}: a question is over {', over '.join(OVER)}")
    if fields.get("attention", "optional") != "optional":
        raise DataError(f"{where} has attention {fields['attention']!r}: write optional, or leave the line out")
    if fields.get("needs", "whole") not in ("whole", "top"):
        raise DataError(f"{where} needs {fields['needs']!r}: write whole or top, or leave the line out")
    if fields.get("scores", "yes") != "yes":
        raise DataError(f"{where} has scores {fields['scores']!r}: write yes, or leave the line out")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(column.strip() for column in text.split(","))


def _shown(fields: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The columns for people. DataError for one that the answer does not have, as far as the header can tell."""
    shown = _listed(fields["shown"]) if fields.get("shown") else ()
    # What comes of a function has columns that its docstring names.
    unknown = [] if "then" in fields else [column for column in shown if column not in _listed(fields["columns"])]
    if unknown:
        raise DataError(f"{where} shows column {unknown[0]!r}, which is not among its columns: correct '-- shown: …'")
    return shown


def _without_comments(sql: str) -> str:
    """A statement without the comments that begin a line."""
    return "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))


def _parameter(line: str, where: str) -> Parameter:
    found = _PARAMETER.fullmatch(line)
    if found is None:
        raise DataError(f"{where} has a parameter that cannot be read: write '-- param name type = default: help'")
    kind, text = found["type"], found["default"]
    try:
        default = REQUIRED if text is None else None if text == "null" else _converted(text, kind)
        low, high = (float(found[bound]) if found[bound] else None for bound in ("low", "high"))
    except ValueError:
        raise DataError(f"{where} gives parameter {found['name']} a default or range that is not {kind}") from None
    return Parameter(name=found["name"], kind=kind, default=default, low=low, high=high, help=found["help"])


@cache
def built_in_names() -> tuple[str, ...]:
    """Names of the questions that come with milstore."""
    entries = files("milstore.queries").iterdir()
    return tuple(sorted(entry.name.removesuffix(".sql") for entry in entries if entry.name.endswith(".sql")))


@cache
def names_by_score() -> tuple[str, ...]:
    """Names of the questions that can be asked by a score of patches in place of attention."""
    return tuple(name for name in built_in_names() if load(name).takes_scores)


def by_score(name: str) -> Query:
    """A question of `names_by_score` as it is asked by a score: of the same name, with a parameter `score` and no attention."""
    text = files("milstore.queries").joinpath("by_score", f"{name}.sql").read_text(encoding="utf-8")
    query = parse(name, text)
    # What the comments say of attention is no table that is read.
    return replace(query, sql=_without_comments(text))


def own_names(folder: Path | None) -> tuple[str, ...]:
    """Names of the questions in a store's `queries/`; those that come with milstore go first and hide them."""
    if folder is None or not folder.is_dir():
        return ()
    names = sorted(path.stem for path in folder.glob("*.sql"))
    return tuple(name for name in names if _NAME.fullmatch(name) and name not in built_in_names())


def available(folder: Path | None = None) -> tuple[str, ...]:
    """Names of all questions; `folder` is the store's own `queries/`."""
    return tuple(sorted({*built_in_names(), *own_names(folder)}))


def load(name: str, folder: Path | None = None) -> Query:
    """The question of a name. UsageError, with the nearest names, if there is none."""
    if name in built_in_names():
        return parse(name, files("milstore.queries").joinpath(f"{name}.sql").read_text(encoding="utf-8"))
    if folder is not None and name in own_names(folder):
        path = folder / f"{name}.sql"
        try:
            if path.exists() and not path.is_file():
                raise DataError(f"queries/{name}.sql is no plain file: remove it")
            # A store is foreign input: a link could lead to any file of whoever asks.
            if not os.path.realpath(path).startswith(f"{os.path.realpath(folder.parent)}/"):
                raise DataError(f"queries/{name}.sql leads out of the store: put the question itself there")
            if path.stat().st_size > _LARGEST:
                raise DataError(f"queries/{name}.sql is larger than {_LARGEST} bytes: that is no question")
            return parse(name, path.read_text(encoding="utf-8-sig"), built_in=False)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"queries/{name}.sql cannot be read: {error}") from error
    from difflib import get_close_matches

    names = available(folder)
    close = get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else "milstore query --list shows them"
    raise UsageError(f"there is no query {name[:80]!r}: {hint}")
