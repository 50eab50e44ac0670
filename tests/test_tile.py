"""`milstore tile`: slides into patches, once, by their places; what is broken is named and the rest goes in."""

import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image

from milstore.cli.main import main
from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest import tile_work
from milstore.ingest.slide_table import ingest_slides
from milstore.ingest.tile_report import TilesReport
from milstore.ingest.tiles import tile_slides
from milstore.pixels.slide import open_slide
from milstore.pixels.tiling import TileSettings
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.findings import LEFTOVER
from milstore.store.leftovers import find_leftovers
from tests.drawn_slides import GREEN_INK, HE, drawn, write_slide
from tests.waiting import wait_for

SETTINGS = TileSettings(mpp=1.0, patch=256)
TWO_PIECES = [(1280, 256, 512, 512, HE), (0, 1024, 768, 256, HE)]
"""Two columns and rows at (1280, 256), and one row of three patches at (0, 1024)."""


def slides(folder: Path) -> Store:
    """Two slides of two cases: S1 with two pieces of tissue, S2 with one."""
    folder.mkdir(exist_ok=True)
    for name, data in two_slides().items():
        (folder / name).write_bytes(data)
    return told(folder, "S1,1,h&e", "S2,2,h&e")


@cache
def two_slides() -> dict[str, bytes]:
    """Their files, drawn once."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "S1.tif", Path(folder) / "S2.tif"
        write_slide(first, drawn(2048, 1536, TWO_PIECES))
        write_slide(second, drawn(768, 768, [(0, 0, 768, 512, HE)]), mpp=0.5)
        return {path.name: path.read_bytes() for path in (first, second)}


def told(folder: Path, *rows: str, columns: str = "slide_id,case_id,stain") -> Store:
    """A store that knows slides, with the paths of those that are there."""
    store = create_store(folder / "store")
    add(store, folder, *rows, columns=columns)
    return store


def add(store: Store, folder: Path, *rows: str, columns: str = "slide_id,case_id,stain") -> None:
    lines = [f"{columns},path", *(f"{row},{folder / row.partition(',')[0]}.tif" for row in rows)]
    (folder / "slides.csv").write_text("\n".join(lines))
    ingest_slides(store, folder / "slides.csv")


def tile(store: Store, *which: str, **options: object) -> TilesReport:
    return tile_slides(store, which, jobs=1, **{"settings": SETTINGS, **options})  # type: ignore[arg-type]


def patches(store: Store, case_id: str) -> list[tuple[object, ...]]:
    """slice_idx, patch_idx, x, y and width of a case's patches."""
    table = read_cohort(store).table("patches")
    rows = table.filter(pc.equal(table["case_id"], case_id)).to_pylist()
    return [(row["slice_idx"], row["patch_idx"], row["x"], row["y"], row["width"]) for row in rows]


S1 = [(1280, 256), (1536, 256), (1280, 512), (1536, 512), (0, 1024), (256, 1024), (512, 1024)]


def test_patches_are_stored_by_their_places(tmp_path: Path) -> None:
    """One slide is one slice named as the slide; patches count from 0 by (y, x) in pixels of level 0, with their grid."""
    store = slides(tmp_path)
    report = tile(store)
    assert patches(store, "1") == [(0, i, x, y, 256) for i, (x, y) in enumerate(S1)]
    assert patches(store, "2") == [(0, 0, 0, 0, 512), (0, 1, 512, 0, 512)]
    cohort = read_cohort(store)
    kept = cohort.table("patches").select(["file", "unit", "grid"]).group_by(["file", "unit", "grid"]).aggregate([])
    assert kept.to_pylist() == [{"file": None, "unit": "level0", "grid": "256px-1mpp"}]
    assert cohort.table("grids").to_pylist() == [
        {"grid": "256px-1mpp", "tool": "milstore", "edge": 256, "mpp": 1.0, "overlap": 0}
    ]
    slices = cohort.table("slices").select(["case_id", "slice_name", "slide_id", "n_patches"]).to_pylist()
    assert [tuple(row.values()) for row in slices] == [("1", "S1", "S1", 7), ("2", "S2", "S2", 2)]
    assert report.tissue == pytest.approx(0.557, rel=0.01)
    assert report.lines()[0].startswith("2 slides: 9 patches (256px-1mpp) on 0.55")
    assert report.lines()[0].endswith(" mm² of tissue in 2 slices, 9 of them new")


