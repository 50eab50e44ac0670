"""CLAM's features are read as it writes them; how large a patch is comes from its folder of patches."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from milstore.errors import DataError, UsageError
from milstore.formats.clam import ClamPt, ClamSlice
from milstore.formats.interface import Layout
from milstore.formats.registry import recognised
from tests.clam_files import clam_features, clam_patches, clam_tensors, numbers
from tests.sliding import PLACES

KNOWN = ("patch_size", "patch_px", "slide_size", "unit", "centred", "tool", "slide", "by_row")


def said(layout: Layout) -> dict[str, object]:
    return {name: getattr(layout, name) for name in KNOWN}


OF_LEVEL_0 = {
    "patch_size": 256.0, "patch_px": 256, "slide_size": (2048, 1536), "unit": "level-0", "centred": False, "tool": "clam",
    "slide": None, "by_row": False,
}  # fmt: skip


@pytest.mark.parametrize("beside", ["FEATURES_DIRECTORY/patches", "patches", "RESULTS_DIRECTORY/patches"])
def test_a_file_is_read_with_its_patches(tmp_path: Path, beside: str) -> None:
    """Features and places are the file's, in its order; the edge is that of the file below `patches/`, wherever CLAM put it,
    whose rows may be in another order.
    """
    path = clam_features(tmp_path) / "A_he.h5"
    clam_patches(tmp_path / beside)
    layout = ClamSlice().layout(path)
    assert recognised("features", [path]) == "clam"
    assert (layout.rows, layout.width, layout.half, layout.patch_idx) == (3, 3, False, None)
    assert said(layout) == OF_LEVEL_0
    assert layout.xy is not None
    assert layout.xy.tolist() == [list(each) for each in PLACES["A_he"]]
    assert ClamSlice().vectors(path).tolist() == numbers("A_he").tolist()
    assert layout.notes == ()


def test_the_edge_is_the_size_at_its_level_times_the_downsample(tmp_path: Path) -> None:
    """128 pixels of level 1, which is half as fine, are 256 of level 0; the encoder is given 128."""
    path = clam_features(tmp_path) / "A_he.h5"
    clam_patches(tmp_path / "patches", size=128, downsample=2.0)
    assert said(ClamSlice().layout(path)) == {**OF_LEVEL_0, "patch_px": 128, "slide_size": None}


def test_without_patches_the_edge_is_unknown_and_that_is_said(tmp_path: Path) -> None:
    """CLAM's features alone do not say how large a patch is; `--companion` names the folder that does."""
    path = clam_features(tmp_path) / "A_he.h5"
    layout = ClamSlice().layout(path)
    assert (layout.patch_size, layout.patch_px) == (None, None)
    assert [note for note in layout.notes if "how large a patch is is not known" in note]
    elsewhere = clam_patches(tmp_path / "elsewhere" / "patches")
    assert said(ClamSlice(elsewhere).layout(path)) == OF_LEVEL_0
    assert said(ClamSlice(elsewhere.parent).layout(path)) == OF_LEVEL_0
    with pytest.raises(UsageError, match=r"has no A_he.h5: name CLAM's folder patches/"):
        ClamSlice(tmp_path).layout(path)


def test_a_tensor_has_the_places_of_the_files_beside_it(tmp_path: Path) -> None:
    """A .pt file has none: they are those of h5_files/, else of patches/, where these are of as many rows."""
    path = clam_tensors(tmp_path) / "A_he.pt"
    layout = ClamPt().layout(path)
    assert recognised("features", [path]) == "clam-pt"
    assert layout.patch_idx is not None
    assert (layout.patch_idx.tolist(), layout.by_row, layout.xy) == ([0, 1, 2], True, None)
    assert ["their places are not known" in note for note in layout.notes] == [True]
    assert ClamPt().vectors(path).tolist() == numbers("A_he").tolist()
    clam_patches(tmp_path / "RESULTS_DIRECTORY" / "patches")
    layout = ClamPt().layout(path)
    assert said(layout) == OF_LEVEL_0
    assert layout.xy is not None
    assert layout.xy.tolist() == [list(each) for each in reversed(PLACES["A_he"])]
    clam_features(tmp_path)
    layout = ClamPt().layout(path)
    assert said(layout) == OF_LEVEL_0
    assert layout.xy is not None
    assert layout.xy.tolist() == [list(each) for each in PLACES["A_he"]]
    shutil.copy(tmp_path / "FEATURES_DIRECTORY/h5_files/B_he.h5", tmp_path / "FEATURES_DIRECTORY/h5_files/A_he.h5")
    shutil.copy(tmp_path / "RESULTS_DIRECTORY/patches/B_he.h5", tmp_path / "RESULTS_DIRECTORY/patches/A_he.h5")
    assert ClamPt().layout(path).by_row


