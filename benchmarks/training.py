"""How fast training is, as ratios to bounds and rivals timed in the same run.

    python -m benchmarks.training FOLDER [--threads 1] [--rounds 5] [--only epoch,rival,...]

FOLDER keeps the cohort and the rival's files from one time to the next. Every row is printed as it is measured; with
--page the rows are put into the training part of docs/performance.md.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.launched import memory_and_speed, seconds_to_first_epoch, seconds_to_import
from benchmarks.make_cohort import Shape, make_cohort
from benchmarks.page import HEAD, Row, machine, put_on_page, table
from benchmarks.rival import Rival, from_files, in_slices, write_patch_files
from benchmarks.rounds import Timed, in_rounds
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import VECTORS, PackedFeatures, empty_vectors, open_features
from milstore.training.bags import Bag, BagsInMemory, BagSource, make_bag, name_bags
from milstore.training.config import TrainingConfig
from milstore.training.evaluation import evaluate
from milstore.training.loop import SplitCases, Training
from milstore.training.preparation import plan_split
from milstore.training.progress import Watcher
from milstore.training.provenance import repeatable_arithmetic
from milstore.training.streaming import BagsReadAhead, open_bags

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=10**6, patience=10**6)
"""The defaults, and no end."""


@dataclass(frozen=True)
class Bench:
    """What the measurements share."""

    folder: Path
    shape: Shape
    threads: int
    rounds: int

    @cached_property
    def store(self) -> Store:
        return make_cohort(self.folder / f"cohort-{self.shape.cases}x{self.shape.features}", self.shape)

    @cached_property
    def packed(self) -> PackedFeatures:
        return open_features(self.store, read_cohort(self.store))

    @cached_property
    def cases(self) -> SplitCases:
        return plan_split(read_cohort(self.store), self.packed, "five", 1).cases

    def bags(self) -> BagSource:
        return open_bags(self.packed, self.cases.all, CPU)


def training(bags: BagSource, cases: SplitCases, device: torch.device = CPU) -> Training:
    return Training(bags, cases, CONFIG, n_classes=2, seed=0, device=device)


def one_epoch(made: Training) -> None:
    made.train_epoch(Watcher(), lambda: False)


def steps(made: Training) -> Callable[[], None]:
    """The optimiser's steps of an epoch, without validation."""

    def run() -> None:
        made.model.train()
        for bag in made.bags.in_order(made.cases.of("train")):
            made._step(bag, 1)
            made.position += 1
        made.position = 0

    return run


class Products:
    """The projector's matrix products on float32 features that lie in memory, into memory that is used again."""

    def __init__(self, bags: BagSource, case_ids: list[str], hidden: int = CONFIG.hidden) -> None:
        self.features = [bag.feature_ND.float() for bag in bags.in_order(case_ids)]
        self.weight_HD = torch.randn(hidden, bags.n_features)
        self.gradient_HD = torch.empty(hidden, bags.n_features)
        self.hidden_MH = torch.empty(max(len(each) for each in self.features), hidden)

    def forward(self) -> None:
        for feature_ND in self.features:
            torch.mm(feature_ND, self.weight_HD.t(), out=self.hidden_MH[: len(feature_ND)])

    def both(self) -> None:
        for feature_ND in self.features:
            hidden_NH: Tensor = self.hidden_MH[: len(feature_ND)]
            torch.mm(feature_ND, self.weight_HD.t(), out=hidden_NH)
            torch.mm(hidden_NH.t(), feature_ND, out=self.gradient_HD)


def epoch_rows(bench: Bench) -> Iterator[Row]:
    """An epoch against the least that it must compute."""
    bags = bench.bags()
    made = training(bags, bench.cases)
    train, val = (Products(bags, bench.cases.of(subset)) for subset in ("train", "val"))
    timed = in_rounds(
        {"bound": train.both, "steps": steps(made), "whole bound": lambda: (train.both(), val.forward()),
         "epoch": lambda: one_epoch(made)}, bench.rounds)  # fmt: skip
    for name, bound, what in (
        ("steps", "bound", "training cases of an epoch / forward and weight-gradient product of the projector"),
        ("epoch", "whole bound", "the same with validation / with the validation cases' forward product"),
    ):
        ratio, cpu = timed.ratio(name, bound), timed.cpu_ratio(name, bound)
        yield Row(
            what,
            f"{ratio:.2f} × (processor time {cpu:.2f} ×)",
            "≤ 1.35 ×",
            ratio <= 1.35,
            f"{timed.seconds(name):.2f} against {timed.seconds(bound):.2f}",
        )


