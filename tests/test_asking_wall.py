"""Behind the wall nothing can be written, whatever runs there; everybody else goes on as before."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.dataset
import pytest

from milstore.api import open_notebook
from milstore.asking import wall
from milstore.asking.ask import ask, ask_sql, connect_walled
from milstore.asking.result import Result
from milstore.asking.walled import Walled
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.store import Store
from tests.forking import done, fork
from tests.test_layout import ROOT
from tests.waiting import wait_for
from tests.walling import SINCE_2_LOCKED, WRITING, changed

WALLS: dict[str, Callable[[], str]] = {"landlock": wall.landlock, "seccomp": wall.seccomp}


def in_thread(work: Callable[[], object]) -> list[object]:
    """What some work gives, or the error that it ends with, in a thread that ends with it."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found


def stands(name: str) -> str:
    """Which wall a way to raise it gives; the test is skipped where the kernel does not know it."""
    (said,) = in_thread(WALLS[name])
    if not said:
        pytest.skip(f"this kernel has no {name}")
    assert isinstance(said, str)
    return said


def walling(store: Store, folder: Path, which: str) -> dict[str, list[str]]:
    """What the statements that write have changed, with an empty check of SQL."""
    said = folder / "changed.json"
    done(folder, lambda: said.write_text(json.dumps(changed(store.root, folder / "tried", which))) and None)
    found: dict[str, list[str]] = json.loads(said.read_text())
    return found


@pytest.mark.parametrize("which", ["usual", "landlock", "seccomp"])
def test_without_any_check_nothing_is_written(three: Store, tmp_path: Path, which: str) -> None:
    """With the check of SQL emptied, no statement that writes changes a byte of the store or of its neighbour."""
    if which != "usual":
        stands(which)
    elif wall.standing() == wall.NONE:
        pytest.skip("this kernel has no wall")
    assert walling(three, tmp_path, which) == {sql: [] for sql in WRITING}


def test_without_a_wall_they_would_write(three: Store, tmp_path: Path) -> None:
    """The statements do write where there is neither check nor wall, so that the test above means something."""
    found = walling(three, tmp_path, "none")
    wrote = [sql for sql in WRITING if found[sql]]
    locked = int(duckdb.__version__.split(".")[0]) >= 2
    assert wrote == (WRITING[:-SINCE_2_LOCKED] if locked else WRITING)
    assert len(WRITING) >= 12


def attempts(folder: Path) -> dict[str, Callable[[], object]]:
    """Ways to change a folder that holds `old`, by name."""
    old, new = folder / "old", folder / "new"
    return {
        "write": lambda: new.write_text("x", encoding="utf-8"),
        "append": lambda: old.open("a", encoding="utf-8"),
        "update": lambda: old.open("r+", encoding="utf-8"),
        "truncate": lambda: os.truncate(old, 0),
        "open to truncate": lambda: os.open(old, os.O_RDONLY | os.O_TRUNC),
        "make a folder": new.mkdir,
        "make a pipe": lambda: os.mkfifo(new),
        "remove": old.unlink,
        "remove a folder": (folder / "empty").rmdir,
        "rename": lambda: old.rename(new),
        "link": lambda: os.link(old, new),
        "link by name": lambda: new.symlink_to(old),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
    }


@pytest.mark.parametrize("name", sorted(WALLS))
def test_a_wall_forbids_every_way_to_write(tmp_path: Path, name: str) -> None:
    """Behind a wall each way to write is refused and reading is free, in the thread, in its children, and nowhere else."""
    assert stands(name).startswith(name)
    (tmp_path / "old").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()

    def behind() -> list[object]:
        WALLS[name]()
        tried = [in_thread(attempt)[0] for attempt in attempts(tmp_path).values()]
        assert (tmp_path / "old").read_text(encoding="utf-8") == "x"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "old"]
        return tried

    (tried,) = in_thread(behind)
    assert isinstance(tried, list), tried
    assert dict(zip(attempts(tmp_path), map(type, tried), strict=True)) == dict.fromkeys(
        attempts(tmp_path), PermissionError
    )
    (tmp_path / "new").write_text("this thread writes", encoding="utf-8")


