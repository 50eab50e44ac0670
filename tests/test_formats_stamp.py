"""STAMP's features: micrometres, in no order, and what its earlier versions wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from milstore.errors import DataError
from milstore.formats.registry import recognised
from milstore.formats.stamp import StampSlice
from milstore.ingest.splits import ingest_splits
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.split_numbers import subsets_of
from tests.ingesting import contents, milstore
from tests.tool_files import (
    MPP,
    SLIDES,
    STAMP_SAYS,
    corners,
    numbers,
    stamp_features,
    stamp_slide,
    stamp_splits,
    stored,
    tool_store,
)

FEATS = np.arange(6, dtype=np.float16).reshape(2, 3)
OLD = {"extractor": "mini-vit"}


def file(folder: Path, said: Mapping[str, Any], coords: Any = ((256, 0), (0, 128)), feats: Any = FEATS) -> Path:
    """A file of two tiles."""
    return stamp_slide(folder / "S1.h5", feats, np.array(coords, np.float32), said)


def without(*names: str) -> dict[str, Any]:
    """What a file says, but for some of it."""
    return {name: value for name, value in STAMP_SAYS.items() if name not in names}


def test_a_file_says_its_tiles_in_micrometres(tmp_path: Path) -> None:
    """Of a file of STAMP's: places in micrometres as they stand, the tile's edge in both units, encoder and version."""
    path = file(tmp_path, STAMP_SAYS)
    layout = StampSlice().layout(path)
    assert recognised("features", [path]) == "stamp"
    assert (layout.rows, layout.width, layout.half, layout.unit) == (2, 3, True, "um")
    assert layout.xy is not None and layout.xy.tolist() == [[256, 0], [0, 128]]
    assert (layout.patch_size, layout.patch_um, layout.patch_px, layout.mpp) == (128, 128, 256, 0.5)
    assert (layout.tool, layout.encoder, layout.centred, layout.notes) == ("STAMP 2.5.0", "mini-vit", False, ())
    assert StampSlice().vectors(path).tolist() == FEATS.tolist()


@pytest.mark.parametrize(
    ("said", "coords", "in_um", "edge", "pixels"),
    [
        (without("tile_size_um") | {"tile_size": 128.0}, [[256, 0], [0, 128]], [[256, 0], [0, 128]], 128, 256),
        (without("unit", "stamp_version"), [[256, 0], [0, 128]], [[256, 0], [0, 128]], 128, 256),
        (OLD | {"tile_size": 224}, [[448, 0], [0, 224]], [[512, 0], [0, 256]], 256, 224),
        (OLD, [[448, 0], [0, 224]], [[512, 0], [0, 256]], 256, 224),
        (OLD, [[448, 672]], [[512, 768]], 256, 224),
    ],
    ids=["tile_size", "no unit beside tile_size_um", "first version", "no attribute", "no neighbours"],
)
def test_earlier_versions_are_read_by_their_own_units(
    tmp_path: Path, said: Mapping[str, Any], coords: Any, in_um: Any, edge: float, pixels: int
) -> None:
    """`tile_size` is micrometres where the unit is, and without a unit 224 of a file's are 256 µm, which is told."""
    layout = StampSlice().layout(file(tmp_path, said, coords, FEATS[: len(coords)]))
    assert layout.xy is not None and layout.xy.tolist() == in_um
    assert (layout.patch_um, layout.patch_px) == (edge, pixels)
    assert [note[:26] for note in layout.notes] == (["STAMP files without a unit"] if edge == 256 else [])


def test_a_slide_without_tiles_and_other_numbers(tmp_path: Path) -> None:
    """No tile at all is a layout of no rows; numbers of the other byte order come as the numbers that they are."""
    none = StampSlice().layout(file(tmp_path, STAMP_SAYS, np.empty((0, 2)), np.empty((0, 3), np.float16)))
    assert (none.rows, none.width) == (0, 3)
    # A batch axis says nothing.
    for feats in (FEATS.astype(">f4"), FEATS[None]):
        same = file(tmp_path, STAMP_SAYS, feats=feats)
        assert (StampSlice().layout(same).rows, StampSlice().vectors(same).tolist()) == (2, FEATS.tolist())


