"""Cuts slides into patches and stores their coordinates; images are written only on request."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from milstore.errors import DataError, UsageError
from milstore.ingest.slides_asked import slides_asked
from milstore.ingest.tile_files import Cut, made_folder
from milstore.ingest.tile_put import put_cuts
from milstore.ingest.tile_report import INK, SHOWN, TilesReport, write_sheet
from milstore.ingest.tile_work import Outcome, Task, cut_slide
from milstore.pixels.slide_cache import folder_of
from milstore.pixels.tiling import TileSettings
from milstore.progress import Progress, silent
from milstore.schema.arrow import arrow_schema
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.cohort_stains import follow_settings
from milstore.store.names import clip, counted, named
from milstore.store.paths import real_path
from milstore.store.slides import Slides
from milstore.workers import mapped

SLIDE, TISSUE = "slide", "tissue"
"""What is a slice: the whole slide, or each piece of its tissue."""
_DIFFER = 0.02
"""Resolutions that differ by more than this share contradict each other."""
_COARSER = 1.1
"""What a slide may be coarser than its patches."""


def tile_slides(
    store: Store,
    slides: Sequence[str | Path] = (),
    settings: TileSettings | None = None,
    *,
    slices: str = SLIDE,
    slide_mpp: float | None = None,
    write: str | Path | None = None,
    as_jpeg: bool = False,
    pictures: str | Path | None = None,
    replace: bool = False,
    jobs: int | None = None,
    progress: Progress = silent,
) -> TilesReport:
    """Cut the tissue of slides into patches, and store the patches' coordinates.

    A slide that was cut before with the same settings is not cut again, and neither is one that was cut before this was
    killed. Resolution and size of each slide go into the table of slides where that does not say them.

    Args:
        store: the store; it knows the slides (`milstore.ingest.slide_table`).
        slides: files, folders of files (their names are the slides' ids), or ids; all that the store has the path of if
            left out.
        settings: how they are cut.
        slices: slide (a slide is one slice) or tissue (each piece of its tissue is one, called <slide>_t1 and so on, by
            (y, x) of their upper left corners).
        slide_mpp: micrometres a pixel of level 0 of the slides of which neither the table nor the file says it.
        write: a folder below which the patches' images are written, too.
        as_jpeg: write them as JPEG, not as PNG.
        pictures: the folder of the pictures to check by (default: `tiles` in the store).
        replace: patches of these slides and this grid that these settings do not give go.
        jobs: processes (default: one a processor).
        progress: is told how far it is.

    Raises:
        UsageError: there are no slides, a setting cannot be, or openslide is needed and missing.
        DataError: no slide at all can be cut; the first problem is said.
        ConflictError: the store has a slide's patches in other slices, or in pixels of slices (see `put_patches` too).
        StoreError: the store cannot be written.
    """
    settings = settings or TileSettings()
    if slices not in (SLIDE, TISSUE):
        raise UsageError(f"--slices {clip(slices)!r} is not known: use {SLIDE} or {TISSUE}")
    if slide_mpp is not None and not 0.01 <= slide_mpp <= 100:
        raise UsageError(
            f"--slide-mpp {slide_mpp:g} is no resolution of a slide: give micrometres a pixel, such as 0.25"
        )
    plan = CohortEdit(read_cohort(store))
    follow_settings(plan)  # what the commit would refuse is told before hours of work
    known = Slides(plan)
    found, failed = slides_asked(store, known, slides)
    images = None if write is None else real_path(write)
    shown = store.root / "tiles" if pictures is None else real_path(pictures)
    tasks = []
    for slide_id, path in found.items():
        slide = known[slide_id]
        folder = made_folder(folder_of(store, slide_id))
        tasks.append(
            Task(
                slide_id=slide_id, path=path, mpp=slide.mpp, otherwise=slide_mpp, size=(slide.width, slide.height),
                settings=settings, folder=folder, pictures=made_folder(shown / folder.name), write=images, as_jpeg=as_jpeg,
            )
        )  # fmt: skip
    outcomes = _cut_all(tasks, jobs, progress)
    failed |= {each.slide_id: each.problem for each in outcomes if each.cut is None}
    good = [each for each in outcomes if each.cut is not None]
    if not good:
        raise _none_was_cut(outcomes, failed)
    progress("storing", 0, 1)
    cuts = {each.slide_id: each.cut for each in good if each.cut is not None}
    file_of = None if images is None else {task.slide_id: task.folder.name for task in tasks}
    with edit_cohort(store) as edit:
        result = put_cuts(
            store, edit, cuts, settings.grid, by_tissue=slices == TISSUE, images=images, folder_of=file_of,
            as_jpeg=as_jpeg, replace=replace,
        )  # fmt: skip
        notes = _put_facts(edit, cuts, found, settings)
    progress("storing", 1, 1)
    counts: Counter[str] = Counter()
    for row in edit.table("slices").to_pylist():
        counts[row["slide_id"] or ""] += row["n_patches"]
    drawn = {each.slide_id: each.picture for each in good}
    sheet = write_sheet(store, shown, cuts, drawn, failed, counts)
    return TilesReport(
        changed=edit.changed,
        grid=settings.grid.name,
        slides=len(good),
        cut=sum(each.was_cut for each in good),
        patches=result.patches,
        new=result.new,
        slices=result.slices,
        tissue=sum(float(cut.facts["tissue"]) for cut in cuts.values()),
        failed=failed,
        empty=tuple(slide_id for slide_id, cut in cuts.items() if not len(cut.places)),
        kept=result.kept,
        removed=result.removed,
        pictures=shown,
        sheet=sheet,
        images=images,
        notes=(*notes, *result.notes, *edit.notes),
    )


def _cut_all(tasks: Sequence[Task], jobs: int | None, progress: Progress) -> list[Outcome]:
    """The outcomes, in the order of the tasks; each is kept on the disk as it ends."""
    outcomes = []
    for outcome in mapped(cut_slide, tasks, jobs=jobs):
        outcomes.append(outcome)
        progress("cutting slides", len(outcomes), len(tasks))
    return outcomes


def _none_was_cut(outcomes: Sequence[Outcome], failed: Mapping[str, str]) -> Exception:
    usage = next((each.problem for each in outcomes if each.is_usage), None)
    if usage is not None:
        return UsageError(usage)
    first = next(iter(failed.values()))
    if len(failed) == 1:
        return DataError(first)
    error = DataError(f"none of {len(failed)} slides can be cut: {first}")
    for slide_id, problem in list(failed.items())[1:SHOWN]:
        error.add_note(f"{clip(slide_id)}: {problem}")
    return error


def _put_facts(
    edit: CohortEdit, cuts: Mapping[str, Cut], paths: Mapping[str, Path], settings: TileSettings
) -> list[str]:
    """Complete the table of slides from their files. Returns notes on contradictions and odd values."""
    notes: list[str] = []
    rows = edit.table("slides").to_pylist()
    contradict: dict[str, str] = {}
    moved: list[str] = []
    for row in rows:
        cut = cuts.get(row["slide_id"])
        if cut is None:
            continue
        facts = cut.facts
        if row["mpp"] and facts["file_mpp"] and abs(row["mpp"] / facts["file_mpp"] - 1) > _DIFFER:
            contradict[row["slide_id"]] = f"{row['mpp']:g} in the table, {facts['file_mpp']:g} in the file"
        for name in ("mpp", "width", "height", "magnification", "vendor"):
            row[name] = row[name] if row[name] is not None else facts[name]
        path = str(paths[row["slide_id"]])
        known = row["path"] and edit.base.store.root / row["path"]
        if not known or not known.is_file():
            row["path"] = path
        elif real_path(known) != real_path(path):
            moved.append(row["slide_id"])
    edit.replace("slides", pa.Table.from_pylist(rows, arrow_schema("slides")))
    if contradict:
        first, said = next(iter(contradict.items()))
        notes.append(
            f"resolutions that contradict: {counted(len(contradict), 'slide')}, such as {clip(first)} ({said}); cut by the "
            "table's"
        )
    if moved:
        notes.append(f"the table names other files of {named(moved, SHOWN)}, and charts read those")
    coarse = [slide_id for slide_id, cut in cuts.items() if cut.facts["mpp"] > settings.mpp * _COARSER]
    if coarse:
        notes.append(
            f"scanned coarser than {settings.mpp:g} µm a pixel, so that patches are enlarged: {counted(len(coarse), 'slide')} "
            f"({named(coarse, SHOWN)})"
        )
    inked = [slide_id for slide_id, cut in cuts.items() if cut.facts["ink"] >= INK]
    if inked:
        kept = "kept" if settings.tissue.keep_ink else "left out"
        notes.append(f"ink of pens {kept}: {counted(len(inked), 'slide')} ({named(inked, SHOWN)})")
    return notes
