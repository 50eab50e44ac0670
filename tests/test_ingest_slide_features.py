"""Features of slides: found by the slide's id, their patches placed at level 0, one grid an encoder."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest.features import FeaturesReport, ingest_features
from milstore.ingest.slide_table import ingest_slides
from milstore.store import Store, create_store
from milstore.store.catalog import refresh
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check
from milstore.store.features import open_features
from milstore.store.summary import contents as summary
from tests.ingesting import contents, make_images, milstore
from tests.making import MadeOnce

READER = '''
import json
import numpy as np
from milstore.formats.interface import Layout

class Any:
    """What JSON says of a slide: the fields of a layout, and the vectors."""
    endings = ("json",)

    def recognises(self, path):
        return path.suffix == ".json"

    def layout(self, path):
        said = json.loads(path.read_text())
        vectors = np.array(said.pop("vectors"), "f4").reshape(-1, 2)
        for name, kind in (("xy", "f8"), ("patch_idx", "i8")):
            if name in said:
                said[name] = np.array(said[name], kind).reshape((-1, 2) if name == "xy" else -1)
        for name in ("slide_size", "notes"):
            if name in said:
                said[name] = tuple(said[name])
        return Layout(rows=len(vectors), width=2, **said)

    def vectors(self, path):
        return np.array(json.loads(path.read_text())["vectors"], "f4").reshape(-1, 2)
'''
SLIDES = """slide_id,case_id,stain,mpp,width,height,label
S1,A,he,0.5,1024,1024,x
S2,A,sox10,0.25,2048,2048,x
S3,B,he,,,,y
"""


@MadeOnce
def slides_store(folder: Path) -> Store:
    """A store of three slides of two cases, the third of an unknown resolution."""
    store = create_store(folder)
    path = folder.parent / "slides.csv"
    path.write_text(SLIDES)
    ingest_slides(store, path)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "reader.py").write_text(READER)
    return slides_store(tmp_path / "store")


def give(store: Store, files: dict[str, dict[str, Any]], encoder: str = "e", **options: Any) -> FeaturesReport:
    """Take files in, each given by its slide and what it says; vectors count the rows where none are given."""
    folder = store.root.parent / f"files-{encoder}"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for slide, said in files.items():
        rows = len(said.get("xy", said.get("patch_idx", ())))
        vectors = said.get("vectors", [[row, 1] for row in range(rows)])
        (folder / f"{slide}.json").write_text(json.dumps({**said, "vectors": vectors}))
    return ingest_features(store, folder, encoder=encoder, format=f"{store.root.parent / 'reader.py'}:Any", **options)


def patches(store: Store, case_id: str = "A", stain: str = "h&e") -> list[tuple[Any, ...]]:
    """patch_idx, x, y, width, unit and grid of a case's patches."""
    names = ("patch_idx", "x", "y", "width", "unit", "grid")
    found = read_cohort(store).table("patches").to_pylist()
    return [tuple(r[name] for name in names) for r in found if (r["case_id"], r["stain"]) == (case_id, stain)]


def vectors(store: Store, encoder: str, case_id: str = "A") -> dict[tuple[str, int], float]:
    """The first number of each patch's vector."""
    packed = open_features(store, read_cohort(store), encoder)
    rows = packed.patches.filter(np.array(packed.patches["case_id"].to_pylist()) == case_id).to_pylist()
    return {(r["stain"], r["patch_idx"]): v for r, v in zip(rows, packed.read(case_id)[:, 0].tolist(), strict=True)}


LEVEL0 = {"unit": "level-0", "patch_size": 256, "patch_px": 256, "mpp": 0.5, "tool": "cutter"}
TWO = [[256, 0], [0, 0]]


