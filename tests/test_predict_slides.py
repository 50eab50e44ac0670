"""From slides to calls by one command: whose they are, cut and encoded as the models' patches were, and predicted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from milstore.cli.main import main
from milstore.encoders.encode_folder import encode_by_folder
from milstore.encoders.encoder_folder import read_encoder_folder
from milstore.errors import ConflictError, DataError, MilstoreError, UsageError
from milstore.predicting.arrival import Given
from milstore.predicting.calls import PredictReport
from milstore.predicting.predict import predict
from milstore.predicting.slides_given import SlidesGiven
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check
from milstore.store.features import open_features
from milstore.training.config import TrainingConfig
from milstore.training.experiment import train_all
from tests.networks import mean_colour
from tests.predicting_slides import PATCH, draw_slide, slides_store, slides_table

CONFIG = TrainingConfig(hidden=8, attention_dim=4, epochs=2, min_epochs=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Six cases of one slide each, cut, encoded by hed and trained on: experiment `drawn`."""
    return slides_store(tmp_path / "store")


def ask(store: Store, path: Path, experiment: str = "drawn", **options: Any) -> PredictReport:
    """Predict what lies on slides."""
    given = Given(slides=SlidesGiven(path=path, **options), jobs=1)
    return predict(store, experiment, given=given, name="ext", threads=1)


def tables(store: Store) -> dict[str, Any]:
    """The cohort's tables, whatever their files are called."""
    cohort = read_cohort(store)
    return {name: cohort.table(name).to_pylist() for name in sorted(cohort.names())}


def test_a_folder_of_slides_is_predicted(store: Store, tmp_path: Path) -> None:
    """Slides whose names say whose they are are cut on the models' grid, encoded by their encoder and answered for; no run
    becomes stale, and a second time nothing is done."""
    before = {case: open_features(store, read_cohort(store), "hed").hash_of(case) for case in ("p1", "p6")}
    draw_slide(tmp_path / "new" / "case_q1_match_1_h&e.tif", 77)
    draw_slide(tmp_path / "new" / "case_q2_match_1_h&e.tif", 78, high_grade=True)
    report = ask(store, tmp_path / "new")
    assert [(call.case_id, call.models) for call in report.calls] == [("q1", 1), ("q2", 1)]
    cohort = read_cohort(store)
    new = [row for row in cohort.table("patches").to_pylist() if row["case_id"] == "q1"]
    assert {(row["grid"], row["unit"], row["width"]) for row in new} == {(f"{PATCH}px-4mpp", "level0", PATCH)}
    packed = open_features(store, cohort, "hed")
    assert packed.read("q1").shape == (len(new), packed.n_features)
    assert {case: packed.hash_of(case) for case in before} == before
    assert train_all(store, CONFIG, experiment="drawn", threads=1) == []
    assert ask(store, tmp_path / "new").computed == 0
    assert tables(store) == {name: cohort.table(name).to_pylist() for name in sorted(cohort.names())}
    assert check(store) == []


def test_a_table_says_whose_slides_they_are_and_their_labels(store: Store, tmp_path: Path) -> None:
    """Slides of a table with labels go in by one command, which ends with the calls and the next question."""
    drawn = [draw_slide(tmp_path / "scans" / f"{name}.tif", i) for i, name in enumerate(("a", "b"), start=50)]
    table = tmp_path / "external.csv"
    rows = "".join(f"{path.stem},ext{i},h&e,{path},benign\n" for i, path in enumerate(drawn))
    table.write_text(f"slide_id,case_id,stain,path,label\n{rows}")
    words = ["predict", "drawn", "--slides", str(table), "--name", "ext", "--jobs", "1", "--threads", "1"]
    assert main([*words, "--store", str(store.root), "-f", "csv", "-o", str(tmp_path / "calls.csv")]) == 0
    lines = (tmp_path / "calls.csv").read_text().splitlines()
    assert [(line.split(",")[0], line.split(",")[-1]) for line in lines[1:]] == [("ext0", "benign"), ("ext1", "benign")]


def test_a_broken_slide_is_named_and_the_others_answer(store: Store, tmp_path: Path) -> None:
    """Of two slides the one that cannot be read is left out by name, and so is its case."""
    draw_slide(tmp_path / "new" / "case_q1_match_1_h&e.tif", 77)
    (tmp_path / "new" / "case_q2_match_1_h&e.tif").write_bytes(b"")
    report = ask(store, tmp_path / "new")
    assert [call.case_id for call in report.calls] == ["q1"]
    assert any(note.startswith("left out: case_q2_match_1_h&e: ") for note in report.notes)
    assert "without any patch, so not predicted: 1 case (q2)" in report.notes


