"""Cohorts grow: features are added in packs of their own, and no run becomes stale by what it is not of."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from milstore.errors import ConflictError
from milstore.ingest.features import ingest_features
from milstore.store import Store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort, migrate
from milstore.store.content_hash import with_case_order
from milstore.store.doctor import check
from milstore.store.feature_reader import open_features
from milstore.store.features import VECTORS, FeaturePack
from milstore.store.findings import NOTE
from milstore.store.run_reader import read_run, run_ids
from milstore.store.views import connect
from milstore.training import train_all
from milstore.training.stored_config import config_from_json
from tests.making import MadeOnce
from tests.test_layout import ROOT
from tests.training_cohort import SMALL, tiny_store

EARLIER = ROOT / "tests" / "stores" / "version-1-trained"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


@MadeOnce
def trained_store(folder: Path) -> Store:
    """The same with a run of each split."""
    store = tiny_store(folder)
    train_all(store, SMALL, threads=1)
    return store


@pytest.fixture
def trained(tmp_path: Path) -> Store:
    return trained_store(tmp_path / "trained")


def wrong(store: Store) -> list[str]:
    return [f"{found.where}: {found.what}" for found in check(store) if found.kind != NOTE]


def add_case(store: Store, case_id: str, stain: str = "h&e", *, slice_idx: int = 0, n: int = 2) -> None:
    """Patches 0 … n - 1 of a slice, of a case that may be new."""
    with edit_cohort(store) as edit:
        cases = edit.table("cases").to_pylist()
        if case_id not in {row["case_id"] for row in cases}:
            cases.append({"case_id": case_id, "label": 0, "class_name": cases[0]["class_name"], "source_label": "0"})
        edit.replace("cases", with_case_order(pa.Table.from_pylist(cases, edit.table("cases").schema)))
        place = {"case_id": case_id, "stain": stain, "slice_idx": slice_idx}
        slices = [*edit.table("slices").to_pylist(), {**place, "slice_name": f"match_{slice_idx + 1}", "n_patches": n}]
        edit.replace("slices", pa.Table.from_pylist(slices, edit.table("slices").schema))
        patches = [*edit.table("patches").to_pylist(), *({**place, "patch_idx": i} for i in range(n))]
        edit.replace("patches", pa.Table.from_pylist(patches, edit.table("patches").schema))


def add_features(store: Store, case_ids: set[str], value: float, encoder: str = "noise") -> None:
    """A vector of `value` for every patch of these cases that has none yet."""
    with edit_cohort(store) as edit:
        there = open_features(store, edit.base, encoder).patches.to_pylist()
        names = ("case_id", "stain", "slice_idx", "patch_idx")
        every = edit.table("patches").select(list(names)).to_pylist()
        rows = [row for row in every if row["case_id"] in case_ids and row not in there]
        patches = pa.Table.from_pylist(rows, edit.table("patches").select(list(names)).schema)
        with FeaturePack(store, encoder=encoder, n_features=6, dtype="float16", patches=patches) as pack:
            pack.write(0, np.full((len(rows), 6), value, np.float16))
            pack.commit(edit, source=f"{value}", replace=False)


def test_what_is_added_trains_nothing_again(trained: Store) -> None:
    """Cases with features, slices without, slides, groups and attributes: every run is still of the same data."""
    store = trained
    before, packs = run_ids(store), read_cohort(store).table("packs").to_pylist()
    add_case(store, "77")
    add_features(store, {"77"}, 1.0)
    add_case(store, "1", "melan")
    with edit_cohort(store) as edit:
        edit.replace("case_attributes", pa.table({"case_id": ["1"], "name": ["site"], "value": ["arm"]}))
        edit.replace("case_groups", pa.table({"case_id": ["1", "2"], "group_id": ["p", "p"]}))
        edit.replace("slides", pa.table({"slide_id": ["a"], "case_id": ["1"], "stain": ["h&e"]}))
    assert train_all(store, SMALL, threads=1) == []
    assert run_ids(store) == before
    found = read_cohort(store).table("packs").to_pylist()
    assert (found[0], len(found), found[1]["source"]) == (packs[0], 2, "1.0")
    assert wrong(store) == []
    with connect(store) as con:
        assert con.execute("select count(*) from features where case_id = '77'").fetchall() == [(2,)]


@pytest.mark.parametrize("what", ["label", "features", "subset"])
def test_what_a_run_saw_and_changed_trains_its_split_again(trained: Store, what: str) -> None:
    """Another label or subset of a case, or a vector more: only the splits that it is of are trained again."""
    store = trained
    splits = {1, 2}
    if what == "features":
        add_case(store, "1", "melan")
        add_features(store, {"1"}, 1.0)
    elif what == "label":
        with edit_cohort(store) as edit:
            rows = [
                {**row, "label": 1 - row["label"]} if row["case_id"] == "1" else row
                for row in edit.table("cases").to_pylist()
            ]
            edit.replace("cases", pa.Table.from_pylist(rows, edit.table("cases").schema))
    else:
        splits = {2}
        with edit_cohort(store) as edit:
            rows = [
                {**row, "subset": "val"} if (row["split"], row["case_id"]) == (2, "1") else row
                for row in edit.table("splits").to_pylist()
            ]
            edit.replace("splits", pa.Table.from_pylist(rows, edit.table("splits").schema))
    assert {run.split for run in train_all(store, SMALL, threads=1)} == splits
    assert train_all(store, SMALL, threads=1) == []


def test_a_case_in_two_packs_reads_in_its_order(store: Store) -> None:
    """Its vectors come in the order of stain, slice and patch, whichever pack they lie in, and each pack says its hash."""
    old = open_features(store, read_cohort(store)).read("1")
    add_case(store, "1", "h&e", slice_idx=2)
    add_case(store, "1", "melan")
    add_features(store, {"1"}, 3.0)
    features = open_features(store, read_cohort(store))
    first, end = features.case_rows["1"]
    rows = features.patches.slice(first, end - first).to_pylist()
    keys = [(row["stain"], row["slice_idx"], row["patch_idx"]) for row in rows]
    assert keys == sorted(keys)
    new = [stain == "melan" or slice_idx == 2 for stain, slice_idx, _ in keys]
    read = features.read("1")
    assert np.array_equal(read[~np.array(new)], old)
    assert np.array_equal(read[new], np.full((4, 6), 3.0, np.float16))
    assert [len(features.hashes["1"]), len(features.hashes["2"])] == [2, 1]
    pack = features.packs[1]
    digest = hashlib.sha256(b"1\x001\x001\x001\nh&e\x00h&e\x00melan\x00melan\n2\x002\x000\x000\n0\x001\x000\x001\n")
    digest.update(np.load(pack.folder / VECTORS).tobytes())
    assert features.hashes["1"][2] == digest.hexdigest()
    assert wrong(store) == []


def test_another_vector_of_a_patch_is_refused(store: Store) -> None:
    """A patch has one vector of an encoder: what differs is refused, what is the same is left out, and nothing is rewritten."""
    before = store.manifest()
    cohort = read_cohort(store)
    features = open_features(store, cohort)
    one = cohort.table("patches").filter(pa.array([c == "1" for c in cohort.table("patches")["case_id"].to_pylist()]))
    vectors = features.read("1")

    def give(values: np.ndarray) -> None:
        with edit_cohort(store) as edit, FeaturePack(
            store, encoder="noise", n_features=6, dtype="float16", patches=one
        ) as pack:  # fmt: skip
            pack.write(0, values)
            pack.commit(edit, source="again", replace=False)

    give(vectors)
    with pytest.raises(ConflictError, match="the store has other features of noise"):
        give(vectors + 1)
    assert store.manifest() == before


def test_files_of_new_cases_are_added_by_ingest(store: Store, tmp_path: Path) -> None:
    """`ingest features` of a folder that has old and new files stores the new alone."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    for case, value in (("91", 1.0), ("92", 2.0)):
        np.save(folder / f"case_{case}_match_1_h&e_patch1.npy", np.full(3, value, np.float32))
        report = ingest_features(store, folder, encoder="deep", create_patches=True)
        assert report.changed
    packs = [row for row in read_cohort(store).table("packs").to_pylist() if row["encoder"] == "deep"]
    assert [(row["pack"], row["n_patches"]) for row in packs] == [(1, 1), (2, 1)]
    features = open_features(store, read_cohort(store), "deep")
    assert {case: features.read(case).tolist() for case in features.case_rows} == {"91": [[1.0] * 3], "92": [[2.0] * 3]}
    assert not ingest_features(store, folder, encoder="deep", create_patches=True).changed
    assert wrong(store) == []


