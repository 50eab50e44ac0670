"""Features that come in a file a patch, packed."""

import contextlib
import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from milstore.formats.feature_reading import (
    FormatOf,
    Piece,
    pack_piece,
    read_vector,
)
from milstore.ingest.feature_import import (
    Job,
    Packed,
    Put,
    commit,
    crew_for,
    new_pack,
    placed_in,
    planned,
    read_patch_names,
    refuse_others,
)
from milstore.ingest.file_discovery import Found
from milstore.progress import Progress
from milstore.store.features import FeaturePack
from milstore.workers import Crew

_FEW = 2000
"""Files of a vector each for which starting a process takes longer than reading them."""


_PIECE_BYTES = 1 << 23


_PIECES = 8
"""Pieces for each process, if they are neither much smaller nor much larger than that."""


class NotHalf(Exception):  # noqa: N818 - a turn of the work, not a fault
    """Raised when a vector is not float16, so that the pack must be float32."""


def pack_patch_files(job: Job, found: Found, format_of: FormatOf) -> Packed:
    """Pack features in one file per patch (form (a) of `ingest_features`)."""
    with crew_for(1 if len(found.files) < _FEW else job.jobs, format_of) as crew:
        names = read_patch_names(job, found, whole_slices=False)
        put: Put = partial(placed_in, job, table=names.table)
        placed = put(job.plan)
        files = placed.rows["file"].to_pylist()
        (first,) = crew.mapped(read_vector, [(str(found.root), files[0], format_of)])
        if job.dry_run:
            return planned(job, placed, len(first), names.unread, next(iter(dict.fromkeys(format_of.values()))))
        refuse_others(job, placed, 0, first)

        def packed_as(dtype: str) -> Packed:
            with new_pack(job, placed, len(first), dtype) as pack:
                pack_vectors(pack, found.root, files, format_of, crew=crew, progress=job.progress)
                crew.dismiss()
                return dataclasses.replace(commit(job, pack, put, placed), skipped=tuple(names.unread))

        if first.dtype == np.float16:
            # One that is not half may show when much is done, but is rare.
            with contextlib.suppress(NotHalf):
                return packed_as("float16")
        return packed_as("float32")


def pack_vectors(
    pack: FeaturePack, root: Path, files: Sequence[str], format_of: FormatOf, *, crew: Crew, progress: Progress
) -> None:
    """Put the vectors of files (one a row of `pack.patches`, in that order) into a pack, read by a crew.

    Raises:
        DataError: a file is damaged, its vector has another length than the pack's, or holds NaN or infinity.
        NotHalf: the pack is float16 and a vector is not.
    """
    least = max(64, _PIECE_BYTES // (pack.n_features * pack.dtype.itemsize))
    # A process waits a little for each piece, and at the end for whoever has the last: neither too many nor too few.
    rows = min(max(least, len(files) // (_PIECES * crew.jobs)), 4 * least)
    tasks = [
        Piece(str(root), files[i : i + rows], format_of, i, files[0], pack.target) for i in range(0, len(files), rows)
    ]
    for task, half in zip(tasks, crew.mapped(pack_piece, tasks), strict=True):
        if not half and pack.dtype == np.float16:
            raise NotHalf
        pack.accept(task.first_row, len(task.files))
        progress("packing features", task.first_row + len(task.files), len(files))
