"""Ingests annotated regions: a patch belongs to those that contain its centre.

What is stored is the answer, not the outlines: patches that are cut later get their regions when the files are ingested
again, and the command that brings such patches says so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.geojson import ANNOTATION, DrawnObject, inside, read_drawing
from milstore.ingest.file_discovery import find_files
from milstore.ingest.region_files import Placed, PlacedPatches, RegionFile, patches_of, place
from milstore.ingest.region_report import RegionsReport
from milstore.pixels.slide_bounds import Begin
from milstore.schema.arrow import arrow_schema
from milstore.store import Store
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.names import clip, natural_key
from milstore.store.patch_index import PLACE
from milstore.store.slice_files import FileNames
from milstore.store.slides import Slides

REBUILT = ("patch_regions",)
"""The table that regions make again where its file is damaged."""
_LONGEST = 200
"""Letters of a region's name."""
_SLICE = list(PLACE[:3])


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionOptions:
    """How files of regions are read."""

    unclassified: str | None = None
    """Name of the regions that have no class; None leaves them out."""
    every_kind: bool = False
    """Whether detections, tiles and cells are regions too."""
    slide: str | None = None
    """The slide that the one file is about, where its name does not say it."""
    begin: Begin | None = None
    """Where the file's pixel (0, 0) lies on level 0; None: at OpenSlide's bounds for files of QuPath, else at 0, 0."""


def ingest_regions(
    store: Store, path: str | Path, options: RegionOptions | None = None, *, replace: bool = False
) -> RegionsReport:
    """Ingest annotated regions: a patch gets those that contain its centre. Repeating it changes nothing.

    Args:
        store: the store, which must know the slides and their patches.
        path: a GeoJSON file, or a folder of them; the stem of a file's name is the slide's id.
        options: how the files are read.
        replace: these are all the regions of the slides that the files are about: others go.

    Raises:
        DataError: a file cannot be read, or no file is of a slide of the store.
        UsageError: an option does not fit.
        ConflictError: a region of a slide has patches in the store that are not in the one of the file, and `replace` is not
            given.
    """
    options = options or RegionOptions()
    files = _files(Path(path), options)
    # Read before the cohort is locked: what is wrong with a file keeps nobody waiting.
    read = [RegionFile(path=file, drawing=read_drawing(file)) for file in files]
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        names = _file_names(edit)
        slices = edit.table("slices").to_pylist()
        placed, strangers = [], []
        for file in read:
            found = place(file, names, slices, options.slide, options.begin, store.root)
            placed += [] if found is None else [found]
            strangers += [] if found else [file.path.name]
        if not placed:
            raise _nobody(read, names)
        report = RegionsReport(strangers=tuple(sorted(strangers, key=natural_key)))
        new, said = _rows(placed, edit.table("patches"), options, report)
        _put(edit, new, said, placed, replace=replace)
    report.changed = edit.changed
    report.notes += edit.notes
    return report


def _files(path: Path, options: RegionOptions) -> list[Path]:
    if not path.is_dir():
        return [path]
    if options.slide is not None:
        raise UsageError("--slide names the slide of one file: give that file, not a folder")
    found = find_files(path, ("geojson",))
    if not found.files:
        raise DataError(f"{clip(str(path), 300)} holds no .geojson files: give the folder of the annotations")
    return [found.root / name for name in sorted(found.files, key=natural_key)]


def _file_names(edit: CohortEdit) -> FileNames:
    slides = Slides(edit)
    on_slides = {(slide.case_id, slide.stain, slide.slice_name) for slide in slides.values()}
    rows = [row for row in edit.table("slices").to_pylist() if row["slide_id"] is None]
    keys = {(row["case_id"], row["stain"], row["slice_name"]) for row in rows}
    return FileNames(slides, keys - on_slides)


def _nobody(files: Sequence[RegionFile], names: FileNames) -> DataError:
    first = clip(str(files[0].path), 300)
    known = names.examples()
    like = f" (it has {known})" if known else ""
    what = (
        f"{first} is of no slide" if len(files) == 1 else f"none of {len(files)} files, such as {first}, is of a slide"
    )
    return DataError(
        f"{what} of the store{like}: name the file by the slide's id, or say it by --slide; milstore ingest slides makes slides known"
    )


