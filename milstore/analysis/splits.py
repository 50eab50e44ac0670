"""Are these splits fair? How the classes are spread over the subsets, and what would leak or be missing."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from milstore.errors import StoreError, UsageError
from milstore.schema.columns import SUBSETS
from milstore.store import Store
from milstore.store.case_gaps import gaps_of
from milstore.store.case_groups import stored_groups, torn_lines
from milstore.store.cohort import Cohort, read_cohort
from milstore.store.features import open_features
from milstore.store.names import counted, named, natural_key, nearest
from milstore.store.split_numbers import matching_split_sets

Subsets = dict[str, str]
"""Subset of each case of one split."""


@dataclass(frozen=True, slots=True)
class Balance:
    """How one split spreads the classes."""

    split: int
    classes: tuple[str, ...]
    """Class names in the order of their numbers, and "no label" at the end where it is needed."""
    counts: dict[str, tuple[int, ...]]
    """Cases of each class, by subset."""
    test_cases: tuple[str, ...]
    """The cases of the test subset, in natural order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    kind: str
    """`kept` for a promise that holds, `note` for what one should know, `broken` for a fault."""
    text: str


@dataclass(frozen=True, slots=True)
class SplitsCheck:
    """What `check_splits` found in one split set."""

    split_set: str
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is broken."""
        return all(finding.kind != "broken" for finding in self.findings)


def split_sets(cohort: Cohort, split_set: str | None = None) -> list[str]:
    """All split sets, or those that are meant by a name or a pattern, as `matching_split_sets` finds them.

    Raises:
        StoreError: there is none.
        UsageError: none has this name.
    """
    names = sorted(cohort.table("split_sets")["split_set"].to_pylist(), key=natural_key)
    if not names:
        raise StoreError("the store has no splits: run milstore splits make or milstore ingest splits")
    if split_set is None:
        return names
    found = matching_split_sets(names, split_set)
    if not found:
        raise UsageError(f"the store has no split set {split_set!r}: {nearest(split_set, names)}")
    return found


def read_splits(cohort: Cohort, split_set: str) -> dict[int, Subsets]:
    """The subset of each case, for each split of a split set."""
    table = cohort.table("splits")
    splits: dict[int, Subsets] = {}
    for row in table.filter(pc.equal(table["split_set"], split_set)).to_pylist():
        splits.setdefault(row["split"], {})[row["case_id"]] = row["subset"]
    return dict(sorted(splits.items()))


def split_cases(cohort: Cohort, split_set: str | None = None) -> set[str]:
    """The cases of all split sets, or of the one that is named. Errors as for `split_sets`."""
    return {
        case
        for name in split_sets(cohort, split_set)
        for subsets in read_splits(cohort, name).values()
        for case in subsets
    }


def balance(cohort: Cohort, split_set: str) -> list[Balance]:
    """How each split of a split set spreads the classes over train, val and test."""
    class_of = _class_of(cohort)
    names = tuple(
        row["class_name"] for row in sorted(cohort.table("classes").to_pylist(), key=lambda row: row["label"])
    )
    splits = read_splits(cohort, split_set)
    if any(class_of.get(case) is None for subsets in splits.values() for case in subsets):
        names = (*names, "no label")
    found = []
    for number, subsets in splits.items():
        counts = Counter((subset, class_of.get(case) or "no label") for case, subset in subsets.items())
        by_subset = {subset: tuple(counts[subset, name] for name in names) for subset in SUBSETS}
        test = sorted((case for case, subset in subsets.items() if subset == "test"), key=natural_key)
        found.append(Balance(number, names, by_subset, tuple(test)))
    return found


_DRAWN = "if each test set was drawn on its own, as CLAM's are, say so by --overlapping"


def check_splits(
    store: Store,
    split_set: str | None = None,
    groups: Mapping[str, str | None] | None = None,
    *,
    overlapping: bool = False,
) -> list[SplitsCheck]:
    """Look for leaks and gaps in all split sets, or in the one that is named.

    Args:
        store: the store.
        split_set: the split set; all of them if left out.
        groups: the group (such as the patient) of each case; None for one that stands for itself. Those of the store if
            left out.
        overlapping: whether the test sets were drawn each on its own, as CLAM's are, and so may share cases, and leave some
            out.

    Raises:
        StoreError: there are no splits.
        UsageError: no split set has this name.
    """
    cohort = read_cohort(store)
    encoded = {
        encoder: set(open_features(store, cohort, encoder).case_rows)
        for encoder in cohort.table("encoders")["encoder"].to_pylist()
    }
    class_of = _class_of(cohort)
    groups = stored_groups(cohort.table("case_groups")) if groups is None else groups
    checks = []
    for name in split_sets(cohort, split_set):
        splits = read_splits(cohort, name)
        cases = {case for subsets in splits.values() for case in subsets}
        findings = [
            *_subsets(splits),
            *(_groups(splits, groups) if groups else []),
            *_partition(splits, cases, overlapping=overlapping),
            *_classes(splits, class_of),
            *_labels(cases, class_of),
            *_features(cases, encoded),
            *_gaps(cohort, cases),
        ]
        checks.append(SplitsCheck(name, tuple(findings)))
    return checks


def _class_of(cohort: Cohort) -> dict[str, str | None]:
    cases = cohort.table("cases")
    return dict(zip(cases["case_id"].to_pylist(), cases["class_name"].to_pylist(), strict=True))


def _listed(cases: set[str]) -> str:
    ordered: list[str] = sorted(cases, key=natural_key)
    return named(ordered)


def _cases(cases: set[str]) -> str:
    return f"{counted(len(cases), 'case')} ({_listed(cases)})"


def _subsets(splits: dict[int, Subsets]) -> list[Finding]:
    wrong = sorted({subset for subsets in splits.values() for subset in subsets.values()} - set(SUBSETS))
    if wrong:
        return [Finding("broken", f"there are subsets called {named(wrong)}, which mean nothing")]
    # (split set, split, case) is the key of the table, so that a case has one subset in each split.
    return [Finding("kept", f"no case is in two subsets of a split ({counted(len(splits), 'split')})")]


def _groups(splits: dict[int, Subsets], groups: Mapping[str, str | None]) -> list[Finding]:
    findings = [Finding("broken", line) for line in torn_lines(splits, groups)]
    if not findings:
        cases = {case for subsets in splits.values() for case in subsets}
        alone = {case for case in cases if groups.get(case) is None}
        count = len({groups[case] for case in cases - alone})
        findings.append(Finding("kept", f"no group is torn apart ({counted(count, 'group')})"))
        if alone:
            findings.append(Finding("note", f"in no group: {_cases(alone)}"))
    return findings


def _partition(splits: dict[int, Subsets], cases: set[str], *, overlapping: bool) -> list[Finding]:
    tests = Counter(case for subsets in splits.values() for case, subset in subsets.items() if subset == "test")
    if len(splits) == 1:
        return [Finding("note", f"there is one split, and its test set holds {len(tests)} of the {len(cases)} cases")]
    several = {case for case, count in tests.items() if count > 1}
    never = cases - set(tests)
    kind = "note" if overlapping else "broken"
    findings = []
    if several:
        what = "each answers from the lowest split, and rates count it once" if overlapping else _DRAWN
        findings.append(Finding(kind, f"in several test sets: {_cases(several)}: {what}"))
    if never:
        findings.append(Finding(kind, f"in no test set: {_cases(never)}"))
    if not findings:
        findings.append(Finding("kept", f"the test sets partition the {len(cases)} cases"))
    absent = {number: cases - set(subsets) for number, subsets in splits.items() if cases - set(subsets)}
    for number, missing in absent.items():
        findings.append(Finding("note", f"not in split {number}: {_cases(missing)}"))
    return findings


def _classes(splits: dict[int, Subsets], class_of: Mapping[str, str | None]) -> list[Finding]:
    wanted = {name for subsets in splits.values() for case in subsets if (name := class_of.get(case)) is not None}
    findings = []
    for number, subsets in splits.items():
        for subset in SUBSETS:
            present = {class_of.get(case) for case, own in subsets.items() if own == subset}
            if subset == "val" and not present:
                text = f"split {number} has no validation subset: train it with --keep last or --evaluate-epoch"
                findings.append(Finding("note", text))
                continue
            missing = sorted(wanted - present)
            if missing or not present:
                findings.append(Finding("broken", f"split {number} has no {named(missing) or 'case'} in {subset}"))
    sound = all(finding.kind != "broken" for finding in findings)
    if sound and len(wanted) > 1:
        what = "both classes are" if len(wanted) == 2 else f"all {len(wanted)} classes are"
        findings.append(Finding("kept", f"{what} in every subset"))
    elif sound:
        findings.append(Finding("broken", "there are not two classes to tell apart: ingest the labels"))
    return findings


def _labels(cases: set[str], class_of: Mapping[str, str | None]) -> list[Finding]:
    unlabelled = {case for case in cases if class_of.get(case) is None}
    unused = {case for case, name in class_of.items() if name is not None and case not in cases}
    findings = []
    if unlabelled:
        findings.append(Finding("broken", f"without a label: {_cases(unlabelled)}"))
    else:
        findings.append(Finding("kept", "every case has a label"))
    if unused:
        findings.append(Finding("note", f"labelled, but in no split: {_cases(unused)}"))
    return findings


def _gaps(cohort: Cohort, cases: set[str]) -> list[Finding]:
    """What is missing of the store's other cases, and the ids that look alike."""
    missing = gaps_of(cohort)
    findings = []
    for what, own in (("without any patch", missing.without_patches), ("without a label", missing.without_label)):
        beside = f", {len(set(own) - cases)} of them in no split" if set(own) - cases else ""
        if own:
            findings.append(Finding("note", f"in the store, {what}: {_cases(set(own))}{beside}"))
    return [*findings, *(Finding("note", line) for line in missing.alike_lines())]


def _features(cases: set[str], encoded: Mapping[str, set[str]]) -> list[Finding]:
    if not encoded:
        return [Finding("note", "the store has no features yet: run milstore ingest features or milstore encode")]
    nowhere = cases - set().union(*encoded.values())
    findings = []
    if nowhere:
        findings.append(Finding("broken", f"without features: {_cases(nowhere)}"))
    for encoder, own in sorted(encoded.items()):
        missing = cases - own - nowhere
        if missing:
            findings.append(Finding("note", f"without features by {encoder}: {_cases(missing)}"))
    return findings or [Finding("kept", "every case has features")]
