"""Which split of the store a run of the study's trainers was made on.

A run that drew its split holds it; of a split that was loaded the log tells the path alone. The split is then known by
its test cases, which are those that were predicted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from milstore.errors import DataError
from milstore.formats.split_file import Split, read_split_files
from milstore.formats.study_folder import StudyFolder
from milstore.ingest.imported import check_subsets
from milstore.store.cohort import Cohort
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.split_numbers import check_split, choose_split_set, subsets_of

_UP = 3
"""Folders above a run's in which the path of a split that a log tells is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudySplit:
    """What is known of a run's split."""

    split_set: str | None
    split: int | None
    """None, like `split_set` and `n_splits`, where the store has no such split."""
    n_splits: int | None
    subset_of: Mapping[str, str]
    """Subset of each case of it; of one that nobody knows, of the predicted cases alone."""
    why: tuple[str, ...]
    """How it was found, a line each."""


def find_split(
    folder: StudyFolder, cohort: Cohort, predicted: Sequence[str], split_set: str | None, split: int | None
) -> StudySplit:
    """The split of a run.

    Args:
        folder: the run's folder.
        cohort: the store's cohort.
        predicted: the cases that it predicted, as the store calls them.
        split_set: the split set that the user names, if any.
        split: the split that the user names, if any.

    Raises:
        DataError: what the run holds contradicts the split that is named, or itself.
        UsageError: there is no such split.
    """
    own, where = _own_split(folder, cohort)
    if own is not None:
        _check_predicted(folder, own, predicted)
    if split is not None:
        name, n_splits = choose_split_set(cohort, split_set)
        check_split(cohort, name, split)
        known = subsets_of(cohort, name, split)
        if own is not None:
            check_subsets(where, list(own), list(own.values()), known)
        check_subsets(folder.predictions, predicted, ["test"] * len(predicted), known)
        return StudySplit(
            split_set=name, split=split, n_splits=n_splits, subset_of=known, why=(f"split {split} of {name}, as named",)
        )
    return _matching(cohort, predicted, own, where, split_set) or _unknown(predicted, own, where)


def _matching(
    cohort: Cohort, predicted: Sequence[str], own: Split | None, where: Path, split_set: str | None
) -> StudySplit | None:
    """The split of the store that is the run's own, or has its test cases; None unless there is one."""
    found = []
    for name, n_splits, number in _splits(cohort):
        subset_of = subsets_of(cohort, name, number)
        tested = {case for case, subset in subset_of.items() if subset == "test"}
        same = subset_of == own if own is not None else tested == set(predicted)
        if same and split_set in (None, name):
            found.append((name, n_splits, number, subset_of))
    if not found or (own is None and len(found) > 1):
        return None
    name, n_splits, number, subset_of = found[0]
    how = f"that of {where}" if own is not None else "the only one whose test cases are those of the run"
    others = f" (so is {named(f'split {n} of {s}' for s, _, n, _ in found[1:])})" if len(found) > 1 else ""
    why = (f"split {number} of {name}: {how}{others}",)
    return StudySplit(split_set=name, split=number, n_splits=n_splits, subset_of=subset_of, why=why)


def _unknown(predicted: Sequence[str], own: Split | None, where: Path) -> StudySplit:
    if own is not None:
        why = (
            f"its split is none of the store's, and it is taken in without one: to number it, run milstore ingest splits {where} "
            "--split-set NAME before",
        )
        return StudySplit(split_set=None, split=None, n_splits=None, subset_of=own, why=why)
    why = (
        f"its split is not known: the {counted(len(predicted), 'case')} that it predicted are taken for its test cases; name "
        "it by --split-set and --split",
    )
    return StudySplit(split_set=None, split=None, n_splits=None, subset_of=dict.fromkeys(predicted, "test"), why=why)


def _splits(cohort: Cohort) -> list[tuple[str, int, int]]:
    """Every split of the store: its split set, how many that has, and its number."""
    sizes = {row["split_set"]: row["n_splits"] for row in cohort.table("split_sets").to_pylist()}
    pairs = {(row["split_set"], row["split"]) for row in cohort.table("splits").to_pylist()}
    ordered = sorted(pairs, key=lambda pair: (natural_key(pair[0]), pair[1]))
    return [(name, sizes[name], number) for name, number in ordered]


def _own_split(folder: StudyFolder, cohort: Cohort) -> tuple[Split | None, Path]:
    """The split that the run holds or its log leads to, and its file; None where there is no such file."""
    path = folder.splits or _loaded_split(folder)
    if path is None:
        return None, folder.root
    known = set(cohort.table("cases")["case_id"].to_pylist())
    (split,) = read_split_files([path], known).splits.values()
    return split, path


def _loaded_split(folder: StudyFolder) -> Path | None:
    """The file that the log says was loaded, if it still lies where a path of it leads from the run's folder."""
    told = folder.log and folder.log.splits_from
    if not told:
        return None
    above = [folder.root.resolve(), *folder.root.resolve().parents][: _UP + 1]
    tried = [Path(told)] if PurePosixPath(told).is_absolute() else [place / told for place in above]
    return next((path for path in tried if path.suffix == ".npz" and path.is_file()), None)


def _check_predicted(folder: StudyFolder, own: Split, predicted: Sequence[str]) -> None:
    """DataError if what was predicted is no test case of the run's own split."""
    strange = [case for case in predicted if own.get(case) != "test"]
    if strange:
        raise DataError(
            f"{folder.predictions} has cases that are no test cases of the run's own split ({named(map(clip, strange))}): two "
            "runs may have written into this folder"
        )
