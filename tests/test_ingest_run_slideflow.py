"""Models of slideflow go in: figures of slides become those of cases, attention lands on the patches of its tiles' centres."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import milstore
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.run_reader import run_ids
from tests.ingesting import contents
from tests.ingesting import milstore as command
from tests.tool_files import (
    PARAMS,
    WEIGHTS,
    corners,
    placed_store,
    slideflow_plan,
    slideflow_project,
    slideflow_run,
    slideflow_splits,
    slides_of,
)

PREDICTED = "select case_id, label, round(probability, 6) as p, subset from probabilities join predictions using (run_id, case_id)"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return placed_store(tmp_path / "store")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return slideflow_project(tmp_path / "project")


def taken(store: Store, folder: Path, *words: str) -> int:
    """Take slideflow's runs in; the exit code."""
    return command(store, "ingest", "run", folder, "--from", "slideflow", *words)


def attention(store: Store) -> dict[tuple[str, int, int], list[float]]:
    """Of each patch, by its slide's name and its place: its slide's share of the case, and its own."""
    rows = milstore.open(store.root).sql(
        "select slice_name, x, y, stain_attention * slice_attention as slide, effective_attention as own "
        "from attention join slices using (case_id, stain, slice_idx) "
        "join patches using (case_id, stain, slice_idx, patch_idx)"
    )
    return {(name, x, y): [round(slide, 6), round(own, 6)] for name, x, y, slide, own in rows.rows()}


