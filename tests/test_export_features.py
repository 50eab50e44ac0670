"""What is exported for other tools is what the store holds, and is read again to equal arrays."""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest

from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.exporting.anndata import patch_frame
from milstore.formats.registry import find_format, recognised
from milstore.formats.trident_job import MARK
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.content_hash import with_case_order
from milstore.store.features import PLACE, FeaturePack
from tests.ingesting import contents, milstore
from tests.making import MadeOnce, levels, make_run, three_case_store

JOB = "20x_256px_32px_overlap"
SLIDES: tuple[dict[str, Any], ...] = (
    {"slide_id": "A1", "case_id": "7", "stain": "h&e", "mpp": 0.25, "width": 2048, "height": 1024},
    {"slide_id": "A2", "case_id": "7", "stain": "h&e", "magnification": 20.0, "mpp": 0.4986},
    {"slide_id": "B.1", "case_id": "10", "stain": "h&e", "mpp": 0.5, "width": 700, "height": 600},
)
PATCHES = (
    ("7", 0, 0, (0, 0)), ("7", 0, 1, (448, 0)), ("7", 0, 4, (0, 448)),
    ("7", 1, 0, (30, 40)), ("7", 1, 1, (254, 40)),
    ("10", 0, 0, (100, 0)),
)  # fmt: skip
"""Case, slice, number and upper left corner of each patch. A1 is of 40x: its patches have 512 level-0 pixels; the others 256."""


def edge(case: str, slice_idx: int) -> int:
    """Edge of a slide's patches at level 0."""
    return 512 if (case, slice_idx) == ("7", 0) else 256


@MadeOnce
def placed_store(folder: Path, **changed: Any) -> Store:
    """Three slides of two cases with six patches on a grid of 256 px at 0.5, and vectors (6, 3) of encoder uni."""
    store = create_store(folder)
    rows = [
        {
            "case_id": case, "stain": "h&e", "slice_idx": i, "patch_idx": number, "x": x, "y": y,
            "width": edge(case, i), "height": edge(case, i), "unit": "level0", "grid": "g", **changed,
        }
        for case, i, number, (x, y) in PATCHES
    ]  # fmt: skip
    slices = [("7", 0, "A1", 3), ("7", 1, "A2", 2), ("10", 0, "B.1", 1)]
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", "high-grade"]}))
        cases = {
            "case_id": ["7", "10"],
            "label": [1, None],
            "class_name": ["high-grade", None],
            "source_label": ["b", None],
        }
        edit.replace("cases", with_case_order(pa.table(cases)))
        edit.replace("slides", pa.Table.from_pylist(list(SLIDES)))
        grid = {"grid": "g", "tool": "trident", "edge": 256, "mpp": 0.5, "overlap": 32}
        edit.replace("grids", pa.Table.from_pylist([grid]))
        of_slices = [
            {"case_id": c, "stain": "h&e", "slice_idx": i, "slice_name": s, "n_patches": n, "slide_id": s}
            for c, i, s, n in slices
        ]
        edit.replace("slices", pa.Table.from_pylist(of_slices))
        edit.replace("patches", pa.Table.from_pylist(rows))
    put_features(store)
    return store


def put_features(store: Store, encoder: str = "uni") -> None:
    """Vectors of three numbers for all patches: row i of the pack is i, i + 0.5, i + 1."""
    places = read_cohort(store).table("patches").select(list(PLACE))
    with FeaturePack(store, encoder=encoder, n_features=3, dtype="float32", patches=places) as pack:
        rows = np.arange(places.num_rows, dtype="f4")[:, None] + np.array([0, 0.5, 1], "f4")
        pack.write(0, rows)
        with edit_cohort(store) as edit:
            pack.commit(edit, source="by hand", replace=False)


@pytest.fixture
def placed(tmp_path: Path) -> Store:
    """The store of three slides."""
    return placed_store(tmp_path / "store")


