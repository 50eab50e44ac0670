"""Tables for people."""

import re
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore import queries
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.cli.output import table_text
from milstore.cli.tables import column_texts, length
from milstore.errors import DataError
from milstore.store import Store
from tests.crossing import WHOLE, crossed
from tests.making import Patch, levels, make_run, make_splits, make_store

Capture = pytest.CaptureFixture[str]
values = (
    st.none() | st.integers() | st.booleans() | st.floats(allow_nan=False) | st.text(st.characters(max_codepoint=127))
)
made = st.integers(1, 6).flatmap(
    lambda width: st.tuples(
        st.lists(st.from_regex(r"[a-z_]{1,30}", fullmatch=True), min_size=width, max_size=width),
        st.lists(st.lists(values, min_size=width, max_size=width), max_size=4),
    )
)


@settings(max_examples=100 if WHOLE else 40)
@given(made, st.integers(24, 120))
def test_no_line_is_longer_than_the_terminal(table: tuple[list[str], list[list[Any]]], width: int) -> None:
    """Whatever stands in a table, its lines fit: 40 tables, and by `make torture` 100."""
    columns, rows = table
    assert all(length(line) <= width for line in table_text(columns, rows, width).splitlines())


numbers = st.none() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.integers(1, 8).flatmap(lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_no_number_is_broken(rows: list[list[Any]]) -> None:
    """On a terminal of 40 letters, every number of a table of numbers stands whole in a line."""
    columns = [f"measure_{i}" for i in range(len(rows[0]))]
    words = table_text(columns, rows, 40).split()
    for i in range(len(columns)):
        assert set(column_texts([row[i] for row in rows])) <= set(words)


def test_a_pipe_gets_every_row_in_one_line() -> None:
    """Where there is no terminal nothing is wrapped."""
    text = table_text(["case", "n", "words"], [["46", 1.5, "a " * 60], ["TCGA", None, ""]], None)
    assert text.splitlines() == [
        "case      n  words",
        "─" * (4 + 2 + 5 + 2 + 120),
        "46    1.500  " + ("a " * 60).rstrip(),
        "TCGA      –",
    ]


def test_letters_of_two_columns() -> None:
    """A case in Chinese takes two columns a letter."""
    assert table_text(["case", "n"], [["病例", 1], ["46", 20]], 80) == "case   n\n────────\n病例   1\n46    20\n"


def test_a_table_that_is_too_wide_comes_in_parts() -> None:
    """Each part has the first column again, and the parts stand below one another."""
    columns = ["case_id", *(f"a_long_name_{i}" for i in range(4))]
    parts = table_text(columns, [["46", 1.25, 2.5, 3, 4]], 30).split("\n\n")
    assert len(parts) > 1
    assert all(part.splitlines()[-1].startswith("46 ") for part in parts)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with ids as they are in earnest: a TCGA case, slices of long names, and runs of 37 letters."""
    labels = {"TCGA-FW-A3R5": 1, "46": 0, "107": 0, "8": 1}
    patches: list[Patch] = [
        (case, stain, s, i)
        for case in labels
        for stain in ("h&e", "melan", "sox10")
        for s in range(3)
        for i in range(4)
    ]
    store = make_store(tmp_path_factory.mktemp("usual") / "store", labels, patches)
    cases = list(labels)
    splits = [
        {"test": cases[:2], "train": cases[2:3], "val": cases[3:]},
        {"test": cases[2:], "train": cases[:1], "val": cases[1:2]},
    ]
    make_splits(store, "study", splits)
    for i, split in enumerate(splits, start=1):
        subsets = {case: subset for subset, of in split.items() for case in of}
        chances = {case: (0.1 + 0.2 * n, 0.9 - 0.2 * n) for n, case in enumerate(labels)}
        weights = {patch: float(1 + (k * 7 + i) % 13) ** 2 for k, patch in enumerate(patches)}
        make_run(
            store, f"mil-7d8ef8-s{i}-0-20261126t14581{i}-6e1{i}", subsets, labels, chances, levels(weights),
            split_set="study", split=i, n_splits=2, experiment="mil-7d8ef8",
        )  # fmt: skip
    return store


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Let stdout be a terminal of that width."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))


@pytest.mark.parametrize(("name", "width"), crossed(queries.loader.built_in_names(), [80, 120]))
def test_every_question_fits_a_terminal(
    usual: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture, name: str, width: int
) -> None:
    """Of 80 columns and of 120: no line is longer, the table is one, and no number, id or name of a run is broken.

    Each question at one of the two; by `make torture` at both.
    """
    case = ("TCGA-FW-A3R5",) if queries.load(name).wants_case else ()
    result = ask(usual, name, Choice(cases=case))
    assert set(result.shown) <= set(result.columns)
    on_terminal(monkeypatch, width)
    assert main(["query", name, *(f"--case={each}" for each in case), "--all", "--store", str(usual.root)]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert max(map(length, lines)) <= width
    assert len(re.findall(r"^─+$", text, re.MULTILINE)) == 1
    words = set(text.replace(",", " ").split())
    for i, column in enumerate(result.columns):
        if column in result.shown and column not in ("run_id", "run_a", "run_b"):
            column_of = [row[i] for row in result.rows()]
            # What is the same in every row stands above them, once.
            texts = column_texts(column_of) if len(set(map(str, column_of))) > 1 else []
            assert {text for text in texts if re.fullmatch(r"[-<.0-9e]+|TCGA.*", text)} <= words, column
    if {"run_id", "run_a"} & set(result.shown):
        assert "split 2 · seed 0" in text
        assert "mil-7d8ef8-s" not in text.replace("mil-7d8ef8-s1-0-20261126t145811-6e11 and", "")


def test_twenty_rows_and_how_to_see_the_rest(usual: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """A terminal shows 20 rows and says how many more there are; --all and a pipe get all."""
    words = ["query", "coverage", "--store", str(usual.root)]
    assert main(words) == 0
    piped = capsys.readouterr()
    assert (piped.out.count("\n"), piped.err) == (3 + 36, "")
    on_terminal(monkeypatch, 80)
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert (out.count("\n"), err) == (3 + 20, "16 more: --all\n")
    assert main([*words, "--all"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-36:]]
    assert rows == [line.split() for line in piped.out.splitlines()[-36:]]
    assert main(["sql", "select * from coverage", "--store", str(usual.root)]) == 0
    assert capsys.readouterr().err == "52 more: --all\n"


def test_columns_and_wide(usual: Store, capsys: Capture) -> None:
    """--columns gives these columns alone, in any format, with ids as they are; --wide gives all of them."""
    where = ["--store", str(usual.root)]
    assert main(["query", "deviation", "--columns", "error, case_id,run_id", "-f", "csv", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], len(lines)) == ("error,case_id,run_id", 5)
    assert {line.rpartition(",")[2] for line in lines[1:]} == {
        f"mil-7d8ef8-s{i}-0-20261126t14581{i}-6e1{i}" for i in (1, 2)
    }
    assert main(["query", "deviation", "--columns", "run_id", *where]) == 0
    assert "mil-7d8ef8-s2-0-20261126t145812-6e12" in capsys.readouterr().out
    assert main(["query", "deviation", "--wide", *where]) == 0
    head = capsys.readouterr().out.splitlines()[2].split()
    assert set(head) == set(queries.load("deviation").columns) - {"subset"}
    assert main(["query", "deviation", "--columns", "erorr", *where]) == 2
    assert capsys.readouterr().err == "error: the answer has no column 'erorr': did you mean error?\n"
    assert main(["query", "deviation", "--columns", "error", "--wide", *where]) == 2
    assert "leave out --columns" in capsys.readouterr().err


def test_runs_are_told_apart_by_their_ids_where_a_short_name_does_not(
    usual: Store, three: Store, capsys: Capture
) -> None:
    """Runs of different splits are `split 1 · seed 0` and so on; of two runs of one split and seed the ids stand there."""
    assert ask(usual, "provenance").run_names == {
        f"mil-7d8ef8-s{i}-0-20261126t14581{i}-6e1{i}": f"split {i} · seed 0" for i in (1, 2)
    }
    truth = {"2": 1, "10": 0, "46": 0}
    made = levels({("2", "h&e", 0, 0): 1.0, ("10", "h&e", 0, 0): 1.0, ("46", "h&e", 0, 1): 1.0})
    subsets = {"2": "test", "10": "val", "46": "train"}
    make_run(
        three,
        "exp-again",
        subsets,
        truth,
        dict.fromkeys(truth, (0.5, 0.5)),
        made,
        split_set="three",
        split=1,
        n_splits=3,
    )
    assert main(["query", "provenance", "--store", str(three.root)]) == 0
    runs = [line.split()[0] for line in capsys.readouterr().out.splitlines()[-4:]]
    assert sorted(runs) == ["exp-again", "exp-s1-0", "exp-s2-0", "exp-s3-0"]


def test_a_shown_column_that_is_not_there_is_refused() -> None:
    """A header that shows a column which the SQL does not give is named, with the file."""
    text = "-- A.\n-- grain: one row\n-- columns: a, b\n-- shown: a, c\nselect 1 as a, 2 as b order by a"
    with pytest.raises(DataError, match=r"queries/mine\.sql shows column 'c', which is not among its columns"):
        queries.loader.parse("mine", text)


@pytest.mark.parametrize("question", ["concentration", "patch-count", "slice-spread"])
def test_a_correlation_is_told_by_class_above_the_table(
    three: Store, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who looks at the first lines sees each class by itself, with its count, and no figure over both that has no class's sign."""
    assert main(["query", question, "--store", str(three.root)]) == 0
    before, _, _ = capsys.readouterr().out.partition("case_id")
    said = [line for line in before.splitlines() if "ρ" in line]
    of = {
        "concentration": ["top 1", "top 2", "top 3", "top 4", "top 5%"],
        "patch-count": ["top 5%", "all"],
        "slice-spread": ["slices touched", "relative spread"],
    }
    parts = [f"{each}, " for each in of[question]]
    # Of three cases two are benign: they go one way or the other, or have the same count.
    told = [line.replace("ρ = −1.00", "ρ").replace("ρ = 1.00", "ρ").replace("ρ undefined", "ρ") for line in said]
    assert told == [f"{part}{each}" for part in parts for each in ("benign: ρ, 2 cases", "high-grade: ρ, 1 case")]