def test_the_filters_program_is_that_of_the_processor() -> None:
    """Both processors have their program: it fits what the kernel takes, and ends by allowing."""
    for known in wall._PROCESSORS.values():
        program = wall._filter(*known)
        assert len(program) <= 4096
        assert {len(line) for line in program} == {8}
        assert program[-1] == (6).to_bytes(2, sys.byteorder) + b"\0\0" + wall._ALLOW.to_bytes(4, sys.byteorder)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [((), "landlock"), (("landlock",), "seccomp"), (("landlock", "seccomp"), "none")],
)
def test_the_first_wall_that_the_kernel_has(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], expected: str
) -> None:
    """Landlock; where there is none a seccomp filter; else none, and then questions are answered all the same."""
    for name in WALLS:
        if name not in missing:
            stands(name)
    for name in missing:
        monkeypatch.setattr(wall, name, lambda: "")
    assert wall.standing().split()[0] == expected


def test_an_old_landlock_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Landlock before version 3 lets files be truncated: the filter takes its place."""
    stands("seccomp")
    monkeypatch.setattr(wall, "landlock_version", lambda: 2)
    assert wall.standing() == "seccomp"


def test_without_a_wall_questions_are_answered(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no wall answers too, and the check of SQL still stands."""
    monkeypatch.setattr(wall, "give_up_writing", lambda: wall.NONE)
    assert ask_sql(three, "select count(*) from cases").rows() == [(3,)]
    with pytest.raises(UsageError, match="only statements that read"):
        ask_sql(three, f"copy cases to '{three.root}/x.csv'")


def test_doctor_says_which_wall_stands(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of `milstore doctor` names the wall."""
    assert main(["doctor", "--store", str(three.root)]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "SQL that others wrote" in line]
    assert said == [f"SQL that others wrote runs {wall.describe(wall.standing())}"]
    assert wall.describe(wall.NONE).startswith("without a second wall")


MINE = "-- Mine.\n-- grain: one row\n-- columns: wall\nselect 1 as wall\n"


def test_foreign_sql_runs_and_is_fetched_behind_the_wall(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sql` and a group's own question do all their work in a walled thread; milstore's own questions need none."""
    seen: list[str] = []
    do = Walled.do

    def watched(self: Walled, work: Callable[[duckdb.DuckDBPyConnection], object]) -> object:
        return do(self, lambda con: (seen.append(threading.current_thread().name), work(con))[1])

    monkeypatch.setattr(Walled, "do", watched)
    assert ask(three, "recall").rows()
    assert seen == []
    (three.root / "queries").mkdir()
    (three.root / "queries" / "mine.sql").write_text(MINE, encoding="utf-8")
    for result in (ask_sql(three, "select 1 as a"), ask(three, "mine")):
        assert result.rows() == [(1,)]
        assert result.arrow().num_rows == 1
    assert seen == ["milstore-walled"] * 6


def test_a_foreign_question_does_not_use_an_open_connection(three: Store) -> None:
    """A report's connection, which has no wall, is not lent to a group's own question."""
    (three.root / "queries").mkdir()
    (three.root / "queries" / "mine.sql").write_text(MINE, encoding="utf-8")
    with duckdb.connect() as con:
        con.execute("create table trace as select 1")
        assert ask(three, "mine", con=con).rows() == [(1,)]


def test_a_notebook_still_writes(three: Store, tmp_path: Path) -> None:
    """After a question the process writes as before: its files, and by its own DuckDB, opened before or after."""
    out = tmp_path / "out"
    out.mkdir()

    def work() -> None:
        answer = open_notebook(three.root).sql("select case_id from cases order by case_order")
        answer.rows()
        answer.arrow()
        answer.df().to_csv(out / "a.csv")
        answer.df().to_parquet(out / "b.parquet")
        duckdb.sql(f"copy (select 1 as a) to '{out}/c.csv'")
        duckdb.connect(str(out / "d.duckdb")).execute("create table t as select 1 as a; checkpoint")
        pyarrow.dataset.write_dataset(answer.arrow(), out / "e", format="parquet")

    done(tmp_path, work)
    assert sorted(path.name for path in out.iterdir()) == ["a.csv", "b.parquet", "c.csv", "d.duckdb", "e"]


def test_answers_of_several_threads_at_once(three: Store) -> None:
    """Threads may ask side by side: each has its own connection and thread."""
    answers: list[Result] = []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(ask_sql(three, f"select {i}::int as a"))) for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.rows()[0][0] for answer in answers) == [0, 1, 2, 3, 4, 5]


