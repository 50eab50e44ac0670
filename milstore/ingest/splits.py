"""Split sets: from files, or drawn by chance."""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from milstore.errors import DataError, UsageError
from milstore.formats.group_file import read_groups
from milstore.formats.missing_marks import Marks
from milstore.formats.split_file import Split, SplitFiles, TestFolds, read_split_files
from milstore.ingest.drawn_validation import with_drawn_validation
from milstore.ingest.groups import torn_splits
from milstore.ingest.slide_cases import are_slides
from milstore.ingest.slide_splits import splits_of_cases
from milstore.ingest.split_edit import put_splits
from milstore.ingest.split_report import SplitsReport, summaries
from milstore.ingest.split_sampling import draw_folds, draw_validation, pool_of, seed_of
from milstore.store import Store
from milstore.store.case_groups import stored_groups
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort
from milstore.store.cohort_edit import CohortEdit, edit_cohort
from milstore.store.names import check_name, counted, named, natural_key
from milstore.store.slides import Slides

VAL_SHARE = 0.2
"""Share of what is not in test that validates, where it is drawn."""
REBUILT = ("split_sets", "splits")
"""Tables that this ingest rebuilds where their files are damaged."""


def ingest_splits(
    store: Store,
    files: Sequence[str | Path],
    *,
    split_set: str | None = None,
    seed: int = 0,
    val_share: float = VAL_SHARE,
    missing: Iterable[str] | None = None,
    format: str | None = None,
    replace: bool = False,
) -> SplitsReport:
    """Ingest splits: .npz files with train_cases, val_cases and test_cases, or one CSV table.

    Each split keeps its number: that in the file's name, or in the column split or fold. Where there is none, they are
    counted from 1. A table of test folds (repeat, fold, bag_id) becomes a split set `<split_set>-r<repeat>` for each
    repeat; its validation subsets are drawn from the rest, stratified, by `seed`, and cases without a label are left out.
    Where a tool knows no validation subset (STAMP, slideflow), a share of train is drawn likewise.

    Args:
        store: the store, which must know the cases.
        files: one .npz file a split, or one table, or a folder of such. What is said of slides is of their cases.
        split_set: name of the split set; the files' common name without its number if left out.
        seed: seed of validation subsets that are drawn.
        val_share: share of what is not in test that is drawn.
        missing: marks of missing values: rows of a table without a case, split or subset are left out.
        format: name of the files' format, or ./file.py:Class; found by their content if left out.
        replace: take these splits in the place of others of the same name.

    Raises:
        DataError: a file cannot be read, names cases that the store does not know, or has a case in two subsets.
        ConflictError: a split set of this name has other splits, and `replace` is not given.
    """
    paths = [Path(file) for file in files]
    marks = Marks.of(missing)
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        labels = labels_of_cohort(edit)
        groups = stored_groups(edit.table("case_groups"))
        found = read_split_files(paths, labels, marks, format)
        name = check_name(split_set if split_set is not None else name_of_splits(paths), "split set")
        names = sorted((path.name for path in paths), key=natural_key)
        source = named(names, shown=len(names))
        found = dataclasses.replace(found, by_slide=found.by_slide or _are_of_slides(found, edit))
        found = splits_of_cases(found, Slides(edit), labels, source)
        _check_known(found, labels, source)
        sets: dict[str, Mapping[int, Split]] = {} if found.folds or found.families else {name: found.splits}
        sets |= {check_name(f"{name}-{each}", "split set"): splits for each, splits in found.families.items()}
        unlabelled: set[str] = set()
        for each in found.folds:
            repeat = check_name(f"{name}-r{each.repeat.lower()}", "split set")
            sets[repeat], without = _with_validation(each, labels, groups, seed, val_share)
            unlabelled |= without
        drawn: list[str] = []
        for family, splits in sets.items() if found.draws_validation else ():
            own = with_drawn_validation(splits, labels, groups, seed=seed, val_share=val_share)
            sets[family] = own.splits
            drawn += own.told if len(sets) == 1 else (f"{family}, {line}" for line in own.told)
        if found.draws_validation and val_share:
            source += f"; validation {val_share:g} of train, drawn by seed {seed}"
        if found.folds:
            source += f"; validation {val_share:g} of the rest, drawn by seed {seed}"
        put_splits(edit, sets, source, replace=replace)
        torn = [f"{line}: cases that belong together leak" for line in torn_splits(edit, groups, list(sets))]
    return SplitsReport(
        changed=edit.changed,
        split_sets={each: len(splits) for each, splits in sets.items()},
        cases=len({case for splits in sets.values() for split in splits.values() for case in split}),
        source=source,
        left_out=tuple(sorted(unlabelled, key=natural_key)),
        splits=summaries(sets, found.origins),
        numbered=found.numbered,
        notes=(*found.left_out, *drawn, *torn, *edit.notes),
    )


