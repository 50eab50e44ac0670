"""Slides: which one is of which case and stain, from one table or from names that say it."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.csv_table import TextTable, read_csv
from milstore.formats.missing_marks import Marks
from milstore.ingest.file_discovery import find_files
from milstore.ingest.labels import LABEL_ADVICE, REBUILT, Labelled, as_classes, put_labels, told_unknown, write_cases
from milstore.ingest.slide_cases import without_patches
from milstore.ingest.slide_columns import CASE, LABEL, SLIDE, STAIN, SlideColumns, refuse_doubles, slide_columns
from milstore.ingest.slide_names import IMAGES, barcode_of, ending_of, needed_barcode, slide_of_text
from milstore.ingest.slide_numbers import Numbers
from milstore.schema.arrow import arrow_schema
from milstore.store import Store
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.paths import real_path
from milstore.store.settings import Settings
from milstore.store.slides import Slide, Slides

SLIDES_REBUILT = ("slides",)
"""The table that a table of slides makes anew where its file is damaged."""
_TEXTS = ("slice_name", "block", "vendor")
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
        """The report in words."""
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


@dataclass(frozen=True, slots=True)
class _Given:
    """What a table or a folder says."""

    rows: dict[str, dict[str, Any]]
    """What is said of each slide, by its id: only what is known."""
    columns: SlideColumns
    labelled: Labelled | None = None
    wanted: list[str] = field(default_factory=list)
    """The classes of the labels, in their order."""
    notes: list[str] = field(default_factory=list)


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
    replace: bool = False,
    dry_run: bool = False,
) -> SlidesReport:
    """Take in which slide is of which case and stain. Afterwards a file whose stem is a slide's id is that slide's.

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

    def given(edit: CohortEdit) -> _Given:
        reader = _Reader(store.settings, edit, marks, stain, tcga, new_cases)
        return reader.of_folder(path) if tcga and path.is_dir() else reader.of_table(path, asked, label_map)

    if dry_run:
        edit = CohortEdit(read_cohort(store))
        found = given(edit)
        new, corrected = _put(edit, found, path, replace=replace)
        return _report(path, found, new, corrected, [*found.notes], dry_run=True)
    rebuild = (*SLIDES_REBUILT, *REBUILT) if replace else ()
    with edit_cohort(store, rebuild=rebuild) as edit:
        found = given(edit)
        new, corrected = _put(edit, found, path, replace=replace)
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
    return _report(path, found, new, corrected, [*found.notes, *edit.notes], changed=edit.changed)


