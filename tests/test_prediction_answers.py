"""A prediction answers every question where it is asked for, beside the internal test, and nowhere else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import milstore
from milstore import queries
from milstore.analysis.intervals import wilson
from milstore.api import OpenStore
from milstore.asking.selection import Choice
from milstore.errors import MilstoreError, UsageError
from milstore.predicting.arrival import Given, Labels
from milstore.predicting.calls import PredictReport
from milstore.predicting.predict import predict
from milstore.report.building import build_report
from milstore.store import Store
from milstore.store.run_reader import read_run, run_ids
from tests.crossing import WHOLE
from tests.predicting import EXPERIMENT, NEW_LABELS, feature_files, labels_file, trained_store

QUESTIONS = queries.available()


def ask(opened: OpenStore, name: str, **words: Any) -> list[dict[str, Any]] | str:
    """The rows of an answer, or the line by which it is refused."""
    try:
        return opened.query(name, **words).records()
    except MilstoreError as error:
        return str(error)


def one_of_each_kind() -> list[str]:
    """Of the questions for which runs are chosen in one way, the first; all where everything is tried."""
    kinds: dict[object, str] = {}
    for name in reversed(QUESTIONS):
        asked = queries.load(name)
        over = (asked.over_runs, asked.over_tests, asked.over_repeats, asked.over_experiments)
        kinds[name if WHOLE else (*over, asked.wants_case, asked.needs_attention)] = name
    return sorted(kinds.values())


def answers(
    opened: OpenStore, names: Sequence[str], cases: tuple[str, ...], **words: Any
) -> dict[str, list[dict[str, Any]] | str]:
    """What questions answer, of a case where they are of one."""
    found = {}
    for name in names:
        own = {"case": cases[0]} if queries.load(name).wants_case else {}
        found[name] = ask(opened, name, **own, **words)
    return found


class Predicted:
    """A store before and after an external cohort came."""

    def __init__(self, folder: Path) -> None:
        self.store: Store = trained_store(folder / "store")
        self.opened = milstore.open(self.store.root)
        self.before = answers(self.opened, one_of_each_kind(), ("11",))
        self.sql_before = self.opened.sql("select * exclude run_id from out_of_fold order by all").rows()
        given = Given(
            features=feature_files(folder / "new", *NEW_LABELS), labels=Labels(file=labels_file(folder / "labels.csv"))
        )
        self.report: PredictReport = predict(self.store, EXPERIMENT, given=given, name="ext", threads=1)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    """Four labelled new cases, predicted by the four runs of experiment `tiny` under the name `ext`."""
    return Predicted(tmp_path_factory.mktemp("predicted"))


def test_unasked_nothing_of_it_shows(predicted: Predicted) -> None:
    """No question, and no view, answers anything else than it did before the prediction was there.

    Here one of each kind is asked, by `make torture` all.
    """
    assert answers(predicted.opened, one_of_each_kind(), ("11",)) == predicted.before
    after = predicted.opened.sql("select * exclude run_id from out_of_fold order by all").rows()
    assert after == predicted.sql_before
    titles = {predicted.opened.query(name, experiment=EXPERIMENT).title for name in ("recall", "provenance")}
    assert all("4 runs" in title for title in titles)


def test_every_question_answers_of_it(predicted: Predicted) -> None:
    """All questions have rows, from the mean or from the run of each model; none that of the course of a training, and that
    of regions, which nobody drew here."""
    found = answers(predicted.opened, QUESTIONS, ("21",), prediction="ext")
    assert (found.pop("loss-curves"), found.pop("regions")) == ([], [])
    models = {run_id for run_id in run_ids(predicted.store) if read_run(predicted.store, run_id)["source_run_id"]}
    for name, rows in found.items():
        assert isinstance(rows, list), (name, rows)
        assert rows, name
        of = models if queries.load(name).over_runs else {predicted.report.run_id}
        assert {row["run_id"] for row in rows if "run_id" in row} <= of, name
        if "case_id" in rows[0]:
            assert {row["case_id"] for row in rows} <= set(NEW_LABELS), name


def test_a_case_is_answered_once_with_the_range_of_its_models(predicted: Predicted) -> None:
    """deviation and near-threshold show the mean, and beside it the lowest and highest that a model gives."""
    result = predicted.opened.query("deviation", prediction="ext")
    assert result.title == "prediction ext, mean of 4 models of experiment tiny, new cases"
    rows = {row["case_id"]: row for row in result.records()}
    assert len(rows) == len(result.rows()) == 4
    for call in predicted.report.calls:
        row = rows[call.case_id]
        own = (call.probability, call.lowest, call.highest)
        if call.pred_class == "benign":
            # The question is of the highest class.
            own = (1 - call.probability, 1 - call.highest, 1 - call.lowest)
        assert (row["probability"], row["lowest"], row["highest"]) == pytest.approx(own)
        assert row["lowest"] <= row["probability"] <= row["highest"]
    close = predicted.opened.query("near-threshold", prediction="ext", margin=0.5).records()
    for row in close:
        assert row["lowest"] <= row["p_true"] <= row["highest"]
    assert "lowest" not in predicted.opened.query("deviation").columns


def test_recall_stands_beside_the_internal_test(predicted: Predicted) -> None:
    """Recall, accuracy and AUC of the new cases with counts and intervals, and behind them those of all test cases."""
    right = dict.fromkeys(("benign", "high-grade"), 0)
    for call in predicted.report.calls:
        right[str(call.true_class)] += call.pred_class == call.true_class
    result = predicted.opened.query("recall", prediction="ext")
    rows = {(row["scope"], row["measure"], row["true_class"]): row for row in result.records()}
    for name, count in right.items():
        row = rows["new cases", "recall", name]
        assert (row["right"], row["cases"]) == (count, 2)
        assert (row["low"], row["high"]) == pytest.approx(wilson(count, 2))
    internal = {
        (row["measure"], row["true_class"]): row
        for row in predicted.opened.query("recall", experiment=EXPERIMENT).records()
        if row["scope"] == ("mean over runs" if row["measure"] == "AUC" else "pooled")
    }
    assert len(internal) == 5
    for (measure, name), row in internal.items():
        beside = rows["internal test", measure, name]
        assert {**beside, "scope": None} == {**row, "scope": None}
    assert len(rows) == 10
    assert "internal test: the test cases of tiny" in result.notes


def test_confusion_and_roc_stand_beside_the_internal_test(predicted: Predicted) -> None:
    """The table of confusions has both scopes with all cases, and the curves are two."""
    rows = predicted.opened.query("confusion", prediction="ext").records()
    totals: dict[str, int] = {}
    for row in rows:
        totals[row["scope"]] = totals.get(row["scope"], 0) + row["cases"]
    assert totals == {"new cases": 4, "internal test": 6}
    curves = predicted.opened.query("roc", prediction="ext").records()
    assert list(dict.fromkeys(row["curve"] for row in curves)) == ["new cases", "internal test"]
    assert {row["positives"] + row["negatives"] for row in curves if row["curve"] == "new cases"} == {4}


def test_one_case_is_asked_without_the_internal_test(predicted: Predicted) -> None:
    """Beside the cases that are asked for, no row of the internal test stands."""
    result = predicted.opened.query("recall", prediction="ext", case=["21", "22"])
    assert {row["scope"] for row in result.records()} == {"new cases"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"prediction": "ex"}, "there is no prediction 'ex': did you mean ext?"),
        (
            {"prediction": "ext", "experiment": "tiny"},
            "--prediction ext says which run answers: leave out --experiment",
        ),
        ({"prediction": "ext", "seed": 0}, "--prediction ext says which run answers: leave out --seed"),
        ({"prediction": "ext", "subset": "test"}, "leave out --subset test"),
        ({"experiment": "ext"}, "ext is no experiment but a prediction: ask of it by --prediction ext"),
        ({"experiment": "tiny", "subset": "new"}, "there are new cases in predictions alone"),
        ({"prediction": "ext", "case": "11"}, "case '11' is in the cohort, but no run that answers has predicted it"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(predicted: Predicted, words: dict[str, Any], said: str) -> None:
    """A prediction names the run that answers: what names another is refused with the line to type."""
    with pytest.raises(UsageError) as refused:
        predicted.opened.query("deviation", **words)
    assert said in str(refused.value)


def test_one_model_answers_by_its_run(predicted: Predicted) -> None:
    """What one model says of the new cases is asked by the id of its run."""
    run_id = next(run for run in run_ids(predicted.store) if read_run(predicted.store, run)["source_run_id"])
    result = predicted.opened.query("deviation", run=run_id)
    assert {row["case_id"] for row in result.records()} == set(NEW_LABELS)
    assert result.title == f"run {run_id}, new cases"


def test_charts_draw_it(predicted: Predicted) -> None:
    """The charts of the first questions are drawn of new cases, also of one of them."""
    for name in ("recall", "roc", "confusion"):
        assert predicted.opened.plot(name, prediction="ext").to_dict()["$schema"]
    drawn = predicted.opened.plot("recall", prediction="ext", case="21").to_dict()
    assert "prediction ext" in str(drawn["title"])


def test_the_report_tells_of_new_cases_and_of_the_internal_test(predicted: Predicted) -> None:
    """The report of a prediction has its figures with intervals first, and says what the internal test gave."""
    report = build_report(predicted.store, Choice(prediction="ext"))
    assert report.subject == "prediction ext, mean of 4 models of experiment tiny, new cases"
    assert report.faults == []
    assert [finding.name for finding in report.findings][:2] == ["Recognised", "Beside the internal test"]
    recall = {
        (row["scope"], row["true_class"]): row
        for row in predicted.opened.query("recall", prediction="ext").records()
        if row["measure"] == "recall"
    }
    (benign, *_) = report.headlines
    new, internal = recall["new cases", "benign"], recall["internal test", "benign"]
    assert (benign.name, benign.value) == ("recall of benign", f"{new['value']:.0%}")
    assert benign.detail == (
        f"{new['right']} of 2; 95% interval {new['low']:.2f} to {new['high']:.2f}; "
        f"internal test {internal['value']:.0%} ({internal['right']} of {internal['cases']})"
    )


def test_unlabelled_cases_have_calls_and_no_counts(tmp_path: Path) -> None:
    """Of cases without labels deviation shows probability and range, and recall says that there is nothing to count."""
    store: Store = trained_store(tmp_path / "store")
    given = Given(features=feature_files(tmp_path / "new", "21"))
    report = predict(store, EXPERIMENT, given=given, threads=1)
    assert report.name == "tiny-new"
    opened = milstore.open(store.root)
    (row,) = opened.query("deviation", prediction="tiny-new").records()
    assert (row["case_id"], row["true_class"], row["outcome"]) == ("21", None, None)
    assert row["lowest"] < row["probability"] < row["highest"]
    with pytest.raises(
        UsageError, match="no case of it had a label when it was predicted, so there is nothing to count"
    ):
        opened.query("recall", prediction="tiny-new")
    assert opened.query("top-patches", prediction="tiny-new", case="21").rows()
