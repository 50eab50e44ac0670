"""`milstore demo` makes a whole cohort, once, and leaves every other store alone."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from milstore.cli.main import main
from milstore.demo import cohort as demo
from milstore.demo.cohort import DemoReport, build_demo
from milstore.demo.plan import CohortPlan, plan_cohort
from milstore.encoders.hed import HedEncoder
from milstore.errors import ConflictError, StoreError
from milstore.pixels.patch_source import read_image
from milstore.store import Store, create_store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.patch_root import patch_root
from tests.making import make_store

CASES = ("57", "46", "43")
"""Small ones: benign, benign with suspicious cells, high-grade."""


@pytest.fixture(scope="module")
def plan() -> CohortPlan:
    return plan_cohort(cases=CASES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoReport:
    """A demo of three cases. Tests that use it change nothing."""
    return build_demo(tmp_path_factory.mktemp("demo") / "store", cases=CASES, jobs=1)


@pytest.fixture
def store(made: DemoReport) -> Store:
    return open_store(made.root)


def _files(root: Path) -> dict[str, str]:
    """Every file of a store by the hash of its content; what names the place or the time is left out."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.suffix in (".png", ".csv", ".npy", ".sql") or (path.suffix == ".parquet" and "roots" not in path.name)
    }


def test_the_demo_is_the_planned_cohort(made: DemoReport, store: Store, plan: CohortPlan) -> None:
    """Cases, classes, slices and splits in the store are those of the plan."""
    cohort = read_cohort(store)
    cases = {row["case_id"]: (row["label"], row["source_label"]) for row in cohort.table("cases").to_pylist()}
    assert cases == {case.case_id: (case.label, case.grade) for case in plan.cases}
    assert cohort.table("classes").to_pylist() == [
        {"label": 0, "class_name": "benign"},
        {"label": 1, "class_name": "high-grade"},
    ]
    slices = {
        (row["case_id"], row["stain"], row["slice_idx"]): (row["slice_name"], row["n_patches"])
        for row in cohort.table("slices").to_pylist()
    }
    assert slices == {
        (case.case_id, planned.drawing.stain, planned.slice_idx): (planned.slice_name, planned.drawing.n_patches)
        for case in plan.cases
        for planned in case.slices
    }
    splits = {(r["split_set"], r["split"], r["case_id"]): r["subset"] for r in cohort.table("splits").to_pylist()}
    assert splits == {
        ("study", i, case): subset for i, split in enumerate(plan.splits, 1) for case, subset in split.items()
    }
    assert made.changed
    assert (made.cases, made.slices, made.patches) == (3, len(slices), plan.n_patches)


def test_a_patch_lies_where_the_store_says(store: Store) -> None:
    """x and y are places on the slice: the right edge of a patch continues in its neighbour."""
    cohort = read_cohort(store)
    root = patch_root(cohort)
    assert root is not None
    rows = [r for r in cohort.table("patches").to_pylist() if (r["case_id"], r["stain"]) == ("46", "h&e")]
    assert {(row["width"], row["height"]) for row in rows} == {(64, 64)}
    at = {(row["x"], row["y"]): read_image(root, row["file"]).astype(int) for row in rows}
    assert len(at) == len(rows)
    seams = [np.abs(at[x, y][:, 63] - at[x + 64, y][:, 0]).mean() for x, y in at if (x + 64, y) in at]
    strangers = [np.abs(at[x, y][:, 63] - at[x, y + 64][:, 0]).mean() for x, y in at if (x, y + 64) in at]
    assert np.mean(seams) < np.mean(strangers) / 2


def test_patches_have_features(store: Store) -> None:
    """Every patch has the vector that the encoder makes of its image."""
    cohort = read_cohort(store)
    packed = open_features(store, cohort)
    assert (packed.encoder, packed.patches.num_rows) == ("hed", cohort.table("patches").num_rows)
    root = patch_root(cohort)
    assert root is not None
    row = packed.patches.slice(packed.case_rows["46"][0], 1).to_pylist()[0]
    (file,) = [r["file"] for r in cohort.table("patches").to_pylist() if all(r[key] == row[key] for key in row)]
    assert np.array_equal(packed.read("46")[:1], HedEncoder().encode([read_image(root, file)]))


