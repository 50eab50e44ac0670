"""What helps who writes SQL: candidates and the place of a mistake, and the tables by a line at the shell's prompt."""

import io
import sys

import pytest

from milstore.api import open_notebook
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.schema.columns import columns, known_tables
from milstore.store import Store

Capture = pytest.CaptureFixture[str]


def _asked(capsys: Capture, store: Store, *words: str) -> tuple[int, str, list[str]]:
    capsys.readouterr()
    code = main([*words, "--store", str(store.root)])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


def _shell(monkeypatch: pytest.MonkeyPatch, capsys: Capture, store: Store, text: str) -> tuple[int, list[str], str]:
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    code = main(["shell", "--store", str(store.root)])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err


def test_a_column_that_there_is_not(three: Store, capsys: Capture) -> None:
    """DuckDB's candidates stand in the line of the error, and its line with the place under it."""
    sql = "select\n  run_id,\n  expriment\nfrom runs"
    code, out, err = _asked(capsys, three, "sql", sql)
    assert (code, out, len(err)) == (2, "", 3)
    assert err[0].startswith('error: Binder Error: Referenced column "expriment" not found in FROM clause! Candidate')
    assert '"experiment"' in err[0]
    assert err[1:] == ["LINE 3:   expriment", "          ^"]


@pytest.mark.parametrize(
    ("sql", "line", "place"),
    [
        ("selec 1", 'error: Parser Error: syntax error at or near "selec"', ["LINE 1: selec 1", "        ^"]),
        (
            "select length(1, 2, 3)",
            "You might need to add explicit type casts. Candidate functions: length(",
            ["LINE 1: select length(1, 2, 3)", "               ^"],
        ),
        ("select * from rnus", "error: table 'rnus' does not exist: did you mean runs? milstore sql 'show tables'", []),
        ("select lenght(case_id) from cases", "lenght(…) is not taken: it is on no list of what a question may use; "
         "did you mean length(…)?", []),
    ],
)  # fmt: skip
def test_other_mistakes(three: Store, capsys: Capture, sql: str, line: str, place: list[str]) -> None:
    """Of a word, a function, a table: what is near, and where it stands."""
    code, _, err = _asked(capsys, three, "sql", sql)
    assert code == 2
    assert line in err[0]
    assert err[1:] == place


def test_the_place_in_python(three: Store) -> None:
    """The error's text is one line, and the place a note of it."""
    with pytest.raises(UsageError) as refused:
        open_notebook(three.root).sql("select foo from runs").rows()
    assert "\n" not in str(refused.value)
    assert refused.value.__notes__ == ["LINE 1: select foo from runs\n               ^"]


def test_an_own_question_says_where(three: Store, capsys: Capture) -> None:
    """A mistake in a store's own question is told in the same way."""
    three.queries.mkdir()
    text = "-- A.\n-- grain: one row\n-- columns: n\nselect lable as n from cases order by n\n"
    (three.queries / "mine.sql").write_text(text, encoding="utf-8")
    code, _, err = _asked(capsys, three, "query", "mine")
    assert code == 2
    assert 'Candidate bindings: "label"' in err[0]
    assert err[1:] == ["LINE 4: select lable as n from cases order by n", "               ^"]


def test_a_terminal_is_not_steered_by_the_place(three: Store, capsys: Capture) -> None:
    """Control characters of a statement are not printed with its line."""
    code, _, err = _asked(capsys, three, "sql", "select foo, '\x1b[31m' from runs")
    assert (code, any("\x1b" in line for line in err)) == (2, False)


def test_tables(three: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """`.tables` lists every table that can be asked, and what it holds; it needs no semicolon."""
    code, lines, _ = _shell(monkeypatch, capsys, three, ".tables\nselect 1 as x;\n")
    assert code == 0
    assert {line.split()[0] for line in lines[2:-3]} >= {*known_tables(), "out_of_fold", "slice_weights"}
    meanings = {" ".join(line.split()) for line in lines}
    assert "cases The cases, with the label that is believed now. A run keeps the label it saw." in meanings
    assert lines[-3:] == ["x", "─", "1"]


def test_schema(three: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """`.schema TABLE` lists its columns with type and meaning, also of a view; `.schema` those of all."""
    code, lines, _ = _shell(monkeypatch, capsys, three, ".schema classes;\n")
    assert (code, lines[0].split(), lines[2:]) == (
        0,
        ["column", "type", "meaning"],
        [
            "label       integer  number of the class, from 0",
            "class_name  varchar  name of the class, such as benign",
        ],
    )
    _, lines, _ = _shell(monkeypatch, capsys, three, ".schema slice_weights\n")
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["run_id", "varchar"],
        ["case_id", "varchar"],
        ["stain", "varchar"],
    ]
    _, lines, _ = _shell(monkeypatch, capsys, three, ".schema\n")
    told = {tuple(line.split()[:2]) for line in lines[2:]}
    assert told >= {
        (name, column)
        for group in ("cohort", "features", "run")
        for name, of in columns(group).items()
        for column in of
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (".schema rnus", "there is no table 'rnus': did you mean runs?"),
        (".exit now", "there is no '.exit' here: .tables tells the tables that can be asked"),
        (".tables x", ".tables is not taken with 'x': write .tables, .schema or .schema runs"),
    ],
)
def test_a_line_that_is_none(
    three: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture, line: str, message: str
) -> None:
    """Another line with a dot is one line that says which there are."""
    code, _, err = _shell(monkeypatch, capsys, three, f"{line}\n")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {message}")