@pytest.mark.parametrize(
    ("said", "coords", "feats", "message"),
    [
        (STAMP_SAYS | {"feat_type": "slide"}, [[0, 0], [1, 1]], FEATS, "feat_type 'slide', one vector for the whole"),
        (STAMP_SAYS | {"feat_type": "patient"}, [[0, 0], [1, 1]], FEATS[0], "feat_type 'patient', one vector"),
        (STAMP_SAYS | {"unit": "px"}, [[0, 0], [1, 1]], FEATS, "has coordinates in 'px', where STAMP writes um"),
        (without("tile_size_um"), [[0, 0], [1, 1]], FEATS, "has unit um and no tile_size_um"),
        (STAMP_SAYS | {"tile_size_um": -1.0}, [[0, 0], [1, 1]], FEATS, "has tile_size_um '-1.0', which is no size"),
        (OLD, [[512, 0], [0, 0]], FEATS, "names no unit, and its tiles lie 512 apart"),
        (OLD, [[3, 0], [0, 0]], FEATS, "names no unit, and its tiles lie 3 apart"),
        (STAMP_SAYS, [[0, 0]], FEATS, "has 2 features and 1 coords: it does not say which patch each is of"),
        (STAMP_SAYS, [[0, 0], [1, 1]], FEATS.astype(int), "has feats of shape .* and type int64: they must be floats"),
        (STAMP_SAYS, [[0, 0], [1, 1]], FEATS[:, None], r"has feats of shape \(2, 1, 3\)"),
        (STAMP_SAYS, [[0, 0], [0, 0]], FEATS, "has the patch at x 0, y 0 2 times"),
        (STAMP_SAYS, [[0, 0], [1, np.nan]], FEATS, "has coords that are NaN or infinity"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, said: Mapping[str, Any], coords: Any, feats: Any, message: str
) -> None:
    """Features of whole slides, other units, unknown sizes and lengths that differ: one line that names the file."""
    path = file(tmp_path, said, coords, feats)
    with pytest.raises(DataError, match=message) as raised:
        StampSlice().layout(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_feats_without_coords_are_no_tiles(tmp_path: Path) -> None:
    """A file that has no coordinates is refused by name."""
    path = tmp_path / "S1.h5"
    with h5py.File(path, "w") as made:
        made["feats"] = FEATS
    with pytest.raises(DataError, match=r"S1\.h5 has feats and no coords"):
        StampSlice().layout(path)


def test_every_file_of_a_folder_is_recognised(tmp_path: Path) -> None:
    """The files of a whole folder are all of the one format."""
    assert {recognised("features", [path]) for path in stamp_features(tmp_path).iterdir()} == {"stamp"}


# --- into a store -----------------------------------------------------------------------------------------------------


def test_micrometres_land_on_the_pixels_of_each_slide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """128 µm are 256 pixels of a slide at 0.5 µm a pixel and 512 of one at 0.25; each vector lies at its tile's corner."""
    store = tool_store(tmp_path / "store")
    assert milstore(store, "ingest", "features", stamp_features(tmp_path), "--encoder", "vit") == 0
    assert (
        "STAMP 2.5.0: 5 slides of 4 cases, 12 patches of 256 px at 0.5 mpp, 3 numbers each" in capsys.readouterr().err
    )
    assert stored(store, "vit") == {
        (slide, *corner): (round(128 / MPP[slide]), vector)
        for slide in SLIDES
        for corner, vector in zip(corners(slide), numbers(slide, 3).tolist(), strict=True)
    }


def test_without_a_resolution_the_option_that_gives_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slide of unknown resolution: refused with the option, the store unchanged; with it the same pixels."""
    store = create_store(tmp_path / "own")
    (tmp_path / "slide.csv").write_text("slide,case\nA1_HE,A\n")
    assert milstore(store, "ingest", "slides", tmp_path / "slide.csv", "--stain", "h&e") == 0
    folder = stamp_features(tmp_path)
    for path in folder.glob("[!A]*"):
        path.unlink()
    (folder / "A1_SOX10.h5").unlink()
    before = contents(store)
    assert milstore(store, "ingest", "features", folder, "--encoder", "vit") == 2
    error = capsys.readouterr().err
    assert "has coordinates in micrometres" in error and "--slide-mpp 0.25" in error and contents(store) == before
    assert milstore(store, "ingest", "features", folder, "--encoder", "vit", "--slide-mpp", "0.25") == 0
    assert {place[1:]: edge for place, (edge, _) in stored(store, "vit").items()} == {
        (512, 0): 512,
        (0, 0): 512,
        (1024, 512): 512,
    }


@pytest.mark.shared
def test_files_of_the_tool_land_on_the_patches_of_another(tmp_path: Path, shared_data: Path) -> None:
    """Every tile that STAMP made of ten slides lies, to the pixel, where TRIDENT has a patch of that slide."""
    folder = shared_data / "interop"
    if not folder.is_dir():
        pytest.skip("files of other tools are not on this machine")
    store = create_store(tmp_path / "store")
    assert milstore(store, "ingest", "slides", folder / "slides.csv") == 0
    assert milstore(store, "ingest", "features", next((folder / "stamp").glob("mini-vit-*")), "--encoder", "vit") == 0
    places: set[tuple[str, int, int]] = set()
    edges: dict[str, int] = {}
    for path in (folder / "trident").glob("*/patches/*_patches.h5"):
        with h5py.File(path) as file:
            slide = path.stem.removesuffix("_patches")
            places |= {(slide, *corner) for corner in file["coords"][:].tolist()}
            edges[slide] = int(file["coords"].attrs["patch_size_level0"])
    found = {place: edge for place, (edge, _) in stored(store, "vit").items()}
    assert len(found) == 201 and found.keys() <= places
    assert found == {place: edges[place[0]] for place in found}


# --- splits and tables ------------------------------------------------------------------------------------------------


def subsets(store: Store, split_set: str, split: int) -> dict[str, str]:
    """Subset of each case of a split."""
    return dict(subsets_of(read_cohort(store), split_set, split))


def test_splits_keep_their_test_and_draw_validation_from_train(tmp_path: Path) -> None:
    """Splits count from 0; of each class's two cases in train one validates; a class with one case only trains, and is named."""
    store = tool_store(tmp_path / "store")
    report = ingest_splits(store, [stamp_splits(tmp_path)], split_set="st")
    for number, test, alone in ((0, "D", "A"), (1, "C", "B")):
        found = subsets(store, "st", number)
        assert (found[test], found[alone]) == ("test", "train")
        assert sorted(found[case] for case in found if case not in (test, alone)) == ["train", "val"]
    assert report.source == "splits.json; validation 0.2 of train, drawn by seed 0"
    assert report.notes == (
        "split 0: 1 case of a class with too few to train and to validate only train (A)",
        "split 1: 1 case of a class with too few to train and to validate only train (B)",
    )
    assert not ingest_splits(store, [stamp_splits(tmp_path)], split_set="st").changed


def test_the_seed_draws_the_validation(tmp_path: Path) -> None:
    """Another seed draws others; a share of 0 leaves every case where STAMP had it."""
    store = tool_store(tmp_path / "store")
    path = stamp_splits(tmp_path)
    for seed in range(3):
        ingest_splits(store, [path], split_set=f"s{seed}", seed=seed)
    assert {case for n in range(3) for case, subset in subsets(store, f"s{n}", 0).items() if subset == "val"} == {
        "B",
        "C",
    }
    report = ingest_splits(store, [path], split_set="none", val_share=0)
    assert subsets(store, "none", 0) == {"A": "train", "B": "train", "C": "train", "D": "test"}
    assert (report.source, report.notes) == ("splits.json", ())


def test_cases_of_one_group_validate_together(tmp_path: Path) -> None:
    """Cases of one group are drawn together, and a group that holds a class's only case trains as a whole."""
    store = tool_store(tmp_path / "store")
    (tmp_path / "groups.csv").write_text("case_id,group\nA,1\nB,1\nC,2\nD,3\n")
    assert milstore(store, "ingest", "groups", tmp_path / "groups.csv") == 0
    ingest_splits(store, [stamp_splits(tmp_path, [(["A", "B", "C"], ["D"])])], split_set="st")
    assert subsets(store, "st", 0) == {"A": "train", "B": "train", "C": "train", "D": "test"}


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([(["A", "B"], ["B", "C"])], "split 0, has case B in train and in test: keep one"),
        ([(["A", "B"], ["Z"])], "names 1 cases that the store does not know (Z)"),
        ([], "has no list 'splits' of splits"),
    ],
)
def test_splits_that_cannot_be_are_refused(
    tmp_path: Path, splits: list[Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case torn over subsets, an unknown one, no split: one line, exit 2, the store unchanged."""
    store = tool_store(tmp_path / "store")
    path = stamp_splits(tmp_path, splits)
    before = contents(store)
    assert milstore(store, "ingest", "splits", path, "--format", "stamp") == 2
    assert message in capsys.readouterr().err and contents(store) == before


def test_the_users_own_tables_say_slides_and_labels(tmp_path: Path) -> None:
    """STAMP's slide table with names of files and its clinical table say which slide is of whom, and each case's class."""
    (tmp_path / "slide.csv").write_text("PATIENT,FILENAME\nA,A1_HE.h5\nA,A2_HE.h5\nB,B1_HE.h5\n")
    (tmp_path / "clini.csv").write_text("PATIENT,GRADE\nA,high-grade\nB,benign\n")
    store = create_store(tmp_path / "own")
    assert milstore(store, "ingest", "slides", tmp_path / "slide.csv", "--stain", "h&e") == 0
    told = ("--case-column", "PATIENT", "--label-column", "GRADE")
    assert milstore(store, "ingest", "labels", tmp_path / "clini.csv", *told) == 0
    cohort = read_cohort(store)
    slides = cohort.table("slides").select(["slide_id", "case_id"]).to_pylist()
    assert [tuple(row.values()) for row in slides] == [("A1_HE", "A"), ("A2_HE", "A"), ("B1_HE", "B")]
    cases = cohort.table("cases").select(["case_id", "class_name"]).to_pylist()
    assert [tuple(row.values()) for row in cases] == [("A", "high-grade"), ("B", "benign")]
