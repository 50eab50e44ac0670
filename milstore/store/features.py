"""Feature vectors, packed: plain .npy matrices, a case's rows side by side.

A case is one sequential read, and the file opens with `numpy.load(…, mmap_mode="r")` anywhere. A pack is never changed:
what comes later is a pack of its own, and the table `packs` says which ones count.
"""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import ConflictError, DataError, StoreError
from milstore.schema.arrow import arrow_schema
from milstore.store.background_hash import Settling
from milstore.store.cohort_edit import CohortEdit
from milstore.store.feature_reader import (
    PackedFeatures,
    begun_fingerprint,
    empty_vectors,
    holds,
    is_as_stored,
    is_whole,
    open_features,
    packed_features,
    packed_fingerprint,
)
from milstore.store.integrity import check_unique
from milstore.store.io import sha256_of, sync_folder, write_json, write_parquet
from milstore.store.locks import in_work
from milstore.store.names import check_name
from milstore.store.pack_matrix import PackTarget, Vectors
from milstore.store.packs import (
    PackEntry,
    case_hashes,
    entries_of,
    fingerprint_of_packs,
    rows_of_cases,
    tables_with,
)
from milstore.store.patch_index import PLACE
from milstore.store.paths import PACK, ROWS, VECTORS, Store

__all__ = [
    "PACK",
    "PLACE",
    "ROWS",
    "VECTORS",
    "FeaturePack",
    "PackedFeatures",
    "Vectors",
    "empty_vectors",
    "is_as_stored",
    "is_whole",
    "open_features",
    "other_features",
    "packed_fingerprint",
]

DTYPES = ("float16", "float32")
_ROWS_AT_ONCE = 1 << 12