def rival_rows(bench: Bench) -> Iterator[Row]:
    """The same model as it is commonly fed and written."""
    bags, train = bench.bags(), bench.cases.of("train")
    ours = steps(training(bags, bench.cases))
    rival = Rival(bags.n_features, CONFIG, bench.cases.label_of)

    def in_memory() -> Timed:
        held = [(bag.case_id, in_slices(bag)) for bag in bags.in_order(train)]
        return in_rounds({"ours": ours, "rival": lambda: rival.epoch(held)}, bench.rounds)

    timed = in_memory()
    ratio = timed.ratio("rival", "ours")
    yield Row(
        "slice by slice, all data in memory as float32 / ours, from float16",
        f"{ratio:.2f} × (processor time {timed.cpu_ratio('rival', 'ours'):.2f} ×)",
        "≥ 1.8 ×",
        ratio >= 1.8,
        f"{timed.seconds('rival'):.2f} against {timed.seconds('ours'):.2f}",
    )
    files = write_patch_files(
        bags.in_order(train), bench.folder / f"patches-{bench.shape.cases}x{bench.shape.features}"
    )
    timed = in_rounds({"ours": ours, "rival": lambda: rival.epoch(from_files(files))}, bench.rounds)
    ratio = timed.ratio("rival", "ours")
    yield Row(
        "slice by slice, one .pt file a patch, two workers, page cache warm / ours",
        f"{ratio:.1f} ×",
        "≥ 8 ×",
        ratio >= 8,
        f"{timed.seconds('rival'):.1f} against {timed.seconds('ours'):.2f}",
    )


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
    size = (bench.packed.folder / VECTORS).stat().st_size
    largest = max(end - first for first, end in bench.packed.case_rows.values()) * bench.packed.n_features * 2
    limit = max(size // 6, 6 * largest)
    measured = [memory_and_speed(bench.store, bench.threads, limit) for _ in range(bench.rounds)]
    peak = max(each.peak for each in measured)
    yield Row(
        f"peak RssAnon above the imports, {size / 1e9:.2f} GB of features within {limit / 1e6:.0f} MB",
        f"{peak / 1e6:.0f} MB, {peak / limit:.2f} × the limit",
        "≤ 1.5 × the limit",
        peak <= 1.5 * limit,
        "–",
    )
    speed = sorted(each.in_memory / each.limited for each in measured)[len(measured) // 2]
    yield Row(
        "speed of an epoch within that limit / in memory, page cache warm",
        f"{speed:.2f} ×",
        "≥ 0.7 ×",
        speed >= 0.7,
        f"{min(each.limited for each in measured):.1f} against {min(each.in_memory for each in measured):.1f}",
    )


def linear_rows(bench: Bench) -> Iterator[Row]:
    """Seconds of the steps of an epoch for 1, 2, 4 and 8 times as many cases, or patches a slice."""
    times = (1, 2, 4, 8)
    size = max(bench.shape.slice_patches[0], 2)
    made = {
        "cases": [_made(4 * each, size, bench.shape.features) for each in times],
        "patches a slice": [_made(4, size * each, bench.shape.features) for each in times],
    }
    for name, trainings in made.items():
        timed = in_rounds({str(each): steps(one) for each, one in zip(times, trainings, strict=True)}, bench.rounds)
        seconds = [timed.seconds(str(each)) for each in times]
        exponent = float(np.polyfit(np.log(times), np.log(seconds), 1)[0])
        yield Row(
            f"cost of 1, 2, 4, 8 times as many {name}: fitted exponent",
            f"{exponent:.2f}",
            "≤ 1.05",
            exponent <= 1.05,
            ", ".join(f"{each:.2f}" for each in seconds),
        )


def _made(n_cases: int, slice_patches: int, n_features: int) -> Training:
    """A training on cases of two stains and four slices each."""
    rng = np.random.default_rng(0)
    n = 4 * slice_patches

    def bag(case_id: str) -> Bag:
        feature_ND = torch.from_numpy(rng.standard_normal((n, n_features), dtype=np.float32)).half()
        stains = np.repeat(["h&e", "melan"], n // 2)
        return make_bag(case_id, stains, np.arange(n) % 2, np.arange(n), feature_ND)

    ids = [str(case) for case in range(n_cases + 1)]
    subset_of = {case_id: "val" if case_id == "0" else "train" for case_id in ids}
    return training(BagsInMemory(map(bag, ids)), SplitCases(subset_of, {case_id: int(case_id) % 2 for case_id in ids}))


def gpu_rows(bench: Bench) -> Iterator[Row]:
    """An epoch of all cases on a GPU, and whether it computes the same."""
    if not torch.cuda.is_available():
        print("gpu: skipped, there is no GPU here", file=sys.stderr)
        return
    device = torch.device("cuda")
    everybody = SplitCases(dict.fromkeys(bench.cases.all, "train") | {bench.cases.all[-1]: "val"}, bench.cases.label_of)
    on_gpu = training(open_bags(bench.packed, everybody.all, device), everybody, device)

    def epoch() -> None:
        one_epoch(on_gpu)
        torch.cuda.synchronize()

    seconds = in_rounds({"epoch": epoch}, bench.rounds).seconds("epoch")
    name = torch.cuda.get_device_name(device)
    yield Row(f"epoch of {len(everybody.all)} cases on {name}", f"{seconds:.3f} s", "< 0.1 s", seconds < 0.1, "–")
    here = training(bench.bags(), everybody)
    here.model.load_state_dict(on_gpu.model.state_dict())
    there = evaluate(on_gpu.model, on_gpu.bags, everybody.all, device)
    furthest = max(
        float(np.abs(one.probability_C - other.probability_C).max())
        for one, other in zip(there, evaluate(here.model, here.bags, everybody.all, CPU), strict=True)
    )
    yield Row("probabilities on GPU and CPU apart by at most", f"{furthest:.1e}", "≤ 1e-3", furthest <= 1e-3, "–")


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "epoch": epoch_rows,
    "rival": rival_rows,
    "loading": loading_rows,
    "memory": memory_rows,
    "linear": linear_rows,
    "gpu": gpu_rows,
}


def about(bench: Bench, load_before: float) -> str:
    """The machine, the sizes, and how busy it was."""
    return (
        f"{machine('torch')}; "
        f"{bench.threads} thread{'s' if bench.threads > 1 else ''}; {bench.shape.cases} cases, "
        f"{bench.packed.patches.num_rows:,} patches of {bench.shape.features} float16 features, "
        f"{len(bench.cases.of('train'))} cases in training; medians of {bench.rounds} rounds; "
        f"load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after."
    )


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "milstore-benchmarks")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", type=int, default=Shape.cases)
    parser.add_argument("--features", type=int, default=Shape.features)
    parser.add_argument("--slice-patches", type=int, nargs=2, default=Shape.slice_patches, metavar=("LEAST", "MOST"))
    parser.add_argument("--only", default=",".join(PARTS), help="parts to measure, with commas between")
    parser.add_argument("--page", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args(words)
    low, high = options.slice_patches
    shape = Shape(
        cases=options.cases,
        features=options.features,
        slice_patches=(low, high),
        large_slice=500 if high == 160 else 3 * high,
    )
    bench = Bench(options.folder, shape, options.threads, options.rounds)
    load = os.getloadavg()[0]
    print(HEAD)
    rows = []
    with repeatable_arithmetic(options.threads):
        for part in options.only.split(","):
            for row in PARTS[part](bench):
                print(row, flush=True)
                rows.append(row)
    print(f"\n{about(bench, load)}")
    if options.page:
        put_on_page("Training", table(about(bench, load), rows))


if __name__ == "__main__":
    main()
