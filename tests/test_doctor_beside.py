"""The doctor beside others who work: nothing is called damaged that is not, and nothing goes that is somebody's."""

import os
import shutil
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from milstore.store import Store, cohort_check, run_check
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check, repair
from milstore.store.features import FeaturePack
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE, Finding
from milstore.store.lease import write_lease
from milstore.store.removal import delete_run, removable
from milstore.store.run_writer import begin_run
from tests.test_store_doctor import featured


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return featured(tmp_path / "three")


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.where) for finding in findings]


def put(store: Store, value: float, edit: Any) -> FeaturePack:
    """Other features of the encoder in the place of those that there are, still to be named by the end of the edit."""
    patches = edit.table("patches")
    pack = FeaturePack(store, encoder="hed", n_features=2, dtype="float16", patches=patches)
    with pack:
        pack.write(0, np.full((patches.num_rows, 2), value, np.float16))
        pack.commit(edit, source="by hand")
    return pack


def packs(store: Store) -> list[Path]:
    return sorted((store.root / "features" / "hed").iterdir())


def rename_class(store: Store, name: str) -> None:
    """A generation of the cohort."""
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", name]}))


def test_a_repair_waits_for_who_is_about_to_name_features(store: Store) -> None:
    """A pack that lay there unnamed when the doctor looked, and is named when the ingest ends, stays."""
    (first,) = packs(store)
    with edit_cohort(store) as edit:
        put(store, 7.0, edit)
        (new,) = [path for path in packs(store) if path != first]
        found = check(store, young=0)
        assert (LEFTOVER, new.relative_to(store.root).as_posix()) in kinds(found)
        removed: list[list[Finding]] = []
        doing = Thread(target=lambda: removed.append(repair(store, found)))
        doing.start()
        doing.join(0.5)
        assert doing.is_alive(), "it waits for the cohort's lock"
    doing.join()
    assert removed == [[]]
    assert packs(store) == sorted([first, new])
    # The features of before are what nobody names now.
    assert kinds(check(store, young=0)) == [(LEFTOVER, first.relative_to(store.root).as_posix())]
    assert len(repair(store, check(store, young=0))) == 1
    assert check(store) == []


def test_features_that_are_being_packed_are_nobodys_leftover(store: Store) -> None:
    """However long their folder has not changed: their writer lives. One that died leaves them to the doctor."""
    with edit_cohort(store) as edit:
        patches = edit.table("patches")
    pack = FeaturePack(store, encoder="hed", n_features=2, dtype="float16", patches=patches)
    with pack:
        (staging,) = (store.root / "features").glob(".hed.*.tmp")
        copy = staging.with_name(".hed.copy.tmp")
        shutil.copytree(staging, copy)
        for path in [staging, *staging.iterdir(), copy, *copy.iterdir()]:
            os.utime(path, (0, 0))
        found = check(store)
        assert sorted(kinds(found)) == [(LEFTOVER, f"features/{copy.name}"), (NOTE, f"features/{staging.name}")]
        assert kinds(repair(store, found)) == [(LEFTOVER, f"features/{copy.name}")]
        assert staging.is_dir()
    assert check(store) == []


def test_features_that_a_training_reads_stay_until_it_ends(store: Store) -> None:
    """What was replaced while a living process trains on it is no leftover yet."""
    (first,) = packs(store)
    draft = begin_run(store, "alive", {"encoder": "hed", "config_version": 2}, token="t")
    with edit_cohort(store) as edit:
        put(store, 7.0, edit)
    name = first.relative_to(store.root).as_posix()
    assert kinds(check(store, young=0)) == [(NOTE, name)]
    assert repair(store, check(store, young=0)) == []
    (draft.folder / "lease.json").unlink()
    assert (LEFTOVER, name) in kinds(check(store, young=0))


def test_what_a_training_leaves_is_its_own_while_it_lives(store: Store) -> None:
    """Between the commit of a run and the end of its trainer, nothing of it is left over; nor what it writes meanwhile."""
    folder = store.running / "exp-s1-0"
    folder.mkdir()
    write_lease(folder, "t")
    (folder / ".checkpoint.pt.x.tmp").write_bytes(b"x")
    assert [each for each in check(store, young=0) if each.kind != NOTE] == []
    (folder / "lease.json").unlink()
    found = check(store, young=0)
    assert (LEFTOVER, "running/exp-s1-0") in kinds(found)
    repair(store, found)
    assert check(store, young=0) == []


def test_an_ingest_beside_is_no_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two generations of the cohort come while its files are looked at: those of before are gone, and nothing is wrong."""
    real, names = cohort_check.sha256_of, iter(["melanoma", "other", "third"])

    def meanwhile(path: Path) -> str:
        if "classes" in path.name or "cases" in path.name:
            for name in [next(names, None) for _ in range(2)]:
                if name is not None:
                    rename_class(store, name)
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(cohort_check, "sha256_of", meanwhile)
        assert [each for each in check(store) if each.kind == DAMAGE] == []
    assert next(names, None) is None


def test_a_deletion_beside_is_no_damage(store: Store) -> None:
    """A run that is deleted as the doctor comes to it is no run any more, and that is all."""

    def meanwhile(text: str) -> None:
        if text == "run exp-s2-0":
            delete_run(store, removable(store, "exp-s2-0"))

    assert check(store, tell=meanwhile) == []


def test_a_deletion_in_the_middle_of_a_run_is_no_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one that comes between its files."""
    real = run_check.sha256_of

    def meanwhile(path: Path) -> str:
        if path.name == "coverage.parquet" and "exp-s2-0" in str(path):
            delete_run(store, removable(store, "exp-s2-0"))
        return real(path)

    monkeypatch.setattr(run_check, "sha256_of", meanwhile)
    assert [each for each in check(store) if each.kind == DAMAGE] == []
    assert not store.run_folder("exp-s2-0").exists()