def test_files_find_their_slides(store: Store) -> None:
    """A file whose stem is a slide's id is that slide's; its patches are made, numbered by (y, x), and keep their vectors."""
    report = give(store, {"S1": {**LEVEL0, "xy": TWO}, "S2": {**LEVEL0, "patch_size": 512, "xy": [[512, 512]]}})
    assert patches(store) == [
        (0, 0, 0, 256, "level0", "256px-0.5mpp"),
        (1, 256, 0, 256, "level0", "256px-0.5mpp"),
    ]
    assert patches(store, stain="sox10") == [(0, 512, 512, 512, "level0", "256px-0.5mpp")]
    assert vectors(store, "e") == {("h&e", 0): 1, ("h&e", 1): 0, ("sox10", 0): 0}
    slices = read_cohort(store).table("slices").to_pylist()
    assert [(row["slice_name"], row["slide_id"]) for row in slices] == [("S1", "S1"), ("S2", "S2")]
    assert report.lines() == [
        "cutter: 2 slides of 1 case, 3 patches of 256 px at 0.5 mpp, 2 numbers each",
        f"{report.source}: 3 vectors of 2 numbers (float32) of encoder e",
        "made 3 patches that the store did not know",
    ]
    (row,) = read_cohort(store).table("encoders").to_pylist()
    assert [row[name] for name in ("grid", "mpp", "patch_px", "tool")] == ["256px-0.5mpp", 0.5, 256, "cutter"]
    assert read_cohort(store).table("grids").to_pylist() == [
        {"grid": "256px-0.5mpp", "tool": "cutter", "edge": 256, "mpp": 0.5, "overlap": 0}
    ]
    assert check(store) == []
    assert dict(summary(store))["slides"] == "3 (without patches 1: S3)"
    assert dict(summary(store))["features"] == "e (2 x float32, 3 patches of 256 px at 0.5 mpp)"


def test_a_second_time_changes_nothing(store: Store) -> None:
    """The same files once more leave every file of the store as it is."""
    files = {"S1": {**LEVEL0, "xy": TWO}}
    give(store, files)
    before = contents(store)
    assert give(store, files).lines()[-1] == "nothing changed"
    assert contents(store) == before


def test_a_dry_run_writes_nothing(store: Store) -> None:
    """It says what was understood, and what was not certain, and nothing else."""
    before = contents(store)
    report = give(store, {"S1": {**LEVEL0, "xy": TWO, "notes": ["guessed"]}, "S2": {**LEVEL0, "xy": []}}, dry_run=True)
    assert report.lines() == [
        "cutter: 2 slides of 1 case, 2 patches of 256 px at 0.5 mpp, 2 numbers each",
        "not certain: guessed; without patches: 1 slide (S2)",
        "nothing was written: the same line without --dry-run takes them in",
    ]
    assert contents(store) == before


def test_micrometres_and_centres_land_on_the_same_patches(store: Store) -> None:
    """Corners at level 0, micrometres, and centres of tiles of one slide are the same patches, give or take a pixel."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}}, "corners")
    um = {"unit": "um", "patch_size": 128, "patch_um": 128, "patch_px": 256, "mpp": 0.5, "xy": [[0, 0], [128.2, 0]]}
    give(store, {"S1": um}, "um")
    centres = {"unit": "level-0", "centred": True, "patch_um": 128, "patch_px": 224, "xy": [[384, 128], [127, 128]]}
    report = give(store, {"S1": centres}, "centres")
    assert [row[:4] for row in patches(store)] == [(0, 0, 0, 256), (1, 256, 0, 256)]
    assert (report.created, report.without) == (0, 0)
    assert vectors(store, "um") == {("h&e", 0): 0, ("h&e", 1): 1}
    assert vectors(store, "centres") == {("h&e", 0): 1, ("h&e", 1): 0}
    encoders = read_cohort(store).table("encoders").to_pylist()
    assert [(row["encoder"], row["patch_px"], row["mpp"], row["grid"]) for row in encoders] == [
        ("centres", 224, 0.57, "256px-0.5mpp"),
        ("corners", 256, 0.5, "256px-0.5mpp"),
        ("um", 256, 0.5, "256px-0.5mpp"),
    ]


def test_micrometres_need_the_resolution(store: Store) -> None:
    """Where the store knows none of the slide, it is asked for by name; --slide-mpp gives it, and it becomes the slide's."""
    um = {"unit": "um", "patch_size": 128, "patch_um": 128, "patch_px": 256, "xy": [[0, 0], [128, 0]]}
    with pytest.raises(
        DataError, match=r"S3.json has coordinates in micrometres, and slide S3 has no resolution .*--slide-mpp 0.25"
    ):
        give(store, {"S3": um})
    give(store, {"S3": um}, slide_mpp=0.25)
    assert [row[:4] for row in patches(store, "B")] == [(0, 0, 0, 512), (1, 512, 0, 512)]
    assert read_cohort(store).table("slides").to_pylist()[2]["mpp"] == 0.25
    with pytest.raises(
        UsageError, match=r"slide S1 has 0.5 micrometres a pixel in the store and --slide-mpp says 0.25"
    ):
        give(store, {"S1": um}, slide_mpp=0.25)


