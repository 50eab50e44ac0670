"""The demo keeps what the study published, to the letter."""

from collections import Counter

import pytest

from milstore.demo.drawing import STAINS
from milstore.demo.plan import CLASS_OF_GRADE, CohortPlan, plan_cohort, study_rows
from milstore.store.names import natural_key


@pytest.fixture(scope="module")
def plan() -> CohortPlan:
    return plan_cohort()


def _slices(plan: CohortPlan, case_id: str) -> Counter[str]:
    (case,) = [case for case in plan.cases if case.case_id == case_id]
    return Counter(planned.drawing.stain for planned in case.slices)


def test_the_test_sets_are_the_published_ones(plan: CohortPlan) -> None:
    """Each split tests the published cases, and the five test sets partition the 86 cases."""
    published = {(int(row["split"]), row["case_id"]) for row in study_rows("test_cases")}
    tested = [(i, case) for i, split in enumerate(plan.splits, 1) for case in split if split[case] == "test"]
    assert set(tested) == published
    assert sorted(case for _, case in tested) == sorted(case.case_id for case in plan.cases)
    assert len(tested) == 86


def test_every_subset_has_the_published_classes(plan: CohortPlan) -> None:
    """Benign and high-grade cases of train, val and test are as many as published, in every split."""
    label = {case.case_id: case.label for case in plan.cases}
    found = {
        (i, subset): [sum(split[c] == subset and label[c] == y for c in split) for y in (0, 1)]
        for i, split in enumerate(plan.splits, 1)
        for subset in ("train", "val", "test")
    }
    published = {
        (int(row["split"]), row["subset"]): [int(row["benign"]), int(row["high_grade"])]
        for row in study_rows("split_counts")
    }
    assert found == published
    assert all(set(split) == set(label) for split in plan.splits)


def test_the_known_classes_are_kept(plan: CohortPlan) -> None:
    """Cases that the study names are of the class that it names; grades map to classes as in the study."""
    label = {case.case_id: case.label for case in plan.cases}
    published = {row["case_id"]: int(row["true_label"]) for row in study_rows("case_summaries")}
    assert {case: label[case] for case in published} == published
    assert (label["23"], Counter(label.values())) == (0, {1: 58, 0: 28})
    assert all(CLASS_OF_GRADE[case.grade] == ("benign", "high-grade")[case.label] for case in plan.cases)
    assert {case.grade for case in plan.cases} == {"1", "3", "4"}


def test_the_known_sizes_are_kept(plan: CohortPlan) -> None:
    """The four cases of the study's tables have the published patches and slices."""
    found = {case.case_id: (case.n_patches, len(case.slices)) for case in plan.cases}
    published = {
        row["case_id"]: (int(row["total_patches"]), int(row["total_slices"])) for row in study_rows("case_summaries")
    }
    assert {case: found[case] for case in published} == published
    assert _slices(plan, "64") == dict.fromkeys(STAINS, 4)
    assert _slices(plan, "38") == dict.fromkeys(STAINS, 5)
    assert _slices(plan, "44") == dict.fromkeys(STAINS, 2)
    assert _slices(plan, "46") == dict.fromkeys(STAINS, 1)
    assert _slices(plan, "43") == dict.fromkeys(STAINS, 1)


@pytest.mark.parametrize("table", ["selected_slices", "top_patches"])
def test_every_slice_of_the_study_exists(plan: CohortPlan, table: str) -> None:
    """Slices that the study's tables name are in the demo."""
    rows = study_rows(table)
    assert rows
    assert all(int(row["slice_idx"]) < _slices(plan, row["case_id"])[row["stain"]] for row in rows)


def test_the_cohort_is_as_varied_as_a_real_one(plan: CohortPlan) -> None:
    """A stain is missing in some cases, names are spelled in several ways, and it is of a size that a laptop can take."""
    assert 16_000 < plan.n_patches < 22_000
    assert any(len(_slices(plan, case.case_id)) == 2 for case in plan.cases)
    assert all("h&e" in _slices(plan, case.case_id) for case in plan.cases)
    stems = [planned.stem for case in plan.cases for planned in case.slices]
    assert len(set(stems)) == len(stems)
    for spelling in ("case_0", "_he_", "_h&e_", "_match_1_", "_unmatched_", "_unmatched1_"):
        assert any(spelling in stem for stem in stems), spelling
    names = [[p.slice_name for p in case.slices if p.drawing.stain == "h&e"] for case in plan.cases]
    assert names == [sorted(of_case, key=natural_key) for of_case in names]


def test_nests_are_planted_in_every_stain_of_high_grade_cases(plan: CohortPlan) -> None:
    """Each stain of a high-grade case has a slice with atypical cells; few benign cases have any, case 46 among them."""
    for case in plan.cases:
        planted = {planned.drawing.stain for planned in case.slices if planned.drawing.regions}
        assert planted in (set(_slices(plan, case.case_id)), set())
        assert planted or case.label == 0
    suspicious = {c.case_id for c in plan.cases if c.label == 0 and any(p.drawing.regions for p in c.slices)}
    assert "46" in suspicious
    assert 5 <= len(suspicious) <= 12


def test_the_same_seed_gives_the_same_plan(plan: CohortPlan) -> None:
    """A plan depends on its seed alone; a part of it is the same part of the whole."""
    assert plan_cohort() == plan
    assert plan_cohort(seed=1) != plan
    part = plan_cohort(cases=["46", "2"])
    assert part.cases == tuple(case for case in plan.cases if case.case_id in ("2", "46"))
    assert part.splits[1] == {case: plan.splits[1][case] for case in ("2", "46")}
