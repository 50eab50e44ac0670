"""Runs of the study's trainers go in as the folders that they wrote: `ingest run FOLDER --from study`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from milstore.errors import DataError, UsageError
from milstore.ingest.features import ingest_features
from milstore.ingest.importers import FolderOptions, ingest_run_folder
from milstore.ingest.splits import ingest_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.doctor import check
from milstore.store.run_check import check_run
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from tests.crossing import crossed
from tests.ingesting import contents, milstore
from tests.study_runs import (
    LABELS,
    PATCHES,
    SEEN,
    TEST,
    TRAIN,
    Patch,
    Weights,
    file_of,
    make_study_run,
    positions,
    save_checkpoint,
    study_store,
    vectors,
)

WINTER, FALL = Weights.drawn(1, gated=True), Weights.drawn(5, gated=False)
BEST = Weights.drawn(3, gated=True)
Levels = dict[Patch, tuple[float, float, float]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return study_store(tmp_path / "store")


def take(store: Store, root: Path, **options: Any) -> tuple[str, str]:
    """The run's id, and what was said, as one text."""
    report = ingest_run_folder(store, root, "study", FolderOptions(**options))
    assert report.changed
    assert list(check_run(store, report.run_id)) == []
    return report.run_id, "\n".join(report.lines())


def table(store: Store, run_id: str, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(
        store.run_folder(run_id) / f"{name}.parquet", partitioning=None
    ).to_pylist()
    return rows


def attention(store: Store, run_id: str) -> Levels:
    """Stain, slice and patch attention of the patches that the run has it of."""
    slices = {
        (r["case_id"], r["stain"], r["slice_idx"]): r["slice_name"]
        for r in read_cohort(store).table("slices").to_pylist()
    }
    return {
        (r["case_id"], r["stain"], slices[r["case_id"], r["stain"], r["slice_idx"]], r["patch_idx"]): (
            r["stain_attention"],
            r["slice_attention"],
            r["patch_attention"],
        )
        for r in table(store, run_id, "attention")
    }


def probabilities(store: Store, run_id: str) -> dict[str, float]:
    """Of high-grade, by case."""
    return {r["case_id"]: r["probability"] for r in table(store, run_id, "probabilities") if r["label"] == 1}


def expected(weights: Weights, cases: tuple[str, ...] = TEST, seen: list[Patch] = SEEN) -> Levels:
    found: Levels = {}
    for case in cases:
        found |= weights.look(case, seen)[0]
    return found


def top(levels: Levels, pct: float, seen: list[Patch] = SEEN) -> Levels:
    """The levels of the top patches of each case."""
    found: Levels = {}
    for case in TEST:
        of_case = sorted((p for p in seen if p[0] == case), key=lambda p: -np.prod(levels[p]))
        found |= {patch: levels[patch] for patch in of_case[: max(1, int(len(of_case) * pct / 100))]}
    return found


def assert_same(found: Levels, right: Levels) -> None:
    """The same patches, each with its own weights, to 1e-6."""
    assert found.keys() == right.keys()
    for patch, levels in right.items():
        assert found[patch] == pytest.approx(levels, abs=1e-6), patch


@pytest.mark.parametrize("form", ["winter", "whole"])
def test_a_winter_top_table_goes_in_by_text_position(store: Store, tmp_path: Path, form: str) -> None:
    """Positions count patches with a vector, in names sorted as text; every row is on its own patch, and ranked."""
    root = make_study_run(tmp_path, WINTER, form)
    run_id, said = take(store, root)
    right = top(expected(WINTER), 40)
    assert_same(attention(store, run_id), right)
    # By number, and with the patch that has no vector, these would be others.
    assert ("38", "h&e", "match_2", 11) in SEEN
    facts = read_run(store, run_id)
    assert (facts["attention"], facts["attention_known"]) == ("part", {"pct": 40.0, "said": "the top 40 %"})
    counts = {case: sum(patch[0] == case for patch in SEEN) for case in TEST}
    assert {(r["case_id"], r["n_patches"]) for r in table(store, run_id, "attention")} == set(counts.items())
    ranks = [(r["case_id"], r["rank"]) for r in table(store, run_id, "attention")]
    assert ranks == [("38", 1), ("38", 2), ("46", 1), ("46", 2), ("5", 1), ("5", 2)]
    found = attention(store, run_id)
    assert all(
        np.prod(found[one]) >= np.prod(found[two])
        for one, two in zip(found, list(found)[1:], strict=False)
        if one[0] == two[0]
    )
    assert probabilities(store, run_id) == pytest.approx({c: WINTER.look(c, SEEN)[1][1] for c in TEST}, abs=1e-6)
    assert "patches: patch_idx is the text-position\npositions count patches with features of dense" in said


def test_a_table_of_all_patches_is_the_whole_attention(store: Store, tmp_path: Path) -> None:
    """Where the run wrote the whole table, that goes in, and not the top."""
    run_id, said = take(store, make_study_run(tmp_path, WINTER, "whole", whole=True))
    assert_same(attention(store, run_id), expected(WINTER))
    assert read_run(store, run_id)["attention"] == "levels"
    assert "attention: weights_df.csv, 17 rows" in said


def test_a_fall_table_goes_in_by_value_alone(store: Store, tmp_path: Path) -> None:
    """Positions of a shuffle say nothing: rows are put on the patches whose recomputed weights they have."""
    run_id, said = take(store, make_study_run(tmp_path, FALL, "fall"))
    assert_same(attention(store, run_id), top(expected(FALL), 40))
    assert "patches by value: the weights that 20260301_101113_HierarchicalAttnMIL_epoch2.pth gives" in said
    assert json.loads(read_run(store, run_id)["config"])["read"]["patches"] == "value"


@pytest.mark.parametrize("what", ["no checkpoint", "other vectors", "a cap", "a tie"])
def test_a_fall_table_that_nothing_places_is_left_out(store: Store, tmp_path: Path, what: str) -> None:
    """Without the checkpoint, or where it gives other weights, the run goes in without attention, and that is said."""
    seen = [patch for patch in SEEN if patch[3] < 4] if what == "a cap" else SEEN
    # With these weights several patches of case 46 have one and the same embedding, and so the same attention.
    root = make_study_run(tmp_path, Weights.drawn(2, gated=False) if what == "a tie" else FALL, "fall", seen=seen)
    checkpoint = next((root / "checkpoints").iterdir())
    if what == "no checkpoint":
        checkpoint.unlink()
    elif what == "other vectors":
        save_checkpoint(checkpoint, Weights.drawn(9, gated=False), "fall", 2)
    run_id, said = take(store, root)
    assert (read_run(store, run_id)["attention"], attention(store, run_id)) == ("none", {})
    assert set(probabilities(store, run_id)) == set(TEST)
    assert (
        "without attention: top_effective_patches_per_case_40.0pct.csv cannot be put on patches: its positions are of a shuffle"
        in said
    )
    reason = {
        "no checkpoint": "the checkpoint of its last epoch, which could tell patches by their weights, is not in its folder",
        "other vectors": "have the weights of no patch, or of several",
        "a cap": "the run saw",
        "a tie": "of 6 rows 2 have the weights of no patch, or of several",
    }[what]
    assert reason in said
    assert "--weights" in said


def selected_slices(root: Path, weights: Weights, left_out: set[tuple[str, str, str]]) -> None:
    """The table of selected slices that names its patches' files, and the summary of stains to four decimals."""
    rows, summary = (
        ["case_id,stain,slice_idx,patch_idx,patch_path,patch_number,effective_weight,true_label,pred_label"],
        "",
    )
    for case in TEST:
        looked, _ = weights.look(case, SEEN)
        stains = {patch[1]: levels[0] for patch, levels in looked.items()}
        summary += (
            f"Case {case}:\n-----\n" + "".join(f"  {stain}: {share:.4f}\n" for stain, share in stains.items()) + "\n"
        )
        for patch, levels in looked.items():
            if patch[:3] not in left_out:
                path = f"patches/{file_of(patch)}.png"
                rows.append(f"{case},{patch[1]},0,0,{path},{patch[3]},{float(np.prod(levels))!r},{LABELS[case]},0")
    (root / "attention_analysis" / "plots").mkdir()
    (root / "attention_analysis" / "plots" / "patch_attention_selected_slices.csv").write_text("\n".join(rows) + "\n")
    (root / "attention_analysis" / "attention_summary.txt").write_text(summary)


def test_selected_slices_go_in_by_their_files(store: Store, tmp_path: Path) -> None:
    """A table of effective weights that names its files: its levels follow from the sums, as far as these tell them."""
    root = make_study_run(tmp_path, FALL, "fall")
    for path in (root / "attention_analysis").iterdir():
        path.write_text(path.read_text().splitlines()[0] + "\n")
    (root / "results.txt").unlink()
    left_out = {("38", "h&e", "match_10")}
    selected_slices(root, FALL, left_out)
    run_id, said = take(store, root, encoder="dense")
    right = {patch: levels for patch, levels in expected(FALL).items() if patch[:3] not in left_out}
    assert_same(attention(store, run_id), right)
    facts = read_run(store, run_id)
    assert facts["attention_known"] == {"pct": None, "said": "15 of 17 patches, those of selected slices"}
    assert "patches by their files' names" in said
    assert milstore(store, "query", "top-patches", "--run", run_id) == 2
    assert milstore(store, "query", "recall", "--run", run_id) == 0


@pytest.mark.parametrize(
    ("form", "weights"), [("winter", WINTER), ("whole", WINTER), ("plain", WINTER), ("fall", FALL)]
)
def test_weights_give_the_whole_attention(store: Store, tmp_path: Path, form: str, weights: Weights) -> None:
    """A checkpoint of any form is evaluated on the store's features: all patches of all subsets, to 1e-6."""
    root = make_study_run(tmp_path, weights, form, others=BEST if weights is WINTER else None)
    file = root / "checkpoints" / "20260301_101113_HierarchicalAttnMIL_epoch2.pth"
    run_id, said = take(store, root, weights=file)
    assert_same(attention(store, run_id), expected(weights, TEST + TRAIN))
    right = {case: weights.look(case, SEEN)[1][1] for case in TEST + TRAIN}
    assert probabilities(store, run_id) == pytest.approx(right, abs=1e-6)
    assert {r["case_id"]: r["subset"] for r in table(store, run_id, "predictions")} == {
        **dict.fromkeys(TEST, "test"), **dict.fromkeys(TRAIN, "train"),
    }  # fmt: skip
    assert "predictions: the run's own, which the weights give to" in said
    assert "top_effective_patches_per_case_40.0pct.csv: 6 rows, whose weights are these to" in said
    facts = read_run(store, run_id)
    assert (facts["model"], facts["attention"], facts["encoder"], facts["best_epoch"]) == (
        "hierarchical",
        "levels",
        "dense",
        2,
    )


def test_the_weights_that_are_stored_are_of_our_model(store: Store, tmp_path: Path) -> None:
    """What is kept with the run is what a training of ours keeps: the hierarchical model gives the same from it."""
    from safetensors.torch import load_file

    from milstore.models.hierarchical import Hierarchical
    from milstore.models.interface import make_bag

    root = make_study_run(tmp_path, WINTER, "whole")
    run_id, _ = take(store, root, weights=next((root / "checkpoints").glob("*epoch2.pth")))
    code = read_run(store, run_id)["model_code"]
    model = Hierarchical(Hierarchical.Config(**code["config"]), 3, 2).eval()
    state = load_file(store.run_folder(run_id) / "weights.safetensors")
    model.load_state_dict({name.removeprefix("inner."): value for name, value in state.items()})
    seen = [patch for patch in SEEN if patch[0] == "46"]
    features = torch.tensor(np.stack([vectors()[patch] for patch in seen]), dtype=torch.float32)
    logits = model(
        make_bag(features, torch.zeros(len(seen), dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    ).logits_C
    assert logits.softmax(0).tolist() == pytest.approx(WINTER.look("46", SEEN)[1], abs=1e-5)


def test_predictions_are_never_those_of_best_pth(store: Store, tmp_path: Path) -> None:
    """Given best.pth, attention is its, predictions stay the last epoch's, and the largest difference is said."""
    root = make_study_run(tmp_path, WINTER, others=BEST)
    run_id, said = take(store, root, weights=root / "checkpoints" / "best.pth")
    last = {case: WINTER.look(case, SEEN)[1][1] for case in TEST}
    assert probabilities(store, run_id) == pytest.approx(last, abs=1e-6)
    assert_same(attention(store, run_id), expected(BEST))
    off = {case: abs(BEST.look(case, SEEN)[1][1] - last[case]) for case in TEST}
    worst = max(off, key=lambda case: off[case])
    assert f"weights and predictions disagree, by up to {off[worst]:.3g} in a probability (case {worst})" in said
    assert "these weights are of epoch 1, and its predictions of epoch 2" in said


def test_caps_keep_the_first_patches_in_text_order(store: Store, tmp_path: Path) -> None:
    """With 2 patches a slice and 1 slice a stain, weights are shown what the run saw, and its top table fits."""
    kept = {("38", "h&e", "match_10"), ("38", "sox10", "match_2"), *(p[:3] for p in SEEN if p[0] != "38")}
    seen = [
        patch
        for patch in SEEN
        if patch[:3] in kept and sorted(file_of(p) for p in SEEN if p[:3] == patch[:3]).index(file_of(patch)) < 2
    ]
    root = make_study_run(tmp_path, WINTER, caps=(2, 1), seen=seen, pct=50.0)
    run_id, _ = take(store, root, experiment="top")
    assert_same(attention(store, run_id), top(expected(WINTER, TEST, seen), 50, seen))
    assert {r["n_patches"] for r in table(store, run_id, "attention") if r["case_id"] == "46"} == {2}
    run_id, said = take(store, root, experiment="all", weights=next((root / "checkpoints").glob("*epoch2.pth")))
    assert_same(attention(store, run_id), expected(WINTER, TEST + TRAIN, seen))
    assert "of every patch that the caps of the run left" in said


def test_a_cap_that_nothing_tells_is_said(store: Store, tmp_path: Path) -> None:
    """Where the run saw fewer patches than the store has, and no log tells which, positions are not guessed."""
    seen = [patch for patch in SEEN if patch != ("46", "h&e", "match_3", 5)]
    root = make_study_run(tmp_path, WINTER, seen=seen)
    run_id, said = take(store, root)
    assert attention(store, run_id) == {}
    assert "the run saw 4 of case 46, where the store has 5, and neither its log nor the store says which" in said


@pytest.mark.parametrize(
    ("form", "kept"), crossed(["winter", "whole", "fall"], ["both", "checkpoint", "log"], besides=[("winter", "log")])
)
def test_epochs_come_from_log_and_checkpoint(store: Store, tmp_path: Path, form: str, kept: str) -> None:
    """The training loss is the cross-entropy, where that is told apart; the checkpoint's learning rate is the exact one.

    Each form and each that is kept; `make torture` tries all.
    """
    root = make_study_run(tmp_path, FALL if form == "fall" else WINTER, form)
    log = tmp_path / "MIL_train_77.out"
    if kept == "log":
        shutil.rmtree(root / "checkpoints")
    if kept == "checkpoint":
        log.unlink()
    run_id, said = take(store, root)
    mixed = kept == "checkpoint" and form == "whole"
    cross_entropy = [0.5, -0.25] if form == "fall" or mixed else [0.625, 0.375]
    seconds = 1.5 if kept != "checkpoint" and form != "fall" else None
    rates = [0.01, 0.01] if kept == "log" else [0.01, 0.003]
    assert table(store, run_id, "epochs") == [
        {
            "epoch": i, "train_loss": cross_entropy[i - 1], "train_accuracy": None, "val_loss": [0.75, 0.5][i - 1],
            "val_accuracy": [0.5, 1.0][i - 1], "learning_rate": rates[i - 1], "seconds": seconds,
        }
        for i in (1, 2)
    ]  # fmt: skip
    facts = read_run(store, run_id)
    logged = kept != "checkpoint"
    assert [facts[name] for name in ("n_epochs", "best_epoch", "seed", "slurm_job_id", "started_at")] == [
        2, 2, *([5, "77", "2026-03-01T10:11:10"] if logged else [None] * 3),
    ]  # fmt: skip
    assert ("the training loss is less a multiple of the attention's entropy" in said) == mixed
    assert ("no log in the folder or beside it" in said) == (not logged)


def splits_of(store: Store, tmp_path: Path, test: tuple[int, ...], train: tuple[int, ...]) -> None:
    file = tmp_path / "data_splits_4.npz"
    arrays = {"train_cases": train, "val_cases": (), "test_cases": test}
    np.savez(file, **{name: np.array(cases, np.int64) for name, cases in arrays.items()})
    ingest_splits(store, [file], split_set="five")


@pytest.mark.parametrize("drawn", [True, False])
def test_the_split_is_found_by_what_it_holds(store: Store, tmp_path: Path, drawn: bool) -> None:
    """The run's own split, or its test cases where the split was loaded, say which split of the store it is."""
    splits_of(store, tmp_path, (5, 38, 46), (7,))
    run_id, said = take(store, make_study_run(tmp_path, WINTER, drawn_split=drawn))
    facts = read_run(store, run_id)
    assert [facts[name] for name in ("split_set", "split", "n_splits")] == ["five", 4, 1]
    assert f"split 4 of five: {'that of' if drawn else 'the only one whose test cases are those of the run'}" in said


def test_a_split_that_the_store_lacks_is_no_wall(store: Store, tmp_path: Path) -> None:
    """The run goes in without a split, its subsets its own, and the line that would number it is printed."""
    run_id, said = take(store, make_study_run(tmp_path, WINTER))
    assert [read_run(store, run_id)[name] for name in ("split_set", "split", "n_splits")] == [None] * 3
    assert f"milstore ingest splits {tmp_path / 'run_20260301_101112' / 'data_splits.npz'} --split-set NAME" in said


def test_another_split_is_refused_with_its_cases(store: Store, tmp_path: Path) -> None:
    """A split that is named and is not the run's: the cases that are elsewhere are named, and nothing is stored."""
    splits_of(store, tmp_path, (5, 7), (38, 46))
    before = contents(store)
    for drawn in (True, False):
        root = make_study_run(tmp_path / str(drawn), WINTER, drawn_split=drawn)
        with pytest.raises(DataError) as caught:
            take(store, root, split=4)
        words = "case 38 in test, and the split has it in train, case 46 in test, and the split has it in train"
        assert words in str(caught.value)
        assert "made on another split than is named" in str(caught.value)
    assert contents(store) == before


def test_labels_that_contradict_are_refused_with_their_cases(store: Store, tmp_path: Path) -> None:
    """The run's labels are compared with the store's; kept by --labels-of-run, and said then."""
    root = make_study_run(tmp_path, WINTER)
    text = (root / "predictions.csv").read_text().splitlines()
    text = [line.replace("5,1,", "5,0,", 1) if line.startswith("5,") else line for line in text]
    (root / "predictions.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(DataError, match=r"of 1 of its 3 cases: 5 \(label 0, the store label 1\).*--labels-of-run"):
        take(store, root)
    report = ingest_run_folder(store, root, "study", FolderOptions(labels_of_run=True))
    assert "it keeps its own labels, which the store contradicts, of 1 case" in report.lines()
    assert {r["case_id"]: r["true_label"] for r in table(store, report.run_id, "predictions")} == {
        **LABELS_OF_TEST,
        "5": 0,
    }


LABELS_OF_TEST = {case: LABELS[case] for case in TEST}


def test_a_second_time_changes_nothing(store: Store, tmp_path: Path) -> None:
    """The same folder is the same run."""
    root = make_study_run(tmp_path, WINTER)
    run_id, _ = take(store, root)
    before = contents(store)
    again = ingest_run_folder(store, root, "study")
    assert (again.run_id, again.changed) == (run_id, False)
    assert contents(store) == before


def _without_predictions(root: Path) -> None:
    (root / "predictions.csv").unlink()


def _cut(root: Path) -> None:
    lines = (root / "predictions.csv").read_text().splitlines()
    (root / "predictions.csv").write_text("\n".join(lines[:-1]) + "\n")


def _several(root: Path) -> None:
    for name in ("best", "epoch1"):
        shutil.copy(root / "predictions.csv", root / f"predictions_{name}.csv")
    (root / "predictions.csv").unlink()


def _other_form(root: Path) -> None:
    (root / "predictions.csv").write_text("slide_id,y_hat,Y\na,0.5,1\n")


def _other_table(root: Path) -> None:
    next((root / "attention_analysis").glob("top*.csv")).write_text("case_id,weight\n5,1\n")


def _code(root: Path) -> None:
    torch.save({"model_state_dict": {}, "epoch": Path("x")}, next((root / "checkpoints").iterdir()))


def _other_model(root: Path) -> None:
    torch.save({"model_state_dict": {"layer.weight": torch.zeros(2, 2)}}, next((root / "checkpoints").iterdir()))


def _misfit(root: Path) -> None:
    state = WINTER.state("winter") | {"classifier.1.weight": torch.zeros(2, 9)}
    torch.save({"model_state_dict": state}, next((root / "checkpoints").iterdir()))


def _no_log(root: Path) -> None:
    (root.parent / "MIL_train_77.out").write_text(f"Created run directory: {root.name}\nhello\n")


def _other_options(root: Path) -> None:
    (root.parent / "MIL_train_77.out").write_text(f"Created run directory: {root.name}\nArguments: __import__('os')\n")


def _two_runs(root: Path) -> None:
    np.savez(
        root / "data_splits.npz", train_cases=np.array([5]), val_cases=np.array([], int), test_cases=np.array([38, 46])
    )


def _pickled_split(root: Path) -> None:
    cases = np.array([5, 38, 46], object)
    np.savez(root / "data_splits.npz", train_cases=cases, val_cases=cases, test_cases=cases)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_predictions, "has no predictions.csv: it is no run of the study's trainers, or one that never came to predict"),
        (shutil.rmtree, "is no folder: give the run's folder, in which predictions.csv lies"),
        (_cut, "has 2 cases, and results.txt says that 3 were predicted: it is not whole"),
        (_several, "has predictions of several checkpoints (predictions_best.csv, predictions_epoch1.csv)"),
        (_other_form, "it is not of the study's trainers (prob_class0 or prob_benign)"),
        (_other_table, "has no column stain, slice_idx, patch_idx, stain_attention, slice_attention, patch_attention"),
        (_code, "is damaged, or holds more than tensors"),
        (_other_model, "is no checkpoint of the study's hierarchical model: it has no projection (patch_projector.0.weight)"),
        (_misfit, "has weights that do not fit each other: classify.1.weight has shape (2, 9), not (2, 4)"),
        (_no_log, "has no line 'Arguments: …': it is no log of the study's trainers"),
        (_other_options, "has in its line 'Arguments' no dictionary of settings: __import__('os')"),
        (_two_runs, "has cases that are no test cases of the run's own split (5): two runs may have written into this folder"),
        (_pickled_split, "holds Python objects, which only pickle could read"),
    ],
)  # fmt: skip
def test_what_is_no_whole_run_is_refused(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None], message: str
) -> None:
    """A folder that is incomplete, of another form, or holds code: one line, exit code 2, and the store as it was."""
    root = make_study_run(tmp_path, WINTER)
    spoil(root)
    before = contents(store)
    assert milstore(store, "ingest", "run", root, "--from", "study") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert contents(store) == before
    assert (run_ids(store), list_drafts(store)) == ([], [])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (lambda: {**WINTER.state("winter"), "further.weight": torch.zeros(1)}, "further.weight have no place in it"),
        (lambda: {**WINTER.state("winter"), "patch_projector.0.bias": torch.full((4,), torch.nan)}, "no 1-dimensional array of finite numbers"),
        (lambda: {n: v for n, v in WINTER.state("winter").items() if "patch_attention.attention_U" not in n}, "some of its levels are gated and some are not"),
        (lambda: {**WINTER.state("winter"), "patch_projector.0.weight": torch.zeros(4, 8)}, "takes vectors of 8 numbers, and those of encoder dense have 3"),
        (lambda: {**WINTER.state("winter"), "classifier.1.weight": torch.zeros(3, 4), "classifier.1.bias": torch.zeros(3)}, "tells 3 classes apart, and the store has 2 classes"),
    ],
)  # fmt: skip
def test_weights_of_another_model_are_refused(
    store: Store, tmp_path: Path, state: Callable[[], dict[str, torch.Tensor]], message: str
) -> None:
    """What cannot be this model's weights, or is not for these features and classes, is said in one line."""
    root, file = make_study_run(tmp_path, WINTER), tmp_path / "w.pth"
    torch.save({"model_state_dict": state()}, file)
    before = contents(store)
    with pytest.raises(DataError) as caught:
        take(store, root, weights=file)
    assert message in str(caught.value)
    assert contents(store) == before


