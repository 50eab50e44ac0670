"""`ingest regions`: a patch gets the annotated regions that its centre lies in."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from milstore.errors import ConflictError
from milstore.ingest.regions import RegionOptions, ingest_regions
from milstore.pixels import slide_bounds
from milstore.pixels.slide_bounds import Begin
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.slice_files import FileNames, safe_stem
from milstore.store.slides import Slides
from tests.ingesting import contents, milstore
from tests.making import THREE_REGIONS, three_case_store
from tests.slide_store import EDGE, add_patches, annotation, feature, grid, rectangle, slide_store, write

LEFT = rectangle(0, 0, 300, 768)
"""On S1_HE it holds the centres of patches 0, 4 and 8."""
TOP = rectangle(0, 0, 1024, 200)
"""On S1_HE: 0 to 3."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The slides, with patches."""
    return slide_store(tmp_path / "store", vendor="aperio")


def regions(store: Store) -> dict[str, dict[str, list[int]]]:
    """The numbers of the patches in each region, by case."""
    found: dict[str, dict[str, list[int]]] = {}
    for row in read_cohort(store).table("patch_regions").to_pylist():
        found.setdefault(row["case_id"], {}).setdefault(row["region"], []).append(row["patch_idx"])
    return found


def test_a_patch_gets_the_regions_of_its_centre(store: Store, tmp_path: Path) -> None:
    """Several, where they overlap; not that in whose hole it lies; a region may be of several outlines. Twice is once."""
    ring = annotation("Ring", rectangle(0, 0, 1024, 768), rectangle(200, 200, 800, 600))
    write(tmp_path / "a" / "S1_HE.geojson", annotation("Tumor", LEFT), annotation("Stroma", TOP), ring)
    write(tmp_path / "a" / "S2_HE.geojson", *(annotation("Tumor", rectangle(0, y, 300, y + 200)) for y in (0, 300)))
    report = ingest_regions(store, tmp_path / "a")
    assert regions(store) == {
        "1": {"Tumor": [0, 4, 8], "Stroma": [0, 1, 2, 3], "Ring": [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]},
        "2": {"Tumor": [0, 2]},
    }
    assert report.lines() == [
        "regions: 2 files of 2 slides, 3 regions (Ring, Stroma, Tumor)",
        "12 of 16 patches have their centre in one, 6 in several",
    ]
    before = contents(store)
    assert ingest_regions(store, tmp_path / "a").lines()[-1] == "nothing changed"
    assert contents(store) == before


def test_all_that_is_left_out_is_said(store: Store, tmp_path: Path) -> None:
    """Objects without a class, of other kinds, without an area, open, beyond the slide; slides and files without the other."""
    write(
        tmp_path / "a" / "S1_HE.geojson",
        annotation(None, LEFT),
        feature([LEFT], objectType="tile", classification={"name": "Tile"}),
        feature([LEFT], objectType="cell", classification={"name": "Cell"}),
        annotation("Open", TOP[:-1]),
        annotation("Line", TOP[:2]),
        annotation("Far", rectangle(900, 700, 2000, 2000)),
    )
    write(tmp_path / "a" / "S3_HE.geojson", annotation("Tumor", LEFT))
    write(tmp_path / "a" / "S9_HE.geojson", annotation("Tumor", LEFT))
    report = ingest_regions(store, tmp_path / "a")
    assert regions(store) == {"1": {"Open": [0, 1, 2, 3]}}
    assert report.lines() == [
        "regions: 2 files of 2 slides, 3 regions (Far, Open, Tumor)",
        "4 of 12 patches have their centre in one",
        "left out: 1 cell, 1 tile (--every-kind takes them as regions too)",
        "left out: 1 object without a class (--unclassified NAME makes them regions of that name)",
        "left out: 1 object that enclose nothing, such as points and lines",
        "closed: 1 outline whose last corner is not the first",
        "reach beyond the slide: 2 objects of 2 slides (S1_HE, S3_HE): look whether they are of this slide, at full resolution",
        "without a patch inside: 1 region (Far of S1_HE)",
        "without patches, so without regions: 1 slide (S3_HE)",
        "left out: 1 file of no slide of the store (S9_HE.geojson): a file has the slide's id as its name",
    ]


