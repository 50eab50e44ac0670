"""What a question may consist of is on a list, and everything that DuckDB knows stands there as allowed or refused."""

from importlib.metadata import version
from pathlib import Path

import duckdb
import pytest

from milstore import queries
from milstore.asking.allowed import REASONS, sections, verdict
from milstore.asking.ask import ask, ask_sql, connect_walled
from milstore.asking.checking import check_foreign
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.sql_text import with_variables
from tests.test_layout import ROOT

KIND_OF = {"table_macro": "table"}
"""DuckDB's kinds of functions that go by another name in the lists."""


def known() -> list[tuple[str, str]]:
    """Every function and type of the installed DuckDB, with its kind."""
    con = duckdb.connect()
    functions = con.execute("select distinct function_name, function_type from duckdb_functions()").fetchall()
    types = con.execute("select distinct lower(type_name), 'type' from duckdb_types()").fetchall()
    return sorted((name, KIND_OF.get(kind, kind)) for name, kind in functions + types)


def listed(name: str, kind: str) -> bool:
    """Whether a list has a name. The functions over windows were aggregates in DuckDB 1."""
    return any(verdict(name, each) for each in ((kind, "window") if kind == "aggregate" else (kind,)))


def test_every_function_and_type_is_allowed_or_refused() -> None:
    """No function or type of the installed DuckDB is unknown to milstore: allowed.txt names each as one or the other."""
    names = known()
    assert len(names) > 900
    assert [f"{kind} {name}" for name, kind in names if not listed(name, kind)] == []


def test_the_lists_say_why() -> None:
    """Each section is headed by `allowed` or by a word that has a sentence, and each kind allows something."""
    words = {word for section in sections().values() for word in section.values()}
    assert words == {"allowed", *REASONS}
    assert {kind for kind, section in sections().items() if "allowed" not in section.values()} == {"pragma"}


@pytest.mark.parametrize(
    ("name", "kinds", "said"),
    [
        ("abs", ["scalar"], "allowed"),
        ("IS DISTINCT FROM", ["scalar"], "allowed"),
        ("icu_collate_de", ["scalar"], "allowed"),
        ("variant_anything", ["scalar"], "crashes"),
        ("__anything", ["scalar", "macro"], "internal"),
        ("histogram", ["aggregate", "table"], "allowed"),
        ("write_log", ["scalar", "aggregate"], "writes"),
        ("anything", ["scalar", "macro", "aggregate", "window"], ""),
        ("SELECT_NODE", ["part"], "allowed"),
        ("INSERT_QUERY_NODE", ["part"], ""),
    ],
)
def test_a_name_is_allowed_refused_or_unknown(name: str, kinds: list[str], said: str) -> None:
    """A verdict is `allowed`, the word that heads the section, or nothing for a name on no list."""
    assert verdict(name, *kinds) == said


def test_a_name_that_one_list_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allowed as an aggregate and refused as a function is refused."""
    monkeypatch.setitem(sections()["scalar"], "sum", "writes")
    assert verdict("sum", "scalar", "aggregate") == "writes"


@pytest.mark.parametrize("section", ["scalar", "aggregate", "table", "part", "type"])
def test_what_is_taken_from_the_list_is_refused(three: Store, monkeypatch: pytest.MonkeyPatch, section: str) -> None:
    """Nothing is allowed but by the list: without its line, the statement that was answered is refused."""
    sql = "select max(upper(a::varchar)) from range(3) t(a)"
    name = {"scalar": "upper", "aggregate": "max", "table": "range", "part": "SELECT_NODE", "type": "varchar"}[section]
    assert ask_sql(three, sql).rows() == [("2",)]
    monkeypatch.delitem(sections()[section], name)
    with pytest.raises(UsageError, match=r"is on no list|a part of this one does more"):
        ask_sql(three, sql)


def test_milstores_own_questions_pass_the_check(three: Store) -> None:
    """Every question that comes with milstore consists of what a group's own may consist of."""
    walled = connect_walled(three)
    walled.do(lambda con: con.execute("create temp table selection as select run_id, case_id, subset from predictions"))
    names = queries.available()
    assert len(names) > 20
    for name in names:
        query = queries.load(name)
        text = with_variables(query.sql, [parameter.name for parameter in query.parameters])
        walled.do(lambda con, text=text: check_foreign(con, text))  # type: ignore[misc]


