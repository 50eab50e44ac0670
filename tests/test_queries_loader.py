"""Every question's file keeps what its header promises."""

from pathlib import Path

import pytest

from milstore import queries
from milstore.asking.ask import analysis_function
from milstore.asking.selection import Choice, select
from milstore.errors import DataError, UsageError
from milstore.queries.loader import REQUIRED, built_in_names
from milstore.store import Store
from milstore.store.sql_text import execute
from milstore.store.views import connect

HEADER = "-- What is asked.\n-- grain: one row\n-- columns: a\n"


@pytest.mark.parametrize("name", built_in_names())
def test_the_header_says_what_the_sql_takes_and_gives(three: Store, name: str) -> None:
    """Parameters and columns of the header are those that DuckDB finds, and each named function exists."""
    query = queries.load(name)
    con = connect(three)
    select(con, three, Choice())
    statements = con.extract_statements(query.sql)
    assert len(statements) == 1
    assert {parameter.name for parameter in query.parameters} == set(statements[0].named_parameters)
    guess = {"text": "2", "integer": 1, "double": 1.0, "boolean": False}
    values = {p.name: guess[p.kind] if p.default is REQUIRED else p.default for p in query.parameters}
    columns = tuple(column[0] for column in execute(con, query.sql, values).description or [])
    assert columns == query.columns
    for function in (query.then, query.report):
        assert function is None or callable(analysis_function(function))


@pytest.mark.parametrize("name", built_in_names())
def test_a_question_is_written_in_one_manner(name: str) -> None:
    """One file is one statement, ordered at its end, in lower case, with a prose line that is no longer than a line."""
    query = queries.load(name)
    code = "\n".join(line for line in query.sql.splitlines() if not line.lstrip().startswith("--"))
    assert "order by" in code.rpartition(")")[2] or "order by" in code.splitlines()[-1] or "\norder by" in code
    assert "SELECT" not in code
    assert len(query.title) <= 120


def test_a_parameter_is_read_with_type_default_and_range() -> None:
    """Type, default, range and help of a parameter come from its line."""
    query = queries.parse(
        "x", HEADER + "-- param pct double = 5 [0, 100]: the share\n-- param stain text: the stain\nselect $pct, $stain"
    )
    pct, stain = query.parameters
    assert (pct.kind, pct.default, pct.low, pct.high, pct.help) == ("double", 5.0, 0, 100, "the share")
    assert (stain.kind, stain.default, stain.low) == ("text", REQUIRED, None)
    assert query.bind({"stain": "melan"}) == {"pct": 5.0, "stain": "melan"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "query x needs --stain: the stain"),
        ({"stain": "a", "pct": 101}, r"pct is 101: it must lie in \[0, 100\]"),
        ({"stain": "a", "pct": "much"}, "pct is 'much', not of type double"),
        ({"stain": "a", "pct": float("nan")}, "pct is nan: it must lie in"),
        ({"stain": "a", "slide": 1}, "query x has no parameter 'slide': it has pct, stain"),
    ],
)
def test_unfit_values_are_one_line(values: dict[str, object], message: str) -> None:
    """A missing, unknown or unfit parameter is named."""
    query = queries.parse(
        "x", HEADER + "-- param pct double = 5 [0, 100]: the share\n-- param stain text: the stain\nselect 1"
    )
    with pytest.raises(UsageError, match=message):
        query.bind(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select 1", "has no line '-- grain: …'"),
        ("-- grain: a\n-- columns: a\nselect 1", "does not say in its first line what it answers"),
        (HEADER + "-- param pct number = 5: x\nselect 1", "has a parameter that cannot be read"),
        (HEADER + "-- param pct double = five: x\nselect 1", "a default or range that is not double"),
        (HEADER + "-- param a text: x\n-- param a text: y\nselect 1", "declares a parameter twice"),
        (HEADER + "-- then: os.system\nselect 1", "names a function: a store's own questions are SQL alone"),
    ],
)
def test_a_broken_header_is_one_line(text: str, message: str) -> None:
    """A header that cannot be read names its file and what to write."""
    with pytest.raises(DataError, match=message):
        queries.parse("x", text, built_in=False)


def test_an_unknown_question_offers_the_nearest() -> None:
    """A typo is answered with the names that are near."""
    with pytest.raises(UsageError, match="there is no query 'top-patchs': did you mean top-patches"):
        queries.load("top-patchs")


def test_a_store_brings_its_own_questions(tmp_path: Path) -> None:
    """Files of the store's own folder are questions; milstore's own names are not replaced."""
    (tmp_path / "mine.sql").write_text(HEADER + "select 1 as a order by a", encoding="utf-8")
    (tmp_path / "top-patches.sql").write_text(HEADER + "select 1 as a order by a", encoding="utf-8")
    (tmp_path / "Bad Name.sql").write_text("", encoding="utf-8")
    assert set(queries.available(tmp_path)) == {*queries.available(), "mine"}
    assert queries.load("top-patches", tmp_path).built_in
    assert not queries.load("mine", tmp_path).built_in
