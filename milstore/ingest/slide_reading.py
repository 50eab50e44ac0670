"""Reads and checks a table of slides, or the names of their files; stores nothing."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from milstore.errors import DataError, UsageError
from milstore.formats.csv_table import TextTable, read_csv
from milstore.formats.missing_marks import Marks
from milstore.ingest.file_discovery import find_files
from milstore.ingest.label_map import LABEL_ADVICE, Labelled, as_classes
from milstore.ingest.slide_columns import CASE, LABEL, SLIDE, STAIN, SlideColumns, refuse_doubles, slide_columns
from milstore.ingest.slide_names import IMAGES, barcode_of, ending_of, needed_barcode, slide_of_text
from milstore.ingest.slide_numbers import Numbers
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.paths import real_path
from milstore.store.settings import Settings

_TEXTS = ("slice_name", "block", "vendor")
_NAMES = ((SLIDE, "slide", "filename", "FILENAME", "file"), (CASE, "case", "patient", "PATIENT", STAIN, LABEL))
"""Columns by which a file is told that is no table of slides."""


@dataclass(frozen=True, slots=True)
class GivenSlides:
    """What was read from a table or a folder."""

    rows: dict[str, dict[str, Any]]
    """What is said of each slide, by its id: only what is known."""
    columns: SlideColumns
    labelled: Labelled | None = None
    wanted: list[str] = field(default_factory=list)
    """The classes of the labels, in their order."""
    notes: list[str] = field(default_factory=list)
    table: TextTable | None = None
    """The table, where there is one."""


class SlideReader:
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

    def of_folder(self, folder: Path) -> GivenSlides:
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
        return GivenSlides(rows, SlideColumns({}, ()), notes=[*notes, *_told_barcodes(rows)])

    def of_table(self, path: Path, asked: Mapping[str, str], label_map: Mapping[str, str] | None) -> GivenSlides:
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
        given = GivenSlides(rows, columns, notes=notes, table=table)
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
        """Cases that labels which went in before do not have, where such may be.

        DataError where they may not: an id may
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
        self, given: GivenSlides, table: TextTable, label_map: Mapping[str, str] | None, line_of: Mapping[str, int]
    ) -> GivenSlides:
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
        return replace(given, labelled=labelled, wanted=list(dict.fromkeys(label_map.values())))


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
