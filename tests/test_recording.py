"""A trainer of one's own writes runs: what each call takes, and what it refuses."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

import milstore
from milstore.errors import ConflictError, DataError, UsageError
from milstore.recording.recording import Recording
from milstore.store import Store, create_store
from milstore.store.attention_levels import levels_of_distribution, levels_of_each
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check
from milstore.store.run_reader import read_run, run_ids
from tests.making import THREE_PATCHES, make_store
from tests.recording import PATCHES_46, WHAT, recorded, rows, split_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return split_store(tmp_path / "store")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """For what is refused, which leaves the store as it was."""
    return split_store(tmp_path_factory.mktemp("shared") / "store")


def test_five_lines_make_a_run(store: Store) -> None:
    """What was given is the run: labels from the store, subsets from the split, and what nobody said is null."""
    with milstore.open(store.root).record(experiment="transmil-uni2", split=2, seed=0, config={"lr": 1e-4}) as run:
        run.epoch(1, train_loss=0.7, val_loss=0.6)
        run.prediction("46", {"benign": 0.8, "high-grade": 0.2})
        run.attention("46", PATCHES_46, np.array([0.25, 0.5, 0.25]))
    assert rows(run, "epochs") == [
        {"epoch": 1, "train_loss": 0.7, "train_accuracy": None, "val_loss": 0.6, "val_accuracy": None,
         "learning_rate": None, "seconds": None}
    ]  # fmt: skip
    assert rows(run, "predictions") == [
        {
            "case_id": "46",
            "subset": "test",
            "true_label": 0,
            "pred_label": 0,
            "p_true": 0.8,
            "error": pytest.approx(0.2),
        }
    ]
    assert [(r["patch_idx"], r["patch_attention"], r["rank"]) for r in rows(run, "attention")] == [
        (5, 0.5, 1), (1, 0.25, 2), (9, 0.25, 3)
    ]  # fmt: skip
    assert rows(run, "coverage") == [
        {"case_id": "46", "stain": "h&e", "slice_idx": 0, "subset": "test", "existing": 3, "with_feature": 3,
         "trained": 0, "evaluated": 3}
    ]  # fmt: skip
    facts = read_run(store, run.run_id)
    known = {name: value for name, value in facts.items() if value is not None}
    assert known.keys() - {"files", "facts_sha256", "finished_at", "cohort_fingerprint", "patches_fingerprint"} == {
        "run_id", "experiment", "split_set", "split", "n_splits", "seed", "config", "config_hash", "config_version",
        "restarts", "n_epochs", "schema_version", "kind", "attention",
    }  # fmt: skip
    assert (facts["kind"], facts["attention"], facts["split_set"], facts["n_splits"]) == ("recorded", "patches", "s", 2)
    assert facts["config"] == '{"lr":0.0001,"recorded":true}'
    assert check(store) == []


def test_nothing_of_torch_is_imported() -> None:
    """Neither milstore nor a recording brings torch: those who have it hand its tensors over."""
    program = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from tests.recording import recorded, split_store, PATCHES_46
with TemporaryDirectory() as folder:
    split_store(Path(folder) / "s")
    with recorded(Path(folder) / "s") as run:
        run.attention("46", PATCHES_46, [1.0, 2.0, 3.0], logits=True)
        run.scores("46", PATCHES_46, {"cam": [1, -2, 3]})
    print({"torch", "altair", "sklearn", "scipy"} & set(sys.modules))
"""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_an_epoch_is_replaced_by_itself(store: Store) -> None:
    """The same epoch again takes the place of the former row; later ones stay; torch's and numpy's numbers will do."""
    with recorded(store) as run:
        run.epoch(2, train_loss=torch.tensor(0.5), seconds=np.float32(2.0), kept=True)
        run.epoch(1, train_loss=9, seconds=1)
        run.epoch(1, train_loss=0.7, seconds=1, val_accuracy=0.5)
    assert [(r["epoch"], r["train_loss"], r["val_accuracy"]) for r in rows(run, "epochs")] == [
        (1, 0.7, 0.5),
        (2, 0.5, None),
    ]
    facts = read_run(store, run.run_id)
    assert (facts["n_epochs"], facts["best_epoch"], facts["seconds"]) == (2, 2, 3.0)