HONEST = [
    "from cases limit 50%",
    "select * exclude (label), columns('lab.*') from cases where label between 0 and 1 order by all",
    "select label, count(*), grouping(label) from cases group by rollup (label) having count(*) > 0",
    "select case_id, row_number() over w, lag(case_id) over w, rank() over w, sum(label) over w, first_value(label) over w, "
    "ntile(2) over w from cases window w as (order by case_id rows between 1 preceding and current row) qualify true",
    "select count(*) filter (where label = 1), string_agg(case_id, ',' order by case_id), quantile_cont(label, 0.5) from cases",
    "with recursive t as (select 1 as a union all select a + 1 from t where a < 3) select max(a) from t",
    "with a(x) as materialized (values (1), (2)) from a join a b using (x) left join a c on c.x = a.x semi join a d on d.x = a.x",
    "from cases asof join cases c on cases.label >= c.label",
    "from cases positional join cases c",
    "(select 1 as a union all by name select 2 as a) except (select 3 intersect select 1)",
    "pivot cases on label in (0, 1) using count(*)",
    "unpivot (select 1 as a, 2 as b) on a, b",
    "select list_transform([1], lambda x: x + 1), [y for y in [1] if y > 0], list_reduce([1, 2], lambda a, b: a + b)",
    "select [1, 2][1:2], {'a': 1}.a, map {'a': 1}['a'], (1, 2), 'a'[1], struct_pack(b := 1)",
    "select '{\"a\": [1]}'::json -> 'a', '{\"a\": 1}' ->> '$.a', json_extract('[1]', '$[0]'), to_json({'a': 1})",
    "select 1::decimal(3, 2)::varchar, [1]::int[], '1'::int128, try_cast('x' as uuid)",
    "select case when true then 1 else 2 end, coalesce(null, 1), nullif(1, 2), if(true, 1, 2), 1 is distinct from 2, not true",
    "select date '2020-01-01' + interval 3 month, extract(year from now()), current_date, strftime(timestamp '2020-01-01', '%Y')",
    "select 'a' ilike 'A', 'a' not like 'b', 'a' similar to 'a', 'ab' ^@ 'a', 'a' || 'b', 'a' collate nocase = 'A', 'a' glob 'a*'",
    "select exists (from cases), 1 in (select 1), 1 = any (select 1), (select count(*) from runs)",
    "select unnest([1, 2]), list_aggr([1, 2], 'sum'), list_sum([1, 2]), array_to_string(['a'], ',')",
    "from range(3) t(i), lateral (select i + 1)",
    "from json_each('{\"a\": 1}')",
    "from query_table(['cases', 'cases'])",
    "from histogram(cases, label)",
    "select count(*) from cases tablesample reservoir (2)",
    "select distinct on (label) case_id from cases order by label, case_id",
    "from information_schema.tables",
    "from duckdb_columns() select count(*)",
    "from pragma_table_info('cases')",
    "show cases",
    "show databases",
    "show all tables",
    "summarize cases",
    "explain analyze select 1",
    "\n  EXPLAIN\n  select 'ääääää' -- ö",
    "explain with a as (select 1) from a",
    "table cases",
    "select $$a text$$, e'\\n', x.label from main.cases x",
    "from memory.main.cases",
]  # fmt: skip


@pytest.mark.parametrize("sql", HONEST)
def test_honest_questions_are_answered(three: Store, sql: str) -> None:
    """What people ask of a study is answered: the lists hold all that reading needs."""
    assert ask_sql(three, sql).rows() is not None


def test_what_runs_is_what_was_checked(three: Store) -> None:
    """A group's own question is checked as it runs, with its parameters' places taken."""
    (three.root / "queries").mkdir()
    head = "-- Mine.\n-- grain: one row\n-- param pct text = 'x': a text\n-- columns: n\n"
    for name, text in {
        "good": "select 'ääää' || $pct as n -- ääää $pct\n",
        "bad": "select 'ääää' || write_log($pct) as n -- ääää\n",
    }.items():
        (three.root / "queries" / f"{name}.sql").write_text(head + text, encoding="utf-8")
    assert ask(three, "good", values={"pct": "o'x"}).rows() == [("ääääo'x",)]
    with pytest.raises(UsageError, match="write_log"):
        ask(three, "bad", values={"pct": "x"})


def test_a_groups_question_may_use_the_selection(three: Store) -> None:
    """The table `selection` is there for a group's own question, which sees what was chosen."""
    (three.root / "queries").mkdir()
    text = "-- Mine.\n-- grain: one row a case\n-- columns: case_id\nselect case_id from selection order by case_id\n"
    (three.root / "queries" / "mine.sql").write_text(text, encoding="utf-8")
    assert ask(three, "mine").rows() == [("10",), ("2",), ("46",)]


def test_reading_a_file_names_the_views(three: Store) -> None:
    """read_parquet is refused inside the store too, and the message says what to ask instead."""
    with pytest.raises(UsageError, match=r"read_parquet.*the tables of docs/schema\.md are the views to ask"):
        ask_sql(three, f"from read_parquet('{three.root}/cohort/*.parquet')")


def test_the_tested_duckdb_is_pinned() -> None:
    """The lists were recorded for a range of versions, of which constraints.txt names the one that the tests ran with."""
    pinned = [line for line in Path(ROOT / "constraints.txt").read_text("utf-8").splitlines() if line[:6] == "duckdb"]
    assert pinned == ["duckdb==1.5.6"]
    assert '"duckdb>=1.5.6,<2.1"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert (1, 5, 6) <= tuple(int(part) for part in version("duckdb").split(".")[:3]) < (2, 1)
