"""slideflow's bags: a tensor a slide, and the centres of its tiles beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import milstore as face
from milstore.errors import DataError
from milstore.formats.registry import recognised
from milstore.formats.slideflow import SlideflowBag
from milstore.ingest.splits import ingest_splits
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.split_numbers import subsets_of
from tests.ingesting import contents, milstore
from tests.tool_files import (
    BAGS_CONFIG,
    MPP,
    SLIDES,
    corners,
    numbers,
    slideflow_bags,
    slideflow_plan,
    slideflow_splits,
    slides_of,
    stamp_features,
    stored,
    tool_store,
)


def test_a_bag_says_its_tiles_by_their_centres(tmp_path: Path) -> None:
    """Centres as they stand, the tile's edge in pixels and micrometres, and the extractor's name."""
    path = slideflow_bags(tmp_path) / "B1_HE.pt"
    layout = SlideflowBag().layout(path)
    assert recognised("features", [path]) == "slideflow"
    assert (layout.rows, layout.width, layout.half, layout.unit, layout.centred) == (4, 4, False, "level-0", True)
    assert layout.xy is not None and layout.xy.tolist() == [[256, 256], [768, 256], [256, 768], [768, 768]]
    assert (layout.patch_um, layout.patch_px, layout.mpp, layout.patch_idx) == (128, 256, 0.5, None)
    assert (layout.tool, layout.encoder, layout.notes) == ("slideflow", "SlideflowFeatures", ())
    assert SlideflowBag().vectors(path).tolist() == numbers("B1_HE", 4).tolist()


def test_every_bag_of_a_folder_is_recognised(tmp_path: Path) -> None:
    """By the centres beside it, or by the settings of the folder; without both it is any tensor."""
    bags = slideflow_bags(tmp_path)
    paths = [bags / f"{slide}.pt" for slide in SLIDES]
    assert {recognised("features", [path]) for path in paths} == {"slideflow"}
    paths[0].with_suffix(".index.npz").unlink()
    assert recognised("features", [paths[0]]) == "slideflow"
    (bags / "bags_config.json").unlink()
    assert recognised("features", [paths[0]]) != "slideflow"


def test_centres_in_a_plain_array_and_none_at_all(tmp_path: Path) -> None:
    """`.index.npy` is read as `.index.npz`; without any index a row is its number, and that is told."""
    bags = slideflow_bags(tmp_path)
    (bags / "A1_HE.index.npz").unlink()
    np.save(bags / "A1_HE.index.npy", np.array([[384, 128], [128, 128], [640, 384]]))
    found = SlideflowBag().layout(bags / "A1_HE.pt").xy
    assert found is not None and found.tolist() == [[384, 128], [128, 128], [640, 384]]
    (bags / "A1_HE.index.npy").unlink()
    layout = SlideflowBag().layout(bags / "A1_HE.pt")
    assert layout.xy is None and layout.by_row
    assert layout.patch_idx is not None and layout.patch_idx.tolist() == [0, 1, 2]
    assert layout.notes == ("no .index.npz beside slideflow's bags: their rows are their numbers",)


@pytest.mark.parametrize(
    ("tensor", "values"),
    [
        (torch.tensor([[1.0, 2.0]]), [[1, 2]]),
        (torch.tensor([[[1.0, 2.0]]]), [[1, 2]]),
        (torch.tensor([[1.0, 2.0]], dtype=torch.float64), [[1, 2]]),
        (torch.tensor([[1.0, 2.0]], dtype=torch.float16), [[1, 2]]),
    ],
    ids=["one row", "an axis of one bag", "float64", "float16"],
)
def test_forms_of_a_tensor(tmp_path: Path, tensor: torch.Tensor, values: Any) -> None:
    """A bag of one row, one with a leading axis of one bag, and other floats are read as the numbers that they are."""
    path = tmp_path / "S1.pt"
    torch.save(tensor, path)
    np.savez(tmp_path / "S1.index.npz", np.array([[5, 5]]))
    layout = SlideflowBag().layout(path)
    assert (layout.rows, layout.width, layout.half) == (1, 2, tensor.dtype == torch.float16)
    assert SlideflowBag().vectors(path).tolist() == values


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(2, 3, 4), r"has shape \(2, 3, 4\): the features of a slide are \(N, D\)"),
        (torch.ones(4), r"has shape \(4,\)"),
        (torch.ones(2, 4, dtype=torch.int64), "holds torch.int64, not floats"),
        ({"a": torch.ones(2, 4)}, r"holds a dict, not one tensor \(N, D\)"),
        (torch.ones(2, 4), "has the centres of 3 tiles, and A1_HE.pt has 2"),
        (torch.ones(3, 5), "has 5 numbers a tile, and bags_config.json beside it says 4"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, tensor: Any, message: str) -> None:
    """Other shapes and types, centres of another number of tiles, another extractor's width: one line with the file."""
    bags = slideflow_bags(tmp_path)
    torch.save(tensor, bags / "A1_HE.pt")
    with pytest.raises(DataError, match=message) as raised:
        SlideflowBag().layout(bags / "A1_HE.pt")
    assert "A1_HE" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BAGS_CONFIG | {"tile_um": "20x"}, "has tile_um '20x', a magnification"),
        (BAGS_CONFIG | {"tile_px": 0}, "has tile_px '0', no size of a tile"),
        ([BAGS_CONFIG], "holds no object in braces"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, config: Any, message: str) -> None:
    """A tile's size that is none, or a file that holds something else: one line with the file."""
    bags = slideflow_bags(tmp_path)
    (bags / "bags_config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=message):
        SlideflowBag().layout(bags / "A1_HE.pt")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A settings file that is no JSON, an index that is no zip file or holds several arrays: one line with the file."""
    bags = slideflow_bags(tmp_path)
    (bags / "A1_HE.index.npz").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"A1_HE\.index\.npz is damaged"):
        SlideflowBag().layout(bags / "A1_HE.pt")
    np.savez(bags / "A1_HE.index.npz", a=np.ones((3, 2)), b=np.ones(1))
    with pytest.raises(DataError, match=r"A1_HE\.index\.npz holds 2 arrays \(a, b\), not one"):
        SlideflowBag().layout(bags / "A1_HE.pt")
    (bags / "bags_config.json").write_text("{")
    with pytest.raises(DataError, match=r"bags_config\.json is damaged, or no JSON"):
        SlideflowBag().layout(bags / "A1_HE.pt")


# --- into a store -----------------------------------------------------------------------------------------------------


def test_centres_land_on_the_corners_that_another_tool_has(
    tmp_path: Path, warm_processes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Corners are centres less half of a tile, on slides of 0.5 and of 0.25 µm a pixel; they are the patches that STAMP's
    micrometres made, and each vector lies at its own."""
    store = tool_store(tmp_path / "store")
    assert milstore(store, "ingest", "features", stamp_features(tmp_path), "--encoder", "vit") == 0
    assert milstore(store, "ingest", "features", slideflow_bags(tmp_path), "--encoder", "sf") == 0
    said = capsys.readouterr().err
    assert "slideflow: 5 slides of 4 cases, 12 patches of 256 px at 0.5 mpp, 4 numbers each" in said
    assert read_cohort(store).table("patches").num_rows == 12
    assert stored(store, "sf") == {
        (slide, *corner): (round(128 / MPP[slide]), vector)
        for slide in SLIDES
        for corner, vector in zip(corners(slide), numbers(slide, 4).tolist(), strict=True)
    }


def test_bags_of_other_lengths_leave_the_store_as_it_is(
    tmp_path: Path, warm_processes: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Centres of another number of tiles than the bag has: one line with both counts, exit 2."""
    store, bags = tool_store(tmp_path / "store"), slideflow_bags(tmp_path)
    np.savez(bags / "C1_HE.index.npz", np.array([[128, 128]]))
    before = contents(store)
    assert milstore(store, "ingest", "features", bags, "--encoder", "sf") == 2
    error = capsys.readouterr().err
    assert "has the centres of 1 tiles, and C1_HE.pt has 2" in error and error.count("\n") == 1
    assert contents(store) == before


@pytest.mark.shared
def test_files_of_the_tool_land_on_the_patches_of_another(
    tmp_path: Path, warm_processes: None, shared_data: Path
) -> None:
    """Of ten slides, every tile of slideflow's that lies on tissue for TRIDENT too is the same patch, to the pixel; and the
    attention of each slide lies where the tool has it."""
    folder = shared_data / "interop"
    if not folder.is_dir():
        pytest.skip("files of other tools are not on this machine")
    store = create_store(tmp_path / "store")
    assert milstore(store, "ingest", "slides", folder / "slides.csv") == 0
    job = folder / "trident" / "20x_256px_0px_overlap"
    assert milstore(store, "ingest", "features", job / "features_resnet-mini", "--encoder", "tri") == 0
    before = {place: edge for place, (edge, _) in stored(store, "tri").items()}
    assert milstore(store, "ingest", "features", folder / "slideflow" / "bags", "--encoder", "sf") == 0
    found = {place: edge for place, (edge, _) in stored(store, "sf").items()}
    assert len(before.keys() & found.keys()) == 146
    assert read_cohort(store).table("patches").num_rows == len(before.keys() | found.keys())
    assert milstore(store, "ingest", "run", folder / "slideflow", "--from", "slideflow") == 0
    own: dict[tuple[str, int, int], float] = {}
    for path in (folder / "slideflow" / "mil").glob("*/attention/*_att.npz"):
        slide = path.name.removesuffix("_att.npz")
        centres = np.load(folder / "slideflow" / "bags" / f"{slide}.index.npz")["arr_0"]
        edge = next(edge for place, edge in found.items() if place[0] == slide)
        own |= {
            (slide, x - edge // 2, y - edge // 2): w
            for (x, y), w in zip(centres.tolist(), np.load(path)["arr_0"], strict=True)
        }
    rows = face.open(store.root).sql(
        "select slice_name, x, y, patch_attention from attention join slices using (case_id, stain, slice_idx) "
        "join patches using (case_id, stain, slice_idx, patch_idx)"
    )
    assert {tuple(place): weight for *place, weight in rows.rows()} == pytest.approx(own, rel=1e-4)


# --- splits and tables ------------------------------------------------------------------------------------------------


def subsets(store: Store, split_set: str, split: int) -> dict[str, str]:
    """Subset of each case of a split."""
    return dict(subsets_of(read_cohort(store), split_set, split))


def held_out(store: Store, split_set: str) -> dict[int, str]:
    """The test cases of each split, in one text."""
    rows = [row for row in read_cohort(store).table("splits").to_pylist() if row["split_set"] == split_set]
    numbers = sorted({row["split"] for row in rows})
    return {
        n: "".join(sorted(r["case_id"] for r in rows if r["split"] == n and r["subset"] == "test")) for n in numbers
    }


def test_a_fold_is_the_test_of_its_split(tmp_path: Path) -> None:
    """A fold's slides are held out, as cases, under the fold's number; the rest trains, and validation is drawn of it."""
    store = tool_store(tmp_path / "store")
    thirds = {"k-fold-1": slides_of("A"), "k-fold-2": slides_of("B", "C"), "k-fold-3": slides_of("D")}
    report = ingest_splits(store, [slideflow_splits(tmp_path, [slideflow_plan(thirds)])], split_set="sf")
    assert held_out(store, "sf") == {1: "A", 2: "BC", 3: "D"}
    assert subsets(store, "sf", 2) | {"A": "", "D": ""} == {"A": "", "B": "test", "C": "test", "D": ""}
    assert sorted(subset for case, subset in subsets(store, "sf", 2).items() if case in "AD") == ["train", "val"]
    assert report.source == "splits.json; validation 0.2 of train, drawn by seed 0"
    assert "splits of slides: 5 slides of 4 cases" in report.notes


def test_plans_of_two_parts_and_several_plans(tmp_path: Path) -> None:
    """What such a plan validates on is the test; of several plans each becomes a split set, and that is told."""
    store = tool_store(tmp_path / "store")
    two = slideflow_plan({"training": slides_of("A", "B"), "validation": slides_of("C", "D")}, "fixed")
    ingest_splits(store, [slideflow_splits(tmp_path, [two])], split_set="one", val_share=0)
    assert subsets(store, "one", 1) == {"A": "train", "B": "train", "C": "test", "D": "test"}
    folds = slideflow_plan({"k-fold-1": slides_of("A", "B"), "k-fold-2": slides_of("C", "D")})
    report = ingest_splits(store, [slideflow_splits(tmp_path, [two, folds])], split_set="many")
    assert report.split_sets == {"many-1": 1, "many-2": 2}
    assert (held_out(store, "many-1"), held_out(store, "many-2")) == ({1: "CD"}, {1: "AB", 2: "CD"})
    assert "splits.json has 2 plans, each a split set (plan 1: fixed, plan 2: k-fold, 2 folds)" in report.notes


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"k-fold-1": ["A1_HE", "B1_HE"], "k-fold-2": ["A1_SOX10", "C1_HE"]}, "tears case A over subsets"),
        ({"k-fold-1": ["A1_HE", "B1_HE"], "k-fold-2": ["A1_HE"]}, "has slide A1_HE in folds 1 and 2"),
        ({"training": ["A1_HE"], "validation": ["A1_HE"]}, "has slide A1_HE in train and in test: keep one"),
        ({"k-fold-1": ["Z1_HE"], "k-fold-2": ["A1_HE"]}, "names 1 slide that the store does not know (Z1_HE)"),
        ({"k-fold-1": ["A1_HE"]}, "has the parts k-fold-1: it needs k-fold-1, k-fold-2"),
        ({}, "has no 'tfrecords' with the slides of its folds"),
    ],
)
def test_splits_that_cannot_be_are_refused(
    tmp_path: Path, parts: dict[str, list[str]], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case torn over subsets, a slide in two, an unknown one, other parts: one line, exit 2, the store unchanged."""
    store = tool_store(tmp_path / "store")
    path = slideflow_splits(tmp_path, [slideflow_plan(parts)])
    before = contents(store)
    assert milstore(store, "ingest", "splits", path) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and contents(store) == before


def test_annotations_say_slides_and_labels(tmp_path: Path) -> None:
    """slideflow's table of patient, slide and outcomes says in one go which slide is of whom, and each case's class."""
    (tmp_path / "annotations.csv").write_text("patient,slide,grade\nA,A1_HE,high\nA,A2_HE,high\nB,B1_HE,low\n")
    store = create_store(tmp_path / "own")
    told = ("--stain", "h&e", "--label-column", "grade")
    assert milstore(store, "ingest", "slides", tmp_path / "annotations.csv", *told) == 0
    cohort = read_cohort(store)
    slides = cohort.table("slides").select(["slide_id", "case_id"]).to_pylist()
    assert [tuple(row.values()) for row in slides] == [("A1_HE", "A"), ("A2_HE", "A"), ("B1_HE", "B")]
    cases = cohort.table("cases").select(["case_id", "class_name"]).to_pylist()
    assert [tuple(row.values()) for row in cases] == [("A", "high"), ("B", "low")]
