"""CLAM's features go to the patches of slides by their places, whatever file says these."""

from pathlib import Path

import numpy as np
import pytest

from milstore.errors import DataError, UsageError
from milstore.ingest.features import ingest_features
from milstore.ingest.importers import FolderOptions, ingest_run_folder
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.run_reader import read_run
from tests.clam_files import clam_features, clam_patches, clam_runs, clam_tensors, numbers
from tests.ingesting import contents, milstore
from tests.sliding import SLIDES, slide_store

pytestmark = pytest.mark.usefixtures("warm_processes")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return slide_store(tmp_path / "store")


def vectors(store: Store, encoder: str) -> dict[str, list[list[float]]]:
    """The vectors of each slide's patches, in the order of their numbers."""
    cohort = read_cohort(store)
    features = open_features(store, cohort, encoder)
    of_slice = {(case, stain): slide for slide, (case, stain) in SLIDES.items()}
    found: dict[str, list[list[float]]] = {}
    for case in ("A", "B", "C"):
        own = features.read(case)
        places = features.patches.filter(np.asarray(features.patches["case_id"]) == case).to_pylist()
        for place, row in zip(places, np.asarray(own), strict=True):
            found.setdefault(of_slice[place["case_id"], place["stain"]], []).append(row.tolist())
    return found


def test_both_forms_say_the_same(store: Store, tmp_path: Path) -> None:
    """`h5_files` by their own places and `pt_files` by those of the files beside them lie on the patches that the store has."""
    tensors = clam_tensors(tmp_path)
    features = clam_features(tmp_path)
    clam_patches(tmp_path / "RESULTS_DIRECTORY" / "patches")
    said = ingest_features(store, features, encoder="resnet")
    assert said.lines()[0] == "clam: 4 slides of 3 cases, 8 patches of 256 px at 0.5 mpp, 3 numbers each"
    assert (said.patches, said.created, said.without) == (8, 0, 0)
    assert ingest_features(store, tensors, encoder="tensors").created == 0
    wanted = {slide: numbers(slide).tolist() for slide in SLIDES}
    assert vectors(store, "resnet") == wanted
    assert vectors(store, "tensors") == wanted


def test_the_size_of_patches_may_lie_elsewhere(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without patches/ beside the features the edge is unknown, which is said once; --companion names the folder."""
    features = clam_features(tmp_path)
    elsewhere = clam_patches(tmp_path / "far" / "away" / "patches")
    assert milstore(store, "ingest", "features", features, "--encoder", "resnet", "--dry-run") == 0
    said = capsys.readouterr().err
    assert said.count("how large a patch is is not known") == 1
    assert "of 256 px" not in said
    words = ["ingest", "features", features, "--encoder", "resnet", "--companion", elsewhere]
    assert milstore(store, *words) == 0
    assert "8 patches of 256 px at 0.5 mpp" in capsys.readouterr().err


def test_options_of_slides_are_refused_where_they_say_nothing(store: Store, tmp_path: Path) -> None:
    """--companion with files that need none, and a folder that lacks a slide, are refused; the store stays as it was."""
    features = clam_features(tmp_path)
    clam_patches(tmp_path / "some" / "patches", slides=["A_he"])
    before = contents(store)
    with pytest.raises(UsageError, match=r"has no .*: name CLAM's folder patches/"):
        ingest_features(store, features, encoder="resnet", companion=tmp_path / "some")
    table = tmp_path / "bags.csv"
    table.write_text("bag,i,f\n1,0,0.5\n")
    with pytest.raises(UsageError, match="--companion is for files of slides"):
        ingest_features(store, table, encoder="x", bag_column="bag", index_column="i", companion=tmp_path)
    np.savez(tmp_path / "A_he.npz", features=np.ones((3, 2), np.float32), patch_idx=np.arange(3))
    with pytest.raises(UsageError, match="--companion says nothing of files of format npz"):
        ingest_features(store, tmp_path / "A_he.npz", encoder="x", companion=tmp_path / "some")
    assert contents(store) == before


def test_slides_of_two_resolutions_are_refused_or_mixed(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CLAM cuts a size in pixels whatever the scan: mixed it is refused with the slides, and taken where the user says so."""
    features = clam_features(tmp_path)
    clam_patches(tmp_path / "patches", slides=["A_he", "A_sox", "B_he"])
    # Half as many pixels of a level that is half as fine: 128 px at 1 mpp.
    clam_patches(tmp_path / "patches", slides=["C_he"], size=128, downsample=2.0)
    words = ["ingest", "features", features, "--encoder", "resnet"]
    assert milstore(store, *words) == 2
    said = capsys.readouterr().err
    assert "128 px at 1 mpp" in said
    assert "C_he" in said
    assert milstore(store, *words, "--mixed") == 0
    assert "clam: 4 slides of 3 cases, 8 patches" in capsys.readouterr().err


def test_a_run_is_of_the_features_that_are_named(store: Store, tmp_path: Path) -> None:
    """`ingest run --from clam --encoder`: the run keeps the fingerprint of these features, and places are looked for among them."""
    root = clam_runs(tmp_path)
    ingest_features(store, clam_features(root, ["A_he", "B_he", "C_he"]), encoder="part")
    with pytest.raises(DataError, match="no patches of slide A_sox with features of this encoder"):
        ingest_run_folder(store, root, "clam", FolderOptions(encoder="part"))
    ingest_features(store, clam_features(root), encoder="part")
    run_id = ingest_run_folder(store, root, "clam", FolderOptions(encoder="part")).run_id
    facts = read_run(store, run_id)
    assert facts["encoder"] == "part"
    assert facts["features_fingerprint"]
    assert milstore(store, "doctor") == 0
