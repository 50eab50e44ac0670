"""`export qupath`: patches as tiles of QuPath, coloured by attention."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from milstore.asking.selection import Choice
from milstore.errors import ConflictError, UsageError
from milstore.exporting.qupath import QupathOptions, classification, export_qupath
from milstore.formats.geojson import read_drawing
from milstore.ingest.regions import RegionOptions, ingest_regions
from milstore.pixels.slide_bounds import Begin
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from tests.ingesting import milstore
from tests.making import levels, make_run, three_case_store
from tests.slide_store import EDGE, WEIGHTS, add_run, annotation, attended_slides, rectangle, slide_store, write

OF_1, OF_2 = Choice(cases=("1",)), Choice(cases=("2",))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The slides, and a run that tested both cases."""
    return attended_slides(tmp_path / "store")


def features(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["features"]
    return found


def corners(path: Path) -> dict[str, list[float]]:
    """Where each tile lies, by its name, as our own reader has it."""
    names = [each["properties"]["name"] for each in features(path)]
    return dict(zip(names, (list(each.extent) for each in read_drawing(path).objects), strict=True))


def test_a_tile_a_patch(store: Store, tmp_path: Path) -> None:
    """As QuPath reads it: kind, class and colour, measurements as an object; the most attended first."""
    report = export_qupath(store, tmp_path / "out", OF_1)
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "S1_HE.geojson"
    content = json.loads(path.read_text())
    assert content["type"] == "FeatureCollection"
    first, *others = content["features"]
    assert (len(others), first["type"], len(first["id"])) == (11, "Feature", 36)
    assert first["geometry"] == {"type": "Polygon", "coordinates": [rectangle(256, 256, 512, 512)]}
    near = pytest.approx
    assert first["properties"] == {
        "objectType": "tile",
        "name": "patch 5",
        "classification": {"name": "attention top 1%", "color": [253, 231, 37]},
        "measurements": {
            "effective attention": near(20 / 34), "stain attention": 1.0, "slice attention": 1.0,
            "patch attention": near(20 / 34), "times the even share": near(20 / 34 * 12), "rank": 1,
        },
    }  # fmt: skip
    assert report.lines() == [
        f"wrote 1 file to {tmp_path / 'out'} (S1_HE.geojson): 12 tiles",
        "from experiment exp, seed 0, test subsets",
    ]


def test_what_is_written_is_read_again(store: Store, tmp_path: Path) -> None:
    """By our own reader: kinds, measurements, and level-0 corners equal to the store's."""
    export_qupath(store, tmp_path, OF_1)
    drawing = read_drawing(tmp_path / "S1_HE.geojson")
    assert drawing.by_qupath
    assert {each.kind for each in drawing.objects} == {"tile"}
    patches = [row for row in read_cohort(store).table("patches").to_pylist() if row["case_id"] == "1"]
    assert corners(tmp_path / "S1_HE.geojson") == {
        f"patch {row['patch_idx']}": [row["x"], row["y"], row["x"] + EDGE, row["y"] + EDGE] for row in patches
    }
    shares = {
        each["properties"]["name"]: each["properties"]["measurements"] for each in features(tmp_path / "S1_HE.geojson")
    }
    for patch in range(12):
        share = WEIGHTS["1", "h&e", 0, patch] / 34
        assert shares[f"patch {patch}"]["effective attention"] == pytest.approx(share)
    ranks = [each.measurements["rank"] for each in drawing.objects]
    assert ranks == list(range(1, 13))


def test_taken_in_again_as_regions_each_tile_holds_its_patch(store: Store, tmp_path: Path) -> None:
    """The same offset is subtracted and added: nothing moves by going out and in."""
    export_qupath(store, tmp_path, OF_1)
    report = ingest_regions(store, tmp_path, RegionOptions(every_kind=True))
    assert report.inside == report.patches == 12
    rows = read_cohort(store).table("patch_regions").to_pylist()
    assert [row["patch_idx"] for row in rows if row["region"] == "attention top 1%"] == [5]


def test_ids_are_stable_and_each_run_has_its_own(store: Store, tmp_path: Path) -> None:
    """Exported again, whatever the colour, a patch's tile is the same object; that of another run is another."""
    export_qupath(store, tmp_path / "a", OF_1)
    export_qupath(store, tmp_path / "b", OF_1, QupathOptions(colour="times-even", top=50))
    first, second = ([each["id"] for each in features(tmp_path / name / "S1_HE.geojson")] for name in "ab")
    assert len(set(first)) == 12
    assert second == first[:6]
    _second_run(store)
    export_qupath(store, tmp_path / "c", Choice(run="other-s1-0", cases=("1",)))
    third = [each["id"] for each in features(tmp_path / "c" / "S1_HE.geojson")]
    assert len(third) == 12
    assert not set(third) & set(first)


def _second_run(store: Store) -> None:
    chances = {"1": (0.9, 0.1), "2": (0.1, 0.9)}
    subsets = {"1": "test", "2": "test"}
    truth = {"1": 0, "2": 1}
    make_run(store, "other-s1-0", subsets, truth, chances, levels(WEIGHTS), experiment="other", split_set="one")


def test_colours() -> None:
    """Steps by rank end where the question top-patches counts them; steps by times even begin at their number."""
    of_rank = [
        classification({"rank": rank, "n_patches": 200}, "rank")[0] for rank in (1, 2, 3, 10, 11, 20, 50, 100, 101)
    ]
    assert of_rank == [f"attention top {share}%" for share in (1, 1, 5, 5, 10, 10, 25, 50)] + ["attention lower half"]
    times = [classification({"times_even": value}, "times-even")[0] for value in (10, 9.9, 2, 1, 0.5, 0.49, 0)]
    assert times == [
        "attention 10 times even or more", "attention 5 to 10 times even", "attention 2 to 5 times even",
        "attention 1 to 2 times even", "attention 0.5 to 1 times even", *["attention below 0.5 times even"] * 2,
    ]  # fmt: skip
    assert len({classification({"times_even": value}, "times-even")[1] for value in (11, 6, 3, 1.5, 0.7, 0.1)}) == 6


def test_the_top_alone(store: Store, tmp_path: Path) -> None:
    """`--top 10` of 12 patches is one; of all cases there is a file a slide, and those of an earlier export are replaced."""
    report = export_qupath(store, tmp_path / "out", Choice())
    assert report.tiles == {"S1_HE.geojson": 12, "S2_HE.geojson": 4}
    report = export_qupath(store, tmp_path / "out", Choice(), QupathOptions(top=10))
    assert report.tiles == {"S1_HE.geojson": 1, "S2_HE.geojson": 1}
    assert list(corners(tmp_path / "out" / "S2_HE.geojson").values()) == [[256, 0, 512, 256]]


def test_no_file_of_an_earlier_export_is_left_beside(tmp_path: Path) -> None:
    """A slice without a top patch has a file without tiles, not that of the export before."""
    store = three_case_store(tmp_path / "store")
    export_qupath(store, tmp_path / "out", Choice(cases=("10",)))
    report = export_qupath(store, tmp_path / "out", Choice(cases=("10",)), QupathOptions(top=10))
    names = ["10_h&e_match_1.geojson", "10_h&e_match_2.geojson", "10_sox10_match_1.geojson"]
    assert report.tiles == dict(zip(names, (1, 0, 0), strict=True))
    assert [len(features(tmp_path / "out" / name)) for name in names] == [1, 0, 0]


def test_slices_on_no_slide_are_in_their_own_pixels(tmp_path: Path) -> None:
    """A file a slice, named by case, stain and slice; it is said, and read again under that name."""
    store = three_case_store(tmp_path / "store")
    report = export_qupath(store, tmp_path / "out", Choice(cases=("46",)))
    assert report.lines()[2:] == [
        "in pixels of the slice, on no slide: 46_h&e_match_1.geojson; they fit an image of the slice at the size of its patches"
    ]
    assert corners(tmp_path / "out" / "46_h&e_match_1.geojson")["patch 9"] == [64, 128, 128, 192]
    read = ingest_regions(store, tmp_path / "out", RegionOptions(every_kind=True), replace=True)
    assert (read.inside, read.patches) == (3, 3)


def test_counted_from_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """QuPath's pixel 0, 0 is where OpenSlide's bounds begin: they are subtracted, and added when regions come back."""
    openslide = pytest.importorskip("openslide")

    class Slide:
        properties = {"openslide.bounds-x": "512", "openslide.bounds-y": "256"}  # noqa: RUF012

        def __enter__(self) -> "Slide":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    (tmp_path / "slide.mrxs").write_bytes(b"MIRAX")
    monkeypatch.setattr(openslide, "OpenSlide", lambda path: Slide())
    store = slide_store.anew(tmp_path / "store", vendor="mirax", path=str(tmp_path / "slide.mrxs"))
    add_run(store)
    report = export_qupath(store, tmp_path / "out", OF_1)
    assert "counted from OpenSlide's bounds, as QuPath does: S1_HE" in report.lines()
    assert corners(tmp_path / "out" / "S1_HE.geojson")["patch 6"] == [0, 0, 256, 256]
    assert ingest_regions(store, tmp_path / "out", RegionOptions(every_kind=True)).inside == 12
    export_qupath(store, tmp_path / "out", OF_1, QupathOptions(begin=Begin(256, 0)))
    assert corners(tmp_path / "out" / "S1_HE.geojson")["patch 6"] == [256, 256, 512, 512]


def test_where_the_slide_cannot_be_opened_it_is_said(tmp_path: Path) -> None:
    """Of a maker whose slides may have bounds."""
    store = slide_store.anew(tmp_path / "store")
    add_run(store)
    report = export_qupath(store, tmp_path / "out", OF_2)
    assert report.lines()[2].startswith(
        "in pixels of level 0: S2_HE, whose file cannot be opened; if OpenSlide has bounds"
    )


def test_a_users_file_is_not_replaced(store: Store, tmp_path: Path) -> None:
    """Annotations of the same name stay, and nothing else is written either."""
    own = write(tmp_path / "out" / "S2_HE.geojson", annotation("Tumor", rectangle(0, 0, 9, 9)))
    before = own.read_bytes()
    with pytest.raises(ConflictError, match=r"S2_HE\.geojson is no earlier export of milstore, and is not replaced"):
        export_qupath(store, tmp_path / "out", Choice())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["S2_HE.geojson"]
    assert own.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--case", "1", "--top", "0"], "--top is 0: give a share in percent, above 0 and up to 100"),
        (["--case", "1", "--top", "101"], "--top is 101: give a share"),
        (["--case", "1", "--colour", "red"], "there is no colour 'red': use rank or times-even"),
        (["--case", "9"], "9"),
        (["--run", "gone"], "gone"),
        (["--offset", "1,2"], "--offset is of one slide, and 2 would be written"),
        (["--case", "1", "--offset", "a,2"], "--offset is 'a,2': give two whole numbers"),
    ],
)
def test_what_does_not_fit_is_one_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Exit code 2, and nothing is written."""
    assert milstore(store, "export", "qupath", *words, "-o", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (tmp_path / "out").exists()


def test_the_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It writes the file of the case's slide, and says so on stderr."""
    words = ("--case", "2", "--experiment", "exp", "--colour", "times-even", "-o", tmp_path / "out")
    assert milstore(store, "export", "qupath", *words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        f"wrote 1 file to {tmp_path / 'out'} (S2_HE.geojson): 4 tiles",
        "from experiment exp, seed 0, test subsets",
    ]
    classes = [each["properties"]["classification"]["name"] for each in features(tmp_path / "out" / "S2_HE.geojson")]
    assert classes == [
        "attention 2 to 5 times even",
        *["attention 0.5 to 1 times even"] * 2,
        "attention below 0.5 times even",
    ]
    times = [
        each.measurements["times the even share"] for each in read_drawing(tmp_path / "out" / "S2_HE.geojson").objects
    ]
    assert times == pytest.approx([2, 0.8, 0.8, 0.4])


def test_patches_without_a_place(tmp_path: Path) -> None:
    """They are counted; where none has a place it is said what gives it."""
    store = three_case_store.anew(tmp_path / "store")
    with edit_cohort(store) as edit:
        patches = edit.table("patches")
        rows = patches.to_pylist()
        for row in rows:
            if row["case_id"] == "46" or row["patch_idx"] == 0:
                row["x"] = row["y"] = None
        edit.replace("patches", pa.Table.from_pylist(rows, patches.schema))
    report = export_qupath(store, tmp_path / "out", Choice(cases=("2",)))
    assert report.lines()[-1] == "left out: 2 patches whose place is not known"
    with pytest.raises(UsageError, match="of 3 patches none has a place on its slide"):
        export_qupath(store, tmp_path / "none", Choice(cases=("46",)))
