"""Slides of new cases: whose they are, cut as the models' patches were cut, encoded by the encoder that the models name."""

import csv
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from milstore.encoders.encode import encode_patches
from milstore.encoders.encode_folder import encode_by_folder
from milstore.encoders.encoder_folder import EncoderFolder, read_encoder_folder
from milstore.encoders.encoding_plan import FolderOptions
from milstore.encoders.registry import load_encoder
from milstore.errors import ConflictError, DataError, MilstoreError, UsageError
from milstore.ingest.file_names import read_names
from milstore.ingest.slide_names import IMAGES, ending_of, slide_of_text
from milstore.ingest.slide_table import SlidesReport, ingest_slides
from milstore.ingest.tiles import tile_slides
from milstore.pixels.patch_source import slide_path
from milstore.pixels.slide import open_slide
from milstore.pixels.tiling import TileSettings
from milstore.progress import Progress
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.paths import Store
from milstore.store.slides import Slides

Heed = Callable[[Iterable[str]], None]
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


@dataclass(frozen=True, kw_only=True)
class Way:
    """How slides become features of the models' encoder; nothing is cut or computed yet."""

    encoder: str
    grid: str
    settings: TileSettings
    folder: EncoderFolder | None
    """The encoder's; None for one that is built in, installed or a file."""
    loaded: str
    """What `encode_patches` is to load, where it is no folder."""

    def encode(self, store: Store, cases: Sequence[str], jobs: int | None, progress: Progress) -> list[str]:
        """Compute the features of these cases' patches, and say so."""
        if self.folder is not None:
            options = FolderOptions(grid=self.grid, cases=tuple(cases))
            return encode_by_folder(store, self.folder, options, progress=progress).lines()[:1]
        report = encode_patches(store, self.loaded, grid=self.grid, cases=tuple(cases), jobs=jobs, progress=progress)
        return report.lines()[:1]


def way_of(cohort: Cohort, encoder: str, given: SlidesGiven) -> Way:
    """How slides become features of an encoder, checked before anything is stored.

    Raises:
        UsageError: the encoder's folder or file is not named, or is none.
        ConflictError: the store's features of it lie on no grid, or were made by another encoder than is given.
        DataError: the encoder's folder is damaged.
    """
    row = next(row for row in cohort.table("encoders").to_pylist() if row["encoder"] == encoder)
    grids = {grid["grid"]: grid for grid in cohort.table("grids").to_pylist()}
    grid = grids.get(row["grid"])
    if grid is None or grid["mpp"] is None:
        raise ConflictError(
            f"the patches of encoder {encoder} lie on no grid of a known resolution, so slides cannot be cut as they were: "
            "make features of the new slides as those were made, and give them by --features"
        )
    settings = TileSettings(mpp=grid["mpp"], patch=grid["edge"], overlap=grid["overlap"] or 0)
    if given.encoder is not None and given.encoder_folder is not None:
        raise UsageError("--encoder and --encoder-folder: give one of them")
    folder, loaded = None, ""
    if given.encoder_folder is not None:
        folder = _folder(given.encoder_folder, encoder, row["weights_sha256"])
    elif row["weights_sha256"] is not None:
        raise UsageError(
            f"the features of {encoder} are of an encoder that is a folder: say where it is, by --encoder-folder DIR"
        )
    else:
        loaded = _loaded(encoder, row["source"], given.encoder)
    return Way(encoder=encoder, grid=row["grid"], settings=settings, folder=folder, loaded=loaded)


def _folder(path: Path, encoder: str, known: str | None) -> EncoderFolder:
    """The encoder's folder, in the precision in which it made the store's features. ConflictError if it is another."""
    folder = read_encoder_folder(path, name=encoder)
    if known is not None and folder.weights_sha256 != known:
        folder = read_encoder_folder(path, name=encoder, fp16=True)
    if folder.weights_sha256 != known:
        made = f"by other weights or settings ({known[:12]}…)" if known else "elsewhere"
        raise ConflictError(
            f"the features of {encoder}, on which the models were trained, were made {made}, and not by the folder "
            f"{clip(str(path), 200)}: name the one that made them"
        )
    return folder


def _loaded(encoder: str, source: str, given: str | None) -> str:
    """The name by which the encoder is loaded. Errors as for `way_of`."""
    elsewhere = (
        f"the features of {encoder} were not computed by an encoder that is here ({clip(source, 100)}): compute those of the "
        "new slides as they were computed, and give them by --features"
    )
    try:
        loaded = load_encoder(given or encoder)
    except UsageError as error:
        if given is not None:
            raise
        raise ConflictError(elsewhere) from error
    if loaded.encoder.name != encoder:
        raise UsageError(f"encoder {given or encoder} makes features called {loaded.encoder.name}, not {encoder}")
    if not source.startswith(loaded.source):
        raise ConflictError(elsewhere)
    return given or encoder