def chances(run: Recording) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row in rows(run, "probabilities"):
        found.setdefault(row["case_id"], []).append(row["probability"])
    return found


@pytest.mark.parametrize(
    ("given_chances", "logits", "expected"),
    [
        ({"high-grade": 0.25, "benign": 0.75}, False, [0.75, 0.25]),
        ([0.75, 0.25], False, [0.75, 0.25]),
        (np.array([[0.75, 0.25]], np.float32), False, [0.75, 0.25]),
        (torch.tensor([0.75, 0.25], dtype=torch.bfloat16, requires_grad=True), False, [0.75, 0.25]),
        ({"benign": torch.tensor(0.75), "high-grade": torch.tensor(0.25)}, False, [0.75, 0.25]),
        (pd.Series([0.75, 0.25]), False, [0.75, 0.25]),
        ([np.log(3.0), 0.0], True, [0.75, 0.25]),
        (torch.tensor([1000.0, 1000.0]), True, [0.5, 0.5]),
    ],
)
def test_probabilities_come_by_name_or_in_the_stores_order(
    store: Store, given_chances: Any, logits: bool, expected: list[float]
) -> None:
    """A dictionary by class name, or an array, tensor, series or list in label order; raw scores with logits=True."""
    with recorded(store) as run:
        run.prediction("46", given_chances, logits=logits)
    assert chances(run)["46"] == pytest.approx(expected, abs=1e-12)
    assert chances(run)["2"] == [0.1, 0.9]


def test_more_than_two_classes(tmp_path: Path) -> None:
    """Three classes, and a case without a label: its p_true and error are null."""
    store = make_store(tmp_path / "s", {"a": 0, "b": 2, "c": 1}, [("a", "h&e", 0, 0)], classes=("x", "y", "z"))
    with edit_cohort(store) as edit:
        unlabelled = [
            {**row, "label": None, "class_name": None, "source_label": None} if row["case_id"] == "c" else row
            for row in edit.table("cases").to_pylist()
        ]
        edit.replace("cases", pa.Table.from_pylist(unlabelled))
    with milstore.open(store.root).record(experiment="three") as run:
        run.prediction("a", {"z": 0.125, "x": 0.625, "y": 0.25}, subset="train")
        run.prediction("b", [0.5, 0.25, 0.25], subset="test")
        run.prediction("c", [0.0, 0.0, 1.0], subset="test")
    found = [
        (r["case_id"], r["true_label"], r["pred_label"], r["p_true"], r["error"]) for r in rows(run, "predictions")
    ]
    assert found == [("a", 0, 0, 0.625, 0.375), ("b", 2, 0, 0.25, 0.75), ("c", None, 2, None, None)]
    assert chances(run)["a"] == [0.625, 0.25, 0.125]
    facts = read_run(store, run.run_id)
    assert [facts[name] for name in ("split_set", "split", "n_splits", "seed")] == [None, None, None, 0]
    assert [row["subset"] for row in rows(run, "predictions")] == ["train", "test", "test"]
    assert check(store) == []
    opened = milstore.open(store.root)
    assert opened.query("misclassified").records()[0]["case_id"] == "b"
    assert opened.query("confusion").title == "experiment three, seed 0, test subsets"


FRAME = {"stain": ["h&e"] * 3, "slice_idx": [0, 0, 0], "patch_idx": [1, 5, 9]}
NAMES = [f"case_46_match_1_h&e_patch{i}.png" for i in (1, 5, 9)]


@pytest.mark.parametrize(
    "patches",
    [
        PATCHES_46,
        [("HE", "match_1", i) for i in (1, 5, 9)],
        FRAME,
        pd.DataFrame(FRAME),
        pa.table(FRAME),
        pd.DataFrame({"stain": ["h&e"] * 3, "slice_name": ["Match01"] * 3, "patch_idx": [1.0, 5.0, 9.0]}),
        NAMES,
        [Path("/somewhere/else") / name for name in NAMES],
        [name.removesuffix(".png") for name in NAMES],
        np.array(NAMES),
        pd.Series(NAMES),
        pd.DataFrame({"file": NAMES, "patch_idx": [1, 5, 9]}),
        pd.DataFrame({"stain": ["h&e"] * 3, "slice": [0] * 3, "x": [64, 64, 64], "y": [0, 64, 128]}),
        {"stain": ["h&e"] * 3, "slice": ["match_1"] * 3, "x": [64, 64, 64], "y": [0, 64, 128]},
        {"stain": ["h&e"] * 3, "x": [64, 64, 64], "y": [0, 64, 128]},
    ],
)
def test_patches_are_named_in_any_way(store: Store, patches: Any) -> None:
    """By tuples, frames of pandas, pyarrow or any with such columns, file names, or coordinates: each finds its patch."""
    with recorded(store) as run:
        run.attention("46", patches, [0.2, 0.5, 0.3])
    found = {r["patch_idx"]: round(r["effective_attention"], 6) for r in rows(run, "attention")}
    assert found == {1: 0.2, 5: 0.5, 9: 0.3}