class _Reader:
    """Reads what is said of slides."""

    def __init__(
        self, settings: Settings, edit: CohortEdit, marks: Marks, stain: str | None, tcga: bool, new_cases: bool
    ) -> None:
        self._settings = settings
        self._edit = edit
        self._marks = marks
        self._tcga = tcga
        self._new_cases = new_cases
        self._stain = stain
        self._ids = CaseIds.of(edit)

    def of_folder(self, folder: Path) -> _Given:
        """What the names of slides' files say, by the rule of TCGA."""
        found = find_files(folder, IMAGES, follow_links=True)
        of_slides = bool(found.files)
        if not of_slides:
            found = find_files(folder, ("h5", "hdf5", "pt"), follow_links=True)
        if not found.files:
            raise DataError(f"{folder} holds no file of a slide (.svs, .tiff, …): name the folder of the slides")
        notes: list[str] = []
        rows: dict[str, dict[str, Any]] = {}
        unread = []
        for file in sorted(found.files):
            slide_id = slide_of_text(file)
            barcode = barcode_of(slide_id)
            if barcode is None:
                unread.append(file)
                continue
            own = str(found.root / file)
            if slide_id in rows:
                raise DataError(f"{folder} has slide {clip(slide_id)} twice ({clip(file, 200)}): remove one")
            rows[slide_id] = {CASE: self._ids.read(barcode.case_id), STAIN: self._one_stain(str(folder))}
            rows[slide_id] |= {"path": own} if of_slides else {}
        if not rows:
            needed_barcode(slide_of_text(unread[0]), str(folder))
        if unread:
            notes.append(f"left out: {counted(len(unread), 'file')} without a barcode of TCGA ({named(unread, 3)})")
        return _Given(rows, SlideColumns({}, ()), notes=[*notes, *_told_barcodes(rows)])

    def of_table(self, path: Path, asked: Mapping[str, str], label_map: Mapping[str, str] | None) -> _Given:
        """What a table says."""
        table = read_csv(path, "a table of slides", sum(_NAMES, ()), drop_repeats=True)
        columns = slide_columns(table, asked, (SLIDE,) if self._tcga else (SLIDE, CASE))
        refuse_doubles(columns, table)
        if not len(table):
            raise DataError(f"{path} has no row: it needs one a slide")
        texts = {name: columns.texts(table, name) for name in (SLIDE, CASE, STAIN, LABEL, "path", *_TEXTS)}
        numbers = Numbers(table, columns, self._marks)
        self._ids.refuse(table.path, f"column {clip(columns.of.get(CASE, ''))}", texts[CASE], table.lines)
        rows: dict[str, dict[str, Any]] = {}
        line_of: dict[str, int] = {}
        stain_of = self._stains(table, columns)
        for i, line in enumerate(table.lines):
            where = f"{table.path}, line {line}"
            slide_id = slide_of_text(texts[SLIDE][i])
            if not slide_id or self._says_nothing(texts[SLIDE][i]):
                raise DataError(f"{where}, has no slide in column {clip(columns.of[SLIDE])}: fill it, or drop the line")
            if slide_id in rows:
                raise DataError(
                    f"{table.path} has slide {clip(slide_id)} twice (lines {line_of[slide_id]} and {line}): keep one"
                )
            line_of[slide_id] = line
            row: dict[str, Any] = {
                CASE: self._case(texts[CASE][i], slide_id, where, columns),
                STAIN: stain_of(i),
                "path": self._path(table, columns, texts["path"][i], texts[SLIDE][i]),
                **{name: texts[name][i] for name in _TEXTS if not self._says_nothing(texts[name][i])},
                **numbers.of_row(i),
            }
            rows[slide_id] = {name: value for name, value in row.items() if value is not None}
        notes = [*table.repeats_told(), *numbers.notes(), *self._ids.told(), *_told_files(rows)]
        notes += _told_barcodes(rows) if self._tcga else []
        # A table that labels its cases itself need not wait for labels.
        notes += self._told_strangers(path, rows) if LABEL not in columns.of and not self._tcga else []
        given = _Given(rows, columns, notes=notes)
        return given if LABEL not in columns.of else self._with_labels(given, table, label_map, line_of)

    def _says_nothing(self, text: str) -> bool:
        return not text or self._marks.mean_missing(text)

    def _case(self, text: str, slide_id: str, where: str, columns: SlideColumns) -> str:
        if self._tcga:
            own = self._ids.read(needed_barcode(slide_id, where).case_id)
            if not self._says_nothing(text) and self._ids.read(slide_of_text(text)) != own and CASE in columns.of:
                said = barcode_of(slide_of_text(text))
                if said is None or said.case_id != own:
                    raise DataError(
                        f"{where}: slide {clip(slide_id)} is of case {own} and the table says {clip(text)!r}: correct it"
                    )
            return own
        if self._says_nothing(text):
            raise DataError(
                f"{where}: slide {clip(slide_id)} has no case in column {clip(columns.of[CASE])}: fill it, or drop the line"
            )
        return self._ids.read(text)

    def _stains(self, table: TextTable, columns: SlideColumns) -> Callable[[int], str]:
        """Gives the stain of each row."""
        if STAIN not in columns.of:
            one = self._one_stain(str(table.path))
            return lambda _: one
        texts = columns.texts(table, STAIN)
        unknown = {
            text: line
            for text, line in zip(reversed(texts), reversed(table.lines), strict=True)
            if self._settings.stain_of(text) is None
        }
        if unknown:
            raise self._unknown_stain(table, columns, dict(reversed(unknown.items())))
        return lambda row: str(self._settings.stain_of(texts[row]))

    def _unknown_stain(self, table: TextTable, columns: SlideColumns, line_of: Mapping[str, int]) -> DataError:
        where = f"{table.path}, line {min(line_of.values())}"
        empty = [text for text in line_of if self._says_nothing(text)]
        if empty:
            return DataError(
                f"{table.path}, line {line_of[empty[0]]}, has no stain in column {clip(columns.of[STAIN])}: fill it, or drop the line"
            )
        words = sorted(line_of, key=lambda text: line_of[text])
        lines = {
            word.lower(): f"{json.dumps(clip(word.lower(), 40), ensure_ascii=False)} = [{json.dumps(clip(word.lower(), 40), ensure_ascii=False)}]"
            for word in words
        }
        several = len(lines) > 1
        return DataError(
            f"{where}: stain {named(map(repr, map(clip, words)), 5)} {'are' if several else 'is'} not in this store "
            f"({', '.join(self._settings.stains)}): add {'the lines' if several else 'the line'} {' and '.join(list(lines.values())[:5])} "
            "under [stains] in milstore.toml, or an alias to a stain that is there"
        )

    def _one_stain(self, where: str) -> str:
        stains = list(self._settings.stains)
        if self._stain is None:
            if len(stains) == 1:
                return stains[0]
            raise UsageError(
                f"{where} does not say which stain its slides have, and the store has several ({', '.join(stains)}): say by "
                f"--stain {stains[0]} (or another) what all of them are, or by --stain-column where it stands"
            )
        found = self._settings.stain_of(self._stain)
        if found is None:
            word = json.dumps(clip(self._stain.lower(), 40), ensure_ascii=False)
            raise UsageError(
                f"stain {clip(self._stain)!r} is not in this store ({', '.join(stains)}): add the line {word} = [{word}] "
                "under [stains] in milstore.toml"
            )
        return found

    def _path(self, table: TextTable, columns: SlideColumns, text: str, slide: str) -> str | None:
        """Where the slide's file lies: absolute, links not followed."""
        folder = real_path(table.path).parent
        if "path" in columns.of:
            return None if self._says_nothing(text) else str((folder / text.replace("\\", "/")).absolute())
        # A column of names of files may hold places too.
        if ending_of(slide) in IMAGES and (own := folder / slide.replace("\\", "/")).is_file():
            return str(own.absolute())
        return None

    def _told_strangers(self, path: Path, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Cases that labels which went in before do not have, where such may be. DataError where they may not: an id may
        be mistyped."""
        known = self._edit.table("cases").to_pylist()
        labelled = {row["case_id"] for row in known if row["label"] is not None}
        cases = {row[CASE] for row in rows.values()}
        new = sorted(cases - {row["case_id"] for row in known}, key=natural_key)
        if not labelled or not new:
            return []
        if not self._new_cases:
            raise DataError(
                f"{path} has {counted(len(new), 'case')} that the store does not know ({named(new)}), and no label of "
                f"{'it' if len(new) == 1 else 'them'}: correct the ids, ingest their labels first, or say --new-cases"
            )
        return [f"not known before, and without a label: {counted(len(new), 'case')} of {path} ({named(new)})"]

    def _with_labels(
        self, given: _Given, table: TextTable, label_map: Mapping[str, str] | None, line_of: Mapping[str, int]
    ) -> _Given:
        """The labels of the slides' cases. DataError if a case has two."""
        column = given.columns.of[LABEL]
        texts = table.column(column)
        if label_map is None:
            self._marks.refuse(table.path, column, texts, table.lines, LABEL_ADVICE)
            label_map = as_classes(self._edit, table.path, column, zip(texts, table.lines, strict=True), self._marks)
        absent = [label for label in label_map if label not in set(texts)]
        if absent:
            there = sorted(set(texts), key=natural_key)
            raise DataError(
                f"--map names label {named(absent)}, which no row of {table.path} has in {column}: there are {named(there)}"
            )
        labelled = Labelled()
        first: dict[str, tuple[str | None, str, int]] = {}
        left_out: Counter[str] = Counter()
        for text, (slide_id, row) in zip(texts, given.rows.items(), strict=True):
            unknown = self._marks.mean_missing(text)
            if not unknown and text not in label_map:
                left_out[text] += 1
                continue
            name, case_id, line = None if unknown else label_map[text], row[CASE], line_of[slide_id]
            before, slide, at = first.setdefault(case_id, (name, slide_id, line))
            if before != name:
                raise DataError(
                    f"{table.path} has case {clip(case_id)} as {clip(before or 'unknown')} (slide {clip(slide)}, line {at}) and as "
                    f"{clip(name or 'unknown')} (slide {clip(slide_id)}, line {line}): keep one"
                )
            if name is None:
                labelled.unknown[case_id] = None
            else:
                labelled.class_of[case_id] = name
                labelled.source.setdefault(case_id, text)
        if left_out:
            words = [f"{clip(text)!r} ({counted(count, 'slide')})" for text, count in left_out.items()]
            given.notes.append(f"without a label here, which the map lacks: {named(words)}")
        return _Given(given.rows, given.columns, labelled, list(dict.fromkeys(label_map.values())), given.notes)


_NAMES = ((SLIDE, "slide", "filename", "FILENAME", "file"), (CASE, "case", "patient", "PATIENT", STAIN, LABEL))


def _told_barcodes(rows: Iterable[str]) -> list[str]:
    """What the barcodes say besides: kinds of slides that may not belong together."""
    found = [barcode for slide_id in rows if (barcode := barcode_of(slide_id)) is not None]
    kinds = Counter("diagnostic (DX)" if each.kind == "DX" else f"frozen ({each.kind})" for each in found)
    lines = [] if len(kinds) < 2 else [f"by their barcodes: {', '.join(f'{n} {kind}' for kind, n in kinds.items())}"]
    normal = sum(each.is_normal for each in found)
    if normal:
        lines.append(
            f"by their barcodes {counted(normal, 'slide')} of normal tissue (sample types 10 to 19): their case's label is of its tumour"
        )
    return lines


def _told_files(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Slides whose files are not where the table says."""
    gone = [slide_id for slide_id, row in rows.items() if row.get("path") and not Path(row["path"]).exists()]
    return [f"no file at the path that is given: {counted(len(gone), 'slide')} ({named(gone)})"] if gone else []


def _put(edit: CohortEdit, given: _Given, path: Path, *, replace: bool) -> tuple[int, list[str]]:
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
    found: _Given,
    new: int,
    corrected: list[str],
    notes: list[str],
    *,
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
        not_understood=found.columns.left,
        new=new,
        corrected=tuple(sorted(corrected, key=natural_key)),
        labels={name: labels[name] for name in found.wanted},
        dry_run=dry_run,
        notes=tuple(notes),
        case_of={slide_id: row[CASE] for slide_id, row in found.rows.items()},
        path_of={slide_id: row["path"] for slide_id, row in found.rows.items() if row.get("path")},
    )
