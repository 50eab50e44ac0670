"""Trained models without attention are asked by their scores."""

from pathlib import Path

import numpy as np
import pytest

import milstore
from milstore.errors import UsageError
from milstore.predicting.arrival import Given
from milstore.predicting.predict import predict
from milstore.store.run_reader import run_ids
from milstore.training import train
from milstore.training.experiment import train_all
from tests.predicting import EXPERIMENT, feature_files
from tests.test_training_models import of_model
from tests.training_cohort import places, tiny_store


def test_a_prediction_is_asked_model_by_model(tmp_path: Path) -> None:
    """The mean of its models has no scores, and that is said; the run of one of them has."""
    store = tiny_store(tmp_path / "store")
    train_all(store, of_model("max"), experiment=EXPERIMENT, threads=1)
    given = Given(features=feature_files(tmp_path / "new", "21"))
    predict(store, EXPERIMENT, given=given, name="ext", threads=1)
    opened = milstore.open(store.root)
    with pytest.raises(UsageError, match="the mean of the models of prediction ext has no scores of patches"):
        opened.query("top-patch-list", prediction="ext", by="class_1")
    of_model_1 = next(run_id for run_id in run_ids(store) if run_id.startswith("ext") and "-s1-" in run_id)
    listed = opened.query("top-patch-list", run=of_model_1, by="class_1").records()
    assert [row["rank"] for row in listed] == [1, 2, 3, 4, 5, 6, 7]
    assert {row["case_id"] for row in listed} == {"21"}
    scores = [row["score"] for row in listed]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("model", "score"), [("max", "class_1"), ("transmil", "class_token"), ("dsmil", "class_0")])
def test_a_trained_model_is_asked_by_its_scores(tmp_path: Path, model: str, score: str) -> None:
    """The ranking of each test case is that of the table `scores`, highest first, and has every patch of the case."""
    store = tiny_store(tmp_path / "store")
    result = train(store, of_model(model), 1, threads=1)
    opened = milstore.open(store.root)
    if model != "dsmil":
        with pytest.raises(UsageError, match=r"are no attention: --by [a-z_0-9]+ asks by one"):
            opened.query("top-patches")
    kept = opened.sql(f"select case_id, value from scores where run_id = '{result.run_id}' and name = '{score}'").rows()
    answer = opened.query("top-patch-list", by=score, n=1000)
    for case_id in ("9", "10", "11", "12"):
        listed = [row["score"] for row in answer.records() if row["case_id"] == case_id]
        assert listed == sorted((value for case, value in kept if case == case_id), reverse=True)
        assert len(listed) == len(places(case_id))
    counted = opened.query("top-patches", by=score, pct=50).records()
    assert {row["case_id"]: row["case_patches"] for row in counted} == {"9": 7, "10": 8, "11": 14, "12": 2}
    assert sum(row["top_patches"] for row in counted) == sum(np.floor(n / 2) for n in (7, 8, 14, 2))