class Frame:
    """What polars, cudf and others have in common: names in `columns`, and a column by its name."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = list(columns)
        self._columns = columns

    def __getitem__(self, name: str) -> pd.Series:
        return pd.Series(self._columns[name])


CASE_10 = [patch[1:] for patch in THREE_PATCHES if patch[0] == "10"]
STAINS = [0.75 if stain == "h&e" else 0.25 for stain, _, _ in CASE_10]
SLICES = [{("h&e", 0): 0.5, ("h&e", 1): 0.5, ("sox10", 0): 1.0}[stain, slice_idx] for stain, slice_idx, _ in CASE_10]
WITHIN = [0.5, 0.25, 0.25, 0.125, 0.625, 0.25, 0.25, 0.25, 0.25, 0.25]
PRODUCT = [a * b * c for a, b, c in zip(STAINS, SLICES, WITHIN, strict=True)]
THREE_LEVELS = {"stain_attention": STAINS, "slice_attention": SLICES, "patch_attention": WITHIN}


@pytest.mark.parametrize(
    ("weights", "logits"),
    [
        (PRODUCT, False),
        (torch.tensor(PRODUCT, dtype=torch.float64, requires_grad=True)[None, :], False),
        (np.log(PRODUCT) + 3, True),
        (np.array([STAINS, SLICES, WITHIN]).T, False),
        (torch.tensor([STAINS, SLICES, WITHIN]).T, False),
        (THREE_LEVELS, False),
        (pd.DataFrame(THREE_LEVELS), False),
        (pa.table(THREE_LEVELS), False),
        (Frame(THREE_LEVELS), False),
        (np.log([STAINS, SLICES, WITHIN]).T - 7, True),
    ],
)
def test_attention_is_three_levels_or_one_distribution(store: Store, weights: Any, logits: bool) -> None:
    """Both give the same levels, whose product is what a patch had; raw scores are normalised within their parents."""
    with recorded(store) as run:
        run.attention(10, CASE_10, weights, logits=logits)
    found = {(r["stain"], r["slice_idx"], r["patch_idx"]): r for r in rows(run, "attention")}
    for place, *expected in zip(CASE_10, STAINS, SLICES, WITHIN, PRODUCT, strict=True):
        names = ("stain_attention", "slice_attention", "patch_attention", "effective_attention")
        assert [found[place][name] for name in names] == pytest.approx(expected, rel=1e-6)
    assert len(found) == len(CASE_10)
    assert read_run(store, run.run_id)["attention"] == "part"


@pytest.mark.parametrize(("first", "second", "said"), [(0, 0, "patches"), (1, 1, "levels"), (0, 1, "levels")])
def test_a_run_says_what_its_attention_is(store: Store, first: int, second: int, said: str) -> None:
    """One distribution everywhere is patches; where a case has levels, the run has levels."""
    with recorded(store) as run:
        for case_id, form in (("2", first), ("10", second), ("46", second)):
            places = [patch[1:] for patch in THREE_PATCHES if patch[0] == case_id]
            run.attention(case_id, places, np.zeros((len(places), 3)) if form else np.zeros(len(places)), logits=True)
    assert read_run(store, run.run_id)["attention"] == said
    assert check(store) == []


LOGS = st.floats(-30, 30)


@given(st.lists(st.tuples(st.integers(0, 3), LOGS), min_size=1, max_size=12))
def test_a_distribution_has_its_marginals(drawn: list[tuple[int, float]]) -> None:
    """Stain and slice attention are sums of what the patches have, and the product is that again."""
    slices = sorted({number for number, _ in drawn})
    slice_N = np.array([slices.index(number) for number, _ in drawn])
    stain_G = np.unique([number // 2 for number in slices], return_inverse=True)[1]
    log_N = np.array([log for _, log in drawn])
    found = levels_of_distribution(log_N, slice_N, stain_G)
    wanted_N = np.exp(log_N - log_N.max()) / np.exp(log_N - log_N.max()).sum()
    np.testing.assert_allclose(found.effective_N, wanted_N, rtol=1e-9)
    np.testing.assert_allclose(found.stain_S, np.bincount(stain_G[slice_N], wanted_N), rtol=1e-9)
    np.testing.assert_allclose(np.bincount(slice_N, found.patch_N), 1, rtol=1e-9)
    with np.errstate(divide="ignore"):
        again = levels_of_each(
            *(np.log(each) for each in (found.stain_S, found.slice_G, found.patch_N)), slice_N, stain_G
        )
    np.testing.assert_allclose(again.effective_N, found.effective_N, rtol=1e-9)


def test_scores_are_numbers_of_any_sign(store: Store) -> None:
    """A score of a patch has a name and a value; given again, a name replaces itself alone."""
    with recorded(store) as run:
        run.scores("46", PATCHES_46, {"cam": [1, 2, 3], "grad": torch.tensor([0.5, -0.5, 0.0])})
        run.scores("46", NAMES[:2], {"cam": np.array([-1.0, 4.0])})
    assert [(r["name"], r["patch_idx"], r["value"]) for r in rows(run, "scores")] == [
        ("cam", 1, -1.0), ("grad", 1, 0.5), ("cam", 5, 4.0), ("grad", 5, -0.5), ("grad", 9, 0.0)
    ]  # fmt: skip
    assert check(store) == []
    counted = milstore.open(store.root).sql("select name, sum(value) from scores group by name order by name")
    assert counted.rows() == [("cam", 3.0), ("grad", 0.0)]


def test_weights_are_kept(store: Store) -> None:
    """A state_dict, tied weights and bfloat16 too, or arrays; the last ones count."""
    layer = torch.nn.Linear(2, 1)
    tied = {"a": layer.weight, "b": layer.weight, "half": torch.ones(2, dtype=torch.bfloat16), "n": np.arange(3)}
    with recorded(store) as run:
        run.weights({"a": np.zeros(3, np.float32)})
        run.weights(tied)
    assert run.folder is not None
    from safetensors.torch import load_file as load_tensors

    kept = load_tensors(run.folder / "weights.safetensors")
    assert torch.equal(kept["b"], layer.weight.detach())
    assert (kept["half"].dtype, kept["n"].tolist()) == (torch.bfloat16, [0, 1, 2])
    assert read_run(store, run.run_id)["weights_sha256"] is not None
    with recorded(store, fresh=True) as other:
        other.weights({"a": np.arange(4, dtype=np.float32)})
    assert other.folder is not None
    assert load_file(other.folder / "weights.safetensors")["a"].tolist() == [0, 1, 2, 3]
    assert check(store) == []


def test_attention_may_be_missing(store: Store) -> None:
    """A run without any says none, has no fingerprint of patches, and is a whole run."""
    with recorded(store) as run:
        pass
    facts = read_run(store, run.run_id)
    assert (facts["attention"], facts["patches_fingerprint"]) == ("none", None)
    assert (rows(run, "attention"), rows(run, "coverage")) == ([], [])
    assert check(store) == []


Call = Callable[[Recording], Any]
REFUSED: list[tuple[Call, str]] = [
    (lambda run: run.epoch(1, loss=0.5), "an epoch has no loss: it has train_loss, train_accuracy, val_loss, "),
    (lambda run: run.epoch(1, val_loss=0.5), "epoch 1 lacks train_loss"),
    (lambda run: run.epoch(0, train_loss=0.5), "epochs are numbered from 1"),
    (lambda run: run.epoch(1, train_loss=float("nan")), "train_loss of epoch 1 is no finite number"),
    (lambda run: run.epoch(1, train_loss="x"), "train_loss of epoch 1: no array of numbers"),
    (lambda run: run.prediction("99", [1, 0]), "case '99' is not in this store: take it in by milstore ingest labels"),
    (lambda run: run.prediction("46", [1, 0], subset="train"), "case '46' is said to be in train, and the split has it in test"),
    (lambda run: run.prediction("46", {"benign": 1.0}), "must name each class of the store once (benign, high-grade): not so high-grade"),
    (lambda run: run.prediction("46", {"benign": 1, "bad": 0}), "not so bad, high-grade"),
    (lambda run: run.prediction("46", [0.5, 0.25, 0.25]), "has 3 numbers, and the store 2 classes (benign, high-grade)"),
    (lambda run: run.prediction("46", [0.5, 0.4]), "sum to 1 (they sum to 0.9): give logits=True for raw scores"),
    (lambda run: run.prediction("46", [-0.5, 1.5]), "are not numbers from 0 to 1"),
    (lambda run: run.prediction("46", [float("nan"), 1]), "are not numbers from 0 to 1"),
    (lambda run: run.prediction("46", [float("inf"), 1], logits=True), "holds a logit that is no finite number"),
    (lambda run: run.prediction("46", "high-grade"), "the prediction of case 46: no array of numbers"),
    (lambda run: run.attention("99", PATCHES_46, [1, 0, 0]), "case '99' is not in this store"),
    (lambda run: run.attention("46", [("h&e", 0, 7)], [1.0]), "case 46 has no patch stain h&e, slice_idx 0, patch_idx 7 in this store: take it in by milstore ingest patches, or by milstore ingest features --create-patches"),
    (lambda run: run.attention("46", [("ki67", 0, 1)], [1.0]), "stain 'ki67' is not in this store (h&e, melan, sox10)"),
    (lambda run: run.attention("46", [("h&e", 0, 1)] * 2, [0.5, 0.5]), "case 46, h&e, slice 0, patch 1 is given twice"),
    (lambda run: run.attention("46", ["case_46_match_1_h&e_patch7.png"], [1.0]), "'case_46_match_1_h&e_patch7.png' is no patch of case 46 in this store"),
    (lambda run: run.attention("46", {"file": NAMES, "patch_idx": [0, 1, 2]}, [1, 0, 0]), "is given with patch_idx 0, and the store has it with 1: correct the column, or leave it out"),
    (lambda run: run.attention("10", {"stain": ["h&e"], "x": [0], "y": [0]}, [1]), "case 10 has several patches at stain h&e, x 0, y 0: give the slice too"),
    (lambda run: run.attention("46", {"stain": ["h&e"], "x": [1], "y": [1]}, [1]), "case 46 has no patch stain h&e, x 1, y 1 in this store"),
    (lambda run: run.attention("46", {"patch_idx": [1]}, [1]), "patches are rows of (stain, slice_idx or slice_name, patch_idx)"),
    (lambda run: run.attention("46", [1, 5, 9], [1, 0, 0]), "patches are rows of (stain, slice_idx or slice_name, patch_idx)"),
    (lambda run: run.attention("46", 5, [1]), "patches are rows of (stain, slice_idx or slice_name, patch_idx)"),
    (lambda run: run.attention("46", [("h&e", 0, 1.5)], [1]), "case 46: patch_idx must be whole numbers"),
    (lambda run: run.attention("46", [], []), "case 46: no patch is given"),
    (lambda run: run.attention("46", PATCHES_46, [0.5, 0.5]), "weights of shape (2,) for 3 patches: give (3,) for one distribution"),
    (lambda run: run.attention("46", PATCHES_46, [3, 1, 1]), "(they sum to 5): give logits=True for raw scores"),
    (lambda run: run.attention("46", PATCHES_46, [float("nan")] * 3, logits=True), "attention of case 46: attention has a weight of NaN"),
    (lambda run: run.attention("46", PATCHES_46, [[1, 1, 0.5]] * 3), "patch_attention sums to 1.500000 over a slice of case '46', not to 1"),
    (lambda run: run.attention("46", PATCHES_46, [[1, 1, 1], [0.5, 1, 0], [1, 1, 0]]), "stain_attention differs between patches of one stain"),
    (lambda run: run.attention("46", PATCHES_46, {"patch_attention": [1, 0, 0]}), "the weights lack stain_attention, slice_attention"),
    (lambda run: run.scores("46", PATCHES_46, [1, 2, 3]), "scores come by name"),
    (lambda run: run.scores("46", PATCHES_46, {"cam": [1, 2]}), "score cam of case 46: give one finite number for each of the 3 patches"),
    (lambda run: run.scores("46", PATCHES_46, {"a b": [1, 2, 3]}), "score 'a b' does not fit"),
    (lambda run: run.weights({"w": {"a": 1}}), "weights hold what is no array of numbers and no tensor: w (dict); leave it out"),
    (lambda run: run.weights({}), "weights hold nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message[:50] for _, message in REFUSED])
def test_what_cannot_be_is_refused_at_once(shared: Store, call: Call, message: str) -> None:
    """In one line, at the call; what was given before stays, and the run can go on."""
    with pytest.raises((DataError, UsageError)) as caught, recorded(shared) as run:
        call(run)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert run_ids(shared) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"experiment": "Big"}, "experiment 'Big' does not fit"),
        ({"split": 7}, "split 7: split set s has the splits 1, 2"),
        ({"split": True}, "split=True: give a whole number"),
        ({"seed": -1}, "seed=-1: give a whole number, 0 or more, or None"),
        ({"split_set": "t"}, "the store has no split set 't'"),
        ({"split": None, "split_set": "s"}, "split_set='s': say which of its splits by split=, or leave both out"),
        ({"encoder": "a/b"}, "encoder 'a/b' does not fit"),
        ({"model": ""}, "model='': give a text"),
        ({"config": {"a": object()}}, "the configuration holds what JSON cannot (a object)"),
        ({"config": {"a": float("nan")}}, "the configuration holds what JSON cannot"),
        ({"config": ["a"]}, "the configuration is a dictionary of settings"),
        ({"config": {"encoder": "a"}, "encoder": "b"}, "the configuration says encoder a, and encoder='b' is given"),
    ],
)
def test_words_that_do_not_fit_are_refused(shared: Store, words: dict[str, Any], message: str) -> None:
    """Before anything is written."""
    with pytest.raises(UsageError) as caught:
        milstore.open(shared.root).record(**{**WHAT, **words})
    assert message in str(caught.value)


def test_a_store_must_have_classes_and_splits(tmp_path: Path) -> None:
    """Without classes there is no order of probabilities, and without splits no split."""
    empty = create_store(tmp_path / "empty")
    with pytest.raises(ConflictError, match="the store has no labels: begin with milstore ingest labels"):
        milstore.open(empty.root).record(experiment="a")
    without = make_store(tmp_path / "without", {"a": 0}, [("a", "h&e", 0, 0)])
    with pytest.raises(ConflictError, match="the store has no splits: run milstore ingest splits"):
        milstore.open(without.root).record(experiment="a", split=1)


def test_without_a_split_each_prediction_names_its_subset(store: Store) -> None:
    """What no split says the caller says."""
    with (
        pytest.raises(
            UsageError, match=r"this run has no split: say the subset of case 46 \(subset= train, val, test\)"
        ),
        milstore.open(store.root).record(experiment="free") as run,
    ):
        run.prediction("46", [1, 0])


def test_a_case_outside_the_split_is_refused(store: Store) -> None:
    """A case that the split does not have cannot be predicted in it."""
    with edit_cohort(store) as edit:
        left = [row for row in edit.table("splits").to_pylist() if row["case_id"] != "10"]
        edit.replace("splits", pa.Table.from_pylist(left))
    said = "case '10' is not in the split: leave it out, or take in splits that have it"
    with pytest.raises(DataError, match=said), recorded(store):
        pass


def test_a_configuration_may_hold_numbers_of_numpy(store: Store) -> None:
    """Numbers of numpy and torch are numbers; what is stored is plain JSON."""
    config = {"lr": np.float32(0.5), "n": np.int64(3), "t": torch.tensor(2), "wide": (1, 2)}
    with recorded(store, config=config, encoder="uni2", model="transmil") as run:
        pass
    facts = read_run(store, run.run_id)
    assert facts["config"] == '{"encoder":"uni2","lr":0.5,"model":"transmil","n":3,"recorded":true,"t":2,"wide":[1,2]}'
    assert (facts["encoder"], facts["model"]) == ("uni2", "transmil")