def _nothing(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _truncated(folder: Path) -> Path:
    path = draw_slide(folder / "case_q1_match_1_h&e.tif", 77)
    path.write_bytes(path.read_bytes()[:100])
    return folder


def _nameless(folder: Path) -> Path:
    draw_slide(folder / "scan-77.tif", 77)
    return folder


def _absent(folder: Path) -> Path:
    return folder / "slides.csv"


def _unknown_stain(folder: Path) -> Path:
    path = draw_slide(folder / "a.tif", 77)
    table = slides_table(folder / "slides.csv", [("a", "q1", path)])
    table.write_text(table.read_text().replace("h&e", "pas"))
    return table


def _trained_on(folder: Path) -> Path:
    return slides_table(folder.parent / "slides.csv", [("p1_again", "p1", draw_slide(folder / "p1_again.tif", 1))])


BAD: dict[Callable[[Path], Path], tuple[type[MilstoreError], str]] = {
    _nothing: (DataError, "holds no slide"),
    _truncated: (DataError, "case_q1_match_1_h&e.tif"),
    _nameless: (DataError, "its name does not say whose it is"),
    _absent: (DataError, "is not there: name a slides table, or a folder of slides"),
    _unknown_stain: (DataError, "pas"),
    _trained_on: (UsageError, "trained or validated on 1 case of these: p1"),
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_slides_that_cannot_be_predicted_change_nothing(store: Store, tmp_path: Path, make: Any) -> None:
    """What is wrong with slides is told in one line before anything of them is stored."""
    path = make(tmp_path / "new")
    error, words = BAD[make]
    before = tables(store)
    with pytest.raises(error) as refused:
        ask(store, path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert tables(store) == before


def test_a_white_slide_is_told(store: Store, tmp_path: Path) -> None:
    """A slide without tissue has no patch, and so its case no call: a line says so."""
    draw_slide(tmp_path / "new" / "case_q1_match_1_h&e.tif", 77, white=True)
    with pytest.raises(ConflictError, match=r"no slide of 1 case \(q1\) has a patch with features of hed"):
        ask(store, tmp_path / "new")


def test_features_from_elsewhere_are_not_imitated(store: Store, tmp_path: Path) -> None:
    """Where the models' features were not made here, or lie on no grid, slides are refused, with the way that is left."""
    draw_slide(tmp_path / "new" / "case_q1_match_1_h&e.tif", 77)

    def change(**facts: Any) -> None:
        with edit_cohort(store) as edit:
            rows = [{**row, **facts} for row in edit.table("encoders").to_pylist()]
            edit.replace("encoders", type(edit.table("encoders")).from_pylist(rows, edit.table("encoders").schema))

    change(source="features of another program")
    with pytest.raises(ConflictError, match=r"were not computed by an encoder that is here .*give them by --features"):
        ask(store, tmp_path / "new")
    change(grid=None)
    with pytest.raises(ConflictError, match="lie on no grid of a known resolution"):
        ask(store, tmp_path / "new")


def test_an_encoder_folder_is_compared_by_its_weights(store: Store, tmp_path: Path) -> None:
    """Models of an encoder's folder ask for that folder: without it, and with other weights, slides are refused."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = mean_colour(tmp_path / "tiny", resize="16")
    encode_by_folder(store, read_encoder_folder(folder))
    train_all(store, CONFIG, experiment="colours", encoder="tiny", threads=1)
    draw_slide(tmp_path / "new" / "case_q1_match_1_h&e.tif", 77)
    with pytest.raises(UsageError, match="say where it is, by --encoder-folder DIR"):
        ask(store, tmp_path / "new", "colours")
    other = mean_colour(tmp_path / "other", resize="16", scale=2.0)
    with pytest.raises(ConflictError, match=r"were made by other weights or settings \("):
        ask(store, tmp_path / "new", "colours", encoder_folder=other)
    report = ask(store, tmp_path / "new", "colours", encoder_folder=folder)
    assert [call.case_id for call in report.calls] == ["q1"]
    vectors = open_features(store, read_cohort(store), "tiny").read("q1")
    assert vectors.shape[1] == 3
    assert np.isfinite(vectors).all()