def test_what_an_encoder_saw_must_be_one(store: Store) -> None:
    """Patches of several sizes or resolutions at its input are refused, and the slides named; --mixed takes them."""
    files = {"S1": {**LEVEL0, "xy": TWO}, "S2": {**LEVEL0, "mpp": 0.25, "xy": [[0, 0]]}}
    before = contents(store)
    with pytest.raises(DataError, match=r"of several \(256 px at 0.5 mpp: S1; 256 px at 0.25 mpp: S2\).*--mixed"):
        give(store, files)
    assert contents(store) == before
    report = give(store, files, mixed=True)
    assert report.understood[1] == (
        "not certain: patches of several sizes or resolutions (256 px at 0.5 mpp: S1; 256 px at 0.25 mpp: S2)"
    )
    assert [patches(store)[0][-1], patches(store, stain="sox10")[0][-1]] == ["256px-0.5mpp", "256px-0.25mpp"]
    with pytest.raises(DataError, match=r"of several \(256 px at 0.5 mpp: S1; 224 px at 0.5 mpp: S2\)"):
        give(store, {"S1": files["S1"], "S2": {**LEVEL0, "patch_size": 448, "patch_px": 224, "xy": [[0, 0]]}}, "f")


def test_later_slides_of_another_size(store: Store) -> None:
    """An encoder that grows keeps its size: patches of another one are refused by name."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    with pytest.raises(
        ConflictError, match=r"of e from patches of 256 px at 0.5 mpp, and these are of 512 px at 0.25 mpp"
    ):
        give(store, {"S2": {**LEVEL0, "patch_size": 512, "patch_px": 512, "mpp": 0.25, "xy": [[0, 0]]}})


def test_scanners_that_differ_a_little_are_one(store: Store) -> None:
    """Resolutions that scanners of one magnification have count as one, and that is said."""
    said = give(store, {"S1": {**LEVEL0, "xy": TWO}, "S3": {**LEVEL0, "mpp": 0.46, "xy": TWO}})
    assert said.understood == (
        "cutter: 2 slides of 2 cases, 4 patches of 256 px at 0.46 mpp, 2 numbers each",
        "not certain: micrometres a pixel at the encoder's input differ by slide (0.46 to 0.5) and count as one, 0.46",
    )


def test_an_edge_that_contradicts_the_slide(store: Store) -> None:
    """A file that says by its patches that the slide has another resolution than the store is refused."""
    with pytest.raises(DataError, match=r"its slide would have 0.25, and slide S1 has 0.5 in the store"):
        give(store, {"S1": {**LEVEL0, "patch_size": 512, "xy": TWO}})


def test_a_slide_of_another_size(store: Store) -> None:
    """A file of another scan is refused; the size of a slide that the store lacks is filled in."""
    with pytest.raises(
        DataError, match=r"is of a slide of 999 x 1024 pixels, and slide S1 has 1024 x 1024 in the store"
    ):
        give(store, {"S1": {**LEVEL0, "xy": TWO, "slide_size": [999, 1024]}})
    give(store, {"S3": {**LEVEL0, "xy": TWO, "slide_size": [700, 800]}})
    row = read_cohort(store).table("slides").to_pylist()[2]
    assert (row["width"], row["height"]) == (700, 800)


def test_patches_beyond_the_slide_are_told(store: Store) -> None:
    """Those that reach over an edge are counted; coordinates that are of no place on the slide are refused."""
    report = give(store, {"S1": {**LEVEL0, "xy": [[0, 0], [900, 0], [1024, 0], [-3, 5]]}})
    assert report.understood[1] == "not certain: 3 patches reach beyond their slides, 1 of them wholly (S1 3)"
    for xy, said in (
        ([[5000, 0], [6000, 0], [0, 0]], "2 of 3 patches outside"),
        ([[-300, 0], [0, 0]], "1 of 2 patches outside"),
    ):
        with pytest.raises(DataError, match=rf"S1.json has {said} its slide of 1024 x 1024 pixels"):
            give(store, {"S1": {**LEVEL0, "xy": xy}}, "far")


def test_a_size_that_nobody_says(store: Store) -> None:
    """Without a size, width and height are null and that is said; a file that knows it fills it in."""
    report = give(store, {"S1": {"unit": "level-0", "xy": TWO}})
    assert report.understood[1] == "not certain: size of the patches on the slide unknown (S1.json)"
    assert patches(store) == [(0, 0, 0, None, "level0", None), (1, 256, 0, None, "level0", None)]
    give(store, {"S1": {**LEVEL0, "xy": TWO}}, "later")
    assert patches(store)[0] == (0, 0, 0, 256, "level0", "256px-0.5mpp")


def test_centres_without_a_size(store: Store) -> None:
    """Corners cannot be told from centres alone."""
    with pytest.raises(DataError, match="says where its patches' centres lie, and not how large they are"):
        give(store, {"S1": {"unit": "level-0", "centred": True, "xy": TWO}})


def test_units_do_not_mix(store: Store) -> None:
    """Pixels of the slice and of level 0 are never put into one slice, whichever came first."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    with pytest.raises(
        ConflictError, match=r"S1.json has coordinates in pixels of the slice, and the store has those of case A"
    ):
        give(store, {"S1": {"xy": TWO}}, "slice")
    give(store, {"S3": {"xy": TWO}}, "slice")
    with pytest.raises(ConflictError, match=r"S3.json has coordinates in pixels of the slide's level 0, and the store"):
        give(store, {"S3": {**LEVEL0, "xy": TWO}}, "level")


