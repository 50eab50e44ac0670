"""Packed features, opened for reading."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import ConflictError, StoreError, UsageError
from milstore.store.cohort import Cohort
from milstore.store.io import sha256_of
from milstore.store.names import clip, named, nearest
from milstore.store.pack_matrix import Vectors
from milstore.store.packs import (
    case_hash,
    case_hashes,
    entries_of,
    hash_of_parts,
    hashes_by_case,
    read_places,
    rows_of_cases,
)
from milstore.store.patch_index import PLACE, hash_places, places
from milstore.store.paths import PACK, ROWS, VECTORS, Store
from milstore.store.plain import check_kind, check_plain, is_inside, read_object, unreadable
from milstore.store.verified import ADVICE


def is_whole(folder: Path, patches: pa.Table, fingerprint: str) -> bool:
    """Whether a pack is what was stored, to the last byte. OSError, KeyError, TypeError or ValueError if it cannot
    be read."""
    try:
        hashes = read_object(folder / PACK)["sha256"]
        hashes[ROWS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{PACK} cannot be read ({'it lacks ' if isinstance(error, KeyError) else ''}{error})"
        ) from error
    return hashes[ROWS] == sha256_of(folder / ROWS) and packed_fingerprint(folder, patches) == fingerprint


def is_as_stored(features: "PackedFeatures") -> bool:
    """Whether the packs that were opened are there, and are what was stored, to the last byte."""
    try:
        return all(holds(pack.folder, pack.patches, pack.fingerprint) for pack in features.packs)
    except StoreError:
        return False


def holds(folder: Path, patches: pa.Table, fingerprint: str) -> bool:
    """Whether a folder is a pack that is what was stored, to the last byte."""
    try:
        return is_whole(folder, patches, fingerprint)
    except (OSError, KeyError, TypeError, ValueError):
        return False


def packed_fingerprint(folder: Path, patches: pa.Table) -> str:
    """SHA-256 over the patches of a pack, in the order of its rows, and the bytes of its matrix."""
    digest = begun_fingerprint(patches)
    check_kind(folder / VECTORS)
    with (folder / VECTORS).open("rb") as stream:
        return hashlib.file_digest(stream, lambda: digest).hexdigest()


def begun_fingerprint(patches: pa.Table) -> Any:
    """A `hashlib` hash that has been fed the patches, and not yet the matrix."""
    digest = hashlib.sha256()
    hash_places(digest, patches)
    return digest


@dataclass(frozen=True)
class OpenPack:
    """One pack of an encoder, opened for reading."""

    encoder: str
    n_features: int
    dtype: str
    fingerprint: str
    folder: Path
    number: int = 1
    """Among the encoder's packs."""

    @cached_property
    def patches(self) -> pa.Table:
        """The patches (case_id, stain, slice_idx, patch_idx) in the order of the rows."""
        try:
            return read_places(self.folder)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self.folder / ROWS, error) from error

    @cached_property
    def case_rows(self) -> dict[str, tuple[int, int]]:
        """First row and end row of each case."""
        return rows_of_cases(self.patches)

    @cached_property
    def _start(self) -> int:
        """Bytes before the first row, after checking that the file is what the table says."""
        path = self.folder / VECTORS
        try:
            check_plain(path)
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise unreadable(path, error) from error
        if matrix.shape != (self.patches.num_rows, self.n_features) or matrix.dtype.name != self.dtype:
            raise StoreError(f"{path} holds {matrix.shape} {matrix.dtype}: run milstore doctor")
        return int(matrix.offset)

    def hash_of(self, case_id: str) -> str:
        """SHA-256 over the patches and vectors of a case, from its bytes. StoreError if they cannot be read."""
        try:
            return case_hashes(self.folder, self.patches, [case_id])[case_id]
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder / VECTORS} cannot be read ({error}): run milstore doctor") from error

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


