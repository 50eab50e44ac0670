"""Split sets: from files, or drawn by chance."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import ConflictError, DataError
from milstore.ingest.csvfile import read_csv
from milstore.ingest.draw import Split, draw_folds, draw_validation, pool_of
from milstore.ingest.splitfile import TestFolds, read_split_files
from milstore.store import Store
from milstore.store.cohort import CohortEdit, edit_cohort
from milstore.store.names import check_name, clip, counted, named, natural_key, normal_case_id

VAL_SHARE = 0.2
"""Share of what is not in test that validates, where it is drawn."""
REBUILT = ("split_sets", "splits")
"""Tables that splits make anew where their files are damaged."""
_CASE_COLUMNS = ("case_id", "case", "bag_id", "bag")
_GROUP_COLUMNS = ("group", "group_id", "patient", "patient_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitsReport:
    """What `ingest_splits` or `make_splits` did."""

    changed: bool
    split_sets: dict[str, int]
    """Number of splits of each split set."""
    cases: int
    source: str
    left_out: tuple[str, ...] = ()
    """Cases without a label, which cannot be drawn."""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report in words."""
        lines = [
            f"split set {name}: {counted(count, 'split')} of {counted(self.cases, 'case')} ({clip(self.source, 120)})"
            for name, count in self.split_sets.items()
        ]
        if self.left_out:
            lines.append(f"left out: {counted(len(self.left_out), 'case')} without a label ({named(self.left_out)})")
        return [*lines, *self.notes, *([] if self.changed else ["nothing changed"])]


def ingest_splits(
    store: Store,
    files: Sequence[str | Path],
    *,
    split_set: str | None = None,
    seed: int = 0,
    val_share: float = VAL_SHARE,
    replace: bool = False,
) -> SplitsReport:
    """Take splits in: .npz files with train_cases, val_cases and test_cases, or one CSV table.

    A table of test folds (repeat, fold, bag_id) becomes a split set `<split_set>-r<repeat>` for each repeat; its
    validation subsets are drawn from the rest, stratified, by `seed`.

    Args:
        store: the store, which must know the cases.
        files: one .npz file a split, or one table.
        split_set: name of the split set; the files' common name without its number if left out.
        seed: seed of validation subsets that are drawn.
        val_share: share of what is not in test that is drawn.
        replace: take these splits in the place of others of the same name.

    Raises:
        DataError: a file cannot be read, names cases that the store does not know, or has a case in two subsets.
        ConflictError: a split set of this name has other splits, and `replace` is not given.
    """
    paths = [Path(file) for file in files]
    found = read_split_files(paths)
    name = check_name(split_set if split_set is not None else _common_name(paths), "split set")
    names = sorted((path.name for path in paths), key=natural_key)
    source = named(names, shown=len(names))
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        labels = _labels(edit)
        _check_known(found, labels, source)
        sets: dict[str, list[Split]] = {}
        for each in found:
            if isinstance(each, TestFolds):
                repeat = check_name(f"{name}-r{each.repeat.lower()}", "split set")
                sets[repeat] = _with_validation(each, labels, seed, val_share)
            else:
                sets.setdefault(name, []).append(each)
        if isinstance(found[0], TestFolds):
            source += f"; validation {val_share:g} of the rest, drawn by seed {seed}"
        _put(edit, sets, source, replace=replace)
    return SplitsReport(
        changed=edit.changed,
        split_sets={each: len(splits) for each, splits in sets.items()},
        cases=len({case for splits in sets.values() for split in splits for case in split}),
        source=source,
        notes=tuple(edit.notes),
    )


def make_splits(
    store: Store,
    *,
    folds: int = 5,
    seed: int = 0,
    group_by: str | Path | None = None,
    split_set: str | None = None,
    val_share: float = VAL_SHARE,
    replace: bool = False,
) -> SplitsReport:
    """Draw a split set: stratified by class, each labelled case in exactly one test subset.

    Args:
        store: the store.
        folds: number of splits.
        seed: the same seed draws the same splits.
        group_by: CSV file with a column of cases and one of groups; cases of one group (such as a patient) stay
            together in a subset.
        split_set: its name; `cv<folds>-seed<seed>` if left out.
        val_share: share of what is not in test that validates.
        replace: take these splits in the place of others of the same name.

    Raises:
        DataError: too few labelled cases, or a group file that cannot be read.
        ConflictError: a split set of this name has other splits, and `replace` is not given.
    """
    grouped = "" if group_by is None else "-grouped"
    name = check_name(split_set if split_set is not None else f"cv{folds}-seed{seed}{grouped}", "split set")
    group_of = None if group_by is None else read_groups(Path(group_by))
    source = f"drawn in {folds} folds by seed {seed}, validation {val_share:g} of the rest"
    if group_by is not None:
        source += f", grouped by {Path(group_by).name}"
    with edit_cohort(store, rebuild=REBUILT if replace else ()) as edit:
        labels = _labels(edit)
        known = {case: label for case, label in labels.items() if label is not None}
        if not known:
            raise DataError("no case of the store has a label: run milstore ingest labels first")
        splits = draw_folds(pool_of(known, group_of), folds, seed=seed, val_share=val_share)
        _put(edit, {name: splits}, source, replace=replace)
    return SplitsReport(
        changed=edit.changed,
        split_sets={name: folds},
        cases=len(known),
        source=source,
        left_out=tuple(sorted(set(labels) - set(known), key=natural_key)),
        notes=tuple(edit.notes),
    )


