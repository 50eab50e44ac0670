"""Reads data sets of HDF5 files, and refuses those that were declared but never written.

HDF5 makes room first and is filled afterwards. A job that dies in between leaves a file that opens, has the right shapes, and reads
as the fill value, which mostly is zero, wherever nothing was written.
"""

import errno
import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError

_AGAIN = "let the job that makes it finish, or create it again, and ingest it again"


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_IN_USE = (errno.EAGAIN, errno.EACCES)


@contextmanager
def opened_hdf5(path: Path) -> Iterator[Any]:
    """A file, open for reading (`h5py.File`).

    Raises:
        DataError: another program has it open for writing, or one that was ended had.
        OSError: it is no HDF5 file, or damaged.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if "lock" in str(error) and error.errno in _NO_LOCKS:
            # Some network disks have no locks: then nobody can be kept out anyway.
            file = h5py.File(path, "r", locking=False)
        elif "lock" in str(error) and error.errno in _IN_USE:
            raise DataError(
                f"{path} is in use: another program has it open for writing; try again when that program is done"
            ) from error
        elif "already open for write" in str(error):
            raise DataError(
                f"{path} is marked as open for writing: let the job that writes it end and try again; if that job died, "
                "create the file again, or clear the mark by h5clear -s"
            ) from error
        else:
            raise
    with file:
        yield file


def read_whole(dataset: Any, name: str, path: Path) -> npt.NDArray[Any]:
    """The values of a data set. DataError if they are compressed by a filter that is not installed here."""
    if _missing_filters(dataset) and importlib.util.find_spec("hdf5plugin") is not None:
        # The package with the usual ones registers them where it is imported.
        importlib.import_module("hdf5plugin")
    try:
        return np.asarray(dataset[()])
    except OSError as error:
        if not (missing := _missing_filters(dataset)):
            raise
        raise DataError(
            f"{name} in {path} is compressed by a filter that is not installed here ({', '.join(missing)}): install it (pip "
            "install hdf5plugin brings the usual ones), or store the numbers with gzip or without a filter"
        ) from error


def _missing_filters(dataset: Any) -> list[str]:
    """The filters of a data set that are not installed, by their numbers and what the file calls them."""
    import h5py

    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
    return [
        f"number {code}{': ' + called.decode('ascii', 'replace') if called else ''}"
        for code, _, _, called in filters
        if not h5py.h5z.filter_avail(code)
    ]


def own_dataset(file: Any, name: str, path: Path) -> Any:
    """A data set that lies in the file itself and was wholly written.

    Args:
        file: an open `h5py.File`.
        name: of the data set.
        path: of the file, for messages.

    Raises:
        DataError: it is no array of numbers, lies in other files, or parts of it were never written.
    """
    import h5py

    link = file.get(name, getlink=True)
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise DataError(f"{name} in {path} is not a dataset of this file: store the numbers in it")
    if dataset.shape is None or dataset.dtype.hasobject:
        raise DataError(f"{name} in {path} holds no array of numbers: store the numbers")
    _check_written(dataset, name, path)
    return dataset


def _check_written(dataset: Any, name: str, path: Path) -> None:
    """Raises DataError if a part of a data set was never written, as far as the file tells."""
    if not dataset.size:
        return
    if dataset.chunks is not None:
        wanted = math.prod(-(-length // step) for length, step in zip(dataset.shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
        if written == 0:
            raise DataError(
                f"{name} in {path} declares shape {dataset.shape} and holds nothing "
                f"({wanted} of {wanted} chunks are not written): {_AGAIN}"
            )
        if written < wanted:
            raise DataError(
                f"{path} is half-written: {wanted - written} of {wanted} chunks of {name} are not written and would read "
                f"as {_fill(dataset)}: {_AGAIN}"
            )
    elif not dataset.id.get_storage_size():
        # Without chunks the room is made when the first number is written.
        raise DataError(f"{name} in {path} declares shape {dataset.shape} and holds nothing: {_AGAIN}")


def _fill(dataset: Any) -> str:
    return "zeros" if not np.any(dataset.fillvalue) else str(dataset.fillvalue)


def check_filled(dataset: Any, values: npt.NDArray[Any], name: str, path: Path) -> None:
    """Raises DataError if rows (N, D) hold only the file's own fill value: they were never written.

    It takes the values to tell where room was made without chunks, in chunks of many rows, or all of it at once. Rows of zeros
    may be meant, and pass.
    """
    import h5py

    fill = dataset.fillvalue
    chosen = dataset.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    if not chosen or values.ndim != 2 or values.shape[1] < 2 or not np.any(fill):
        return
    # NaN is no number to compare with, and refused by itself.
    blank = int((values == fill).all(axis=1).sum())
    if blank:
        raise DataError(
            f"{path} is half-written: {blank} of {len(values)} rows of {name} hold nothing but the fill value {fill}: {_AGAIN}"
        )