def make_splits(
    store: Store,
    *,
    folds: int = 5,
    seed: int = 0,
    group_by: str | Path | None = None,
    ungrouped: bool = False,
    split_set: str | None = None,
    val_share: float = VAL_SHARE,
    missing: Iterable[str] | None = None,
    replace: bool = False,
) -> SplitsReport:
    """Draw a split set: stratified by class, each labelled case in exactly one test subset.

    Args:
        store: the store.
        folds: number of splits.
        seed: the same seed draws the same splits.
        group_by: CSV file with a column of cases and one of groups; cases of one group (such as a patient) stay
            together in a subset. It must name every case with a label. The store's own groups if left out.
        ungrouped: draw as if the store had no groups.
        split_set: its name; `cv<folds>-seed<seed>` if left out.
        val_share: share of the cases outside test that validates.
        missing: marks of missing values in the group file: a case without a group stands for itself.
        replace: take these splits in the place of others of the same name.

    Raises:
        DataError: too few labelled cases, or a group file that cannot be read or leaves cases out.
        UsageError: both `group_by` and `ungrouped` are given.
        ConflictError: a split set of this name has other splits, and `replace` is not given.
    """
    if ungrouped and group_by is not None:
        raise UsageError("--group-by and --ungrouped exclude each other: give one")
    source = f"drawn in {folds} folds by seed {seed}, validation {val_share:g} of the rest"
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        labels = labels_of_cohort(edit)
        known = {case: label for case, label in labels.items() if label is not None}
        if not known:
            raise DataError("no case of the store has a label: run milstore ingest labels first")
        own = {} if ungrouped else stored_groups(edit.table("case_groups"))
        groups = None if group_by is None else read_groups(Path(group_by), labels, Marks.of(missing))
        if groups is not None:
            groups.check_cover(known)
            source += f", grouped by {Path(group_by or '').name}"
            told = groups.lines(known)
        else:
            source += ", grouped by the store's groups" if own else ""
            told = _told_groups(known, own)
        group_of = groups.group_of if groups is not None else own or None
        grouped = "" if group_of is None else "-grouped"
        name = check_name(split_set if split_set is not None else f"cv{folds}-seed{seed}{grouped}", "split set")
        pool = pool_of(known, group_of)
        splits = dict(enumerate(draw_folds(pool, folds, seed=seed, val_share=val_share), start=1))
        put_splits(edit, {name: splits}, source, replace=replace)
    return SplitsReport(
        changed=edit.changed,
        split_sets={name: folds},
        cases=len(known),
        source=source,
        left_out=tuple(sorted(set(labels) - set(known), key=natural_key)),
        splits=summaries({name: splits}, {}),
        notes=(*told, *edit.notes),
    )


def _told_groups(cases: Collection[str], group_of: Mapping[str, str]) -> list[str]:
    """A line on how many of these cases have a group in the store; nothing if the store has no groups."""
    inside = {group_of[case] for case in cases if case in group_of}
    if not group_of:
        return []
    count = sum(case in group_of for case in cases)
    return [f"groups of the store: {count} of {counted(len(cases), 'case')} in {counted(len(inside), 'group')}"]


def name_of_splits(paths: Sequence[Path]) -> str:
    """What the names of the files have in common: `data_splits` of data_splits_01.npz and its like; of a folder its name."""
    if paths[0].is_dir():
        return re.sub(r"[^a-z0-9_.-]+", "-", paths[0].resolve().name.lower()).strip("_.-")[:48] or "splits"
    stem = re.sub(r"[^a-z0-9_.-]+", "-", paths[0].stem.lower())
    return re.sub(r"[_.-]*\d*$", "", stem).strip("_.-")[:48] or "splits"


def labels_of_cohort(cohort: Cohort | CohortEdit) -> dict[str, int | None]:
    """The label of each case; None where it is not known."""
    cases = cohort.table("cases")
    return dict(zip(cases["case_id"].to_pylist(), cases["label"].to_pylist(), strict=True))


def _are_of_slides(found: SplitFiles, edit: CohortEdit) -> bool:
    """Whether splits of a table or of arrays name slides and not cases."""
    slides = Slides(edit)
    return bool(len(slides)) and are_slides(slides, CaseIds.of(edit), set().union(*found.splits.values()))


def _check_known(found: SplitFiles, labels: Mapping[str, object], source: str) -> None:
    families = [split for splits in found.families.values() for split in splits.values()]
    named_cases = set().union(
        *found.splits.values(), *families, *(test for each in found.folds for test in each.tests.values())
    )
    unknown = sorted(named_cases - set(labels), key=natural_key)
    if unknown:
        raise DataError(
            f"{source} names {len(unknown)} cases that the store does not know ({named(unknown)}): "
            "ingest their labels or patches first"
        )


def _with_validation(
    folds: TestFolds, labels: Mapping[str, int | None], group_of: Mapping[str, str], seed: int, val_share: float
) -> tuple[dict[int, Split], set[str]]:
    """The splits of a cross-validation, and the cases without a label, which are in none of them."""
    cases = set().union(*folds.tests.values())
    unlabelled = {case for case in cases if labels[case] is None}
    if unlabelled == cases:
        raise DataError(f"none of the {len(cases)} cases has a label: ingest the labels first")
    splits: dict[int, Split] = {}
    for number, test in folds.tests.items():
        rest = {case: label for case, label in labels.items() if case in cases - test and label is not None}
        groups = group_of if rest.keys() & group_of.keys() else None
        drawn = draw_validation(pool_of(rest, groups), seed=seed_of(seed, folds.repeat, number), val_share=val_share)
        splits[number] = drawn | dict.fromkeys(test - unlabelled, "test")
    return splits, unlabelled