def _rows(
    placed: Sequence[Placed], patches: pa.Table, options: RegionOptions, report: RegionsReport
) -> tuple[pa.Table, pa.Table]:
    """The rows of `patch_regions`, and the regions that the files tell of, a row a slice and region."""
    new: list[pa.Table] = []
    said: set[tuple[str, str, int, str]] = set()
    for file, found in zip(placed, patches_of(patches, placed), strict=True):
        regions = _named(file, options, report)
        _count(report, file, found, regions)
        for name, objects in regions.items():
            said |= {(case_id, stain, slice_idx, name) for case_id, stain, slice_idx in file.slices}
            polygons = [polygon for each in objects for polygon in each.polygons]
            begin = np.array([file.begin.x, file.begin.y], np.float64)
            rows = found.places.filter(pa.array(inside(polygons, found.centres - begin)))
            new.append(rows.append_column("region", pa.array([name] * rows.num_rows, pa.string())))
            if not rows.num_rows and found.places.num_rows:
                report.empty.append(f"{name} of {file.name}")
    schema = arrow_schema("patch_regions")
    table = _once(pa.concat_tables([rows.cast(schema) for rows in new] or [schema.empty_table()]))
    counts = table.group_by(list(PLACE)).aggregate([([], "count_all")])["count_all"].to_numpy()
    report.inside, report.in_several = len(counts), int((counts > 1).sum())
    return table, _keys(said, [*_SLICE, "region"])


def _count(
    report: RegionsReport, file: Placed, found: PlacedPatches, regions: Mapping[str, Sequence[DrawnObject]]
) -> None:
    """What is told of a file."""
    drawing = file.drawing
    report.files += 1
    report.regions |= set(regions)
    report.without_area += drawing.without_area
    report.unclosed += drawing.unclosed
    if file.name not in report.slides:
        report.patches += found.places.num_rows + found.without
        report.without_place += found.without
    report.slides.add(file.name)
    if not found.places.num_rows and not found.without:
        report.without_patches.add(file.name)
    if beyond := file.beyond(each for objects in regions.values() for each in objects):
        report.beyond[file.name] = report.beyond.get(file.name, 0) + beyond
    if not file.begin.known:
        report.unknown_begin.add(file.name)
    if (file.begin.x, file.begin.y) != (0, 0):
        report.begun[file.name] = (file.begin.x, file.begin.y)


def _named(file: Placed, options: RegionOptions, report: RegionsReport) -> Mapping[str, list[DrawnObject]]:
    """The objects of a file that are regions, by name."""
    found: dict[str, list[DrawnObject]] = {}
    for each in file.drawing.objects:
        if each.kind != ANNOTATION and not options.every_kind:
            report.other_kinds[each.kind] = report.other_kinds.get(each.kind, 0) + 1
            continue
        name = each.name or options.unclassified
        if name is None:
            report.unclassified += 1
            continue
        if len(name) > _LONGEST or not name.isprintable():
            raise DataError(
                f"{file.path.name} has a region called {clip(ascii(name))}: a name has up to {_LONGEST} letters that can be printed"
            )
        found.setdefault(name, []).append(each)
    return found


def _put(edit: CohortEdit, new: pa.Table, said: pa.Table, placed: Sequence[Placed], *, replace: bool) -> None:
    """Put the rows to those of the store. ConflictError if a region would lose patches, and `replace` is not given."""
    old = edit.table("patch_regions")
    keys = [*PLACE, "region"]
    slices = _keys({key for file in placed for key in file.slices}, _SLICE)
    kept = [old.join(slices, _SLICE, join_type="left anti")]
    if not replace:
        mine = old.join(slices, _SLICE, join_type="left semi")
        lost = mine.join(said, [*_SLICE, "region"], join_type="left semi").join(new, keys, join_type="left anti")
        if lost.num_rows:
            _refuse(lost)
        kept.append(mine)
    edit.replace("patch_regions", _once(pa.concat_tables([*(_once(table) for table in kept), new])))


def _once(table: pa.Table) -> pa.Table:
    columns = [*PLACE, "region"]
    return table.group_by(columns).aggregate([]).select(columns).cast(arrow_schema("patch_regions"))


def _keys(rows: Collection[tuple[Any, ...]], columns: Sequence[str]) -> pa.Table:
    """Rows as a table with these columns of `patch_regions`."""
    schema = arrow_schema("patch_regions")
    return pa.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in sorted(rows)],
        pa.schema([schema.field(name) for name in columns]),
    )


def _refuse(lost: pa.Table) -> None:
    row = lost.sort_by([(name, "ascending") for name in (*PLACE, "region")]).slice(0, 1).to_pylist()[0]
    lies = "patch lies" if lost.num_rows == 1 else "patches lie"
    raise ConflictError(
        f"{lost.num_rows} {lies} in a region by the store and outside it by these files (such as patch {row['patch_idx']} of case "
        f"{clip(row['case_id'])}, {row['stain']}: {clip(row['region'])}): use --replace to take the regions of these slides again"
    )
