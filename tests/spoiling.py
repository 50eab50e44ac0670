"""Files that are damaged, hostile or beside the point: for the tests of bad input."""

import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image

from milstore.store import Store
from tests.ingesting import NAMES, make_images, make_labels, make_vectors


@dataclass
class Place:
    """Where a test may put files, and the store that it may try to spoil."""

    folder: Path
    store: Store

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


LABELS = ("ingest", "labels", "--case-column", "Case", "--label-column", "Class")
FEATURES = ("ingest", "features", "--encoder", "new")
Words = list[str | Path]


def labels(text: str, label_map: str) -> Callable[[Place], Words]:
    return lambda place: [*LABELS, make_labels(place / "bad.csv", text), "--map", label_map]


def image(data: bytes, name: str = "case_5_match_1_he_patch1.png") -> Callable[[Place], Words]:
    def make(place: Place) -> Words:
        (make_images(place / "images", ("case_8_match_1_he_patch1",)) / name).write_bytes(data)
        return ["ingest", "patches", place / "images"]

    return make


def vector(data: bytes, suffix: str = ".pt") -> Callable[[Place], Words]:
    def make(place: Place) -> Words:
        folder = make_vectors(place / "bad")
        (folder / f"{NAMES[0]}.npy").unlink()
        (folder / f"{NAMES[0]}{suffix}").write_bytes(data)
        return [*FEATURES, folder]

    return make


def saved(writer: Callable[[Path], object]) -> bytes:
    """The bytes that a writer puts into a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        writer(path)
        return path.read_bytes()


def tensor(value: object) -> bytes:
    return saved(lambda path: torch.save(value, path))


def array(value: object) -> bytes:
    return saved(lambda path: np.save(path, np.asarray(value)))


class Boom:
    """A pickle that would run something."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit('a pickle was run')",)


def slice_file(writer: Callable[[Path], object], suffix: str = ".npz") -> Callable[[Place], Words]:
    def make(place: Place) -> Words:
        (place / "slices").mkdir()
        writer(place / "slices" / f"case_052_match_1_h&e{suffix}")
        return [*FEATURES, place / "slices"]

    return make


def npz(**arrays: object) -> Callable[[Place], Words]:
    return slice_file(lambda path: np.savez(path, **{name: np.asarray(value) for name, value in arrays.items()}))


def forged_npz(path: Path) -> None:
    """An .npz whose header declares a petabyte."""
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 256), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("features.npy", header + text.ljust(117) + b"\n" + bytes(64))
        archive.writestr("patch_idx.npy", array([3, 12]))


def hollow_h5(path: Path) -> None:
    """An .h5 that declares a petabyte and holds nothing."""
    with h5py.File(path, "w") as file:
        file.create_dataset("features", (10**12, 256), "f4", chunks=(1, 256))
        file.create_dataset("patch_idx", (10**12,), "i8", chunks=(1024,))


def foreign_h5(path: Path) -> None:
    """An .h5 whose features lie in another file."""
    with h5py.File(path, "w") as file:
        file["features"] = h5py.ExternalLink("/etc/passwd", "/x")
        file["patch_idx"] = np.array([3])


def huge_png(side: int) -> bytes:
    """The beginning of a PNG that claims side x side pixels."""
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    chunks = [header, b"IDAT" + zlib.compress(bytes(64))]
    framed = ((len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def linked(place: Place) -> Words:
    (place / "only").mkdir()
    (place / "only" / "case_5_match_1_he_patch1.png").symlink_to("/etc/hostname")
    return ["ingest", "patches", place / "only"]


def other_root(place: Place) -> Words:
    make_images(place / "twin", NAMES[:1])
    return ["ingest", "patches", place / "twin"]


def twice(place: Place) -> Words:
    make_images(place / "images")
    make_images(place / "images" / "sub", ("case_52_match1_he_patch003",), "jpg")
    return ["ingest", "patches", place / "images"]


def split(text: str, *words: str) -> Callable[[Place], Words]:
    def make(place: Place) -> Words:
        (place / "bad.csv").write_text(text)
        return ["ingest", "splits", place / "bad.csv", *words]

    return make


def cut(data: bytes, tenth: int) -> bytes:
    return data[: len(data) * tenth // 10]


def with_files(*names: str) -> Callable[[Place], Words]:
    def make(place: Place) -> Words:
        (place / "bad").mkdir()
        for name in names:
            (place / "bad" / name).write_bytes(b"x")
        return [*FEATURES, place / "bad"]

    return make


PICKLE = pickle.dumps(Boom())
ONE = "case_052_match_1_h&e_patch3"


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def one_image(folder: Path) -> Path:
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(folder / "thumb.png")
    return folder


def cut_slice(path: Path, suffix: str, tenth: int) -> None:
    from tests.test_ingest_features import write_slice

    write_slice(path, [3, 12], np.random.default_rng(0).normal(size=(2, 400)))
    path.write_bytes(cut(path.read_bytes(), tenth))
