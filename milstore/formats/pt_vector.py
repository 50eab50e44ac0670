"""The vector of a patch in torch's .pt."""

import re
import zipfile
from pathlib import Path

from milstore.formats.interface import Vectors, first_bytes
from milstore.formats.pt_shapes import is_matrix

_OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How files begin that torch wrote before its files were zip files."""
_LOOKED_AT = 1 << 16
_NUMPY = re.compile(rb"\x80.cnumpy\.(?:_core|core)\.multiarray\n_reconstruct\n", re.DOTALL)
"""How a pickled array begins."""


def pickled(path: Path) -> bytes:
    """The part of a `.pt` file's pickle that is needed to recognise it; it is not run.

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


INDEX = (".index.npz", ".index.npy")
"""How the file with the centres of a slideflow bag's tiles ends, after the slide's name."""
BAGS_CONFIG = "bags_config.json"
"""slideflow's settings of the bags of a folder."""


PT_FILES = "pt_files"
"""CLAM's folder of tensors, one a slide, which may have one row."""


def index_of(path: Path) -> Path | None:
    """The file with the centres of a bag's tiles; None if there is none beside it."""
    found = (path.with_name(path.name[: -len(path.suffix)] + ending) for ending in INDEX)
    return next((each for each in found if each.is_file()), None)


def is_bag(path: Path) -> bool:
    """Whether a `.pt` file is a bag of slideflow's, by the files beside it."""
    return index_of(path) is not None or (path.parent / BAGS_CONFIG).is_file()


def is_numpy(found: bytes) -> bool:
    """Whether what `pickled` gave is one NumPy array, and no tensor."""
    return bool(_NUMPY.search(found[:512]))


class PtVector:
    """A patch a file: torch's .pt with one vector (D), alone or the one tensor of a dict."""

    endings = ("pt",)

    def recognises(self, path: Path) -> bool:
        """A file of torch's that is not one of a slice or slide, and no NumPy array."""
        found = pickled(path)
        of_slice = (b"features" in found and b"patch_idx" in found) or is_numpy(found) or is_matrix(found)
        return bool(found) and not of_slice and not is_bag(path) and path.parent.name != PT_FILES

    def vector(self, path: Path) -> Vectors:
        """The vector (D,); bfloat16 comes as float32. Imports torch. DataError if there is none in it."""
        from milstore.formats.pt_load import load_vector

        return load_vector(path)
