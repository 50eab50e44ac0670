"""`milstore.open`: a store as notebooks use it."""

import subprocess
import sys
from pathlib import Path

import altair as alt
import polars as pl
import pytest

import milstore
from milstore.errors import StoreError, UsageError
from milstore.store import Store
from tests.hostile import HOSTILE, hostile_store


def test_importing_milstore_imports_nothing_heavy() -> None:
    """`import milstore` costs no more than Python itself: what a question needs is imported when it is asked."""
    heavy = "{'duckdb', 'pyarrow', 'pandas', 'altair', 'torch', 'sqlalchemy', 'numpy', 'typer', 'vl_convert'}"
    code = f"import sys, milstore; milstore.open; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_answer_comes_in_every_form(three: Store) -> None:
    """Tuples, dictionaries, Arrow, pandas and polars hold the same rows."""
    result = milstore.open(three.root).query("top-patches", case=46, top=1)
    columns = ["case_id", "stain", "slice_idx", "top_patches", "slice_patches"]
    expected = [("46", "h&e", 0, 1, 3)]
    assert [tuple(record[name] for name in columns) for record in result.records()] == expected
    assert [
        tuple(dict(zip(result.columns, row, strict=True))[name] for name in columns) for row in result.rows()
    ] == expected
    assert list(result.df()[columns].itertuples(index=False, name=None)) == expected
    frame = result.pl()
    assert isinstance(frame, pl.DataFrame)
    assert frame.select(columns).rows() == expected
    assert result.arrow().select(columns).to_pylist() == [dict(zip(columns, expected[0], strict=True))]


def test_the_words_that_choose_a_run_are_those_of_the_command(three: Store) -> None:
    """run, subset and a list of cases narrow the answer as --run, --subset and --case do."""
    store = milstore.open(three.root)
    both = store.query("deviation", case=["2", "046"], subset="all", run="exp-s1")
    assert [(row["run_id"], row["case_id"], row["subset"]) for row in both.records()] == [
        ("exp-s1-0", "46", "train"),
        ("exp-s1-0", "2", "test"),
    ]


def test_runs_and_sql_answer(three: Store) -> None:
    """The finished runs, oldest first; and any statement that reads."""
    store = milstore.open(three.root)
    assert [row["run_id"] for row in store.runs().records()] == ["exp-s1-0", "exp-s2-0", "exp-s3-0"]
    assert store.sql("select count(*) as n from cases").rows() == [(3,)]
    with pytest.raises(UsageError):
        store.sql("drop table cases")


def test_a_chart_is_an_altair_chart(three: Store) -> None:
    """`plot` gives what a notebook shows of itself, and what can be changed further."""
    chart = milstore.open(three.root).plot("recall")
    assert isinstance(chart, alt.TopLevelMixin)


def test_every_question_is_listed(three: Store) -> None:
    """`questions` gives name and title of each."""
    assert milstore.open(three.root).questions()["misclassified"].startswith("Which cases are called wrong")


def test_an_answer_shows_itself_escaped(tmp_path: Path) -> None:
    """In a notebook, a case id that is markup appears as text."""
    store = milstore.open(hostile_store(tmp_path).root)
    html = store.query("misclassified")._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;/script&gt;&lt;script&gt;window.hacked=1&lt;/script&gt;" in html
    assert HOSTILE[1].replace("<", "&lt;").replace(">", "&gt;") in html


def test_long_answers_show_their_first_rows(three: Store) -> None:
    """A notebook shows twenty rows, and says how many there are."""
    html = milstore.open(three.root).sql("select range as n from range(50)")._repr_html_()
    assert (html.count("<tr>"), html.endswith("<p>… 30 more of 50 rows</p>")) == (21, True)


def test_no_store_is_an_error_in_one_line(tmp_path: Path) -> None:
    """A folder that is no store is named."""
    with pytest.raises(StoreError, match="there is no store at"):
        milstore.open(tmp_path)