def test_options_take_what_is_left_out(store: Store, tmp_path: Path) -> None:
    """A name for what has no class, every kind, and the slide of a file that is called otherwise."""
    tile = feature([LEFT], objectType="tile", classification={"name": "Tile"})
    path = write(tmp_path / "mine.geojson", annotation(None, TOP), tile)
    options = RegionOptions(unclassified="area", every_kind=True, slide="S1_HE")
    ingest_regions(store, path, options)
    assert regions(store) == {"1": {"area": [0, 1, 2, 3], "Tile": [0, 4, 8]}}


def test_tissue_of_other_tools(store: Store, tmp_path: Path) -> None:
    """TRIDENT's contours are `tissue 0` and so on; a file of LazySlide may be called `<slide>_tissues`."""
    path = write(tmp_path / "S1_HE_tissues.geojson", feature([LEFT], tissue_id=0), feature([TOP], tissue_id=1))
    ingest_regions(store, path)
    assert regions(store) == {"1": {"tissue 0": [0, 4, 8], "tissue 1": [0, 1, 2, 3]}}


def test_regions_are_added_and_replaced(store: Store, tmp_path: Path) -> None:
    """A second file adds; a region that lost patches is refused; --replace takes the slide's regions again, and no other's."""
    ingest_regions(store, write(tmp_path / "S2_HE.geojson", annotation("Other", LEFT)))
    ingest_regions(store, write(tmp_path / "S1_HE.geojson", annotation("Tumor", LEFT)))
    ingest_regions(store, write(tmp_path / "S1_HE.geojson", annotation("Stroma", TOP)))
    assert regions(store) == {"1": {"Tumor": [0, 4, 8], "Stroma": [0, 1, 2, 3]}, "2": {"Other": [0, 2]}}
    before = contents(store)
    smaller = write(tmp_path / "S1_HE.geojson", annotation("Tumor", rectangle(0, 0, 300, 300)))
    with pytest.raises(
        ConflictError, match=r"2 patches lie .* outside it by .*patch 4 of case 1, h&e: Tumor\): use --replace"
    ):
        ingest_regions(store, smaller)
    assert contents(store) == before
    ingest_regions(store, smaller, replace=True)
    assert regions(store) == {"1": {"Tumor": [0]}, "2": {"Other": [0, 2]}}
    ingest_regions(store, write(tmp_path / "S1_HE.geojson"), replace=True)
    assert regions(store) == {"2": {"Other": [0, 2]}}


def test_regions_follow_the_patches(store: Store, tmp_path: Path) -> None:
    """New patches of an annotated slide are told, and get their regions when these go in again; patches that go take theirs along."""
    path = write(tmp_path / "S1_HE.geojson", annotation("Tumor", LEFT))
    ingest_regions(store, path)
    again = "milstore ingest regions FILES takes their regions in again"
    assert add_patches(store, grid("S2_HE", 128)) == []
    fine = [patch for patch in grid("S1_HE", 128) if patch["x"] in (0, 512)]
    told = add_patches(store, fine)
    assert told == [f"in no region yet: 12 patches of slices that have annotated regions; {again}"]
    assert regions(store) == {"1": {"Tumor": [0, 4, 8]}}
    ingest_regions(store, path)
    assert regions(store)["1"]["Tumor"] == [0, 4, 8, *range(12, 24, 2)]
    moved = [{**patch, "patch_idx": i} for i, patch in enumerate(grid("S1_HE")) if i not in (0, 1)]
    moved[2]["x"] += 1
    told = add_patches(store, [*moved, *grid("S2_HE")], whole=True)
    assert told == [
        f"out of their regions: 8 patches that moved or are gone; {again}",
        f"in no region yet: 1 patch of slices that have annotated regions; {again}",
    ]
    assert regions(store) == {"1": {"Tumor": [8]}}


