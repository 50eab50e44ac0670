"""Running a network over the shards that are missing, while pixels are read ahead for it."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import numpy as np

from milstore.encoders.encoding_plan import Plan
from milstore.encoders.interface import Vectors
from milstore.encoders.network import Network, load_network
from milstore.encoders.preprocessing import Prepared, prepared, size_refused
from milstore.encoders.report import Spent
from milstore.encoders.shards import Shard
from milstore.errors import DataError
from milstore.pixels.patch_source import patch_pixels
from milstore.progress import Progress, silent
from milstore.store.names import clip

_AHEAD = 3
"""Batches that are read ahead."""


def compute(plan: Plan, *, part: tuple[int, int] = (0, 1), progress: Progress = silent) -> Spent:
    """Compute the missing shards, or part (i, n) of them: every n-th, starting at the i-th.

    Raises:
        DataError: an image, a slide or the encoder's weights are damaged. What was computed before stays.
    """
    index, parts = part
    mine = plan.shards[index::parts]
    missing = [shard for shard in mine if not shard.is_done]
    total = sum(len(shard.places) for shard in mine)
    done = total - sum(len(shard.places) for shard in missing)
    if not missing:
        return Spent()
    begun = time.perf_counter()
    network = load_network(plan.folder, threads=plan.options.threads, device=plan.options.device)
    loading = time.perf_counter() - begun
    progress("encoding", done, total)
    computing = waiting = 0.0
    with closing(_ahead(_batches(plan, missing))) as batches:
        for shard in missing:
            vectors = np.empty((len(shard.places), network.n_features), np.float32)
            for first, end in shard.batches(plan.options.batch):
                before = time.perf_counter()
                batch: Prepared = next(batches)
                ready = time.perf_counter()
                vectors[first:end] = _finite(network, network.vectors(batch), shard, first)
                waiting += ready - before
                computing += time.perf_counter() - ready
                done += end - first
                progress("encoding", done, total)
            shard.write(vectors)
    return Spent(sum(len(shard.places) for shard in missing), loading, computing, waiting)


def _batches(plan: Plan, shards: Sequence[Shard]) -> Generator[Prepared, None, None]:
    """The network's input, batch by batch."""
    settings, options = plan.folder.settings, plan.options
    places = [place for shard in shards for place in shard.places]
    format_of = {"": options.format} if options.format is not None else None
    images = patch_pixels(places, root=plan.todo.root, format_of=format_of, follow_links=options.follow_links)
    for shard in shards:
        for first, end in shard.batches(options.batch):
            batch = [next(images) for _ in range(end - first)]
            for place, image in zip(shard.places[first:end], batch, strict=True):
                why = size_refused(settings, image.shape[1], image.shape[0])
                if why is not None:
                    raise DataError(f"{clip(place.file or str(place.slide), 200)}: {why}")
            yield prepared(batch, settings)


def _ahead(batches: Generator[Prepared, None, None]) -> Generator[Prepared, None, None]:
    """The same, made by a thread while whoever takes them works on those of before."""
    ready: Queue[Any] = Queue(_AHEAD)
    stopped = Event()

    def put(thing: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put(thing, timeout=0.1)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not put(batch):
                    break
            else:
                put(None)
        except BaseException as error:
            put(error)
        finally:
            batches.close()

    thread = Thread(target=work, daemon=True, name="pixels")
    thread.start()
    try:
        while (thing := ready.get()) is not None:
            if isinstance(thing, BaseException):
                raise thing
            yield thing
    finally:
        stopped.set()
        while thread.is_alive():
            with suppress(Empty):
                ready.get(timeout=0.05)


def _finite(network: Network, vectors: Vectors, shard: Shard, first: int) -> Vectors:
    good = np.isfinite(vectors).all(axis=1)
    if not good.all():
        place = shard.places[first + int(np.argmin(good))]
        half = ": half precision is too small for it, leave out --fp16" if network.folder.fp16 else ""
        raise DataError(f"{network.name} gives NaN or infinity for {clip(place.file or str(place.slide), 200)}{half}")
    return vectors
