"""Labels: which class each case is of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest.csvfile import TextTable, read_csv
from milstore.store import Store
from milstore.store.cohort import CohortEdit, edit_cohort, with_case_order
from milstore.store.names import clip, counted, named, natural_key, normal_case_id

REBUILT = ("classes", "cases")
"""Tables that labels make anew where their files are damaged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelsReport:
    """What `ingest_labels` did."""

    changed: bool
    file: str
    cases: dict[str, int]
    """Labelled cases of the file, by class."""
    new_cases: int
    """Cases that the store did not know before."""
    corrected: tuple[str, ...]
    """Cases whose class was changed."""
    left_out: dict[str, tuple[str, ...]]
    """Cases that were left out, by their label in the file."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report in words."""
        counts = ", ".join(f"{count} {name}" for name, count in self.cases.items())
        lines = [
            f"{self.file}: {counted(sum(self.cases.values()), 'labelled case')} ({counts}), {self.new_cases} of them new"
        ]
        for label, cases in self.left_out.items():
            what = f"label {clip(label)!r}, which the map lacks" if label else "no label"
            lines.append(f"left out: {counted(len(cases), 'case')} with {what} ({named(cases)})")
        if self.corrected:
            lines.append(
                f"corrected: {counted(len(self.corrected), 'case')} ({named(self.corrected)}); runs keep what they saw"
            )
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a label file says, read through the map."""

    class_of: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)


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


def ingest_labels(
    store: Store,
    file: str | Path,
    *,
    case_column: str,
    label_column: str,
    label_map: Mapping[str, str] | None = None,
    replace: bool = False,
) -> LabelsReport:
    """Take the labels of a CSV file in; cases that the store does not know are made.

    Classes are numbered in the order in which they first appear in `label_map`, after those that the store has. Rows
    whose label the map lacks are left out, counted and named. Without a map each label is a class, in natural order.

    Raises:
        DataError: the file or a column is missing, a label of the map is on no row, or a case has two classes.
        ConflictError: a case has another class in the store, or the classes are numbered otherwise there; `replace`
            takes the file's word.
    """
    table = read_csv(Path(file), "a label file", [case_column, label_column])
    present = sorted(set(table.column(label_column)), key=natural_key)
    table.column(case_column)
    if label_map is None:
        label_map = {label: label for label in present if label}
    absent = [label for label in label_map if label not in present]
    if absent:
        raise DataError(
            f"--map names label {named(absent)}, which no row of {file} has in {label_column}: there are {named(present)}"
        )
    labelled = _through_map(table, case_column, label_column, label_map)
    wanted = list(dict.fromkeys(label_map.values()))
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        corrected, new = put_labels(edit, labelled, wanted, str(file), replace=replace)
    return LabelsReport(
        changed=edit.changed,
        file=str(file),
        cases={name: sum(found == name for found in labelled.class_of.values()) for name in wanted},
        new_cases=new,
        corrected=tuple(corrected),
        left_out={label: tuple(dict.fromkeys(cases)) for label, cases in sorted(labelled.left_out.items())},
        notes=tuple(edit.notes),
    )


def put_labels(
    edit: CohortEdit, labelled: Labelled, wanted: list[str], source: str, *, replace: bool
) -> tuple[list[str], int]:
    """Put labels into an edit; the cases whose class was changed, and how many cases are new.

    Raises:
        ConflictError: a case has another class in the store, or the classes are numbered otherwise there, and `replace`
            is not given.
    """
    classes = _classes(edit, wanted, replace)
    corrected = _corrected(edit, labelled, source, replace)
    return corrected, _write(edit, labelled, classes)


def _through_map(table: TextTable, case_column: str, label_column: str, label_map: Mapping[str, str]) -> Labelled:
    found = Labelled()
    first_line: dict[str, int] = {}
    rows = zip(table.column(case_column), table.column(label_column), table.lines, strict=True)
    for text, label, line in rows:
        case_id = normal_case_id(text)
        if not case_id:
            raise DataError(f"{table.path}, line {line}, has no case in column {case_column}: fill it or drop the line")
        if label not in label_map:
            found.left_out.setdefault(label, []).append(case_id)
            continue
        known = found.class_of.setdefault(case_id, label_map[label])
        if known != label_map[label]:
            raise DataError(
                f"{table.path} has case {clip(case_id)} as {clip(known)} (line {first_line[case_id]}) and as "
                f"{clip(label_map[label])} (line {line}): keep one"
            )
        first_line.setdefault(case_id, line)
        found.source.setdefault(case_id, label)
    torn = [case for cases in found.left_out.values() for case in cases if case in found.class_of]
    if torn:
        raise DataError(f"{table.path} has case {named(torn)} with a label of the map and with another: keep one")
    return found


def _classes(edit: CohortEdit, wanted: list[str], replace: bool) -> list[str]:
    """The class names in the order of their numbers."""
    known = [row["class_name"] for row in sorted(edit.table("classes").to_pylist(), key=lambda row: row["label"])]
    common = [name for name in known if name in wanted]
    if [name for name in wanted if name in known] == common:
        return known + [name for name in wanted if name not in known]
    if not replace:
        raise ConflictError(
            f"the store numbers its classes {named(known)}, and --map has them in the order {named(wanted)}: "
            "order the map like the store, or use --replace"
        )
    return wanted + [name for name in known if name not in wanted]


def _corrected(edit: CohortEdit, labelled: Labelled, source: str, replace: bool) -> list[str]:
    before = {row["case_id"]: row["class_name"] for row in edit.table("cases").to_pylist() if row["class_name"]}
    differing = [case for case, name in labelled.class_of.items() if before.get(case, name) != name]
    differing.sort(key=natural_key)
    if differing and not replace:
        case = differing[0]
        raise ConflictError(
            f"{len(differing)} cases have another class in the store than in {source}, such as case {clip(case)} "
            f"({before[case]} there, {labelled.class_of[case]} here): use --replace to correct the store"
        )
    return differing


def _write(edit: CohortEdit, labelled: Labelled, classes: list[str]) -> int:
    """Put classes and cases into the edit; how many cases are new."""
    rows = {row["case_id"]: row for row in edit.table("cases").to_pylist()}
    new = sum(case_id not in rows for case_id in labelled.class_of)
    for case_id, class_name in labelled.class_of.items():
        rows[case_id] = {"case_id": case_id, "class_name": class_name, "source_label": labelled.source[case_id]}
    for row in rows.values():
        row["label"] = classes.index(row["class_name"]) if row["class_name"] is not None else None
    edit.replace("classes", pa.table({"label": range(len(classes)), "class_name": pa.array(classes, pa.string())}))
    write_cases(edit, rows)
    return new


def write_cases(edit: CohortEdit, rows: Mapping[str, Mapping[str, object]]) -> None:
    """Put the cases into the edit, in natural order; a row may lack what is not known."""
    columns = {
        "case_id": pa.string(),
        "label": pa.int32(),
        "class_name": pa.string(),
        "source_label": pa.string(),
    }
    table = pa.table({name: pa.array([row.get(name) for row in rows.values()], kind) for name, kind in columns.items()})
    edit.replace("cases", with_case_order(table))
