"""`milstore shell`, and `milstore runs diff`."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest

from milstore.cli.main import main
from milstore.store import Store
from milstore.store.differences import differences
from milstore.store.run_reader import read_run, run_ids
from tests.test_layout import ROOT

PROGRAM = "import sys; from milstore.cli.main import main; sys.exit(main(sys.argv[1:]))"


def fed(monkeypatch: pytest.MonkeyPatch, text: str, store: Store, *words: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return main(["shell", "--store", str(store.root), *words])


def test_statements_from_a_pipe(
    three: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each statement up to a semicolon at a line's end is answered; the last one needs none."""
    text = "select 'a;b' as x;\n\nselect count(*) as n\nfrom cases;\nselect 3 as z"
    assert fed(monkeypatch, text, three, "-f", "csv") == 0
    assert capsys.readouterr() == ("x\na;b\nn\n3\nz\n3\n", "")


def test_a_pipe_ends_at_its_first_error(
    three: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing after a statement that is refused is answered: exit code 2, and one line."""
    assert fed(monkeypatch, "select 1 as x;\ncopy cases to 'x.csv';\nselect 2;\n", three, "-f", "csv") == 2
    out, err = capsys.readouterr()
    assert out == "x\n1\n"
    assert err.count("\n") == 1
    assert err.startswith("error: ")


def test_at_a_prompt_one_goes_on_after_an_error(three: Store) -> None:
    """On a terminal an error is a line and the prompt comes back; writing is refused there too."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "shell", "--store", str(three.root), "-f", "csv"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, b"drop table cases;\nselect count(*)\nas n from cases;\nexit\n")
        out, err = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    assert out == "n\n3\n"
    assert err.count("error: ") == 1
    assert "Leave with exit" in err


def test_ctrl_c_stops_a_question(three: Store) -> None:
    """Ctrl-C while DuckDB is at work is Ctrl-C, and no fault of milstore."""
    forever = "select sum(a.range * b.range * c.range) from range(100000) a, range(100000) b, range(100000) c"
    # Whoever runs the tests may have told their processes to ignore Ctrl-C. The clock of the limit starts just before
    # DuckDB does, which then is all that takes time.
    pressed = (
        "import os, signal, sys, threading, time\n"
        "from milstore.cli.main import main\n"
        "from tests.waiting import wait_for\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "start, asked = threading.Timer.start, threading.Event()\n"
        "threading.Timer.start = lambda timer: (start(timer), asked.set())\n"
        "def press():\n"
        "    asked.wait(60)\n"
        "    began = time.process_time()\n"
        "    wait_for(lambda: time.process_time() > began + 0.2, 'DuckDB to be at work')\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=press, daemon=True).start()\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", pressed, "sql", forever, "--timeout", "60", "--store", str(three.root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_differences_are_settings_and_data(three: Store) -> None:
    """What two runs differ in is told setting by setting; what every run has for itself is not."""
    a = read_run(three, run_ids(three)[0])
    assert differences(a, a) == []
    other = {
        **a,
        "run_id": "other",
        "seconds": 7.0,
        "seed": 41,
        "host": None,
        "config": json.dumps({**json.loads(a["config"]), "dropout": 0.9}),
    }
    assert differences(a, other) == [
        ("seed", a["seed"], 41),
        ("host", a["host"], None),
        ("config.dropout", json.loads(a["config"]).get("dropout"), 0.9),
    ]


def test_runs_diff(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Two runs of two splits differ in their split; a run does not differ from itself."""
    store = ["--store", str(three.root)]
    one, other = run_ids(three)[:2]
    assert main(["runs", "diff", one, other, "-f", "json", *store]) == 0
    rows = {row["fact"]: (row[one], row[other]) for row in json.loads(capsys.readouterr().out)}
    facts = [read_run(three, each) for each in (one, other)]
    assert rows["split"] == tuple(str(each["split"]) for each in facts)
    assert "run_id" not in rows
    assert main(["runs", "diff", one, one, *store]) == 0
    assert "by the same settings on the same data" in capsys.readouterr().err
