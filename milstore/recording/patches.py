"""Finds the patches of the store that a caller names: by number, slice name, file or coordinates.

Legend: N patches that are spoken of, in their order.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from milstore.errors import DataError
from milstore.ingest.member_positions import Rows, rows_in
from milstore.ingest.patch_placing import files_in
from milstore.recording.values import columns_of
from milstore.store.cohort import Cohort
from milstore.store.names import clip, counted, named
from milstore.store.patch_index import codes, starts
from milstore.store.pattern import canonical_slice
from milstore.store.settings import Settings

FILES = ("file", "patch_path", "patch")
"""Columns that may name a patch's file; the first that is there counts."""
_TAKEN = (
    "patches are rows of (stain, slice_idx or slice_name, patch_idx), a frame with these columns, with a column file, or "
    "with stain, slice, x and y, or a list of file names"
)
_INGEST = "take it in by milstore ingest patches, or by milstore ingest features --create-patches"


class StorePatches:
    """The patches of a store, case by case."""

    def __init__(self, cohort: Cohort, settings: Settings) -> None:
        """Use one generation of the cohort."""
        self._cohort, self._settings = cohort, settings

    @cached_property
    def _ranges(self) -> dict[str, tuple[int, int]]:
        """First row and end of each case: a table of patches is sorted by it."""
        cases = self._cohort.table("patches")["case_id"]
        first = starts(codes(cases)[0])
        ends = [*first[1:].tolist(), len(cases)]
        return dict(zip(cases.take(pa.array(first)).to_pylist(), zip(first.tolist(), ends, strict=True), strict=True))

    @cached_property
    def _names(self) -> dict[tuple[str, str, int], str]:
        slices = self._cohort.table("slices").select(["case_id", "stain", "slice_idx", "slice_name"])
        return {(c, s, i): name for c, s, i, name in zip(*(col.to_pylist() for col in slices.columns), strict=True)}

    def of(self, case_id: str) -> "CasePatches":
        """The patches of a case. DataError if the store has none of it."""
        if case_id not in self._ranges:
            raise DataError(f"the store has no patch of case {clip(case_id)!r}: {_INGEST}")
        first, end = self._ranges[case_id]
        table = self._cohort.table("patches").slice(first, end - first)
        table = table.select(["case_id", "stain", "slice_idx", "patch_idx", "file", "x", "y"]).combine_chunks()
        keys = zip(*(table[name].to_pylist() for name in ("case_id", "stain", "slice_idx")), strict=True)
        return CasePatches(
            case_id,
            table.append_column("slice_name", pa.array([self._names[key] for key in keys], pa.string())),
            self._settings,
        )


