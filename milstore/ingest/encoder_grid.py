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
from milstore.store.cohort_edit import CohortEdit
from milstore.store.grids import Grid, round_mpp
from milstore.store.names import clip, counted, named

_FACTS = ("edge", "mpp", "overlap")
_SAME = 0.02
"""Share by which resolutions may differ without a word."""
_MOST = 0.5
"""Share of the patches that must lie on a grid of the store to be taken for cut on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderGrid:
    """The grid of an encoder's patches, common to all its slides."""

    px: int | None = None
    """Edge of a patch at the encoder's input, in pixels; None if it is unknown, or not one."""
    mpp: float | None = None
    """Micrometres a pixel there."""
    tool: str | None = None
    """What made the features."""
    grid_of: Mapping[str, Grid] = field(default_factory=dict)
    """The grid of each file, as far as it is known."""
    notes: tuple[str, ...] = ()
    """What was not certain."""

    def words(self) -> str:
        """Of what size the patches are, such as ` of 256 px at 0.5 mpp`; nothing where that is unknown."""
        size = "" if self.px is None else f" of {self.px} px"
        return size + ("" if self.mpp is None else f" at {self.mpp:g} mpp")


def one_grid(
    cuts: Mapping[str, Cut], names: Mapping[str, str], tool: str | None, *, mixed: bool = False
) -> EncoderGrid:
    """The grid of an encoder.

    Args:
        cuts: how the patches of each file were cut.
        names: what each file is called: its slide.
        tool: what cut them.
        mixed: take several sizes and resolutions.

    Raises:
        DataError: the encoder saw patches of several sizes or resolutions; the slides are named.
    """
    edges = {file: cut.px for file, cut in cuts.items() if cut.px is not None}
    scales = {file: cut.mpp for file, cut in cuts.items() if cut.mpp is not None}
    middle = statistics.median_low(scales.values()) if scales else None
    odd = any(middle is not None and abs(mpp - middle) > CLOSE * middle for mpp in scales.values())
    if len(set(edges.values())) > 1 or odd:
        groups = _groups(cuts, names)
        words = "; ".join(f"{size}: {named(map(clip, own), 5)}" for size, own in groups.items())
        if not mixed:
            raise DataError(
                f"the patches of one encoder must be of one size and resolution at its input, and these are of several ({words}): "
                "take each in by an --encoder of its own, or all of them as they are by --mixed"
            )
        own = {file: _grid(cut, cut.mpp, tool) for file, cut in cuts.items()}
        return EncoderGrid(
            tool=tool, grid_of=_known(own), notes=(f"patches of several sizes or resolutions ({words})",)
        )
    px, mpp = next(iter(edges.values()), None), None if middle is None else round_mpp(middle)
    notes = []
    if scales and max(scales.values()) - min(scales.values()) > _SAME * min(scales.values()):
        low, high = min(scales.values()), max(scales.values())
        notes.append(
            f"micrometres a pixel at the encoder's input differ by slide ({low:.3g} to {high:.3g}) and count as one, {mpp:g}"
        )
    without = [names[file] for file in cuts if file not in edges]
    if edges and without:
        notes.append(
            f"size of the patches at the encoder's input unknown: {counted(len(without), 'slide')} ({named(without)})"
        )
    grids = _known({file: _grid(cut, mpp, tool) for file, cut in cuts.items()})
    return EncoderGrid(px=px, mpp=mpp, tool=tool, grid_of=grids, notes=tuple(notes))


def _grid(cut: Cut, mpp: float | None, tool: str | None) -> Grid | None:
    return None if cut.px is None else Grid(edge=cut.px, mpp=mpp, overlap=cut.overlap or 0, tool=tool)


def _known(grids: Mapping[str, Grid | None]) -> dict[str, Grid]:
    return {file: grid for file, grid in grids.items() if grid is not None}


def _groups(cuts: Mapping[str, Cut], names: Mapping[str, str]) -> dict[str, list[str]]:
    """The slides of each size and resolution, in words; those of the most common one last."""
    groups: dict[str, list[str]] = {}
    for file, cut in cuts.items():
        if cut.px is not None or cut.mpp is not None:
            size = "an unknown size" if cut.px is None else f"{cut.px} px"
            scale = "an unknown resolution" if cut.mpp is None else f"{round_mpp(cut.mpp):g} mpp"
            groups.setdefault(f"{size} at {scale}", []).append(names[file])
    return dict(sorted(groups.items(), key=lambda item: len(item[1])))


def put_grids(
    edit: CohortEdit, found: EncoderGrid, encoder: str, table: pa.Table, *, replace: bool
) -> tuple[pa.Table, str | None]:
    """Put grids into an edit, and their names into those patches of a table that have none and whose places are known.

    The name of the encoder's grid is the second of what is given; None where it is not known, or not one. Patches at places of
    their own get a grid of their own, though another tool cut patches of the same size: what an encoder lacks is counted within
    its grid.

    Raises:
        ConflictError: the encoder has patches of another size or resolution in the store, and `replace` is not given.
    """
    row = next((each for each in edit.table("encoders").to_pylist() if each["encoder"] == encoder), None)
    if row is not None and not replace:
        _refuse_other(row, found)
    files = pc.cast(table["file"].combine_chunks(), pa.string())
    names: list[str] = []
    for grid in dict.fromkeys(found.grid_of.values()):
        own = pc.is_in(
            files, value_set=pa.array([file for file, each in found.grid_of.items() if each == grid], pa.string())
        )
        grids = {each["grid"]: each for each in edit.table("grids").to_pylist()}
        known = row["grid"] if row is not None and not replace and len(set(found.grid_of.values())) == 1 else None
        name = known or _name(edit, grid, grids, table.filter(own))
        if name not in grids:
            rows = [*grids.values(), {**grid.row(), "grid": name}]
            edit.replace("grids", pa.Table.from_pylist(rows, arrow_schema("grids")))
        names.append(name)
        mine = pc.and_(own, table["x"].combine_chunks().is_valid())
        column = pc.coalesce(
            table["grid"].combine_chunks(), pc.if_else(mine, pa.scalar(name), pa.scalar(None, pa.string()))
        )
        table = table.set_column(table.column_names.index("grid"), "grid", column)
    return table, names[0] if len(names) == 1 and len(found.grid_of) else None


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
    """The name of a grid of the store that most of a table's patches lie on; else that of a new one.

    Where they lie counts alone: one encoder may have seen at 224 pixels what another saw at 256.
    """
    shares = _shares(edit, table, list(grids))
    fitting = [name for name, share in shares.items() if share >= _MOST]
    if fitting:
        return max(fitting, key=lambda name: shares[name])
    alike = [name for name, each in grids.items() if all(each[key] == grid.row()[key] for key in _FACTS)]
    if not alike:
        return grid.name
    # Where none has patches of these slides, the tool's own goes on.
    free = sorted(set(alike) - shares.keys(), key=lambda name: (grids[name]["tool"] != grid.tool, name))
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
    """Store in the encoder's row its grid and the tool that made its features; values that are known already stay."""
    facts = {"grid": grid, "mpp": found.mpp, "patch_px": found.px, "tool": found.tool}
    rows = edit.table("encoders").to_pylist()
    for row in rows:
        if row["encoder"] == encoder:
            row.update({key: value for key, value in facts.items() if row[key] is None})
    edit.replace("encoders", pa.Table.from_pylist(rows, arrow_schema("encoders")))
