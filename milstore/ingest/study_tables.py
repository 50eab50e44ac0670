"""Attention tables of the study's trainers, put on patches: by position, by value, or by the files that they name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.formats.data_table import numbers_of, read_table, texts_of
from milstore.formats.run_table import LEVELS
from milstore.formats.study_run import StudyRun
from milstore.ingest.member_positions import TEXT
from milstore.ingest.patch_placing import Ground, place_by_file
from milstore.store.names import counted, matching_case_id, named, natural_key
from milstore.store.patch_index import PLACE
from milstore.store.settings import Settings

Floats = npt.NDArray[np.float64]
CLOSE = 1e-5
"""Relative difference up to which a weight of a table is the one that was recomputed: float32 gives 3e-7."""
APART = 4.0
"""How many times as far as the nearest patch the next one must be: nearer, and the patch would be a guess."""
_LEAST = 1e-6
_FINEST = 5e-4
"""A share that was rounded to four decimals says nothing below this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ByValue:
    """Rows of a table that were looked for among recomputed attention."""

    rows: npt.NDArray[np.int64]
    """The patch of each row; -1 where none, or more than one, has its weights."""
    difference: float
    """The largest relative difference of a weight, over the rows that were found; 0 if none was."""

    @property
    def missing(self) -> int:
        """Rows that are of no patch."""
        return int((self.rows < 0).sum())


def match_by_value(table: pa.Table, recomputed: pa.Table) -> ByValue:
    """The row of `recomputed` that has the weights of each row of a table, within its case and stain.

    Args:
        table: case_id, stain, stain_attention, slice_attention, patch_attention.
        recomputed: the same, of every patch.
    """
    places: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(recomputed["case_id"].to_pylist(), recomputed["stain"].to_pylist(), strict=True)):
        places.setdefault(key, []).append(i)
    known, asked = _weights(recomputed), _weights(table)
    rows = np.full(table.num_rows, -1, np.int64)
    worst = 0.0
    for i, key in enumerate(zip(table["case_id"].to_pylist(), table["stain"].to_pylist(), strict=True)):
        candidates = np.array(places.get(key, []), np.int64)
        if not len(candidates):
            continue
        off = np.abs(known[candidates] / asked[i] - 1).max(axis=1)
        order = np.argsort(off, kind="stable")
        best = float(off[order[0]])
        alone = len(order) == 1 or off[order[1]] > APART * max(best, _LEAST)
        if best <= CLOSE and alone:
            rows[i], worst = candidates[order[0]], max(worst, best)
    found = rows[rows >= 0]
    doubles = np.isin(rows, found[np.bincount(found, minlength=1)[found] > 1]) if len(found) else np.zeros(0, bool)
    if len(found):
        rows[doubles] = -1
    return ByValue(rows=rows, difference=worst)


def _weights(table: pa.Table) -> Floats:
    levels = [np.maximum(np.asarray(table[name], np.float64), 1e-30) for name in LEVELS]
    return np.stack([*levels, levels[0] * levels[1] * levels[2]], axis=1)


def read_study_attention(path: Path, settings: Settings, known: set[str]) -> pa.Table:
    """A table of attention as it stands: case_id, stain, slice_idx, patch_idx and the three levels, by our names."""
    table = StudyRun().attention(path)
    missing = [
        name for name in ("case_id", "stain", "slice_idx", "patch_idx", *LEVELS) if name not in table.column_names
    ]
    if missing:
        raise DataError(f"{path} has no column {named(missing)}: it is no table of the study's trainers")
    columns: dict[str, Any] = {"case_id": _cases(path, table, known), "stain": _stains(path, table, settings)}
    for name in ("slice_idx", "patch_idx"):
        columns[name] = pc.cast(pa.array(numbers_of(path, table[name], name)), pa.int32())
    for name in LEVELS:
        columns[name] = numbers_of(path, table[name], name).astype(np.float32)
    return pa.table(columns)


def _cases(path: Path, table: pa.Table, known: set[str]) -> pa.Array:
    return pa.array(
        [matching_case_id(text, known) for text in texts_of(path, table, "case_id").to_pylist()], pa.string()
    )


def _stains(path: Path, table: pa.Table, settings: Settings) -> pa.Array:
    texts = texts_of(path, table, "stain").to_pylist()
    stains = [settings.stain_of(text) for text in texts]
    if None in stains:
        wrong = texts[stains.index(None)]
        raise DataError(f"stain {wrong!r} in {path} is not in this store ({', '.join(settings.stains)})")
    return pa.array(stains, pa.string())


