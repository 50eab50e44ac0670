"""Folders of LazySlide are read right, or refused by name."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from milstore.errors import DataError, UsageError
from milstore.formats.feature_reading import slice_format
from milstore.formats.interface import Layout
from milstore.formats.registry import FORMATS, find_format, recognised
from milstore.formats.wkb import bounds_of
from milstore.ingest.file_discovery import find_files
from milstore.plugins import recognises
from tests.lazyslide_files import SPEC, TILES, square, write_zarr
from tests.optional import needs

pytestmark = needs("zarr")


def numbers(rows: int = 3, dtype: str = "f4") -> npt.NDArray[Any]:
    """Features (rows, 4)."""
    return np.arange(rows * 4).reshape(rows, 4).astype(dtype) / 4


def layout(path: Path, encoder: str = "") -> Layout:
    """What the format says of a folder."""
    assert recognised("features", [path]) == "lazyslide"
    return slice_format("lazyslide", encoder).layout(path)


def test_rows_are_joined_with_tiles_by_their_ids(tmp_path: Path) -> None:
    """The first row is of tile 3, which stands second among the outlines: nothing goes by order."""
    path = write_zarr(tmp_path / "S1.zarr", {"uni": numbers()})
    found = layout(path)
    assert found.xy is not None and found.xy.tolist() == [[512, 0], [512, 512], [0, 512]]
    assert slice_format("lazyslide", "uni").vectors(path).tolist() == numbers().tolist()


def test_a_folder_says_how_its_tiles_were_cut(tmp_path: Path) -> None:
    """Edge at level 0 from the outlines; pixels, resolution and overlap from tile_spec; the size of the slide."""
    found = layout(write_zarr(tmp_path / "S1.zarr", {"uni": numbers(dtype="f2")}))
    assert (found.rows, found.width, found.half, found.unit, found.patch_size) == (3, 4, True, "level-0", 512)
    assert (found.patch_px, found.mpp, found.overlap, found.slide_size) == (256, 0.5, 32, (1100, 1024))
    assert (found.tool, found.encoder, found.patch_idx, found.centred) == ("lazyslide", "uni", None, False)


def test_without_a_resolution_of_tiles_that_of_the_slide_tells_it(tmp_path: Path) -> None:
    """512 pixels of 0.25 seen as 256 are 0.5."""
    path = write_zarr(tmp_path / "S1.zarr", {"uni": numbers()}, spec={**SPEC, "mpp": None})
    assert layout(path).mpp == 0.5


def test_a_slide_without_tiles_has_none(tmp_path: Path) -> None:
    """No row and no outline: no patch, and the width is known all the same."""
    found = layout(write_zarr(tmp_path / "S1.zarr", {"uni": numbers(0)}, tile_ids=(), tiles=()))
    assert (found.rows, found.width, found.patch_size) == (0, 4, None)


def test_of_several_encoders_the_one_that_is_named_is_read(tmp_path: Path) -> None:
    """`--encoder` names the table, by the encoder or by the table's own name; else the encoders are listed."""
    path = write_zarr(tmp_path / "S1.zarr", {"uni": numbers(), "conch": numbers() + 1})
    assert (layout(path, "conch").encoder, layout(path, "uni_tiles").encoder) == ("conch", "uni")
    assert slice_format("lazyslide", "conch").vectors(path)[0].tolist() == [1, 1.25, 1.5, 1.75]
    with pytest.raises(
        DataError, match=r"features of several encoders \(conch, uni\): name the one to read by --encoder"
    ):
        layout(path, "mine")


