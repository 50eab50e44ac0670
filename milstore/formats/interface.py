"""The interface of formats: a class, constructed without arguments, that recognises files by their content and reads them.

There is a protocol for each kind of file. The first line of a format's docstring is what is listed of it. What a reader
raises over a damaged file is turned into one line that names the file; a `DataError` is passed on as it is.
docs/formats.md says how one is added.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import DataError, MilstoreError, in_a_line
from milstore.formats.csv_table import TextTable
from milstore.store.names import clip

if TYPE_CHECKING:
    from milstore.formats.split_file import SplitFiles, SplitReading

Vectors = npt.NDArray[np.floating]
"""(N, D), or (D,) of one patch. float16, float32, float64; bfloat16 as float32, or as `formats.npy.is_bfloat16` has it."""


class Format(Protocol):
    """What every format has."""

    @property
    def endings(self) -> Sequence[str]:
        """Endings of its files' names, lower case, without the dot: by these they are found in a folder."""

    def recognises(self, path: Path) -> bool:
        """Whether a file's content (its first bytes, columns or keys) is of this format. An exception counts as no."""


class VectorFormat(Format, Protocol):
    """Features, a file a patch. Which patch it is of, the file's name says."""

    def vector(self, path: Path) -> Vectors:
        """The vector (D,) of a file."""


Unit = Literal["slice", "level-0", "um"]
"""Of coordinates: pixels of the slice, pixels of the slide at full resolution, micrometres on the slide."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """The layout of a file of features: N vectors of D numbers, none of them read."""

    rows: int
    """N."""
    width: int
    """D."""
    half: bool = False
    """Whether the vectors are float16."""
    patch_idx: npt.NDArray[np.integer] | None = None
    """(N,), 0 to 2^31 - 1: the number of each row's patch; None where the file has none."""
    xy: npt.NDArray[np.number] | None = None
    """(N, 2): upper left corner of each patch, x before y, in `unit`; None where the file has none."""
    unit: Unit = "slice"
    patch_size: float | None = None
    """Edge of a patch, in `unit`."""
    mpp: float | None = None
    """Micrometres a pixel at which the encoder saw the patches."""
    slide: str | None = None
    """Name of the slide, where the file says it otherwise than by its own name."""
    centred: bool = False
    """Whether `xy` are the patches' centres and not their upper left corners."""
    patch_um: float | None = None
    """Edge of a patch in micrometres, where a file says it so."""
    patch_px: int | None = None
    """Edge of a patch at the encoder's input, in pixels."""
    overlap: int | None = None
    """Pixels that neighbours share at the encoder's input."""
    tool: str | None = None
    """What wrote the file, such as trident; with its version where the file names it: STAMP 2.5.0."""
    encoder: str | None = None
    """What made the vectors, as the file names it."""
    slide_size: tuple[int, int] | None = None
    """Width and height of the slide's level 0, in pixels."""
    by_row: bool = False
    """Whether `patch_idx` is nothing but the number of the row, since the file says nothing else of its patches."""
    notes: tuple[str, ...] = ()
    """What is to be told of the file, once for all that say the same."""


class SliceFormat(Format, Protocol):
    """Features, a file a slice or slide. Which one it is of, the file's name says.

    Where a "file" is a folder, the class says `is_folder = True`. A class whose files hold the features of several encoders has
    `of_encoder(name)`, which gives the format that reads those of one. `beside` are ends of names of files that lie beside its own
    and are read with them, such as `.index.npz`: in a folder they are no features.
    """

    def layout(self, path: Path) -> Layout:
        """The layout of the file. It is checked before vectors are read, so none should be loaded here."""

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of the file's rows. They may be mapped from the file."""


FeatureFormat = VectorFormat | SliceFormat


class TableFormat(Format, Protocol):
    """A large table: of a benchmark's bags, or of a run."""

    def read(self, path: Path, texts: Sequence[str]) -> pa.Table:
        """The table; the columns `texts`, where there are such, should come as texts (007 is not 7)."""


class LabelFormat(Format, Protocol):
    """A table with a row a case, its columns with the case and its label named by the user."""

    def read(self, path: Path, expected: Sequence[str]) -> TextTable:
        """Every value as a text without blanks around it; `expected` are the columns that the user names."""


class SplitFormat(Format, Protocol):
    """Files of splits."""

    def read(self, files: Sequence[Path], reading: "SplitReading") -> "SplitFiles":
        """The subset of each case in each split, or test folds. Case ids go through `reading.case_id`.

        UsageError if the files must be fewer.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPredictions:
    """The results of a model that was trained elsewhere."""

    table: pa.Table
    """A row a case: case_id and perhaps subset, true_label, predicted_label, as texts; a column of numbers a class."""
    probability: Sequence[str]
    """The column of each class, in the order of the store's labels."""
    label_in_store: Sequence[int]
    """The store's label of each class number of true_label and predicted_label."""


class RunFormat(Format, Protocol):
    """The two tables of a run that was trained elsewhere; each is recognised by itself."""

    def predictions(self, path: Path, classes: Sequence[str]) -> RunPredictions:
        """The predictions; `classes` are the names of the store's classes, in the order of their labels."""

    def attention(self, path: Path) -> pa.Table:
        """A row a patch: case_id, stain_attention, slice_attention, patch_attention, and what says which patch it is.

        That is file, patch_path or patch (its file); or stain, slice_idx or slice_name, and patch_idx or x and y.
        """


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn exceptions of libraries on a damaged file into a DataError that names it."""
    try:
        yield
    except MilstoreError:
        raise
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: Permission denied") from error
    except Exception as error:
        # zipfile, NumPy, h5py, Arrow and users' readers raise what they meet.
        reason = clip(in_a_line(error).removeprefix("OSError: "), 100)
        raise DataError(f"{path} is damaged, or not of the kind its name says ({reason}): create it again") from error


def first_bytes(path: Path, count: int) -> bytes:
    """The beginning of a file."""
    with path.open("rb") as stream:
        return stream.read(count)


def is_array(value: Any, dimensions: int, kinds: str) -> bool:
    """Whether this is an array of so many dimensions and of a type of one of these NumPy kinds."""
    return isinstance(value, np.ndarray) and value.ndim == dimensions and value.dtype.kind in kinds
