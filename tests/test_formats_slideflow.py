"""slideflow's bags: a tensor a slide, and the centres of its tiles beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from milstore.errors import DataError
from milstore.formats.registry import recognised
from milstore.formats.slideflow import SlideflowBag
from tests.tool_files import BAGS_CONFIG, SLIDES, numbers, slideflow_bags


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
