"""Ingests labels: the class of each case."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import DataError, UsageError
from milstore.formats.csv_table import TextTable, file_size
from milstore.formats.interface import LabelFormat, reported
from milstore.formats.missing_marks import Marks
from milstore.formats.registry import find_format, recognised
from milstore.ingest.case_facts import put_case_facts
from milstore.ingest.label_columns import CASE, LABEL, Asked, columns_of_labels
from milstore.ingest.label_edit import put_labels
from milstore.ingest.label_map import LABEL_ADVICE, Labelled, as_classes, through_map
from milstore.ingest.slide_cases import by_slides
from milstore.store import Store
from milstore.store.case_gaps import Gaps, gaps_of
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import edit_cohort
from milstore.store.names import clip, counted, named, natural_key

REBUILT = ("classes", "cases")
"""Tables that this ingest rebuilds where their files are damaged."""


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
        """The report, as lines of text."""
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
    """Ingest the labels of a table (`format`: recognised, or as named). Cases that the store does not know are created.

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
        labelled = through_map(table, case_column, label_column, label_map, marks, ids)
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