@dataclass(frozen=True)
class PackedFeatures:
    """The features of one encoder, opened for reading: one pack, or several that each hold a part."""

    encoder: str
    n_features: int
    dtype: str
    fingerprint: str
    """Over all packs."""
    packs: tuple[OpenPack, ...]
    hashes: Mapping[str, Mapping[int, str]]
    """For each case, the SHA-256 of what each pack, by its number, holds of it, as far as it is written down."""
    store: Store | None = None
    """The store, for packs that are compared with what was stored when they are first read; None if they are not."""
    _compared: set[tuple[int, str]] = field(default_factory=set, compare=False, repr=False)
    """The cases of packs that were compared."""

    @property
    def folder(self) -> Path:
        """Folder of the first pack."""
        return self.packs[0].folder

    @cached_property
    def _merged(self) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The patches of all packs in their order, and which pack each is of."""
        whole = pa.concat_tables([pack.patches for pack in self.packs])
        pack_N = np.repeat(np.arange(len(self.packs)), [pack.patches.num_rows for pack in self.packs])
        known = places(whole)
        if known.order is None:
            return whole, pack_N
        return whole.take(pa.array(known.order)).combine_chunks(), pack_N[known.order]

    @cached_property
    def patches(self) -> pa.Table:
        """The patches (case_id, stain, slice_idx, patch_idx), in that order, as `read` gives their vectors."""
        return self.packs[0].patches if len(self.packs) == 1 else self._merged[0]

    @cached_property
    def case_rows(self) -> dict[str, tuple[int, int]]:
        """First row and end row of each case in `patches`."""
        return rows_of_cases(self.patches)

    def read(self, case_id: str, into: Vectors | None = None) -> Vectors:
        """Vectors (N, D) of a case, in the order of its rows: one sequential read from each pack that has a part of it.

        Args:
            case_id: the case; KeyError if it has no features.
            into: a matrix (at least N, D) of the features' dtype to read into the first rows of; None for fresh memory.
        """
        first, end = self.case_rows[case_id]
        if len(self.packs) == 1:
            return self._read(self.packs[0], case_id, into)
        pack_N = self._merged[1][first:end]
        parts: list[int] = np.unique(pack_N).tolist()
        if len(parts) == 1:
            return self._read(self.packs[parts[0]], case_id, into)
        vectors = empty_vectors(end - first, self.n_features, self.dtype) if into is None else into[: end - first]
        for part in parts:
            vectors[pack_N == part] = self._read(self.packs[part], case_id)
        return vectors

    def _read(self, pack: OpenPack, case_id: str, into: Vectors | None = None) -> Vectors:
        """What a pack holds of a case, compared with what was stored the first time.

        A pack of schema 1, of whose cases nothing is written down, is compared as a whole.
        """
        vectors = pack.read(case_id, into)
        key = (pack.number, case_id)
        if self.store is None or key in self._compared:
            return vectors
        expected = self.hashes.get(case_id, {}).get(pack.number)
        if expected is None:
            whole = holds(pack.folder, pack.patches, pack.fingerprint)
            cases: Iterable[str] = pack.case_rows
        else:
            first, end = pack.case_rows[case_id]
            whole = case_hash(pack.patches.slice(first, end - first), vectors) == expected
            cases = (case_id,)
        if not whole:
            raise StoreError(
                f"{pack.folder / VECTORS} is not what was stored (case {clip(case_id)}; its SHA-256 differs): {ADVICE}"
            )
        self._compared.update((pack.number, each) for each in cases)
        return vectors

    def hash_of(self, case_id: str) -> str | None:
        """SHA-256 over a case's patches and vectors; None if it has none. StoreError if they cannot be read."""
        if case_id not in self.case_rows:
            return None
        known: Mapping[int, str] = self.hashes.get(case_id, {})
        parts = [known.get(pack.number) or pack.hash_of(case_id) for pack in self.packs if case_id in pack.case_rows]
        return hash_of_parts(parts)

    def cannot_be(self, patches: pa.Table, row: int, vector: Vectors) -> bool:
        """Whether features of `patches`, with this vector (D,) in `row`, contradict these, so that they cannot be added either.

        False where it takes all vectors to tell, or where these cannot be read.
        """
        if (self.n_features,) != vector.shape or (self.dtype == "float16" and vector.dtype != np.float16):
            return True
        try:
            place = patches.select(list(PLACE)).slice(row, 1).to_pylist()[0]
            first, end = self.case_rows[place["case_id"]]
            at = self.patches.slice(first, end - first).to_pylist().index(place)
            stored = self.read(place["case_id"])[at]
        except (StoreError, KeyError, ValueError, IndexError):
            return False
        with np.errstate(over="ignore"):
            return not np.array_equal(stored, vector.astype(self.dtype))


def empty_vectors(n_rows: int, n_features: int, dtype: npt.DTypeLike) -> Vectors:
    """An uninitialised array (n_rows, n_features) whose data begins at a multiple of 64 bytes.

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
    return packed_features(store, rows[encoder], cohort.table("packs"), cohort.table("pack_cases"))


def packed_features(store: Store, row: Mapping[str, Any], packs: pa.Table, pack_cases: pa.Table) -> PackedFeatures:
    """The features of an encoder, given by its row and the tables of packs.

    StoreError if a pack is not in the store.
    """
    encoder, n_features, dtype = row["encoder"], row["n_features"], row["dtype"]
    opened = []
    for entry in entries_of(row, packs):
        folder = (store.root / entry.folder).resolve()
        if not is_inside(folder, store.root):
            raise StoreError(f"the folder of encoder {encoder} leaves the store: run milstore doctor")
        opened.append(OpenPack(encoder, n_features, dtype, entry.fingerprint, folder, entry.number))
    return PackedFeatures(
        encoder,
        n_features,
        dtype,
        row["fingerprint"],
        tuple(opened),
        hashes_by_case(encoder, pack_cases),
        store if store.verify else None,
    )
