"""Predictions as arrays, for what is computed over many of them; and how the classes are spread over the subsets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

BALANCE_COLUMNS = ("split", "subset", "cases", "run_id")
"""Columns of the balance table beside those of the classes."""


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Predictions of one run or several: N predictions, C classes."""

    run_ids: NDArray[Any]
    """Run of each prediction (N,)."""
    splits: NDArray[Any]
    """Its split (N,); None of a run without splits."""
    cases: NDArray[Any]
    """The case that it is of (N,)."""
    true_labels: NDArray[np.int64]
    """Number of the case's class (N,)."""
    pred_labels: NDArray[np.int64]
    """Number of the predicted class (N,)."""
    probabilities: NDArray[np.float64]
    """Probability of each class (N, C)."""
    class_names: tuple[str, ...]
    """Names of the classes (C,)."""

    @classmethod
    def of(cls, table: "pa.Table") -> "Outcomes":
        """From a table with run_id, split, case_id, true_label, pred_label and the lists probabilities and class_names.

        A class that some run did not know has probability 0 there.
        """
        rows = table.to_pylist()
        names: list[str] = max((row["class_names"] for row in rows), key=len, default=[])
        probabilities = np.zeros((len(rows), len(names)))
        for i, row in enumerate(rows):
            probabilities[i, : len(row["probabilities"])] = row["probabilities"]
        return cls(
            run_ids=np.array([row["run_id"] for row in rows], dtype=object),
            splits=np.array([row["split"] for row in rows], dtype=object),
            cases=np.array([row["case_id"] for row in rows], dtype=object),
            true_labels=np.array([row["true_label"] for row in rows], dtype=np.int64),
            pred_labels=np.array([row["pred_label"] for row in rows], dtype=np.int64),
            probabilities=probabilities,
            class_names=tuple(names),
        )

    def runs(self) -> "Iterator[tuple[str, Outcomes]]":
        """The split of each run in words and its predictions, in the order of the rows."""
        for run_id in dict.fromkeys(self.run_ids.tolist()):
            of_run = self.only(self.run_ids == run_id)
            yield split_words(of_run.splits[0]), of_run

    def only(self, chosen_N: NDArray[np.bool_]) -> "Outcomes":
        """Some of the predictions."""
        return Outcomes(
            run_ids=self.run_ids[chosen_N],
            splits=self.splits[chosen_N],
            cases=self.cases[chosen_N],
            true_labels=self.true_labels[chosen_N],
            pred_labels=self.pred_labels[chosen_N],
            probabilities=self.probabilities[chosen_N],
            class_names=self.class_names,
        )

    def counts(self, label: int) -> tuple[int, int]:
        """How many predictions of a true class are right, and how many there are."""
        of_class = self.true_labels == label
        return int((self.pred_labels[of_class] == label).sum()), int(of_class.sum())

    def once(self) -> "Outcomes":
        """Each case once: with the mean of its probabilities, and the class that is highest by it (of several, the lowest)."""
        first_M, group_N = np.unique(self.cases.astype(str), return_index=True, return_inverse=True)[1:]
        order_M = np.argsort(first_M)
        means = np.zeros((len(first_M), self.probabilities.shape[1]))
        np.add.at(means, group_N, self.probabilities)
        means = (means / np.bincount(group_N)[:, None])[order_M]
        rows_M = first_M[order_M]
        return Outcomes(
            run_ids=self.run_ids[rows_M],
            splits=self.splits[rows_M],
            cases=self.cases[rows_M],
            true_labels=self.true_labels[rows_M],
            pred_labels=means.argmax(axis=1),
            probabilities=means,
            class_names=self.class_names,
        )

    @property
    def repeated(self) -> bool:
        """Whether some case stands in it more than once, so that the predictions are not independent."""
        return len(set(self.cases.tolist())) < len(self.cases)


def split_words(split: int | None) -> str:
    """What a split is called.

    >>> split_words(2), split_words(None)
    ('split 2', 'no split')
    """
    return "no split" if split is None else f"split {split}"


def balance(table: "pa.Table") -> "pa.Table":
    """A row per run and subset, with a column of counts for each class.

    Args:
        table: split, subset, true_label, true_class, cases, run_id; a row per run, subset and class that has a case.

    Returns:
        split, subset, one column a class in the order of the labels, cases, run_id.
    """
    import pyarrow as pa

    from milstore.analysis.arrays import table as arrow_table

    rows = table.to_pylist()
    labels = {(row["true_label"], row["true_class"]) for row in rows}
    # A case without a label is counted too, behind the classes.
    in_order = sorted(labels, key=lambda each: (each[0] is None, each[0]))
    names = {label: "no label" if label is None else _column(name) for label, name in in_order}
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        empty = {"split": row["split"], "subset": row["subset"], **dict.fromkeys(names.values(), 0)}
        group = groups.setdefault((row["run_id"], row["subset"]), {**empty, "cases": 0, "run_id": row["run_id"]})
        group[names[row["true_label"]]] += row["cases"]
        group["cases"] += row["cases"]
    numbers = [pa.field("split", pa.int32()), pa.field("subset", pa.string())]
    numbers += [pa.field(name, pa.int64()) for name in names.values()]
    schema = pa.schema([*numbers, pa.field("cases", pa.int64()), pa.field("run_id", pa.string())])
    return arrow_table(list(groups.values()), schema)


def _column(class_name: str) -> str:
    return f"class {class_name}" if class_name in BALANCE_COLUMNS else class_name
