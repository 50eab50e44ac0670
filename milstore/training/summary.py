"""The result of a training, summed up for people."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from milstore.analysis.intervals import wilson
from milstore.analysis.learning import Learning
from milstore.analysis.roc import mean_area
from milstore.schema.columns import SUBSETS
from milstore.training.evaluation import CaseResult
from milstore.training.split_cases import SplitCases


@dataclass(frozen=True, kw_only=True)
class ClassSummary:
    """How the cases of one true class were called."""

    label: int
    class_name: str
    called: tuple[int, ...]
    """Cases called each class, in the order of the labels: a row of the confusion matrix."""

    @property
    def n_cases(self) -> int:
        """Cases of this class."""
        return sum(self.called)

    @property
    def recall(self) -> float | None:
        """Share of the cases that were called right, 0 to 1; None without a case."""
        return self.called[self.label] / self.n_cases if self.n_cases else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson 95% interval of the recall."""
        return wilson(self.called[self.label], self.n_cases)


@dataclass(frozen=True, kw_only=True)
class SubsetSummary:
    """How the cases of one subset were called."""

    subset: str
    classes: tuple[ClassSummary, ...]
    auc: float | None
    """Area under the ROC curve, one class against the rest and averaged where there are more than two; None where it
    is undefined, because some class has no case."""

    @property
    def n_cases(self) -> int:
        """Cases of the subset."""
        return sum(each.n_cases for each in self.classes)

    @property
    def accuracy(self) -> float | None:
        """Share of the cases that were called right, 0 to 1; None without a case."""
        right = sum(each.called[each.label] for each in self.classes)
        return right / self.n_cases if self.n_cases else None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished run."""

    run_id: str
    folder: Path
    experiment: str
    split_set: str
    split: int
    seed: int
    model: str
    """Its name, or the class of a user's own."""
    attention: str
    """levels, patches or none."""
    n_epochs: int
    best_epoch: int
    """The epoch whose weights were evaluated."""
    kept: str
    """Which epoch that is: best (the lowest validation loss), last or chosen (by `evaluate_epoch`)."""
    seconds: float
    """Spent training and evaluating, interruptions left out."""
    learning: Learning
    """Whether it learned anything."""
    subsets: tuple[SubsetSummary, ...]
    """train, val and test."""

    def subset(self, name: str) -> SubsetSummary:
        """The summary of a subset."""
        return next(each for each in self.subsets if each.subset == name)


def summarise(results: list[CaseResult], cases: SplitCases, class_names: list[str]) -> tuple[SubsetSummary, ...]:
    """Confusion counts, recalls and AUC of each subset."""
    return tuple(_subset(name, results, cases, class_names) for name in SUBSETS)


def _subset(name: str, results: list[CaseResult], cases: SplitCases, class_names: list[str]) -> SubsetSummary:
    chosen = [result for result in results if cases.subset_of[result.bag.case_id] == name]
    true = np.array([cases.label_of[result.bag.case_id] for result in chosen], dtype=np.int64)
    called = np.array([result.pred_label for result in chosen], dtype=np.int64)
    confusion = np.zeros((len(class_names), len(class_names)), dtype=np.int64)
    np.add.at(confusion, (true, called), 1)
    return SubsetSummary(
        subset=name,
        classes=tuple(
            ClassSummary(label=label, class_name=class_name, called=tuple(confusion[label].tolist()))
            for label, class_name in enumerate(class_names)
        ),
        auc=_auc(true, [result.probability_C for result in chosen], len(class_names)),
    )


def _auc(true: np.ndarray, probabilities: list[np.ndarray], n_classes: int) -> float | None:
    if len(set(true.tolist())) < n_classes:
        return None
    probability_NC = np.stack(probabilities)
    positive = (1,) if n_classes == 2 else range(n_classes)
    return mean_area([(probability_NC[:, label], true == label) for label in positive])[0]
