"""The plain form of a `.pt` file: what `torch.save` writes for one vector, recognised byte for byte and never run.

It is a zip file without compression, with one fixed pickle program in it. The files of a cohort differ in nothing but
the name of the folder inside and the numbers: what was understood of one is a pattern for the others.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

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
_CRC = struct.Struct("<L")
_CRC_IN_ENTRY = 16
_LOCAL = struct.Struct("<4s5H3L2H")
_FOREIGN = b"big"
"""Files of machines of the other byte order say so in an entry of their own, in front of the numbers."""


@dataclass(frozen=True, slots=True)
class PlainFile:
    """Where things lie in a plain file. Its frame is all of it but the numbers."""

    dtype: str
    """The numbers' type; bfloat16, which NumPy does not know, as `<u2`."""
    length: int
    """How many numbers."""
    start: int
    """Bytes in front of the numbers."""
    size: int
    """Bytes of the file."""
    _common: tuple[tuple[slice, bytes], ...]
    """Pieces of the frame that say where things lie and what they mean."""
    _crc: int
    """Place of the numbers' CRC-32 in the frame."""

    @property
    def n_bytes(self) -> int:
        """Bytes of the numbers."""
        return self.length * np.dtype(self.dtype).itemsize

    def is_like(self, frame: bytes | bytearray, numbers: memoryview) -> bool:
        """Whether a file of this size is plain too and its numbers, at the same place, fit their checksum."""
        for place, expected in self._common:
            if frame[place] != expected:
                return False
        return frame.find(_FOREIGN, 0, self.start) < 0 and zlib.crc32(numbers) == _CRC.unpack_from(frame, self._crc)[0]


def plain_file(data: bytes) -> PlainFile | None:
    """What is to be known of a plain file, or None if it is something else or damaged."""
    if len(data) < _END.size:
        return None
    magic, *_, size, begin, comment = _END.unpack_from(data, len(data) - _END.size)
    if magic != b"PK\5\6" or comment or begin + size > len(data):
        return None
    program_entry = _entry(data, begin, size, b"/data.pkl")
    numbers_entry = _entry(data, begin, size, b"/data/0")
    if program_entry is None or numbers_entry is None:
        return None
    program, numbers = _content(data, program_entry), _content(data, numbers_entry)
    described = None if program is None or numbers is None else _described(data[program])
    if described is None or program is None or numbers is None or data.find(_FOREIGN, 0, numbers.start) >= 0:
        return None
    dtype, length = described
    n_bytes = length * np.dtype(dtype).itemsize
    if numbers.stop - numbers.start != n_bytes or zlib.crc32(memoryview(data)[numbers]) != numbers_entry.crc:
        return None
    crc = numbers_entry.place + _CRC_IN_ENTRY
    common = [
        slice(program_entry.offset, program_entry.offset + _LOCAL.size),
        program,
        slice(numbers_entry.offset, numbers_entry.offset + _LOCAL.size),
        slice(program_entry.place, program_entry.place + _ENTRY.size),
        program_entry.name,
        slice(numbers_entry.place, crc),
        slice(crc + _CRC.size, numbers_entry.place + _ENTRY.size),
        numbers_entry.name,
        slice(len(data) - _END.size, len(data)),
    ]

    def in_frame(place: int) -> int:
        return place if place <= numbers.start else place - n_bytes

    if any(piece.start < numbers.stop and piece.stop > numbers.start for piece in common):
        return None
    return PlainFile(
        dtype,
        length,
        numbers.start,
        len(data),
        tuple((slice(in_frame(piece.start), in_frame(piece.stop)), data[piece]) for piece in common),
        in_frame(crc),
    )


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


@dataclass(frozen=True, slots=True)
class _Entry:
    """An uncompressed entry of the zip's directory."""

    place: int
    """Where it stands in the directory's file."""
    name: slice
    """Where its name does, without the folder."""
    offset: int
    """Where the entry's own header stands."""
    size: int
    crc: int


def _entry(data: bytes, begin: int, size: int, name: bytes) -> _Entry | None:
    """An entry of the directory that takes `size` bytes at `begin`."""
    if size < _ENTRY.size:
        return None
    # All entries lie in one folder, whose name is that of the first entry without "/data.pkl".
    prefix = _ENTRY.unpack_from(data, begin)[10] - len(b"/data.pkl")
    found = data.find(name, begin, begin + size)
    place = found - prefix - _ENTRY.size
    if found < 0 or place < begin:
        return None
    fields = _ENTRY.unpack_from(data, place)
    magic, method, offset = fields[0], fields[4], fields[16]
    crc, packed, unpacked, length = fields[7:11]
    if magic != b"PK\1\2" or method or packed != unpacked or length != prefix + len(name):
        return None
    return _Entry(place, slice(found, found + len(name)), offset, unpacked, crc)


def _content(data: bytes, entry: _Entry) -> slice | None:
    """Where the bytes of an entry lie."""
    if entry.offset + _LOCAL.size > len(data):
        return None
    fields = _LOCAL.unpack_from(data, entry.offset)
    start = entry.offset + _LOCAL.size + fields[9] + fields[10]
    return slice(start, start + entry.size) if fields[0] == b"PK\3\4" and start + entry.size <= len(data) else None