class CasePatches:
    """The patches of one case, and where those lie among them that somebody speaks of."""

    def __init__(self, case_id: str, table: pa.Table, settings: Settings) -> None:
        """Of a table of the case's patches."""
        self.case_id, self.table, self._settings = case_id, table, settings

    def find(self, patches: Any) -> Rows:
        """(N,) The row of the case's table of each patch that is spoken of.

        Raises:
            DataError: it is not clear what is spoken of, a patch is not in the store, or one stands twice.
        """
        columns = columns_of(patches)
        if columns is None:
            columns = _columns_of_rows(patches)
        sizes = {len(column) for column in columns.values()}
        if sizes in (set(), {0}):
            raise DataError(f"case {clip(self.case_id)}: no patch is given; {_TAKEN}")
        if len(sizes) > 1:
            raise DataError(f"case {clip(self.case_id)}: the columns of patches are not of one length")
        rows = self._rows(columns)
        first = np.unique(rows, return_index=True)[1]
        if len(first) < len(rows):
            double = np.setdiff1d(np.arange(len(rows)), first)
            raise DataError(f"{self._name(int(rows[double[0]]))} is given twice: give each patch once")
        return rows

    def _rows(self, columns: dict[str, list[Any]]) -> Rows:
        file_column = next((name for name in FILES if name in columns), None)
        asked: dict[str, pa.Array] = {}
        if "stain" in columns:
            asked["stain"] = pa.array([self._stain(text) for text in columns["stain"]], pa.string())
        slice_column = next((name for name in ("slice_idx", "slice_name", "slice") if name in columns), None)
        if slice_column is not None:
            values = columns[slice_column]
            by_name = slice_column == "slice_name" or (slice_column == "slice" and isinstance(values[0], str))
            name = "slice_name" if by_name else "slice_idx"
            asked[name] = pa.array([canonical_slice(str(v)) for v in values]) if by_name else self._whole(name, values)
        for name in ("patch_idx", "x", "y"):
            if name in columns:
                asked[name] = self._whole(name, columns[name])
        if file_column is not None:
            return self._by_file([str(text) for text in columns[file_column]], asked)
        ways = [
            ["stain", "slice_idx", "patch_idx"],
            ["stain", "slice_name", "patch_idx"],
            ["stain", "slice_idx", "x", "y"],
            ["stain", "slice_name", "x", "y"],
            ["stain", "x", "y"],
        ]
        keys = next((way for way in ways if set(way) <= asked.keys()), None)
        if keys is None:
            raise DataError(f"case {clip(self.case_id)}: {_TAKEN}; these have {named(columns)}")
        return self._by_keys(pa.table({name: asked[name] for name in keys}))

    def _by_keys(self, asked: pa.Table) -> Rows:
        known = self.table
        kept = np.arange(known.num_rows)
        if "x" in asked.column_names:
            kept = np.flatnonzero(np.asarray(known["x"].is_valid()) & np.asarray(known["y"].is_valid()))
            if not len(kept):
                raise DataError(
                    f"the store has no coordinates of the patches of case {clip(self.case_id)}: run milstore ingest "
                    "patches with --coordinates, or name them otherwise"
                )
        types = {field.name: field.type for field in known.schema}
        asked = asked.cast(pa.schema([(name, types[name]) for name in asked.column_names]))
        rows = rows_in(asked, known.take(pa.array(kept)), asked.column_names)
        if (rows < 0).any():
            at = int(np.argmax(rows < 0))
            row = ", ".join(f"{name} {value}" for name, value in asked.slice(at, 1).to_pylist()[0].items())
            more = f" (and {int((rows < 0).sum()) - 1} more)" if (rows < 0).sum() > 1 else ""
            if rows[at] == -2:
                raise DataError(f"case {clip(self.case_id)} has several patches at {row}{more}: give the slice too")
            raise DataError(f"case {clip(self.case_id)} has no patch {row}{more} in this store: {_INGEST}")
        return kept[rows]

    def _by_file(self, files: list[str], asked: dict[str, pa.Array]) -> Rows:
        rows = files_in(files, self.table, self._settings)
        if (rows < 0).any():
            at = int(np.argmax(rows < 0))
            what = (
                "is the name of several patches: give its path"
                if rows[at] == -2
                else f"is no patch of case {clip(self.case_id)} in this store: {_INGEST}"
            )
            raise DataError(f"{clip(files[at], 200)!r} {what}")
        for name, said in asked.items():
            real = self.table[name].take(pa.array(rows))
            wrong = [
                i for i, pair in enumerate(zip(said.to_pylist(), real.to_pylist(), strict=True)) if pair[0] != pair[1]
            ]
            if wrong:
                raise DataError(
                    f"{clip(files[wrong[0]], 200)!r} is given with {name} {said[wrong[0]].as_py()}, and the store has it "
                    f"with {real[wrong[0]].as_py()}: correct the column, or leave it out"
                )
        return rows

    def _stain(self, text: Any) -> str:
        stain = self._settings.stain_of(str(text))
        if stain is None:
            raise DataError(f"stain {clip(str(text))!r} is not in this store ({', '.join(self._settings.stains)})")
        return stain

    def _whole(self, name: str, values: Sequence[Any]) -> pa.Array:
        try:
            numbers = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if not (np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
            raise DataError(f"case {clip(self.case_id)}: {name} must be whole numbers")
        return pa.array(numbers.astype(np.int64))

    def _name(self, row: int) -> str:
        place = self.table.slice(row, 1).to_pylist()[0]
        return f"case {clip(self.case_id)}, {place['stain']}, slice {place['slice_idx']}, patch {place['patch_idx']}"

    def __len__(self) -> int:
        """How many there are."""
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        """As text, for messages."""
        return f"{counted(len(self), 'patch', 'patches')} of case {self.case_id}"


def _columns_of_rows(patches: Any) -> dict[str, list[Any]]:
    """File names, or rows of three, as columns."""
    items = (
        patches.tolist()
        if hasattr(patches, "tolist")
        else patches.to_list()
        if hasattr(patches, "to_list")
        else patches
    )
    if isinstance(items, str) or not hasattr(items, "__iter__"):
        raise DataError(_TAKEN)
    items = list(items)
    if all(isinstance(item, str) or hasattr(item, "__fspath__") for item in items):
        return {"file": [str(item) for item in items]}
    if not all(isinstance(item, list | tuple) and len(item) == 3 for item in items):
        raise DataError(_TAKEN)
    stains, slices, indices = (list(column) for column in zip(*items, strict=True))
    if len({isinstance(each, str) for each in slices}) > 1:
        raise DataError("patches name slices by number and by name: use one of them")
    return {"stain": stains, "slice": slices, "patch_idx": indices}
