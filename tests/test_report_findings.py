"""What a report finds, in sentences: by class before pooled, with counts and intervals, and honest about few cases."""

from collections.abc import Mapping
from typing import Any

import pytest

from milstore.asking.selection import Choice
from milstore.report.answers import Answerer
from milstore.report.building import headlines
from milstore.report.findings import attended, between_splits, called_wrong_of, concentrated, findings, recognised
from milstore.store import Store

CLASSES = ("benign", "high-grade")


def _recall(true_class: str | None, scope: str, right: int, cases: int, low: float, high: float) -> dict[str, Any]:
    measure = "recall" if true_class else "accuracy"
    value = right / cases
    return {
        "measure": measure, "true_class": true_class, "scope": scope, "right": right, "cases": cases, "value": value,
        "low": low, "high": high,
    }  # fmt: skip


def _area(scope: str, value: float, low: float, high: float) -> dict[str, Any]:
    return {
        "measure": "AUC", "true_class": None, "scope": scope, "right": None, "cases": 86, "value": value, "low": low,
        "high": high,
    }  # fmt: skip


def test_recognition_is_told_by_class_then_pooled() -> None:
    """Counts, shares and intervals of each class come before those of all; the AUC is the mean over splits."""
    rows = [
        _recall("benign", "pooled", 21, 28, 0.566, 0.873),
        _recall("high-grade", "pooled", 53, 58, 0.814, 0.963),
        _recall(None, "pooled", 74, 86, 0.772, 0.918),
        _area("pooled", 0.919, 0.847, 0.979),
        _area("mean over splits", 0.941, 0.874, 0.986),
    ]
    assert recognised(rows) == (
        "21 of 28 benign cases called right (75%, 95% interval 57% to 87%); "
        "53 of 58 high-grade cases called right (91%, 95% interval 81% to 96%); "
        "all together 74 of 86 (86%, 95% interval 77% to 92%). "
        "AUC as mean over splits 0.94 (95% interval 0.87 to 0.99)."
    )


def test_few_cases_are_named() -> None:
    """A class of fewer than ten cases is named, and that its interval counts; a class without cases is said to have none."""
    rows = [
        _recall("benign", "split 4", 3, 5, 0.231, 0.882),
        {**_recall("high-grade", "split 4", 0, 1, 0, 1), "cases": 0, "value": None, "low": None, "high": None},
    ]
    assert recognised(rows) == (
        "3 of 5 benign cases called right (60%, 95% interval 23% to 88%); no high-grade case. "
        "Few cases (5 benign): go by the intervals, not by the shares."
    )


def test_the_splits_are_compared_by_their_intervals() -> None:
    """The lowest and the highest recall of a class, with counts; where their intervals overlap, it may be chance."""
    rows = [
        _recall("benign", "pooled", 9, 12, 0.4, 0.9),
        _recall("benign", "split 1", 3, 6, 0.188, 0.812),
        _recall("benign", "split 2", 6, 6, 0.61, 1.0),
        _recall("high-grade", "split 1", 2, 40, 0.014, 0.165),
        _recall("high-grade", "split 2", 38, 40, 0.835, 0.986),
    ]
    assert between_splits(rows) == (
        "recall of benign goes from 50% (3 of 6, split 1) to 100% (6 of 6, split 2): "
        "their 95% intervals overlap, so that chance alone may give this; "
        "recall of high-grade goes from 5% (2 of 40, split 1) to 95% (38 of 40, split 2): "
        "their 95% intervals do not overlap."
    )
    assert between_splits(rows[1:2]) == (
        "One training answers: how much its numbers would change with another split is not known."
    )


def _case(case_id: str, true_class: str | None, p_true: float | None, margin: float) -> dict[str, Any]:
    outcome = None if p_true is None else "right" if p_true > 0.5 else "wrong"
    return {"case_id": case_id, "true_class": true_class, "p_true": p_true, "margin": margin, "outcome": outcome}


def test_errors_are_told_by_class_with_the_close_ones() -> None:
    """How many cases of each class were called wrong, how many closely, and the most wrong; cases without label are none."""
    rows = [
        _case("1", "high-grade", 0.9, 0.4),
        _case("2", "benign", 0.45, 0.05),
        _case("3", "benign", 0.1, 0.4),
        _case("4", "benign", 0.8, 0.3),
        _case("5", None, None, 0.2),
    ]
    assert called_wrong_of(rows, CLASSES) == (
        "2 of 3 benign cases called wrong, 1 of these closely; 0 of 1 high-grade case called wrong; "
        "all together 2 of 4 cases (50%, 95% interval 15% to 85%). Close is a margin of at most 0.1. "
        "Most wrong is case 3 (benign, p(true class) 0.100)."
    )


def test_cases_of_several_runs_are_predictions_without_an_interval() -> None:
    """Where runs share cases, predictions are counted, and no interval claims that they were independent."""
    rows = [_case("2", "benign", 0.45, 0.05), _case("2", "benign", 0.6, 0.1)]
    assert called_wrong_of(rows, CLASSES).startswith(
        "1 of 2 benign predictions called wrong, 1 of these closely; all together 1 of 2 predictions (50%). "
    )