class FeaturePack:
    """A pack that is being written. Leaving the `with` block without `commit` leaves no trace."""

    def __init__(self, store: Store, *, encoder: str, n_features: int, dtype: str, patches: pa.Table) -> None:
        """Prepare a pack with one vector for each patch.

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
        chosen = patches.select(list(PLACE)).cast(pa.schema([arrow_schema("patches").field(c) for c in PLACE]))
        self.patches: pa.Table = chosen.sort_by([(c, "ascending") for c in PLACE]).combine_chunks()
        check_unique("features", self.patches, list(PLACE))
        self._store = store
        self._staging = store.root / "features" / f".{encoder}.{uuid4().hex}.tmp"
        self._written = np.zeros(self.patches.num_rows, dtype=bool)
        self._ready = 0
        """Rows from the first on that are all written."""
        self._settling: Settling | None = None
        self._fingerprint: str | None = None
        self._work = ExitStack()
        """Holds the folder while it is filled, until the edit that names it is over."""

    def __enter__(self) -> Self:
        """Open the file."""
        try:
            self._staging.mkdir(parents=True)
            self._work.enter_context(in_work(self._staging))
            shape = (self.patches.num_rows, self.n_features)
            matrix = np.lib.format.open_memmap(self._staging / VECTORS, "w+", self.dtype, shape)
            self._settling = Settling(self._staging / VECTORS, begun_fingerprint(self.patches))
        except OSError as error:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._work.close()
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
        self._work.close()

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
        """The message that a vector holds NaN or infinity."""
        return f"features of {self._name(row)} hold NaN or infinity: create them again"

    def accept(self, first_row: int, count: int) -> None:
        """Note that another process has written rows first_row … first_row + count - 1.

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
        """Note that rows are written, and let those without a gap before them be hashed and flushed."""
        self._written[first_row : first_row + count] = True
        left = self._written[self._ready :]
        self._ready += len(left) if left.all() else int(np.argmin(left))
        if self._settling is not None:
            self._settling.settle(self._place(self._ready))

    def _place(self, row: int) -> int:
        """Offset of a row in the file, in bytes."""
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
        """Put the pack into the store and its rows into the edit; it counts once the edit is committed.

        Where the encoder has features already and `replace` is not given, what it has stays: patches that have the same
        vector there are left out, and the others are added as a further pack.

        Raises:
            DataError: rows were not written, or a patch is not in the cohort.
            ConflictError: the encoder has another vector of a patch, or vectors of another length or type, and `replace`
                is not given.
            StoreError: the disk refuses, or these features are in the store, damaged, and `replace` is not given.
        """
        fingerprint = self.finish()
        unknown = self.patches.join(edit.table("patches").select(list(PLACE)), list(PLACE), join_type="left anti")
        if unknown.num_rows:
            raise DataError(f"{unknown.num_rows} features have no patch in the store: ingest the patches first")
        row = next((old for old in edit.table("encoders").to_pylist() if old["encoder"] == self.encoder), None)
        if row is None:
            self._put(edit, 1, [], source, None)
            return
        entries = entries_of(row, edit.table("packs"))
        same = next((entry for entry in entries if entry.fingerprint == fingerprint), None)
        if same is not None:
            self._put_again(edit, row, entries, same, replace=replace)
        elif replace:
            self._put(edit, 1, [], source, None)
        else:
            self._add(edit, row, entries, source)

    def _put_again(
        self, edit: CohortEdit, row: Mapping[str, Any], entries: list[PackEntry], same: PackEntry, *, replace: bool
    ) -> None:
        """Commit a pack that the store has already: nothing to do, or a repair of the stored one."""
        place = self._store.root / same.folder
        if holds(place, self.patches, same.fingerprint):
            if replace and len(entries) > 1:
                self._put(edit, 1, [], same.source, None)
            elif replace and not self._is_listed(edit):
                self._put(edit, same.number, entries[:0], same.source, row)
            return
        if not replace:
            raise StoreError(
                f"the features of {self.encoder} in {place} are not what was stored: "
                "use --replace to put these, which are what they were, in their place"
            )
        folder, was_absent = self._move(same.fingerprint)
        if folder == same.folder:
            if was_absent:
                edit.repaired.append(f"repaired: {same.folder} was missing; it holds again what it held")
            return
        edit.repaired.append(f"repaired: {same.folder} was not what was stored; {folder} holds again what it held")
        self._put(edit, same.number, [entry for entry in entries if entry != same], same.source, row)

    def _is_listed(self, edit: CohortEdit) -> bool:
        """Whether the tables that say which packs and cases there are say it of this encoder: one that was lost does not."""
        return all(self.encoder in edit.table(name)["encoder"].to_pylist() for name in ("packs", "pack_cases"))

    def _add(self, edit: CohortEdit, row: Mapping[str, Any], entries: list[PackEntry], source: str) -> None:
        """Store the patches that the encoder lacks as a further pack."""
        stored = packed_features(self._store, row, edit.table("packs"), edit.table("pack_cases"))
        if (stored.n_features, stored.dtype) != (self.n_features, self.dtype.name):
            raise other_features(row)
        fresh = self._fresh(stored, row)
        number = max(entry.number for entry in entries) + 1
        if fresh.all():
            self._put(edit, number, entries, source, row)
        elif fresh.any():
            patches = self.patches.filter(pa.array(fresh))
            rows_N = np.flatnonzero(fresh)
            matrix = np.load(self._staging / VECTORS, mmap_mode="r", allow_pickle=False)
            with FeaturePack(
                self._store, encoder=self.encoder, n_features=self.n_features, dtype=self.dtype.name, patches=patches
            ) as less:
                for first in range(0, len(rows_N), _ROWS_AT_ONCE):
                    less.write(first, matrix[rows_N[first : first + _ROWS_AT_ONCE]])
                less.finish()
                less._put(edit, number, entries, source, row)

    def _fresh(self, stored: "PackedFeatures", row: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Which rows are of patches without a vector in the store. ConflictError where one has another vector there."""
        mine = self.patches.append_column("mine", pa.array(np.arange(self.patches.num_rows)))
        theirs = stored.patches.append_column("theirs", pa.array(np.arange(stored.patches.num_rows)))
        both = mine.join(theirs, list(PLACE), join_type="inner").sort_by("mine")
        mine_M, theirs_M = (np.asarray(both[name].combine_chunks()) for name in ("mine", "theirs"))
        matrix = np.load(self._staging / VECTORS, mmap_mode="r", allow_pickle=False)
        rows = rows_of_cases(self.patches)
        for case_id, (first, end) in rows.items():
            at = slice(*np.searchsorted(mine_M, [first, end]))
            if at.start == at.stop:
                continue
            there = stored.case_rows[case_id][0]
            if not np.array_equal(stored.read(case_id)[theirs_M[at] - there], matrix[mine_M[at]]):
                if not is_as_stored(stored):
                    raise StoreError(
                        f"the features of {self.encoder} in {stored.folder} are not what was stored: run milstore doctor"
                    )
                raise other_features(row)
        fresh = np.ones(self.patches.num_rows, dtype=bool)
        fresh[mine_M] = False
        return fresh

    def _move(self, fingerprint: str) -> tuple[str, bool]:
        """Move the pack to its folder.

        Returns the folder relative to the store, and whether it was not there before.
        """
        folder = self._home(fingerprint)
        absent = not folder.exists()
        if absent:
            folder.parent.mkdir(exist_ok=True)
            self._staging.rename(folder)
            sync_folder(folder.parent)
        return folder.relative_to(self._store.root).as_posix(), absent

    def _put(
        self, edit: CohortEdit, number: int, others: list[PackEntry], source: str, row: Mapping[str, Any] | None
    ) -> None:
        """Make this pack and `others` the encoder's packs; `row` is the encoder's present row, if it has one."""
        fingerprint = self.finish()
        folder, _ = self._move(fingerprint)
        rows = rows_of_cases(self.patches)
        hashes = case_hashes(self._store.root / folder, self.patches)
        counts = {case_id: end - first for case_id, (first, end) in rows.items()}
        mine = PackEntry(number, folder, fingerprint, self.patches.num_rows, source)
        entries = sorted([*others, mine], key=lambda entry: entry.number)
        packs, pack_cases = tables_with(
            edit.table("packs"), edit.table("pack_cases"), self.encoder, entries, {number: hashes}, {number: counts}
        )
        known = {**(row or {})}
        known |= {
            "encoder": self.encoder,
            "n_features": self.n_features,
            "dtype": self.dtype.name,
            "n_patches": sum(entry.n_patches for entry in entries),
            "fingerprint": fingerprint_of_packs(entry.fingerprint for entry in entries),
            "folder": entries[0].folder,
            "source": entries[0].source,
        }
        other_rows = [old for old in edit.table("encoders").to_pylist() if old["encoder"] != self.encoder]
        edit.replace("encoders", pa.Table.from_pylist([*other_rows, known], arrow_schema("encoders")))
        edit.replace("packs", packs)
        edit.replace("pack_cases", pack_cases)

    def _home(self, fingerprint: str) -> Path:
        """The folder for these features: the first of their names that is free or holds them undamaged."""
        for number in count(1):
            folder = self._store.root / "features" / self.encoder / fingerprint[:12]
            # What is damaged is left as it is: somebody may be reading it.
            folder = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
            if not folder.exists() or holds(folder, self.patches, fingerprint):
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


def other_features(known: Mapping[str, Any]) -> ConflictError:
    """The error that an encoder, given by its row, has other features already."""
    return ConflictError(
        f"the store has other features of {known['encoder']} ({known['n_patches']} patches, "
        f"{known['n_features']} numbers each): use another name, or --replace"
    )