def test_rows_are_numbers_where_nothing_is_said(store: Store) -> None:
    """Without coordinates the row is the patch; a file with as many coordinates tells their places, one with others is refused."""
    report = give(store, {"S1": {"patch_idx": [0, 1], "by_row": True}}, "rows")
    assert report.understood[1] == "not certain: no coordinates: a patch's number is its row (S1.json)"
    assert patches(store) == [(0, None, None, None, None, None), (1, None, None, None, None, None)]
    with pytest.raises(DataError, match="which of its 1 rows is which of the 2 patches without coordinates"):
        give(store, {"S1": {**LEVEL0, "xy": [[0, 0]]}}, "places")
    give(store, {"S1": {**LEVEL0, "xy": TWO}}, "places")
    assert patches(store) == [
        (0, 256, 0, 256, "level0", "256px-0.5mpp"),
        (1, 0, 0, 256, "level0", "256px-0.5mpp"),
    ]
    assert vectors(store, "places") == {("h&e", 0): 0, ("h&e", 1): 1}
    # What is there already may be given again.
    assert give(store, {"S1": {"patch_idx": [0, 1], "by_row": True}}, "rows").lines()[-1] == "nothing changed"


def test_rows_of_patches_with_places(store: Store) -> None:
    """Rows without coordinates are not put on patches that have places: their order is another."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    with pytest.raises(
        DataError, match=r"S1.json says of its 2 rows neither coordinates nor patch_idx, .* 2 patches with places"
    ):
        give(store, {"S1": {"patch_idx": [0, 1], "by_row": True}}, "rows")


def test_rows_at_one_place(store: Store) -> None:
    """Two rows at one place, or a pixel apart, would be one patch."""
    for xy in ([[0, 0], [0, 0]], [[0, 0], [1, 0]]):
        with pytest.raises(DataError, match=r"two rows of S1.json lie at the same place of case A, h&e, S1"):
            give(store, {"S1": {**LEVEL0, "xy": xy}})


def test_grids_do_not_miss_each_other(store: Store) -> None:
    """Patches of the same size at other places are another grid: neither encoder lacks the other's patches."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    report = give(store, {"S1": {**LEVEL0, "tool": "Other 2.0", "xy": [[40, 50], [296, 50], [552, 50]]}}, "other")
    assert (report.created, report.without, report.cases_without) == (3, 0, ())
    assert [row[-1] for row in patches(store)] == ["256px-0.5mpp"] * 2 + ["256px-0.5mpp-other"] * 3
    assert give(store, {"S1": {**LEVEL0, "xy": TWO}}).without == 0
    assert give(store, {"S2": {**LEVEL0, "patch_size": 512, "xy": [[0, 0]]}}, "less").cases_without == ()
    report = give(store, {"S1": {**LEVEL0, "xy": TWO[:1]}}, "part")
    assert (report.grid, report.without) == ("256px-0.5mpp", 2)
    assert "without a feature: 2 patches of the grid 256px-0.5mpp; training leaves them out" in report.lines()


