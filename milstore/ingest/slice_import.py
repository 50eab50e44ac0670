"""Packs features that come in one file per slice or slide."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import DataError
from milstore.formats.feature_reading import (
    FormatOf,
    SliceTask,
    pack_slice,
)
from milstore.formats.interface import Layout
from milstore.formats.registry import APART
from milstore.ingest.encoder_grid import EncoderGrid, one_grid, put_grids
from milstore.ingest.feature_files import (
    SliceFile,
    check_counts,
    check_widths,
    files_of_slices,
    refuse_split,
    refuse_twice,
)
from milstore.ingest.feature_import import (
    Job,
    Packed,
    Placed,
    Put,
    commit,
    crew_for,
    new_pack,
    placed_in,
    refuse_others,
)
from milstore.ingest.file_discovery import Found
from milstore.ingest.place_numbers import numbered_by_row
from milstore.ingest.row_numbers import refuse_unknown_rows
from milstore.ingest.slide_facts import put_slide_facts
from milstore.ingest.slide_geometry import LEVEL0, Placement, place
from milstore.ingest.understood import Understood
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip, counted, named
from milstore.workers import Crew


def pack_slice_files(job: Job, found: Found, format_of: FormatOf) -> Packed:
    """Pack the features of slices, one file each."""
    apart = any(name in APART for name in format_of.values())
    with crew_for(job.jobs if apart and len(found.files) > 1 else 1, format_of) as crew:
        files, unread = files_of_slices(job, found, format_of, crew)
        refuse_twice(files)
        refuse_split(job, files)
        full = [file for file in files if file.index.rows]
        if not full:
            raise DataError(
                f"none of the {counted(len(files), 'file')} in {found.root} has a vector: make the features first"
            )
        check_widths(full)
        check_counts(job, full)
        places = [place(file.path, file.index, file.slide, job.slide_mpp) for file in full]
        grid = one_grid(
            {file.file: each.cut for file, each in zip(full, places, strict=True)},
            {file.file: file.called for file in full},
            _tool(file.index.layout for file in full),
            mixed=job.mixed,
        )
        table = _table(full, places)
        refuse_unknown_rows(job, full)
        if table["patch_idx"].null_count:
            table = numbered_by_row(table, job.plan.table("patches"), job.plan.table("slices"))
        full = _numbered(full, table)
        understood = _understood(files, full, places, grid)

        def put(edit: CohortEdit) -> Placed:
            put_slide_facts(edit, [(file.slide, file.index.layout.slide_size) for file in files], job.slide_mpp)
            own, name = put_grids(edit, grid, job.encoder, table, replace=job.replace)
            return dataclasses.replace(placed_in(job, edit, own), grid=name, seen=grid)

        placed = put(job.plan)
        if job.dry_run:
            return Packed(
                full[0].index.width,
                "",
                placed.rows,
                placed.created,
                placed.dropped,
                job.plan,
                tuple(unread),
                (),
                understood,
            )
        packed, zeros = _pack_all(job, crew, full, placed, put)
        return dataclasses.replace(packed, zeros=zeros, skipped=tuple(unread), understood=understood)


def _pack_all(
    job: Job, crew: Crew, files: Sequence[SliceFile], placed: Placed, put: Put
) -> tuple[Packed, tuple[str, ...]]:
    first_row = _first_rows(placed.rows)
    dtype = "float16" if all(file.index.half for file in files) else "float32"
    zeros: list[str] = []
    with new_pack(job, placed, files[0].index.width, dtype) as pack:
        tasks = [
            SliceTask(str(file.path), file.format, file.index, first_row[file.file], pack.target, job.encoder)
            for file in files
        ]
        for done, (task, written) in enumerate(zip(tasks, crew.mapped(pack_slice, tasks), strict=True), start=1):
            if done == 1:
                refuse_others(job, placed, task.first_row, written.first)
            if written.not_finite is not None:
                raise DataError(f"{clip(task.path, 200)}: {pack.not_finite(task.first_row + written.not_finite)}")
            pack.accept(task.first_row, task.index.rows)
            zeros += [f"{files[done - 1].file}, patch {number}" for number in written.zeros]
            job.progress("packing features", done, len(files))
        crew.dismiss()
        return commit(job, pack, put, placed), tuple(zeros)


def _table(files: Sequence[SliceFile], places: Sequence[Placement]) -> pa.Table:
    """A row a patch, file by file."""
    counts = [file.index.rows for file in files]
    of_file = pa.array(np.repeat(np.arange(len(files)), counts))

    def repeated(values: Sequence[object], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(of_file)

    # In the place of a number that is not known yet stands any.
    numbers = [file.index.order if file.index.patch_idx is None else file.index.patch_idx for file in files]
    unnumbered = np.repeat([file.index.patch_idx is None for file in files], counts)
    absent = np.repeat([each.xy is None for each in places], counts)
    xy = np.concatenate(
        [np.zeros((n, 2), np.int64) if each.xy is None else each.xy for each, n in zip(places, counts, strict=True)]
    ).astype(np.int32)
    edges = repeated([each.edge for each in places], pa.int32())
    columns = {
        "case_id": repeated([file.case_id for file in files], pa.string()),
        "stain": repeated([file.stain for file in files], pa.string()),
        "slice_name": repeated([file.slice_name for file in files], pa.string()),
        "patch_idx": pa.array(np.concatenate(numbers).astype(np.int32), mask=unnumbered),
        "x": pa.array(xy[:, 0], mask=absent),
        "y": pa.array(xy[:, 1], mask=absent),
        "width": edges,
        "height": edges,
        "file": repeated([file.file for file in files], pa.string()),
        "unit": repeated([each.unit for each in places], pa.string()),
        "grid": pa.nulls(len(of_file), pa.string()),
        "slide_id": repeated([None if file.slide is None else file.slide.slide_id for file in files], pa.string()),
    }
    return pa.table(columns)


def _numbered(files: Sequence[SliceFile], table: pa.Table) -> list[SliceFile]:
    """The files, with the patch numbers of their rows taken from the table."""
    ends = np.cumsum([file.index.rows for file in files])[:-1]
    numbers = np.split(np.asarray(table["patch_idx"], np.int64), ends)
    return [
        dataclasses.replace(file, index=file.index.numbered(own)) if file.index.patch_idx is None else file
        for file, own in zip(files, numbers, strict=True)
    ]


def _first_rows(rows: pa.Table) -> dict[str, int]:
    """The first row of each file's patches, which lie side by side."""
    first: dict[str, int] = {}
    files: npt.NDArray[np.object_] = np.asarray(rows["file"], dtype=object)
    starts = np.flatnonzero(np.append(True, files[1:] != files[:-1])) if len(files) else np.empty(0, np.int64)
    for row in starts.tolist():
        first[files[row]] = row
    return first


