"""Trained models without attention are asked by their scores."""

from pathlib import Path

import numpy as np
import pytest

import milstore
from milstore.errors import UsageError
from milstore.training import train
from tests.test_training_models import of_model
from tests.training_cohort import places, tiny_store


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
