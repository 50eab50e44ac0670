"""Training beside torchmil's ABMIL, and beside the same model in plain torch on small bags."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks.make_cohort import Shape
from benchmarks.page import Row
from benchmarks.rounds import in_rounds
from benchmarks.trainings import CONFIG, Bench, steps, training

ABMIL = replace(CONFIG, model="abmil", settings={})
SMALL = Shape(cases=92, features=166, slice_patches=(1, 4), large_slice=12)
"""Bags as MUSK1's are: a few rows of few numbers, so that what a step costs beside its products is what counts."""


class PlainABMIL(nn.Module):
    """Gated attention over the rows of a bag (Ilse et al. 2018), of the same widths, as torch alone writes it."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        hidden, inner = CONFIG.hidden, CONFIG.attention_dim
        self.project = nn.Sequential(nn.Linear(n_features, hidden), nn.ReLU(), nn.Dropout(CONFIG.dropout))
        self.content = nn.Sequential(nn.Linear(hidden, inner), nn.Tanh())
        self.gate = nn.Sequential(nn.Linear(hidden, inner), nn.Sigmoid())
        self.weigh, self.classify = nn.Linear(inner, 1), nn.Linear(hidden, 2)

    def forward(self, feature_ND: Tensor) -> Tensor:
        """Logits (1, 2)."""
        value_NH = self.project(feature_ND)
        weight_N1 = self.weigh(self.content(value_NH) * self.gate(value_NH)).softmax(0)
        logits_1C: Tensor = self.classify((weight_N1 * value_NH).sum(0, keepdim=True))
        return logits_1C


def _plain_loss(model: nn.Module, feature_ND: Tensor, label: int) -> Tensor:
    return nn.functional.cross_entropy(model(feature_ND), torch.tensor([label]))


def _torchmil(n_features: int) -> nn.Module:
    """torchmil's module behind a projector like ours: it has one logit, hence its binary loss below."""
    from torchmil import models as theirs

    project = nn.Sequential(nn.Linear(n_features, CONFIG.hidden), nn.ReLU(), nn.Dropout(CONFIG.dropout))
    model: nn.Module = theirs.ABMIL((n_features,), att_dim=CONFIG.attention_dim, gated=True, feat_ext=project)
    return model


def _torchmil_loss(model: nn.Module, feature_ND: Tensor, label: int) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(model(feature_ND[None]), torch.tensor([float(label)]))


def library_rows(bench: Bench) -> Iterator[Row]:
    """Both comparisons; torchmil's only where it is installed."""
    if importlib.util.find_spec("torchmil") is None:
        yield Row("torchmil's ABMIL / ours", "not measured: torchmil is not installed here", "–", None, "–")
    else:
        shape = replace(bench.shape, features=1024)
        yield _row(replace(bench, shape=shape), "torchmil's ABMIL", _torchmil, _torchmil_loss, 1.3)
    yield _row(replace(bench, shape=SMALL), "ABMIL in plain torch on small bags", PlainABMIL, _plain_loss, 1.0)


def _row(
    bench: Bench,
    name: str,
    build: Callable[[int], nn.Module],
    loss: Callable[[nn.Module, Tensor, int], Tensor],
    wanted: float,
) -> Row:
    """The steps of an epoch: theirs on float32 that lies in memory, ours from float16."""
    bags, train = bench.bags(), bench.cases.of("train")
    ours = steps(training(bags, bench.cases, config=ABMIL))
    torch.manual_seed(0)
    model = build(bags.n_features).train()
    held = [(bag.feature_ND.float(), bench.cases.label_of[bag.case_id]) for bag in bags.in_order(train)]
    timed = in_rounds({"ours": ours, "theirs": _epoch(model, held, loss)}, bench.rounds)
    ratio = timed.ratio("theirs", "ours")
    patches = bench.packed.patches.num_rows
    return Row(
        f"{name} / ours (`--model abmil`), {bench.shape.cases} cases, {patches:,} patches of {bags.n_features} numbers",
        f"{ratio:.2f} × (processor time {timed.cpu_ratio('theirs', 'ours'):.2f} ×)",
        f"≥ {wanted} ×",
        ratio >= wanted,
        f"{timed.seconds('theirs'):.2f} against {timed.seconds('ours'):.2f}",
    )


def _epoch(
    model: nn.Module, held: Sequence[tuple[Tensor, int]], loss: Callable[[nn.Module, Tensor, int], Tensor]
) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=CONFIG.lr, weight_decay=CONFIG.weight_decay)

    def run() -> None:
        for feature_ND, label in held:
            optimizer.zero_grad()
            loss(model, feature_ND, label).backward()
            optimizer.step()

    return run