def _tool(layouts: Iterable[Layout]) -> str | None:
    """The tool that the files name; None if they name none, or several."""
    tools = {each.tool for each in layouts}
    return tools.pop() if len(tools) == 1 else None


def _understood(
    files: Sequence[SliceFile], full: Sequence[SliceFile], places: Sequence[Placement], grid: EncoderGrid
) -> Understood:
    formats = list(dict.fromkeys(file.index.layout.tool or file.format for file in full))
    return Understood(
        tool=" and ".join(formats),
        n_slides=len(files),
        of_slides=all(file.slide is not None for file in files),
        n_cases=len({file.case_id for file in files}),
        n_patches=sum(file.index.rows for file in full),
        width=full[0].index.width,
        size=grid.words(),
        uncertain=tuple(_uncertain(files, full, places, grid)),
    )


def _uncertain(
    files: Sequence[SliceFile], full: Sequence[SliceFile], places: Sequence[Placement], grid: EncoderGrid
) -> list[str]:
    """Notes on the files; the same note is given once for all of them."""
    said = list(dict.fromkeys(note for file in files for note in file.index.layout.notes))
    by_row = [file for file in full if file.index.layout.by_row]
    if by_row and not any(file.index.layout.notes for file in by_row):
        said.append(f"no coordinates: a patch's number is its row ({_which(by_row, full)})")
    no_edge = [file for file, each in zip(full, places, strict=True) if each.unit == LEVEL0 and each.edge is None]
    if no_edge:
        said.append(f"size of the patches on the slide unknown ({_which(no_edge, full)})")
    empty = [file.called for file in files if not file.index.rows]
    if empty:
        said.append(f"without patches: {counted(len(empty), 'slide')} ({named(empty)})")
    beyond = {file.called: each.beyond for file, each in zip(full, places, strict=True) if each.beyond}
    if beyond:
        outside = sum(each.outside for each in places)
        wholly = f", {outside} of them wholly" if outside else ""
        words = named(f"{clip(name)} {count}" for name, count in sorted(beyond.items()))
        said.append(f"{counted(sum(beyond.values()), 'patch', 'patches')} reach beyond their slides{wholly} ({words})")
    return list(dict.fromkeys([*said, *grid.notes]))


def _which(some: Sequence[SliceFile], all_of_them: Sequence[SliceFile]) -> str:
    if len(some) == len(all_of_them):
        return "all files" if len(some) > 1 else clip(some[0].file, 100)
    return f"{len(some)} of {len(all_of_them)} files: {named((file.file for file in some), 3)}"
