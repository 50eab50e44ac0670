"""Folders of TRIDENT and LazySlide go into a store that knows their slides, by one command, and come out again."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from milstore.ingest.slide_table import ingest_slides
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.ingesting import contents, milstore
from tests.lazyslide_files import write_zarr
from tests.making import MadeOnce
from tests.trident_files import (
    CORNERS,
    JOB,
    attributes,
    numbers,
    write_features,
    write_numpy_pt,
    write_patches,
    write_state,
)

TABLE = """slide_id,case_id,stain,mpp_level0,width_level0,height_level0
S1,A,HE,0.25,1100,1024
S.2,B,HE,0.5,600,600
S3,B,SOX10,0.5,600,600
"""
OF_20X = {"patch_size_level0": 256, "level0_magnification": 20, "level0_width": 600, "level0_height": 600}


@MadeOnce
def slides_store(folder: Path) -> Store:
    """A store that knows three slides of two cases: S1 is of 40x."""
    store = create_store(folder)
    table = folder.parent / "slides.csv"
    table.write_text(TABLE, encoding="utf-8")
    ingest_slides(store, table)
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """That store."""
    return slides_store(tmp_path / "store")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job folder of the three slides: three patches, two, and none. Returned is the folder of patches and features."""
    top = tmp_path / "job" / JOB
    folder = top / "features_uni"
    write_features(folder / "S1.h5", numbers(3), CORNERS)
    write_features(folder / "S.2.h5", numbers(2) + 100, [(256, 0), (0, 0)], attributes("S.2", **OF_20X))
    write_features(folder / "S3.h5", numbers(0), [], attributes("S3", **OF_20X))
    for slide, mpp in (("S1", 0.25), ("S.2", 0.5), ("S3", 0.5)):
        write_state(top.parent, slide, mpp)
    return top


def where(store: Store) -> list[tuple[object, ...]]:
    """Case, slice, number and place of each patch of the store."""
    tables = {name: read_cohort(store).table(name).to_pylist() for name in ("slices", "patches")}
    names = {(row["case_id"], row["stain"], row["slice_idx"]): row["slice_name"] for row in tables["slices"]}
    own = ("patch_idx", "x", "y", "width", "unit")
    return [
        (row["case_id"], names[row["case_id"], row["stain"], row["slice_idx"]], *(row[name] for name in own))
        for row in tables["patches"]
    ]


PLACED = [
    ("A", "S1", 0, 512, 0, 512, "level0"),
    ("A", "S1", 1, 0, 512, 512, "level0"),
    ("A", "S1", 2, 512, 512, 512, "level0"),
    ("B", "S.2", 0, 0, 0, 256, "level0"),
    ("B", "S.2", 1, 256, 0, 256, "level0"),
]
"""The patches of the job folder: numbers go by (y, x), and the edge is the slide's own."""
SAID = "trident: 3 slides of 2 cases, 5 patches of 256 px at 0.5 mpp, 4 numbers each"


