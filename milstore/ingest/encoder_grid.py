"""The grid that an encoder's patches were cut on: one for all its slides, compared at the encoder's input."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, DataError
from milstore.ingest.slices import SliceBook
from milstore.ingest.slide_geometry import CLOSE, Cut
from milstore.schema.arrow import arrow_schema
from milstore.store.cohort import CohortEdit
from milstore.store.grids import Grid, round_mpp
from milstore.store.names import clip, counted, named

_MOST = 0.5
"""Share of the patches that must lie on a grid of the store to be taken for cut on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderGrid:
    """What an encoder saw of all its slides."""

    grid: Grid | None = None
    """None where it is unknown, or where neighbours share more on one slide than on another."""
    px: int | None = None
    mpp: float | None = None
    tool: str | None = None
    encoder: str | None = None
    """What the files call the encoder."""
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What was not certain."""

    def words(self) -> str:
        """Of what size the patches are, such as ` of 256 px at 0.5 mpp`; nothing where that is unknown."""
        size = "" if self.px is None else f" of {self.px} px"
        return size + ("" if self.mpp is None else f" at {self.mpp:g} mpp")


def one_grid(cuts: Mapping[str, Cut], tool: str | None, encoder: str | None = None) -> EncoderGrid:
    """The grid of an encoder.

    Args:
        cuts: how the patches of each slide were cut, by its name.
        tool: what cut them.
        encoder: what the files call the encoder.

    Raises:
        DataError: the encoder saw patches of several sizes or resolutions; the slides are named.
    """
    edges = {name: cut.px for name, cut in cuts.items() if cut.px is not None}
    scales = {name: cut.mpp for name, cut in cuts.items() if cut.mpp is not None}
    middle = statistics.median_low(scales.values()) if scales else None
    odd = {name for name, mpp in scales.items() if middle is not None and abs(mpp - middle) > CLOSE * middle}
    if len(set(edges.values())) > 1 or odd:
        raise _mixed(cuts)
    px, mpp = next(iter(edges.values()), None), None if middle is None else round_mpp(middle)
    notes = []
    if scales and max(scales.values()) - min(scales.values()) > 0.02 * min(scales.values()):
        low, high = min(scales.values()), max(scales.values())
        notes.append(
            f"micrometres a pixel at the encoder's input differ by slide ({low:.3g} to {high:.3g}) and count as one, {mpp:g}"
        )
    without = [name for name in cuts if name not in edges]
    if edges and without:
        notes.append(
            f"size of the patches at the encoder's input unknown: {counted(len(without), 'slide')} ({named(without)})"
        )
    overlaps = {cut.overlap or 0 for cut in cuts.values() if cut.px is not None}
    grid = Grid(edge=px, mpp=mpp, overlap=overlaps.pop(), tool=tool) if px is not None and len(overlaps) == 1 else None
    return EncoderGrid(grid=grid, px=px, mpp=mpp, tool=tool, encoder=encoder, notes=tuple(notes))


def _mixed(cuts: Mapping[str, Cut]) -> DataError:
    groups: dict[str, list[str]] = {}
    for name, cut in cuts.items():
        if cut.px is not None or cut.mpp is not None:
            size = "?" if cut.px is None else str(cut.px)
            scale = "an unknown resolution" if cut.mpp is None else f"{round_mpp(cut.mpp):g} mpp"
            groups.setdefault(f"{size} px at {scale}", []).append(name)
    words = "; ".join(f"{size}: {named(map(clip, names), 5)}" for size, names in groups.items())
    return DataError(
        f"the patches of one encoder must be of one size and resolution at its input, and these are of several ({words}): take "
        "each in by an --encoder of its own"
    )


def put_grid(
    edit: CohortEdit, found: EncoderGrid, encoder: str, table: pa.Table, *, replace: bool
) -> tuple[pa.Table, str | None]:
    """Put a grid into an edit, and its name into those patches of a table that have none and whose places are known.

    The name is the second of what is given; None where the grid is not known. Patches at places of their own get a grid of
    their own, though another tool cut patches of the same size: what an encoder lacks is counted within its grid.

    Raises:
        ConflictError: the encoder has patches of another size or resolution in the store, and `replace` is not given.
    """
    row = next((each for each in edit.table("encoders").to_pylist() if each["encoder"] == encoder), None)
    if row is not None and not replace:
        _refuse_other(row, found)
    if found.grid is None:
        return table, None
    grids = {each["grid"]: each for each in edit.table("grids").to_pylist()}
    name = row["grid"] if row is not None and not replace else None
    name = name or _name(edit, found.grid, grids, table)
    if name not in grids:
        rows = [*grids.values(), {**found.grid.row(), "grid": name}]
        edit.replace("grids", pa.Table.from_pylist(rows, arrow_schema("grids")))
    own = pc.if_else(table["x"].is_valid(), pa.scalar(name), pa.scalar(None, pa.string()))
    column = pc.coalesce(table["grid"], own)
    return table.set_column(table.column_names.index("grid"), "grid", column), name


def _refuse_other(row: Mapping[str, Any], found: EncoderGrid) -> None:
    other_px = None not in (row["patch_px"], found.px) and row["patch_px"] != found.px
    other_mpp = row["mpp"] is not None and found.mpp is not None and abs(row["mpp"] - found.mpp) > CLOSE * row["mpp"]
    if other_px or other_mpp:
        known = EncoderGrid(px=row["patch_px"], mpp=row["mpp"])
        raise ConflictError(
            f"the store has features of {row['encoder']} from patches{known.words()}, and these are{found.words()}: use another "
            "name, or --replace"
        )


def _name(edit: CohortEdit, grid: Grid, grids: Mapping[str, Mapping[str, Any]], table: pa.Table) -> str:
    """The name of a grid of the store that most of a table's patches lie on; else that of a new one."""
    row = grid.row()
    alike = [name for name, each in grids.items() if all(each[key] == row[key] for key in ("edge", "mpp", "overlap"))]
    if not alike:
        return grid.name
    shares = _shares(edit, table, alike)
    fitting = [name for name in alike if shares.get(name, 0) >= _MOST]
    if fitting:
        return max(fitting, key=lambda name: shares[name])
    # Where none has patches of these slides, the tool's own goes on.
    free = sorted(set(alike) - shares.keys(), key=lambda name: grids[name]["tool"] != grid.tool)
    if free and (len(free) == len(alike) or grids[free[0]]["tool"] == grid.tool):
        return free[0]
    word = re.sub(r"[^a-z0-9]+", "", (grid.tool or "other").lower().split(" ")[0]) or "other"
    names = (f"{grid.name}-{word}{'' if number == 1 else number}" for number in range(1, len(grids) + 2))
    return next(name for name in names if name not in grids)


