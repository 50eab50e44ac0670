"""Features computed slice by slice and kept until all are there, so that a killed encoding can resume.

A shard is the patches of a slice, or a thousand of them, in batches that never reach over its end, so that its vectors are the same bits whoever
computes them, and after whatever. Its file is called by all that decides them, so that an image, a slide or an encoder that
was changed meanwhile is computed again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from milstore.encoders.choice import Choice
from milstore.encoders.interface import Vectors
from milstore.errors import StoreError
from milstore.pixels.patch_source import PatchPlace
from milstore.store import Store
from milstore.store.features import PLACE
from milstore.store.io import write_whole
from milstore.store.paths import SHARDS

_MOST = 1024
"""Patches of a shard: with a heavy network on a processor, a slide's tens of thousands take hours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """The patches of a slice, or of a part of it."""

    first: int
    """Row of its first patch among all that are to be encoded."""
    places: tuple[PatchPlace, ...]
    path: Path
    """The file of its vectors."""

    def batches(self, size: int) -> Iterator[tuple[int, int]]:
        """First and end row of each batch, within the shard."""
        for first in range(0, len(self.places), size):
            yield first, min(first + size, len(self.places))

    @property
    def is_done(self) -> bool:
        """Whether its vectors are there and complete; they are not read."""
        return self.read() is not None

    def read(self, n_features: int | None = None) -> Vectors | None:
        """Its vectors (N, D), mapped from the file; None where they are not there, or not whole."""
        try:
            found: Vectors = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        fits = found.ndim == 2 and len(found) == len(self.places) and found.dtype == np.float32
        return found if fits and n_features in (None, found.shape[1]) else None

    def write(self, vectors: Vectors) -> None:
        """Store its vectors. Raises StoreError if the disk refuses."""

        def save(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                np.save(stream, vectors, allow_pickle=False)

        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, save)
        except OSError as error:
            raise StoreError(f"features cannot be written to {self.path.parent}: {error.strerror}") from error


def shard_folder(store: Store, encoder: str, identity: str) -> Path:
    """The folder of an encoder's shards until all are there."""
    return store.root / "features" / f".{encoder}.{identity[:16]}{SHARDS}"


def shards_of(store: Store, encoder: str, identity: str, choice: Choice, *, batch: int) -> list[Shard]:
    """The shards of the patches to encode, in their order.

    identity: SHA-256 of the encoder; batch: patches that it is given at once, which is part of what decides the bits.
    """
    folder = shard_folder(store, encoder, identity)
    rows = choice.patches.select(list(PLACE)).to_pylist()
    stamps = _Stamps(choice.root)
    # Whole batches, so that each is the same however a slice is cut.
    most = max(1, _MOST // batch) * batch
    found: list[Shard] = []
    first = 0
    for end in range(1, len(rows) + 1):
        if end < len(rows) and _slice(rows[end]) == _slice(rows[first]) and end - first < most:
            continue
        places = tuple(choice.places[first:end])
        digest = hashlib.sha256(f"{identity} {batch}\n".encode())
        for row, place in zip(rows[first:end], places, strict=True):
            said = [*row.values(), *stamps.of(place), place.x, place.y, place.width, place.height, place.edge]
            digest.update(json.dumps(said).encode())
        found.append(Shard(first=first, places=places, path=folder / f"{digest.hexdigest()[:32]}.npy"))
        first = end
    return found


def remove_shards(store: Store, encoder: str, identity: str) -> None:
    """Remove the folder: its features are in the store."""
    shutil.rmtree(shard_folder(store, encoder, identity), ignore_errors=True)


def _slice(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[column] for column in PLACE[:3])


class _Stamps:
    """Name, size and time of the files that pixels come from; a slide is looked at once."""

    def __init__(self, root: Path | None) -> None:
        self._root = root
        self._of_slide: dict[Path, list[object]] = {}

    def of(self, place: PatchPlace) -> list[object]:
        if place.file is not None:
            return [place.file, *_stamp((self._root or Path()) / place.file)]
        slide = place.slide or Path()
        if slide not in self._of_slide:
            self._of_slide[slide] = [str(slide), *_stamp(slide)]
        return self._of_slide[slide]


def _stamp(path: Path) -> list[int]:
    try:
        facts = os.stat(path)  # noqa: PTH116 - of a hundred thousand files
    except OSError:
        # Reading it says what is wrong.
        return []
    return [facts.st_size, facts.st_mtime_ns]
