"""Feature vectors, packed: one plain .npy matrix an encoder, a case's rows side by side.

A case is one sequential read, and the file opens with `numpy.load(…, mmap_mode="r")` anywhere. A pack is never changed:
new features are a new folder, and the `encoders` table says which one counts.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from milstore.errors import ConflictError, DataError, StoreError, UsageError
from milstore.schema.arrow import arrow_schema
from milstore.store.background_hash import Settling
from milstore.store.cohort import Cohort, CohortEdit
from milstore.store.integrity import check_unique
from milstore.store.io import sha256_of, sync_folder, write_json, write_parquet
from milstore.store.names import check_name, named, nearest
from milstore.store.pack_matrix import PackTarget, Vectors
from milstore.store.patch_index import hash_places
from milstore.store.paths import Store

PLACE = ("case_id", "stain", "slice_idx", "patch_idx")
"""The columns that identify a patch."""
DTYPES = ("float16", "float32")
VECTORS = "vectors.npy"
ROWS = "rows.parquet"
PACK = "pack.json"


class FeaturePack:
    """A pack that is being written. Leaving the `with` block without `commit` leaves no trace."""

    def __init__(self, store: Store, *, encoder: str, n_features: int, dtype: str, patches: pa.Table) -> None:
        """Make room for one vector a patch.

        Args:
            store: the store.
            encoder: name of what made the features.
            n_features: length D of a vector, at least 1.
            dtype: float16 or float32.
            patches: table with case_id, stain, slice_idx, patch_idx; any order.
        """
        check_name(encoder, "encoder")
        if dtype not in DTYPES or n_features < 1:
            raise DataError(f"features of {encoder} cannot be {n_features} x {dtype}: use {' or '.join(DTYPES)}")
        self.encoder = encoder
        self.n_features = n_features
        self.dtype = np.dtype(dtype)
        # Callers count in any width of integer.
        places = patches.select(list(PLACE)).cast(pa.schema([arrow_schema("patches").field(c) for c in PLACE]))
        self.patches: pa.Table = places.sort_by([(c, "ascending") for c in PLACE]).combine_chunks()
        check_unique("features", self.patches, list(PLACE))
        self._store = store
        self._staging = store.root / "features" / f".{encoder}.{uuid4().hex}.tmp"
        self._written = np.zeros(self.patches.num_rows, dtype=bool)
        self._ready = 0
        """Rows from the first on that are all written."""
        self._settling: Settling | None = None
        self._fingerprint: str | None = None

    def __enter__(self) -> Self:
        """Open the file."""
        try:
            self._staging.mkdir(parents=True)
            shape = (self.patches.num_rows, self.n_features)
            matrix = np.lib.format.open_memmap(self._staging / VECTORS, "w+", self.dtype, shape)
            self._settling = Settling(self._staging / VECTORS, _begun_fingerprint(self.patches))
        except OSError as error:
            shutil.rmtree(self._staging, ignore_errors=True)
            raise StoreError(f"features cannot be written to {self._staging.parent}: {error.strerror}") from error
        self.target = PackTarget(str(self._staging / VECTORS), int(matrix.offset), self.n_features, self.dtype.name)
        """Where other processes may put rows, by `PackTarget.write`; `accept` them here afterwards."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was not committed."""
        if self._settling is not None:
            self._settling.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def write(self, first_row: int, vectors: Vectors) -> None:
        """Put vectors (n, D) into rows first_row … first_row + n - 1 of `patches`.

        Raises:
            DataError: the width is not D, a value is NaN or infinite (also when it is too large for float16), or a row
                was written before.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.n_features:
            raise DataError(
                f"features of {self._name(first_row)} have shape {vectors.shape}, not (n, {self.n_features})"
            )
        with np.errstate(over="ignore"):
            stored = vectors.astype(self.dtype, copy=False)
        finite = np.isfinite(stored).all(axis=1)
        if not finite.all():
            raise DataError(self.not_finite(first_row + int(np.argmin(finite))))
        self._check_first_time(first_row, len(vectors))
        self.target.write(first_row, stored)
        self._mark(first_row, len(vectors))

    def not_finite(self, row: int) -> str:
        """That a vector holds what is no number, in words."""
        return f"features of {self._name(row)} hold NaN or infinity: make them anew"

    def accept(self, first_row: int, count: int) -> None:
        """Take it that another process has put rows first_row … first_row + count - 1 in place, and will not again.

        Raises:
            DataError: a row was written before.
        """
        self._check_first_time(first_row, count)
        self._mark(first_row, count)

    def _check_first_time(self, first_row: int, count: int) -> None:
        twice = self._written[first_row : first_row + count]
        if twice.any():
            raise DataError(f"{self._name(first_row + int(np.argmax(twice)))} got two features")

    def _mark(self, first_row: int, count: int) -> None:
        """Note that rows are in place, and let those settle that have no gap before them."""
        self._written[first_row : first_row + count] = True
        left = self._written[self._ready :]
        self._ready += len(left) if left.all() else int(np.argmin(left))
        if self._settling is not None:
            self._settling.settle(self._place(self._ready))

    def _place(self, row: int) -> int:
        """Bytes of the file in front of a row."""
        return self.target.offset + row * self.n_features * self.dtype.itemsize

    def _name(self, row: int) -> str:
        place = {column: self.patches[column][row].as_py() for column in PLACE}
        return "case {case_id}, {stain}, slice {slice_idx}, patch {patch_idx}".format(**place)

    def finish(self) -> str:
        """Hash what was written and bring it to the disk, which takes a while and needs no lock. The fingerprint.

        Raises:
            DataError: rows were not written.
            StoreError: the disk refuses.
        """
        if self._fingerprint is None:
            if not self._written.all():
                raise DataError(
                    f"{int((~self._written).sum())} patches got no feature, "
                    f"such as {self._name(int(np.argmin(self._written)))}"
                )
            try:
                self._fingerprint = self._settle()
            except OSError as error:
                raise StoreError(f"features cannot be written to {self._staging.parent}: {error.strerror}") from error
        return self._fingerprint

    def commit(self, edit: CohortEdit, *, source: str, replace: bool = True) -> None:
        """Put the pack into the store and its row into the edit; it counts once the edit is committed.

        Raises:
            DataError: rows were not written, or a patch is not in the cohort.
            ConflictError: the encoder has other features in the store, and `replace` is not given.
            StoreError: the disk refuses, or these features are in the store, damaged, and `replace` is not given.
        """
        fingerprint = self.finish()
        unknown = self.patches.join(edit.table("patches").select(list(PLACE)), list(PLACE), join_type="left anti")
        if unknown.num_rows:
            raise DataError(f"{unknown.num_rows} features have no patch in the store: ingest the patches first")
        others = [old for old in edit.table("encoders").to_pylist() if old["encoder"] != self.encoder]
        same = [old for old in edit.table("encoders").to_pylist() if old["encoder"] == self.encoder]
        known = bool(same) and same[0]["fingerprint"] == fingerprint
        if known and _holds(self._store.root / same[0]["folder"], self.patches, fingerprint):
            return
        if known and not replace:
            raise StoreError(
                f"the features of {self.encoder} in {self._store.root / same[0]['folder']} are not what was stored: "
                "use --replace to put these, which are what they were, in their place"
            )
        if same and not replace:
            raise other_features(same[0])
        folder = self._home(fingerprint)
        absent = not folder.exists()
        if absent:
            folder.parent.mkdir(exist_ok=True)
            self._staging.rename(folder)
            sync_folder(folder.parent)
        if known and self._store.root / same[0]["folder"] == folder:
            if absent:
                edit.repaired.append(f"repaired: {same[0]['folder']} was missing; it holds again what it held")
            return
        if known:
            edit.repaired.append(
                f"repaired: {same[0]['folder']} was not what was stored; {folder.relative_to(self._store.root).as_posix()} "
                "holds again what it held"
            )
        row = {
            "encoder": self.encoder,
            "n_features": self.n_features,
            "dtype": self.dtype.name,
            "n_patches": self.patches.num_rows,
            "fingerprint": fingerprint,
            "folder": folder.relative_to(self._store.root).as_posix(),
            "source": source,
        }
        edit.replace("encoders", pa.Table.from_pylist([*others, row]))

    def _home(self, fingerprint: str) -> Path:
        """Where these features are, or are to be: the first folder of their name that is whole, or is not there."""
        for number in count(1):
            folder = self._store.root / "features" / self.encoder / fingerprint[:12]
            # What is damaged is left as it is: somebody may be reading it.
            folder = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            if not folder.exists() or _holds(folder, self.patches, fingerprint):
                break
        return folder

    def _settle(self) -> str:
        assert self._settling is not None
        self._settling.end(self._place(self.patches.num_rows))
        rows = self.patches.append_column("row", pa.array(np.arange(self.patches.num_rows), pa.int64()))
        encoder = pa.array([self.encoder] * rows.num_rows, pa.string())
        write_parquet(rows.add_column(0, "encoder", encoder), self._staging / ROWS)
        # The matrix is in the fingerprint, to the last byte.
        write_json(self._staging / PACK, {"sha256": {ROWS: sha256_of(self._staging / ROWS)}})
        return self._settling.result()


def is_whole(folder: Path, patches: pa.Table, fingerprint: str) -> bool:
    """Whether a pack is what was stored, to the last byte. OSError, KeyError, TypeError or ValueError if it cannot
    be read."""
    hashes = json.loads((folder / PACK).read_text(encoding="utf-8"))["sha256"]
    return hashes[ROWS] == sha256_of(folder / ROWS) and packed_fingerprint(folder, patches) == fingerprint


def is_as_stored(features: "PackedFeatures") -> bool:
    """Whether a pack that was opened is there, and is what was stored, to the last byte."""
    try:
        return _holds(features.folder, features.patches, features.fingerprint)
    except StoreError:
        return False


def _holds(folder: Path, patches: pa.Table, fingerprint: str) -> bool:
    try:
        return is_whole(folder, patches, fingerprint)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def packed_fingerprint(folder: Path, patches: pa.Table) -> str:
    """SHA-256 over the patches of a pack, in the order of its rows, and the bytes of its matrix."""
    digest = _begun_fingerprint(patches)
    with (folder / VECTORS).open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


def _begun_fingerprint(patches: pa.Table) -> Any:
    """The hash of `hashlib` that a fingerprint is, before it gets the matrix."""
    digest = hashlib.sha256()
    hash_places(digest, patches)
    return digest


def other_features(known: Mapping[str, Any]) -> ConflictError:
    """That an encoder, given by its row, cannot have two kinds of features."""
    return ConflictError(
        f"the store has other features of {known['encoder']} ({known['n_patches']} patches, "
        f"{known['n_features']} numbers each): use another name, or --replace"
    )


@dataclass(frozen=True)
class PackedFeatures:
    """The features of one encoder, opened for reading."""

    encoder: str
    n_features: int
    dtype: str
    fingerprint: str
    folder: Path

    @cached_property
    def patches(self) -> pa.Table:
        """The patches (case_id, stain, slice_idx, patch_idx) in the order of the rows."""
        try:
            # Not read_table, which imports pandas.
            with pq.ParquetFile(self.folder / ROWS) as file:
                return file.read(columns=list(PLACE))
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(f"{self.folder / ROWS} cannot be read ({error}): run milstore doctor") from error

    @cached_property
    def case_rows(self) -> dict[str, tuple[int, int]]:
        """First row and end row of each case."""
        ids = self.patches["case_id"].combine_chunks()
        if not len(ids):
            return {}
        runs = pc.run_end_encode(ids)
        ends = runs.run_ends.to_pylist()
        return dict(zip(runs.values.to_pylist(), zip([0, *ends[:-1]], ends, strict=True), strict=True))

    @cached_property
    def _start(self) -> int:
        """Bytes before the first row, after checking that the file is what the table says."""
        path = self.folder / VECTORS
        try:
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}): run milstore doctor") from error
        if matrix.shape != (self.patches.num_rows, self.n_features) or matrix.dtype.name != self.dtype:
            raise StoreError(f"{path} holds {matrix.shape} {matrix.dtype}: run milstore doctor")
        return int(matrix.offset)

    def cannot_be(self, patches: pa.Table, row: int, vector: Vectors) -> bool:
        """Whether features of `patches` (as a pack orders them), with this vector (D,) in a row, are others than these.

        False where it takes all vectors to tell, or where these cannot be read.
        """
        if (self.n_features,) != vector.shape or (self.dtype == "float16" and vector.dtype != np.float16):
            return True
        try:
            if not self.patches.equals(patches.select(list(PLACE)).cast(self.patches.schema)):
                return True
            stored = np.load(self.folder / VECTORS, mmap_mode="r", allow_pickle=False)[row]
        except (StoreError, OSError, ValueError, IndexError):
            return False
        with np.errstate(over="ignore"):
            return not np.array_equal(stored, vector.astype(self.dtype))

    def read(self, case_id: str, into: Vectors | None = None) -> Vectors:
        """Vectors (N, D) of a case, in the order of its rows, in one sequential read.

        Args:
            case_id: the case; KeyError if it has no features.
            into: a matrix (at least N, D) of the pack's dtype to read into the first rows of; None for fresh memory.
        """
        first, end = self.case_rows[case_id]
        vectors = empty_vectors(end - first, self.n_features, self.dtype) if into is None else into[: end - first]
        path = self.folder / VECTORS
        # A read, not a memory map: a map would count as memory of the process for as long as it is open.
        room = vectors.reshape(-1).view(np.uint8).data
        try:
            with path.open("rb", buffering=0) as stream:
                stream.seek(self._start + first * self.n_features * vectors.itemsize)
                while room.nbytes and (got := stream.readinto(room)):
                    room = room[got:]
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror}): run milstore doctor") from error
        if room.nbytes:
            raise StoreError(f"{path} is truncated: run milstore doctor")
        return vectors


def empty_vectors(n_rows: int, n_features: int, dtype: npt.DTypeLike) -> Vectors:
    """Room for vectors (n_rows, n_features) that begins at a multiple of 64 bytes.

    Products of matrices may round differently at another alignment, and the same training must give the same bits.
    """
    n_bytes = n_rows * n_features * np.dtype(dtype).itemsize
    room = np.empty(n_bytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + n_bytes].view(dtype).reshape(n_rows, n_features)


def open_features(store: Store, cohort: Cohort, encoder: str | None = None) -> PackedFeatures:
    """The features of an encoder; the name may be left out while there is only one. UsageError otherwise."""
    rows = {row["encoder"]: row for row in cohort.table("encoders").to_pylist()}
    if not rows:
        raise ConflictError("the store has no features: run milstore ingest features or milstore encode")
    if encoder is None:
        if len(rows) > 1:
            raise UsageError(f"the store has features of several encoders: choose by --encoder ({named(sorted(rows))})")
        encoder = next(iter(rows))
    if encoder not in rows:
        raise UsageError(f"the store has no features of encoder {encoder!r}: {nearest(encoder, rows)}")
    row = rows[encoder]
    folder = (store.root / row["folder"]).resolve()
    if not folder.is_relative_to(store.root):
        raise StoreError(f"the folder of encoder {encoder} leaves the store: run milstore doctor")
    return PackedFeatures(encoder, row["n_features"], row["dtype"], row["fingerprint"], folder)