def test_planted_patches_are_high_grade_ones(store: Store, plan: CohortPlan) -> None:
    """The table `planted` names patches of the cohort, in every stain of each high-grade case and in no benign case."""
    cohort = read_cohort(store)
    keys = ("case_id", "stain", "slice_idx", "patch_idx")
    planted = [tuple(row[key] for key in keys) for row in cohort.table("planted").to_pylist()]
    patches = {tuple(row[key] for key in keys) for row in cohort.table("patches").to_pylist()}
    assert cohort.table("planted").column_names == list(keys)
    assert len(set(planted)) == len(planted) > 0
    assert set(planted) <= patches
    stains = {(c.case_id, p.drawing.stain) for c in plan.cases for p in c.slices if c.label == 1}
    assert {row[:2] for row in planted} == stains
    assert len(planted) < len(patches) / 4


def test_a_second_time_nothing_is_done(made: DemoReport) -> None:
    """A finished demo is left as it is, which is said."""
    before = _files(made.root)
    again = build_demo(made.root, cases=CASES, jobs=1)
    assert (again.changed, again.planted) == (False, made.planted)
    assert again.lines() == [f"the demo is in {made.root} already: nothing changed"]
    assert _files(made.root) == before


def test_an_interrupted_demo_is_finished(tmp_path: Path, made: DemoReport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was done when it stopped, starting it again gives the same bytes as a demo in one go."""
    root = tmp_path / "store"

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for step in ("ingest_labels", "_plant"):
        with monkeypatch.context() as patched:
            patched.setattr(demo, step, stop)
            with pytest.raises(KeyboardInterrupt):
                build_demo(root, cases=CASES, jobs=1)
    torn = next((root / "images" / "case_46").iterdir())
    half = torn.with_name(f".{torn.name}.tmp")
    half.mkdir()
    next(torn.iterdir()).rename(half / "case_46_match_1_h&e_patch0.png")
    for path in torn.iterdir():
        path.unlink()
    torn.rmdir()
    assert build_demo(root, cases=CASES, jobs=1).changed
    assert _files(root) == _files(made.root)


def test_another_cohort_is_left_alone(tmp_path: Path) -> None:
    """A store with cases of its own is refused, and stays as it was."""
    make_store(tmp_path / "own", {"1": 0}, [("1", "h&e", 0, 0)])
    before = _files(tmp_path / "own")
    with pytest.raises(ConflictError, match="holds a cohort of its own: make the demo elsewhere, by --store"):
        build_demo(tmp_path / "own", cases=CASES, jobs=1)
    assert _files(tmp_path / "own") == before


def test_a_demo_of_another_seed_is_left_alone(made: DemoReport) -> None:
    """Two demos do not mix."""
    with pytest.raises(ConflictError, match="another version or seed"):
        build_demo(made.root, cases=CASES, seed=1, jobs=1)


def test_a_disk_that_refuses_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the demo with a word, not with a traceback."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo, "write_slice", full)
    with pytest.raises(StoreError, match=r"cannot be written to .*: No space left on device"):
        build_demo(tmp_path / "store", cases=CASES, jobs=1)


def test_two_demos_at_once_are_refused(tmp_path: Path) -> None:
    """While one process makes the demo another one does not join in."""
    store = create_store(tmp_path / "store")
    (store.root / "demo").mkdir()
    with (
        FileLock(store.root / "demo" / ".lock"),
        pytest.raises(ConflictError, match="another milstore demo is at work"),
    ):
        build_demo(store.root, cases=CASES, jobs=1)


def test_the_files_are_those_of_a_group(store: Store) -> None:
    """Labels and splits lie in the store as files that a group could have, and patches as images named in its manner."""
    with (store.root / "demo" / "labels.csv").open() as stream:
        assert next(csv.reader(stream)) == ["Case", "Class"]
    with (store.root / "demo" / "study.csv").open() as stream:
        assert next(csv.reader(stream)) == ["split", "case_id", "subset"]
    images = [path for path in (store.root / "images").rglob("*") if path.is_file()]
    assert len(images) == read_cohort(store).table("patches").num_rows
    with Image.open(images[0]) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (64, 64))


def test_the_command_says_what_to_try_next(made: DemoReport, capsys: pytest.CaptureFixture[str]) -> None:
    """On a store whose demo is of other cases it refuses in one line; its help says what the demo is."""
    assert main(["demo", "--store", str(made.root)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: the store at ")
    assert main(["demo", "--help"]) == 0
    assert "86 cases" in capsys.readouterr().out
