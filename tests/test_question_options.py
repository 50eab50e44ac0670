"""Options of a question: which run answers, and parameters of any name."""

import json
from pathlib import Path

import pytest

from milstore.api import open_notebook
from milstore.cli.main import main
from milstore.store import Store
from tests.reporting import brief

Capture = pytest.CaptureFixture[str]


def _json(capsys: Capture, store: Store, *words: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert main([*words, "--store", str(store.root), "-f", "json"]) == 0, capsys.readouterr().err
    return list(json.loads(capsys.readouterr().out))


def _own(store: Store, name: str, header: str, sql: str) -> None:
    store.queries.mkdir(exist_ok=True)
    text = f"-- What is given.\n-- grain: one row\n{header}-- columns: given\n{sql}\n"
    (store.queries / f"{name}.sql").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", ["class", "def", "none", "run", "seed", "split", "subset", "experiment", "name"])
def test_a_parameter_may_have_any_name(three: Store, capsys: Capture, name: str) -> None:
    """A word of Python's or of milstore's own is an ordinary name for a parameter of one's own question."""
    _own(three, "mine", f"-- param {name} text = null: a text\n", f"select ${name}::text as given order by given")
    assert _json(capsys, three, "query", "mine", f"--{name}", "a b") == [{"given": "a b"}]
    assert _json(capsys, three, "query", "mine") == [{"given": None}]


@pytest.mark.parametrize("name", ["format", "output", "store", "timeout", "columns", "wide", "all", "help", "chart"])
def test_a_parameter_may_be_called_as_the_commands_own_option(three: Store, capsys: Capture, name: str) -> None:
    """Then its option has `param-` in front, and the command's own is what it was."""
    _own(three, "mine", f"-- param {name} integer = 3: a number\n", f"select ${name}::integer as given order by given")
    assert _json(capsys, three, "query", "mine", f"--param-{name}", "8") == [{"given": 8}]
    assert _json(capsys, three, "query", "mine") == [{"given": 3}]


def test_a_parameter_of_a_choices_name_in_python(three: Store) -> None:
    """`query(…, seed=7)` gives the parameter `seed` of a question that has one."""
    _own(three, "mine", "-- param seed integer: a number\n", "select $seed::integer as given order by given")
    assert open_notebook(three.root).query("mine", seed=7).rows() == [(7,)]


def test_the_run_of_a_split(three: Store, capsys: Capture, tmp_path: Path) -> None:
    """`--split 2` answers as `--run` with that run does, in query, plot, report and in Python; it needs no id."""
    by_run = _json(capsys, three, "query", "deviation", "--run", "exp-s2-0")
    assert [row["run_id"] for row in by_run] == ["exp-s2-0"]
    assert _json(capsys, three, "query", "deviation", "--split", "2") == by_run
    assert _json(capsys, three, "query", "deviation", "--split", "2", "--seed", "0") == by_run
    assert open_notebook(three.root).query("deviation", split=2).records() == by_run
    where = ["--store", str(three.root)]
    chart, page = tmp_path / "chart.json", tmp_path / "report.md"
    assert main(["plot", "deviation", "--split", "2", "-o", str(chart), *where]) == 0
    assert "experiment exp, split 2, seed 0" in json.dumps(json.loads(chart.read_text(encoding="utf-8")))
    with brief("recall", charts=False):
        assert main(["report", "--split", "2", "-o", str(page), *where]) == 0
    assert "experiment exp, split 2, seed 0" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["runs", "show"], ["query", "deviation", "--run"]])
@pytest.mark.parametrize("part", ["exp-s2-0", "exp-s2", "s2", "2-0"])
def test_an_id_may_be_shortened(three: Store, capsys: Capture, command: list[str], part: str) -> None:
    """A beginning or a part that one run alone has is that run."""
    assert main([*command, part, "-f", "json", "--store", str(three.root)]) == 0
    assert '"exp-s2-0"' in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [["runs", "show"], ["runs", "diff", "exp-s1-0"], ["runs", "delete", "--yes"], ["query", "deviation", "--run"],
     ["query", "compare-runs", "--a", "exp-s1-0", "--b"]],
    ids=" ".join,
)  # fmt: skip
def test_a_part_of_several_ids_names_them(three: Store, capsys: Capture, command: list[str]) -> None:
    """An ambiguous part is refused with the candidates, and nothing is done."""
    assert main([*command, "exp-", "--store", str(three.root)]) == 2
    err = capsys.readouterr().err
    assert err == "error: run 'exp-' is ambiguous: it may be exp-s1-0, exp-s2-0, exp-s3-0\n"


def test_deleting_takes_four_letters_of_an_id(three: Store, capsys: Capture) -> None:
    """Two letters are too soon typed by mistake to delete a run by them; a longer part is taken."""
    where = ["--yes", "--store", str(three.root)]
    assert main(["runs", "delete", "s2", *where]) == 2
    assert "to delete one, give its id or 4 letters of it or more" in capsys.readouterr().err
    assert main(["runs", "delete", "s2-0", *where]) == 0
    assert [row[0] for row in open_notebook(three.root).runs().rows()] == ["exp-s1-0", "exp-s3-0"]