def test_the_files_facts_go_into_the_table(tmp_path: Path) -> None:
    """Resolution, size and vendor are filled in where the table has none; a resolution that contradicts is told, and the
    table's is used."""
    store = slides(tmp_path)
    tile(store)
    facts = {row["slide_id"]: row for row in read_cohort(store).table("slides").to_pylist()}
    assert [facts["S2"][name] for name in ("mpp", "width", "height", "vendor")] == [0.5, 768, 768, "generic-tiff"]
    other = tmp_path / "other"
    other.mkdir()
    write_slide(other / "S3.tif", drawn(768, 768, [(0, 0, 768, 512, HE)]), mpp=0.5)
    store = told(other, "S3,3,h&e,1.0", columns="slide_id,case_id,stain,mpp")
    report = tile(store)
    assert "resolutions that contradict: 1 slide, such as S3 (1 in the table, 0.5 in the file)" in report.notes[0]
    assert len(patches(store, "3")) == 6


def test_a_second_time_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was cut with the same settings is not cut again, nor opened; another slide that comes later is cut alone, and no
    number changes."""
    store = slides(tmp_path)
    tile(store)
    before = read_cohort(store).fingerprint
    opened: list[str] = []
    real = tile_work.tile_slide
    monkeypatch.setattr(
        tile_work,
        "tile_slide",
        lambda path, *rest, **named: opened.append(Path(path).stem) or real(path, *rest, **named),
    )
    report = tile(store)
    assert (report.changed, report.cut, opened, read_cohort(store).fingerprint) == (False, 0, [], before)
    write_slide(tmp_path / "S0.tif", drawn(768, 768, [(256, 256, 256, 256, HE)]))
    add(store, tmp_path, "S0,1,h&e")
    report = tile(store)
    assert (opened, report.new) == (["S0"], 1)
    assert patches(store, "1") == [*((0, i, x, y, 256) for i, (x, y) in enumerate(S1)), (1, 0, 256, 256, 256)]


def test_a_broken_slide_is_named_and_the_rest_goes_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truncated, empty, missing and silent slides are left out by name; white ones are counted; the exit code is 1."""
    store = slides(tmp_path)
    write_slide(tmp_path / "cut.tif", drawn(768, 768, [(0, 0, 768, 768, HE)]))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:1500])
    (tmp_path / "empty.tif").touch()
    write_slide(tmp_path / "silent.tif", drawn(768, 768, [(0, 0, 768, 768, HE)]), mpp=None)
    write_slide(tmp_path / "white.tif", drawn(768, 768, []))
    write_slide(tmp_path / "pens.tif", drawn(768, 768, [(0, 0, 256, 256, HE), (256, 256, 512, 512, GREEN_INK)]))
    add(store, tmp_path, *(f"{name},3,h&e" for name in ("cut", "empty", "gone", "silent", "white", "pens")))
    words = ["tile", "--mpp", "1", "--jobs", "1", "--store", str(store.root)]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "4 slides: 10 patches (256px-1mpp)" in said
    assert "no patch on 1 slide (white): no tissue was found there" in said
    assert "ink of pens left out: 1 slide (pens)" in said
    for name, why in {"cut": "truncated", "empty": "0 bytes", "gone": "is missing", "silent": "--slide-mpp"}.items():
        line = next(line for line in said.splitlines() if line.startswith(f"left out: {name}: "))
        assert why in line
        assert f"{name}.tif" in line
    assert patches(store, "3") == [(0, 0, 0, 0, 256)]


