"""The vector of a patch in torch's .pt."""

import re
import zipfile
from pathlib import Path

from milstore.formats.interface import Vectors, first_bytes

_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that torch wrote before its files were zip files."""
_LOOKED_AT = 1 << 16
_NUMPY = re.compile(rb"\x80.cnumpy\.(?:_core|core)\.multiarray\n_reconstruct\n", re.DOTALL)
"""How a pickled array begins."""


def pickled(path: Path) -> bytes:
    """What tells the things in a `.pt` file, as far as it takes to recognise it; not run, only looked at.

    Nothing if it is no `.pt` file.
    """
    head = first_bytes(path, _LOOKED_AT)
    if head.startswith(_OLD):
        return head
    if not head.startswith(b"PK"):
        return b""
    with zipfile.ZipFile(path) as archive:
        entry = next((each for each in archive.infolist() if each.filename.endswith("/data.pkl")), None)
        if entry is None:
            return b""
        with archive.open(entry) as stream:
            return stream.read(_LOOKED_AT)


def is_numpy(found: bytes) -> bool:
    """Whether what `pickled` gave is one NumPy array, and no tensor."""
    return bool(_NUMPY.search(found[:512]))


class PtVector:
    """A patch a file: torch's .pt with one vector (D), alone or the one tensor of a dict."""

    endings = ("pt",)

    def recognises(self, path: Path) -> bool:
        """A file of torch's that is not one of a slice, and no NumPy array."""
        found = pickled(path)
        return bool(found) and not (b"features" in found and b"patch_idx" in found) and not is_numpy(found)

    def vector(self, path: Path) -> Vectors:
        """The vector (D,); bfloat16 comes as float32. Imports torch. DataError if there is none in it."""
        from milstore.formats.pt_load import load_vector

        return load_vector(path)