def read_groups(file: Path) -> dict[str, str]:
    """The group of each case, from a CSV file with a column `case_id` and one other, or one called `group`.

    Raises:
        DataError: the columns are not clear, or a case is in two groups.
    """
    table = read_csv(file, "a file of groups", [*_CASE_COLUMNS, *_GROUP_COLUMNS])
    by_lower = {name.lower(): name for name in table.columns}
    case = next((by_lower[name] for name in _CASE_COLUMNS if name in by_lower), None)
    others = [name for name in table.columns if name != case]
    group = next(
        (by_lower[name] for name in _GROUP_COLUMNS if name in by_lower), others[0] if len(others) == 1 else None
    )
    if case is None or group is None:
        raise DataError(f"{file} has the columns {named(table.columns)}: it needs case_id and group")
    found: dict[str, str] = {}
    for text, of, line in zip(table.column(case), table.column(group), table.lines, strict=True):
        case_id = normal_case_id(text)
        if not case_id or not of:
            raise DataError(f"{file}, line {line}, has an empty value: fill it or drop the line")
        if found.setdefault(case_id, of) != of:
            raise DataError(
                f"{file} has case {clip(case_id)} in the groups {clip(found[case_id])} and {clip(of)}: keep one"
            )
    return found


def _common_name(paths: Sequence[Path]) -> str:
    """What the names of the files have in common: `data_splits` of data_splits_01.npz and its like."""
    stem = re.sub(r"[^a-z0-9_.-]+", "-", paths[0].stem.lower())
    return re.sub(r"[_.-]*\d*$", "", stem).strip("_.-")[:48] or "splits"


def _labels(edit: CohortEdit) -> dict[str, int | None]:
    cases = edit.table("cases")
    return dict(zip(cases["case_id"].to_pylist(), cases["label"].to_pylist(), strict=True))


def _check_known(found: Sequence[Split | TestFolds], labels: Mapping[str, object], source: str) -> None:
    named_cases = {
        case for each in found for case in (set().union(*each.tests) if isinstance(each, TestFolds) else each)
    }
    unknown = sorted(named_cases - set(labels), key=natural_key)
    if unknown:
        raise DataError(
            f"{source} names {len(unknown)} cases that the store does not know ({named(unknown)}): "
            "ingest their labels or patches first"
        )


def _with_validation(folds: TestFolds, labels: Mapping[str, int | None], seed: int, val_share: float) -> list[Split]:
    cases = set().union(*folds.tests)
    unlabelled = sorted((case for case in cases if labels[case] is None), key=natural_key)
    if unlabelled:
        raise DataError(f"{len(unlabelled)} cases have no label ({named(unlabelled)}): ingest the labels first")
    splits: list[Split] = []
    for number, test in enumerate(folds.tests, start=1):
        rest = {case: label for case, label in labels.items() if case in cases - test and label is not None}
        drawn = draw_validation(pool_of(rest), seed=_seed_of(seed, folds.repeat, number), val_share=val_share)
        splits.append(drawn | dict.fromkeys(test, "test"))
    return splits


def _seed_of(seed: int, repeat: str, number: int) -> int:
    """A seed of its own for the validation subset of each repeat and fold, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{repeat}/{number}".encode()).digest()[:4], "big")


def _put(edit: CohortEdit, sets: Mapping[str, Sequence[Split]], source: str, *, replace: bool) -> None:
    known = edit.table("split_sets")
    splits = edit.table("splits")
    rows = []
    for name, own in sets.items():
        table = _table(name, own)
        before = splits.filter(pc.equal(splits["split_set"], name))
        if before.num_rows and not _same(before, table) and not replace:
            raise ConflictError(f"the store has a split set {name} with other splits: use another name, or --replace")
        if before.num_rows and _same(before, table) and not edit.is_lost("split_sets"):
            continue
        splits = pa.concat_tables([splits.filter(pc.not_equal(splits["split_set"], name)), table])
        known = known.filter(pc.not_equal(known["split_set"], name))
        rows.append({"split_set": name, "n_splits": len(own), "source": source})
    if rows:
        edit.replace("split_sets", pa.concat_tables([known, pa.Table.from_pylist(rows, known.schema)]))
        edit.replace("splits", splits)


def _table(name: str, splits: Sequence[Split]) -> pa.Table:
    from milstore.schema.arrow import arrow_schema

    rows = [
        {"split_set": name, "split": number, "case_id": case, "subset": subset}
        for number, split in enumerate(splits, start=1)
        for case, subset in split.items()
    ]
    return pa.Table.from_pylist(rows, arrow_schema("splits"))


def _same(one: pa.Table, other: pa.Table) -> bool:
    keys = [("split", "ascending"), ("case_id", "ascending"), ("subset", "ascending")]
    return bool(one.sort_by(keys).to_pylist() == other.sort_by(keys).to_pylist())
