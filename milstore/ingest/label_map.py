"""Reads the labels of a label file through the map from labels to classes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from milstore.errors import DataError, UsageError
from milstore.formats.csv_table import TextTable
from milstore.formats.missing_marks import Marks, lines_of, plain, refuse_alike
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip, counted, named, natural_key

LABEL_ADVICE = "if the label is unknown there, add {option}; else give the class of each label by --map"


@dataclass(frozen=True, slots=True)
class Labelled:
    """The contents of a label file, read through the map."""

    class_of: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    """Cases whose label is not known, in the order of the file."""
    notes: list[str] = field(default_factory=list)
    """Rows that were left out, in words."""


def parse_map(text: str) -> dict[str, str]:
    """Read `1=benign,3=high-grade` into {"1": "benign", "3": "high-grade"}. UsageError if it is not of this form."""
    found: dict[str, str] = {}
    for part in text.split(","):
        label, equals, name = (piece.strip() for piece in part.partition("="))
        if not equals or not label or not name:
            raise UsageError(f"--map has {clip(part)!r}: write it as 1=benign,3=high-grade")
        if found.get(label, name) != name:
            raise UsageError(f"--map gives label {clip(label)!r} to two classes: {clip(found[label])} and {clip(name)}")
        found[label] = name
    return found


def as_classes(
    edit: CohortEdit, path: Path, column: str, labels: Iterable[tuple[str, int]], marks: Marks
) -> dict[str, str]:
    """The map of a file without one: each label is a class, in natural order.

    Args:
        edit: the cohort.
        path: the file, for messages.
        column: its column of labels.
        labels: each label with its line.
        marks: what is no label.

    Raises:
        DataError: two labels, or one and a class of the store, differ in nothing but capitals and blanks.
    """
    own = [(text, line) for text, line in labels if not marks.mean_missing(text)]
    advice = "write each in one way, or give the class of each by --map"
    refuse_alike(path, column, own, advice)
    known = {plain(name): name for name in edit.table("classes")["class_name"].to_pylist()}
    for text, line in own:
        name = known.get(plain(text), text)
        if name != text:
            raise DataError(
                f"{path} spells the store's class {clip(name)!r} as {clip(text)!r} in column {clip(column)} (line {line}): "
                + advice
            )
    return {text: text for text in sorted({text for text, _ in own}, key=natural_key)}


def through_map(
    table: TextTable,
    case_column: str,
    label_column: str,
    label_map: Mapping[str, str],
    marks: Marks,
    ids: CaseIds,
) -> Labelled:
    """The labels of the table's cases. DataError for a row without a case, or a case with two labels."""
    found = Labelled()
    first_line: dict[str, int] = {}
    kept: list[tuple[str, int]] = []
    without_case: list[int] = []
    ids.refuse(table.path, f"column {clip(case_column)}", table.column(case_column), table.lines)
    rows = zip(table.column(case_column), table.column(label_column), table.lines, strict=True)
    for text, label, line in rows:
        case_id = ids.read(text)
        if marks.mean_missing(text):
            without_case.append(line)
        elif not case_id:
            raise DataError(
                f"{table.path}, line {line}, has no case in column {case_column}: fill it, drop the line, or leave such "
                "lines out by --missing ''"
            )
        elif marks.mean_missing(label):
            kept.append((text, line))
            found.unknown[case_id] = None
        elif label not in label_map:
            found.left_out.setdefault(label, []).append(case_id)
        else:
            kept.append((text, line))
            _put_label(found, table, case_id, label, label_map[label], line, first_line)
    texts, lines = [text for text, _ in kept], [line for _, line in kept]
    marks.refuse(table.path, case_column, texts, lines, "if these rows are to be left out, add {option}", ids)
    torn = [case for cases in (*found.left_out.values(), found.unknown) for case in cases if case in found.class_of]
    if torn:
        raise DataError(
            f"{table.path} has case {named(dict.fromkeys(torn))} with a label and with another or none: keep one"
        )
    if without_case:
        found.notes.append(f"left out: {counted(len(without_case), 'row')} without a case ({lines_of(without_case)})")
    found.notes.extend(table.repeats_told())
    found.notes.extend(ids.told())
    return found


def _put_label(
    found: Labelled, table: TextTable, case_id: str, label: str, class_name: str, line: int, first_line: dict[str, int]
) -> None:
    known = found.class_of.setdefault(case_id, class_name)
    if known != class_name:
        raise DataError(
            f"{table.path} has case {clip(case_id)} as {clip(known)} (line {first_line[case_id]}) and as "
            f"{clip(class_name)} (line {line}): keep one"
        )
    first_line.setdefault(case_id, line)
    found.source.setdefault(case_id, label)
