"""Answers are written as they are computed, within the time limit; what crashes while answering is one line."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from milstore.asking.ask import ask_sql
from milstore.cli.formatters import MOST
from milstore.store import Store
from tests.waiting import wait_for

PROGRAM = "import sys; sys.argv[0] = 'milstore'; {patch}\nfrom milstore.cli.main import main\nmain()"


def started(store: Store, *words: str, patch: str = "", **options: object) -> "subprocess.Popen[str]":
    """The program as a script, with something of it replaced."""
    command = [sys.executable, "-c", PROGRAM.format(patch=patch), *words, "--store", str(store.root)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, text=True, **streams)  # type: ignore[call-overload, no-any-return]


def run(store: Store, *words: str, patch: str = "") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the program."""
    process = started(store, *words, patch=patch)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def asking(body: str) -> str:
    """A patch that puts `body` in the place of what answers SQL, in the child alone."""
    return (
        "import types, builtins\n"
        "import milstore.cli.guarded as g\n"
        "limit = g._limit\n"
        "def then(parent):\n"
        "    limit(parent)\n"
        "    import milstore.asking.ask as a\n"
        f"    a.ask_sql = lambda *b, **c: {body}\n"
        "g._limit = then"
    )


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS"])
def test_a_crash_of_duckdb_is_one_line(three: Store, name: str) -> None:
    """The program lives on, says which signal it was, and ends with 2."""
    body = f"__import__('os').kill(__import__('os').getpid(), {int(signal.Signals[name])})"
    code, out, err = run(three, "sql", "select 1", patch=asking(body))
    assert (code, out) == (2, "")
    assert err == f"error: the question crashed DuckDB ({name}), and nothing was changed: ask it in another way\n"


def test_an_answer_may_not_take_all_memory(three: Store) -> None:
    """Ten GB are the most: what wants eleven is told so in a line."""
    code, out, err = run(three, "sql", "select 1", patch=asking("bytearray(11 * 10**9)"))
    assert (code, out) == (2, "")
    assert err == "error: there is not enough memory for this: narrow the question, or write a part of it at a time\n"


def test_a_killed_program_takes_its_question_with_it(three: Store) -> None:
    """After kill -9 of the program, what answers is gone too."""
    statement = "select count(*) from range(100000000000) a(i), range(10) b(j) where i % 7 = j"
    process = started(three, "sql", statement)
    child = answering(process.pid)
    process.kill()
    process.wait()
    wait_for(lambda: state_of(child) in ("", "Z"), "the child to end", 30)


def answering(pid: int) -> int:
    """The child of a process that answers its question, once it has computed for a while."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for(children.read_text, "a child", 30)
    (child,) = map(int, children.read_text().split())
    wait_for(lambda: ticks_of(child) > 10, "the child to be at work", 60)
    return child


def _stat(pid: int) -> list[str]:
    """What Linux says of a process, from its state on; nothing where it is no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def state_of(pid: int) -> str:
    """The letter of a process's state; empty where it is no more."""
    return (_stat(pid) or [""])[0]


def ticks_of(pid: int) -> int:
    """Hundredths of a second that a process has computed."""
    found = _stat(pid)
    return int(found[11]) if found else 0


def test_ctrl_c_and_the_exit_code_are_those_of_the_child(three: Store) -> None:
    """Stopped by Ctrl-C it ends with 130 and one word; errors keep their code."""
    process = started(
        three, "sql", "select count(*) from range(100000000000) a(i) where i % 7 = 3", start_new_session=True
    )
    answering(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "stopped\n")
    assert run(three, "sql", "select nothing")[0] == 2
    assert run(three, "sql", "select 7 as seven", "--format", "csv") == (0, "seven\n7\n", "")