def test_what_is_written_is_read_again_to_equal_arrays(placed: Store, tmp_path: Path) -> None:
    """Each slide's file is recognised as TRIDENT's, and holds the slide's corners, edge, resolution and vectors."""
    job = tmp_path / "job"
    before = contents(placed)
    assert milstore(placed, "export", "features", job, "--to", "trident", "--encoder", "uni", "--all") == 0
    assert contents(placed) == before
    files = sorted(path.relative_to(job).as_posix() for path in job.rglob("*.h5"))
    assert files == [
        *(f"{JOB}/features_uni/{slide}.h5" for slide in ("A1", "A2", "B.1")),
        *(f"{JOB}/patches/{slide}_patches.h5" for slide in ("A1", "A2", "B.1")),
    ]
    # The rows of a pack lie in the order of bytes: case 10 before case 7.
    first = {"B.1": 0, "A1": 1, "A2": 4}
    of_slide = {"A1": PATCHES[:3], "A2": PATCHES[3:5], "B.1": PATCHES[5:]}
    for slide, patches in of_slide.items():
        path = job / JOB / "features_uni" / f"{slide}.h5"
        assert recognised("features", [path]) == "trident"
        fmt = find_format("features", "trident")
        found = fmt.layout(path)
        assert found.xy.tolist() == [list(corner) for *_, corner in patches]
        assert (found.unit, found.patch_size, found.patch_px, found.overlap, found.mpp, found.encoder) == (
            "level-0", 512 if slide == "A1" else 256, 256, 32, 0.5, "uni",
        )  # fmt: skip
        rows = np.arange(first[slide], first[slide] + len(patches))[:, None]
        assert fmt.vectors(path).tolist() == (rows + np.array([0, 0.5, 1])).tolist()


def test_coordinates_have_all_the_attributes_of_the_tool(placed: Store, tmp_path: Path) -> None:
    """In the file of features and in that of coordinates alone; a size that nobody knows is left out, and said."""
    assert milstore(placed, "export", "features", tmp_path / "job", "--case", "07") == 0
    known = {
        "patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40, "target_magnification": 20, "overlap": 32,
        "name": "A1", "savetodir": JOB, "level0_width": 2048, "level0_height": 1024,
    }  # fmt: skip
    unsized = {**known, "patch_size_level0": 256, "level0_magnification": 20, "name": "A2"}
    unsized = {name: value for name, value in unsized.items() if not name.startswith(("level0_w", "level0_h"))}
    top = tmp_path / "job" / JOB
    for slide, said in {"A1": known, "A2": unsized}.items():
        for path in (top / "features_uni" / f"{slide}.h5", top / "patches" / f"{slide}_patches.h5"):
            with h5py.File(path) as file:
                assert dict(file["coords"].attrs) == said
                assert file["coords"].dtype == np.int64
    with h5py.File(top / "features_uni" / "A1.h5") as file:
        assert dict(file["features"].attrs) == {"name": "A1", "savetodir": f"{JOB}/features_uni", "encoder": "uni"}
    assert not (top / "features_uni" / "B.1.h5").exists(), "a slide of a case that nobody asked for"


def test_the_numpy_form_finds_its_places_in_what_was_written(placed: Store, tmp_path: Path) -> None:
    """patches/<slide>_patches.h5 is the companion that TRIDENT's .pt needs."""
    import torch

    assert milstore(placed, "export", "features", tmp_path / "job", "--all") == 0
    path = tmp_path / "job" / JOB / "features_uni" / "A2.pt"
    torch.save(np.ones((2, 3), "f4"), path)
    assert find_format("features", "trident-pt").layout(path).xy.tolist() == [[30, 40], [254, 40]]


