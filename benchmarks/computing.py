"""What training computes, timed: against the matrix products alone, the rival, more data, and on a GPU."""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.page import Row
from benchmarks.rival import Rival, from_files, in_slices, write_patch_files
from benchmarks.rounds import Timed, in_rounds
from benchmarks.trainings import CONFIG, CPU, Bench, one_epoch, steps, training
from milstore.store.cohort import read_cohort
from milstore.training.bags import Bag, BagsInMemory, BagSource, make_bag
from milstore.training.data_loading import open_bags
from milstore.training.evaluation import evaluate
from milstore.training.loop import Training
from milstore.training.setup import plan_split
from milstore.training.split_cases import SplitCases


def has_onednn() -> bool:
    """Whether this build of torch carries oneDNN's linear layer."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Products:
    """The projector's matrix products on float32 features that lie in memory."""

    def __init__(self, bags: BagSource, case_ids: list[str], hidden: int = CONFIG.hidden) -> None:
        self.features = [bag.feature_ND.float() for bag in bags.in_order(case_ids)]
        self.weight_HD = torch.randn(hidden, bags.n_features)
        self.gradient_HD = torch.empty(hidden, bags.n_features)
        self.hidden_MH = torch.empty(max(len(each) for each in self.features), hidden)

    def forward(self) -> None:
        """By oneDNN, on the rows that there are."""
        for feature_ND in self.features:
            _onednn(feature_ND, self.weight_HD)

    def both(self) -> None:
        """The same with the weights' gradient."""
        for feature_ND in self.features:
            _onednn(_onednn(feature_ND, self.weight_HD).t(), feature_ND.t())

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


def _onednn(value_MI: Tensor, weight_OI: Tensor) -> Tensor:
    """A matrix times another transposed."""
    product_MO: Tensor = torch.ops.mkldnn._linear_pointwise(value_MI, weight_OI, None, "none", [], "")
    return product_MO


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
                "≤ 1.6 ×",
                ratio <= 1.6,
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
