"""`confusion`: which class is taken for which."""

from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.drawing import drawn
from tests.making import levels, make_run, make_store


def test_counts_and_shares(three: Store) -> None:
    """Every pair of classes has a row in every scope; a share of no case is null."""
    result = ask(three, "confusion")
    assert result.columns == ["scope", "true_class", "pred_class", "cases", "of_true_class", "share"]
    assert result.rows() == [
        ("all splits pooled", "benign", "benign", 1, 2, 0.5),
        ("all splits pooled", "benign", "high-grade", 1, 2, 0.5),
        ("all splits pooled", "high-grade", "benign", 0, 1, 0.0),
        ("all splits pooled", "high-grade", "high-grade", 1, 1, 1.0),
        ("split 1", "benign", "benign", 0, 0, None),
        ("split 1", "benign", "high-grade", 0, 0, None),
        ("split 1", "high-grade", "benign", 0, 1, 0.0),
        ("split 1", "high-grade", "high-grade", 1, 1, 1.0),
        ("split 2", "benign", "benign", 0, 1, 0.0),
        ("split 2", "benign", "high-grade", 1, 1, 1.0),
        ("split 2", "high-grade", "benign", 0, 0, None),
        ("split 2", "high-grade", "high-grade", 0, 0, None),
        ("split 3", "benign", "benign", 1, 1, 1.0),
        ("split 3", "benign", "high-grade", 0, 1, 0.0),
        ("split 3", "high-grade", "benign", 0, 0, None),
        ("split 3", "high-grade", "high-grade", 0, 0, None),
    ]


def test_a_single_run_has_no_pooled_rows(three: Store) -> None:
    """Of one run there is its split alone."""
    assert Counter(row["scope"] for row in ask(three, "confusion", Choice(run="exp-s3-0")).records()) == {"split 3": 4}


def test_agrees_with_scikit_learn_on_three_classes(tmp_path: Path) -> None:
    """The counts of random predictions of three classes are scikit-learn's."""
    random = np.random.default_rng(0)
    labels = {str(i): int(label) for i, label in enumerate(random.integers(0, 3, 40))}
    chances = {case_id: row.tolist() for case_id, row in zip(labels, random.dirichlet(np.ones(3), 40), strict=True)}
    patches = [(case_id, "h&e", 0, 0) for case_id in labels]
    store = make_store(tmp_path / "three-classes", labels, patches, classes=("a", "b", "c"))
    make_run(store, "r", dict.fromkeys(labels, "test"), labels, chances, levels(dict.fromkeys(patches, 1.0)))
    found = np.reshape([row["cases"] for row in ask(store, "confusion").records()], (3, 3))
    called = [int(np.argmax(chances[case_id])) for case_id in labels]
    np.testing.assert_array_equal(found, confusion_matrix(list(labels.values()), called, labels=[0, 1, 2]))
    drawn(store, "confusion")


def test_its_chart(three: Store) -> None:
    """The chart shows every split, also those without a case of a class."""
    drawn(three, "confusion")