def test_the_command_says_which_options_go_together(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options of tables and of folders are not mixed, and a tool that cannot be read is said with those that can."""
    root = make_study_run(tmp_path, WINTER)
    words = ["ingest", "run", root]
    for more, said in (
        ((), "say --experiment and --split of the run; of a folder that the study's trainers wrote, give --from study"),
        (("--from", "study", "--pooling", "flat"), "--pooling is for tables: leave it out with --from study"),
        (("--from", "studdy"), "--from 'studdy': no runs of this tool can be read; did you mean study?"),
        (("--from", "study", "--attention", "a.csv"), "--attention is for tables: leave it out with --from study"),
        (("--experiment", "e", "--split", "1", "--weights", "w"), "--weights is for folders: give --from too"),
        (("--from", "study", "--log", tmp_path / "none.log"), "none.log"),
        (("--from", "study", "--weights", tmp_path / "none.pth"), "none.pth cannot be read"),
    ):
        assert milstore(store, *words, *more) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1
    assert milstore(store, *words, "--from", "study", "--experiment", "theirs", "--seed", "9") == 0
    (run_id,) = run_ids(store)
    assert run_id.startswith("theirs-9-")
    assert check(store) == []
    assert milstore(store, "query", "top-patches", "--case", "38") == 0
    out = capsys.readouterr()
    assert "only the top 40 % is known" in out.err


def test_without_features_there_is_no_position(tmp_path: Path) -> None:
    """A store without features cannot count patches with a vector: no attention, and that is said; weights need some."""
    store = study_store(tmp_path / "store")
    from milstore.store.cohort_edit import edit_cohort

    with edit_cohort(store) as edit:
        for name in ("encoders", "packs", "pack_cases"):
            edit.replace(name, edit.table(name).slice(0, 0))
    root = make_study_run(tmp_path, WINTER)
    report = ingest_run_folder(store, root, "study")
    assert report.patches == 0
    assert "positions count the patches that have a vector, and the store has no features" in "\n".join(report.lines())
    from milstore.errors import ConflictError

    with pytest.raises(ConflictError, match="the store has no features"):
        ingest_run_folder(store, root, "study", FolderOptions(weights=next((root / "checkpoints").iterdir())))
    with pytest.raises(UsageError, match="encoder"):
        ingest_run_folder(store, root, "study", FolderOptions(encoder="No"))


def test_the_tests_have_what_makes_it_hard() -> None:
    """Text order differs from that of numbers, a vector is missing, and both change where a row belongs."""
    places = positions(SEEN)
    assert places["38", "h&e", "match_10", 3] == (0, 0)
    assert places["38", "h&e", "match_2", 11] == (1, 1)
    assert len(PATCHES) - len(SEEN) == 1


def test_torch_is_imported_only_for_checkpoints(store: Store, tmp_path: Path) -> None:
    """A run whose folder holds no checkpoint, as those that are published, goes in without torch."""
    root = make_study_run(tmp_path, WINTER)
    shutil.rmtree(root / "checkpoints")
    words = ["ingest", "run", str(root), "--from", "study", "--store", str(store.root)]
    code = (
        f"import sys; from milstore.cli.main import main; assert main({words}) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert len(run_ids(store)) == 1


def test_cases_without_features_keep_their_predictions(store: Store, tmp_path: Path) -> None:
    """Weights on features of some of the cases: attention of these, and the others are named."""
    (tmp_path / "few").mkdir()
    for patch, vector in vectors().items():
        if patch[0] != "46":
            np.save(tmp_path / "few" / f"{file_of(patch)}.npy", vector.astype(np.float32))
    ingest_features(store, tmp_path / "few", encoder="few", jobs=1)
    root = make_study_run(tmp_path, WINTER)
    run_id, said = take(store, root, encoder="few", weights=next((root / "checkpoints").iterdir()))
    assert_same(attention(store, run_id), expected(WINTER, ("5", "38", "7")))
    right = {case: WINTER.look(case, SEEN)[1][1] for case in TEST + TRAIN}
    assert probabilities(store, run_id) == pytest.approx(right, abs=1e-6)
    facts = read_run(store, run_id)
    assert (facts["attention"], facts.get("attention_known")) == ("part", None)
    assert "without attention, for want of features: 46" in said
    assert "top_effective_patches_per_case_40.0pct.csv: 4 rows, whose weights are these to" in said
    with pytest.raises(UsageError, match="several encoders: choose by --encoder"):
        take(store, root, experiment="other")