class FakeSlide:
    """What openslide opens, of which the properties count alone."""

    properties: dict[str, str]

    def __enter__(self) -> "FakeSlide":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Slides whose scanned part begins at 512, 256, as OpenSlide says it."""
    openslide = pytest.importorskip("openslide")
    slide = FakeSlide()
    slide.properties = {"openslide.bounds-x": "512", "openslide.bounds-y": "256"}
    monkeypatch.setattr(openslide, "OpenSlide", lambda path: slide)
    (tmp_path / "slide.mrxs").write_bytes(b"MIRAX")
    return slide_store(tmp_path / "store", vendor="mirax", path="../slide.mrxs")


def test_qupath_counts_from_the_bounds(bounded: Store, tmp_path: Path) -> None:
    """Its files are read from there; those of other tools, which count from level 0, are not."""
    corner = rectangle(0, 0, 256, 256)
    report = ingest_regions(bounded, write(tmp_path / "S1_HE.geojson", annotation("Tumor", corner)))
    ingest_regions(bounded, write(tmp_path / "S1_HE.geojson", feature([corner], tissue_id=0)))
    assert regions(bounded) == {"1": {"Tumor": [6], "tissue 0": [0]}}
    assert "read from OpenSlide's bounds, as QuPath counts: 1 slide (such as S1_HE, 512, 256)" in report.lines()
    ingest_regions(bounded, tmp_path / "S1_HE.geojson", RegionOptions(begin=Begin(256, 0)), replace=True)
    assert regions(bounded) == {"1": {"tissue 0": [1]}}


def test_where_the_slide_cannot_be_opened_it_is_said(tmp_path: Path) -> None:
    """Of a maker whose slides have bounds; of others nothing is in doubt."""
    store = slide_store(tmp_path / "store", vendor="mirax", path=str(tmp_path / "gone.mrxs"))
    report = ingest_regions(store, write(tmp_path / "S1_HE.geojson", annotation("Tumor", LEFT)))
    assert report.lines()[2].startswith("taken as pixels of level 0: 1 slide (S1_HE), whose file cannot be opened;")


def test_a_slide_without_bounds_begins_at_its_corner(tmp_path: Path) -> None:
    """A tiled TIFF that openslide opens, a picture that it does not, and a file that is damaged."""
    pytest.importorskip("openslide")
    tifffile = pytest.importorskip("tifffile")
    np = pytest.importorskip("numpy")
    path = tmp_path / "S1_HE.tif"
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), tile=(32, 32), photometric="rgb")
    assert slide_bounds._read(path) == Begin(0, 0)
    (tmp_path / "text.tif").write_text("text")
    assert slide_bounds._read(tmp_path / "text.tif") == Begin(0, 0)
    assert slide_bounds._read(tmp_path / "gone.tif") is None


def test_a_slice_on_no_slide_is_called_as_it_is_exported(tmp_path: Path) -> None:
    """Case, stain and slice in the file's name; coordinates are pixels of the slice."""
    store = three_case_store(tmp_path / "store")
    # Patches 0 to 2 lie side by side, 64 pixels wide.
    path = write(tmp_path / "10_h&e_match_2.geojson", annotation("Tumor", rectangle(64, 0, 192, 64)))
    ingest_regions(store, path)
    rows = [row for row in read_cohort(store).table("patch_regions").to_pylist() if row["region"] == "Tumor"]
    assert [(row["case_id"], row["slice_idx"], row["patch_idx"]) for row in rows] == [("10", 1, 1), ("10", 1, 2)]
    assert read_cohort(store).table("patch_regions").num_rows == 2 + sum(map(len, THREE_REGIONS.values()))


def test_patches_without_a_place_are_counted(store: Store, tmp_path: Path) -> None:
    """They lie in no region; where a slice has coordinates of its own pixels, none of it does."""
    unplaced = {"case_id": "1", "stain": "h&e", "slice_name": "S1_HE", "patch_idx": 90}
    on_slice = {
        "case_id": "2",
        "stain": "h&e",
        "slice_name": "S3_HE",
        "patch_idx": 0,
        "x": 0,
        "y": 0,
        "width": 9,
        "height": 9,
    }
    add_patches(store, [unplaced, {**on_slice, "unit": "slice"}])
    for slide in ("S1_HE", "S3_HE"):
        write(tmp_path / "a" / f"{slide}.geojson", annotation("Tumor", LEFT))
    report = ingest_regions(store, tmp_path / "a")
    assert regions(store) == {"1": {"Tumor": [0, 4, 8]}}
    assert "in no region: 2 patches whose place on the slide is not known" in report.lines()


