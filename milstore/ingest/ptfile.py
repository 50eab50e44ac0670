"""One vector from a `.pt` file.

`torch.save` of a plain vector writes a zip file without compression, with one fixed pickle program in it. That program is
recognised byte for byte, never run, and the numbers are taken from the file as they lie there: fifteen times faster than
`torch.load`, and without importing torch. Anything else goes to `torch.load(weights_only=True)`.
"""

import re
import struct
import warnings
import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.store.names import clip

Vector = npt.NDArray[np.floating]

_INT = rb"(?:K.|M..|J....)"
_PROGRAM = re.compile(
    rb"\x80\x02ctorch\._utils\n_rebuild_tensor_v2\nq\x00\(\(X\x07\x00\x00\x00storageq\x01ctorch\n"
    rb"(?P<kind>Half|Float|Double|BFloat16)Storage\nq\x02X\x01\x00\x00\x000q\x03X.\x00\x00\x00[a-z]+(?::\d+)?q\x04"
    rb"(?P<stored>" + _INT + rb")tq\x05QK\x00(?:(?P<size>" + _INT + rb")\x85q\x06K\x01\x85q\x07"
    rb"|K\x01(?P<row>" + _INT + rb")\x86q\x06" + _INT + rb"K\x01\x86q\x07)"
    rb"[\x88\x89]ccollections\nOrderedDict\nq\x08\)Rq\ttq\nRq\x0b\.",
    re.DOTALL,
)
_DTYPES = {b"Half": "<f2", b"Float": "<f4", b"Double": "<f8", b"BFloat16": "<u2"}
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


def vector_from_pt(data: bytes, name: str) -> Vector:
    """The one vector (D,) of a `.pt` file; bfloat16 comes as float32.

    Raises:
        DataError: the file is damaged, holds no tensor, more than one, or one that is no vector of floats.
    """
    plain = _plain(data)
    return _by_torch(data, name) if plain is None else plain


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """bfloat16 numbers, given by their bits, as float32: the same numbers, for bfloat16 is float32 cut short."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


@lru_cache(maxsize=256)
def _described(program: bytes) -> tuple[str, int] | None:
    """Number type and length of the vector that a pickle program stands for; None if it is another program."""
    found = _PROGRAM.fullmatch(program)
    if found is None:
        return None
    size = _number(found["size"] or found["row"])
    return (_DTYPES[found["kind"]], size) if size == _number(found["stored"]) else None


def _number(code: bytes) -> int:
    return int.from_bytes(code[1:], "little", signed=code[:1] == b"J")


def _plain(data: bytes) -> Vector | None:
    """The vector, if the file is exactly what torch.save writes for one; None otherwise."""
    if len(data) < _END.size:
        return None
    magic, *_, size, offset, comment = _END.unpack_from(data, len(data) - _END.size)
    if magic != b"PK\5\6" or comment or offset + size > len(data):
        return None
    directory = data[offset : offset + size]
    program_entry = _entry(directory, b"/data.pkl")
    numbers_entry = _entry(directory, b"/data/0")
    if program_entry is None or numbers_entry is None:
        return None
    program = _content(data, *program_entry[:2])
    numbers = _content(data, *numbers_entry[:2])
    described = None if program is None or numbers is None else _described(program)
    # Files of machines of the other byte order say "big" in an entry of their own, in front of the numbers.
    if described is None or numbers is None or data.find(b"big", 0, numbers_entry[0] + 512) >= 0:
        return None
    dtype, length = described
    if len(numbers) != length * np.dtype(dtype).itemsize or zlib.crc32(numbers) != numbers_entry[2]:
        return None
    vector = np.frombuffer(numbers, dtype)
    return from_bfloat16(vector) if dtype == "<u2" else vector


def _entry(directory: bytes, name: bytes) -> tuple[int, int, int] | None:
    """Offset, size and CRC-32 of an uncompressed entry of the zip's directory."""
    if len(directory) < _ENTRY.size:
        return None
    # All entries lie in one folder, whose name is that of the first entry without "/data.pkl".
    prefix = _ENTRY.unpack_from(directory)[10] - len(b"/data.pkl")
    at = directory.find(name) - prefix - _ENTRY.size
    if at < 0:
        return None
    fields = _ENTRY.unpack_from(directory, at)
    magic, method, offset = fields[0], fields[4], fields[16]
    crc, packed, size, length = fields[7:11]
    if magic != b"PK\1\2" or method or packed != size or length != prefix + len(name):
        return None
    return offset, size, crc


def _content(data: bytes, offset: int, size: int) -> bytes | None:
    if offset + _LOCAL.size > len(data):
        return None
    fields = _LOCAL.unpack_from(data, offset)
    start = offset + _LOCAL.size + fields[9] + fields[10]
    return data[start : start + size] if fields[0] == b"PK\3\4" and start + size <= len(data) else None


def _by_torch(data: bytes, name: str) -> Vector:
    import io
    import zipfile

    import torch

    try:
        # torch.load does not look at the checksums of its own format.
        wrong = zipfile.ZipFile(io.BytesIO(data)).testzip() if data.startswith(b"PK") else None
    except Exception as error:
        raise DataError(f"{name} is damaged: make it anew") from error
    if wrong is not None:
        raise DataError(
            f"{name} is damaged: the checksum of its {clip(wrong.rpartition('/')[2])!r} does not fit, make it anew"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        # Torch raises what it meets: RuntimeError, UnpicklingError, EOFError, KeyError, MemoryError, …
        raise DataError(f"{name} is damaged, or holds more than tensors: make it anew") from error
    tensors = loaded.values() if isinstance(loaded, dict) else [loaded]
    found = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
    if len(found) != 1:
        raise DataError(f"{name} holds {len(found)} tensors, not one: save the feature vector alone")
    tensor = found[0].detach()
    # A few bytes can claim to be a huge tensor, by strides of 0 or a sparse layout.
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise DataError(f"{name} holds a tensor that is no plain vector: save it dense, on the CPU")
    if tensor.numel() * tensor.element_size() > len(data) or tensor.dim() == 0:
        raise DataError(f"{name} holds a tensor of shape {tuple(tensor.shape)}, larger than its file: make it anew")
    if not tensor.is_floating_point():
        raise DataError(f"{name} holds {tensor.dtype}, not floats: save it as float16, float32, float64 or bfloat16")
    if tensor.numel() != max(tensor.shape):
        raise DataError(f"{name} has shape {tuple(tensor.shape)}, and a patch has one vector (D)")
    if tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    vector: Vector = tensor.reshape(-1).numpy()
    return vector
