"""What the demo cohort consists of: the study's published facts, and chance by a fixed seed for all the rest.

Published and kept to the letter: the cases and test sets, how many of each class are in every subset of every split,
the classes of five cases, the patches and slices of four. Drawn: the other cases' classes and sizes, the validation
sets, and where atypical nests are planted.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from milstore.demo.drawing import STAINS, SlicePlan
from milstore.store.names import natural_key
from milstore.store.pattern import canonical_slice

SEED = 390
"""Seed of the demo cohort."""

SPLIT_SET = "study"
"""Name of the demo's split set."""

CLASS_OF_GRADE = {"1": "benign", "3": "high-grade", "4": "high-grade"}
"""The study's label map: grade in the label file to class."""

KNOWN_CLASSES = {"23": 0, "46": 0, "38": 1, "44": 1, "64": 1}
"""Classes that the study names: benign 0, high-grade 1."""

KNOWN_SLICES = {
    "64": (4, 4, 4),
    "38": (5, 5, 5),
    "44": (2, 2, 2),
    "46": (1, 1, 1),
    "43": (1, 1, 1),
    "47": (1, 1, 1),
}
"""Slices in h&e, melan and sox10 where the study's tables settle them (43 and 47: the weights of three slices, one a
stain, sum to 1)."""

# How atypical a high-grade case is, and a benign case that looks suspicious. They overlap: some cases are hard.
_HIGH_GRADE_ATYPIA = (0.30, 0.95)
_SUSPICIOUS_ATYPIA = (0.22, 0.60)
# The cases that the study shows are clear: 46 looks high-grade and is benign, as the study's model had it.
_KNOWN_ATYPIA = {"46": 0.7, "38": 0.75, "44": 0.75, "64": 0.75}
_SUSPICIOUS_SHARE = 0.3
_MISSING_STAIN_SHARE = 0.12


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSlice:
    """A slice of a case, with the start of its files' names."""

    stem: str
    """File name up to the patch number, such as case_052_match_1_h&e_patch."""
    slice_name: str
    """The slice's name as the store has it, such as match_1."""
    slice_idx: int
    """Its position in natural order within case and stain."""
    drawing: SlicePlan
    """What to draw."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCase:
    """A case of the demo."""

    case_id: str
    label: int
    """benign 0, high-grade 1."""
    grade: str
    """The label as a label file of the study has it: 1, 3 or 4."""
    slices: tuple[PlannedSlice, ...]

    @property
    def n_patches(self) -> int:
        """Patches of all slices."""
        return sum(planned.drawing.n_patches for planned in self.slices)


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortPlan:
    """The whole demo."""

    seed: int
    cases: tuple[PlannedCase, ...]
    """In natural order."""
    splits: tuple[dict[str, str], ...]
    """For each split, the subset (train, val, test) of each case."""

    @property
    def n_patches(self) -> int:
        """Patches of all cases."""
        return sum(case.n_patches for case in self.cases)


def study_rows(name: str) -> list[dict[str, str]]:
    """The rows of a table of published facts, such as `test_cases`."""
    text = files("milstore.study").joinpath(f"{name}_published.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def plan_cohort(seed: int = SEED, cases: Iterable[str] | None = None) -> CohortPlan:
    """Plan the demo: the same seed gives the same plan.

    cases: plan only these cases, as they are in the whole demo (for tests); None for all 86.
    """
    rng = np.random.default_rng([seed, 1])
    tests = _test_sets()
    labels = _draw_labels(rng, tests)
    splits = [_draw_split(rng, split, test, labels) for split, test in tests.items()]
    suspicious = _draw_suspicious(rng, labels)
    ids = sorted(labels, key=natural_key)
    wanted = set(ids if cases is None else cases)
    planned = [
        _plan_case(seed, case_id, labels[case_id], case_id in suspicious) for case_id in ids if case_id in wanted
    ]
    kept = tuple({case: subset for case, subset in split.items() if case in wanted} for split in splits)
    return CohortPlan(seed=seed, cases=tuple(planned), splits=kept)


def _test_sets() -> dict[int, list[str]]:
    tests: dict[int, list[str]] = {}
    for row in study_rows("test_cases"):
        tests.setdefault(int(row["split"]), []).append(row["case_id"])
    return tests


def _count(split: int, subset: str, column: str) -> int:
    (row,) = [r for r in study_rows("split_counts") if int(r["split"]) == split and r["subset"] == subset]
    return int(row[column])


def _draw_labels(rng: np.random.Generator, tests: dict[int, list[str]]) -> dict[str, int]:
    """A class for each case, so that every test set has as many benign cases as published."""
    labels: dict[str, int] = {}
    for split, members in tests.items():
        fixed = sum(KNOWN_CLASSES.get(case) == 0 for case in members)
        free = [case for case in members if case not in KNOWN_CLASSES]
        drawn = rng.choice(len(free), _count(split, "test", "benign") - fixed, replace=False)
        benign = {free[i] for i in drawn}
        labels |= {case: KNOWN_CLASSES.get(case, 0 if case in benign else 1) for case in members}
    return labels


def _draw_split(rng: np.random.Generator, split: int, test: list[str], labels: dict[str, int]) -> dict[str, str]:
    """The subset of each case: test as published, validation drawn with the published number of each class."""
    subsets = dict.fromkeys(labels, "train") | dict.fromkeys(test, "test")
    for label, column in enumerate(("benign", "high_grade")):
        rest = sorted((c for c in labels if subsets[c] == "train" and labels[c] == label), key=natural_key)
        for i in rng.choice(len(rest), _count(split, "val", column), replace=False):
            subsets[rest[i]] = "val"
    return subsets


def _draw_suspicious(rng: np.random.Generator, labels: dict[str, int]) -> set[str]:
    """Benign cases that hold a few somewhat atypical cells; case 46, which the study's model got wrong, is one."""
    benign = sorted((case for case, label in labels.items() if label == 0), key=natural_key)
    drawn = rng.choice(len(benign), round(_SUSPICIOUS_SHARE * len(benign)), replace=False)
    return {benign[i] for i in drawn} | {"46"}


