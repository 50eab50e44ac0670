"""`recall`: recall of each class with its interval, balanced accuracy and AUC."""

import csv
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score, roc_auc_score

from milstore.analysis.intervals import wilson
from milstore.analysis.recall import summary
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.drawing import drawn, subtitle_of
from tests.making import levels, make_run, make_store

Rows = dict[tuple[str, str | None, str], dict[str, Any]]


def _by_key(records: list[dict[str, Any]]) -> Rows:
    return {(row["measure"], row["true_class"], row["scope"]): row for row in records}


def _study_csv(name: str) -> list[dict[str, str]]:
    text = files("milstore").joinpath("study", name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def _study_splits() -> Iterator[tuple[int, int, int, int, int]]:
    """Split; benign cases in test and of them right; the same of high-grade."""
    recalls = {row["split"]: row for row in _study_csv("recall_published.csv")}
    for row in _study_csv("split_counts_published.csv"):
        if row["subset"] == "test":
            published = recalls[row["split"]]
            benign, high = int(row["benign"]), int(row["high_grade"])
            right = round(benign * float(published["benign_recall_percent"]) / 100)
            yield (
                int(row["split"]),
                benign,
                right,
                high,
                round(high * float(published["high_grade_recall_percent"]) / 100),
            )


@pytest.fixture
def study(tmp_path: Path) -> Store:
    """A store whose five runs have the study's test cases and called as many of each class right."""
    test_cases: dict[int, list[str]] = {}
    for row in _study_csv("test_cases_published.csv"):
        test_cases.setdefault(int(row["split"]), []).append(row["case_id"])
    labels: dict[str, int] = {}
    runs: dict[int, dict[str, tuple[float, float]]] = {}
    for split, benign, benign_right, high, high_right in _study_splits():
        cases = test_cases[split]
        assert len(cases) == benign + high
        right = (
            [True] * benign_right
            + [False] * (benign - benign_right)
            + [True] * high_right
            + [False] * (high - high_right)
        )
        for i, case_id in enumerate(cases):
            labels[case_id] = int(i >= benign)
            called = labels[case_id] if right[i] else 1 - labels[case_id]
            runs.setdefault(split, {})[case_id] = (0.2, 0.8) if called else (0.8, 0.2)
    store = make_store(tmp_path / "study", labels, [(case_id, "h&e", 0, 0) for case_id in labels])
    for split, chances in runs.items():
        make_run(
            store, f"exp-s{split}-0", dict.fromkeys(chances, "test"), labels, chances,
            levels({(case_id, "h&e", 0, 0): 1.0 for case_id in chances}), split=split, n_splits=5,
        )  # fmt: skip
    return store


def test_the_studys_recalls(study: Store) -> None:
    """With the study's test cases and recalls per split, the mean recall is 29% of benign and 100% of high-grade."""
    found = _by_key(ask(study, "recall").records())
    mean = {name: found["recall", name, "mean over splits"]["value"] for name in ("benign", "high-grade")}
    assert {name: round(100 * value) for name, value in mean.items()} == {"benign": 29, "high-grade": 100}
    counts = {
        scope: (row["right"], row["cases"])
        for (m, name, scope), row in found.items()
        if (m, name) == ("recall", "benign")
    }
    assert counts == {
        "split 1": (4, 6), "split 2": (0, 6), "split 3": (0, 6), "split 4": (2, 5), "split 5": (2, 5),
        "mean over splits": (None, None), "pooled": (8, 28),
    }  # fmt: skip
    pooled = found["recall", "benign", "pooled"]
    assert (pooled["low"], pooled["high"]) == wilson(8, 28)


def test_few_cases(three: Store) -> None:
    """A split without a case of a class has no recall of it, and the mean says how many splits it is over.

    What is over all splits stands first, then the means, then each split.
    """
    found = ask(three, "recall").rows()
    one = wilson(1, 1)
    mean = ("mean over splits", None, None)
    assert [row[:3] for row in found[3:5]] == [("balanced accuracy", None, "pooled"), ("AUC", None, "pooled")]
    mixed = "compares probabilities of different models"
    assert found[3][3:] == (2, 3, 0.75, None, None, None, None)
    assert found[4][3:] == (None, 3, 1.0, None, None, None, mixed)
    assert [*found[:3], *found[5:8], *found[10:19]] == [
        ("recall", "benign", "pooled", 1, 2, 0.5, None, *wilson(1, 2), None),
        ("recall", "high-grade", "pooled", 1, 1, 1.0, None, *one, None),
        ("accuracy", None, "pooled", 2, 3, pytest.approx(2 / 3), None, *wilson(2, 3), None),
        ("recall", "benign", *mean, 0.5, 0.5, None, None, "defined in 2 of 3 splits"),
        ("recall", "high-grade", *mean, 1.0, None, None, None, "defined in 1 of 3 splits"),
        ("accuracy", None, *mean, pytest.approx(2 / 3), pytest.approx(1 / 3), None, None, None),
        ("recall", "benign", "split 1", 0, 0, None, None, 0.0, 1.0, "no case of this class"),
        ("recall", "benign", "split 2", 0, 1, 0.0, None, *wilson(0, 1), None),
        ("recall", "benign", "split 3", 1, 1, 1.0, None, *one, None),
        ("recall", "high-grade", "split 1", 1, 1, 1.0, None, *one, None),
        ("recall", "high-grade", "split 2", 0, 0, None, None, 0.0, 1.0, "no case of this class"),
        ("recall", "high-grade", "split 3", 0, 0, None, None, 0.0, 1.0, "no case of this class"),
        ("accuracy", None, "split 1", 1, 1, 1.0, None, *one, None),
        ("accuracy", None, "split 2", 0, 1, 0.0, None, *wilson(0, 1), None),
        ("accuracy", None, "split 3", 1, 1, 1.0, None, *one, None),
    ]


def test_a_single_run_is_neither_averaged_nor_pooled(three: Store) -> None:
    """Of one run there is its split alone."""
    assert {row["scope"] for row in ask(three, "recall", Choice(run="exp-s1-0")).records()} == {"split 1"}


def test_predictions_of_one_case_are_not_taken_for_many_cases(three: Store) -> None:
    """Over all subsets a case is pooled from several runs: no interval is given, and why."""
    pooled = _by_key(ask(three, "recall", Choice(subset="all")).records())["recall", "benign", "pooled"]
    assert (pooled["cases"], pooled["low"], pooled["note"]) == (
        6,
        None,
        "cases stand in it more than once: no interval",
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_agrees_with_scikit_learn(n_classes: int) -> None:
    """Recall, balanced accuracy and AUC are those of scikit-learn, by run and pooled."""
    import pyarrow as pa

    random = np.random.default_rng(n_classes)
    names = ["a", "b", "c"][:n_classes]
    probabilities = random.dirichlet(np.ones(n_classes), 60).round(2)
    probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
    truth, called = random.integers(0, n_classes, 60), probabilities.argmax(axis=1)
    splits = np.repeat([1, 2, 3], 20)
    found = _by_key(
        summary(
            pa.table(
                {
                    "run_id": [f"r{split}" for split in splits], "split": splits, "case_id": [str(i) for i in range(60)],
                    "split_set": ["three"] * 60, "seed": [0] * 60,
                    "subset": ["test"] * 60,
                    "true_label": truth, "pred_label": called, "probabilities": probabilities.tolist(),
                    "class_names": [names] * 60,
                }
            )
        ).to_pylist()
    )  # fmt: skip

    def auc(of: Any) -> float:
        score = (
            probabilities[of][:, 1]
            if n_classes == 2
            else probabilities[of] / probabilities[of].sum(axis=1, keepdims=True)
        )
        return float(roc_auc_score(truth[of], score, multi_class="ovr"))

    everything = np.full(60, True)
    for scope, of in {"pooled": everything, **{f"split {i}": splits == i for i in (1, 2, 3)}}.items():
        recalls = recall_score(truth[of], called[of], average=None, labels=range(n_classes))
        assert [found["recall", name, scope]["value"] for name in names] == pytest.approx(recalls)
        balanced = balanced_accuracy_score(truth[of], called[of])
        assert found["balanced accuracy", None, scope]["value"] == pytest.approx(balanced)
        assert found["AUC", None, scope]["value"] == pytest.approx(auc(of))
    mean = np.mean([auc(splits == i) for i in (1, 2, 3)])
    assert found["AUC", None, "mean over splits"]["value"] == pytest.approx(mean)


def test_its_chart(study: Store) -> None:
    """The chart says that the pooled AUC mixes models."""
    assert "Pooled AUC compares probabilities of different models" in subtitle_of(drawn(study, "recall"))
