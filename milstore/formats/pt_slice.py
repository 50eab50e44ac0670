"""The features of a slice in torch's .pt."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from milstore.formats.pt_vector import pickled
from milstore.formats.slice_arrays import NamedArrays, SliceArrays


class PtSlice(SliceArrays):
    """A slice a file: torch's .pt with a dict of tensors: features (N, D), patch_idx (N) and perhaps coords (N, 2)."""

    endings = ("pt",)

    def recognises(self, path: Path) -> bool:
        """A file of torch's that speaks of `features` and `patch_idx`."""
        found = pickled(path)
        return b"features" in found and b"patch_idx" in found

    @contextmanager
    def opened(self, path: Path) -> Iterator[NamedArrays]:
        """Its tensors, those of a large file mapped from it. Imports torch."""
        from milstore.formats.pt_load import TensorArrays

        yield TensorArrays(path)
