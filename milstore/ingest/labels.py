"""Labels: which class each case is of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.csv_table import TextTable, file_size
from milstore.formats.interface import LabelFormat, reported
from milstore.formats.missing_marks import Marks, lines_of, plain, refuse_alike
from milstore.formats.registry import find_format, recognised
from milstore.ingest.case_facts import put_case_facts
from milstore.ingest.label_columns import CASE, LABEL, Asked, columns_of_labels
from milstore.ingest.slide_cases import by_slides
from milstore.store import Store
from milstore.store.case_gaps import Gaps, gaps_of
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.content_hash import with_case_order
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import list_drafts

LABEL_ADVICE = "if the label is unknown there, add {option}; else give the class of each label by --map"

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
    unknown: tuple[str, ...] = ()
    """Cases whose label is not known, and which are in the store without one."""
    kept: tuple[str, ...] = ()
    """Cases whose label the file does not know, but the store does."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report in words."""
        counts = ", ".join(f"{count} {name}" for name, count in self.cases.items())
        counts = f" ({counts})" if counts else ""
        lines = [
            f"{self.file}: {counted(sum(self.cases.values()), 'labelled case')}{counts}, {counted(self.new_cases, 'new case')}"
        ]
        for label, cases in self.left_out.items():
            what = f"label {clip(label)!r}, which the map lacks" if label else "no label"
            lines.append(f"left out: {counted(len(cases), 'case')} with {what} ({named(cases)})")
        lines += told_unknown(self.unknown, self.kept)
        if self.corrected:
            lines.append(
                f"corrected: {counted(len(self.corrected), 'case')} ({named(self.corrected)}); runs keep what they saw"
            )
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