def earlier(folder: Path) -> Store:
    shutil.copytree(EARLIER, folder)
    return open_store(folder)


def test_runs_of_0_1_are_not_trained_again(tmp_path: Path) -> None:
    """Their data are known after the migration: the same command trains nothing, also after the cohort has grown."""
    store = earlier(tmp_path / "store")
    whole = read_run(store, next(run_id for run_id in run_ids(store) if run_id.startswith("whole")))
    config, before = config_from_json(whole["config"]), run_ids(store)
    assert train_all(store, config, threads=1) == []
    add_case(store, "77")
    assert train_all(store, config, threads=1) == []
    assert run_ids(store) == before
    known = read_cohort(store).table("earlier_runs")
    assert known["run_id"].to_pylist() == before
    assert len(set(known["data_fingerprint"].to_pylist())) == 2
    assert wrong(store) == []


def test_a_run_of_0_1_on_other_data_is_not_taken_for_one_on_these(tmp_path: Path) -> None:
    """Where the cohort had changed before the migration, its runs are of other data."""
    store = earlier(tmp_path / "store")
    manifest = store.manifest_path.read_text(encoding="utf-8")
    store.manifest_path.write_text(manifest.replace(store.manifest()["fingerprint"], "0" * 64), encoding="utf-8")
    migrate(store)
    assert read_cohort(store).table("earlier_runs").num_rows == 0


def test_a_run_keeps_what_it_was_of(trained: Store) -> None:
    """The fingerprint of its data stands in the run; two splits of the same cases have the same features."""
    facts = sorted((read_run(trained, run_id) for run_id in run_ids(trained)), key=lambda run: run["split"])
    assert [run["split"] for run in facts] == [1, 2]
    assert facts[0]["features_fingerprint"] == facts[1]["features_fingerprint"]
    assert facts[0]["data_fingerprint"] != facts[1]["data_fingerprint"]