def test_a_case_has_the_mean_of_its_slides_and_patches_their_share(
    store: Store, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run a fold; case A's probability is the mean of its two slides, which share attention as 3 to 1 patches; every weight
    lies at the patch around its tile's centre, on the slide of 0.25 µm a pixel too."""
    assert taken(store, project) == 0
    told = capsys.readouterr().err
    assert "slideflow's validation slides are the test here" in told
    assert "slideflow chose each model's epoch by these slides (save_monitor valid_loss)" in told
    assert milstore.open(store.root).sql(f"{PREDICTED} where label = 1 order by all").rows() == [
        ("A", 1, 0.6, "test"),
        ("B", 1, 0.3, "test"),
        ("C", 1, 0.9, "test"),
        ("D", 1, 0.75, "test"),
    ]
    share = {"A1_HE": 0.75, "A1_SOX10": 0.25}
    assert attention(store) == {
        (slide, *place): [share.get(slide, 1.0), round(share.get(slide, 1.0) * weight, 6)]
        for slide, weights in WEIGHTS.items()
        for place, weight in zip(corners(slide), weights, strict=True)
    }
    before = contents(store)
    assert taken(store, project) == 0 and "nothing changed" in capsys.readouterr().err
    assert contents(store) == before


def test_questions_of_attention_answer_and_say_whose_figures_they_are(store: Store, project: Path) -> None:
    """`top-patches` names the most attended patches by their places; every answer says that it is by slideflow, and how slides
    became cases."""
    taken(store, project)
    bare = milstore.open(store.root)
    answer = bare.query("top-patch-list", case="B")
    assert [row["patch_idx"] for row in answer.records()][:1] == [0]
    notes = " ".join(answer.notes)
    assert "by slideflow" in notes and "the mean over its slides" in notes and "in proportion to their patches" in notes
    for question in ("top-patches", "stain-attention", "slice-attention", "recall", "roc", "coverage", "concentration"):
        assert bare.query(question).records()
    facts = json.loads((store.root / "runs" / f"run_id={run_ids(store)[0]}" / "run.json").read_text())
    assert facts["figures"]["by"] == "slideflow"
    assert json.loads(facts["config"])["params"] == {"model": "attention_mil", "save_monitor": "valid_loss"}
    assert "/data/bags" not in facts["config"]


def test_the_splits_are_the_plan_that_fits_else_the_manifests(
    store: Store, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several plans the one with these folds is taken; without one, what the models' own manifests say."""
    other = slideflow_plan({"k-fold-1": slides_of("A", "C"), "k-fold-2": slides_of("B", "D")})
    mine = slideflow_plan({"k-fold-1": slides_of("A", "B"), "k-fold-2": slides_of("C", "D")})
    slideflow_splits(project, [other, mine])
    assert taken(store, project, "--experiment", "plan", "--split-set", "plan") == 0
    assert "split set plan: made of" in (told := capsys.readouterr().err) and "splits.json" in told
    (project / "splits.json").unlink()
    assert taken(store, project, "--experiment", "same") == 0
    assert "split set plan: that of" in capsys.readouterr().err
    slideflow_splits(project, [other])
    fresh = placed_store(project.parent / "fresh")
    assert taken(fresh, project) == 0
    rows = milstore.open(fresh.root).sql("select split, case_id from splits where subset = 'test' order by all").rows()
    assert rows == [(1, "A"), (1, "B"), (2, "C"), (2, "D")]


def test_places_come_from_the_models_own_table_where_it_is_the_same(store: Store, project: Path) -> None:
    """Without bags the table of the model's tiles says where the rows lie, if its attention is theirs."""
    fold = next((project / "mil").glob("*kfold2"))
    for path in (project / "bags").iterdir():
        path.unlink()
    rows = [
        (slide, x + 128, y + 128, weight)
        for slide in ("C1_HE", "D1_HE")
        for (x, y), weight in zip(corners(slide), WEIGHTS[slide], strict=True)
    ]
    columns = dict(zip(("slide", "loc_x", "loc_y", "attention"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), fold / "mil_tile_preds.parquet")
    assert taken(store, fold) == 0
    assert {place[0]: shares for place, shares in attention(store).items() if place[1:] == (768, 512)} == {
        "C1_HE": [1.0, 0.9]
    }


def test_cases_without_whole_attention_are_named_and_predictions_alone_are_a_run(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case of which a slide has no attention has none, by name; a folder without attention is a run of predictions."""
    project = slideflow_project(tmp_path / "project")
    fold = next((project / "mil").glob("*kfold1"))
    (fold / "attention" / "A1_SOX10_att.npz").unlink()
    np.savez(fold / "attention" / "C1_HE_att.npz", np.array(WEIGHTS["C1_HE"]))
    assert taken(store, fold) == 0
    told = capsys.readouterr().err
    assert "without attention: 1 of 2 cases (A), a slide of each has none" in told
    assert "attention of slides that it did not predict, not taken: C1_HE" in told
    assert {place[0] for place in attention(store)} == {"B1_HE"}
    for path in (fold / "attention").iterdir():
        path.unlink()
    assert taken(store, fold, "--experiment", "bare") == 0
    assert "predictions alone" in capsys.readouterr().err


def test_patches_that_two_tools_cut_are_found_though_they_stand_under_two_grids(store: Store, project: Path) -> None:
    """A patch that another tool cut at the same place keeps that tool's grid: attention finds it there all the same."""
    with edit_cohort(store) as edit:
        edit.replace(
            "grids", pa.table({"grid": ["224px-0.57mpp", "256px-0.5mpp"], "edge": [224, 256], "mpp": [0.57, 0.5]})
        )
        patches = edit.table("patches").to_pylist()
        rows = [{**row, "grid": "224px-0.57mpp" if row["patch_idx"] % 2 else "256px-0.5mpp"} for row in patches]
        edit.replace("patches", pa.Table.from_pylist(rows, edit.table("patches").schema))
    assert taken(store, project) == 0
    found = attention(store)
    assert {slide: found[slide, *corners(slide)[0]][1] for slide in ("B1_HE", "C1_HE")} == {"B1_HE": 0.4, "C1_HE": 0.9}
    assert len(found) == sum(map(len, WEIGHTS.values()))


def test_models_of_several_kinds_go_in_one_at_a_time(
    store: Store, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which model and outcome is meant is asked for; two runs of one fold are told apart by naming a folder."""
    slideflow_run(project / "mil", 1, label="CLAM_SB-grade")
    assert taken(store, project) == 2
    error = capsys.readouterr().err
    assert "models of several kinds: attention_mil-grade (2 runs), CLAM_SB-grade (1 run)" in error
    assert taken(store, project, "--experiment", "clam_sb-grade") == 0 and len(run_ids(store)) == 1
    again = slideflow_run(project / "mil", 1)
    assert taken(store, project, "--experiment", "attention_mil-grade") == 2
    assert "several runs of one fold" in capsys.readouterr().err
    assert taken(store, again, "--experiment", "again") == 0


def test_bags_of_patients_are_predictions_of_cases(
    store: Store, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model whose bags are of patients gives figures of cases, and its attention is not taken."""
    fold = next((project / "mil").glob("*kfold2"))
    said = {"patient": ["C", "D"], "y_true": [0, 1], "y_pred0": [0.75, 0.5], "y_pred1": [0.25, 0.5]}
    pq.write_table(pa.table(said), fold / "predictions.parquet")
    assert taken(store, fold) == 0
    assert "its bags are of patients: predictions alone" in capsys.readouterr().err
    rows = milstore.open(store.root).sql(f"{PREDICTED} where label = 1 order by all").rows()
    assert rows == [("C", 1, 0.25, "test"), ("D", 1, 0.5, "test")]


def spoiled(name: str, project: Path) -> str:
    """Spoil a project in one way; what is said of it."""
    fold = next((project / "mil").glob("*kfold2"))
    attended = fold / "attention" / "C1_HE_att.npz"
    table = pq.read_table(fold / "predictions.parquet")
    if name == "scores":
        np.savez(attended, np.array([2.0, -1.0]))
        return "has numbers that are no weights: they sum to 1, from -1 to 2; move its folder attention/ away"
    if name == "heads":
        np.savez(attended, np.full((2, 2), 0.25))
        return "has attention of shape (2, 2): it needs one weight a tile"
    if name == "several arrays":
        np.savez(attended, np.array([1.0]), np.array([1.0]))
        return "holds 2 arrays (arr_0, arr_1), not one"
    if name == "length":
        np.savez(attended, np.array([0.5, 0.25, 0.25]))
        return "has the centres of 2 tiles, and C1_HE_att.npz has 3"
    if name == "grid":
        np.savez(project / "bags" / "C1_HE.index.npz", np.array(corners("C1_HE")) + 64)
        return "2 of its 2 places are no patch of slide C1_HE in the store"
    if name == "no places":
        (project / "bags" / "C1_HE.index.npz").unlink()
        return "nothing says where its 2 tiles lie"
    if name == "classes":
        (fold / "mil_params.json").write_text(json.dumps(PARAMS | {"outcome_labels": {"0": "low", "1": "high"}}))
        return "tells the classes low, high apart, and the store benign, high-grade"
    if name == "no classes":
        (fold / "mil_params.json").write_text(json.dumps({"outcomes": "age"}))
        return "has no outcome_labels 0, 1, …"
    if name == "columns":
        pq.write_table(table.drop_columns(["y_pred1"]), fold / "predictions.parquet")
        return "it needs slide, and y_pred0, y_pred1"
    if name == "twice":
        pq.write_table(pa.concat_tables([table, table]), fold / "predictions.parquet")
        return "has slide C1_HE, D1_HE more than once"
    if name == "number":
        pq.write_table(table.set_column(1, "y_true", pa.array([7, 1])), fold / "predictions.parquet")
        return "has y_true 7 of slide C1_HE: there are 2 classes"
    if name == "settings":
        (fold / "mil_params.json").write_text(json.dumps(PARAMS | {"outcomes": "other"}))
        return "were trained by different mil_params.json"
    if name == "held out":
        for path in (project / "mil").glob("*/slide_manifest.csv"):
            path.write_text(path.read_text().replace("C1_HE,validation", "C1_HE,training"))
        (project / "splits.json").unlink()
        return "predicted cases that the split does not hold out (C: "
    if name == "manifest":
        (fold / "slide_manifest.csv").write_text("slide,dataset\nC1_HE,somewhere\n")
        return "line 2, has dataset 'somewhere': it must be training or validation"
    (fold / "predictions.parquet").write_bytes(b"PAR1")
    return "predictions.parquet"


@pytest.mark.parametrize(
    "name",
    [
        "scores", "heads", "several arrays", "length", "grid", "no places", "classes", "no classes", "columns", "twice",
        "number", "settings", "held out", "manifest", "damaged",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(name: str, store: Store, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a folder says that cannot be: one line that names the file, exit 2, the store unchanged."""
    message = spoiled(name, project)
    before = contents(store)
    assert taken(store, project) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and contents(store) == before


def test_a_folder_without_models_is_refused(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder in which no model lies, and none at all."""
    for folder, message in ((tmp_path, "has no folder with predictions.parquet"), (tmp_path / "x", "does not exist")):
        assert taken(store, folder) == 2
        assert message in capsys.readouterr().err
