"""What charts say under their titles of the store of three cases, and how a case stands out in them."""

from typing import Any

import pandas as pd
import pytest

from milstore.asking.selection import Choice
from milstore.charts import case_pictures, roc
from milstore.charts.render import drawing
from milstore.charts.theme import About
from milstore.store import Store
from tests.drawing import drawn
from tests.test_chart_specs import datum, marks

ANSWERS = {
    "recall": [
        "1 of 2 benign cases called right (50%, 95% interval 9% to 91%); 1 of 1 high-grade case called right "
        "(100%, 95% interval 21% to 100%).",
        "Accuracy 67% (2 of 3); balanced accuracy 75%; AUC 1.00.",
    ],
    "roc": ["AUC 1.00 pooled; undefined in each split; 1 high-grade case and 2 others."],
    "confusion": ["1 of 2 benign cases called wrong; 0 of 1 high-grade case called wrong."],
    "misclassified": ["1 of 2 benign cases called wrong; 0 of 1 high-grade case called wrong."],
    "near-threshold": [
        "Margin up to 0.3: 1 of 2 cases called wrong, of 3 cases in all; the closest is case 10 with 0.300."
    ],
    "loss-curves": [
        "Kept epochs 1 of 2, 1 of 2, 1 of 2; validation loss ended higher than there in 3 of 3 runs (by up to 0.10)."
    ],
    "provenance": ["All 3 runs agree in cohort, features, patches, config and code: their numbers may be compared."],
    "split-balance": [
        "Share of high-grade cases, the rarest class: training 0% to 100%, validation 0% to 100%, test 0% to 100%."
    ],
    "coverage": ["Nothing was lost: training could see, and evaluation used, all 19 patches of 3 cases."],
    "compare-runs": ["Median Spearman's ρ of the 3 pairs: 1.00; Jaccard of the top 5% 1.00."],
}
"""By question: the answer, counted by hand; then comes the run or experiment."""


@pytest.mark.parametrize("name", ANSWERS)
def test_the_answer_stands_under_the_title(three: Store, name: str) -> None:
    """The first lines under the question say the answer with its counts; the next names who answered."""
    values = {"margin": 0.3} if name == "near-threshold" else None
    said = " ".join(drawn(three, name, None, values)["title"]["subtitle"])
    assert said.startswith(f"{' '.join(ANSWERS[name])} experiment exp, ")


