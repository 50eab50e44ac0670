"""Slides of new cases as they are given: which slide is of which case, and where its file is."""

import csv
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import DataError, MilstoreError
from milstore.ingest.file_names import read_names
from milstore.ingest.slide_names import IMAGES, ending_of, slide_of_text
from milstore.ingest.slide_table import SlidesReport, ingest_slides
from milstore.pixels.patch_source import slide_path
from milstore.pixels.slide import open_slide
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip, natural_key
from milstore.store.paths import Store
from milstore.store.slides import Slides

_COLUMNS = ("slide_id", "case_id", "stain", "slice_name", "path")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlidesGiven:
    """Slides of new cases, and the encoder of the models."""

    path: Path
    """A slides table with the files' paths, or a folder of slides whose names the pattern reads or that the store knows."""
    stain: str | None = None
    """The stain of all slides, where neither table nor name says it."""
    tcga: bool = False
    """Whether the slides' names are barcodes of TCGA."""
    slide_mpp: float | None = None
    """Micrometres a pixel of level 0 of those slides of which neither file nor table says it."""
    label_map: Mapping[str, str] | None = None
    """Class of each label of the table."""
    missing: Sequence[str] | None = None
    """Its marks of an unknown value."""
    encoder: str | None = None
    """./file.py:Class of the models' encoder, where it is the user's own."""
    encoder_folder: Path | None = None
    """The folder of the models' encoder, where it is one."""


class SlidesTable:
    """The slides table: the one that is given, one made of the names in a folder, or None where the store knows all."""

    def __init__(self, store: Store, given: SlidesGiven) -> None:
        self._store, self._given = store, given
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Path | None:
        path = self._given.path
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{clip(str(path), 300)} is not there: name a slides table, or a folder of slides")
            return path
        if self._given.tcga:
            return path
        rows = _rows_of_folder(self._store, self._given)
        if not rows:
            return None
        self._folder = tempfile.TemporaryDirectory(prefix="milstore-slides-")
        table = Path(self._folder.name) / "slides.csv"
        with table.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, _COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        return table

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def _files(folder: Path) -> dict[str, Path]:
    """The slides in a folder, by their ids. DataError if there is none."""
    files = sorted(
        (file for file in folder.iterdir() if ending_of(file.name) in IMAGES and file.is_file()),
        key=lambda file: natural_key(file.name),
    )
    if not files:
        raise DataError(
            f"{clip(str(folder), 300)} holds no slide ({', '.join(sorted(IMAGES)[:6])} …): name their folder"
        )
    return {slide_of_text(file.name): file.absolute() for file in files}


def _rows_of_folder(store: Store, given: SlidesGiven) -> list[dict[str, str]]:
    """Rows for the slides in a folder that the store does not know, read from their names.

    Raises DataError if one does not fit.
    """
    plan = CohortEdit(read_cohort(store))
    known = Slides(plan)
    new = {slide_id: path for slide_id, path in _files(given.path).items() if slide_id not in known}
    if not new:
        return []
    read = read_names(
        store.settings, [path.name for path in new.values()], list(new), CaseIds.of(plan), whole_slices=True
    )
    if read.unread:
        file, why = read.unread[0]
        raise DataError(
            f"{clip(file, 200)} is no slide that the store knows, and its name does not say whose it is ({why}): give a slides "
            "table in place of the folder, or take one in by milstore ingest slides"
        )
    id_of = {path.name: slide_id for slide_id, path in new.items()}
    return [
        {
            "slide_id": id_of[row["file"]],
            "case_id": row["case_id"],
            "stain": row["stain"],
            "slice_name": row["slice_name"],
            "path": str(new[id_of[row["file"]]]),
        }
        for row in read.table.to_pylist()
    ]


def ingest_given(store: Store, given: SlidesGiven, table: Path, *, dry_run: bool) -> SlidesReport:
    """Ingest the table of slides, or with `dry_run` only report what that would do."""
    return ingest_slides(
        store,
        table,
        stain=given.stain,
        tcga=given.tcga,
        label_map=given.label_map,
        missing=given.missing,
        new_cases=True,
        dry_run=dry_run,
    )


def given_files(store: Store, given: SlidesGiven, table: Path | None) -> tuple[dict[str, str], dict[str, Path]]:
    """The case of each slide that is given, and its file where that is known, before anything is stored."""
    known = Slides(read_cohort(store))
    case_of: dict[str, str] = {}
    files: dict[str, Path] = {}
    if table is not None:
        report = ingest_given(store, given, table, dry_run=True)
        case_of |= report.case_of
        files |= {slide_id: store.root / path for slide_id, path in report.path_of.items()}
    there = _files(given.path) if given.path.is_dir() else {}
    files |= there
    case_of |= {slide_id: known[slide_id].case_id for slide_id in there if slide_id in known}
    for slide_id in case_of.keys() - files.keys():
        if slide_id in known and (path := slide_path(store.root, known[slide_id])) is not None:
            files[slide_id] = path
    return case_of, {slide_id: path for slide_id, path in files.items() if slide_id in case_of}


def refuse_unopened(files: Mapping[str, Path]) -> None:
    """Raise the first problem if none of the slides can be opened. If some can, the others are named later."""
    problems: list[MilstoreError] = []
    for path in files.values():
        try:
            with closing(open_slide(path)):
                return
        except MilstoreError as error:
            problems.append(error)
    if problems:
        raise problems[0]