def peak(three: Store, rows: int, format_: str, output: Path) -> int:
    """MB that a process takes at most which writes so many rows."""
    code = (
        "import resource, sys; from milstore.cli.main import main; "
        "code = main(sys.argv[1:]); print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    statement = f"select i, repeat('x', 200) || i as x from range({rows}) t(i)"
    words = ["sql", statement, "--format", format_, "--output", str(output), "--store", str(three.root)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120, check=True)
    result, megabytes = done.stdout.split()
    assert result == "0", done.stderr
    return int(megabytes)


@pytest.mark.parametrize(("format_", "rows"), [("csv", 200_000), ("json", 100_000), ("parquet", 500_000)])
def test_answers_are_written_without_growing(three: Store, tmp_path: Path, format_: str, rows: int) -> None:
    """An answer that is many times larger takes hardly more memory, and is whole."""
    output = tmp_path / f"answer.{format_}"
    small, large = (peak(three, n, format_, output) for n in (rows // 10, rows))
    assert large - small < 30, (small, large)
    if format_ == "csv":
        with output.open(newline="") as stream:
            assert [sum(1 for _ in csv.reader(stream))] == [rows + 1]
    elif format_ == "json":
        found = json.loads(output.read_text())
        assert len(found) == rows and found[-1] == {"i": rows - 1, "x": "x" * 200 + str(rows - 1)}
    else:
        table = pq.ParquetFile(output)
        assert (table.metadata.num_rows, table.schema_arrow.names) == (rows, ["i", "x"])


def test_the_time_limit_covers_writing(three: Store, tmp_path: Path) -> None:
    """An answer of 100 GB ends with its limit, and leaves nothing behind."""
    output = tmp_path / "out" / "answer.csv"
    output.parent.mkdir()
    statement = "select i, repeat('x', 100) as x from range(1000000000) t(i)"
    code, _, err = run(three, "sql", statement, "--format", "csv", "--output", str(output), "--timeout", "1")
    assert (code, err) == (2, "error: the question took longer than 1 s: narrow it, or raise --timeout\n")
    assert list(output.parent.iterdir()) == []


def test_a_reader_that_takes_nothing_is_not_waited_for(three: Store) -> None:
    """Where a pipe is full and nobody reads it, the limit ends the program all the same."""
    process = started(three, "sql", "select i from range(10000000) t(i)", "--format", "csv", "--timeout", "1")
    assert process.wait(timeout=20) == 2
    assert process.stderr is not None
    assert process.stderr.read() == "error: the question took longer than 1 s: narrow it, or raise --timeout\n"


@pytest.mark.parametrize("format_", ["table", "markdown"])
def test_what_is_for_people_has_ten_thousand_rows_at_most(three: Store, format_: str) -> None:
    """It says so, and how to get them all; an answer of exactly so many is whole and without a word."""
    code, out, err = run(three, "sql", f"select i from range({MOST + 1}) t(i)", "--format", format_, "--all")
    assert (code, len(out.splitlines())) == (0, MOST + 2)
    assert (
        err
        == f"note: these are the first {MOST} rows, and there are more: --format csv, json or parquet gives them all\n"
    )
    assert run(three, "sql", f"select i from range({MOST}) t(i)", "--format", format_, "--all")[2] == ""


def test_long_answers_hold_what_short_ones_do(three: Store, tmp_path: Path) -> None:
    """Infinite dates, intervals and columns of one name come out of an answer of many parts as of a short one."""
    columns = (
        "i, case when i = 2999 then 'infinity'::date else '2026-01-02' end as d, interval 2 month as d, i::hugeint as h"
    )
    for rows in (3, 3000):
        statement = f"select {columns} from (select 3000 - {rows} + i as i from range({rows}) t(i))"
        code, out, _ = run(three, "sql", statement, "--format", "csv")
        lines = out.splitlines()
        assert (code, lines[0], len(lines)) == (0, "i,d,d_1,h", rows + 1)
        assert lines[-2:] == ["2998,2026-01-02,2 months,2998", "2999,infinity,2 months,2999"]
        output = tmp_path / "answer.parquet"
        assert run(three, "sql", statement, "--format", "parquet", "--output", str(output))[0] == 0
        assert pq.read_table(output).slice(rows - 2).to_pylist() == [
            {"i": 2998, "d": "2026-01-02", "d_1": "2 months", "h": 2998},
            {"i": 2999, "d": "infinity", "d_1": "2 months", "h": 2999},
        ]
    assert ask_sql(three, "select 1 as x").first(1) is False


def test_columns_are_chosen_of_what_is_streamed(three: Store) -> None:
    """`--columns` takes some, in the order that is asked for, of a question's rows too."""
    code, out, _ = run(three, "query", "confusion", "--format", "csv", "--columns", "pred_class,true_class")
    assert code == 0 and out.splitlines()[0] == "pred_class,true_class"
    code, _, err = run(three, "query", "confusion", "--format", "csv", "--columns", "nothing")
    assert code == 2 and "the answer has no column 'nothing'" in err
