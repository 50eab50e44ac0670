"""Whether a training learns, on features of many kinds and widths: AUC, dead units and collapses.

    python -m benchmarks.learning [--widths 16,166] [--kinds abc] [--seeds 3] [--settings defaults,study] [--jobs 2] [--page]

Cohorts are drawn: 52 training, 17 validation and 60 test cases, bags of 20 to 60 patches in two stains. In a case of the
second class, three patches of ten are shifted by 0.8 in an eighth of the numbers, so wider features tell more, as those
of larger encoders do. Then the numbers are made to look like features of a kind:

    a  sparse and positive, as after a ReLU          d  all times 0.001
    b  signed, of unit variance                      e  rows of length 1
    c  a tenth of the columns times 100, plus 50     f  dense and positive, log-normal

A run has collapsed if it tells no case from another: its probabilities of the test cases are within 0.1 of each other. The
table is printed as it grows; with --page it is put into docs/training.md.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

KINDS = "abcdef"
WIDTHS = (16, 166, 1024, 4096)
SUBSETS = {"train": 52, "val": 17, "test": 60}
PATCHES = (20, 60)
MARKED, SHIFT = 0.3, 0.8
"""Share of the patches of a case of the second class that is shifted, and by how much."""
COLLAPSED = 0.1
SETTINGS = ("defaults", "study")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trial:
    """A training on a drawn cohort."""

    kind: str
    width: int
    seed: int
    settings: str


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    trial: Trial
    auc: float
    dead: float
    """Share of the projector's units that are 0 on every training patch."""
    collapsed: bool
    verdict: str
    """What the run itself says: learned, nothing or memorised."""


