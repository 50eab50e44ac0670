"""How fast `.pt` files are packed, a vector a file or a slice a file, against reading them: from memory, and the disk."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.bare import (
    Readers,
    by_fresh_processes,
    forget,
    is_in_memory,
    load_checked,
    read_bytes,
    store_bytes,
)
from benchmarks.bench import Bench, ratio_row
from benchmarks.page import Row
from benchmarks.patch_files import make_empty, make_slices, make_vectors, patch_names, slice_names
from benchmarks.rounds import in_rounds
from milstore.ingest.features import ingest_features
from milstore.ingest.patches import ingest_patches
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.features import VECTORS, open_features
from milstore.workers import processors

_BLOCK = 1 << 20


class Contenders:
    """Packing, and what it is compared with."""

    def __init__(self, readers: Readers, store: Store, folder: Path, files: list[str], n_bytes: int) -> None:
        """The store knows the patches of the files below the folder; each has so many bytes of numbers."""
        self._readers = readers
        self._store = store
        self._folder = folder
        self._files = files
        self._bytes = n_bytes
        self._copies = store.root.parent / "copies"
        self._packed: list[Path] = []
        self._name = f"e{n_bytes}"

    def bytes(self) -> None:
        """The bytes of each file, thrown away."""
        self._readers.read(read_bytes, str(self._folder), self._files)

    def calls(self) -> None:
        """Checksums and tensors of each file, thrown away, by processes that are started for it."""
        by_fresh_processes(load_checked, self._readers.processes, str(self._folder), self._files)

    def least(self) -> None:
        """As many bytes of each file as it has numbers, hashed, written and brought to the disk."""
        self._copies.mkdir()
        self._readers.read(partial(store_bytes, str(self._copies), self._bytes), str(self._folder), self._files)

    def pack(self) -> None:
        """The features of a new encoder."""
        encoder = f"{self._name}-{len(self._packed)}"
        report = ingest_features(self._store, self._folder, encoder=encoder, jobs=self._readers.processes)
        assert report.changed
        self._packed.append(open_features(self._store, read_cohort(self._store), encoder).folder)

    def make_room(self) -> None:
        """Remove what was written, and have the system find the memory for what comes.

        On a virtual machine that can take longest, and would be told of the one that comes first.
        """
        copies = list(self._copies.iterdir()) if self._copies.exists() else []
        for path in [*copies, *(folder / VECTORS for folder in self._packed)]:
            path.unlink(missing_ok=True)
        if self._copies.exists():
            self._copies.rmdir()
        room, block = self._copies.with_name("room"), bytes(_BLOCK)
        with room.open("wb", buffering=0) as stream:
            for _ in range(1 + len(self._files) * self._bytes // _BLOCK):
                stream.write(block)
        room.unlink()

    def forget(self) -> None:
        """Have the system forget the files, so that they are on the disk alone."""
        self.make_room()
        self._readers.read(forget, str(self._folder), self._files)

    def can_forget(self) -> bool:
        """Whether that works here."""
        # What was written a moment ago stays until it is on the disk.
        os.sync()
        self.forget()
        return not any(is_in_memory(f"{self._folder}/{file}") for file in self._files[:100])


def vectors_rows(bench: Bench) -> Iterator[Row]:
    """Vectors in a file each, and as many in a file a slice, against reading those files."""
    vectors, features, processes = bench.sizes.vectors, bench.sizes.features, processors()
    names = patch_names(max(1, vectors // 1000), vectors)
    slices = slice_names(names)
    small = bench.made(f"vectors-{vectors}x{features}", lambda folder: make_vectors(folder, names, features))
    large = bench.made(f"slices-{vectors}x{features}", lambda folder: make_slices(folder, slices, features))
    ways = {
        f"{vectors:,} .pt files of {features} float16 numbers": (small, names, 2 * features),
        f"{len(slices):,} .pt files of a slice, together {vectors:,} vectors of {features} float16 numbers": (
            large, list(slices), 2 * features * vectors // len(slices),
        ),
    }  # fmt: skip
    with bench.place() as place, Readers(processes) as readers:
        store = create_store(place / "store")
        make_empty(place / "images", names)
        ingest_patches(store, place / "images", names_only=True)
        for what, (folder, stems, n_bytes) in ways.items():
            told = f"`milstore ingest features` of {what}"
            contenders = Contenders(readers, store, folder, [f"{stem}.pt" for stem in stems], n_bytes)
            yield from _from_memory(contenders, bench.rounds, told, f"{processes} processes")
            if contenders.can_forget():
                yield from _from_disk(contenders, bench.rounds, told, f"{processes} processes")
            else:
                yield Row(f"{told}, on the disk", "not measured: files stay in memory here", "–", None, "–")


_CALLS = "`zipfile.testzip` and `torch.load` of each file"


def _from_memory(contenders: Contenders, rounds: int, what: str, processes: str) -> Iterator[Row]:
    timed = in_rounds(
        {
            "bytes": contenders.bytes,
            "calls": contenders.calls,
            "room for least": contenders.make_room,
            "least": contenders.least,
            "room for pack": contenders.make_room,
            "pack": contenders.pack,
        },
        rounds,
    )
    contenders.make_room()
    least = f"the bytes read, hashed once, written and brought to the disk, {processes}"
    what = f"{what}, in memory"
    yield ratio_row(timed, "pack", "calls", f"{what} / {_CALLS}, {processes}", 1.5)
    yield ratio_row(timed, "pack", "bytes", f"{what} / the bytes of each file read and thrown away, {processes}", None)
    yield ratio_row(timed, "pack", "least", f"{what} / {least}", None)


def _from_disk(contenders: Contenders, rounds: int, what: str, processes: str) -> Iterator[Row]:
    timed = in_rounds(
        {
            "forget for calls": contenders.forget,
            "calls": contenders.calls,
            "forget for pack": contenders.forget,
            "pack": contenders.pack,
        },
        rounds,
        warm=False,
    )
    contenders.make_room()
    yield ratio_row(timed, "pack", "calls", f"{what}, on the disk / {_CALLS}, {processes}", 1.5)
