"""Files of slices that say by coordinates alone which patches their rows are of."""

import json
from pathlib import Path

import pytest

from milstore.errors import DataError
from milstore.ingest.features import ingest_features
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.ingesting import contents, make_images, milstore, new_store

READER = '''
import json
import numpy as np
from milstore.formats.interface import Layout

class Places:
    """x, y and a number a patch, in the order of the file."""
    endings = ("json",)

    def recognises(self, path):
        return path.suffix == ".json"

    def layout(self, path):
        rows = np.array(json.loads(path.read_text()))
        return Layout(rows=len(rows), width=1, half=False, xy=rows[:, :2])

    def vectors(self, path):
        return np.array(json.loads(path.read_text()), "f4")[:, 2:]
'''
NAME = "case_7_match_1_he"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path)


@pytest.fixture
def reader(tmp_path: Path) -> str:
    (tmp_path / "places.py").write_text(READER)
    return f"{tmp_path / 'places.py'}:Places"


def write(folder: Path, rows: list[list[int]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{NAME}.json").write_text(json.dumps(rows))
    return folder


def stored(store: Store, encoder: str = "e") -> list[tuple[int, int | None, int | None, float]]:
    """patch_idx, x, y and the vector's number of each patch."""
    packed = open_features(store, read_cohort(store), encoder)
    number = dict(zip(packed.patches["patch_idx"].to_pylist(), packed.read("7")[:, 0].tolist(), strict=True))
    rows = read_cohort(store).table("patches").to_pylist()
    return [(row["patch_idx"], row["x"], row["y"], number[row["patch_idx"]]) for row in rows]


def test_new_patches_are_numbered_by_row_and_column(store: Store, tmp_path: Path, reader: str) -> None:
    """Patches that nobody knew get their numbers by (y, x), whatever the order of the file; each keeps its vector."""
    folder = write(tmp_path / "f", [[20, 10, 3], [10, 0, 2], [0, 0, 1]])
    ingest_features(store, folder, encoder="e", format=reader, create_patches=True)
    assert stored(store) == [(0, 0, 0, 1), (1, 10, 0, 2), (2, 20, 10, 3)]
    write(folder, [[11, 0, 5], [0, 0, 4], [20, 9, 6]])
    ingest_features(store, folder, encoder="later", format=reader)
    assert stored(store, "later") == [(0, 0, 0, 4), (1, 10, 0, 5), (2, 20, 10, 6)]


def test_patches_without_a_place_take_it_from_the_rows(store: Store, tmp_path: Path, reader: str) -> None:
    """As many rows as the slice has patches without coordinates: those are theirs, in the order of their numbers."""
    make_images(tmp_path / "images", tuple(f"{NAME}_patch{number}" for number in (12, 3, 5)))
    assert milstore(store, "ingest", "patches", tmp_path / "images", "--names-only") == 0
    ingest_features(store, write(tmp_path / "f", [[20, 10, 1], [0, 0, 2], [10, 0, 3]]), encoder="e", format=reader)
    assert stored(store) == [(3, 20, 10, 1), (5, 0, 0, 2), (12, 10, 0, 3)]


@pytest.mark.parametrize("create", [False, True])
def test_other_counts_are_refused(store: Store, tmp_path: Path, reader: str, *, create: bool) -> None:
    """Which row would be which patch cannot be told: nothing is stored, and the counts are named."""
    make_images(tmp_path / "images", tuple(f"{NAME}_patch{number}" for number in (12, 3, 5)))
    assert milstore(store, "ingest", "patches", tmp_path / "images", "--names-only") == 0
    before = contents(store)
    folder = write(tmp_path / "f", [[20, 10, 1], [0, 0, 2]])
    with pytest.raises(DataError, match="which of its 2 rows is which of the 3 patches without coordinates"):
        ingest_features(store, folder, encoder="e", format=reader, create_patches=create)
    assert contents(store) == before


def test_rows_at_one_place_are_refused(store: Store, tmp_path: Path, reader: str) -> None:
    """Two rows at one place would be one patch."""
    before = contents(store)
    with pytest.raises(DataError, match="lie at the same place"):
        ingest_features(
            store, write(tmp_path / "f", [[0, 0, 1], [0, 0, 2]]), encoder="e", format=reader, create_patches=True
        )
    assert contents(store) == before
