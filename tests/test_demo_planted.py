"""The question `planted`: the rank-sum AUC of effective attention against the planted patches."""

import shutil
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from milstore.asking.ask import ask
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.views import connect
from tests.making import Patch


def _plant(store: Store, planted: list[Patch]) -> None:
    """Give a store the question and the table, as a demo has them."""
    store.queries.mkdir(exist_ok=True)
    with as_file(files("milstore.demo").joinpath("planted.sql")) as file:
        shutil.copy(file, store.queries / "planted.sql")
    columns = ("case_id", "stain", "slice_idx", "patch_idx")
    with edit_cohort(store) as edit:
        edit.replace("planted", pa.Table.from_pylist([dict(zip(columns, patch, strict=True)) for patch in planted]))


def test_planted_by_hand(three: Store) -> None:
    """Case 2: 4 and 5 among 4 3 2 1 5 5 twentieths; case 10: 1 and 2 among 10 1 1 2 2 2 8 7 6 1 fortieths; 46: none."""
    _plant(three, [("2", "h&e", 0, 0), ("2", "melan", 0, 0), ("10", "sox10", 0, 3), ("10", "h&e", 1, 0)])
    assert ask(three, "planted").arrow().to_pylist() == [
        {
            "run_id": "exp-s1-0",
            "case_id": "2",
            "subset": "test",
            "true_label": 1,
            "pred_label": 1,
            "patches": 6,
            "planted": 2,
            "planted_attention": pytest.approx(9 / 20),
            "auc": (3 + 3.5) / 8,
            "mean_auc": (6.5 / 8 + 4 / 16) / 2,
        },
        {
            "run_id": "exp-s2-0",
            "case_id": "10",
            "subset": "test",
            "true_label": 0,
            "pred_label": 1,
            "patches": 10,
            "planted": 2,
            "planted_attention": pytest.approx(3 / 40),
            "auc": (1 + 3) / 16,
            "mean_auc": (6.5 / 8 + 4 / 16) / 2,
        },
    ]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_auc_is_scikit_learns(three: Store, data: st.DataObject) -> None:
    """For any planted patches, ties included, auc is what scikit-learn computes from the same attention."""
    rows = connect(three).sql(
        "select case_id, stain, slice_idx, patch_idx, effective_attention from attention where case_id = '10'"
    )
    values = {row[:4]: row[4] for row in rows.fetchall()}
    planted = data.draw(st.lists(st.sampled_from(sorted(values)), min_size=1, max_size=len(values) - 1, unique=True))
    _plant(three, planted)
    (found,) = ask(three, "planted").arrow().to_pylist()
    truth = np.array([patch in planted for patch in values])
    assert found["auc"] == pytest.approx(roc_auc_score(truth, list(values.values())), abs=1e-12)
    assert found["planted_attention"] == pytest.approx(sum(values[patch] for patch in planted))


def test_where_every_patch_is_planted_there_is_no_auc(three: Store) -> None:
    """Without a patch to compare with the AUC is undefined: null, not a division by zero."""
    _plant(three, [("46", "h&e", 0, i) for i in (1, 5, 9)])
    (found,) = ask(three, "planted").arrow().to_pylist()
    assert (found["case_id"], found["planted"], found["auc"], found["mean_auc"]) == ("46", 3, None, None)


def test_the_question_is_part_of_the_package() -> None:
    """The demo's question is read from the package, so an installed milstore has it."""
    assert Path(str(files("milstore.demo").joinpath("planted.sql"))).is_file()