def test_names_of_files(store: Store) -> None:
    """An id with dots is whole; what a tool adds is taken away; no name is a slide by its beginning."""
    slides = Slides(read_cohort(store))
    names = FileNames(slides, [("4", "h&e", "match_1")])
    for name in ("S1_HE.geojson", "S1_HE.svs.geojson", "S1_HE_tiles.geojson", "x/S1_HE.json"):
        assert names.find(Path(name)) == slides["S1_HE"]
    assert names.find(Path("4_h&e_match_1.geojson")) == ("4", "h&e", "match_1")
    assert names.find(Path("S1_HE_before-0.4.geojson")) is None
    assert safe_stem("a/b:c\\..") == "a-b-c-"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["{}/S9.geojson"],
            "is of no slide of the store (it has S1_HE, S2_HE, S3_HE): name the file by the slide's id",
        ),
        (["{}/S9.geojson", "--slide", "S1"], "there is no slide 'S1' in this store: did you mean"),
        (["{}", "--slide", "S1_HE"], "--slide names the slide of one file"),
        (["{}/empty"], "holds no .geojson files"),
        (["{}/gone.geojson"], "gone.geojson cannot be read: No such file or directory"),
        (["{}/S1_HE.geojson"], "object 1 has coordinates that are NaN"),
        (["{}/S2_HE.geojson"], "has a region called"),
        (["{}/S9.geojson", "--slide", "S1_HE", "--offset", "1"], "--offset is '1': give two whole numbers"),
    ],
)
def test_what_does_not_fit_is_one_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Exit code 2, and the store is as it was."""
    folder = tmp_path / "files"
    (folder / "empty").mkdir(parents=True)
    write(folder / "S9.geojson", annotation("Tumor", LEFT))
    write(folder / "S1_HE.geojson", annotation("Tumor", [[0, 0], [float("nan"), 1], [1, 1]]))
    write(folder / "S2_HE.geojson", annotation("T\x1b" * 5, LEFT))
    before = contents(store)
    assert milstore(store, "ingest", "regions", *(word.format(folder) for word in words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert contents(store) == before


def test_the_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes the regions in and says so; what is damaged is made again by --replace."""
    path = write(tmp_path / "S1_HE.geojson", annotation("Tumor", LEFT))
    assert milstore(store, "ingest", "regions", path) == 0
    assert capsys.readouterr().err.splitlines() == [
        "regions: 1 file of 1 slide, 1 region (Tumor)",
        "3 of 12 patches have their centre in one",
    ]
    file = store.root / store.manifest()["tables"]["patch_regions"]["file"]
    file.chmod(0o644)
    shutil.copy(path, file)
    assert milstore(store, "ingest", "regions", path) == 2
    assert "or give it again: milstore ingest regions FILES --replace" in capsys.readouterr().err
    assert milstore(store, "ingest", "regions", path, "--replace") == 0
    assert regions(store) == {"1": {"Tumor": [0, 4, 8]}}


@pytest.mark.shared
def test_files_as_the_tools_write_them(tmp_path: Path, shared_data: Path) -> None:
    """QuPath's annotation with a hole, and TRIDENT's and LazySlide's tissue, on slides of the same names and sizes."""
    from tests import slide_store as made

    folder = shared_data / "interop"
    slide: dict[str, Any] = {"case_id": "1", "stain": "h&e", "mpp": 0.25, "width": 2304, "height": 1792}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            made, "SLIDES", {"S23-0118_B2_HE": slide, "S2_HE": made.SLIDES["S2_HE"], "S1_HE": made.SLIDES["S1_HE"]}
        )
        store = slide_store.anew(tmp_path / "store", vendor="aperio")
        add_patches(store, made.grid("S23-0118_B2_HE", 2 * EDGE))
    ingest_regions(store, folder / "qupath")
    ingest_regions(store, folder / "trident" / "contours_geojson")
    found = regions(store)["1"]
    # Centres at 256, 768, 1280 …; the hole is 600 to 800 wide and 500 to 700 high, and no centre lies in it.
    assert found["Tumor"] == [0, 1, 2, 5, 6, 7, 11]
    assert set(found) == {"Tumor", "tissue 1"}
    ingest_regions(store, folder / "lazyslide" / "S23-0118_B2_HE_tissues.geojson", replace=True)
    assert set(regions(store)["1"]) == {"tissue 1"}
    assert set(regions(store)["1"]["tissue 1"]) <= {*found["tissue 1"], *range(20)}