def test_a_tensor_of_one_row_is_a_slide_in_pt_files_alone(tmp_path: Path) -> None:
    """(1, D) is one vector of a patch, or a slide of one patch: CLAM's folder says which."""
    path = clam_tensors(tmp_path) / "A_sox.pt"
    assert recognised("features", [path]) == "clam-pt"
    (tmp_path / "A_sox.pt").write_bytes(path.read_bytes())
    assert recognised("features", [tmp_path / "A_sox.pt"]) == "pt"


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.dtype(">f4"), np.dtype(">f2")])
def test_every_kind_of_float_is_read(tmp_path: Path, kind: object) -> None:
    """float16, float64 and the other order of bytes, with or without a batch axis, are the same numbers."""
    path = tmp_path / "A_he.h5"
    with h5py.File(path, "w") as file:
        file["features"] = numbers("A_he").astype(kind)[None]  # type: ignore[call-overload]
        file["coords"] = np.array(PLACES["A_he"], np.int32)
    layout = ClamSlice().layout(path)
    assert (layout.rows, layout.width) == (3, 3)
    assert layout.half == (np.dtype(kind).itemsize == 2)  # type: ignore[call-overload]
    assert ClamSlice().vectors(path).tolist() == numbers("A_he").tolist()


def test_files_that_are_not_of_one_run_are_refused(tmp_path: Path) -> None:
    """Other places in patches/, features and coords of different length, a place twice, and patches without a size."""
    features = clam_features(tmp_path)
    patches = clam_patches(tmp_path / "patches")
    shutil.copy(patches / "C_he.h5", patches / "B_he.h5")
    with pytest.raises(DataError, match=r"B_he.h5 has 2 patches and .*B_he.h5 2, not at the same places"):
        ClamSlice().layout(features / "B_he.h5")
    with h5py.File(features / "C_he.h5", "r+") as file:
        file["coords"].resize((1, 2))
    with pytest.raises(DataError, match=r"C_he.h5 has 2 features and 1 coords"):
        ClamSlice().layout(features / "C_he.h5")
    with h5py.File(features / "A_he.h5", "r+") as file:
        file["coords"][1] = file["coords"][0]
    with pytest.raises(DataError, match="has the patch at x 0, y 0 2 times"):
        ClamSlice().layout(features / "A_he.h5")
    with h5py.File(patches / "A_sox.h5", "r+") as file:
        del file["coords"].attrs["downsample"]
    with pytest.raises(DataError, match=r"A_sox.h5 does not say how large a patch is"):
        ClamSlice().layout(features / "A_sox.h5")


def test_files_of_others_are_not_taken_for_clams(tmp_path: Path) -> None:
    """An attribute, or a further array, is another tool's; under CLAM's name it is refused by what it holds."""
    path = clam_features(tmp_path) / "A_he.h5"
    with h5py.File(path, "r+") as file:
        file["coords"].attrs["patch_size_level0"] = 256
    assert recognised("features", [path]) != "clam"
    with pytest.raises(DataError, match=r"is not of CLAM: it holds coords \(3, 2\), features \(3, 3\)"):
        ClamSlice().layout(path)
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        file["feats"], file["coords"] = np.zeros((2, 3)), np.zeros((2, 2))
    assert recognised("features", [tmp_path / "feats.h5"]) != "clam"
    with pytest.raises(DataError, match="is not of CLAM"):
        ClamSlice().layout(tmp_path / "feats.h5")
