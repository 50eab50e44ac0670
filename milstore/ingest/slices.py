"""Slices and their numbers: given once within case and stain, in the natural order of their names; later ones get the next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.store.names import natural_key
from milstore.store.slides import Slides

Ids = npt.NDArray[np.int64]
SliceKey = tuple[str, str, str]
"""case_id, stain, slice_name"""


@dataclass(slots=True)
class SliceBook:
    """Gives every slice (case, stain and slice name) one number, whatever table it is met in."""

    keys: list[SliceKey] = field(default_factory=list)
    _ids: dict[SliceKey, int] = field(default_factory=dict)

    def id_of(self, key: SliceKey) -> int:
        """Number of a slice; a new one if it was not met before."""
        if key not in self._ids:
            self._ids[key] = len(self.keys)
            self.keys.append(key)
        return self._ids[key]

    def find(self, key: SliceKey) -> int | None:
        """Number of a slice, None if it was not met before."""
        return self._ids.get(key)

    def ids_by_name(self, table: pa.Table) -> Ids:
        """Numbers of the slices of a table with case_id, stain and slice_name."""
        return self._ids_of(table, ["case_id", "stain", "slice_name"], self.id_of)

    def ids_by_idx(self, table: pa.Table, slices: pa.Table) -> Ids:
        """Numbers of the slices of a table with case_id, stain and slice_idx, as the table `slices` numbers them."""
        rows = zip(*(slices[name].to_pylist() for name in ("case_id", "stain", "slice_idx", "slice_name")), strict=True)
        name_of = {(case_id, stain, slice_idx): slice_name for case_id, stain, slice_idx, slice_name in rows}
        return self._ids_of(
            table, ["case_id", "stain", "slice_idx"], lambda key: self.id_of((key[0], key[1], name_of[key]))
        )

    def _ids_of(self, table: pa.Table, columns: list[str], number: Callable[[Any], int]) -> Ids:
        if not table.num_rows:
            return np.empty(0, np.int64)
        coded = [table[name].combine_chunks().dictionary_encode() for name in columns]
        combined = np.zeros(table.num_rows, np.int64)
        for column in coded:
            combined = combined * len(column.dictionary) + np.asarray(column.indices, dtype=np.int64)
        _, first, place = np.unique(combined, return_index=True, return_inverse=True)
        texts = [column.take(pa.array(first)).to_pylist() for column in coded]
        ids = [number(key) for key in zip(*texts, strict=True)]
        return np.array(ids, np.int64)[place]

    def numbered(self, present: npt.NDArray[np.bool_], known: Mapping[SliceKey, int]) -> Ids:
        """slice_idx of each slice that is present; -1 for the others. Slices that have a number (`known`) keep it."""
        groups: dict[tuple[str, str], list[int]] = {}
        for number, (case_id, stain, _) in enumerate(self.keys):
            if present[number]:
                groups.setdefault((case_id, stain), []).append(number)
        slice_idx = np.full(len(self.keys), -1, np.int64)
        highest: dict[tuple[str, str], int] = {}
        for (case_id, stain, _), number in known.items():
            highest[case_id, stain] = max(number, highest.get((case_id, stain), -1))
        for group, members in groups.items():
            members.sort(key=lambda number: natural_key(self.keys[number][2]))
            following = count(highest.get(group, -1) + 1)
            for number in members:
                key = self.keys[number]
                slice_idx[number] = known[key] if key in known else next(following)
        return slice_idx

    def table(self, counts: Ids, slice_idx: Ids) -> pa.Table:
        """The table `slices` of those with patches."""
        kept = np.flatnonzero(counts)
        keys = [self.keys[number] for number in kept]
        return pa.table(
            {
                "case_id": pa.array([key[0] for key in keys], pa.string()),
                "stain": pa.array([key[1] for key in keys], pa.string()),
                "slice_idx": pa.array(slice_idx[kept], pa.int32()),
                "slice_name": pa.array([key[2] for key in keys], pa.string()),
                "n_patches": pa.array(counts[kept], pa.int32()),
            }
        )


def with_slides(slices: pa.Table, slides: Slides) -> pa.Table:
    """The table `slices` where each one that a slide is says so: by case, stain and name. What is said already stays."""
    of_key = {(slide.case_id, slide.stain, slide.slice_name): slide.slide_id for slide in slides.values()}
    names = ("case_id", "stain", "slice_name")
    keys = zip(*(slices[name].to_pylist() for name in names), strict=True)
    known = slices["slide_id"].to_pylist() if "slide_id" in slices.column_names else [None] * slices.num_rows
    found = [own if own is not None else of_key.get(key) for own, key in zip(known, keys, strict=True)]
    column = pa.array(found, pa.string())
    if "slide_id" in slices.column_names:
        return slices.set_column(slices.column_names.index("slide_id"), "slide_id", column)
    return slices.append_column("slide_id", column)
