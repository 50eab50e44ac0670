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
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.launched import memory_and_speed, seconds_to_first_epoch, seconds_to_import, splits_together
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
from milstore.training.products import has_onednn, rows_times, summed_over_rows
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

    @property
    def many(self) -> Shape:
        """8.5 times as many cases: 6 GB of features, where a sixth is 1 GB."""
        return replace(self.shape, cases=round(8.5 * self.shape.cases))

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
    """The projector's matrix products on float32 features that lie in memory."""

    def __init__(self, bags: BagSource, case_ids: list[str], hidden: int = CONFIG.hidden) -> None:
        self.features = [bag.feature_ND.float() for bag in bags.in_order(case_ids)]
        self.weight_HD = torch.randn(hidden, bags.n_features)
        self.gradient_HD = torch.empty(hidden, bags.n_features)
        self.hidden_MH = torch.empty(max(len(each) for each in self.features), hidden)

    def forward(self) -> None:
        """By oneDNN, the faster library."""
        for feature_ND in self.features:
            rows_times(feature_ND, self.weight_HD)

    def both(self) -> None:
        """The same with the weights' gradient."""
        for feature_ND in self.features:
            summed_over_rows(rows_times(feature_ND, self.weight_HD), feature_ND)

    def forward_by_torch(self) -> None:
        """By torch's own product, which is MKL's, into memory that is used again."""
        for feature_ND in self.features:
            torch.mm(feature_ND, self.weight_HD.t(), out=self.hidden_MH[: len(feature_ND)])

    def both_by_torch(self) -> None:
        """The same with the weights' gradient."""
        for feature_ND in self.features:
            hidden_NH: Tensor = self.hidden_MH[: len(feature_ND)]
            torch.mm(feature_ND, self.weight_HD.t(), out=hidden_NH)
            torch.mm(hidden_NH.t(), feature_ND, out=self.gradient_HD)


def epoch_rows(bench: Bench) -> Iterator[Row]:
    """An epoch against the least that it must compute, by each library that multiplies matrices."""
    bags = bench.bags()
    made = training(bags, bench.cases)
    train, val = (Products(bags, bench.cases.of(subset)) for subset in ("train", "val"))
    contenders: dict[str, Callable[[], object]] = {
        "torch": train.both_by_torch,
        "steps": steps(made),
        "torch, whole": lambda: (train.both_by_torch(), val.forward_by_torch()),
        "epoch": lambda: one_epoch(made),
    }
    if has_onednn():
        contenders |= {"oneDNN": train.both, "oneDNN, whole": lambda: (train.both(), val.forward())}
    timed = in_rounds(contenders, bench.rounds)
    for library, products in (("oneDNN", "oneDNN's products"), ("torch", "torch.mm, which is MKL's")):
        if library not in contenders:
            continue
        for name, bound, what in (
            ("steps", library, "training cases of an epoch / the projector's forward and weight-gradient products"),
            ("epoch", f"{library}, whole", "the same with validation / with the validation cases' forward product"),
        ):
            ratio, cpu = timed.ratio(name, bound), timed.cpu_ratio(name, bound)
            yield Row(
                f"{what}, by {products}",
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

    def five_splits() -> None:
        bags = open_bags(bench.packed, everybody.all, device)
        for split in range(1, 6):
            made = training(bags, plan_split(read_cohort(bench.store), bench.packed, "five", split).cases, device)
            for _ in range(30):
                one_epoch(made)
        torch.cuda.synchronize()

    seconds = in_rounds({"five": five_splits}, 1).seconds("five")
    yield Row("five splits of 30 epochs there, loading included", f"{seconds:.1f} s", "< 20 s", seconds < 20, "–")
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
    "splits": split_rows,
    "linear": linear_rows,
    "gpu": gpu_rows,
}


NOTES = """\
- **The bound** of an epoch is what no training can leave out: two products of matrices a case, on float32 features that
  lie in memory. It is timed by both libraries that torch carries. oneDNN, which milstore multiplies by, is the faster on
  some processors, and there the harder bound; `torch.mm` is what a training by plain `torch.nn.Linear` would be held to.
  Turning float16 into float32, the attention, the optimiser and all else is in the epoch and not in the bound.
- **The rival** (`benchmarks/rival.py`) is the same model with the same optimiser and one step a case, written as it
  commonly is: a module a level, a loop over slices, `torch.nn.Linear`. Files are read by a DataLoader of two workers from
  a page cache that is warm; on a cold disk or a cluster's file system they take longer. In memory, its slices are float32
  already. Ours begins from float16 both times.
- **Loading** is compared with bare `readinto` of the same bytes. `touch` and what runs before each contender only keep
  fresh memory from being found by the system at one contender's cost.
- **Memory**: `--memory` limits what features take; weights, gradients, moments of the optimiser and activations come on
  top, some 0.2 GB however large the store is. Hence the peak is measured at full size, and once, as it takes minutes.
- **Splits** of one command are trained one after another over features that are loaded once. With `--launcher local`
  each split is a process of its own: the disk is read once, as the page cache is common, but each process holds its
  features itself, so give each its `--memory` where they would not fit together.
- **On a GPU**: rows appear where there is one; where none is named above, nothing was measured on one.
"""


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
        put_on_page("Training", table(about(bench, load), rows, NOTES.rstrip()))


if __name__ == "__main__":
    main()
