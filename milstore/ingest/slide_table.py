"""Slides: which one is of which case and stain, from one table or from names that say it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.missing_marks import Marks
from milstore.ingest.case_facts import put_case_facts
from milstore.ingest.label_edit import put_labels, write_cases
from milstore.ingest.labels import REBUILT, told_unknown
from milstore.ingest.slide_cases import without_patches
from milstore.ingest.slide_columns import CASE, SLIDE, STAIN
from milstore.ingest.slide_reading import GivenSlides, SlideReader
from milstore.schema.arrow import arrow_schema
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.slides import Slide, Slides

SLIDES_REBUILT = ("slides",)
"""The table that a table of slides makes again where its file is damaged."""


_FACTS = tuple(each.name for each in fields(Slide) if each.name != SLIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidesReport:
    """What `ingest_slides` did, or with `dry_run` would do."""

    changed: bool
    source: str
    slides: int
    cases: int
    stains: Mapping[str, int]
    """Slides of each stain."""
    understood: Mapping[str, str]
    """Column of each thing that was understood."""
    not_understood: tuple[str, ...]
    """Columns of the table that say nothing here."""
    new: int
    """Slides that the store did not know before."""
    corrected: tuple[str, ...]
    """Slides of which the store said otherwise."""
    labels: Mapping[str, int]
    """Cases of each class, where the table has labels."""
    dry_run: bool = False
    notes: tuple[str, ...] = ()
    case_of: Mapping[str, str] = field(default_factory=dict)
    """The case of each slide."""
    path_of: Mapping[str, str] = field(default_factory=dict)
    """The file of each slide of which it is said."""

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        stains = ", ".join(f"{count} {stain}" for stain, count in self.stains.items())
        new = "" if self.dry_run else f", {self.new} of them new"
        lines = [
            f"{self.source}: {counted(self.slides, 'slide')} of {counted(self.cases, 'case')} ({stains}){new}",
            *([self._columns()] if self.understood or self.not_understood else []),
        ]
        if self.labels:
            lines.append("labels: " + ", ".join(f"{count} {name}" for name, count in self.labels.items()))
        if self.corrected:
            lines.append(f"corrected: {counted(len(self.corrected), 'slide')} ({named(self.corrected)})")
        if self.dry_run:
            return [*lines, *self.notes, "nothing was written: the same line without --dry-run takes them in"]
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]

    def _columns(self) -> str:
        understood = ", ".join(
            theirs if theirs == ours else f"{theirs} = {ours}" for ours, theirs in self.understood.items()
        )
        left = f"; not understood, and left out: {named(self.not_understood, 20)}" if self.not_understood else ""
        return f"columns: {understood}{left}"


def ingest_slides(
    store: Store,
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    stain: str | None = None,
    tcga: bool = False,
    label_map: Mapping[str, str] | None = None,
    missing: Iterable[str] | None = None,
    new_cases: bool = False,
    keep: Sequence[str] = (),
    replace: bool = False,
    dry_run: bool = False,
) -> SlidesReport:
    """Ingest slides with their case and stain. Afterwards a file whose stem is a slide's id belongs to that slide.

    Cases that the store does not know are made, while no case of it has a label. Where the table has labels, they go in as by `ingest_labels`.

    Args:
        store: the store.
        source: CSV file with a row a slide (see `milstore.ingest.slide_columns` for its columns), or with `tcga` a folder
            of slides or of files about them. Paths in it are relative to its folder.
        columns: the table's column of each field, such as {"case_id": "patient"}; found by the names that tools use if
            left out.
        stain: the stain of all slides, where no column says it. A store with one stain needs none.
        tcga: the case is what the barcode in a slide's name says.
        label_map: class of each label, as for `ingest_labels`.
        missing: marks of an unknown value: such a cell says nothing.
        new_cases: make cases that the store does not know, and that no label says anything of, though others have labels.
        keep: further columns of the table, kept as attributes of the cases (see `milstore.ingest.case_facts`).
        replace: take the table's word where the store says otherwise.
        dry_run: say what is understood, and write nothing.

    Raises:
        UsageError: it is not said which column a needed thing stands in, or which stain the slides have.
        DataError: a slide stands there twice, a case is empty or not known, a stain is not of the store, or a number cannot be one.
        ConflictError: the store says otherwise of a slide, and `replace` is not given; or its patches are of another case,
            stain or slice.
    """
    path = Path(source)
    marks = Marks.of(missing)
    asked = dict(columns or {})
    if stain is not None and STAIN in asked:
        raise UsageError("--stain and --stain-column exclude each other: give one")

    def given(edit: CohortEdit) -> GivenSlides:
        reader = SlideReader(store.settings, edit, marks, stain, tcga, new_cases)
        return reader.of_folder(path) if tcga and path.is_dir() else reader.of_table(path, asked, label_map)

    if dry_run:
        edit = CohortEdit(read_cohort(store))
        found = given(edit)
        new, corrected = _put(edit, found, path, replace=replace)
        _keep(edit, found, keep, marks, replace=replace)
        return _report(path, found, new, corrected, [*found.notes], kept=keep, dry_run=True)
    rebuild = (*SLIDES_REBUILT, *REBUILT) if replace else ()
    with edit_cohort(store, rebuild=rebuild) as edit:
        found = given(edit)
        new, corrected = _put(edit, found, path, replace=replace)
        _keep(edit, found, keep, marks, replace=replace)
        if found.labelled is not None:
            put = put_labels(edit, found.labelled, found.wanted, str(path), replace=replace)
            found.notes.extend(told_unknown(put.unknown, put.kept))
            if put.corrected:
                found.notes.append(
                    f"corrected: label of {counted(len(put.corrected), 'case')} ({named(put.corrected)})"
                )
        empty = without_patches(Slides(edit), edit.table("slices")["slide_id"].to_pylist())
        if empty and edit.table("slices").num_rows:
            found.notes.append(f"without patches: {counted(len(empty), 'slide')} ({named(empty)})")
    return _report(path, found, new, corrected, [*found.notes, *edit.notes], kept=keep, changed=edit.changed)


def _keep(edit: CohortEdit, given: GivenSlides, keep: Sequence[str], marks: Marks, *, replace: bool) -> None:
    """Keep columns of the table as attributes of the cases, which are in the edit already."""
    if not keep:
        return
    if given.table is None or CASE not in given.columns.of:
        raise UsageError("--keep needs a table with a column of cases: name it by --case-column")
    put_case_facts(edit, given.table, given.columns.of[CASE], keep, None, marks, replace=replace)


def _put(edit: CohortEdit, given: GivenSlides, path: Path, *, replace: bool) -> tuple[int, list[str]]:
    """Put slides and their cases into an edit; how many are new, and which were corrected."""
    before = {row[SLIDE]: row for row in edit.table("slides").to_pylist()}
    corrected: list[str] = []
    rows = dict(before)
    for slide_id, said in given.rows.items():
        known = before.get(slide_id)
        if known is None:
            rows[slide_id] = {SLIDE: slide_id, **said}
            continue
        other = [name for name in _FACTS if name in said and known[name] not in (None, said[name])]
        if other and not replace:
            name = other[0]
            raise ConflictError(
                f"slide {clip(slide_id)} has {name} {clip(str(known[name]))!r} in the store and {clip(str(said[name]))!r} in {path}: "
                "use --replace to correct the store"
            )
        corrected += [slide_id] if other else []
        rows[slide_id] = {**known, **said}
    _refuse_one_slice(rows)
    cases = {row["case_id"]: row for row in edit.table("cases").to_pylist()}
    new_cases = {row[CASE] for row in given.rows.values()} - cases.keys()
    if new_cases:
        write_cases(edit, cases | {case_id: {"case_id": case_id} for case_id in new_cases})
    edit.replace("slides", pa.Table.from_pylist(list(rows.values()), arrow_schema("slides")))
    _tie_slices(edit)
    return len(rows) - len(before), corrected


def _refuse_one_slice(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """DataError if two slides are one slice."""
    owner: dict[tuple[str, str, str], str] = {}
    for slide_id, row in rows.items():
        key = (row[CASE], row[STAIN], row.get("slice_name") or slide_id)
        if owner.setdefault(key, slide_id) != slide_id:
            raise DataError(
                f"slides {clip(owner[key])} and {clip(slide_id)} are both slice {clip(key[2])} of case {clip(key[0])}, {key[1]}: give "
                "each a name of its own"
            )


def _tie_slices(edit: CohortEdit) -> None:
    """Let the slices that slides are say so. ConflictError if a slice of a slide is of another case or stain now."""
    from milstore.ingest.slices import with_slides

    slides = Slides(edit)
    slices = edit.table("slices")
    for row in slices.to_pylist():
        own = slides.get(row["slide_id"]) if row["slide_id"] is not None else None
        if own is not None and (own.case_id, own.stain) != (row["case_id"], row["stain"]):
            raise ConflictError(
                f"slide {clip(own.slide_id)} would be of case {clip(own.case_id)}, {own.stain}, and its {row['n_patches']} patches are in "
                f"the store as those of case {clip(row['case_id'])}, {row['stain']}: take it into a store of its own"
            )
    if slices.num_rows:
        edit.replace("slices", with_slides(slices, slides))


def _report(
    path: Path,
    found: GivenSlides,
    new: int,
    corrected: list[str],
    notes: list[str],
    *,
    kept: Sequence[str] = (),
    changed: bool = False,
    dry_run: bool = False,
) -> SlidesReport:
    stains = Counter(row[STAIN] for row in found.rows.values())
    labels = Counter(found.labelled.class_of.values()) if found.labelled is not None else Counter[str]()
    return SlidesReport(
        changed=changed,
        source=str(path),
        slides=len(found.rows),
        cases=len({row[CASE] for row in found.rows.values()}),
        stains=stains,
        understood=dict(found.columns.of),
        not_understood=tuple(name for name in found.columns.left if name not in kept),
        new=new,
        corrected=tuple(sorted(corrected, key=natural_key)),
        labels={name: labels[name] for name in found.wanted},
        dry_run=dry_run,
        notes=tuple(notes),
        case_of={slide_id: row[CASE] for slide_id, row in found.rows.items()},
        path_of={slide_id: row["path"] for slide_id, row in found.rows.items() if row.get("path")},
    )
