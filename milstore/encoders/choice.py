"""Selects the patches to encode: those with pixels, of one grid, without features of the encoder so far."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, StoreError, UsageError
from milstore.pixels.patch_source import PatchPlace, patch_places
from milstore.schema.arrow import arrow_schema
from milstore.store import Store
from milstore.store.cohort_edit import CohortEdit
from milstore.store.cohort_repair import way_to_repair_pack
from milstore.store.features import PLACE, is_as_stored, open_features
from milstore.store.names import clip
from milstore.store.patch_root import edited_patch_root

NO_GRID = "none"
"""What patches are called that are on no grid that is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Patches to encode, in the order of their rows in a pack."""

    patches: pa.Table
    """With all columns of the table `patches`."""
    places: list[PatchPlace]
    """Where the pixels of each are."""
    root: Path | None
    """The patch folder."""
    grid: Mapping[str, Any] | None
    """The row of the grid that they are on; None if it is unknown."""
    without: int
    """Patches that have neither an image nor a slide."""

    def of(self, patches: pa.Table) -> "Choice":
        """The same for some of the patches, given by position."""
        rows = np.arange(self.patches.num_rows)
        left = self.patches.select(list(PLACE)).append_column("row", pa.array(rows))
        some = patches.select(list(PLACE)).cast(left.drop_columns("row").schema)
        chosen = sorted(left.join(some, list(PLACE), join_type="left semi")["row"].to_pylist())
        return Choice(
            patches=self.patches.take(pa.array(chosen, pa.int64())),
            places=[self.places[row] for row in chosen],
            root=self.root,
            grid=self.grid,
            without=self.without,
        )

    def of_cases(self, cases: Collection[str] | None) -> "Choice":
        """The same for the patches of some cases; of all if None."""
        if cases is None:
            return self
        wanted = pc.is_in(self.patches["case_id"], pa.array(sorted(cases), pa.string()))
        return self.of(self.patches.filter(wanted))

    @property
    def edges(self) -> set[tuple[int, int]]:
        """Width and height that images have, as far as they are known: of a patch on a slide, its grid's edge."""
        known = self.patches.select(["width", "height"]).to_pylist()
        found = set()
        for place, row in zip(self.places, known, strict=True):
            if place.file is None:
                found.add((place.edge or place.width, place.edge or place.height))
            elif row["width"] and row["height"]:
                found.add((row["width"], row["height"]))
        return found

    @property
    def patch_px(self) -> int | None:
        """The edge that all of them have, in pixels; None where they differ or are not square."""
        edges = self.edges
        width, height = next(iter(edges)) if len(edges) == 1 else (0, 1)
        return width if width == height else None


def choose_patches(plan: CohortEdit, encoder: str, grid: str | None = None, *, replace: bool = False) -> Choice:
    """Every patch that has pixels, of one grid.

    Args:
        plan: the cohort.
        encoder: whose features there may be already: further ones are of the same grid.
        grid: its name; NO_GRID for patches that are on none. May be left out where there is one, or the encoder has one.
        replace: what the store has of the encoder is dropped, of whatever grid it is.

    Raises:
        ConflictError: no patch has pixels, or the encoder's features are of another grid.
        UsageError: there are several grids, or none of that name.
    """
    # As FeaturePack orders its rows.
    patches = plan.table("patches").sort_by([(column, "ascending") for column in PLACE]).combine_chunks()
    places = patch_places(plan, plan.base.store.root, patches)
    known = [place for place in places if place is not None]
    if not known:
        raise ConflictError(
            "the store knows no patch images: run milstore ingest patches first, or milstore tile for whole slides"
        )
    grids = patches["grid"].to_pylist()
    there = sorted({name or NO_GRID for name, place in zip(grids, places, strict=True) if place is not None})
    chosen = _grid(plan, encoder, grid, there, replace=replace)
    rows = [row for row, place in enumerate(places) if place is not None and (grids[row] or NO_GRID) == chosen]
    described = {row["grid"]: row for row in plan.table("grids").to_pylist()}
    return Choice(
        patches=patches.take(pa.array(rows, pa.int64())),
        places=[place for row in rows if (place := places[row]) is not None],
        root=edited_patch_root(plan),
        grid=described.get(chosen),
        without=len(places) - len(known),
    )


def _grid(plan: CohortEdit, encoder: str, wanted: str | None, there: list[str], *, replace: bool) -> str:
    rows = [row for row in plan.table("encoders").to_pylist() if row["encoder"] == encoder]
    stored = (rows[0]["grid"] or NO_GRID) if rows else None
    if wanted is None and stored in there:
        return str(stored)
    if wanted is None and len(there) == 1:
        wanted = there[0]
    if wanted is None:
        raise UsageError(f"there are patches on {len(there)} grids ({', '.join(there)}): choose one by --grid")
    if wanted not in there:
        raise UsageError(
            f"--grid {clip(wanted)}: no patch with an image or a slide is on it: there is {', '.join(there)}"
        )
    if stored not in (None, NO_GRID, wanted) and not replace:
        raise ConflictError(
            f"the features of {encoder} are of patches on {stored}, and those on {wanted} are other patches: "
            "give another name by --name, or --replace to drop them"
        )
    return wanted


def without_features(
    store: Store, plan: CohortEdit, encoder: str, patches: pa.Table, refused: Callable[[Mapping[str, Any]], str | None]
) -> pa.Table:
    """Those of the patches that the store has no features of this encoder of.

    refused: is given the encoder's row where there is one, and says in a line why its features are another's, or None.

    Raises:
        ConflictError: they are another's.
        StoreError: they are damaged.
    """
    rows = [row for row in plan.table("encoders").to_pylist() if row["encoder"] == encoder]
    if not rows:
        return patches
    if (why := refused(rows[0])) is not None:
        raise ConflictError(why)
    features = open_features(store, plan.base, encoder)
    if not is_as_stored(features):
        way = way_to_repair_pack(store, encoder, rows[0]["source"])
        raise StoreError(f"the features of {encoder} in {features.folder} are not what was stored: {way}")
    left = patches.join(features.patches.cast(patches.select(list(PLACE)).schema), list(PLACE), join_type="left anti")
    return left.select(patches.column_names).sort_by([(column, "ascending") for column in PLACE]).combine_chunks()


def describe(edit: CohortEdit, encoder: str, choice: Choice, weights_sha256: str | None = None) -> None:
    """Say in the table `encoders` on what grid the patches were, and by which weights their features were made."""
    facts = {
        "grid": choice.grid and choice.grid["grid"],
        "mpp": choice.grid and choice.grid["mpp"],
        "patch_px": choice.patch_px,
        "tool": "milstore",
        "weights_sha256": weights_sha256,
    }
    rows = [row | (facts if row["encoder"] == encoder else {}) for row in edit.table("encoders").to_pylist()]
    edit.replace("encoders", pa.Table.from_pylist(rows, arrow_schema("encoders")))