def test_one_file_a_slide(store: Store, tmp_path: Path) -> None:
    """Two files of one slide in a folder are refused by name."""
    folder = tmp_path / "twice"
    for sub in ("a", "b"):
        (folder / sub).mkdir(parents=True)
        (folder / sub / "S1.json").write_text(json.dumps({**LEVEL0, "xy": TWO, "vectors": TWO}))
    with pytest.raises(DataError, match=r"S1.json and ./S1.json are both of case A, h&e, S1: remove one"):
        ingest_features(store, folder, encoder="e", format=f"{tmp_path / 'reader.py'}:Any")


def test_a_name_inside_the_file(store: Store) -> None:
    """A file that is called otherwise is its slide's, where it names the slide."""
    give(store, {"whatever": {**LEVEL0, "xy": TWO, "slide": "S1"}})
    assert len(patches(store)) == 2


def test_names_by_the_pattern_stay(store: Store) -> None:
    """Beside slides, a file whose name the pattern reads is that slice's; one that nobody knows is named and left out."""
    slices = {"case_7_match_1_he": {"xy": TWO}, "S1": {**LEVEL0, "xy": TWO}, "stranger": {"xy": TWO}}
    report = give(store, slices, create_patches=True)
    assert [row[:5] for row in patches(store, "7")] == [(0, 0, 0, None, "slice"), (1, 256, 0, None, "slice")]
    assert report.understood[0].startswith("cutter and ")
    assert any("stranger.json" in line for line in report.lines())


def test_nobody_knows_the_files(store: Store) -> None:
    """Where no name is read, one line says so."""
    with pytest.raises(DataError, match="1 of 1 files do not say by their name which slice they are of"):
        give(store, {"stranger": {**LEVEL0, "xy": TWO}})


def test_nothing_but_empty_files(store: Store) -> None:
    """Files without any vector make no encoder."""
    with pytest.raises(DataError, match=r"none of the 1 file in .* has a vector"):
        give(store, {"S1": {**LEVEL0, "xy": []}})


def test_slides_keep_their_slices(store: Store) -> None:
    """A slice stays on its slide when images of other patches are taken in later."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    make_images(store.root.parent / "images", ("case_7_match_1_he_patch3",))
    assert milstore(store, "ingest", "patches", store.root.parent / "images") == 0
    slices = read_cohort(store).table("slices").to_pylist()
    assert [(row["slice_name"], row["slide_id"]) for row in slices] == [("match_1", None), ("S1", "S1")]
    assert check(store) == []


def test_a_slide_that_moves_is_refused(store: Store, tmp_path: Path) -> None:
    """A slide whose patches are in the store cannot become another case's by a correction."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    (tmp_path / "moved.csv").write_text("slide,case,stain\nS1,B,he\n")
    with pytest.raises(
        ConflictError, match=r"slide S1 would be of case B, h&e, and its 2 patches are in the store as those of case A"
    ):
        ingest_slides(store, tmp_path / "moved.csv", replace=True)


