"""Experiments of CLAM go in as their folder: a run a fold, by case, with the attention of heat maps that are of the fold."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest

from milstore import open as open_facade
from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest.features import ingest_features
from milstore.ingest.importers import FolderOptions, ingest_run_folder
from milstore.ingest.slide_table import ingest_slides
from milstore.ingest.splits import ingest_splits
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.run_reader import read_run, run_ids
from milstore.store.split_numbers import subsets_of
from tests.clam_files import FOLDS, clam_fold, clam_runs, clam_splits, heat_map, heat_map_table
from tests.ingesting import contents, milstore
from tests.sliding import PLACES, slide_store

SUBSETS = {0: {"A": "test", "B": "val", "C": "train"}, 1: {"A": "train", "B": "test", "C": "test"}}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return slide_store(tmp_path / "store")


@pytest.fixture
def clam(tmp_path: Path) -> Path:
    """CLAM's folder of two folds, its heat maps all by the model of fold 0."""
    return clam_runs(tmp_path / "clam")


def take(store: Store, folder: Path, **options: object) -> list[str]:
    return ingest_run_folder(store, folder, "clam", FolderOptions(**options)).lines()  # type: ignore[arg-type]


def runs(store: Store) -> dict[int, str]:
    """The run of each split."""
    return {int(read_run(store, run_id)["split"]): run_id for run_id in run_ids(store)}


def rows(store: Store, run_id: str, table: str) -> list[dict[str, object]]:
    con = open_facade(store.root)
    found = con.sql(f"select * from {table} where run_id = '{run_id}'")
    table_of: pa.Table = found.arrow() if hasattr(found, "arrow") else found
    return [{name: value for name, value in row.items() if name != "run_id"} for row in table_of.to_pylist()]


