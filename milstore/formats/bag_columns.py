"""Finds the feature columns of a table of bags: neither those that count rows, nor those that reveal the label."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.errors import DataError, UsageError
from milstore.store.names import clip, named

_FEWEST_ROWS = 5
"""Rows from which whole numbers in a row are no chance."""
_FEWEST_BAGS = 4
"""Bags from which a column that tells them apart is looked at."""
_MOST_CODES = 10
"""Values that a column of labels has at most, where no label is known to compare it with."""

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class BagRows:
    """Which rows of a table are of which bag."""

    codes: npt.NDArray[np.int64]
    """(N,): number of each row's bag, from 0."""
    names: Sequence[str]
    """(B,): the case of each bag."""
    index: npt.NDArray[np.int64]
    """(N,): number of each row's instance."""

    def sorted_by_bag(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(N,) the rows bag by bag, as they stand, and (B,) where each bag begins among them."""
        order = np.argsort(self.codes, kind="stable")
        return order, np.flatnonzero(np.diff(self.codes[order], prepend=-1))


def feature_columns(
    path: Path,
    table: pa.Table,
    columns: Sequence[str],
    rows: BagRows,
    label_of: Mapping[str, str],
    *,
    wanted: Collection[str] = (),
    labelled_by: str | None = None,
) -> tuple[list[str], list[str]]:
    """The columns that are features, and notes on those that are not.

    Args:
        path: the table's file, for messages.
        table: the table.
        columns: its columns of numbers.
        rows: which rows are of which bag.
        label_of: class or label of each case that has one, by the table or by the store.
        wanted: columns that the user takes as features, though they seem to know the label.
        labelled_by: the column of the labels, if the table has one.

    Raises:
        UsageError: there is no column of `wanted`, or it counts the rows.
        DataError: a column is constant within each bag and tells the classes apart alone; or may do so, where the labels
            are not known yet.
    """
    strangers = [name for name in wanted if name not in columns]
    if strangers:
        raise UsageError(f"--feature-column {named(strangers)}: {path} has the columns of numbers {named(columns)}")
    order, starts = rows.sorted_by_bag()
    places = np.empty(len(order), np.int64)
    sizes = np.diff(starts, append=len(order))
    places[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    counting = [name for name in columns if _counts(np.asarray(table[name]), rows.index, places, sizes)]
    if own := [name for name in counting if name in wanted]:
        raise UsageError(f"--feature-column {named(own)}: it counts the rows, which is no feature")
    features = [name for name in columns if name not in counting]
    _refuse_knowing(
        path, table, [n for n in features if n not in wanted], rows, (order, starts, sizes), label_of, labelled_by
    )
    told = [f"no feature: {named(repr(clip(name)) for name in counting)} counts the rows"] if counting else []
    return features, told


def _counts(values: Numbers, index: Numbers, places: Numbers, sizes: Numbers) -> bool:
    """Whether a column counts the rows of the table, in whatever order, or those of each bag."""
    if len(values) < _FEWEST_ROWS or not _whole(values[:_FEWEST_ROWS]) or not _whole(values):
        return False
    steps = np.diff(values.astype(np.float64))
    if (steps > 0).all() or (steps < 0).all():
        return True
    if values.max() - values.min() == len(values) - 1 and len(np.unique(values)) == len(values):
        return True
    if sizes.max() < 3 or not _most_have_two(sizes):
        return False
    from_first = values - values[0] + places[0]
    return bool((values == index).all() or (from_first == places).all())


def _whole(values: Numbers) -> bool:
    return values.dtype.kind in "iu" or (values.dtype.kind == "f" and bool((values == np.floor(values)).all()))


def _most_have_two(sizes: Numbers) -> bool:
    return int((sizes > 1).sum()) * 2 > len(sizes)


def _refuse_knowing(
    path: Path,
    table: pa.Table,
    columns: Sequence[str],
    rows: BagRows,
    bags: tuple[Numbers, Numbers, Numbers],
    label_of: Mapping[str, str],
    labelled_by: str | None,
) -> None:
    """Raises DataError if a column that is constant within bags reveals their class. See `feature_columns`."""
    order, starts, sizes = bags
    if len(sizes) < _FEWEST_BAGS or not _most_have_two(sizes):
        return
    labels = [label_of.get(rows.names[code]) for code in rows.codes[order[starts]].tolist()]
    known = np.array([label is not None for label in labels])
    classes = [label for label in labels if label is not None]
    compared = sum(classes.count(each) > 1 for each in set(classes)) > 1
    # A bag of several rows, in which most features differ: the others need not be looked at.
    largest = int(np.argmax(sizes))
    sample = order[starts[largest] : starts[largest] + sizes[largest]]
    knowing = []
    for name in columns:
        values = np.asarray(table[name])
        if len(np.unique(values[sample])) > 1:
            continue
        ordered = values[order]
        lowest = np.minimum.reduceat(ordered, starts)
        if not (lowest == np.maximum.reduceat(ordered, starts)).all():
            continue
        if _tells_apart(lowest[known], classes) if compared else _may_be_label(lowest):
            knowing.append(name)
    if knowing:
        way = "" if labelled_by is not None else f"name it by --label-column {knowing[0]} if it is the label, "
        why = (
            "tells the classes apart alone, so that a model would learn nothing else"
            if compared
            else "may be the label: no label is known yet to compare it with (or ingest the labels first)"
        )
        raise DataError(
            f"{path} has a column that is constant within each bag and {why} ({named(map(repr, knowing))}): {way}drop it, or "
            f"take it all the same by --feature-column {knowing[0]}"
        )


def _tells_apart(value_of: Numbers, classes: Sequence[str]) -> bool:
    """Whether one number per bag separates the classes: by thresholds, or because each of a few values is of one class.

    >>> _tells_apart(np.array([0, 0, 1, 1]), list("aabb")), _tells_apart(np.array([.1, .4, .2, .3]), list("aabb"))
    (True, False)
    """
    of = np.array(classes)
    ranges = sorted((value_of[of == each].min(), value_of[of == each].max()) for each in set(classes))
    if all(one[1] < other[0] for one, other in itertools.pairwise(ranges)):
        return True
    values = np.unique(value_of)
    return len(values) * 2 <= len(value_of) and all(len(set(of[value_of == value])) == 1 for value in values)


def _may_be_label(value_of: Numbers) -> bool:
    """Whether a number a bag has as few values as labels have."""
    return 1 < len(np.unique(value_of)) <= min(_MOST_CODES, len(value_of) // 2)