def _plan_case(seed: int, case_id: str, label: int, suspicious: bool) -> PlannedCase:
    rng = np.random.default_rng([seed, 2, int(case_id)])
    counts = _slice_counts(rng, case_id)
    sizes = _slice_sizes(rng, case_id, sum(counts.values()))
    atypia = float(rng.uniform(*(_HIGH_GRADE_ATYPIA if label else _SUSPICIOUS_ATYPIA)))
    atypia = _KNOWN_ATYPIA.get(case_id, atypia)
    cells = float(np.exp(0.35 * rng.standard_normal()))
    names = _slice_names(rng, max(counts.values()))
    padded, short = bool(rng.random() < 0.3), bool(rng.random() < 0.2)
    slices: list[PlannedSlice] = []
    for stain, count in counts.items():
        chosen = _planted_slices(rng, count, label, suspicious)
        for slice_idx in range(count):
            n_patches = sizes[len(slices)]
            drawing = SlicePlan(
                stain=stain,
                n_patches=n_patches,
                cells=cells,
                atypia=atypia,
                regions=_regions(rng, n_patches, label) if slice_idx in chosen else (),
                seed=(seed, 3, int(case_id), STAINS.index(stain), slice_idx),
            )
            stem = f"case_{int(case_id):03d}" if padded else f"case_{case_id}"
            spelled = "he" if short and stain == "h&e" else stain
            slices.append(
                PlannedSlice(
                    stem=f"{stem}_{names[slice_idx]}_{spelled}_patch",
                    slice_name=canonical_slice(names[slice_idx]),
                    slice_idx=slice_idx,
                    drawing=drawing,
                )
            )
    grade = "1" if label == 0 else ("3", "4")[int(rng.random() < 0.4)]
    return PlannedCase(case_id=case_id, label=label, grade=grade, slices=tuple(slices))


def _slice_counts(rng: np.random.Generator, case_id: str) -> dict[str, int]:
    """Slices in each stain; a stain that is missing has no entry."""
    drawn = rng.choice([1, 2, 3], len(STAINS), p=[0.3, 0.45, 0.25])
    missing = int(rng.integers(1, len(STAINS))) if rng.random() < _MISSING_STAIN_SHARE else None
    counts = dict(zip(STAINS, KNOWN_SLICES.get(case_id, drawn.tolist()), strict=True))
    needed = _published_slices(case_id)
    for stain, at_least in needed.items():
        counts[stain] = max(counts[stain], at_least)
    if missing is not None and not needed and case_id not in KNOWN_SLICES:
        del counts[STAINS[missing]]
    return {stain: int(count) for stain, count in counts.items()}


def _published_slices(case_id: str) -> dict[str, int]:
    """How many slices a stain must have so that the slices in the study's tables exist."""
    needed: dict[str, int] = {}
    for row in study_rows("selected_slices") + study_rows("top_patches"):
        if row["case_id"] == case_id:
            needed[row["stain"]] = max(needed.get(row["stain"], 0), int(row["slice_idx"]) + 1)
    return needed


def _slice_sizes(rng: np.random.Generator, case_id: str, n_slices: int) -> list[int]:
    """Patches of each slice; they add up to the published total where there is one."""
    totals = {row["case_id"]: int(row["total_patches"]) for row in study_rows("case_summaries")}
    if case_id not in totals:
        scale = 32 * np.exp(0.25 * rng.standard_normal())
        return [int(np.clip(scale * np.exp(0.3 * rng.standard_normal()), 12, 80)) for _ in range(n_slices)]
    share = np.exp(0.2 * rng.standard_normal(n_slices))
    ends = np.rint(np.cumsum(share / share.sum()) * totals[case_id]).astype(int)
    return [int(size) for size in np.diff(ends, prepend=0)]


def _slice_names(rng: np.random.Generator, count: int) -> list[str]:
    """Names as the study's files have them, in natural order: match_1, unmatched_6, unmatched2."""
    style = rng.random()
    if style < 0.75:
        return [f"match_{number}" for number in range(1, count + 1)]
    if style < 0.9:
        numbers = sorted(int(n) for n in rng.choice(np.arange(1, 13), count, replace=False))
        return [f"unmatched_{number}" for number in numbers]
    return [f"unmatched{number}" for number in range(1, count + 1)]


def _planted_slices(rng: np.random.Generator, count: int, label: int, suspicious: bool) -> set[int]:
    """Which slices of a stain hold a planted nest."""
    if label == 0 and not suspicious:
        return set()
    share = 0.65 if label else 0.5
    return {int(rng.integers(count))} | {i for i in range(count) if rng.random() < share}


def _regions(rng: np.random.Generator, n_patches: int, label: int) -> tuple[int, ...]:
    """Planted nests of a slice, by the patches they cover: most are a region, some a single patch."""
    if label == 0:
        return (int(rng.integers(1, 4)),)
    count = 1 + int(rng.random() < min(0.8, n_patches / 120))
    largest = max(3, n_patches // 10)
    return tuple(1 if rng.random() < 0.25 else int(rng.integers(2, largest + 1)) for _ in range(count))
