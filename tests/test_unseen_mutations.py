"""Promises that a small slip in the code would break without anything else noticing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from milstore.analysis.pattern import PERMUTATIONS, moran_test
from milstore.asking.ask import ask
from milstore.asking.selection import Choice, select
from milstore.errors import ConflictError, DataError
from milstore.ingest.coordinates import with_coordinates
from milstore.ingest.patches import ingest_patches
from milstore.ingest.runs import ingest_run
from milstore.ingest.split_sampling import draw_folds, draw_validation, pool_of
from milstore.launching.planning import plan_launch
from milstore.launching.task import Task
from milstore.store import Store, create_store
from milstore.store.attention import checked_attention
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.features import FeaturePack, open_features
from milstore.store.io import write_json, write_whole
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run
from milstore.store.views import connect
from milstore.training import TrainingConfig, train, train_all
from milstore.training.bags import Bag
from milstore.training.progress import Watcher
from tests.making import THREE_LABELS, levels, make_run, make_splits, make_store
from tests.training_cohort import SMALL, features, subset, tiny_store

EVEN = dict.fromkeys(THREE_LABELS, (0.5, 0.5))
ONE_EACH = {("2", "h&e", 0, 0): 1.0, ("10", "h&e", 0, 0): 1.0, ("46", "h&e", 0, 1): 1.0}


def test_features_are_standardised_by_the_training_subset_alone(tmp_path: Path) -> None:
    """The shift kept with the weights is the mean over the training cases' patches: no validation or test case is in it."""
    store = tiny_store(tmp_path / "store")
    config = TrainingConfig(hidden=8, attention_dim=4, epochs=1, min_epochs=1, standardise="train")
    weights = load_file(train(store, config, 1).folder / "weights.safetensors")
    (shift_D,) = [value for name, value in weights.items() if name.endswith("shift_D")]
    train_ND = np.concatenate([features(str(i)) for i in range(1, 13) if subset(str(i)) == "train"]).astype(np.float64)
    all_ND = np.concatenate([features(str(i)) for i in range(1, 13)]).astype(np.float64)
    np.testing.assert_allclose(shift_D, train_ND.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert np.abs(all_ND.mean(axis=0) - train_ND.mean(axis=0)).max() > 0.05


def test_a_cap_draws_other_patches_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cap of one patch a slice, a slice of several shows others in other epochs, and the same in another run."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    capped = Bag.capped

    def spy(self: Bag, most: int, rng: np.random.Generator) -> Bag:
        bag = capped(self, most, rng)
        seen.append((bag.case_id, tuple(bag.patch_idx_N.tolist())))
        return bag

    monkeypatch.setattr(Bag, "capped", spy)
    epochs, cases = 40, 6
    config = TrainingConfig(hidden=8, attention_dim=4, epochs=epochs, min_epochs=epochs, max_patches_per_slice=1)
    train(tiny_store(tmp_path / "one"), config, 1)
    assert len(seen) == epochs * cases
    # Of one case at one position in the order of its epoch: a draw that did not know the epoch would be one and the same.
    drawn: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    for i, (case_id, patches) in enumerate(seen):
        drawn.setdefault((case_id, i % cases), []).append(patches)
    several = [draws for draws in drawn.values() if len(draws) >= 5]
    assert several
    assert all(len(set(draws)) > 1 for draws in several)


def test_a_split_is_trained_again_where_its_features_changed(tmp_path: Path) -> None:
    """A finished split is passed over only where the features are those that it was trained on."""
    store = tiny_store(tmp_path / "store")
    train_all(store, SMALL, experiment="exp")
    assert train_all(store, SMALL, experiment="exp") == []
    packed = open_features(store, read_cohort(store), "noise")
    with (
        FeaturePack(store, encoder="noise", n_features=6, dtype="float16", patches=packed.patches) as pack,
        edit_cohort(store) as edit,
    ):
        for case_id, (first, _) in packed.case_rows.items():
            pack.write(first, packed.read(case_id) + np.float16(0.5))
        pack.commit(edit, source="moved by a half")
    assert sorted(run.split for run in train_all(store, SMALL, experiment="exp")) == [1, 2]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The order in which files and folders are brought to the disk and renamed, each by its name."""
    happened: list[tuple[str, str]] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def name_of(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def synced(descriptor: int) -> None:
        happened.append(("fsync", name_of(descriptor)))
        fsync(descriptor)

    def moving(real: Callable[..., None]) -> Callable[..., None]:
        def moved(source: Any, target: Any, **options: Any) -> None:
            happened.append(("rename", f"{Path(source).name} -> {Path(target).name}"))
            real(source, target, **options)

        return moved

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", moving(rename))
    monkeypatch.setattr(os, "replace", moving(replace))
    return happened


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks the system for the names of descriptors")
def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_going_on(
    tmp_path: Path, disk: list[tuple[str, str]]
) -> None:
    """A whole file is written: its bytes are brought to the disk, it is renamed, and its folder is brought to the disk."""
    folder = tmp_path / "folder"
    folder.mkdir()
    write_whole(folder / "a.txt", lambda path: path.write_text("a") and None)
    (first, renamed, last) = disk
    assert first[0] == "fsync" and first[1].startswith(".a.txt.")
    assert renamed == ("rename", f"{first[1]} -> a.txt")
    assert last == ("fsync", "folder")
    disk.clear()
    write_json(folder / "b.json", {})
    assert [what for what, _ in disk] == ["fsync", "rename", "fsync"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks the system for the names of descriptors")
def test_every_file_of_a_run_is_on_the_disk_before_the_run_is_there(
    tmp_path: Path, disk: list[tuple[str, str]]
) -> None:
    """Before the rename that makes a run: each of its files, then its folder; after it, the folder of the runs."""
    store = make_store(tmp_path / "store", {"2": 1}, [("2", "h&e", 0, 0)])
    disk.clear()
    make_run(store, "exp-s1-0", {"2": "test"}, {"2": 1}, {"2": (0.2, 0.8)}, levels({("2", "h&e", 0, 0): 1.0}))
    (commit,) = [i for i, (what, name) in enumerate(disk) if what == "rename" and name == "commit -> run_id=exp-s1-0"]
    before = [name for what, name in disk[:commit] if what == "fsync"]
    files = {path.name for path in store.run_folder("exp-s1-0").iterdir()}
    on_disk = {name for name in before if not name.startswith(".")} | {
        name[1:].rsplit(".", 2)[0] for name in before if name.startswith(".")
    }
    assert files <= on_disk
    assert before[-1] == "commit"
    assert ("fsync", "runs") in disk[commit:]


def test_effective_attention_is_the_product_of_its_levels() -> None:
    """Effective attention that sums to 1 but is not the product of stain, slice and patch attention is refused."""
    table = levels({("2", "h&e", 0, 0): 1.0, ("2", "h&e", 0, 1): 3.0})
    far = table.set_column(
        table.column_names.index("effective_attention"), "effective_attention", pa.array([0.26, 0.74], pa.float64())
    )
    with pytest.raises(DataError, match="effective_attention is not stain x slice x patch attention"):
        checked_attention(far)


def add_run(store: Store, run_id: str, split: int, **facts: Any) -> None:
    """A run of one of the three splits of the store of three cases."""
    order = ["2", "10", "46"]
    subsets = {order[(split - 1 + i) % 3]: name for i, name in enumerate(("test", "val", "train"))}
    given = {"split_set": "three", "split": split, "n_splits": 3, **facts}
    make_run(store, run_id, subsets, THREE_LABELS, EVEN, levels(ONE_EACH), **given)


def test_the_lowest_complete_seed_answers(three: Store) -> None:
    """Of several seeds that have every split, the lowest answers; a lower one that is incomplete does not."""
    for seed in (1, 2, 3):
        for split in (1, 2, 3) if seed > 1 else (1,):
            add_run(three, f"many-s{split}-{seed}", split, experiment="many", seed=seed)
    chosen = select(connect(three), three, Choice(experiment="many"))
    assert chosen.answering == ("many-s1-2", "many-s2-2", "many-s3-2")


def test_morans_p_is_never_0() -> None:
    """The slice itself is one of the arrangements: a p-value is at least 1 in as many as were tried."""
    side = 12
    places_N2 = np.array([(x, y) for x in range(side) for y in range(side)], float)
    weights_N = np.where(places_N2[:, 0] < side / 2, 1.0, 0.0)
    found = moran_test(weights_N / weights_N.sum(), places_N2, seed=0)
    assert found is not None
    assert found[1] == 1 / (PERMUTATIONS + 1)


def test_split_balance_is_of_the_newest_run(three: Store) -> None:
    """Where a split was trained twice, the balance is that of the run that was finished last, whatever its id."""
    add_run(three, "exp-a", 1, finished_at="2028-01-01T00:00:00")
    rows = ask(three, "split-balance", Choice(experiment="exp")).records()
    assert {row["split"]: row["run_id"] for row in rows} == {1: "exp-a", 2: "exp-s2-0", 3: "exp-s3-0"}


def test_a_tie_of_stains_has_no_leader(tmp_path: Path) -> None:
    """Two stains of equal weight: none leads, neither by the alphabet nor by the order of the store, which rows keep."""
    store = create_store(tmp_path / "store")
    text = '[stains]\nsox10 = ["sox10"]\nmelan = ["melan"]\n'
    (store.root / "milstore.toml").write_text(text)
    with edit_cohort(store) as edit:
        edit.replace("stains", pa.table({"stain": ["sox10", "melan"], "stain_order": pa.array([0, 1], pa.int32())}))
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", "high-grade"]}))
        case = {"case_id": ["1"], "case_order": [0], "label": [0], "class_name": ["benign"], "source_label": ["0"]}
        edit.replace("cases", pa.table(case))
        slices = [
            {"case_id": "1", "stain": stain, "slice_idx": 0, "slice_name": "match_1", "n_patches": 1}
            for stain in ("melan", "sox10")
        ]
        edit.replace("slices", pa.Table.from_pylist(slices))
        patches = [
            {"case_id": "1", "stain": s, "slice_idx": 0, "patch_idx": 0, "file": None, "x": None, "y": None, "width": None, "height": None}
            for s in ("melan", "sox10")
        ]  # fmt: skip
        edit.replace("patches", pa.Table.from_pylist(patches))
    weights = {("1", "melan", 0, 0): 1.0, ("1", "sox10", 0, 0): 1.0}
    make_run(store, "exp-s1-0", {"1": "test"}, {"1": 0}, {"1": (0.9, 0.1)}, levels(weights))
    rows = ask(store, "stain-attention").records()
    assert [(row["stain"], row["leads"], row["tied"]) for row in rows] == [
        ("sox10", False, True),
        ("melan", False, True),
    ]


def test_out_of_fold_is_by_the_newest_run(three: Store) -> None:
    """The view `out_of_fold` takes a case from the run of its split that was finished last."""
    add_run(three, "exp-a", 1, finished_at="2028-01-01T00:00:00")
    rows = connect(three).execute("select case_id, run_id from out_of_fold order by all").fetchall()
    assert rows == [("10", "exp-s2-0"), ("2", "exp-a"), ("46", "exp-s3-0")]


def images(folder: Path, names: list[str]) -> Path:
    """Tiny images of these names."""
    from PIL import Image

    folder.mkdir()
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


def test_a_slice_that_would_lose_patches_is_guarded(tmp_path: Path) -> None:
    """While a run speaks of a slice, `--replace` by a folder that lacks one of its patches is refused, and nothing changes."""
    store = create_store(tmp_path / "store")
    whole = ["case_1_match_1_h&e_patch0.png", "case_1_match_1_h&e_patch1.png"]
    ingest_patches(store, images(tmp_path / "whole", whole))
    begin_run(store, "exp-s1-0", {})
    before = store.manifest()
    with pytest.raises(ConflictError, match="would lose patches"):
        ingest_patches(store, images(tmp_path / "less", whole[:1]), replace=True)
    assert store.manifest() == before


def test_two_files_of_one_patch_are_refused_with_both_names(tmp_path: Path) -> None:
    """Where two files' names say the same patch, neither is taken."""
    store = create_store(tmp_path / "store")
    names = ["case_1_match_1_h&e_patch1.png", "case_01_match_1_h&e_patch1.png"]
    with pytest.raises(DataError, match="are the same patch") as refused:
        ingest_patches(store, images(tmp_path / "twice", names))
    assert all(name in str(refused.value) for name in names)


def test_coordinates_of_a_name_that_two_files_have_are_not_guessed(tmp_path: Path) -> None:
    """A row that names its patch by a name which two files have is refused; by its path it is taken."""
    files = pa.table({"file": [f"{case}/match_1_h&e_patch1.png" for case in (1, 2)]})
    for column in ("x", "y", "width", "height"):
        files = files.append_column(column, pa.nulls(2, pa.int32()))
    by_name = tmp_path / "by_name.csv"
    by_name.write_text("file,x,y\nmatch_1_h&e_patch1.png,5,6\n")
    with pytest.raises(DataError, match="there is no one patch"):
        with_coordinates(files, by_name)
    by_path = tmp_path / "by_path.csv"
    by_path.write_text("file,x,y\n2/match_1_h&e_patch1.png,5,6\n")
    assert with_coordinates(files, by_path)["x"].to_pylist() == [None, 5]


def test_an_ingested_run_trained_on_no_test_patch(tmp_path: Path) -> None:
    """The coverage of a run from elsewhere says 0 trained patches for cases of validation and test."""
    store = make_store(tmp_path / "store", THREE_LABELS, list(ONE_EACH))
    make_splits(store, "three", [{"train": ["2"], "val": ["10"], "test": ["46"]}])
    (tmp_path / "p.csv").write_text("case_id,p_0,p_1\n2,0.2,0.8\n10,0.7,0.3\n46,0.6,0.4\n")
    header = "case_id,stain,slice_name,patch_idx,stain_attention,slice_attention,patch_attention\n"
    rows = "".join(f"{c},{s},match_{i + 1},{p},1,1,1\n" for c, s, i, p in ONE_EACH)
    (tmp_path / "a.csv").write_text(header + rows)
    options = {"patches_by": "number"} if "patches_by" in ingest_run.__annotations__ else {}
    ingest_run(store, tmp_path / "p.csv", tmp_path / "a.csv", experiment="other", split=1, **options)
    found = connect(store).execute("select case_id, subset, trained, evaluated from coverage order by all").fetchall()
    assert found == [("10", "val", 0, 1), ("2", "train", 1, 1), ("46", "test", 0, 1)]


def test_the_seed_draws_the_validation_cases_too() -> None:
    """Another seed draws other validation cases, also where the test cases are given: the same seed draws the same."""
    pool = pool_of({str(i): i % 2 for i in range(40)})

    def validation(seed: int) -> list[set[str]]:
        splits = draw_folds(pool, 2, seed=seed, val_share=0.2)
        return [{case for case, of in split.items() if of == "val"} for split in splits]

    assert validation(1) == validation(1)
    assert validation(1) != validation(2)
    drawn = [{c for c, of in draw_validation(pool, seed=s, val_share=0.2).items() if of == "val"} for s in (1, 2)]
    assert drawn[0] != drawn[1]


def test_fresh_begins_launched_splits_anew(tmp_path: Path) -> None:
    """A launched split that is told to begin anew leaves the unfinished run alone, and trains another."""
    store = tiny_store(tmp_path / "store")

    class Stopped(BaseException):
        pass

    class Stops(Watcher):
        def epoch(self, row: Any, *, best: bool) -> None:
            raise Stopped

    with pytest.raises(Stopped):
        train(store, SMALL, 1, experiment="exp", threads=1, watcher=Stops())
    (left,) = [path.name for path in store.running.iterdir() if path.name.startswith("exp-")]
    launch = plan_launch(store, SMALL, [1], launcher="local", experiment="exp", threads=1, fresh=True)
    assert launch is not None
    run_id = Task(store=str(store.root), folder=str(launch.folder), split=1)()
    assert run_id != left
    assert run_ids(store) == [run_id]
    assert (store.running / left).is_dir()
