"""How fast vectors in a file each are packed, against reading those files: from memory, and from the disk."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.bare import Readers, forget, is_in_memory, load_tensors, read_bytes, store_bytes
from benchmarks.bench import Bench, ratio_row
from benchmarks.page import Row
from benchmarks.patch_files import make_empty, make_vectors, patch_names
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

    def __init__(self, readers: Readers, store: Store, folder: Path, files: list[str], features: int) -> None:
        """The store knows the patches of the files below the folder."""
        self._readers = readers
        self._store = store
        self._folder = folder
        self._files = files
        self._bytes = 2 * features
        self._copies = store.root.parent / "copies"
        self._packed: list[Path] = []

    def bytes(self) -> None:
        """The bytes of each file, thrown away."""
        self._readers.read(read_bytes, str(self._folder), self._files)

    def load(self) -> None:
        """The tensor of each file, thrown away."""
        self._readers.read(load_tensors, str(self._folder), self._files)

    def least(self) -> None:
        """As many bytes of each file as it has numbers, hashed, written and brought to the disk."""
        self._copies.mkdir()
        self._readers.read(partial(store_bytes, str(self._copies), self._bytes), str(self._folder), self._files)

    def pack(self) -> None:
        """The features of a new encoder."""
        encoder = f"e{len(self._packed)}"
        report = ingest_features(self._store, self._folder, encoder=encoder, jobs=self._readers.processes)
        assert report.patches == len(self._files)
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
    """Vectors in a file each, against reading those files."""
    vectors, features, processes = bench.sizes.vectors, bench.sizes.features, processors()
    names = patch_names(max(1, vectors // 1000), vectors)
    folder = bench.made(f"vectors-{vectors}x{features}", lambda folder: make_vectors(folder, names, features))
    what = f"`milstore ingest features` of {vectors:,} .pt files of {features} float16 numbers"
    with bench.place() as place, Readers(processes) as readers:
        store = create_store(place / "store")
        make_empty(place / "images", names)
        ingest_patches(store, place / "images", names_only=True)
        contenders = Contenders(readers, store, folder, [f"{name}.pt" for name in names], features)
        yield from _from_memory(contenders, bench.rounds, what, f"{processes} processes")
        if contenders.can_forget():
            yield from _from_disk(contenders, bench.rounds, what, f"{processes} processes")
        else:
            yield Row(f"{what}, on the disk", "not measured: files stay in memory here", "–", None, "–")


def _from_memory(contenders: Contenders, rounds: int, what: str, processes: str) -> Iterator[Row]:
    timed = in_rounds(
        {
            "bytes": contenders.bytes,
            "load": contenders.load,
            "room for least": contenders.make_room,
            "least": contenders.least,
            "room for pack": contenders.make_room,
            "pack": contenders.pack,
        },
        rounds,
    )
    thrown_away = f"the bytes of each file read and thrown away, {processes}"
    least = f"the bytes read, hashed once, written and brought to the disk, {processes}"
    what = f"{what}, in memory"
    yield ratio_row(timed, "pack", "load", f"{what} / `torch.load` of each file, {processes}", 1.2)
    yield ratio_row(timed, "pack", "bytes", f"{what} / {thrown_away}", 1.2)
    yield ratio_row(timed, "pack", "least", f"{what} / {least}", None)
    yield ratio_row(timed, "least", "bytes", f"{least} / {thrown_away}", None)


def _from_disk(contenders: Contenders, rounds: int, what: str, processes: str) -> Iterator[Row]:
    readings: dict[str, Callable[[], object]] = {
        "bytes": contenders.bytes,
        "load": contenders.load,
        "pack": contenders.pack,
    }
    timed = in_rounds(
        {
            step: run
            for name, reading in readings.items()
            for step, run in ((f"forget for {name}", contenders.forget), (name, reading))
        },
        rounds,
        warm=False,
    )
    what = f"{what}, on the disk"
    yield ratio_row(timed, "pack", "load", f"{what} / `torch.load` of each file, {processes}", 1.2)
    yield ratio_row(timed, "pack", "bytes", f"{what} / the bytes of each file read and thrown away, {processes}", 1.2)
