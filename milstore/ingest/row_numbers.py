"""Files whose rows do not name their patches: the row is the patch's number, where that is unambiguous."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.formats.feature_reading import SliceIndex
from milstore.ingest.feature_import import Job
from milstore.ingest.slices import SliceBook
from milstore.store.features import open_features
from milstore.store.names import clip, counted


class HasRows(Protocol):
    """What is needed of a file."""

    @property
    def file(self) -> str:
        """Its name."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Case, stain and name of its slice."""

    @property
    def index(self) -> SliceIndex:
        """What it says of its rows."""


def refuse_unknown_rows(job: Job, files: Sequence[HasRows]) -> None:
    """DataError if which row is which patch cannot be told.

    A file without numbers and coordinates has its rows numbered from 0. In a slice that the store has patches of, these are
    the same patches only where they, too, came without places, and are as many.
    """
    asked = [file for file in files if file.index.layout.by_row]
    if not asked:
        return
    book = SliceBook()
    patches = job.plan.table("patches")
    known = book.ids_by_idx(patches, job.plan.table("slices"))
    for file in asked:
        slice_id = book.find(file.key)
        there = patches.filter(pa.array(known == slice_id)) if slice_id is not None else patches.slice(0, 0)
        if not there.num_rows or _has(job, there, file.index.rows):
            continue
        placed, pictured = there["x"].null_count < there.num_rows, there["file"].null_count < there.num_rows
        if placed or pictured or there.num_rows != file.index.rows:
            what = "with places" if placed else "with images" if pictured else "without places"
            raise DataError(
                f"{clip(file.file, 200)} says of its {counted(file.index.rows, 'row')} neither coordinates nor patch_idx, and the store "
                f"has {counted(there.num_rows, 'patch', 'patches')} {what} of case {clip(file.key[0])}, {file.key[1]}, {file.key[2]}: "
                "which row is which patch cannot be told; give files with coordinates"
            )


def _has(job: Job, there: pa.Table, rows: int) -> bool:
    """Whether the encoder has features of just the patches 0 to rows - 1 of a slice: then these are given once more."""
    if job.encoder not in job.plan.table("encoders")["encoder"].to_pylist():
        return False
    packed = open_features(job.store, job.plan.base, job.encoder).patches
    row = there.slice(0, 1).to_pylist()[0]
    same = pc.and_(pc.equal(packed["case_id"], row["case_id"]), pc.equal(packed["slice_idx"], row["slice_idx"]))
    own = packed.filter(pc.and_(same, pc.equal(packed["stain"], row["stain"])))["patch_idx"]
    return bool(np.array_equal(np.sort(np.asarray(own)), np.arange(rows)))