def trident(path: Path, features: Any, coords: Any, edge: int = 256) -> None:
    """A file as TRIDENT writes it."""
    with h5py.File(path, "w") as file:
        file["features"] = features
        file["coords"] = np.array(coords, np.int64).reshape(-1, 2)
        said = {
            "patch_size": 256,
            "patch_size_level0": edge,
            "target_magnification": 20,
            "level0_magnification": 40,
            "overlap": 0,
        }
        file["coords"].attrs.update(said | {"level0_width": 1024, "level0_height": 1024})


@pytest.mark.parametrize("kind", ["f2", ">f4", "f8", ">f2"])
def test_numbers_of_every_kind(store: Store, tmp_path: Path, kind: str) -> None:
    """float16, float64 and big-endian numbers of a tool's file are what they are; one row is a bag too."""
    folder = tmp_path / "h5"
    folder.mkdir()
    trident(folder / "S1.h5", np.array([[1.5, -2]], kind), [[256, 0]])
    report = ingest_features(store, folder, encoder="e")
    packed = open_features(store, read_cohort(store), "e")
    assert packed.read("A").tolist() == [[1.5, -2.0]]
    assert report.understood[0] == "trident: 1 slide of 1 case, 1 patch of 256 px at 0.5 mpp, 2 numbers each"


@pytest.mark.parametrize(
    ("features", "coords", "message"),
    [
        ([[1.0, np.nan]], [[0, 0]], "hold NaN or infinity"),
        ([[1.0, 2.0]] * 3, [[0, 0], [256, 0]], "3 features and 2 coords"),
        ([[1.0, 2.0], [3.0, 4.0]], [[0, 0], [0, 0]], "x 0, y 0 2 times"),
        ([[1.0, 2.0]], [[90000, 0]], "1 of 1 patch outside its slide of 1024 x 1024 pixels"),
    ],
)
def test_a_tool_s_file_that_cannot_be(
    store: Store, tmp_path: Path, features: Any, coords: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the file's name, exit code 2, and the store stays as it is."""
    folder = tmp_path / "h5"
    folder.mkdir()
    trident(folder / "S1.h5", np.array(features, "f4"), coords)
    refresh(store)
    before = contents(store)
    assert milstore(store, "ingest", "features", folder, "--encoder", "e") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert "S1.h5" in said
    assert contents(store) == before


def test_a_slide_in_parts(store: Store) -> None:
    """Features of a whole slide are not guessed onto the slices that its tissue was split into."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    with edit_cohort(store) as edit:
        rows = edit.table("slices").to_pylist()
        edit.replace("slices", pa.Table.from_pylist([{**row, "slice_name": "S1_t1"} for row in rows]))
    with pytest.raises(
        DataError, match=r"S1.json has the features of a whole slide, and the store has slide S1 in parts \(S1_t1\)"
    ):
        give(store, {"S1": {**LEVEL0, "xy": TWO}}, "f")


@pytest.mark.database
def test_a_lost_table_of_slides(store: Store) -> None:
    """Where its file is damaged, the doctor says what gives it again; that line makes it what it was."""
    give(store, {"S1": {**LEVEL0, "xy": TWO}})
    before = read_cohort(store).table("slides").to_pylist()
    path = store.root / read_cohort(store).manifest["tables"]["slides"]["file"]
    path.write_bytes(b"x")
    (finding,) = check(Store(store.root))
    assert "milstore ingest slides FILE --replace" in finding.repair
    table = store.root.parent / "slides.csv"
    table.write_text(SLIDES)
    report = ingest_slides(Store(store.root), table, replace=True)
    assert any(line.startswith("repaired: ") for line in report.lines())
    assert read_cohort(Store(store.root)).table("slides").to_pylist() == before
    assert check(Store(store.root)) == []
