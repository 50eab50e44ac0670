"""The timings of asking run, at a size that proves nothing but that; no time is asserted."""

import json
import shutil
import sys
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import pytest

from benchmarks import asking
from benchmarks.commands import bare_program, milstore, python, run_program
from benchmarks.files import Rival, answer_of_rival, write_files
from benchmarks.make_runs import Shape, make_runs
from benchmarks.rounds import in_rounds
from milstore.asking.ask import connect_locked
from milstore.cli.main import main
from milstore.store import Store
from milstore.store.run_reader import run_ids, with_own_hash
from tests.making import three_case_store
from tests.reporting import brief
from tests.timing_once import each_once

TOY = ["--runs", "10", "--patches", "600", "--cases", "15", "--small", "5", "--rival-runs", "2", "--window-runs", "2"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Five runs of 15 cases, and beside them what stands for the demo."""
    folder = tmp_path_factory.mktemp("asking")
    demo = three_case_store(folder / "demo")
    for number in (4, 5):
        run_id = f"exp-s{number}-0"
        shutil.copytree(demo.run_folder("exp-s1-0"), demo.run_folder(run_id))
        path = demo.run_folder(run_id) / "run.json"
        path.chmod(0o644)
        path.write_text(json.dumps(with_own_hash({**json.loads(path.read_text()), "run_id": run_id})))
    return make_runs(folder / "large", Shape(runs=10, cases=15, patches=600))


def in_this_process(words: list[str]) -> str:
    """What a command of milstore writes, or a program of Python."""
    program, *rest = words
    with redirect_stdout(StringIO()) as out:
        if program == sys.executable:
            exec(rest[1], {})
        elif rest != ["--help"]:
            assert main(rest) == 0
    return out.getvalue()


def test_contenders_take_turns() -> None:
    """Each runs once a round; the first round warms up, and is not counted."""
    ran: list[str] = []
    timed = in_rounds({name: partial(ran.append, name) for name in ("ours", "theirs")}, 2)
    assert ran == 3 * ["ours", "theirs"]
    assert [len(timed.wall[name]) for name in ("ours", "theirs")] == [2, 2]
    in_rounds({"cold": partial(ran.append, "cold")}, 1, warm=False)
    assert ran[6:] == ["cold"]


def test_every_part_gives_its_rows(
    toy: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part ends with lines of the table."""
    each_once(monkeypatch)
    # A command is run by `main`: a process for each would import all libraries again.
    monkeypatch.setattr(asking, "run_program", in_this_process)
    # Every chart takes half a minute; two stand for all.
    monkeypatch.setattr(asking, "charted", lambda: ("recall", "slice-map", "top-patches"))
    # Nor has a report to ask more than one question, in processes that import all libraries again.
    with brief("recall"):
        asking.main([str(toy.root.parent), *TOY, "--rounds", "1"])
    out, _ = capsys.readouterr()
    rows = [line for line in out.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 3 + 3 + 2 + 4 + 4 + 4 + 1
    assert all(line.count(" | ") == 4 for line in rows)
    assert "not drawn: slice-map" in out


def test_the_bare_program_gives_the_answer_of_the_command(toy: Store) -> None:
    """Both print the same numbers: the command as a table for programs, the bare one with tabs."""
    command = run_program(milstore("query", "top-patches", "--case", "7", "--format", "csv", "--store", str(toy.root)))
    bare = run_program(python(bare_program(toy, "7")))
    assert [line.split("\t") for line in bare.splitlines()] == [line.split(",") for line in command.splitlines()[1:]]
    assert len(bare.splitlines()) > 3


@pytest.mark.parametrize("kind", ["npz", "csv"])
@pytest.mark.parametrize("case", [None, "7"])
def test_the_rival_gives_our_answer(toy: Store, tmp_path: Path, kind: str, case: str | None) -> None:
    """From files without ranks pandas counts the same top patches."""
    runs = run_ids(toy)[:2]
    rival = Rival(write_files(toy, runs, tmp_path, kind), case)
    where = "true" if case is None else f"case_id = '{case}'"
    sql = f"select run_id, stain, count(*) from attention where {where} and {asking.TOP} group by all"
    ours = {(run, stain): n for run, stain, n in connect_locked(toy).execute(sql).fetchall() if run in runs}
    assert answer_of_rival(rival) == ours
    with pytest.raises(SystemExit, match="the rival's answer is not ours"):
        asking.check_same([(run, stain, n + 1) for (run, stain), n in ours.items()], rival)


def test_a_program_that_fails_ends_the_timing() -> None:
    """Nothing is timed that did not do its work."""
    with pytest.raises(SystemExit, match=r"(?s)failed: .*no such thing"):
        run_program(python("raise ValueError('no such thing')"))
