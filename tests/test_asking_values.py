"""What an answer says is what DuckDB holds: every type, in every form in which an answer is given."""

import csv
import io
import json
import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import milstore
from milstore.asking.fetching import as_text, distinct, fetch_rows, fetch_table
from milstore.cli.main import main
from milstore.store import Store
from tests.crossing import WHOLE
from tests.ingesting import new_store

HUGE = 170141183460469231731687303715884105727


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An empty store: these answers come from the statements alone."""
    return new_store(tmp_path_factory.mktemp("values"))


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, as it is."""
    with duckdb.connect() as con:
        yield con


def printed(store: Store, sql: str, format_: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `milstore sql` prints."""
    assert main(["sql", sql, "--store", str(store.root), "--format", format_]) == 0
    return capsys.readouterr().out


def as_csv(store: Store, sql: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The rows of the CSV that is printed."""
    return list(csv.reader(io.StringIO(printed(store, sql, "csv", capsys))))


# The value, its text, and what JSON has.
ONE_OF_EACH: dict[str, tuple[str, Any]] = {
    "interval 3 month": ("3 months", "3 months"),
    "interval '1 year 2 days -3.5 seconds'": ("1 year 2 days -00:00:03.5", "1 year 2 days -00:00:03.5"),
    "170141183460469231731687303715884105727::hugeint": (str(HUGE), HUGE),
    "340282366920938463463374607431768211455::uhugeint": (str(2 * HUGE + 1), 2 * HUGE + 1),
    "18446744073709551615::ubigint": ("18446744073709551615", 18446744073709551615),
    "12345678901234567890123456789012345.678::decimal(38, 3)": ("12345678901234567890123456789012345.678",) * 2,
    "123456789012345678901234567890::bignum": ("123456789012345678901234567890",) * 2,
    "date 'infinity'": ("infinity", "infinity"),
    "date '-infinity'": ("-infinity", "-infinity"),
    "date '9999-12-31'": ("9999-12-31", "9999-12-31"),
    "date '20000-01-01'": ("20000-01-01", "20000-01-01"),
    "date '0044-03-15 (BC)'": ("0044-03-15 (BC)", "0044-03-15 (BC)"),
    "timestamp 'infinity'": ("infinity", "infinity"),
    "timestamptz '-infinity'": ("-infinity", "-infinity"),
    "'2020-01-01 00:00:00.123456789'::timestamp_ns": ("2020-01-01 00:00:00.123456789",) * 2,
    "'2020-01-01 00:00:00.123'::timestamp_ms": ("2020-01-01 00:00:00.123000",) * 2,
    "'2020-01-01 00:00:01'::timestamp_s": ("2020-01-01 00:00:01",) * 2,
    "'12:34:56+05:30'::timetz": ("12:34:56+05:30", "12:34:56+05:30"),
    "'12:34:56.123456789'::time_ns": ("12:34:56.123456789", "12:34:56.123456789"),
    "time '24:00:00'": ("24:00:00", "24:00:00"),
    "'x'::enum('x', 'y')": ("x", "x"),
    "'550e8400-e29b-41d4-a716-446655440000'::uuid": ("550e8400-e29b-41d4-a716-446655440000",) * 2,
    r"'\x00\xFFa'::blob": (r"\x00\xFFa", r"\x00\xFFa"),
    "'10101'::bit": ("10101", "10101"),
    "'nan'::double": ("nan", None),
    "'-inf'::float": ("-inf", None),
    "['nan'::double, 1]": ("[nan, 1.0]", [None, 1.0]),
    "[interval 1 month, null]": ("['1 month', None]", ["1 month", None]),
    "{'a': 1, 'b': interval 1 month}": ("{'a': 1, 'b': '1 month'}", {"a": 1, "b": "1 month"}),
    "[{'q': [date 'infinity']}]": ("[{'q': ['infinity']}]", [{"q": ["infinity"]}]),
    "{'i': interval 1 month, 'd': date 'infinity'}": ("{'i': '1 month', 'd': 'infinity'}",
                                                     {"i": "1 month", "d": "infinity"}),
    "map {date '2020-01-01': interval 1 month}": ("{'2020-01-01': '1 month'}", {"2020-01-01": "1 month"}),
    "map {1: 'a'}": ("{'1': 'a'}", {"1": "a"}),
    "array[1, 2]::int[2]": ("[1, 2]", [1, 2]),
    "row(1, interval 1 month)": ("(1, 1 month)", "(1, 1 month)"),
    "union_value(num := 2)": ("2", 2),
    "union_value(i := interval 1 month)": ("1 month", "1 month"),
    "'{\"a\": 1}'::json": ('{"a": 1}', '{"a": 1}'),
    "true": ("True", True),
    "''": ("", ""),
    "null::interval": ("", None),
}  # fmt: skip


VALUES = [[value] for value in ONE_OF_EACH] if WHOLE else [[*ONE_OF_EACH][first::5] for first in range(5)]
"""Values that are asked for together: each alone by `make torture`."""


def asked(values: list[str]) -> str:
    """A statement that gives them in a row, beside another column."""
    return f"select 1 as n, {', '.join(f'{value} as v{i}' for i, value in enumerate(values))}"


@pytest.mark.parametrize("values", VALUES)
def test_every_type_is_whole_in_csv_and_json(
    values: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed of a value is all of it, beside other columns that stay as they are."""
    sql = f"{asked(values)}; -- é;"
    names = ["n", *(f"v{i}" for i in range(len(values)))]
    assert as_csv(store, sql, capsys) == [names, ["1", *(ONE_OF_EACH[value][0] for value in values)]]
    plain = dict(zip(names, [1, *(ONE_OF_EACH[value][1] for value in values)], strict=True))
    assert json.loads(printed(store, sql, "json", capsys)) == [plain]


@pytest.mark.parametrize("values", VALUES)
def test_every_type_is_whole_in_parquet(
    values: list[str],
    store: Store,
    tmp_path: Path,
    con: duckdb.DuckDBPyConnection,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """DuckDB reads from the Parquet file what it would have said itself, and pandas takes the answer."""
    sql, path = asked(values), tmp_path / "v.parquet"
    assert main(["sql", sql, "--store", str(store.root), "--format", "parquet", "-o", str(path)]) == 0
    capsys.readouterr()
    wanted = con.execute(f"select columns(*)::varchar from ({sql})").fetchall()
    assert con.execute(f"select columns(*)::varchar from read_parquet('{path}')").fetchall() == wanted
    frame = milstore.open(store.root).sql(sql).df()
    assert list(frame.columns) == ["n", *(f"v{i}" for i in range(len(values)))]


@pytest.mark.parametrize("format_", ["table", "markdown"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("interval 3 month", "3 months"),
        ("date 'infinity'", "infinity"),
        (r"'\x41\x00'::blob", r"A\x00"),
        ("[interval 1 month]", "['1 month']"),
        ("340282366920938463463374607431768211455::uhugeint", str(2 * HUGE + 1)),
    ],
)
def test_people_read_it_too(
    value: str, shown: str, format_: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table has the text of a value that Python has no like of."""
    cells = printed(store, f"select {value} as v", format_, capsys).replace("\\\\", "\\")
    assert shown in cells


def test_python_gets_the_same(store: Store) -> None:
    """Records, rows, Arrow, pandas and a notebook's page have the interval as text; dates that Python has are dates."""
    result = milstore.open(store.root).sql("select interval 3 month as i, date '2020-01-02' as d")
    record = {"i": "3 months", "d": date(2020, 1, 2)}
    assert result.records() == [record]
    assert result.arrow().to_pylist() == [record]
    assert result.df().to_dict("records") == [record]
    assert "<td>3 months</td><td>2020-01-02</td>" in result._repr_html_()


def test_a_column_with_infinity_is_text_throughout(store: Store) -> None:
    """One infinite date makes a column text; the order of the rows stays, and another column of dates stays dates."""
    sql = (
        "select d, date '2020-01-01' as e from (values (date 'infinity'), (date '2020-01-01')) as t(d) order by d desc"
    )
    wanted = [("infinity", date(2020, 1, 1)), ("2020-01-01", date(2020, 1, 1))]
    result = milstore.open(store.root).sql(sql)
    assert result.rows() == wanted
    assert [tuple(row.values()) for row in result.arrow().to_pylist()] == wanted


def test_whole_numbers_stay_whole_beside_nulls_in_pandas(store: Store) -> None:
    """A number that a float cannot hold is not rounded because another row has none."""
    result = milstore.open(store.root).sql("select 9007199254740993 as n, 1 as m union all select null, null")
    frame = result.df()
    assert sorted(frame["n"].dropna().tolist()) == [9007199254740993]
    assert frame["m"].dtype == float


# --- names ------------------------------------------------------------------------------------------------------------


def test_json_keeps_both_columns_of_one_name(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns of one name get the names that DuckDB gives them in a table, and that is said."""
    sql = "select 1 as a, 2 as a, 3 as A, 4 as a_1"
    assert main(["sql", sql, "--store", str(store.root), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"a": 1, "a_1": 2, "A_2": 3, "a_1_1": 4}]
    assert err == "note: columns of one name are renamed: a is a_1, A is A_2, a_1 is a_1_1\n"


@pytest.mark.parametrize("format_", ["csv", "table", "markdown", "parquet"])
def test_every_format_says_that_columns_are_renamed(
    format_: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names are distinct in every format."""
    where = ["-o", str(tmp_path / "t.parquet")] if format_ == "parquet" else []
    sql = "select 1 as a, 2 as a"
    assert main(["sql", sql, "--store", str(store.root), "--format", format_, *where]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == "note: columns of one name are renamed: a is a_1"
    names = pq.read_schema(tmp_path / "t.parquet").names if format_ == "parquet" else out.split()
    assert [name for name in names if "a" in name] in (["a", "a_1"], ["a,a_1"])


def test_python_gets_distinct_names(store: Store) -> None:
    """Records, Arrow and pandas lose no column, and the answer's notes say what was renamed, once."""
    result = milstore.open(store.root).sql("select 1 as a, 2 as a")
    assert result.records() == [{"a": 1, "a_1": 2}]
    assert result.arrow().to_pylist() == [{"a": 1, "a_1": 2}]
    assert result.df().to_dict("records") == [{"a": 1, "a_1": 2}]
    assert result.notes == ["columns of one name are renamed: a is a_1"]


NAMES = st.lists(st.sampled_from(["a", "A", "a_1", "A_1", "a_2", "a_1_1", "é", "É", "b", "ß", "K"]), max_size=12)


@settings(deadline=None)
@given(NAMES.filter(len))
def test_names_are_those_that_duckdb_gives(con: duckdb.DuckDBPyConnection, names: list[str]) -> None:
    """Whatever the names are, they become what DuckDB calls the columns of a table that is made so."""
    chosen = ", ".join(f'{i} as "{name}"' for i, name in enumerate(names))
    made = con.execute(f"select * from (select {chosen})").df().columns
    assert distinct(names) == list(made)


# --- what is written --------------------------------------------------------------------------------------------------


def test_csv_tells_an_empty_text_from_a_missing_value(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty text stands in quotes, and a row of one missing value is a row."""
    sql = """select * from (values ('', null), (null, 'a"b,c')) as t(x, y)"""
    assert printed(store, sql, "csv", capsys) == 'x,y\n"",\n,"a""b,c"\n'
    assert printed(store, "select null as x", "csv", capsys) == 'x\n""\n'


def test_json_says_what_it_cannot_hold(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """NaN and infinity are null in JSON, wherever they stand, and are counted."""
    sql = "select 'nan'::double as x, ['inf'::double, 1] as y, null as z"
    assert main(["sql", sql, "--store", str(store.root), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"x": None, "y": [None, 1.0], "z": None}]
    assert err == "note: 2 values that JSON lacks (NaN, infinity) stand there as null: --format csv keeps them\n"


@settings(deadline=None)
@given(st.binary(max_size=8))
def test_bytes_are_written_as_duckdb_does(con: duckdb.DuckDBPyConnection, data: bytes) -> None:
    """The text of bytes is DuckDB's, and reads back as these bytes."""
    text, back = con.execute("select $1::blob::varchar, $2::varchar::blob", [data, as_text(data)]).fetchall()[0]
    assert as_text(data) == text
    assert back == data


@settings(deadline=None)
@given(
    st.integers(-9000, 9000),
    st.integers(-100_000, 100_000),
    st.integers(-(10**14), 10**14),
    st.sampled_from(["{}", "[{}]", "{{'a': {}}}", "map {{'k': {}}}"]),
)
def test_an_interval_is_read_back(
    con: duckdb.DuckDBPyConnection, months: int, days: int, micros: int, form: str
) -> None:
    """Any interval, nested or not, is the text that DuckDB reads as the same interval."""
    interval = f"to_months({months}) + to_days({days}) + to_microseconds({micros})"
    sql = f"select {form.format(interval)} as v"
    value = fetch_rows(lambda put: con.execute(put(sql)))[1][0][0]
    table = fetch_table(lambda put: con.execute(put(sql))).to_pylist()[0]["v"]
    while isinstance(value, list | dict):
        value, table = (value[0], table[0]) if isinstance(value, list) else next(iter(_pairs(value, table)))
    wanted = con.execute(f"select ({interval})::varchar").fetchall()[0][0]
    same = con.execute(f"select '{value}'::interval = {interval}").fetchall()[0][0]
    assert (value, table, same) == (wanted, wanted, True)


def _pairs(value: dict[str, Any], table: Any) -> Any:
    """The only value of a struct or a map, as Python and as Arrow have it."""
    return [(next(iter(value.values())), dict(table)[key]) for key in value]


def test_a_plain_answer_is_computed_once(con: duckdb.DuckDBPyConnection) -> None:
    """Only what would be lost is asked for again."""
    told = []

    def run(put: Any) -> Any:
        told.append(put("select 1 as a"))
        return con.execute(put("select 1 as a, 'x' as b, now() as c, [1.5::double] as d"))

    rows = fetch_rows(run)[1]
    table = fetch_table(run)
    assert len(told) == 2
    assert rows[0][:2] == (1, "x")
    assert math.isclose(table.column("d").to_pylist()[0][0], 1.5)
