"""One feature vector a patch, each in a file of its own, gathered into a pack by several processes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from milstore.formats.pieces import Piece, Vector, pack_piece, read_vector
from milstore.progress import Progress
from milstore.store.features import FeaturePack
from milstore.workers import Crew

__all__ = ["EXTENSIONS", "NotHalf", "Vector", "crew_for", "pack_vectors", "read_vector"]

EXTENSIONS = ("pt", "npy")
_PIECE_BYTES = 1 << 23
_PIECES = 8
"""Pieces for each process, if they are neither much smaller nor much larger than that."""
_FEW = 2000


def crew_for(files: Sequence[str], jobs: int | None) -> Crew:
    """Processes that read the vectors of so many files."""
    return Crew(1 if len(files) < _FEW else jobs, pack_piece.__module__)


class NotHalf(Exception):  # noqa: N818 - a turn of the work, not a fault
    """A vector is not float16, so that the pack must be float32."""


def pack_vectors(pack: FeaturePack, root: Path, files: Sequence[str], *, crew: Crew, progress: Progress) -> None:
    """Put the vectors of files (one a row of `pack.patches`, in that order) into a pack, read by a crew.

    Raises:
        DataError: a file is damaged, its vector has another length than the pack's, or holds NaN or infinity.
        NotHalf: the pack is float16 and a vector is not.
    """
    least = max(64, _PIECE_BYTES // (pack.n_features * pack.dtype.itemsize))
    # A process waits a little for each piece, and at the end for whoever has the last: neither too many nor too few.
    rows = min(max(least, len(files) // (_PIECES * crew.jobs)), 4 * least)
    tasks = [Piece(str(root), files[i : i + rows], i, files[0], pack.target) for i in range(0, len(files), rows)]
    for task, half in zip(tasks, crew.mapped(pack_piece, tasks), strict=True):
        if not half and pack.dtype == np.float16:
            raise NotHalf
        pack.accept(task.first_row, len(task.files))
        progress("packing features", task.first_row + len(task.files), len(files))
