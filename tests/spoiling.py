"""Files that are damaged, hostile or beside the point, made byte by byte: for the tests of bad input."""

import io
import pickle
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch


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


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{name: np.asarray(value) for name, value in arrays.items()})
    return stream.getvalue()


def parquet(**columns: object) -> bytes:
    return saved(lambda path: pq.write_table(pa.table(columns), path))


def h5(**datasets: object) -> bytes:
    """An .h5 file of these arrays; a link or a dict of the arguments of `create_dataset` is taken as such."""

    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, value in datasets.items():
                if isinstance(value, h5py.ExternalLink):
                    file[name] = value
                else:
                    file.create_dataset(name, **(value if isinstance(value, dict) else {"data": value}))

    return saved(write)


class Boom:
    """A pickle that would run something."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit('a pickle was run')",)


PICKLE = pickle.dumps(Boom())


def cut(data: bytes, tenth: int) -> bytes:
    return data[: len(data) * tenth // 10]


def flipped(data: bytes, within: bytes) -> bytes:
    """The data with one bit of a piece of it changed."""
    changed = bytearray(data)
    changed[data.index(within) + len(within) // 2] ^= 1
    return bytes(changed)


# --- declared and not there ------------------------------------------------------------------------------------------


def npy_header(shape: str, descr: str = "'<f4'") -> bytes:
    """A .npy file that declares this shape and holds one number."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117) + b"\n" + bytes(4)


def forged_npz() -> bytes:
    """An .npz whose header declares a petabyte."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("features.npy", npy_header("(1000000000000, 256)") + bytes(60))
        archive.writestr("patch_idx.npy", array([3, 12]))
    return stream.getvalue()


def hollow_h5() -> bytes:
    """An .h5 that declares a petabyte and holds nothing."""
    features = {"shape": (10**12, 256), "dtype": "f4", "chunks": (1, 256)}
    return h5(features=features, patch_idx={"shape": (10**12,), "dtype": "i8", "chunks": (1024,)})


def huge_png(side: int) -> bytes:
    """The beginning of a PNG that claims side x side pixels."""
    header = b"IHDR" + side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    chunks = [header, b"IDAT" + zlib.compress(bytes(64))]
    framed = ((len(c) - 4).to_bytes(4, "big") + c + zlib.crc32(c).to_bytes(4, "big") for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def huge_tiff(side: int) -> bytes:
    """The beginning of a TIFF that claims side x side pixels."""
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, 4)]
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0" + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, value in tags
    )
    return b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little") + entries + bytes(8)


def huge_jpeg(whole: bytes) -> bytes:
    """A JPEG whose header claims 65535 x 65535 pixels."""
    changed = bytearray(whole)
    at = changed.index(b"\xff\xc0") + 5
    changed[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(changed)