def test_an_export_does_not_write_over_files(placed: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that are there are left, unless --replace is given; the folder may be TRIDENT's own."""
    path = tmp_path / "job" / JOB / "features_uni" / "A2.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"theirs")
    words = ("export", "features", tmp_path / "job", "--all")
    assert milstore(placed, *words) == 2
    assert "A2.h5 is there already: name another folder, or use --replace" in capsys.readouterr().err
    assert (path.read_bytes(), sorted(each.name for each in path.parent.iterdir())) == (b"theirs", ["A2.h5"])
    assert milstore(placed, *words, "--replace") == 0
    assert recognised("features", [path]) == "trident"


def test_encoders_share_coordinates(placed: Store, tmp_path: Path) -> None:
    """A second encoder of the same patches goes beside the first; other coordinates are not written over."""
    put_features(placed, "conch")
    words = ("export", "features", tmp_path / "job", "--all", "--encoder")
    assert milstore(placed, *words, "uni") == 0 and milstore(placed, *words, "conch") == 0
    folders = sorted(path.name for path in (tmp_path / "job" / JOB).iterdir())
    assert folders == ["features_conch", "features_uni", "patches"]
    with h5py.File(tmp_path / "job" / JOB / "patches" / "A1_patches.h5", "a") as file:
        file["coords"][0] = 7
    for path in (tmp_path / "job" / JOB / "features_conch").iterdir():
        path.unlink()
    assert milstore(placed, *words, "conch") == 2
    assert not list((tmp_path / "job" / JOB / "features_conch").iterdir())


def test_patches_that_were_cut_in_two_ways_go_into_two_folders(
    placed: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slides that an encoder saw at several resolutions lie apart, as TRIDENT would lay them; grids that say the same are one."""
    with edit_cohort(placed) as edit:
        grids = edit.table("grids").to_pylist()
        edit.replace(
            "grids", pa.Table.from_pylist([*grids, {**grids[0], "grid": "same"}, {**grids[0], "grid": "h", "mpp": 1.0}])
        )
        patches = edit.table("patches").to_pylist()
        for row in patches:
            row["grid"] = "h" if row["case_id"] == "10" else "same" if row["patch_idx"] == 1 else "g"
        edit.replace("patches", pa.Table.from_pylist(patches, edit.table("patches").schema))
    assert milstore(placed, "export", "features", tmp_path / "job", "--all") == 0
    other = "10x_256px_32px_overlap"
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == [other, JOB]
    assert [path.name for path in (tmp_path / "job" / other / "features_uni").iterdir()] == ["B.1.h5"]
    said = capsys.readouterr().err
    assert f"{other}/features_uni" in said and f"{JOB}/features_uni: 3 slides, 6 patches" in said


NOWHERE: dict[str, tuple[dict[str, Any], str]] = {
    "pixels of the slice": (
        {"unit": "slice"},
        "6 patches of encoder uni have no coordinates in pixels of level 0, such as patch 0",
    ),
    "no coordinates": (
        {"x": None, "y": None, "width": None, "height": None, "unit": None},
        "have no coordinates in pixels of level 0, such as patch 0 of case 10, stain h&e, slice B.1",
    ),
    "no grid": ({"grid": None}, "slide B.1 has patches of which the store does not know the size and the micrometres"),
    "oblong patches": ({"height": 100}, "slide B.1 has patches of several sizes"),
}


@pytest.mark.parametrize("what", NOWHERE)
def test_patches_that_are_nowhere_on_a_slide_are_refused_by_name(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of TRIDENT says where each patch lies: where the store does not know it, nothing is written."""
    changed, line = NOWHERE[what]
    store = placed_store(tmp_path / "store", **changed)
    assert milstore(store, "export", "features", tmp_path / "job", "--all") == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_patches_without_a_slide_are_refused_by_name(
    three: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The patches of a cohort of images lie in pixels of their slices."""
    put_features(three)
    assert milstore(three, "export", "features", tmp_path / "job", "--case", "46") == 2
    assert "3 patches of encoder uni have no coordinates in pixels of level 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("features", "job"), "say which cases: --case, which may be given several times, or --all"),
        (("features", "job", "--all", "--case", "7"), "say which cases"),
        (("features", "job", "--case", "8"), "the store has no case 8"),
        (("features", "job", "--all", "--encoder", "conch"), "the store has no features of encoder 'conch'"),
        (("features", "job", "--all", "--to", "stamp"), "there is no layout 'stamp': --to trident is written"),
        (("anndata", "-o", "x.h5ad"), "say which cases"),
        (("anndata", "-o", "x.csv", "--all"), "x.csv must end in .h5ad"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    words: tuple[str, ...],
    line: str,
    placed: Store,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exit code 2, and what to say instead."""
    monkeypatch.chdir(placed.root.parent)
    assert milstore(placed, "export", *words) == 2
    assert line in capsys.readouterr().err
    assert not (placed.root.parent / "job").exists()


# --- AnnData ----------------------------------------------------------------------------------------------------------


def test_a_frame_holds_what_is_known_of_each_patch(placed: Store) -> None:
    """Names, cases, classes, slides, places, centres and vectors, row by row; no nulls, which HDF5 has not."""
    frame = patch_frame(placed, cases=("10", "7"))
    assert frame.names == [
        "10/h&e/B.1/0", "7/h&e/A1/0", "7/h&e/A1/1", "7/h&e/A1/4", "7/h&e/A2/0", "7/h&e/A2/1",
    ]  # fmt: skip
    assert frame.obs["class_name"].to_pylist() == ["", *["high-grade"] * 5]
    assert frame.obs["slide_id"].to_pylist() == ["B.1", "A1", "A1", "A1", "A2", "A2"]
    assert frame.obs.slice(3, 1).to_pylist() == [
        {
            "case_id": "7", "stain": "h&e", "slice_name": "A1", "slide_id": "A1", "unit": "level0", "grid": "g",
            "class_name": "high-grade", "file": "", "slice_idx": 0, "patch_idx": 4, "x": 0, "y": 448, "width": 512, "height": 512,
        }
    ]  # fmt: skip
    assert frame.centres is not None and frame.centres[3].tolist() == [256, 704]
    assert frame.features.tolist() == [[i, i + 0.5, i + 1] for i in range(6)]
    assert all(column.null_count == 0 for column in frame.obs.columns)
    assert frame.about["encoder"] == "uni" and "attention" not in frame.about


def test_a_frame_holds_the_attention_of_the_run_that_answers(tmp_path: Path) -> None:
    """Each case from the run of the experiment that held it in test: weights, rank, and times the even share."""
    store = three_case_store(tmp_path / "three")
    put_features(store)
    frame = patch_frame(store, cases=("46",), choice=Choice(cases=("46",)))
    assert frame.obs["run_id"].to_pylist() == ["exp-s3-0"] * 3
    assert frame.obs["effective_attention"].to_pylist() == [0.25, 0.5, 0.25]
    assert frame.obs["times_even"].to_pylist() == [0.75, 1.5, 0.75]
    assert frame.obs["rank"].to_pylist() == [2, 1, 3]
    assert frame.about["attention"].startswith("experiment exp, seed 0") and frame.notes == ()
    of_run = patch_frame(store, cases=("2",), choice=Choice(run="exp-s1-0", cases=("2",)))
    assert of_run.obs["patch_attention"].to_pylist() == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.5, 0.5])


def test_patches_that_no_run_attended_to_have_no_number(placed: Store) -> None:
    """NaN stands where there is no attention, and it is said of how many patches."""
    attended = levels({("7", "h&e", 0, 0): 3.0, ("7", "h&e", 0, 1): 1.0})
    make_run(
        placed, "own", {"7": "test"}, {"7": 1}, {"7": (0.4, 0.6)}, attended, split_set=None, split=None, n_splits=None
    )
    frame = patch_frame(placed, cases=("7",), choice=Choice(run="own", cases=("7",)))
    found = np.asarray(frame.obs["effective_attention"])
    assert found[:2].tolist() == [0.75, 0.25] and np.isnan(found[2:]).all()
    assert "without attention: 3 patches; NaN stands there" in frame.notes


def test_without_the_package_one_line_says_what_to_install(
    placed: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """anndata is no dependency: its extra is named, exit code 2, and no file is begun."""
    monkeypatch.setitem(sys.modules, "anndata", None)
    assert milstore(placed, "export", "anndata", "-o", tmp_path / "x.h5ad", "--all", "--no-attention") == 2
    assert "writing .h5ad needs the package anndata: pip install 'milstore[anndata]'" in capsys.readouterr().err
    assert not (tmp_path / "x.h5ad").exists()


def test_what_is_written_is_marked_as_the_tools(placed: Store, tmp_path: Path) -> None:
    """The attribute by which TRIDENT's coordinates are known is there, so that no other format takes the files."""
    assert milstore(placed, "export", "features", tmp_path / "job", "--case", "10") == 0
    with h5py.File(tmp_path / "job" / JOB / "features_uni" / "B.1.h5") as file:
        assert file["coords"].attrs[MARK] == 256


def test_cases_are_asked_for_however_they_are_spelled(placed: Store) -> None:
    """007 is case 7, and a case without features is named."""
    assert set(patch_frame(placed, cases=("007",)).obs["case_id"].to_pylist()) == {"7"}
    with pytest.raises(UsageError, match="the store has no case 11"):
        patch_frame(placed, cases=("11", "7"))
