"""Asking from the command line: formats, errors, and data that is never markup."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from milstore.cli.main import main
from milstore.cli.output import say
from milstore.store import Store
from tests.making import levels, make_run, make_store

Run = tuple[int, str, str]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Run:
    capsys.readouterr()
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_formats_agree(three: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """csv, json and parquet give the same rows; words go to stderr."""
    ask = ["query", "top-patches", "--case", "46", "--run", "exp-s1", "--store", str(three.root), "--format"]
    code, out, err = run(capsys, *ask, "json")
    assert (code, err) == (0, "note: case 46 was in this run's training subset\n")
    records = json.loads(out)
    rows = list(csv.DictReader(io.StringIO(run(capsys, *ask, "csv")[1])))
    assert rows == [{name: str(value) for name, value in record.items()} for record in records]
    assert run(capsys, *ask, "parquet", "-o", str(tmp_path / "x.parquet"))[0] == 0
    assert pq.read_table(tmp_path / "x.parquet").to_pylist() == records
    assert run(capsys, *ask, "markdown")[1].splitlines()[1].startswith("|---|")


def test_the_report_text(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`--format report` prints the study's own text."""
    code, out, _ = run(
        capsys, "query", "top-patches", "--case", "010", "--pct", "30", "--format", "report", "--store", str(three.root)
    )
    assert code == 0
    assert out == (
        "Case 10:\n  True label: 0\n  Pred label: 1\n  # total patches: 10\n  # top patches (per-case): 3\n"
        "  # total slices: 3\n  slice ratio: 0.6667\n  Top-patch counts by stain:\n    h&e: 1\n    sox10: 2\n"
        "  Top-patch counts by (stain, slice_idx):\n    (h&e, slice 0): 1\n    (sox10, slice 0): 2\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["query", "top-patchs"], "error: there is no query 'top-patchs': did you mean top-patches"),
        (["query", "top-patches", "--case", "999"], "error: there is no case '999'"),
        (["query", "top-patches", "--pct", "500"], "error: pct is 500: it must lie in [0, 100]"),
        (["query", "top-patches", "--pct", "many"], "error: Invalid value for '--pct'"),
        (["query", "top-patches", "--run", "exp"], "error: run 'exp' is ambiguous"),
        (
            ["query", "top-patches", "--format", "xls"],
            "error: there is no format 'xls' here: use table, csv, json, parquet, markdown, report",
        ),
        (
            ["query", "recall", "--output", "/nowhere/x.csv", "-f", "csv"],
            "error: /nowhere/x.csv cannot be written",
        ),
        (["query", "top-patches", "--nix"], "error: No such option"),
        (["sql", "drop view cases"], "error: only statements that read are taken"),
        (["runs", "show", "nix"], "error: there is no finished run 'nix'"),
        (["nix"], "error: No such command 'nix'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    three: Store, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Bad input gets one clear line on stderr, nothing on stdout, and exit code 2."""
    store = [] if words[0] == "nix" else ["--store", str(three.root)]
    code, out, err = run(capsys, *words, *store)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_no_store_and_an_empty_store_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without a store, and a store without a run, name the next command."""
    missing = run(capsys, "query", "top-patches", "--store", str(tmp_path / "none"))
    assert missing[0] == 2
    assert "make one with milstore init or milstore demo" in missing[2]
    assert run(capsys, "init", "--store", str(tmp_path / "new"))[0] == 0
    empty = run(capsys, "query", "top-patches", "--store", str(tmp_path / "new"))
    assert empty[0] == 2
    assert "holds no finished run: train one with milstore train --split 1" in empty[2]


def test_data_on_a_terminal_is_never_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markup and escape sequences in a case's name are printed as letters, in tables, notes and errors."""
    name = "[/red]x\x1b[31m<b>"
    store = make_store(tmp_path / "s", {name: 0}, [(name, "h&e", 0, 0)])
    make_run(store, "r", {name: "train"}, {name: 0}, {name: (1.0, 0.0)}, levels({(name, "h&e", 0, 0): 1.0}))
    for words in (
        ["query", "top-patches", "--case", name],
        ["sql", "select * from cases"],
        ["query", "top-patches", "--case", "[/red]"],
    ):
        _, out, err = run(capsys, *words, "--store", str(store.root))
        assert "\x1b" not in out + err
        assert "[/red]" in out + err


def test_debug_shows_where_an_error_came_from(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback is for those who ask for it."""
    words = ["query", "top-patches", "--case", "999", "--store", str(three.root)]
    assert "Traceback" not in run(capsys, *words)[2]
    code, _, err = run(capsys, *words, "--debug")
    assert code == 2
    assert "Traceback" in err


def test_quiet_prints_data_alone(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """--quiet leaves notes out, and data in, of the command that it is given to: who called it as a function is not silent."""
    words = ["query", "top-patches", "--case", "46", "--run", "exp-s1-0", "-f", "csv", "--store", str(three.root)]
    _, out, err = run(capsys, *words, "--quiet")
    assert err == ""
    assert out.startswith("run_id,case_id,")
    say("heard")
    assert capsys.readouterr().err == "heard\n"


def test_a_store_brings_its_own_questions_as_commands(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A .sql file in the store's queries/ is a subcommand with its options, run in the sandbox."""
    (three.root / "queries").mkdir()
    header = (
        "-- How many cases have a label.\n-- grain: one row\n-- param label integer = 0: the label\n-- columns: n\n"
    )
    text = header + "select count(*) as n from cases join selection using (case_id) where label = $label order by n\n"
    (three.root / "queries" / "mine.sql").write_text(text, encoding="utf-8")
    (three.root / "queries" / "bad.sql").write_text(
        header.replace("-- param label integer = 0: the label\n", "") + "drop view cases", encoding="utf-8"
    )
    store = ["--store", str(three.root)]
    assert run(capsys, "query", "mine", *store, "-f", "csv")[1] == "n\n2\n"
    assert run(capsys, "query", "mine", "--label", "1", *store, "-f", "csv")[1] == "n\n1\n"
    assert run(capsys, "query", "bad", *store)[2].startswith("error: only statements that read are taken")
    assert "How many cases have a label" in run(capsys, "query", "--list", *store)[1]


def test_info_and_runs_tell_what_is_there(three: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """info counts the cohort and the runs; runs list and show name them."""
    store = ["--store", str(three.root)]
    assert "3 (benign 2, high-grade 1)" in run(capsys, "info", *store)[1]
    assert [row["run_id"] for row in json.loads(run(capsys, "runs", "list", "-f", "json", *store)[1])] == [
        "exp-s1-0",
        "exp-s2-0",
        "exp-s3-0",
    ]
    assert json.loads(run(capsys, "runs", "show", "exp-s1", "-f", "json", *store)[1])["split_set"] == "three"