def draw(kind: str, width: int, seed: int) -> tuple[list[Floats], list[int]]:
    """Features (N, width) and class of each case, 0 and 1 in turn."""
    rng = np.random.default_rng((seed, width, KINDS.index(kind)))
    marked_columns = rng.permutation(width)[: width // 8]
    scaled_columns = rng.permutation(width)[: -(-width // 10)]
    labels = [case % 2 for case in range(sum(SUBSETS.values()))]
    features = []
    for label in labels:
        z_ND = rng.standard_normal((int(rng.integers(PATCHES[0], PATCHES[1], endpoint=True)), width))
        if label:
            z_ND[np.ix_(rng.random(len(z_ND)) < MARKED, marked_columns)] += SHIFT
        features.append(_of_kind(kind, z_ND, scaled_columns).astype(np.float32))
    return features, labels


def _of_kind(
    kind: str, z_ND: npt.NDArray[np.float64], scaled_columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    if kind == "a":
        return np.maximum(z_ND - 0.5, 0)
    if kind == "c":
        scaled_ND = z_ND.copy()
        scaled_ND[:, scaled_columns] *= 100
        return scaled_ND + 50
    if kind == "d":
        return z_ND * 1e-3
    if kind == "e":
        return z_ND / np.linalg.norm(z_ND, axis=1, keepdims=True)
    return np.exp(z_ND) if kind == "f" else z_ND


def run(trial: Trial) -> Outcome:
    """Train on one thread."""
    import torch
    from sklearn.metrics import roc_auc_score

    from milstore.training.bags import BagsInMemory, make_bag
    from milstore.training.config import TrainingConfig
    from milstore.training.config_reading import read_config
    from milstore.training.evaluation import evaluate, judge_training
    from milstore.training.loop import Training
    from milstore.training.progress import Watcher
    from milstore.training.provenance import repeatable_arithmetic
    from milstore.training.split_cases import SplitCases

    features, labels = draw(trial.kind, trial.width, trial.seed)
    ids = [str(case) for case in range(len(features))]
    bags = BagsInMemory(
        make_bag(
            case_id,
            np.where(np.arange(len(each)) % 2, "melan", "h&e"),
            np.arange(len(each)) // 2 % 2,
            np.arange(len(each)),
            torch.from_numpy(each),
        )
        for case_id, each in zip(ids, features, strict=True)
    )
    subsets = [name for name, size in SUBSETS.items() for _ in range(size)]
    cases = SplitCases(dict(zip(ids, subsets, strict=True)), dict(zip(ids, labels, strict=True)))
    config = TrainingConfig() if trial.settings == "defaults" else read_config(None, {}, trial.settings)
    device = torch.device("cpu")
    with repeatable_arithmetic(1):
        training = Training(bags, cases, config, n_classes=2, seed=trial.seed, device=device)
        while not training.finished:
            training.train_epoch(Watcher(), lambda: False)
        training.restore_best()
        results = evaluate(training.model, bags, cases.all, device)
        learning = judge_training(training, results)
    test = [result for result in results if cases.subset_of[result.bag.case_id] == "test"]
    probability = np.array([result.probability_C[1] for result in test])
    return Outcome(
        trial=trial,
        auc=float(roc_auc_score([cases.label_of[result.bag.case_id] for result in test], probability)),
        dead=learning.dead_units,
        collapsed=bool(np.ptp(probability) < COLLAPSED),
        verdict=learning.verdict,
    )


def trials(kinds: Iterable[str], widths: Iterable[int], seeds: int, settings: Iterable[str]) -> list[Trial]:
    """Those of one row of the table beside each other."""
    return [
        Trial(kind, width, seed, name)
        for name in settings
        for width in widths
        for kind in kinds
        for seed in range(seeds)
    ]


def rows(outcomes: Iterable[Outcome], seeds: int) -> Iterator[str]:
    """A line of the table for every so many outcomes, as soon as they are there."""
    held: list[Outcome] = []
    for outcome in outcomes:
        held.append(outcome)
        if len(held) < seeds:
            continue
        trial = held[0].trial
        yield (
            f"| {trial.settings} | {trial.width:,} | {trial.kind} | {np.mean([each.auc for each in held]):.2f} | "
            f"{np.mean([each.dead for each in held]):.0%} | {sum(each.collapsed for each in held)} of {seeds} | "
            f"{sum(each.verdict == 'nothing' for each in held)} of {seeds} | "
            f"{sum(each.verdict == 'memorised' for each in held)} of {seeds} |"
        )
        held = []


HEAD = (
    "| settings | numbers | kind | mean test AUC | dead units | collapsed | said: nothing learned | said: memorised |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)
NOTES = """\
Written by `python -m benchmarks.learning --page`. Cohorts are drawn (see there): 52 training cases, and features that are
(a) sparse and positive, (b) signed, (c) badly scaled, (d) tiny, (e) rows of length 1 or (f) log-normal. No figure is a
time. *Collapsed*: the probabilities of all test cases are within 0.1 of each other. *Said*: what the run itself says at
its end, in `runs list` and in the report."""


def main(words: list[str] | None = None) -> None:
    """Print the table; exit 1 if a run by the defaults has collapsed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=lambda text: [int(each) for each in text.split(",")], default=WIDTHS)
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--settings", type=lambda text: text.split(","), default=SETTINGS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at a time, a thread each")
    parser.add_argument("--page", action="store_true", help="put the table into docs/training.md")
    options = parser.parse_args(words)
    wanted = trials(options.kinds, options.widths, options.seeds, options.settings)
    collapsed, lines = 0, []
    print(HEAD, flush=True)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:

        def counted() -> Iterator[Outcome]:
            nonlocal collapsed
            for outcome in pool.map(run, wanted):
                collapsed += outcome.collapsed and outcome.trial.settings == "defaults"
                yield outcome

        for line in rows(counted(), options.seeds):
            print(line, flush=True)
            lines.append(line)
    if options.page:
        from benchmarks.page import PAGE, put_on_page

        put_on_page("Learning", "\n".join([NOTES, "", HEAD, *lines]), PAGE.with_name("training.md"))
    if collapsed:
        sys.exit(f"{collapsed} runs by the defaults collapsed")


if __name__ == "__main__":
    main()
