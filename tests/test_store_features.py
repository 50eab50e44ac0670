"""Packed features come back as they went in."""

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from milstore.errors import DataError, StoreError, UsageError
from milstore.store import Store
from milstore.store import background_hash as settling
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check
from milstore.store.features import PACK, ROWS, VECTORS, FeaturePack, Vectors, open_features, packed_fingerprint
from milstore.store.findings import DAMAGE
from tests.making import THREE_PATCHES, three_without_runs
from tests.test_store_cohort import snapshot


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return three_without_runs(tmp_path / "store")


def pack(store: Store, vectors: Vectors, dtype: str = "float32", encoder: str = "e") -> None:
    with edit_cohort(store) as edit:
        patches = edit.table("patches")
        with FeaturePack(store, encoder=encoder, n_features=vectors.shape[1], dtype=dtype, patches=patches) as made:
            made.write(0, vectors[:5])
            made.write(5, vectors[5:])
            made.commit(edit, source="by hand")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(vectors=hnp.arrays(np.float16, (len(THREE_PATCHES), 3), elements=st.floats(-1e4, 1e4, width=16)))
def test_a_case_reads_back_to_the_last_bit(store: Store, vectors: Vectors) -> None:
    """Whatever float16 vectors are packed, each case reads exactly its own, in the order of its rows."""
    pack(store, vectors, "float16")
    features = open_features(store, read_cohort(store))
    assert list(features.case_rows) == ["10", "2", "46"]
    read = np.concatenate([features.read(case_id) for case_id in features.case_rows])
    assert read.tobytes() == vectors.tobytes()


def test_numbers_of_any_width_are_taken(store: Store) -> None:
    """Slice and patch numbers that a caller counted in int64 are the same patches."""
    with edit_cohort(store) as edit:
        patches = edit.table("patches")
        wide = patches.set_column(3, "patch_idx", patches["patch_idx"].cast("int64"))
        with FeaturePack(store, encoder="e", n_features=1, dtype="float32", patches=wide) as made:
            made.write(0, np.zeros((patches.num_rows, 1)))
            made.commit(edit, source="by hand")
    assert open_features(store, read_cohort(store)).patches.num_rows == patches.num_rows


def test_rows_are_named(store: Store) -> None:
    """Row 0 is the first patch of the first case by bytes, and the file is a plain npy matrix."""
    vectors = np.arange(2 * len(THREE_PATCHES), dtype=np.float32).reshape(-1, 2)
    pack(store, vectors)
    features = open_features(store, read_cohort(store), "e")
    first = {"case_id": "10", "stain": "h&e", "slice_idx": 0, "patch_idx": 0}
    assert features.patches.slice(0, 1).to_pylist() == [first]
    assert np.array_equal(np.load(features.folder / VECTORS), vectors)


def test_nothing_is_stored_of_a_pack_with_nan(store: Store) -> None:
    """NaN, infinity and what float16 cannot hold are refused by the patch's name."""
    before = snapshot(store.root)
    vectors = np.zeros((len(THREE_PATCHES), 2))
    for value in (np.nan, np.inf, 1e9):
        vectors[7, 1] = value
        with pytest.raises(DataError, match="features of case 10, sox10, slice 0, patch 1 hold NaN or infinity"):
            pack(store, vectors, "float16")
    assert snapshot(store.root) == before


def test_a_pack_must_be_full(store: Store) -> None:
    """Rows that were never written are named."""
    with edit_cohort(store) as edit:
        made = FeaturePack(store, encoder="e", n_features=2, dtype="float32", patches=edit.table("patches"))
        with made, pytest.raises(DataError, match="18 patches got no feature, such as case 10, h&e, slice 0, patch 1"):
            made.write(0, np.zeros((1, 2)))
            made.commit(edit, source="")


def test_a_row_is_written_once(store: Store) -> None:
    """What was written may have been hashed already: a second vector of a patch is refused by the patch's name."""
    with edit_cohort(store) as edit:
        made = FeaturePack(store, encoder="e", n_features=2, dtype="float32", patches=edit.table("patches"))
    with made:
        made.write(1, np.zeros((2, 2)))
        for again in (lambda: made.write(0, np.zeros((2, 2))), lambda: made.accept(2, 1)):
            with pytest.raises(DataError, match=r"case 10, h&e, slice 0, patch [12] got two features"):
                again()