@pytest.mark.parametrize("kind", ["cut", "empty", "gone", "silent"])
def test_one_broken_slide_alone_changes_nothing(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no slide can be cut it is one line, exit code 2, and the store is as it was."""
    store = told(tmp_path, f"{kind},3,h&e")
    path = tmp_path / f"{kind}.tif"
    if kind != "gone":
        write_slide(path, drawn(512, 512, [(0, 0, 512, 512, HE)]), mpp=None)
    if kind in ("cut", "empty"):
        path.write_bytes(path.read_bytes()[: 700 if kind == "cut" else 0])
    before = store.manifest_path.read_bytes()
    assert main(["tile", "--jobs", "1", "--store", str(store.root)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert f"{kind}.tif" in said[0]
    assert store.manifest_path.read_bytes() == before


def test_what_is_no_slide_of_the_store(tmp_path: Path) -> None:
    """A store without slides says how they come in; a file of another name says what is missing; a folder gives its slides."""
    with pytest.raises(UsageError, match=r"by milstore ingest slides slides\.csv"):
        tile(create_store(tmp_path / "bare"), "x.tif")
    store = slides(tmp_path)
    with pytest.raises(DataError, match=r"is no slide of the store: add it to the slides table"):
        tile(store, str(tmp_path / "S9.tif"))
    (tmp_path / "store2").mkdir()
    report = tile(store, str(tmp_path))
    assert (report.slides, report.failed) == (2, {})
    with pytest.raises(UsageError, match="--slices 'pieces' is not known"):
        tile(store, slices="pieces")


def test_pieces_of_tissue_are_slices(tmp_path: Path) -> None:
    """Each piece is a slice of the slide, named by its place; other pieces of a slide that is in are refused, and replaced
    when that is asked for."""
    store = slides(tmp_path)
    tile(store, slices="tissue")
    rows = read_cohort(store).table("slices").to_pylist()
    assert [(row["slice_name"], row["slide_id"], row["n_patches"]) for row in rows] == [
        ("S1_t1", "S1", 4), ("S1_t2", "S1", 3), ("S2_t1", "S2", 2),
    ]  # fmt: skip
    assert not tile(store, slices="tissue").changed
    with pytest.raises(ConflictError, match="slide S1 is in the store as S1_t1, S1_t2, split otherwise than now"):
        tile(store)
    tile(store, replace=True)
    assert [row["slice_name"] for row in read_cohort(store).table("slices").to_pylist()] == ["S1", "S2"]
    # Numbers are given once: 0 and 1 were the pieces.
    assert patches(store, "1")[0] == (2, 0, 1280, 256, 256)


def test_other_settings_add_and_replace_removes(tmp_path: Path) -> None:
    """A larger share of tissue keeps what is there until it is replaced, and other slides' patches stay; another grid lies
    beside the first."""
    store = slides(tmp_path)
    write_slide(tmp_path / "S1.tif", drawn(2048, 1536, [(0, 0, 600, 256, HE)]))
    tile(store)
    assert len(patches(store, "1")) == 3
    strict = TileSettings(mpp=1.0, patch=256, share=0.9)
    assert tile(store, "S1", settings=strict).kept == 1
    assert len(patches(store, "1")) == 3
    report = tile(store, "S1", settings=strict, replace=True)
    assert (report.removed, len(patches(store, "1")), len(patches(store, "2"))) == (1, 2, 2)
    tile(store, "S1", settings=TileSettings(mpp=2.0, patch=128))
    assert len(patches(store, "1")) == 3
    tile(store, "S1", settings=TileSettings(mpp=2.0, patch=256))
    assert patches(store, "1")[3:] == [(0, 3, 0, 0, 512)]


def test_images_are_written_where_asked(tmp_path: Path) -> None:
    """--write puts each patch's image below a folder, as the slide has it; a second time writes none; without it there is
    none."""
    store = slides(tmp_path)
    tile(store)
    assert not list(tmp_path.rglob("*.png"))
    tile(store, "S2", write=tmp_path / "images")
    files = sorted(path.relative_to(tmp_path / "images").as_posix() for path in (tmp_path / "images").rglob("*.png"))
    assert files == ["S2/x0_y0.png", "S2/x512_y0.png"]
    slide = open_slide(tmp_path / "S2.tif")
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "images" / files[1])), slide.read(512, 0, 512, 512, (256, 256))
    )
    table = read_cohort(store).table("patches")
    assert [row["file"] for row in table.filter(pc.equal(table["case_id"], "2")).to_pylist()] == files
    changed = (tmp_path / "images" / files[0]).stat().st_mtime_ns
    assert not tile(store, "S2", write=tmp_path / "images").changed
    assert (tmp_path / "images" / files[0]).stat().st_mtime_ns == changed


def test_pictures_to_check_by_eye(tmp_path: Path) -> None:
    """Each slide has a picture with its patches in blue at their places; the sheet shows every slide that was cut, and what
    is wrong with the others, with names that are no markup."""
    store = slides(tmp_path)
    write_slide(tmp_path / "<b>.tif", drawn(512, 512, [(0, 0, 512, 512, HE)]))
    (tmp_path / "bad.tif").write_bytes(b"no")
    add(store, tmp_path, "<b>,3,h&e", "bad,3,h&e")
    report = tile(store)
    page = report.sheet.read_text()
    assert page.count("data:image/jpeg") == 3
    assert "&lt;b&gt;" in page
    assert "<b><b>" not in page
    assert "bad.tif is damaged" in page
    picture = np.asarray(Image.open(next((store.root / "tiles" / "S1").glob("overview-*.jpg")))).astype(int)
    assert picture.shape == (900, 1200, 3)
    scale = 1200 / 2048
    line = picture[round(300 * scale) : round(450 * scale), round(1536 * scale)]
    assert (line[:, 2] - line[:, 0] > 60).all()
    assert "data:image" in tile(store, "S2").sheet.read_text()


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    """After kill -9 what was cut is kept: the same command cuts only the rest, and leaves the store whole."""
    store = create_store(tmp_path / "store")
    rows = []
    for i in range(4):
        write_slide(tmp_path / f"S{i}.tif", drawn(1024 + 256 * i, 1024, [(0, 0, 512, 512, HE)]))
        rows.append(f"S{i},{i},h&e")
    add(store, tmp_path, *rows)
    command = [
        sys.executable,
        "-c",
        "from milstore.cli.main import main; main()",
        "tile",
        "--mpp",
        "1",
        "--jobs",
        "1",
        "--store",
        str(store.root),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(
        lambda: list(store.root.glob("tiles/*/cut-*.npz")) or process.poll() is not None, "the first slide to be cut"
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list(store.root.glob("tiles/*/cut-*.npz")))
    assert done >= 1
    report = tile(store)
    assert (report.slides, report.cut, report.patches) == (4, 4 - done, 16)


def test_several_processes_give_the_same(tmp_path: Path) -> None:
    """Two processes give what one does."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, jobs in ((one, 1), (two, 2)):
        folder.mkdir()
        store = slides(folder)
        tile_slides(store, (), SETTINGS, jobs=jobs)
    tables = [read_cohort(Store(folder / "store")).table("patches") for folder in (one, two)]
    assert tables[0].equals(tables[1])


def test_patches_in_pixels_of_slices_are_not_mixed(tmp_path: Path) -> None:
    """A slice whose patches have no places, or places on the slice, does not take patches of the slide."""
    from milstore.store.cohort_edit import edit_cohort

    store = slides(tmp_path)
    tile(store, "S1")
    with edit_cohort(store) as edit:
        table = edit.table("patches")
        unit = pc.if_else(pc.is_valid(table["unit"]), "slice", "slice")
        edit.replace("patches", table.set_column(table.column_names.index("unit"), "unit", unit))
    with pytest.raises(ConflictError, match="slide S1 has patches whose coordinates count pixels of the slice"):
        tile(store, "S1")


def test_what_a_killed_tiling_left_is_found(tmp_path: Path) -> None:
    """A half-written file below tiles/ is a leftover that doctor removes; what was cut is none."""
    store = slides(tmp_path)
    tile(store, "S2")
    half = store.root / "tiles" / "S2" / ".cut-0.npz.0.tmp"
    half.touch()
    assert [finding.remove for finding in find_leftovers(store, young=0) if finding.kind == LEFTOVER] == [half]
