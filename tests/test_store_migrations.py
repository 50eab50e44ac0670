"""Stores of earlier versions open, or are brought up to date by numbered steps."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.errors import StoreError
from milstore.schema import SCHEMA_VERSION
from milstore.store import Store, migrations, open_store, paths
from milstore.store.cohort import edit_cohort
from milstore.store.doctor import check
from milstore.store.findings import NOTE
from milstore.store.io import write_json, write_whole
from milstore.store.migrations import STEPS, migrate
from tests.faults import KILL, Faults, forked
from tests.test_layout import ROOT

KEPT = ROOT / "tests" / "stores"


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_store_that_was_kept_answers(version: int, tmp_path: Path) -> None:
    """The small store that each version wrote migrates, keeps every promise, and gives the answer that it gave then."""
    shutil.copytree(KEPT / f"version-{version}", tmp_path / "store")
    migrate(paths.find_store(tmp_path / "store"))
    store = open_store(tmp_path / "store")
    assert [finding for finding in check(store) if finding.kind != NOTE] == []
    rows = ask(store, "top-patches", Choice(cases=("10",)), {"pct": 30}).records()
    assert [(r["stain"], r["slice_idx"], r["top_patches"]) for r in rows] == [
        ("h&e", 0, 1),
        ("h&e", 1, 0),
        ("sox10", 0, 2),
    ]


def test_every_earlier_version_has_a_step() -> None:
    """From each version that was ever released a step leads on."""
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """This milstore is two versions later, and renames a class on the way to each."""
    done: list[int] = []

    def step(version: int) -> migrations.Step:
        def migrate_once(store: Store) -> None:
            done.append(version)

        return migrate_once

    for module in (migrations, paths):
        monkeypatch.setattr(module, "SCHEMA_VERSION", SCHEMA_VERSION + 2)
    for version in (SCHEMA_VERSION, SCHEMA_VERSION + 1):
        monkeypatch.setitem(STEPS, version, step(version))
    return done


def test_steps_are_done_in_order_and_once(three: Store, newer: list[int]) -> None:
    """An older store is refused with the command that repairs it; the command does each step once."""
    with pytest.raises(StoreError, match="milstore doctor --migrate brings it up to date"):
        open_store(three.root)
    assert main(["doctor", "--migrate", "--store", str(three.root), "--quiet"]) == 0
    assert newer == [SCHEMA_VERSION, SCHEMA_VERSION + 1]
    assert open_store(three.root).manifest()["version"] == SCHEMA_VERSION + 2
    assert migrate(open_store(three.root)) == []


def test_a_step_that_failed_is_done_again(three: Store, newer: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that dies leaves the version below it, and the next try repeats it."""
    whole = STEPS[SCHEMA_VERSION + 1]

    def fail(store: Store) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(STEPS, SCHEMA_VERSION + 1, fail)
    with pytest.raises(OSError, match="No space"):
        migrate(three)
    assert three.manifest()["version"] == SCHEMA_VERSION + 1
    monkeypatch.setitem(STEPS, SCHEMA_VERSION + 1, whole)
    assert len(migrate(three)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process of its own")
@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 13])
def test_a_migration_that_is_killed_is_done_again(three: Store, newer: list[int], at: int) -> None:
    """Killed at an operation on the disk, in a step or between two, the store is of one version, and the next try ends."""

    def rename_class(store: Store) -> None:
        classes = pq.read_table(store.root / store.manifest()["tables"]["classes"]["file"])
        path = store.root / "cohort" / "classes-new.parquet"
        write_whole(path, lambda temporary: pq.write_table(classes.slice(0, 1), temporary) and None)
        write_json(store.manifest_path, {**store.manifest(), "step": store.manifest()["version"]})

    for version in (SCHEMA_VERSION, SCHEMA_VERSION + 1):
        STEPS[version] = rename_class

    def work() -> int:
        Faults(at, KILL).install()
        migrate(three)
        return 0

    code = forked(work)
    assert code in (0, 137)
    assert at > 8 or code == 137
    version = three.manifest()["version"]
    assert SCHEMA_VERSION <= version <= SCHEMA_VERSION + 2
    done = migrate(three)
    assert len(done) == SCHEMA_VERSION + 2 - version
    manifest = open_store(three.root).manifest()
    assert (manifest["version"], manifest["step"]) == (SCHEMA_VERSION + 2, SCHEMA_VERSION + 1)


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


def test_a_gap_is_named(three: Store, newer: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that no step leads from is refused, and the store stays as it is."""
    monkeypatch.delitem(STEPS, SCHEMA_VERSION)
    with pytest.raises(StoreError, match=f"nothing leads from version {SCHEMA_VERSION}"):
        migrate(three)
    assert three.manifest()["version"] == SCHEMA_VERSION


def test_an_edit_keeps_the_version(three: Store) -> None:
    """Ordinary edits write the version that they know."""
    with edit_cohort(three) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["a", "b"]}))
    assert three.manifest()["version"] == SCHEMA_VERSION
