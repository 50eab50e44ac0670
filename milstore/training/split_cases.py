"""The cases of one split with their labels, and the weight of each class among them."""

from collections.abc import Mapping
from dataclasses import dataclass

from milstore.errors import DataError, UsageError
from milstore.schema.columns import SUBSETS
from milstore.store.names import named, natural_key
from milstore.training.config import given_class_weights


@dataclass(frozen=True)
class SplitCases:
    """The cases of one split, with the labels that the run is told."""

    subset_of: Mapping[str, str]
    label_of: Mapping[str, int]

    def of(self, subset: str) -> list[str]:
        """The cases of a subset (train, val, test), in natural order."""
        return sorted((case for case, of in self.subset_of.items() if of == subset), key=natural_key)

    @property
    def all(self) -> list[str]:
        """All cases: training, then validation, then test."""
        return [case_id for subset in SUBSETS for case_id in self.of(subset)]


def class_weights(cases: SplitCases, wanted: str, n_classes: int) -> list[float]:
    """Weight of each class in the loss.

    Args:
        cases: the split.
        wanted: auto (training cases / (classes that occur x training cases of the class), 1 for a class that does not
            occur), none (1 each) or the numbers themselves.
        n_classes: how many classes there are.

    Raises:
        DataError: the training cases are of fewer than two classes.
        UsageError: not one number a class.
    """
    counts = [0] * n_classes
    train = cases.of("train")
    for case_id in train:
        counts[cases.label_of[case_id]] += 1
    present = sum(count > 0 for count in counts)
    if present < 2:
        raise DataError(f"the training subset has cases of {present} class, such as {named(train, 3)}: two are needed")
    given = given_class_weights(wanted)
    if given is not None and len(given) != n_classes:
        raise UsageError(f"--class-weights {wanted}: the store has {n_classes} classes, give {n_classes} numbers")
    if wanted == "auto":
        return [len(train) / (present * count) if count else 1.0 for count in counts]
    return list(given) if given is not None else [1.0] * n_classes
