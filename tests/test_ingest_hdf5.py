"""HDF5 files that a job made room in, and died before it had filled them."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.ingesting import contents, milstore, new_store

Fill = Callable[[h5py.File], object]
NAME = "case_1_match_1_he.h5"


def whole(file: h5py.File, leave_out: str = "") -> None:
    """Ten patches with vectors of four numbers and coordinates, but for one part."""
    parts = {"features": np.ones((10, 4), "f4"), "patch_idx": np.arange(10), "coords": np.ones((10, 2), "i4")}
    for name, values in parts.items():
        if name != leave_out:
            file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]))


def ingest(folder: Path, fill: Fill, **options: str) -> tuple[Store, int]:
    """Take a slice's file in that `fill` has written; the store and the exit code."""
    with h5py.File(folder / NAME, "w", **options) as file:
        fill(file)
    store = new_store(folder)
    return store, milstore(store, "ingest", "features", folder / NAME, "--encoder", "e", "--create-patches")


def grown(name: str, shape: tuple[int, ...], dtype: str, **options: object) -> Fill:
    """A data set of four chunks that was grown to ten."""

    def fill(file: h5py.File) -> None:
        whole(file, name)
        first = (4, *shape[1:])
        data = np.arange(4).reshape(4, *[1 for _ in shape[1:]]) + np.zeros(first, dtype)
        made = file.create_dataset(
            name, data=data.astype(dtype), chunks=(1, *shape[1:]), maxshape=(None, *shape[1:]), **options
        )
        made.resize(10, axis=0)

    return fill


def made_room(name: str, shape: tuple[int, ...], dtype: str, written: int, **options: object) -> Fill:
    """A data set with room for everything, of which some rows were written."""

    def fill(file: h5py.File) -> None:
        whole(file, name)
        made = file.create_dataset(name, shape, dtype, **options)
        if written:
            made[:written] = np.arange(written).reshape(written, *[1 for _ in shape[1:]])

    return fill


def virtual(file: h5py.File) -> None:
    """Features that lie in files which are gone."""
    whole(file, "features")
    layout = h5py.VirtualLayout((10, 4), "f4")
    layout[:4] = h5py.VirtualSource("gone.h5", "features", (4, 4))
    file.create_virtual_dataset("features", layout)


def external(file: h5py.File) -> None:
    """Features whose bytes lie in another file."""
    whole(file, "features")
    file.create_dataset("features", (10, 4), "f4", external=[("gone.raw", 0, 160)])


UNFINISHED: dict[str, tuple[Fill, str]] = {
    "grown": (grown("features", (10, 4), "f4"), "6 of 10 chunks of features are not written and would read as zeros"),
    "grown, compressed": (grown("features", (10, 4), "f4", compression="gzip"), "6 of 10 chunks of features"),
    "grown patch_idx": (grown("patch_idx", (10,), "i8"), "6 of 10 chunks of patch_idx"),
    "grown coords": (grown("coords", (10, 2), "i4"), "6 of 10 chunks of coords"),
    "chunks of several rows": (made_room("features", (10, 4), "f4", 4, chunks=(3, 2)), "4 of 8 chunks of features"),
    "another fill value": (
        made_room("features", (10, 4), "f4", 4, chunks=(1, 4), fillvalue=-1),
        "6 of 10 chunks of features are not written and would read as -1.0",
    ),
    "room without chunks": (made_room("features", (10, 4), "f4", 0), "features in {} declares shape (10, 4) and holds"),
    "room in chunks": (made_room("features", (10, 4), "f4", 0, chunks=(1, 4)), "(10 of 10 chunks are not written)"),
    "room for coords": (made_room("coords", (10, 2), "i4", 0), "coords in {} declares shape (10, 2) and holds nothing"),
    "fill value without chunks": (
        made_room("features", (10, 4), "f4", 4, fillvalue=-1),
        "6 of 10 rows of features hold nothing but the fill value -1.0",
    ),
    "fill value in one chunk": (
        made_room("features", (10, 4), "f4", 4, chunks=(10, 4), fillvalue=-1),
        "6 of 10 rows of features hold nothing but the fill value -1.0",
    ),
    "virtual": (virtual, "features in {} is not a dataset of this file"),
    "external": (external, "features in {} is not a dataset of this file"),
}


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("kind", UNFINISHED)
def test_a_half_written_file_is_refused(
    kind: str, libver: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was never written is not read as numbers: one line names the file, the data set and the count."""
    fill, message = UNFINISHED[kind]
    store, code = ingest(tmp_path, fill, libver=libver)
    said = capsys.readouterr().err
    assert code == 2
    assert len(said.splitlines()) == 1
    assert str(tmp_path / NAME) in said
    assert message.format(tmp_path / NAME) in said
    assert read_cohort(store).table("encoders").num_rows == 0
    assert not any(path.startswith("features/") for path in contents(store))


def compact(file: h5py.File) -> None:
    """Features that lie in the head of their file."""
    whole(file, "features")
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((10, 4))
    h5py.h5d.create(file.id, b"features", h5py.h5t.NATIVE_FLOAT, space, plist)
    file["features"][:] = 1


def shrunk(file: h5py.File) -> None:
    """Features that were grown too far, and cut to what was written."""
    whole(file, "features")
    made = file.create_dataset("features", (100, 4), "f4", chunks=(3, 4), maxshape=(None, 4))
    made[:10] = 1
    made.resize(10, axis=0)


def filled_by_meaning(file: h5py.File) -> None:
    """Every chunk was written, and rows of some numbers of the fill value are meant."""
    whole(file, "features")
    made = file.create_dataset("features", (10, 4), "f4", chunks=(3, 4), fillvalue=7)
    made[:] = [7, 7, 7, 1]


@pytest.mark.parametrize("fill", [whole, compact, shrunk, filled_by_meaning])
def test_a_whole_file_is_taken(fill: Fill, tmp_path: Path) -> None:
    """What was written wholly is taken, however it lies in the file."""
    store, code = ingest(tmp_path, fill)
    assert code == 0
    rows = open_features(store, read_cohort(store), "e").read("1")
    expected = [7, 7, 7, 1] if fill is filled_by_meaning else [1, 1, 1, 1]
    assert np.array_equal(rows, np.tile(np.float32(expected), (10, 1)))


def test_rows_of_zeros_are_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the file cannot tell unwritten rows from zeros that are meant, the zeros are taken and named."""
    _, code = ingest(tmp_path, made_room("features", (10, 4), "f4", 4))
    said = capsys.readouterr().err
    assert code == 0
    # Row 0 was written, with zeros.
    assert f"zero throughout: 7 vectors ({NAME}, patch 0, {NAME}, patch 4, {NAME}, patch 5 and 4 more); if the" in said


@pytest.mark.shared
def test_the_file_of_a_job_that_died_is_refused(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten patches were made room for and four written."""
    store = new_store(tmp_path)
    path = shared_data / "reports" / "14-h5-grown-and-never-filled" / NAME
    assert milstore(store, "ingest", "features", path, "--encoder", "e", "--create-patches") == 2
    assert "2 of 3 chunks of features are not written" in capsys.readouterr().err