def test_a_job_folder_goes_in_by_one_command(store: Store, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was understood is said in a line, places are level-0 pixels, each vector is its patch's; twice is once."""
    words = ("ingest", "features", job / "features_uni", "--encoder", "uni")
    assert milstore(store, *words) == 0
    assert SAID in capsys.readouterr().err
    assert where(store) == PLACED
    features = open_features(store, read_cohort(store), "uni")
    assert features.read("A").tolist() == numbers(3).tolist()
    assert features.read("B").tolist() == (numbers(2) + 100)[::-1].tolist()
    once = contents(store)
    assert milstore(store, *words) == 0
    assert "nothing changed" in capsys.readouterr().err and contents(store) == once


def test_both_forms_lie_on_the_same_patches(
    store: Store, job: Path, capsys: pytest.CaptureFixture[str], warm_processes: None
) -> None:
    """The NumPy form in torch's .pt, placed by patches/, makes no patch that the HDF5 form made."""
    assert milstore(store, "ingest", "features", job / "features_uni", "--encoder", "uni") == 0
    write_numpy_pt(job / "features_conch" / "S1.pt", numbers(3, dtype="f2")[::-1].copy())
    write_patches(job / "patches" / "S1_patches.h5", CORNERS[::-1])
    capsys.readouterr()
    assert milstore(store, "ingest", "features", job / "features_conch", "--encoder", "conch") == 0
    said = capsys.readouterr().err
    assert "trident: 1 slide of 1 case, 3 patches of 256 px at 0.5 mpp" in said and "made" not in said
    assert where(store) == PLACED
    assert open_features(store, read_cohort(store), "conch").read("A").tolist() == numbers(3).tolist()


def test_what_comes_in_goes_out_as_it_was(store: Store, job: Path, tmp_path: Path) -> None:
    """Exported files have the coordinates, attributes and vectors of those that were taken in, by (y, x)."""
    assert milstore(store, "ingest", "features", job / "features_uni", "--encoder", "uni") == 0
    assert milstore(store, "export", "features", tmp_path / "out", "--to", "trident", "--all") == 0
    for slide in ("S1", "S.2"):
        with (
            h5py.File(job / "features_uni" / f"{slide}.h5") as old,
            h5py.File(tmp_path / "out" / JOB / "features_uni" / f"{slide}.h5") as new,
        ):
            order = np.lexsort(old["coords"][:].T)
            assert new["coords"][:].tolist() == old["coords"][:][order].tolist()
            assert new["features"][:].tolist() == old["features"][:][order].tolist()
            assert {**new["coords"].attrs, "savetodir": ""} == {**old["coords"].attrs, "savetodir": ""}


def test_lazyslide_lies_on_the_same_pixels_as_trident(
    store: Store, job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiles at the corners of TRIDENT's patches are those patches; of two encoders' tables --encoder names one."""
    pytest.importorskip("zarr")
    assert milstore(store, "ingest", "features", job / "features_uni", "--encoder", "uni") == 0
    tables = {"conch": numbers(3) + 1, "phikon": numbers(3) + 2}
    spec = {"height": 256, "width": 256, "stride_width": 256, "mpp": 0.5}
    # Tile 3 lies at (512, 0), 5 at (512, 512) and 7 at (0, 512).
    write_zarr(tmp_path / "zarr" / "S1.zarr", tables, spec=spec)
    before = contents(store)
    assert milstore(store, "ingest", "features", tmp_path / "zarr", "--encoder", "mine") == 2
    assert (
        "has features of several encoders (conch, phikon): name the one to read by --encoder" in capsys.readouterr().err
    )
    assert contents(store) == before
    assert milstore(store, "ingest", "features", tmp_path / "zarr", "--encoder", "phikon") == 0
    said = capsys.readouterr().err
    assert "lazyslide: 1 slide of 1 case, 3 patches of 256 px at 0.5 mpp, 4 numbers each" in said and "made" not in said
    assert where(store) == PLACED
    assert open_features(store, read_cohort(store), "phikon").read("A").tolist() == (numbers(3) + 2)[[0, 2, 1]].tolist()
    # One slide's folder by itself, too.
    assert milstore(store, "ingest", "features", tmp_path / "zarr" / "S1.zarr", "--encoder", "conch") == 0
    assert where(store) == PLACED


def test_bad_files_leave_the_store_as_it_was(store: Store, job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Features and coords of different length, vectors of slides, and HDF5 of nobody: one line, exit code 2, nothing stored."""
    before = contents(store)
    write_features(job / "uneven" / "S1.h5", numbers(3), CORNERS[:2])
    write_features(job / "slide_features_titan" / "S1.h5", numbers(1)[0])
    (job / "nobody").mkdir()
    with h5py.File(job / "nobody" / "S1.h5", "w") as file:
        file["embeddings"] = numbers(3)
    for folder, line in {
        "uneven": "S1.h5 has 3 features and 2 coords",
        "slide_features_titan": "milstore export slide-vectors",
        "nobody": "S1.h5 has no features, patch_idx; it holds embeddings (3, 4)",
    }.items():
        assert milstore(store, "ingest", "features", job / folder, "--encoder", "e") == 2
        said = capsys.readouterr().err
        assert said.count("error:") == 1 and line in said
    assert contents(store) == before
