"""Damaged files of every kind, made by chance: a reader says so or reads what is there, and nothing else happens."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from milstore.errors import DataError
from milstore.formats.bag_table import read_bags
from milstore.formats.csv_table import read_csv
from milstore.formats.feature_reading import read_index, read_vector
from milstore.formats.interface import reported
from milstore.formats.registry import find_format
from milstore.formats.split_file import read_split_files
from milstore.pixels.image_sizes import image_sizes
from milstore.store.settings import read_settings
from tests.spoiling import array, tensor
from tests.test_ingest_features import write_slice
from tests.test_ingest_splits import save

VECTOR = torch.arange(12.0)


def read_patch(path: Path) -> None:
    read_vector((str(path.parent), path.name, {"": path.suffix[1:]}))


def read_slice(path: Path) -> None:
    """As `slice_reader`, of the format that is called as the file ends."""
    slice_reader(path.suffix[1:])(path)


def slice_reader(name: str) -> Callable[[Path], None]:
    """Reads what a slice's file says of its rows, and then its vectors."""

    def read(path: Path) -> None:
        read_index((str(path), name))
        with reported(path):
            find_format("features", name).vectors(path)

    return read


def write_image(path: Path) -> None:
    Image.new("RGB", (9, 9), (200, 120, 160)).save(path)


def write_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding="utf-8")


Writer = Callable[[Path], object]
Reader = Callable[[Path], object]


def a_slice(path: Path) -> None:
    write_slice(path, [3, 12], np.random.default_rng(0).normal(size=(2, 5)), np.array([[1, 2], [3, 4]]))


READERS: dict[str, tuple[str, Writer, Reader]] = {
    "pt": (".pt", lambda path: path.write_bytes(tensor(VECTOR)), read_patch),
    "dict pt": (
        ".pt",
        lambda path: path.write_bytes(tensor({"a": VECTOR.half()})),
        read_patch,
    ),
    "npy": (".npy", lambda path: path.write_bytes(array(VECTOR)), read_patch),
    "old pt": (
        ".pt",
        lambda path: torch.save(VECTOR, path, _use_new_zipfile_serialization=False),
        read_patch,
    ),
    "pt of a slice": (
        ".pt",
        lambda path: torch.save({"features": torch.ones(2, 5), "patch_idx": torch.tensor([3, 12])}, path),
        slice_reader("pt-slice"),
    ),
    "npz": (".npz", a_slice, read_slice),
    "parquet": (".parquet", a_slice, read_slice),
    "h5": (".h5", a_slice, read_slice),
    "split": (".npz", lambda path: save(path, [1, 2], [3], [4]), lambda path: read_split_files([path])),
    "splits csv": (
        ".csv",
        write_text("split,case_id,subset\n1,5,train\n1,6,val\n"),
        lambda path: read_split_files([path]),
    ),
    "labels csv": (
        ".csv",
        write_text("Case,Class\n052,1\n7,3\n"),
        lambda path: read_csv(path, "a label file", ["Case"]),
    ),
    "table csv": (
        ".csv",
        write_text("bag,i,y,f0\n1,0,a,1.5\n2,1,b,2.5\n"),
        lambda path: read_bags(path, bag_column="bag", index_column="i", label_column="y"),
    ),
    "table parquet": (
        ".parquet",
        lambda path: pq.write_table(pa.table({"bag": ["1", "2"], "i": [0, 1], "f": [1.0, 2.0]}), path),
        lambda path: read_bags(path, bag_column="bag", index_column="i", label_column=None),
    ),
    "png": (".png", write_image, lambda path: image_sizes(path.parent, [path.name])),
    "jpg": (".jpg", write_image, lambda path: image_sizes(path.parent, [path.name])),
    "tif": (".tif", write_image, lambda path: image_sizes(path.parent, [path.name])),
    "toml": (".toml", write_text('[stains]\n"h&e" = ["he"]\n[patches]\n'), read_settings),
}


@cache
def good(name: str) -> bytes:
    """A file as it should be."""
    suffix, write, _ = READERS[name]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write(path)
        return path.read_bytes()


CHANGES = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "insert", "zero"]), st.integers(0, 2**20), st.integers(0, 255)), max_size=4
)


def damaged(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """The data with a few bytes changed."""
    for kind, place, value in changes:
        at = place % (len(data) + 1)
        piece = bytes([value])
        data = {
            "set": data[:at] + piece + data[at + 1 :],
            "cut": data[:at],
            "insert": data[:at] + piece * (1 + value % 9) + data[at:],
            "zero": data[:at] + bytes(min(value, len(data) - at)) + data[at + value :],
        }[kind]
    return data


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_a_damaged_file_is_named_or_read(name: str, changes: list[tuple[str, int, int]], tmp_path: Path) -> None:
    """Whatever bytes change, a reader raises DataError with one line, or reads what is there."""
    suffix, _, read = READERS[name]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(damaged(good(name), changes))
    try:
        read(path)
    except DataError as error:
        assert "\n" not in str(error)
        assert changes


@pytest.mark.parametrize("name", READERS)
def test_a_good_file_is_read(name: str, tmp_path: Path) -> None:
    """The files that are damaged above are right before."""
    suffix, write, read = READERS[name]
    write(tmp_path / f"x{suffix}")
    read(tmp_path / f"x{suffix}")


def test_texts_of_a_parquet_file_are_texts(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 where a Parquet file declares texts are refused by name, not met later."""
    path = tmp_path / "bags.parquet"
    pq.write_table(pa.table({"bag": ["case-one", "2"], "i": [0, 1], "f": [1.0, 2.0]}), path, compression="none")
    path.write_bytes(path.read_bytes().replace(b"case-one", b"case\xffone"))
    with pytest.raises(DataError, match=r"bags.parquet cannot be read as a table of numbers .*UTF8"):
        read_bags(path, bag_column="bag", index_column="i", label_column=None)
