"""Tiling a slide of a store that has many patches: what it costs is a matter of that slide."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from milstore.ingest.tile_files import Cut
from milstore.ingest.tile_put import Put, put_cuts
from milstore.schema.arrow import arrow_schema
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.grids import Grid
from tests.making import MadeOnce

GRID = Grid(edge=256, mpp=0.5, overlap=0, tool="milstore")
MANY = 50_000
ROWS_OF_ALL = 15_000_000
"""Bytes: less than half of what the many patches take as rows of Python's, and five times what their columns do."""


def cut(n_patches: int, shift: int = 0) -> Cut:
    """A slide cut into patches that lie in rows of a hundred."""
    number = np.arange(n_patches)
    edge = np.full(n_patches, 256)
    places = np.stack([number % 100 * 256 + shift, number // 100 * 256, edge, edge], axis=1)
    return Cut(places=places, pieces=np.zeros(n_patches, np.int64), facts={})


def put(store: Store, cuts: dict[str, Cut], *, replace: bool = False) -> tuple[Put, int]:
    """What became of the patches, and the most memory that Python and numpy took for it."""
    with edit_cohort(store) as edit:
        # Read and compared with what was stored beforehand, which takes memory of its own.
        for name in edit.base.names():
            edit.table(name)
        tracemalloc.start()
        try:
            done = put_cuts(
                store, edit, cuts, GRID, by_tissue=False, images=None, folder_of=None, as_jpeg=False, replace=replace
            )
            return done, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@MadeOnce
def _once(folder: Path) -> Store:
    store = create_store(folder)
    slides = [{"slide_id": f"S{case}", "case_id": str(case), "stain": "h&e"} for case in (1, 2)]
    with edit_cohort(store) as edit:
        cases = [{"case_id": str(case), "case_order": case} for case in (1, 2)]
        edit.replace("cases", pa.Table.from_pylist(cases, arrow_schema("cases")))
        edit.replace("slides", pa.Table.from_pylist(slides, arrow_schema("slides")))
    put(store, {"S1": cut(MANY), "S2": cut(3)})
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two slides of two cases, S1 of many patches and S2 of three."""
    return _once(tmp_path)


@pytest.mark.parametrize("replace", [False, True], ids=["again", "replaced"])
def test_only_the_slides_at_hand_become_rows(store: Store, *, replace: bool) -> None:
    """Patches of other slides stay columns, whether what the slide had stays or goes, and each is what it was."""
    before = read_cohort(store).table("patches")
    done, peak = put(store, {"S2": cut(3, shift=512)}, replace=replace)
    assert peak < ROWS_OF_ALL
    after = read_cohort(store).table("patches")

    def of(table: pa.Table, case_id: str) -> pa.Table:
        return table.filter(pc.equal(table["case_id"], case_id))

    assert of(after, "1").equals(of(before, "1"))
    here = [(row["patch_idx"], row["x"]) for row in of(after, "2").to_pylist()]
    # The third place of before is the first of now, and keeps its number.
    stay = [] if replace else [(0, 0), (1, 256)]
    assert here == [*stay, (2, 512), (3, 768), (4, 1024)]
    assert (done.new, done.removed, done.kept) == ((2, 2, 0) if replace else (2, 0, 2))