def test_a_folder_becomes_a_run_a_fold(store: Store, clam: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Predictions are the means of slides, in test of the splits that lie in the folder; the second time changes nothing."""
    assert milstore(store, "ingest", "run", clam, "--from", "clam") == 0
    said = capsys.readouterr().err
    assert "split set task_100: made of" in said
    assert "classes: 0 is benign, 1 is high-grade" in said
    cohort = read_cohort(store)
    assert {number: subsets_of(cohort, "task_100", number) for number in (0, 1)} == SUBSETS
    found = runs(store)
    predicted = {
        number: {
            row["case_id"]: (row["subset"], row["true_label"], row["pred_label"], round(float(str(row["p_true"])), 6))
            for row in rows(store, run_id, "predictions")
        }
        for number, run_id in found.items()
    }
    assert predicted == {0: {"A": ("test", 1, 1, 0.7)}, 1: {"B": ("test", 0, 0, 0.7), "C": ("test", 0, 1, 0.4)}}
    facts = read_run(store, found[0])
    assert [facts[name] for name in ("kind", "experiment", "split_set", "n_splits", "code_version", "attention")] == [
        "imported", "clam-exp", "task_100", 2, "CLAM", "patches",
    ]  # fmt: skip
    assert json.loads(facts["config"])["trainer"] == "clam"
    assert set(json.loads(facts["config"])["source"]) == {
        "eval_results/EVAL_exp/fold_0.csv",
        "heatmaps/results/exp.csv",
        *(f"heatmaps/heatmap_raw_results/exp/high-grade/{slide}/{slide}_blockmap.h5" for slide in ("A_he", "A_sox")),
    }
    assert milstore(store, "ingest", "run", clam, "--from", "clam") == 0
    assert "nothing changed" in capsys.readouterr().err
    assert runs(store) == found


def test_attention_is_the_softmax_within_a_slide_shared_by_patches(store: Store, clam: Path) -> None:
    """Scores 0, ln 2, ln 5 are 1/8, 2/8 and 5/8 of the H&E slide, which has three of the case's four patches."""
    take(store, clam)
    found = {
        (row["stain"], row["patch_idx"]): [
            row["rank"],
            *(round(float(str(row[f"{level}_attention"])), 6) for level in ("stain", "slice", "patch", "effective")),
        ]
        for row in rows(store, runs(store)[0], "attention")
    }
    assert found == {
        ("h&e", 2): [1, 0.75, 1.0, 0.625, 0.46875],
        ("sox10", 0): [2, 0.25, 1.0, 1.0, 0.25],
        ("h&e", 1): [3, 0.75, 1.0, 0.25, 0.1875],
        ("h&e", 0): [4, 0.75, 1.0, 0.125, 0.09375],
    }


def test_heat_maps_of_another_fold_are_counted_and_left_out(store: Store, clam: Path) -> None:
    """The maps of B and C are by a model that gave them other probabilities than fold 1: that run has no attention."""
    said = take(store, clam)
    assert "heat maps: 2 of 4 are of a fold's own model" in said
    assert (
        "left out: 2 heat maps by the model of another fold, which may have trained on the slide (B_he, C_he)" in said
    )
    assert read_run(store, runs(store)[1])["attention"] == "none"
    assert rows(store, runs(store)[1], "attention") == []


def test_the_user_may_say_whose_the_heat_maps_are(store: Store, clam: Path) -> None:
    """`--heat-maps-of 1` gives fold 1 the maps of the slides that it held out, and says that their probabilities differ."""
    said = take(store, clam, heat_maps_of=1)
    assert "left out: 2 heat maps of slides that fold 1 did not hold out (A_he, A_sox)" in said
    assert "by --heat-maps-of 1, though 2 heat maps came with other probabilities than that fold's" in said
    found = {
        (row["case_id"], row["patch_idx"]): round(float(str(row["patch_attention"])), 6)
        for row in rows(store, runs(store)[1], "attention")
    }
    assert found == {("B", 0): 0.5, ("B", 1): 0.5, ("C", 0): 0.25, ("C", 1): 0.75}
    assert read_run(store, runs(store)[0])["attention"] == "none"


def test_a_case_with_a_map_missing_and_one_of_a_slide_in_training(store: Store, clam: Path) -> None:
    """Without the map of one slide its case has no attention, by name; maps of slides that no fold held out are left out."""
    shutil.rmtree(clam / "heatmaps/heatmap_raw_results/exp/benign/B_he")
    heat_map_table(clam, FOLDS[1])
    (clam / "eval_results/EVAL_exp/fold_0.csv").unlink()
    said = take(store, clam)
    assert "without attention: 1 of 2 cases (B), a slide of each has no heat map of this fold" in said
    assert (
        "left out: 2 heat maps of slides that no fold held out, which its model may have trained on (A_he, A_sox)"
        in said
    )
    assert read_run(store, runs(store)[1])["attention"] == "part"
    assert {row["case_id"] for row in rows(store, runs(store)[1], "attention")} == {"C"}


def test_maps_without_the_probabilities_of_their_model_are_left_out(store: Store, clam: Path) -> None:
    """Without heatmaps/results nobody knows whose a map is."""
    (clam / "heatmaps/results/exp.csv").unlink()
    said = take(store, clam)
    assert "heat maps: 0 of 4 are of a fold's own model" in said
    assert [
        line for line in said if "probabilities are not in heatmaps/results (--heat-maps-of K says its fold)" in line
    ]


def test_names_of_classes_that_are_not_the_stores_are_compared_by_number(store: Store, clam: Path) -> None:
    """CLAM's own settings name the classes of heat maps: with other names the probabilities alone decide."""
    heat_map_table(clam, FOLDS[0], names=("normal_tissue", "tumor_tissue"))
    assert "heat maps: 2 of 4 are of a fold's own model" in take(store, clam)


def test_predictions_alone_are_runs_too(store: Store, clam: Path) -> None:
    """Without heat maps the runs have no attention, and that is said; one fold may be taken alone, from its folder."""
    shutil.rmtree(clam / "heatmaps")
    said = take(store, clam / "eval_results" / "EVAL_exp", split=1, seed=4)
    assert [line for line in said if line.startswith("no heat maps")]
    assert [read_run(store, run_id)["seed"] for run_id in run_ids(store)] == [4]
    assert list(runs(store)) == [1]


def test_questions_answer_and_say_whose_figures_they_are(
    store: Store, clam: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`top-patches`, `stain-attention` and `recall` answer of CLAM's runs, and each answer says how they came about."""
    assert milstore(store, "ingest", "run", clam, "--from", "clam") == 0
    capsys.readouterr()
    assert milstore(store, "query", "top-patches", "--case", "A", "--top", "1", "--format", "json") == 0
    said = capsys.readouterr()
    assert [(row["stain"], row["top_patches"]) for row in json.loads(said.out)] == [("h&e", 1), ("sox10", 0)]
    assert (
        "is by CLAM, and what it says is of slides: a case's probability is the mean over its slides, and slides share its "
        "attention in proportion to their patches" in said.err
    )
    for question in ("stain-attention", "concentration", "recall", "provenance"):
        assert milstore(store, "query", question) == 0, question
        said = capsys.readouterr()
        assert "by CLAM" in said.err, question
        left_out = "has no attention of 2 cases (B, C): not in this answer" in said.err
        assert left_out == (question in ("stain-attention", "concentration")), question
    assert milstore(store, "query", "stain-attention", "--case", "B") == 2
    assert "has no attention" in capsys.readouterr().err
    assert milstore(store, "doctor") == 0


def test_a_split_set_of_the_store_is_recognised(store: Store, clam: Path) -> None:
    """The same splits under another name are not made again; a folder without splits is of the only one that fits."""
    ingest_splits(store, [clam / "splits/task_100"], split_set="five")
    assert [line for line in take(store, clam) if line.startswith("split set five: that of")]
    assert read_run(store, runs(store)[0])["split_set"] == "five"
    shutil.rmtree(clam / "splits")
    said = take(store, clam, experiment="again")
    assert "split set five: the only one that holds out what was predicted" in said
    ingest_splits(store, [clam_splits(clam)], split_set="six")
    shutil.rmtree(clam / "splits")
    with pytest.raises(UsageError, match=r"several split sets hold out what its runs predicted \(five, six\): name it"):
        take(store, clam, experiment="third")
    assert "split set six: split set six, as named" not in take(store, clam, experiment="third", split_set="six")
    assert {read_run(store, run_id)["split_set"] for run_id in run_ids(store)} == {"five", "six"}


def test_the_splits_beside_the_results_do_as_well(store: Store, clam: Path) -> None:
    """CLAM copies the splits to its results, whose folder tells the seed."""
    results = clam / "results" / "exp_s1"
    results.parent.mkdir()
    shutil.move(clam / "splits/task_100", results)
    assert [line for line in take(store, clam) if line.startswith("split set exp_s1: made of")]
    assert {read_run(store, run_id)["seed"] for run_id in run_ids(store)} == {1}


def test_classes_that_were_numbered_otherwise_are_told_and_turned(store: Store, clam: Path) -> None:
    """Where CLAM's 0 is the store's high-grade the labels of the cases show it: refused, with the line to use."""
    for number, fold in FOLDS.items():
        clam_fold(clam, number, {slide: own[::-1] for slide, own in fold.items()}, {"A": 0, "B": 1, "C": 1})
    with pytest.raises(DataError, match=r"\(A, B, C\) CLAM numbered .* say so by --classes 0=high-grade,1=benign"):
        take(store, clam)
    said = take(store, clam, classes={"0": "high-grade", "1": "benign"})
    assert "classes: 0 is high-grade, 1 is benign" in said
    found = {row["case_id"]: row["p_true"] for row in rows(store, runs(store)[1], "predictions")}
    assert found == pytest.approx({"B": 0.7, "C": 0.4})
    assert "heat maps: 2 of 4 are of a fold's own model" in said
    with pytest.raises(UsageError, match="--classes: the store has no class low: write"):
        take(store, clam, classes={"0": "low", "1": "benign"}, experiment="other")


def test_labels_that_contradict_the_store_are_refused_or_kept(store: Store, clam: Path) -> None:
    """One case of another class is no other numbering: it is named, and kept only where the user says so."""
    clam_fold(clam, 1, FOLDS[1], {"B": 0, "C": 1})
    with pytest.raises(
        DataError, match=r"other labels than the store has of 1 of its 2 cases: C \(label 1, the store label 0\)"
    ):
        take(store, clam)
    assert run_ids(store) == []
    take(store, clam, labels_of_run=True)
    found = {row["case_id"]: row["true_label"] for row in rows(store, runs(store)[1], "predictions")}
    assert found == {"B": 0, "C": 1}


def _other_grid(clam: Path) -> None:
    heat_map(clam, "A_he", places=np.array(PLACES["A_he"]) + 64)


def _twice(clam: Path) -> None:
    other = clam / "heatmaps/heatmap_raw_results/exp/Unspecified/A_he"
    other.mkdir(parents=True)
    shutil.copy(clam / "heatmaps/heatmap_raw_results/exp/high-grade/A_he/A_he_blockmap.h5", other)


def _not_finite(clam: Path) -> None:
    heat_map(clam, "A_he", scores=[0.0, float("nan"), 0.0])


def _two_branches(clam: Path) -> None:
    path = heat_map(clam, "A_he")
    with h5py.File(path, "r+") as file:
        del file["attention_scores"]
        file["attention_scores"] = np.zeros((3, 2), np.float32)


def _text(name: str, text: str) -> object:
    return lambda clam: (clam / "eval_results/EVAL_exp" / name).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_other_grid, "3 of its 3 places are no patch of slide A_he in the store (such as x 64, y 64): it was made on another grid"),
        (_twice, "are both of slide A_he and fold 0: keep one"),
        (_not_finite, "has attention_scores that are NaN or infinity"),
        (_two_branches, "has attention_scores of shape (3, 2)"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1\nZ_he,1.0,1.0,0.4,0.6\n"), "names 1 slide that the store does not have (Z_he)"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1\nA_he,1.0,0.0,0.4,0.6\n"), "Y_hat for slide A_he that is not its likeliest class"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1\nA_he,1.0,1.0,0.4,much\n"), "line 2, has p_1 'much': it must be a number"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1\nA_he,2.0,1.0,0.4,0.6\n"), "has Y 2 of slide A_he: it must be a class, 0 to 1"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1\nA_he,1,1,0.4,0.6\nA_he,1,1,0.4,0.6\n"), "has slide A_he twice: keep one"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1,p_2\nA_he,1,1,0.1,0.6,0.3\n"), "classes apart, and the store has 2"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1\nB_he,0.0,0.0,0.7,0.3\n"), "it is an evaluation of other splits"),
        (_text("fold_0.csv", "slide_id,Y,Y_hat,p_0,p_1\n"), "has no row"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_whole(
    store: Store, clam: Path, spoil: object, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with any fold or map: one line that names it, exit 2, and neither runs nor splits in the store."""
    assert callable(spoil)
    spoil(clam)
    before = contents(store)
    assert milstore(store, "ingest", "run", clam, "--from", "clam") == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1
    assert contents(store) == before
    assert run_ids(store) == []


def test_a_case_that_the_splits_tear_is_refused_with_its_slides(store: Store, clam: Path) -> None:
    """CLAM may split by slide: then slides of one case are on both sides, and no run can be taken in."""
    clam_splits(clam, {0: {"train": ["A_sox"], "val": ["C_he"], "test": ["A_he", "B_he"]}})
    with pytest.raises(DataError, match=r"tears case A over subsets \(A_sox in train; A_he in test\)"):
        take(store, clam)


def test_several_evaluations_and_options_of_others_are_refused(store: Store, clam: Path) -> None:
    """Of several evaluations one must be named; an option that says nothing here is refused, as is a fold that is not there."""
    shutil.copytree(clam / "eval_results/EVAL_exp", clam / "eval_results/EVAL_two")
    with pytest.raises(UsageError, match=r"holds 2 evaluations \(EVAL_exp, EVAL_two\): name one"):
        take(store, clam)
    take(store, clam / "eval_results/EVAL_two")
    with pytest.raises(UsageError, match="--weights says nothing of a folder of clam"):
        take(store, clam / "eval_results/EVAL_two", weights=clam)
    with pytest.raises(UsageError, match=r"--heat-maps-of 3: .* has the folds 0, 1"):
        take(store, clam / "eval_results/EVAL_two", heat_maps_of=3)
    with pytest.raises(DataError, match="holds no evaluation of CLAM's"):
        take(store, clam / "splits")


def test_an_experiments_name_stands_for_one_evaluation(store: Store, clam: Path) -> None:
    """Another evaluation under the same name is refused, as elsewhere."""
    shutil.copytree(clam / "eval_results/EVAL_exp", clam / "eval_results/EVAL_two")
    take(store, clam / "eval_results/EVAL_exp", experiment="theirs")
    with pytest.raises(ConflictError, match="stands for another configuration"):
        take(store, clam / "eval_results/EVAL_two", experiment="theirs")


def test_patches_of_no_slide_are_named(store: Store, clam: Path) -> None:
    """Where the store has no patches of a slide, or only in pixels of slices, the features must go in first."""
    with edit_cohort(store) as edit:
        table = edit.table("patches")
        at = table.column_names.index("unit")
        edit.replace("patches", table.set_column(at, "unit", pa.array(["slice"] * table.num_rows)))
    with pytest.raises(DataError, match="no patches of slide A_he in pixels of level 0, only in pixels of its slices"):
        take(store, clam)


@pytest.mark.shared
def test_the_groups_own_folder_of_clam(shared_data: Path, tmp_path: Path) -> None:
    """CLAM's own files, from slides to attention: each fold's mean over slides, and each patch's softmax within its slide.

    One slide was scanned at twice the resolution, and CLAM cut it into patches of as many pixels: that must be said.
    """
    theirs = shared_data / "interop" / "clam"
    if not theirs.is_dir():
        pytest.skip("the group's files of CLAM are not on this machine")
    store = create_store(tmp_path / "lab")
    toml = store.root / "milstore.toml"
    toml.write_text(toml.read_text().replace('"melana"', '"melana", "MelanA"'))
    ingest_slides(store, theirs.parent / "slides.csv")
    features = theirs / "FEATURES_DIRECTORY" / "h5_files"
    with pytest.raises(DataError, match=r"S23-0118_B2_HE"):
        ingest_features(store, features, encoder="resnet")
    ingest_features(store, features, encoder="resnet", mixed=True)
    said = take(store, theirs, encoder="resnet")
    assert "heat maps: 4 of 10 are of a fold's own model" in said
    run_id = runs(store)[0]
    folds = np.genfromtxt(theirs / "eval_results/EVAL_exp/fold_0.csv", delimiter=",", skip_header=1, usecols=(3, 4))
    found = {row["case_id"]: row["p_true"] for row in rows(store, run_id, "predictions")}
    assert found == pytest.approx({"S23-0104": folds[:2, 1].mean(), "S23-0145": folds[2:, 0].mean()})
    path = next(theirs.rglob("S23-0145_A2_HE_blockmap.h5"))
    with h5py.File(path) as file:
        weights = np.exp(file["attention_scores"][:, 0].astype(float))
        places = [tuple(each) for each in file["coords"][:].tolist()]
    wanted = dict(zip(places, weights / weights.sum() * 21 / 32, strict=True))
    con = open_facade(store.root)
    joined = con.sql(
        "select x, y, effective_attention from attention join patches using (case_id, stain, slice_idx, patch_idx) "
        f"join slices using (case_id, stain, slice_idx) where run_id = '{run_id}' and slice_name = 'S23-0145_A2_HE'"
    )
    assert {(row["x"], row["y"]): row["effective_attention"] for row in joined.arrow().to_pylist()} == pytest.approx(
        wanted, abs=1e-6
    )


def test_the_same_evaluation_with_other_heat_maps_is_no_repeat(store: Store, clam: Path) -> None:
    """Files that changed since are not taken for a further run of the experiment, unless the user names one."""
    take(store, clam)
    heat_map(clam, "A_sox", scores=[2.0])
    with pytest.raises(
        UsageError, match=r"has a run of split 0 from other files already .*: name this one by --experiment"
    ):
        take(store, clam)
    take(store, clam, experiment="again")
    assert len(run_ids(store)) == 4