def _rho(true_class: str, rho: float, low: float, high: float, n: int = 30, **others: Any) -> dict[str, Any]:
    row = {
        "top": "top 5%", "true_class": true_class, "rho": rho, "rho_low": low, "rho_high": high, "p_value": 0.01, "n": n,
        "n_cases": n, "pooled_rho": None, "pooled_low": None, "pooled_high": None,
    }  # fmt: skip
    return row | others


def test_opposite_classes_are_not_pooled() -> None:
    """A class rises and the other goes no clear way: each is told with its interval, and no pooled figure hides them."""
    rows = [
        {**_rho("benign", 0, 0, 0), "top": "top 1"},
        _rho("benign", 0.65, 0.36, 0.83),
        _rho("high-grade", -0.25, -0.49, 0.02),
    ]
    assert concentrated(rows, CLASSES) == (
        "As the top 5% of a case's patches hold more of its attention, "
        "in benign cases the error rises: ρ = 0.65 (95% interval 0.36 to 0.83), p = 0.010, 30 cases; "
        "in high-grade cases the error goes no clear way: ρ = −0.25 (95% interval −0.49 to 0.02), p = 0.010, 30 cases; "
        "not pooled: not all classes go the same way."
    )


def test_a_correlation_of_few_cases_has_no_direction() -> None:
    """Of five cases no direction is told, however large rho is; a pooled rho is told where there is one."""
    pooled = {"pooled_rho": -0.6, "pooled_low": -0.8, "pooled_high": -0.3}
    rows = [_rho("benign", -0.9, -0.99, -0.1, 5, **pooled), _rho("high-grade", -0.5, -0.7, -0.2, **pooled)]
    assert concentrated(rows, CLASSES) == (
        "As the top 5% of a case's patches hold more of its attention, in benign cases the error goes a way that too few "
        "can tell: ρ = −0.90 (95% interval −0.99 to −0.10), p = 0.010, 5 cases; "
        "in high-grade cases the error falls: ρ = −0.50 (95% interval −0.70 to −0.20), p = 0.010, 30 cases; "
        "pooled within the classes: ρ = −0.60 (95% interval −0.80 to −0.30). "
        "Few cases (5 benign): go by the intervals, not by the shares."
    )


def _led(true_class: str, case_id: str, leads: Mapping[str, int], tied: int = 0, of: int = 12) -> list[dict[str, Any]]:
    return [
        {
            "run_id": "r", "case_id": case_id, "true_class": true_class, "stain": stain, "leads_in_class": n,
            "cases_in_class": of, "tied_in_class": tied,
        }
        for stain, n in leads.items()
    ]  # fmt: skip


def test_the_leading_stain_is_pooled_only_where_classes_agree() -> None:
    """The stain of highest weight, with how many cases of each class; over all only if it is the same stain."""
    benign = _led("benign", "1", {"h&e": 3, "melan": 8}, tied=1)
    assert attended([*benign, *_led("high-grade", "2", {"h&e": 2, "melan": 10})], CLASSES) == (
        "The stain of highest weight: in benign cases melan (8 of 12, 67%, 95% interval 39% to 86%), none in 1; "
        "in high-grade cases melan (10 of 12, 83%, 95% interval 55% to 95%); "
        "all together melan (18 of 24, 75%, 95% interval 55% to 88%)."
    )
    assert attended([*benign, *_led("high-grade", "2", {"h&e": 10, "melan": 2})], CLASSES).endswith(
        "; not pooled: the classes do not have the same leading stain."
    )
    assert attended(_led("benign", "1", {"all": 12}), CLASSES) == "There is one stain, all: its share says nothing."


def test_the_findings_of_a_store_are_five(three: Store) -> None:
    """Of three cases the five findings count what is there, and warn of so few."""
    found = {finding.name: finding.words for finding in findings(Answerer(three, Choice()))}
    assert list(found) == ["Recognised", "From split to split", "Errors", "Concentration", "Where attention goes"]
    assert found["Recognised"] == (
        "1 of 2 benign cases called right (50%, 95% interval 9% to 91%); "
        "1 of 1 high-grade case called right (100%, 95% interval 21% to 100%); "
        "all together 2 of 3 (67%, 95% interval 21% to 94%). AUC pooled 1.00 (no interval). "
        "Few cases (2 benign, 1 high-grade): go by the intervals, not by the shares."
    )
    assert found["Errors"] == (
        "1 of 2 benign cases called wrong, 0 of these closely; 0 of 1 high-grade case called wrong; "
        "all together 1 of 3 cases (33%, 95% interval 6% to 79%). Close is a margin of at most 0.1. "
        "Most wrong is case 10 (benign, p(true class) 0.300)."
    )


@pytest.mark.parametrize("rows", [[], [_case("5", None, None, 0.2)]])
def test_without_labels_nothing_is_claimed(rows: list[dict[str, Any]]) -> None:
    """Where no case has a label, errors are not known, and it is said."""
    assert called_wrong_of(rows, CLASSES) == "Not known: no case of this answer has a label."


def test_the_headline_of_the_area_is_its_mean_over_splits() -> None:
    """What the cards say is what the findings say: the AUC as mean over splits, with its interval; pooled behind it."""
    rows = [_area("pooled", 0.919, 0.847, 0.979), _area("mean over splits", 0.941, 0.874, 0.986)]
    assert [(line.value, line.detail) for line in headlines(rows)] == [
        ("0.94", "86 cases; 95% interval 0.87 to 0.99; mean over splits; pooled 0.92")
    ]