def take_slides(
    store: Store, given: SlidesGiven, way: Way, heed: Heed, jobs: int | None, progress: Progress
) -> tuple[list[str], list[str]]:
    """Take slides in, cut and encode them. The cases, and what is to be told.

    Slides that have patches on the models' grid are not cut again: whoever wants other settings of the tissue cuts them
    before, by milstore tile.

    Args:
        store: the store.
        given: the slides.
        way: from `way_of`.
        heed: called with the cases before anything is stored; raises where they are not wanted.
        jobs: processes.
        progress: is told how far it is.

    Raises:
        UsageError: it is not said which slide is of whom.
        DataError: no slide can be opened or cut.
        ConflictError: the store says otherwise of a slide.
    """
    with _Table(store, given) as table:
        case_of, files = _look(store, given, table)
        heed(sorted(set(case_of.values()), key=natural_key))
        _refuse_unopened(files)
        notes = [] if table is None else _named(_ingest(store, given, table, dry_run=False), given)
    known = read_cohort(store)
    on_grid = _with_patches(known, way.grid)
    wanted = [slide_id for slide_id in case_of if slide_id not in on_grid]
    if wanted:
        asked = [files.get(slide_id) or slide_id for slide_id in wanted]
        report = tile_slides(store, asked, way.settings, slide_mpp=given.slide_mpp, jobs=jobs, progress=progress)
        notes += report.lines()
    cases = sorted(set(case_of.values()), key=natural_key)
    return cases, [*notes, *way.encode(store, cases, jobs, progress)]


class _Table:
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
    """What the names in a folder say of the slides that the store does not know. DataError if one says nothing."""
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


def _ingest(store: Store, given: SlidesGiven, table: Path, *, dry_run: bool) -> SlidesReport:
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


def _look(store: Store, given: SlidesGiven, table: Path | None) -> tuple[dict[str, str], dict[str, Path]]:
    """The case of each slide that is given, and its file where that is known, before anything is stored."""
    known = Slides(read_cohort(store))
    case_of: dict[str, str] = {}
    files: dict[str, Path] = {}
    if table is not None:
        report = _ingest(store, given, table, dry_run=True)
        case_of |= report.case_of
        files |= {slide_id: store.root / path for slide_id, path in report.path_of.items()}
    there = _files(given.path) if given.path.is_dir() else {}
    files |= there
    case_of |= {slide_id: known[slide_id].case_id for slide_id in there if slide_id in known}
    for slide_id in case_of.keys() - files.keys():
        if slide_id in known and (path := slide_path(store.root, known[slide_id])) is not None:
            files[slide_id] = path
    return case_of, {slide_id: path for slide_id, path in files.items() if slide_id in case_of}


def _refuse_unopened(files: Mapping[str, Path]) -> None:
    """The first problem, if none of the slides can be opened. Those that cannot beside others that can are named later."""
    problems: list[MilstoreError] = []
    for path in files.values():
        try:
            with closing(open_slide(path)):
                return
        except MilstoreError as error:
            problems.append(error)
    if problems:
        raise problems[0]


def _with_patches(cohort: Cohort, grid: str) -> set[str]:
    """The slides that have patches on a grid."""
    slide_of = {
        (row["case_id"], row["stain"], row["slice_idx"]): row["slide_id"] for row in cohort.table("slices").to_pylist()
    }
    patches = (
        cohort.table("patches")
        .select(["case_id", "stain", "slice_idx", "grid"])
        .group_by(["case_id", "stain", "slice_idx", "grid"])
    )
    there = {
        slide_of.get((row["case_id"], row["stain"], row["slice_idx"]))
        for row in patches.aggregate([]).to_pylist()
        if row["grid"] == grid
    }
    return {slide_id for slide_id in there if slide_id is not None}


_EXPECTED = ("nothing changed", "without patches:", "not known before, and without a label:")
"""How lines begin that say of new slides what everybody expects."""


def _named(report: SlidesReport, given: SlidesGiven) -> list[str]:
    """What is told of the slides, by the name that the user gave."""
    expected = (*_EXPECTED, "columns:") if given.path.is_dir() else _EXPECTED
    return [line.replace(report.source, str(given.path)) for line in report.lines() if not line.startswith(expected)]


def without_features(cases: Sequence[str], there: Mapping[str, object], encoder: str) -> list[str]:
    """What is said of cases whose slides gave no features. ConflictError if none gave any."""
    without = [case for case in cases if case not in there]
    if without and len(without) == len(cases):
        raise ConflictError(
            f"no slide of {counted(len(cases), 'case')} ({named(cases)}) has a patch with features of {encoder}: no tissue was "
            "found on them; look at the pictures, and cut them by milstore tile with other settings"
        )
    return (
        [f"without any patch, so not predicted: {counted(len(without), 'case')} ({named(without)})"] if without else []
    )
