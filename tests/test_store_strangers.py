"""What lies among the finished runs and is none of them harms nobody, and a deletion that is killed leaves nothing there."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import duckdb
import pytest

from milstore.asking.ask import ask, ask_sql
from milstore.cli.main import main
from milstore.errors import StoreError, UsageError
from milstore.launching.states import states
from milstore.store import Store, doctor, open_store
from milstore.store.doctor import check, repair
from milstore.store.findings import DAMAGE, LEFTOVER, NOTE
from milstore.store.removal import delete_run, removable
from milstore.store.run_reader import find_run_id, run_ids, strangers
from milstore.store.run_writer import begin_run
from milstore.store.summary import contents
from milstore.training.setup import known_runs
from tests.crossing import WHOLE
from tests.faults import KILL, Faults
from tests.forking import fork
from tests.test_store_doctor import old

pytestmark = pytest.mark.database

RUNS = ["exp-s1-0", "exp-s2-0", "exp-s3-0"]
STRANGE = [
    "bak_run_id=exp-s1-0", "run_id=exp-s1-0 (copy)", "run_id=EXP", "run_id=", "run_id=!x", "run_id=-x", "run_id=a\nb",
    "run_id=a\\run_id=b", "exp-s1-0", "RUN_ID=exp-s1-0", "run_id=é", ".run_id=exp-s1-0", "run_id=exp-s1-0~1a2b",
]  # fmt: skip
"""Folders that no run's can be called."""


def copied(of: Path, to: Path) -> None:
    """A copy of a run, as somebody makes one."""
    shutil.copytree(of, to)
    to.chmod(0o755)


def garbage(of: Path, to: Path) -> None:
    """Files that are called as those of a run, and are none."""
    to.mkdir()
    for path in of.iterdir():
        (to / path.name).write_bytes(b"no such file")


def other_columns(of: Path, to: Path) -> None:
    """Files that can be read, and hold something else."""
    to.mkdir()
    for path in of.glob("*.parquet"):
        duckdb.sql("select 1 as run_id, 2 as filename").write_parquet(str(to / path.name))
    (to / "run.json").write_text('{"split": "four"}', encoding="utf-8")


def nothing(of: Path, to: Path) -> None:
    """A folder without files."""
    to.mkdir()


KINDS: list[Callable[[Path, Path], None]] = [copied, garbage, other_columns, nothing]


def put(store: Store, turn: int) -> None:
    """Put strange folders among the runs, of all kinds and as old as a forgotten thing is."""
    for i, name in enumerate(STRANGE):
        KINDS[(i + turn) % len(KINDS)](store.run_folder("exp-s1-0"), store.runs / name)
        old(store.runs / name)


def assert_answers(store: Store, runs: list[str]) -> None:
    """Every way of reading a store tells of these runs, and of nothing else."""
    assert run_ids(store) == runs
    tables = ("runs", "epochs", "predictions", "probabilities", "attention", "coverage", "out_of_fold")
    found = ", ".join(f"(select list(distinct run_id order by run_id) from {table}) as {table}" for table in tables)
    assert ask_sql(store, f"select {found}").records() == [dict.fromkeys(tables, runs)]
    assert dict(contents(store))["finished runs"] == f"{len(runs)} (exp ({len(runs)}))"
    assert [row.run_id for row in states(store, ask=lambda _: {})] == runs
    assert sorted(run["run_id"] for run in known_runs(store, "exp")) == runs
    assert {row["run_id"] for row in ask(store, "loss-curves").records()} == set(runs)
    store.database.unlink(missing_ok=True)
    assert main(["info", "--store", str(store.root), "--quiet"]) == 0
    with closing(duckdb.connect(str(store.database), read_only=True)) as con:
        rows = con.execute("select run_id, count(*) from attention group by all order by all").fetchall()
        assert rows == [(run_id, 19) for run_id in runs]


@pytest.mark.parametrize("turn", range(len(KINDS)) if WHOLE else [0])
def test_a_stranger_among_the_runs_is_named_and_read_by_nothing(three: Store, turn: int) -> None:
    """Folders of other names, whatever is in them: questions, SQL, info and training go on as without them.

    Each name with one kind of what is in it here; `make torture` has each with all.
    """
    put(three, turn)
    assert_answers(three, RUNS)
    assert strangers(three) == sorted(STRANGE)
    assert dict(contents(three))["strangers in runs/"].startswith(".run_id=exp-s1-0, RUN_ID=exp-s1-0, ")
    found = check(three)
    assert [(each.kind, each.where) for each in found] == [(NOTE, f"runs/{name}") for name in sorted(STRANGE)]
    assert {each.what for each in found} == {"no run that milstore made, and read by nothing"}
    assert repair(three, found) == []
    with pytest.raises(UsageError, match="there is no finished run 'EXP'"):
        find_run_id(three, "EXP")
    with pytest.raises(UsageError, match="there is no run 'EXP'"):
        removable(three, "EXP")


