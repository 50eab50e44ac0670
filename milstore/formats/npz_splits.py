"""Splits in NumPy's .npz, a file a split."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from milstore.errors import DataError
from milstore.formats.csv_table import file_size
from milstore.formats.npy import check_size, read_header
from milstore.formats.split_file import Split, SplitFiles, SplitReading, put_case
from milstore.formats.split_numbering import COUNTED, counted_from_1, numbers_in
from milstore.schema.columns import SUBSETS
from milstore.store.case_ids import whole_number_texts
from milstore.store.names import clip, named

LARGEST = 1 << 26


class NpzSplits:
    """A split a file: NumPy's .npz with train_cases, val_cases and test_cases, its number in the file's name."""

    endings = ("npz",)

    def recognises(self, path: Path) -> bool:
        """A zip file with an array `train_cases`."""
        with zipfile.ZipFile(path) as archive:
            return "train_cases.npy" in archive.namelist()

    def read(self, files: Sequence[Path], reading: SplitReading) -> SplitFiles:
        """The split of each file, each with the number in its name."""
        path_of, origins, numbered = numbered_files(files)
        return SplitFiles(
            splits={number: _read_npz(path, reading) for number, path in path_of.items()},
            origins=origins,
            numbered=numbered,
        )


def _in_a_line(name: str) -> str:
    """A name as it stands in a message: what breaks lines is written out."""
    return name if name.isprintable() else ascii(name)


def numbered_files(files: Sequence[Path]) -> tuple[dict[int, Path], dict[int, str], str]:
    """Files of a split each by their numbers, in this order; what each is called; and where the numbers come from, in words.

    Raises:
        DataError: two files have one number or one name, or it is not clear which number is meant.
    """
    names = [path.stem for path in files]
    if len(set(names)) < len(names):
        # The same name in several folders: then these may be numbered.
        names = [str(path.with_suffix("")) for path in files]
    if len(set(names)) < len(names):
        raise DataError(f"{named(sorted({name for name in names if names.count(name) > 1}))} is named twice")
    found = numbers_in(names)
    numbers = found or counted_from_1(names)
    path_of: dict[int, Path] = {}
    for name, path in zip(names, files, strict=True):
        other = path_of.setdefault(numbers[name], path)
        if other != path:
            raise DataError(f"{other} and {path} both hold split {numbers[name]}: name each by a number of its own")
    ordered = dict(sorted(path_of.items()))
    told = "numbered as in the names of the files" if found else COUNTED
    return ordered, {number: path.name for number, path in ordered.items()}, told


def _read_npz(path: Path, reading: SplitReading) -> Split:
    split: Split = {}
    if file_size(path, "a file of one split") > LARGEST:
        raise DataError(f"{path} is too large for a file of one split")
    try:
        with zipfile.ZipFile(path) as archive:
            present = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [f"{subset}_cases" for subset in ("train", "test") if f"{subset}_cases" not in present]
            if missing:
                raise DataError(f"{path} has no {named(missing)}: it has {named(map(_in_a_line, present))}")
            # Some train a number of epochs that they know, and validate nothing.
            for subset in (subset for subset in SUBSETS if f"{subset}_cases" in present):
                texts = _case_ids(archive, f"{subset}_cases", path)
                reading.refuse(path, f"{subset}_cases", texts)
                for text in texts:
                    if reading.no_case(text):
                        raise DataError(f"{path} has {clip(text)!r} in {subset}_cases, which names no case: drop it")
                    put_case(split, reading.case_id(text), subset, str(path))
    except DataError:
        raise
    except Exception as error:
        # zipfile, zlib and NumPy raise what they meet.
        raise DataError(f"{path} is damaged or no .npz file ({clip(str(error), 100)}): create it again") from error
    return split


def _case_ids(archive: zipfile.ZipFile, name: str, path: Path) -> list[str]:
    where = f"{name} in {path}"
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as stream:
        shape, _, dtype = read_header(stream, where)
        check_size(shape, dtype, entry.file_size - stream.tell(), where)
    if shape == (0,):
        # What NumPy makes of an empty list are numbers with a decimal point.
        return []
    # A column of one number a row is a list too.
    is_list = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if not is_list or dtype.kind not in "iufUS" or entry.file_size > LARGEST:
        raise DataError(f"{where} has shape {shape} and type {dtype}: it must be a list of case ids, numbers or texts")
    with archive.open(entry) as stream:
        values: Any = np.lib.format.read_array(stream, allow_pickle=False).reshape(-1)
        stream.read(1)  # the checksum is compared at the end
    if dtype.kind == "f" and not np.all(values == np.floor(values)):
        raise DataError(f"{where} has numbers that are not whole: it must be a list of case ids, numbers or texts")
    if dtype.kind == "f":
        # As programs write that take ids for numbers.
        return [str(text) for text in whole_number_texts(pa.array(values)).to_pylist()]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
