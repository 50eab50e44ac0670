"""Loads features that do not fit into memory: read ahead from the packed file, or copied ahead to the GPU.

Where features come from changes no number: the model sees the same bits, in the same order.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import torch
from torch import Tensor

from milstore.errors import UsageError
from milstore.store.features import PackedFeatures, empty_vectors
from milstore.training.bags import TENSORS, Bag, BagsInMemory, BagSource, Coordinates, name_bags
from milstore.training.memory import memory_text

MOST_AHEAD = 8
"""Cases in memory at a time. More would only make up for longer pauses of the disk."""
DEVICE_SHARE = 0.7
"""Share of a GPU's free memory that features may take; the rest is the model's."""


def open_bags(
    packed: PackedFeatures,
    case_ids: Iterable[str],
    device: torch.device,
    memory: int | None = None,
    xy: Coordinates | None = None,
) -> BagSource:
    """The bags of cases: on the device if there is room, else in memory, else read ahead from the file.

    Args:
        packed: the features.
        case_ids: the cases; KeyError for one without features.
        device: where the model is.
        memory: most bytes of this machine's memory that features may take, a case turned to float32 included; None
            for as many as they need.
        xy: where the patches lie, from `milstore.training.bags.coordinates`.

    Raises:
        UsageError: the memory does not hold the largest case three times.
    """
    names = name_bags(packed, case_ids, xy)
    n_bytes = sum(bag.n_patches for bag in names.values()) * _row_bytes(packed)
    if device.type == "cuda":
        return _for_gpu(packed, names, n_bytes, device, memory)
    if memory is None or n_bytes + _working_bytes(packed, names) <= memory:
        return BagsInMemory(_read_all(packed, names))
    return BagsReadAhead(packed, names, memory=memory)


class BagsReadAhead:
    """Bags whose features are read from the packed file by a thread, a few cases ahead of the one in use."""

    def __init__(
        self, packed: PackedFeatures, names: Mapping[str, Bag], *, memory: int | None = None, pinned: bool = False
    ) -> None:
        """Memory is reserved when bags are first asked for.

        Args:
            packed: the features.
            names: the bags by case, without features.
            memory: most bytes to take, a case turned to float32 included; None for a few cases.
            pinned: take memory from which a GPU can copy by itself; cases are turned to float32 there, not here.

        Raises:
            UsageError: the memory does not hold the largest case three times.
        """
        self.n_features = packed.n_features
        self._packed, self._names, self._pinned = packed, names, pinned
        self._most_rows = max((bag.n_patches for bag in names.values()), default=0)
        self._n_ahead = MOST_AHEAD if memory is None else self._fitting(memory)
        self._spare: list[Tensor] = []

    def in_order(self, case_ids: Iterable[str]) -> Iterator[Bag]:
        """The bags of the cases, in that order; a bag's features hold until the next bag is asked for."""
        names = iter([self._names[case_id] for case_id in case_ids])
        taken: list[Tensor] = []
        ahead: deque[tuple[Tensor, Future[Bag]]] = deque()
        reader = ThreadPoolExecutor(1, thread_name_prefix="features")

        def read_next(room: Tensor | None = None) -> None:
            for bag in islice(names, 1):
                if room is None:
                    room = self._spare.pop() if self._spare else self._room()
                    taken.append(room)
                ahead.append((room, reader.submit(_read, self._packed, bag, room)))

        try:
            read_next()
            read_next()
            while ahead:
                room, coming = ahead.popleft()
                # More rooms only while reading is ahead of use: of few, the processor still holds some in its caches.
                if coming.done() and len(taken) < self._n_ahead:
                    read_next()
                yield coming.result()
                read_next(room)
        finally:
            # A read that has begun is waited for: it writes into memory that is used again.
            reader.shutdown(cancel_futures=True)
            self._spare += taken

    def _fitting(self, memory: int) -> int:
        largest = self._most_rows * _row_bytes(self._packed)
        working = 0 if self._pinned else _working_bytes(self._packed, self._names)
        least = 2 * largest + working
        if memory < least:
            raise UsageError(
                f"--memory: {memory:,} bytes do not hold two cases as large as the largest "
                f"({self._most_rows} patches): give at least {memory_text(least)}"
            )
        return min(MOST_AHEAD, (memory - working) // max(largest, 1))

    def _room(self) -> Tensor:
        if self._pinned:
            dtype = getattr(torch, self._packed.dtype)
            return torch.empty(self._most_rows, self.n_features, dtype=dtype, pin_memory=True)
        return torch.from_numpy(empty_vectors(self._most_rows, self.n_features, self._packed.dtype))


class BagsSentAhead:
    """Bags on a GPU, each copied there while the one before it is computed on."""

    def __init__(self, source: BagSource, device: torch.device) -> None:
        self.n_features = source.n_features
        self._source, self._device = source, device

    def in_order(self, case_ids: Iterable[str]) -> Iterator[Bag]:  # pragma: no cover - needs a GPU
        """The bags of the cases, in that order."""
        copying = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        computing = torch.cuda.current_stream(self._device)
        ready: Bag | None = None
        for stored in self._source.in_order(case_ids):
            with torch.cuda.stream(copying):
                coming = stored.to(self._device)
                copied = copying.record_event()
            if ready is not None:
                yield ready
            # The source may write over the features that were copied as soon as it is asked for the next bag.
            copied.synchronize()
            for name in TENSORS:
                # Else the memory could be given to another copy while it is still computed on.
                getattr(coming, name).record_stream(computing)
            ready = coming
        if ready is not None:
            yield ready


def _for_gpu(
    packed: PackedFeatures, names: Mapping[str, Bag], n_bytes: int, device: torch.device, memory: int | None
) -> BagSource:  # pragma: no cover - needs a GPU
    reading = BagsReadAhead(packed, names, memory=memory, pinned=True)
    free, _ = torch.cuda.mem_get_info(device)
    if n_bytes < DEVICE_SHARE * free:
        # Sent one at a time, so that this machine's memory never holds all of them.
        return BagsInMemory(BagsSentAhead(reading, device).in_order(names))
    if memory is not None and n_bytes > memory:
        return BagsSentAhead(reading, device)
    held = BagsInMemory(bag.with_features(bag.feature_ND.pin_memory()) for bag in _read_all(packed, names))
    return BagsSentAhead(held, device)


def _read_all(packed: PackedFeatures, names: Mapping[str, Bag]) -> Iterator[Bag]:
    """Every bag with its features, in one block of memory: the system gives large pieces in large pages, sooner."""
    # Each case begins at a multiple of 64 bytes, as `empty_vectors` does.
    step = 64 // math.gcd(64, _row_bytes(packed))
    rows = {case_id: -(-bag.n_patches // step) * step for case_id, bag in names.items()}
    block_MD = torch.from_numpy(empty_vectors(sum(rows.values()), packed.n_features, packed.dtype))
    first = 0
    for case_id, bag in names.items():
        yield _read(packed, bag, block_MD[first : first + rows[case_id]])
        first += rows[case_id]


def _read(packed: PackedFeatures, bag: Bag, room_MD: Tensor) -> Bag:
    """The bag with its features, read into the first rows of some room."""
    return bag.with_features(torch.from_numpy(packed.read(bag.case_id, room_MD.numpy())))


def _row_bytes(packed: PackedFeatures) -> int:
    return packed.n_features * (2 if packed.dtype == "float16" else 4)


def _working_bytes(packed: PackedFeatures, names: Mapping[str, Bag]) -> int:
    """Bytes needed to convert the largest case to float32 and to standardise it."""
    most_rows = max((bag.n_patches for bag in names.values()), default=0)
    return 2 * 4 * packed.n_features * most_rows
