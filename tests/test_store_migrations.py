"""Stores of earlier versions open and answer as they are, and are brought to this version by the first command that writes."""

import hashlib
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from milstore.asking.ask import ask, ask_sql
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.schema import SCHEMA_VERSION
from milstore.schema.columns import columns
from milstore.store import Store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort, migrate
from milstore.store.doctor import check
from milstore.store.findings import NOTE
from milstore.store.io import write_json
from milstore.store.run_reader import read_run
from tests.crossing import WHOLE
from tests.faults import KILL, Faults
from tests.forking import fork
from tests.test_layout import ROOT

KEPT = ROOT / "tests" / "stores"
STORES = ("version-1", "version-1-trained")


def kept(name: str, folder: Path) -> Store:
    """A copy of a store that an earlier version wrote."""
    shutil.copytree(KEPT / name, folder / name)
    return open_store(folder / name)


def bytes_of(store: Store) -> dict[str, str]:
    """The SHA-256 of every file of a store, by its path."""
    files = sorted(path for path in store.root.rglob("*") if path.is_file())
    return {path.relative_to(store.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def wrong(store: Store) -> list[str]:
    """What the doctor finds broken or left over."""
    return [f"{finding.where}: {finding.what}" for finding in check(store) if finding.kind != NOTE]


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_version_1_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    """It opens, answers and keeps its promises without a byte changed.

    Here each table is asked for in one of the stores; in all by `make torture`.
    """
    store = kept(name, tmp_path)
    before = bytes_of(store)
    assert wrong(store) == []
    tables = [*columns("cohort"), *columns("features"), *columns("run")]
    for table in tables if WHOLE else tables[STORES.index(name) :: len(STORES)]:
        ask_sql(store, f"from {table}").rows()
    assert ask(store, "recall").rows()
    assert bytes_of(store) == before


def test_version_1_gives_the_answer_that_it_gave(tmp_path: Path) -> None:
    """A question over a run of version 1 answers what milstore 0.1 answered."""
    rows = ask(kept("version-1", tmp_path), "top-patches", Choice(cases=("10",)), {"pct": 30}).records()
    assert [(r["stain"], r["slice_idx"], r["top_patches"]) for r in rows] == [
        ("h&e", 0, 1),
        ("h&e", 1, 0),
        ("sox10", 0, 2),
    ]


def test_what_version_1_did_not_say_is_read_as_what_it_meant(tmp_path: Path) -> None:
    """Its runs were trainings by the default model with three levels of attention; coordinates counted pixels of the slice."""
    store = kept("version-1", tmp_path)
    said = "select distinct schema_version, kind, model, attention, source_run_id from runs"
    assert ask_sql(store, said).rows() == [(1, "training", "hierarchical", "levels", None)]
    facts = read_run(store, ask_sql(store, "select min(run_id) from runs").rows()[0][0])
    assert (facts["schema_version"], facts["kind"], facts["model"], facts["attention"]) == (
        1,
        "training",
        "hierarchical",
        "levels",
    )
    assert ask_sql(store, "select distinct unit, grid from patches").rows() == [("slice", None)]
    assert set(read_cohort(store).table("patches")["unit"].to_pylist()) == {"slice"}
    assert read_cohort(store).table("slides").num_rows == 0


@pytest.mark.database
@pytest.mark.parametrize("name", STORES)
def test_the_first_edit_migrates(name: str, tmp_path: Path) -> None:
    """What is written next brings the whole cohort to this version; the old manifest stays beside, with its files."""
    store = kept(name, tmp_path)
    before, answer = bytes_of(store), ask(store, "recall").rows()
    with edit_cohort(store) as edit:
        edit.replace("case_attributes", pa.table({"case_id": ["2"], "name": ["site"], "value": ["arm"]}))
    manifest = store.manifest()
    assert manifest["version"] == SCHEMA_VERSION
    after = bytes_of(store)
    assert after.pop("cohort/manifest-version-1.json") is not None
    changed = {path for path in before if after.get(path) != before[path]}
    assert changed == {"cohort/manifest.json"}
    for table in read_cohort(store).names():
        assert read_cohort(store).stored(table).column_names == list(columns("cohort")[table])
    assert ask(store, "recall").rows() == answer
    assert wrong(store) == []


def test_an_unfinished_run_of_version_1_is_not_said_to_go_on(tmp_path: Path) -> None:
    """Its checkpoint is refused, so the doctor says what does help."""
    (note,) = [
        finding for finding in check(kept("version-1-trained", tmp_path)) if finding.where.startswith("running/")
    ]
    assert note.repair.startswith("train its split again by --fresh, and remove it by milstore runs delete half-s2-3-")


def test_migrating_twice_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`doctor --migrate` does what the next edit would, once."""
    store = kept("version-1", tmp_path)
    assert main(["doctor", "--migrate", "--store", str(store.root)]) == 0
    assert "migrated from version 1 to 2" in capsys.readouterr().err
    once = bytes_of(store)
    assert main(["doctor", "--migrate", "--store", str(store.root)]) == 0
    assert "the store is of this version already" in capsys.readouterr().err
    assert bytes_of(store) == once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process of its own")
@pytest.mark.parametrize("at", range(1, 40, 1 if WHOLE else 6))
def test_a_migration_that_is_killed_is_done_again(tmp_path: Path, at: int) -> None:
    """Killed at any operation on the disk, the store is of one version or the other, whole, and the next try ends.

    At one operation in six here; `make torture` tries each.
    """
    store = kept("version-1", tmp_path)

    def work() -> int:
        Faults(at, KILL).install()
        migrate(store)
        return 0

    assert fork(tmp_path, work).wait() in (0, 137)
    assert store.manifest()["version"] in (1, SCHEMA_VERSION)
    assert ask(store, "recall").rows()
    migrate(store)
    assert store.manifest()["version"] == SCHEMA_VERSION
    assert [found for found in check(store, young=0) if found.kind not in (NOTE, "leftover")] == []


def test_a_newer_store_is_refused_by_every_command(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A store of a later milstore is not touched: one line, exit 2, also where it is to be repaired or migrated."""
    write_json(three.manifest_path, {**three.manifest(), "version": SCHEMA_VERSION + 1})
    before = three.manifest_path.read_bytes()
    commands = [
        "info",
        "doctor",
        "doctor --repair",
        "doctor --migrate",
        "init",
        "train --split 1",
        "runs list",
        "query recall",
    ]
    for words in (*commands, "ingest patches .", "splits make", "sql select"):
        assert main([*words.split(), "--store", str(three.root)]) == 2, words
        said = capsys.readouterr().err
        assert said == (
            f"error: the store at {three.root} has version {SCHEMA_VERSION + 1}, this milstore knows {SCHEMA_VERSION}: "
            "upgrade milstore\n"
        ), words
    assert three.manifest_path.read_bytes() == before


def test_an_edit_keeps_the_version(three: Store) -> None:
    """Ordinary edits write the version that they know, and keep no manifest beside."""
    with edit_cohort(three) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["a", "b"]}))
    assert three.manifest()["version"] == SCHEMA_VERSION
    assert not list((three.root / "cohort").glob("manifest-version-*"))