def test_a_forked_process_asks_anew(three: Store, tmp_path: Path) -> None:
    """An answer that was not fetched before a fork is refused in the child in one line; a new question is answered."""

    def tell(what: object) -> None:
        sys.stdout.write(f"{what}\n")
        sys.stdout.flush()

    def work() -> None:
        store = open_notebook(three.root)
        answer = store.sql("select 1 as a")
        child = os.fork()
        if not child:
            try:
                answer.rows()
            except UsageError as error:
                tell(error)
            tell(store.sql("select count(*) from cases").rows())
            os._exit(0)
        os.waitpid(child, 0)
        tell(answer.rows())

    asking = fork(tmp_path, work)
    assert asking.wait() == 0
    assert asking.text().splitlines() == [
        "this answer belongs to the process that asked: ask again in this one",
        "[(3,)]",
        "[(1,)]",
    ]


def walled_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "milstore-walled"}


def test_threads_end_with_their_answers(three: Store) -> None:
    """A walled thread lives as long as somebody may ask for its rows, also after errors."""
    others = walled_threads()
    answer = ask_sql(three, "select 1 as a")
    assert len(walled_threads() - others) == 1
    del answer
    for sql in ("select error('no')", "copy cases to 'x'", "selec"):
        with pytest.raises(UsageError):
            ask_sql(three, sql).rows()
    gc.collect()
    wait_for(lambda: not walled_threads() - others, "the threads to end")


def test_a_walled_connection_that_fails_to_open(three: Store) -> None:
    """An error while connecting is raised where the connection was asked for."""

    def fail() -> duckdb.DuckDBPyConnection:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Walled(fail)


def test_an_interruption_reaches_through_the_wall(three: Store) -> None:
    """A question that is interrupted stops, and the same connection answers the next."""
    walled = connect_walled(three)
    over = threading.Event()

    def press() -> None:
        # Once could be before the question has begun.
        while not over.wait(0.1):
            walled.interrupt()

    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(duckdb.InterruptException):
        walled.do(lambda con: con.execute("select count(*) from range(10000000000) a, range(1000000) b").fetchall())
    over.set()
    pressing.join()
    assert walled.do(lambda con: con.execute("select 1").fetchall()) == [(1,)]
    walled.close()


def test_ctrl_c_while_waiting(three: Store, tmp_path: Path) -> None:
    """Ctrl-C in a notebook stops the question and leaves the process able to ask the next."""

    def work() -> None:
        store = open_notebook(three.root)
        answer = store.sql("select count(*) from range(10000000000) a, range(1000000) b")
        try:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            answer.rows()
        except KeyboardInterrupt:
            sys.stdout.write("stopped\n")
        sys.stdout.write(f"{store.sql('select 1').rows()}\n")

    asking = fork(tmp_path, work)
    assert (asking.wait(), asking.text()) == (0, "stopped\n[(1,)]\n")


def test_the_program_ends_while_answers_are_open(three: Store) -> None:
    """A script that ends with answers it never fetched ends at once and cleanly."""
    program = f"import milstore; s = milstore.open({str(three.root)!r}); a = [s.sql('select 1') for _ in range(3)]"
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=ROOT, timeout=120, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_memory_limit_holds_and_nothing_is_spilled(three: Store) -> None:
    """The settings of the sandbox hold behind the wall: bounded memory, and no folder to spill to."""
    walled = connect_walled(three)
    names = ("memory_limit", "max_temp_directory_size", "enable_external_access", "lock_configuration")
    found = walled.do(lambda con: [con.execute(f"select current_setting('{name}')").fetchall()[0][0] for name in names])
    assert found == ["7.4 GiB", "0 bytes", False, True]
    walled.close()


def test_a_notebooks_runs_are_told(three: Store) -> None:
    """What the notebook asks by SQL of its own goes the same way."""
    assert [row["run_id"] for row in open_notebook(three.root).runs().records()] == ["exp-s1-0", "exp-s2-0", "exp-s3-0"]
