"""How training is fed, timed: loading, reading ahead within a limit, and splits that share what was loaded."""

import statistics
from collections.abc import Iterator

import numpy as np

from benchmarks.launched import memory_and_speed, seconds_to_first_epoch, seconds_to_import, splits_together
from benchmarks.make_cohort import make_cohort
from benchmarks.page import Row
from benchmarks.rounds import in_rounds
from benchmarks.trainings import CPU, Bench, steps, training
from milstore.store.cohort import read_cohort
from milstore.store.features import VECTORS, PackedFeatures, empty_vectors, open_features
from milstore.training.bags import name_bags
from milstore.training.data_loading import BagsReadAhead, open_bags


def loading_rows(bench: Bench) -> Iterator[Row]:
    """Reading all features, and how soon the first epoch starts."""
    path = bench.packed.folder / VECTORS
    shape = (bench.packed.patches.num_rows, bench.packed.n_features, bench.packed.dtype)

    def whole() -> None:
        room = empty_vectors(*shape).reshape(-1).view(np.uint8).data
        with path.open("rb", buffering=0) as stream:
            while room.nbytes and (got := stream.readinto(room)):
                room = room[got:]

    def again() -> None:
        room = bytearray(8 << 20)
        with path.open("rb", buffering=0) as stream:
            while stream.readinto(room):
                pass

    def touch() -> None:
        """Have the system find the memory that the next contender gets: on a virtual machine that can take longest."""
        empty_vectors(*shape).reshape(-1).view(np.uint8)[::4096] = 1

    everybody = list(bench.packed.case_rows)
    reading = BagsReadAhead(bench.packed, name_bags(bench.packed, everybody))

    def ahead() -> None:
        for _ in reading.in_order(everybody):
            pass

    contenders = {
        "touch": touch,
        "load": lambda: open_bags(bench.packed, everybody, CPU),
        "touch again": touch,
        "whole": whole,
        "ahead": ahead,
        "again": again,
    }
    timed = in_rounds(contenders, max(bench.rounds, 9))
    size = path.stat().st_size / 1e9
    for name, bare, what in (
        ("load", "whole", "loading {} of packed features / readinto of the file into as much fresh memory"),
        (
            "ahead",
            "again",
            "reading {} case by case into rooms used again / readinto through 8 MB used again, as dd does",
        ),
    ):
        ratio = 1 / timed.ratio(name, bare)
        yield Row(
            what.format(f"{size:.2f} GB") + ": speed, page cache warm",
            f"{ratio:.2f} × (processor time {1 / timed.cpu_ratio(name, bare):.2f} ×)",
            "≥ 0.8 ×",
            ratio >= 0.8,
            f"{timed.seconds(name):.2f} against {timed.seconds(bare):.2f}",
        )
    starts = [(seconds_to_first_epoch(bench.store, bench.threads), seconds_to_import()) for _ in range(bench.rounds)]
    seconds = statistics.median(each for each, _ in starts)
    ratio = statistics.median(each / bare for each, bare in starts)
    yield Row(
        f"`milstore train` to its first epoch, {bench.shape.cases} cases",
        f"{seconds:.1f} s, {ratio:.2f} × a bare `import torch`",
        "≤ 3 s",
        seconds <= 3,
        f"{seconds:.1f} against {statistics.median(bare for _, bare in starts):.1f}",
    )


def memory_rows(bench: Bench) -> Iterator[Row]:
    """Training within a sixth of the features' size, or what three times the largest case takes."""
    store = make_cohort(bench.folder / f"cohort-{bench.many.cases}x{bench.many.features}", bench.many)
    packed = open_features(store, read_cohort(store))
    size, limit = _sixth(packed)
    measured = memory_and_speed(store, bench.threads, limit)
    yield Row(
        f"peak RssAnon above the imports, {size / 1e9:.2f} GB of features within {limit / 1e6:.0f} MB, measured once",
        f"{measured.peak / 1e6:.0f} MB, {measured.peak / limit:.2f} × the limit",
        "≤ 1.5 × the limit",
        measured.peak <= 1.5 * limit,
        "–",
    )
    speed = measured.in_memory / measured.limited
    yield Row(
        "speed of an epoch of that training / in memory, page cache warm, measured once",
        f"{speed:.2f} ×",
        "≥ 0.7 ×",
        speed >= 0.7,
        f"{measured.limited:.1f} against {measured.in_memory:.1f}",
    )
    size, limit = _sixth(bench.packed)
    limited = training(open_bags(bench.packed, bench.cases.all, CPU, limit), bench.cases)
    contenders = {"limited": steps(limited), "free": steps(training(bench.bags(), bench.cases))}
    timed = in_rounds(contenders, bench.rounds)
    ratio = timed.ratio("free", "limited")
    yield Row(
        f"speed of an epoch's training cases, {size / 1e9:.2f} GB of features within {limit / 1e6:.0f} MB / in memory",
        f"{ratio:.2f} ×",
        "≥ 0.7 ×",
        ratio >= 0.7,
        f"{timed.seconds('limited'):.2f} against {timed.seconds('free'):.2f}",
    )


def _sixth(packed: PackedFeatures) -> tuple[int, int]:
    """Bytes of the features, and the limit to train within: a sixth, but not less than three large cases take."""
    size = (packed.folder / VECTORS).stat().st_size
    largest = max(end - first for first, end in packed.case_rows.values()) * packed.n_features * 2
    return size, max(size // 6, 6 * largest)


def split_rows(bench: Bench) -> Iterator[Row]:
    """All splits in one command against one split: what is read, and what it takes to hold."""
    read, peak = splits_together(bench.store, bench.threads)
    yield Row("bytes read by `train --split all`, five splits / by one split", f"{read:.2f} ×", "1 ×", read < 1.5, "–")
    yield Row("peak RssAnon above the imports of the same", f"{peak:.2f} ×", "–", None, "–")