@pytest.mark.parametrize("rows", [(0, 3, 9, 13), (9, 0, 13, 3)])
def test_what_settles_early_is_what_is_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch, rows: tuple[int, ...]
) -> None:
    """Rows are hashed while others are still missing, in whatever order they come: the fingerprint is the whole file's."""
    monkeypatch.setattr(settling, "_STEP", 1)
    ends = dict(zip(sorted(rows), [*sorted(rows)[1:], len(THREE_PATCHES)], strict=True))
    vectors = np.arange(2 * len(THREE_PATCHES), dtype=np.float32).reshape(-1, 2)
    with edit_cohort(store) as edit:
        patches = edit.table("patches")
        with FeaturePack(store, encoder="e", n_features=2, dtype="float32", patches=patches) as made:
            for row in rows:
                made.write(row, vectors[row : ends[row]])
            made.commit(edit, source="by hand")
    features = open_features(store, read_cohort(store))
    assert np.array_equal(np.load(features.folder / VECTORS), vectors)
    assert features.fingerprint == packed_fingerprint(features.folder, features.patches)


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_disk_that_refused_once_is_not_trusted(store: Store, monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    """A system tells of a failed write once, to whoever waits first: that is remembered to the end."""
    before = snapshot(store.root)
    asked = []

    def sync(path: Path) -> None:
        asked.append(path)
        if len(asked) == refused + 1:
            raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(settling, "_STEP", 1)
    monkeypatch.setattr(settling, "sync_file", sync)
    with edit_cohort(store) as edit:
        made = FeaturePack(store, encoder="e", n_features=2, dtype="float32", patches=edit.table("patches"))
    with made, pytest.raises(StoreError, match=r"features cannot be written to .*: the disk is broken"):
        for row in range(len(THREE_PATCHES)):
            made.write(row, np.zeros((1, 2)))
            wait_for(made)
        made.finish()
    assert snapshot(store.root) == before


def wait_for(pack: FeaturePack) -> None:
    """Let the disk have had its say."""
    assert pack._settling is not None
    for sync in pack._settling._syncs:
        sync.exception()


def test_the_encoder_may_be_left_out_while_there_is_one(store: Store) -> None:
    """With two encoders, the choice is asked for; an unknown one is answered with the nearest."""
    vectors = np.zeros((len(THREE_PATCHES), 2))
    pack(store, vectors, encoder="hed")
    assert open_features(store, read_cohort(store)).encoder == "hed"
    pack(store, vectors + 1, encoder="densenet")
    with pytest.raises(UsageError, match=r"choose by --encoder \(densenet, hed\)"):
        open_features(store, read_cohort(store))
    with pytest.raises(UsageError, match="no features of encoder 'desnet': did you mean densenet"):
        open_features(store, read_cohort(store), "desnet")


def test_a_truncated_pack_is_found(store: Store) -> None:
    """A file that lost its end is never read as numbers."""
    pack(store, np.zeros((len(THREE_PATCHES), 2)))
    features = open_features(store, read_cohort(store))
    path = features.folder / VECTORS
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StoreError, match=r"vectors\.npy"):
        open_features(store, read_cohort(store)).read("46")


@pytest.mark.database
@pytest.mark.parametrize("name", [VECTORS, ROWS, PACK])
def test_features_that_were_damaged_are_taken_anew(store: Store, name: str) -> None:
    """Packing the same features in their place repairs what doctor found; once more changes nothing."""
    vectors = np.arange(2 * len(THREE_PATCHES), dtype=np.float32).reshape(-1, 2)
    pack(store, vectors)
    damaged = open_features(store, read_cohort(store)).folder / name
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    assert [found.kind for found in check(store)] == [DAMAGE]
    pack(store, vectors)
    assert DAMAGE not in [found.kind for found in check(store)]
    assert np.array_equal(np.load(open_features(store, read_cohort(store)).folder / VECTORS), vectors)
    repaired = snapshot(store.root)
    pack(store, vectors)
    assert snapshot(store.root) == repaired