def _shares(edit: CohortEdit, table: pa.Table, grids: Sequence[str]) -> dict[str, float]:
    """Which share of a table's patches lie on each grid that the store has patches of in the same slices."""
    patches = edit.table("patches")
    patches = patches.filter(pc.is_in(patches["grid"], value_set=pa.array(grids, pa.string())))
    book = SliceBook()
    ids, known = book.ids_by_name(table), book.ids_by_idx(patches, edit.table("slices"))
    shares = {}
    for name in grids:
        own = np.isin(ids, np.unique(known[np.asarray(pc.equal(patches["grid"], name))]))
        if own.any():
            on_it = np.asarray(pc.fill_null(pc.equal(table["grid"], name), False))
            shares[name] = float(on_it[own].mean())
    return shares


def put_encoder_facts(edit: CohortEdit, encoder: str, found: EncoderGrid, grid: str | None) -> None:
    """Let the row of an encoder say what it saw, and what made its features; what is known already stays."""
    facts = {"grid": grid, "mpp": found.mpp, "patch_px": found.px, "tool": found.tool}
    rows = edit.table("encoders").to_pylist()
    for row in rows:
        if row["encoder"] == encoder:
            row.update({key: value for key, value in facts.items() if row[key] is None})
    edit.replace("encoders", pa.Table.from_pylist(rows, arrow_schema("encoders")))