def test_one_encoder_may_be_called_as_the_user_likes(tmp_path: Path) -> None:
    """Where there is one table, its features go in under any name."""
    assert layout(write_zarr(tmp_path / "S1.zarr", {"uni": numbers()}), "mine").encoder == "uni"


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "rows and ids differ": (
        lambda path: write_zarr(path, {"uni": numbers()}, (3, 5)),
        "has 3 features and 2 obs/tile_id",
    ),
    "a row of no tile": (
        lambda path: write_zarr(path, {"uni": numbers()}, (3, 5, 8)),
        "has features of tile_id 8 that its",
    ),
    "a row twice": (
        lambda path: write_zarr(path, {"uni": numbers()}, (3, 5, 3)),
        "tile_id 3 more than once among its features",
    ),
    "a tile twice": (
        lambda path: write_zarr(path, {"uni": numbers()}, tiles=(*TILES, TILES[0])),
        "tile_id 7 more than once among its shapes",
    ),
    "tiles of two sizes": (
        lambda path: write_zarr(
            path, {"uni": numbers()}, outlines=[square(0, 0), square(512, 0), square(0, 512, edge=256)]
        ),
        "has tiles that are not squares of one size",
    ),
    "oblong tiles": (
        lambda path: write_zarr(path, {"uni": numbers()}, spec={**SPEC, "height": 128}),
        "has tiles of 256.0 x 128.0 pixels",
    ),
    "points": (
        lambda path: write_zarr(path, {"uni": numbers()}, outlines=[b"\x01\x01\x00\x00\x00" + bytes(16)] * 3),
        "is damaged",
    ),
    "whole numbers": (
        lambda path: write_zarr(path, {"uni": numbers(dtype="f4").astype("i4")}),
        "must be floats (N, D)",
    ),
    "no features": (lambda path: write_zarr(path, {}), "has no table of features of its tiles"),
    "no outlines": (
        lambda path: (write_zarr(path, {"uni": numbers()}) / "shapes/tiles/shapes.parquet").unlink(),
        "has no shapes/tiles/shapes.parquet",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_refused_by_name(what: str, tmp_path: Path) -> None:
    """One line that names the folder and what is wrong with it."""
    spoil, line = REFUSED[what]
    path = tmp_path / "S1.zarr"
    spoil(path)
    with pytest.raises(DataError) as refused:
        layout(path)
    assert str(refused.value).startswith(str(path)) and line in str(refused.value)


def test_a_folder_of_another_kind_is_not_taken_for_it(tmp_path: Path) -> None:
    """A folder that ends in .zarr and is no group of Zarr is refused by name; a file of that name is not recognised."""
    (tmp_path / "S1.zarr").mkdir()
    (tmp_path / "S2.zarr").write_bytes(b"")
    for name in ("S1.zarr", "S2.zarr"):
        assert not recognises(find_format("features", "lazyslide"), tmp_path / name)
        with pytest.raises(DataError, match="is no folder of Zarr"):
            find_format("features", "lazyslide").layout(tmp_path / name)


def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without zarr the extra that brings it is named."""
    path = write_zarr(tmp_path / "S1.zarr", {"uni": numbers()})
    for module in [name for name in sys.modules if name.split(".")[0] == "zarr"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [_NoZarr(), *sys.meta_path])
    with pytest.raises(UsageError, match=r"needs the package zarr: pip install 'milstore\[zarr\]'"):
        layout(path)


class _NoZarr:
    """Finds zarr nowhere."""

    def find_spec(self, name: str, *_: Any) -> None:
        """ModuleNotFoundError for zarr, nothing for all else."""
        if name.partition(".")[0] == "zarr":
            raise ModuleNotFoundError("No module named 'zarr'", name="zarr")


def test_folders_that_are_files_are_found_as_such(tmp_path: Path) -> None:
    """<slide>.zarr is one file, whatever lies in it; other folders are looked into, also for such."""
    write_zarr(tmp_path / "cohort" / "deep" / "S1.zarr", {"uni": numbers()})
    write_zarr(tmp_path / "cohort" / "S.2.zarr", {"uni": numbers()})
    found = find_files(tmp_path / "cohort", ["zarr", "parquet"], as_files=["zarr"])
    assert sorted(zip(found.files, found.stems, strict=True)) == [("S.2.zarr", "S.2"), ("deep/S1.zarr", "S1")]
    assert len(find_files(tmp_path / "cohort", ["zarr", "parquet"]).files) == 2, "the outlines alone"
    assert FORMATS["features"].folders() == ["zarr"] and FORMATS["features"].folders(["h5"]) == []


def test_outlines_may_begin_anywhere_and_run_either_way() -> None:
    """The surrounding rectangle of polygons: of one form at once, and of mixed forms one by one."""
    alike = [square(10, 20, 5, first=i) for i in range(4)]
    assert bounds_of(alike).tolist() == [[10, 20, 15, 25]] * 4
    mixed = [square(10, 20, 5), square(0, 1, 2, order=">")]
    assert bounds_of(mixed).tolist() == [[10, 20, 15, 25], [0, 1, 2, 3]]
    assert bounds_of([]).shape == (0, 4)
    for broken in (square(0, 0)[:40], b"", b"\x01\x02\x00\x00\x00" + bytes(80)):
        with pytest.raises(ValueError, match="cut short"):
            bounds_of([broken])


@pytest.mark.shared
def test_the_groups_own_folders_are_read(shared_data: Path) -> None:
    """Three slides of 256 px at 0.5, of which one of 40x has tiles of 512 level-0 pixels."""
    folders = sorted((shared_data / "interop" / "lazyslide").glob("*.zarr"))
    found = {path.stem: layout(path) for path in folders}
    assert {slide: (each.rows, each.patch_size, each.mpp) for slide, each in found.items()} == {
        "S23-0104_A1_HE": (18, 256, 0.5),
        "S23-0118_B2_HE": (4, 512, 0.5),
        "S23-0131_C1_MelanA": (11, 256, 0.5),
    }
    assert found["S23-0118_B2_HE"].xy is not None and found["S23-0118_B2_HE"].xy[0].tolist() == [317, 256]
