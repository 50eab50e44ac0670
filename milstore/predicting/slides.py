"""Slides of new cases: ingested, cut like the models' patches, and encoded by the models' encoder."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from milstore.errors import ConflictError
from milstore.ingest.slide_table import SlidesReport
from milstore.ingest.tiles import tile_slides
from milstore.predicting.slide_encoding import SlideEncoding
from milstore.predicting.slides_given import SlidesGiven, SlidesTable, given_files, ingest_given, refuse_unopened
from milstore.progress import Progress
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.names import counted, named, natural_key
from milstore.store.paths import Store

Heed = Callable[[Iterable[str]], None]


def take_slides(
    store: Store, given: SlidesGiven, encoding: SlideEncoding, heed: Heed, jobs: int | None, progress: Progress
) -> tuple[list[str], list[str]]:
    """Ingest slides, cut and encode them. Returns their cases, and messages for the user.

    Slides that have patches on the models' grid are not cut again: whoever wants other settings of the tissue cuts them
    before, by milstore tile.

    Args:
        store: the store.
        given: the slides.
        encoding: from `slide_encoding_of`.
        heed: called with the cases before anything is stored; raises where they are not wanted.
        jobs: processes.
        progress: is told how far it is.

    Raises:
        UsageError: it is not said which slide is of whom.
        DataError: no slide can be opened or cut.
        ConflictError: the store says otherwise of a slide.
    """
    with SlidesTable(store, given) as table:
        case_of, files = given_files(store, given, table)
        heed(sorted(set(case_of.values()), key=natural_key))
        refuse_unopened(files)
        notes = [] if table is None else _named(ingest_given(store, given, table, dry_run=False), given)
    known = read_cohort(store)
    on_grid = _with_patches(known, encoding.grid)
    wanted = [slide_id for slide_id in case_of if slide_id not in on_grid]
    if wanted:
        asked = [files.get(slide_id) or slide_id for slide_id in wanted]
        report = tile_slides(store, asked, encoding.settings, slide_mpp=given.slide_mpp, jobs=jobs, progress=progress)
        notes += report.lines()
    cases = sorted(set(case_of.values()), key=natural_key)
    return cases, [*notes, *encoding.encode(store, cases, jobs, progress)]


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
"""Beginnings of report lines that are left out, as they state what is expected of new slides."""


def _named(report: SlidesReport, given: SlidesGiven) -> list[str]:
    """The report on the slides, with the name that the user gave."""
    expected = (*_EXPECTED, "columns:") if given.path.is_dir() else _EXPECTED
    return [line.replace(report.source, str(given.path)) for line in report.lines() if not line.startswith(expected)]


def without_features(cases: Sequence[str], there: Mapping[str, object], encoder: str) -> list[str]:
    """A note on cases whose slides gave no features. Raises ConflictError if none gave any."""
    without = [case for case in cases if case not in there]
    if without and len(without) == len(cases):
        raise ConflictError(
            f"no slide of {counted(len(cases), 'case')} ({named(cases)}) has a patch with features of {encoder}: no tissue was "
            "found on them; given_files at the pictures, and cut them by milstore tile with other settings"
        )
    return (
        [f"without any patch, so not predicted: {counted(len(without), 'case')} ({named(without)})"] if without else []
    )