def asked(spec: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The rows that marks of a kind draw around, filtered by `asked`."""
    found = []
    for mark in marks(spec, kind):
        if {"filter": "datum.asked"} in mark.get("transform", []):
            found += [row for row in datum(spec, mark) if row["asked"]]
    return found


def test_recall_rings_the_split_that_held_the_case(three: Store) -> None:
    """All splits are drawn, and the dot of the case's class is ringed in the split that tested it."""
    spec = drawn(three, "recall", Choice(cases=("46",)))
    assert {(row["true_class"], row["scope"]) for row in asked(spec, "point")} == {("benign", "split 3")}
    assert len({row["scope"] for rows in spec["datasets"].values() for row in rows}) == 5
    assert "Ringed, for case 46: split 3, which held it in test (benign, called right)." in spec["title"]["subtitle"]


def test_confusion_frames_the_cell_of_the_case(three: Store) -> None:
    """Case 10 was taken for high-grade in split 2: that cell is framed, in the grids of all splits."""
    spec = drawn(three, "confusion", Choice(cases=("10",)))
    assert [(row["scope"], row["true_class"], row["pred_class"]) for row in asked(spec, "rect")] == [
        ("split 2", "benign", "high-grade")
    ]
    assert "Framed: case 10." in spec["title"]["subtitle"]


def test_split_balance_frames_where_the_case_is(three: Store) -> None:
    """A case is in one subset of each split: three splits, three frames."""
    spec = drawn(three, "split-balance", Choice(cases=("46",)))
    assert [(row["split"], row["subset"]) for row in asked(spec, "bar")] == [
        ("split 1", "training"), ("split 2", "validation"), ("split 3", "test"),
    ]  # fmt: skip


def test_a_list_says_that_a_case_is_not_in_it(three: Store) -> None:
    """A case that was called right is told beside the list of those that were not."""
    said = drawn(three, "misclassified", Choice(cases=("46",)))["title"]["subtitle"]
    assert "Case 46 (benign, called right) is not among these: probability of the true class 0.800." in said
    spec = drawn(three, "misclassified", Choice(cases=("10",)))
    assert (
        "Case 10 (benign, called wrong) is among these: probability of the true class 0.300."
        in spec["title"]["subtitle"]
    )
    assert [row["case_id"] for row in asked(spec, "point")] == ["10"]


def test_a_case_that_was_not_tested_is_told_and_not_counted(three: Store) -> None:
    """Asked of the run that trained on it, a case is called right or wrong beside the counts of the test subset."""
    said = drawn(three, "near-threshold", Choice(run="exp-s1-0", cases=("10",)), {"margin": 0.5})["title"]["subtitle"]
    assert said[:2] == [
        "Margin up to 0.5: 0 of 1 case called wrong, of 1 case in all; the closest is case 2 with 0.900.",
        "Case 10 (benign, called wrong) is among these: probability of the true class 0.300.",
    ]


def test_roc_rings_where_a_case_is_taken_for_the_class() -> None:
    """From a threshold of 0.6 on the case of 0.6 is taken for high-grade: that corner is ringed, and the other split faded."""
    points = {
        "split 1": [(None, 0, 0), (0.9, 0, 0.5), (0.6, 0.5, 0.5), (0.1, 1, 1)],
        "split 2": [(None, 0, 0), (0.5, 1, 1)],
    }
    frame = pd.DataFrame(
        [
            {"curve": curve, "threshold": threshold, "false_positive_rate": false, "true_positive_rate": true, "auc": 0.5,
             "low": 0.2, "high": 0.9, "positives": 2, "negatives": 2, "positive_class": "high-grade", "n_classes": 2, "note": None}
            for curve, corners in points.items()
            for threshold, false, true in corners
        ]
    )  # fmt: skip
    call = {"case_id": "7", "true_class": "benign", "outcome": "wrong", "probability_of": "high-grade", "probability": 0.6,
            "split": 1, "run_id": "r", "beside": False}  # fmt: skip
    about = About(title="t", subtitle="s", class_names=["benign", "high-grade"], cases=["7"], calls=[call])
    spec = roc.chart(frame, about).to_dict()
    ((ringed, *_),) = [datum(spec, mark) for mark in marks(spec, "point") if mark["encoding"]["x"]["field"] != "auc"]
    assert (ringed["curve"], ringed["false_positive_rate"], ringed["true_positive_rate"]) == ("split 1", 0.5, 0.5)
    assert (
        "Case 7 (benign, called wrong), in split 1: probability of high-grade 0.60. Ringed: from here on"
        in " ".join(spec["title"]["subtitle"])
    )
    faded = {row["curve"]: row["faded"] for rows in spec["datasets"].values() for row in rows if "faded" in row}
    assert faded == {"split 1": False, "split 2": True}


def test_provenance_and_loss_curves_name_the_run_of_a_case(three: Store) -> None:
    """The run that held the case in test is framed, and its panel carries the case's name."""
    spec = drawn(three, "provenance", Choice(cases=("46",)))
    assert {row["run"] for row in asked(spec, "rect")} == {"exp-s3-0"}
    panels = {
        row["panel"]: row["run_id"]
        for rows in drawn(three, "loss-curves", Choice(cases=("46",)))["datasets"].values()
        for row in rows
    }
    assert panels["split 3 · kept 1 · case 46"] == "exp-s3-0"


def test_pairs_of_runs_show_the_case_among_all(three: Store) -> None:
    """The dots stay those of all cases, and a ring stands at the case's own value."""
    spec = drawn(three, "compare-runs", Choice(cases=("46",)))
    rows = max(spec["datasets"].values(), key=len)
    assert [(row["cases"], row["spearman"], row["spearman_own"]) for row in rows] == [(3, 1.0, 1.0)] * 3
    assert "Case 46: Spearman's ρ 1.00." in spec["title"]["subtitle"]


def test_wrong_cases_are_shown_with_pictures(tmp_path: Any, three: Store) -> None:
    """Where patch images lie, each case that is called wrong has those that attention went to, from the most attended down."""
    from PIL import Image

    from milstore.ingest.patches import ingest_patches

    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    folder = tmp_path / "patches"
    folder.mkdir()
    # Case 10's most attended: 10 (h&e 0), 8, 7 (sox10 0 and 1) of forty parts.
    for name, colour in zip(("1_h&e_patch0", "1_sox10_patch0", "1_sox10_patch1"), colours, strict=True):
        Image.new("RGB", (64, 64), colour).save(folder / f"case_10_match_{name}.png")
    ingest_patches(three, folder)
    frame = drawing(three, "misclassified").spec
    (row,) = [row for rows in frame["datasets"].values() for row in rows if row.get("case_id") == "10"][:1]
    shown = [row[name] for name in case_pictures.COLUMNS]
    assert all(uri.startswith("data:image/") for uri in shown)
    assert len(set(shown)) == 3
