"""Units of coordinates: pixels of a slice and pixels of a slide's level 0 are never mixed."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError
from milstore.ingest.slices import SliceBook
from milstore.store.names import clip

_WORDS = {"slice": "pixels of the slice", "level0": "pixels of the slide's level 0"}


def refuse_mixed_units(table: pa.Table, known: pa.Table, slices: pa.Table) -> None:
    """ConflictError, naming a file, if patches come with coordinates in one unit into a slice that has them in another.

    Args:
        table: case_id, stain, slice_name, file, x and perhaps unit; where that is null, x counts pixels of the slice.
        known: the store's patches.
        slices: the store's slices.
    """
    known = known.filter(known["x"].is_valid())
    if not table.num_rows or not known.num_rows:
        return
    book = SliceBook()
    # A unit is a number, so that a slice and a unit are one.
    of_store = book.ids_by_idx(known, slices) * 2 + _is_level0(known["unit"])
    rows = np.flatnonzero(np.asarray(table["x"].is_valid()))
    unit = table["unit"] if "unit" in table.column_names else pa.nulls(table.num_rows, pa.string())
    of_table = (book.ids_by_name(table) * 2 + _is_level0(unit))[rows]
    mixed = np.isin(of_table ^ 1, np.unique(of_store))
    if not mixed.any():
        return
    row = int(rows[int(np.argmax(mixed))])
    case_id, stain, name = (table[column][row].as_py() for column in ("case_id", "stain", "slice_name"))
    words = list(_WORDS.values())
    mine = words[int(of_table[int(np.argmax(mixed))] & 1)]
    theirs = words[1 - words.index(mine)]
    raise ConflictError(
        f"{clip(str(table['file'][row].as_py() or 'the patches'), 200)} has coordinates in {mine}, and the store has those of case "
        f"{clip(case_id)}, {stain}, {clip(name)} in {theirs}: the two cannot be put together; use a store of its own"
    )


def _is_level0(unit: pa.ChunkedArray | pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.equal(unit, "level0"), False)).astype(np.int64)