def told_unknown(unknown: Sequence[str], kept: Sequence[str]) -> list[str]:
    """The cases whose label a file does not know, in words: those without one now, and those that keep the store's."""
    lines = []
    if unknown:
        lines.append(f"label unknown: {counted(len(unknown), 'case')} ({named(unknown)})")
    if kept:
        cases = f"{counted(len(kept), 'case')} ({named(kept)})"
        lines.append(f"label unknown here, but kept as the store has it: {cases}; --replace takes it away")
    return lines


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a label file says, read through the map."""

    class_of: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    """Cases whose label is not known, in the order of the file."""
    notes: list[str] = field(default_factory=list)
    """Rows that were left out, in words."""


@dataclass(frozen=True, slots=True)
class PutLabels:
    """What labels changed in the store."""

    corrected: tuple[str, ...]
    """Cases whose class was changed or taken away."""
    new: int
    """Cases that the store did not know before."""
    unknown: tuple[str, ...]
    """Cases that have no label now."""
    kept: tuple[str, ...]
    """Cases whose label the file does not know, but the store does."""


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
    case_column: str | None = None,
    label_column: str | None = None,
    label_map: Mapping[str, str] | None = None,
    missing: Iterable[str] | None = None,
    format: str | None = None,
    attributes: Sequence[str] = (),
    group_column: str | None = None,
    replace: bool = False,
    heed: Callable[[list[str]], None] = lambda _: None,
) -> LabelsReport:
    """Take the labels of a table in (`format` as it is recognised, or as named); cases that the store does not know are made.

    Classes are numbered in the order in which they first appear in `label_map`, after those that the store has. Rows
    whose label the map lacks are left out, counted and named. Without a map each label is a class, in natural order.

    `missing` are marks that stand for an unknown label: such a case is in the store without one, and a row whose case
    is such a mark is left out. An empty cell is always one of them. Without `missing` and `label_map`, texts that look
    like marks are refused, as are labels that differ in nothing but capitals and blanks.

    The columns are case_id and label where none are named. Where these are not there, all that the file does not say is
    told at once, with the line to use.

    `heed` is called with the cases before anything is stored; an error that it raises keeps all out.

    A column of cases may hold slides, by their ids or the names of their files: each stands for its case (see
    `milstore.ingest.slide_table`).

    Columns of `attributes` are kept as attributes of the cases, and `group_column` says which cases belong together, such
    as those of one patient (see `milstore.ingest.case_facts`).

    Raises:
        DataError: the file or a column is missing, a label of the map is on no row, a case has two classes, or see above.
        UsageError: a mark is also a label of the map, or a column is neither named nor plainly there.
        ConflictError: a case has another class in the store, or the classes are numbered otherwise there; `replace`
            takes the file's word, but gives no class that runs speak of another number.
    """
    missing = None if missing is None else tuple(missing)
    marks = Marks.of(missing)
    both = [label for label in label_map or {} if marks.mean_missing(label)]
    if both:
        raise UsageError(f"--missing and --map both speak of {named(both)}: give each label to one of them")
    named_columns = (case_column or CASE, label_column or LABEL)
    columns = [*named_columns, *attributes, *([] if group_column is None else [group_column])]
    drop_repeats = label_map is not None or missing is not None
    table = _read(Path(file), columns, format)
    asked = Asked(
        case_column, label_column, label_map, missing, (*attributes,), group_column, format=format, replace=replace
    )
    case_column, label_column = columns_of_labels(store, table, asked)
    if not drop_repeats:
        table.refuse_repeats()
    table.column(case_column)
    labels = list(zip(table.column(label_column), table.lines, strict=True))
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        table, by_slide = by_slides(table, case_column, edit)
        if label_map is None:
            marks.refuse(table.path, label_column, table.column(label_column), table.lines, LABEL_ADVICE)
            label_map = as_classes(edit, table.path, label_column, labels, marks)
        absent = [label for label in label_map if label not in set(table.column(label_column))]
        if absent:
            present = sorted(set(table.column(label_column)), key=natural_key)
            raise DataError(
                f"--map names label {named(absent)}, which no row of {file} has in {label_column}: "
                f"there are {named(present)}"
            )
        ids = CaseIds.of(edit)
        labelled = _through_map(table, case_column, label_column, label_map, marks, ids)
        wanted = list(dict.fromkeys(label_map.values()))
        put = put_labels(edit, labelled, wanted, str(file), replace=replace)
        put_case_facts(edit, table, case_column, attributes, group_column, marks, replace=replace)
        heed([*labelled.class_of, *labelled.unknown])
        # What is damaged is told elsewhere, and keeps no labels out.
        missing_of = Gaps((), (), {}) if edit.base.damage("slices") else gaps_of(edit)
    return LabelsReport(
        changed=edit.changed,
        file=str(file),
        cases={name: sum(found == name for found in labelled.class_of.values()) for name in wanted},
        new_cases=put.new,
        corrected=put.corrected,
        left_out={label: tuple(dict.fromkeys(cases)) for label, cases in sorted(labelled.left_out.items())},
        unknown=put.unknown,
        kept=put.kept,
        notes=(*by_slide, *labelled.notes, *_told_gaps(missing_of, labelled), *edit.notes),
    )


def _told_gaps(missing_of: Gaps, labelled: Labelled) -> list[str]:
    """Which cases of the file have no patch, and which with patches have no label, where the store has patches."""
    here = [case for case in missing_of.without_patches if case in labelled.class_of or case in labelled.unknown]
    if not here:
        return []
    whole = Gaps(tuple(here), missing_of.without_label, missing_of.alike)
    return whole.lines()


def _read(path: Path, columns: Sequence[str], format: str | None) -> TextTable:
    file_size(path, "a label file")
    fmt: LabelFormat = find_format("labels", format or recognised("labels", [path]) or "csv")
    with reported(path):
        table = fmt.read(path, columns)
    if not isinstance(table, TextTable):
        raise DataError(f"{path}: format {format} gives a {type(table).__name__} for it, not a TextTable")
    return table


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


def put_labels(edit: CohortEdit, labelled: Labelled, wanted: list[str], source: str, *, replace: bool) -> PutLabels:
    """Put labels into an edit.

    Raises:
        ConflictError: a case has another class in the store, or the classes are numbered otherwise there, and `replace`
            is not given, or runs speak of them.
    """
    classes = _classes(edit, labelled, wanted, replace)
    corrected = _corrected(edit, labelled, source, replace)
    known = {row["case_id"]: row["class_name"] for row in edit.table("cases").to_pylist()}
    kept = tuple(case for case in labelled.unknown if known.get(case) is not None and not replace)
    unknown = tuple(case for case in labelled.unknown if case not in set(kept))
    new = _write(edit, labelled, classes, unknown)
    return PutLabels(tuple(corrected), new, unknown, kept)


def _through_map(
    table: TextTable,
    case_column: str,
    label_column: str,
    label_map: Mapping[str, str],
    marks: Marks,
    ids: CaseIds,
) -> Labelled:
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


def _classes(edit: CohortEdit, labelled: Labelled, wanted: list[str], replace: bool) -> list[str]:
    """The class names in the order of their numbers.

    With `replace` the order is that of the file, and where the file speaks of every labelled case, a class that it does not
    have goes. But what runs speak of by its number keeps it.
    """
    known = [row["class_name"] for row in sorted(edit.table("classes").to_pylist(), key=lambda row: row["label"])]
    common = [name for name in known if name in wanted]
    in_order = [name for name in wanted if name in known] == common
    appended = known + [name for name in wanted if name not in known]
    if not replace:
        if in_order:
            return appended
        raise ConflictError(
            f"the store numbers its classes {named(known)}, and --map has them in the order {named(wanted)}: "
            "order the map like the store, or use --replace"
        )
    if runs := len(run_ids(edit.base.store)) + len(list_drafts(edit.base.store)):
        if in_order:
            return appended
        raise ConflictError(
            f"the store numbers its classes {named(known)}, and {counted(runs, 'run')} speak of them by these numbers: "
            f"order the map like the store (it has {named(wanted)}), or delete the runs"
        )
    told = {*labelled.class_of, *labelled.unknown}
    if all(row["case_id"] in told for row in edit.table("cases").to_pylist() if row["class_name"] is not None):
        return wanted
    return appended if in_order else wanted + [name for name in known if name not in wanted]


def _corrected(edit: CohortEdit, labelled: Labelled, source: str, replace: bool) -> list[str]:
    before = {row["case_id"]: row["class_name"] for row in edit.table("cases").to_pylist() if row["class_name"]}
    differing = [case for case, name in labelled.class_of.items() if before.get(case, name) != name]
    if differing and not replace:
        case = min(differing, key=natural_key)
        raise ConflictError(
            f"{len(differing)} cases have another class in the store than in {source}, such as case {clip(case)} "
            f"({before[case]} there, {labelled.class_of[case]} here): use --replace to correct the store"
        )
    if replace:
        differing += [case for case in labelled.unknown if case in before]
    return sorted(differing, key=natural_key)


def _write(edit: CohortEdit, labelled: Labelled, classes: list[str], unknown: Iterable[str]) -> int:
    """Put classes and cases into the edit; how many cases are new."""
    rows = {row["case_id"]: row for row in edit.table("cases").to_pylist()}
    before = len(rows)
    for case_id, class_name in labelled.class_of.items():
        rows[case_id] = {"case_id": case_id, "class_name": class_name, "source_label": labelled.source[case_id]}
    for case_id in unknown:
        rows[case_id] = {"case_id": case_id, "class_name": None, "source_label": None}
    for row in rows.values():
        row["label"] = classes.index(row["class_name"]) if row["class_name"] is not None else None
    edit.replace("classes", pa.table({"label": range(len(classes)), "class_name": pa.array(classes, pa.string())}))
    write_cases(edit, rows)
    return len(rows) - before


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