def capped(ground: Ground, most_patches: int | None, most_slices: int | None) -> npt.NDArray[np.bool_]:
    """Which rows of `ground.patches.table` a run with caps saw: of each stain the first slices, of each slice the first
    patches, in names sorted as text, of those that count. None is no cap."""
    patch_N, slice_M = ground.patches.positions(TEXT), ground.slices.positions(TEXT)
    kept_M = (slice_M >= 0) & (slice_M < (most_slices or len(slice_M) + 1))
    of_patch = ground.slice_row
    seen: npt.NDArray[np.bool_] = (patch_N >= 0) & (patch_N < (most_patches or len(patch_N) + 1)) & kept_M[of_patch]
    return seen


def slices_by_file(
    path: Path, ground: Ground, settings: Settings, known: set[str], stains_of: Mapping[str, Mapping[str, float]]
) -> tuple[pa.Table, list[str]]:
    """The table `attention` of selected slices that name the files of all their patches, and what is said of it.

    It has the effective weights alone. A patch's weight within its slice is its share of the slice's sum, which is stain x
    slice attention. A stain's attention is the sum of its slices where these are all there; where a case lacks slices of
    one stain alone, it is what the other stains leave of 1; else it is what the run's summary says, to four decimals.

    Raises:
        DataError: a column is missing, or a file is no patch of the store.
    """
    table = read_table(path, ["case_id", "stain", "patch_path"])
    if "effective_weight" not in table.column_names:
        raise DataError(f"{path} has no column effective_weight: it is no table of the study's trainers")
    placed = pa.table({"case_id": _cases(path, table, known), "stain": _stains(path, table, settings)})
    rows, _ = place_by_file(path, placed, "patch_path", texts_of(path, table, "patch_path"), ground, settings)
    found = ground.patches.table.select(list(PLACE)).take(pa.array(rows))
    effective = numbers_of(path, table["effective_weight"], "effective_weight").astype(np.float64)
    keys = list(zip(*(found[name].to_pylist() for name in PLACE[:3]), strict=True))
    sums: dict[tuple[str, str, int], float] = {}
    for key, weight in zip(keys, effective.tolist(), strict=True):
        sums[key] = sums.get(key, 0.0) + weight
    stains, said = _stain_attention(sums, ground, {matching_case_id(c, known): s for c, s in stains_of.items()})
    kept = [i for i, key in enumerate(keys) if stains.get(key[:2]) and sums[key]]
    columns = {
        "stain_attention": [stains[keys[i][:2]] for i in kept],
        "slice_attention": [sums[keys[i]] / stains[keys[i][:2]] for i in kept],
        "patch_attention": [effective[i] / sums[keys[i]] for i in kept],
        "effective_attention": [effective[i] for i in kept],
    }
    attention = found.take(pa.array(kept, pa.int64()))
    for name, values in columns.items():
        attention = attention.append_column(name, pa.array(values, pa.float32()))
    if len(kept) < len(keys):
        said.append(f"left out: {counted(len(keys) - len(kept), 'row')} of stains whose attention nothing tells")
    return attention, said


def _stain_attention(
    sums: Mapping[tuple[str, str, int], float], ground: Ground, stains_of: Mapping[str, Mapping[str, float]]
) -> tuple[dict[tuple[str, str], float], list[str]]:
    """Attention of the stains of each case, as far as it can be told, and which are rounded."""
    slices = ground.slices.table.filter(pa.array(ground.slices.counts))
    there = set(zip(*(slices[name].to_pylist() for name in PLACE[:3]), strict=True))
    found: dict[tuple[str, str], float] = {}
    rounded: set[str] = set()
    for case in sorted({case for case, _, _ in sums}, key=natural_key):
        of_stain: dict[str, float] = {}
        for key, weight in sums.items():
            if key[0] == case:
                of_stain[key[1]] = of_stain.get(key[1], 0.0) + weight
        lacking = {key[1] for key in there - set(sums) if key[0] == case}
        for stain, weight in of_stain.items():
            if stain not in lacking:
                found[case, stain] = weight
            elif lacking == {stain}:
                found[case, stain] = 1 - sum(other for name, other in of_stain.items() if name != stain)
            elif stains_of.get(case, {}).get(stain, 0.0) > _FINEST:
                found[case, stain] = stains_of[case][stain]
                rounded.add(case)
    words = f"attention of stains to four decimals, as its summary has it: {named(sorted(rounded, key=str))}"
    return found, [words] if rounded else []