def test_a_file_among_the_runs_is_named_and_read_by_nothing(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that is called as a run's folder is, and a link that leads nowhere."""
    (three.runs / "run_id=x").write_text("x", encoding="utf-8")
    (three.runs / "notes.txt").write_text("x", encoding="utf-8")
    (three.runs / "run_id=gone").symlink_to(three.root / "nowhere")
    assert_answers(three, RUNS)
    assert [each.where for each in check(three)] == ["runs/notes.txt", "runs/run_id=gone", "runs/run_id=x"]
    assert main(["info", "--store", str(three.root)]) == 0
    shown = capsys.readouterr().out
    assert "strangers in runs/" in shown
    assert "notes.txt, run_id=gone, run_id=x: read by nothing (milstore doctor)" in shown
    assert main(["doctor", "--store", str(three.root)]) == 0


def test_info_says_nothing_of_strangers_where_there_are_none(three: Store) -> None:
    """The line is there only for those whom it concerns."""
    assert "strangers in runs/" not in dict(contents(three))


def test_what_an_older_version_left_of_a_deletion_is_read_by_nothing(three: Store) -> None:
    """It lies among the runs; the doctor finds it as a leftover, and removes it."""
    left = three.runs / ".run_id=exp-s1-0.0123456789abcdef.tmp"
    three.run_folder("exp-s1-0").rename(left)
    for path in [left, *left.iterdir()]:
        old(path)
    assert_answers(three, RUNS[1:])
    found = check(three)
    assert [(each.kind, each.where) for each in found] == [(LEFTOVER, f"runs/{left.name}")]
    assert repair(three, found) == found
    assert check(three) == []


def test_a_run_cannot_begin_under_a_name_that_nobody_would_read(three: Store) -> None:
    """What is no run id is refused before anything is made."""
    for name in ("", "A", "a b", "_none", ".a", "../a", "a~b"):
        with pytest.raises(UsageError, match="no run can be called"):
            begin_run(three, name, {})
    assert list(three.running.iterdir()) == []


class _Killed(Faults):
    """A kill at the n-th operation, removing a folder included."""

    def install(self) -> None:
        super().install()
        os.rmdir = self._before(os.rmdir)  # type: ignore[assignment]


def _killed(root: Path, at: int) -> bool:
    """Delete a run in a process of its own, which is killed at its n-th operation on the disk. Whether it came to that."""

    def delete() -> None:
        store = open_store(root)
        run = removable(store, "exp-s2-0")
        _Killed(at, KILL).install()
        delete_run(store, run)

    code = fork(root.parent, delete).wait()
    assert code in (0, 137), code
    return code == 137


def test_a_deletion_that_is_killed_at_any_step_harms_nobody(three: Store, tmp_path: Path) -> None:
    """The run is there wholly or not at all, nothing is left among the runs, and the doctor removes what is elsewhere.

    At once, not after an hour: questions, SQL, info and training go on as if it had not been killed. At one step in
    three; `make torture` kills it at each.
    """
    gone = 0
    for at in count(1, 1 if WHOLE else 3):
        root = tmp_path / f"killed-{at}"
        shutil.copytree(three.root, root)
        killed = _killed(root, at)
        store = open_store(root)
        assert strangers(store) == []
        there = run_ids(store)
        assert there in (RUNS, ["exp-s1-0", "exp-s3-0"])
        gone += there != RUNS
        assert ask_sql(store, "select distinct run_id from attention order by all").rows() == [(run,) for run in there]
        assert dict(contents(store))["finished runs"].startswith(f"{len(there)} ")
        assert sorted(run["run_id"] for run in known_runs(store, "exp")) == there
        if gone <= 1 or not killed:
            assert_answers(store, there)
        found = check(store, young=0)
        assert [each for each in found if each.kind == DAMAGE] == []
        left = [each for each in found if each.kind == LEFTOVER]
        assert all(each.where.startswith("running/.run_id=exp-s2-0.") for each in left)
        assert repair(store, found) == left
        if there == RUNS:
            delete_run(store, removable(store, "exp-s2-0"))
        assert (run_ids(store), list(store.running.iterdir())) == (["exp-s1-0", "exp-s3-0"], [])
        assert [each for each in check(store, young=0) if each.where != store.database.name] == []
        shutil.rmtree(root)
        if not killed:
            break
    assert at > 12
    assert gone > (8 if WHOLE else 2)


def test_a_deletion_that_the_disk_refuses_changes_nothing(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the run cannot be moved, it stays as it was, read-only."""
    folder = three.run_folder("exp-s2-0")

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(StoreError, match=r"run exp-s2-0 cannot be deleted: .* Input/output error"):
            delete_run(three, removable(three, "exp-s2-0"))
    assert folder.stat().st_mode & 0o777 == 0o555
    assert check(three) == []


def test_a_store_without_a_folder_for_running_ones_can_delete(three: Store) -> None:
    """Copies often leave empty folders out."""
    three.running.rmdir()
    delete_run(three, removable(three, "exp-s2-0"))
    assert_answers(three, ["exp-s1-0", "exp-s3-0"])


def test_what_the_doctor_removed_meanwhile_is_deleted(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A doctor that repairs at the same moment leaves a deletion alone, and files that went otherwise are no failure of it."""

    def removed_first(folder: Path) -> None:
        found = check(three, young=0)
        assert [(each.kind, each.where) for each in found] == [(NOTE, f"running/{folder.name}")]
        assert doctor.repair(three, found) == []
        assert folder.is_dir()
        shutil.rmtree(folder)
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("milstore.store.removal.make_writable", removed_first)
    delete_run(three, removable(three, "exp-s2-0"))
    assert list(three.running.iterdir()) == []
    assert run_ids(three) == ["exp-s1-0", "exp-s3-0"]
