"""Foreign SQL reads the store, and does nothing else."""

from pathlib import Path

import pytest

from milstore.asking import watchdog
from milstore.asking.ask import ask_sql
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.schema.columns import DERIVED, known_tables
from milstore.store import Store
from tests.crossing import crossed
from tests.forking import fork
from tests.making import three_case_store
from tests.test_store_cohort import snapshot

READS_ONLY = "only statements that read are taken"
RUNS_A_TEXT = "it takes a text for SQL"
NO_FILES = "it looks into files itself"
SETTINGS = "it tells or makes settings"
CRASHES = "it can end the whole process"
WRITES = "(…) is not taken: it writes"

ATTACKS = [
    ("create table x (a int)", READS_ONLY),
    ("create temp table x as select 1", READS_ONLY),
    ("create view x as select 1", READS_ONLY),
    ("create or replace macro f(a) as a", READS_ONLY),
    ("create secret s (type s3)", READS_ONLY),
    ("create type t as enum ('a')", READS_ONLY),
    ("create schema s", READS_ONLY),
    ("create sequence s", READS_ONLY),
    ("insert into cases values ('x', 0, 0, 'b', '1')", READS_ONLY),
    ("update cases set label = 1", READS_ONLY),
    ("delete from cases", READS_ONLY),
    ("drop view cases", READS_ONLY),
    ("alter view cases rename to c", READS_ONLY),
    ("truncate cases", READS_ONLY),
    ("merge into cases using cases c on true when matched then delete", READS_ONLY),
    ("copy cases to '{root}/cases.csv'", READS_ONLY),
    ("copy (select 1) to '/tmp/milstore-out.csv'", READS_ONLY),
    ("copy cases from '{root}/x.csv'", READS_ONLY),
    ("with a as (copy (select 1) to '{root}/x.csv') select 1", f"CTE|{READS_ONLY}"),
    ("with a as (insert into cases values (1) returning 1) select * from a", f"CTE|{READS_ONLY}"),
    ("explain analyze create table x (a int)", READS_ONLY),
    ("explain analyze copy (select 1) to '{root}/x.csv'", READS_ONLY),
    ("explain explain copy (select 1) to '{root}/x.csv'", f"syntax error|{READS_ONLY}"),
    ("/* a */ explain -- b\n analyze copy (select 1) to '{root}/x.csv'", READS_ONLY),
    ("export database '{root}/dump'", READS_ONLY),
    ("import database '{root}/dump'", f"Cannot open file|{READS_ONLY}"),
    ("attach ':memory:' as m", READS_ONLY),
    ("attach '{root}/milstore.duckdb' as m", READS_ONLY),
    ("detach memory", READS_ONLY),
    ("use memory", READS_ONLY),
    ("install httpfs", READS_ONLY),
    ("load httpfs", READS_ONLY),
    ("set threads = 1", READS_ONLY),
    ("set enable_external_access = true", READS_ONLY),
    ("reset lock_configuration", READS_ONLY),
    ("set variable x = 1", READS_ONLY),
    ("pragma database_list", READS_ONLY),
    ("pragma enable_profiling", READS_ONLY),
    ("call pragma_version()", READS_ONLY),
    ("call force_checkpoint()", READS_ONLY),
    ("checkpoint", READS_ONLY),
    ("vacuum", READS_ONLY),
    ("analyze", READS_ONLY),
    ("begin transaction", READS_ONLY),
    ("commit", READS_ONLY),
    ("prepare p as select 1", READS_ONLY),
    ("execute question", READS_ONLY),
    ("deallocate question", READS_ONLY),
    ("comment on view cases is 'x'", READS_ONLY),
    ("select 1; drop view cases", "one statement is taken, these are 2"),
    ("select 1; select 2", "one statement is taken, these are 2"),
    ("", "one statement is taken, these are 0"),
    ("-- nothing", "one statement is taken, these are 0"),
    ("selec 1", "syntax error"),
    ("select * from read_csv('/etc/passwd')", NO_FILES),
    ("select * from '/etc/passwd'", "does not exist"),
    ("from read_text('/etc/hostname')", NO_FILES),
    ("from read_blob('/etc/hostname')", NO_FILES),
    ("from glob('/etc/*')", NO_FILES),
    ("from read_text('{root}/../outside.txt')", NO_FILES),
    ("from read_parquet('{root}/link/x.parquet')", NO_FILES),
    ("from read_json('/proc/self/environ')", NO_FILES),
    ("select * from 'https://example.org/x.parquet'", "does not exist"),
    ("from read_parquet('s3://bucket/x.parquet')", NO_FILES),
    ("from sqlite_scan('/tmp/x.db', 't')", "sqlite_scan"),
    ("from query('drop view cases')", RUNS_A_TEXT),
    ("from query('select * from read_text(''/etc/hostname'')')", RUNS_A_TEXT),
    ("from main.\"QUERY\"('select 1')", RUNS_A_TEXT),
    ("select (from query('select 1'))", RUNS_A_TEXT),
    (
        "from json_execute_serialized_sql(json_serialize_sql('with a as (copy (select 1) to ''{root}/x.csv'') select 1'))",
        RUNS_A_TEXT,
    ),
    ("with a as (from json_execute_serialized_sql('{}')) from a", RUNS_A_TEXT),
    ("pragma json_execute_serialized_sql('{}')", "Error parsing json|Malformed JSON|only statements"),
    ("from query_table('/etc/passwd')", "does not exist"),
    ("from query_table(['cases', '/etc/passwd'])", "does not exist"),
    ("from sniff_csv('/etc/passwd')", NO_FILES),
    ("from parquet_metadata('/etc/passwd')", NO_FILES),
    ("from read_duckdb('/tmp/x.duckdb')", f"{NO_FILES}|read_duckdb"),
    ("from read_csv('file:///etc/passwd')", NO_FILES),
    ("from read_blob('{root}/runs/../../../../../etc/passwd')", NO_FILES),
    ("from glob('{root}/../*')", NO_FILES),
    ("from duckdb_secrets()", SETTINGS),
    ("from which_secret('s3://bucket/x', 's3')", SETTINGS),
    ("from duckdb_extensions()", SETTINGS),
    ("from force_checkpoint()", WRITES),
    ("describe select * from read_csv('/etc/passwd')", NO_FILES),
    ("explain analyze select * from read_csv('/etc/passwd')", NO_FILES),
    ("explain prepare p as copy cases to '{root}/x.csv'", READS_ONLY),
    ("call sniff_csv('/etc/passwd')", READS_ONLY),
    ("set global allowed_directories = ['/']", READS_ONLY),
    ("force install httpfs", READS_ONLY),
    ("update cases set label = 1 returning *", READS_ONLY),
    ("select * from (insert into cases values (1) returning *)", "syntax error"),
    ("(select 1) union (copy (select 1) to '{root}/x.csv')", "syntax error"),
    ("copy from database memory to x", f"one statement is taken|{READS_ONLY}"),
    ("select x'00' || getenv('HOME')", "getenv"),
    ("select nextval('s')", "nextval(…) is not taken"),
    ("select repeat('x', 100000000000)", "Cannot create a string"),
    ("select * from range(1000000000)", "took longer than"),
    ("select getenv('HOME')", "getenv"),
    ("from python_variable", "does not exist"),
    ("pivot cases on label using count(*)", "PIVOT is not taken"),
    ("with recursive t as (select 1 as a union all select a + 1 from t) select count(*) from t", "took longer than"),
    ("select count(*) from range(1000000000000) a, range(1000000) b", "took longer than"),
    ("select list(a) from range(10000000000) t(a)", "took longer than|Out of Memory"),
    ("select 1" + " " * 100_001, "characters: at most 100000 are taken"),
    # EXPLAIN, and characters of two bytes before it: the check and DuckDB must see the same text.
    ("/* ääääääääääääää */ explain analyze copy (select 1) to '{root}/x.csv'", READS_ONLY),
    ("explain /* äääääääääääääääääääääääää */ analyze copy (select 1) to '{root}/x.csv'", f"syntax error|{READS_ONLY}"),
    ("explain -- äääääääääääää\n copy (select 1) to '{root}/x.csv' -- select 1", READS_ONLY),
    ("/* ääääääääääääääääääääääääääääääääääääääää select 1 */ explain copy (select 1) to '{root}/x.csv'", READS_ONLY),
    ("explain (analyze) copy (select 1) to '{root}/x.csv'", f"syntax error|{READS_ONLY}"),
    ("explain (format json) copy (select 1) to '{root}/x.csv'", f"syntax error|{READS_ONLY}"),
    ("/* /* */ explain select 1 */ copy (select 1) to '{root}/x.csv'", f"syntax error|{READS_ONLY}"),
    ("explain\u00a0analyze\u00a0copy (select 1) to '{root}/x.csv'", f"syntax error|{READS_ONLY}"),
    ("explain analyze from enable_logging()", WRITES),
    # Functions that act.
    ("from enable_logging(storage := 'file', storage_path := '{root}')", WRITES),
    ("from enable_profiling(save_location := '{root}/manifest.json')", WRITES),
    ("select (select count(*) from enable_logging())", WRITES),
    ("with a as (from enable_profiling()) select 1", WRITES),
    ("select write_log('x', level := 'error', log_type := 'y')", WRITES),
    ("select list_transform(['x'], lambda x: write_log(x))", WRITES),
    ("select 1 order by write_log('x')", WRITES),
    ("select 1 limit (select count(*) from checkpoint())", WRITES),
    ("select sum(1) over (order by write_log('x')) from cases", WRITES),
    ("select columns(lambda x: write_log(x) is null) from cases", WRITES),
    ("from cases a join cases b on write_log('x') is null", WRITES),
    ("pivot cases on label in (0) using max(write_log(case_id))", WRITES),
    ("from checkpoint()", WRITES),
    ("from truncate_duckdb_logs()", WRITES),
    ("from disable_logging()", WRITES),
    ("from disable_profiling()", WRITES),
    ("select main.\"WRITE_LOG\"('x')", WRITES),
    ("select system.main.write_log('x')", WRITES),
    ("select 'x'.write_log()", f"{WRITES}|syntax error"),
    ("select elsewhere.abs(1)", "it is on no list|does not exist"),
    ("from duckdb_settings()", SETTINGS),
    ("select current_setting('memory_limit')", SETTINGS),
    ("from duckdb_logs()", "it is DuckDB's own"),
    ("from duckdb_databases()", "it is DuckDB's own"),
    ("from seq_scan('cases')", "it is DuckDB's own"),
    ("select invented(1)", "it is on no list"),
    ("from invented()", "it is on no list"),
    ("select currval('s')", "it changes what the next question sees"),
    ("select sleep_ms(10000)", "it does nothing but wait"),
    ("select pg_sleep(10)", "it does nothing but wait"),
    # Files by the names of tables.
    ("from '{root}/manifest.json'", "does not exist"),
    ('from "{root}/manifest.json"', "does not exist"),
    ("describe '{root}/manifest.json'", "does not exist"),
    ("show '{root}/manifest.json'", "does not exist|syntax error"),
    ("summarize '{root}/manifest.json'", "does not exist"),
    ("from query_table('{root}/manifest.json')", "does not exist"),
    ("from query_table(['cases', '{root}/manifest.json'], true)", "does not exist"),
    ("from query_table('ca' || 'ses')", "with the name of a table as a text"),
    ("from query_table([('cases')::varchar || ''])", "with the name of a table as a text"),
    ("from query_table((select 'cases'))", "with the name of a table as a text|subqueries"),
    ("from histogram('{root}/manifest.json', x)", "does not exist"),
    ('from histogram_values("{root}/manifest.json", x)', "does not exist"),
    ("from elsewhere.cases", "does not exist"),
    ("from pg_catalog.pg_class", "does not exist"),
    ("from information_schema.schemata a, duckdb_secrets b", "does not exist"),
    # Aggregates by name.
    ("select list_aggr([1], 'reservoir_' || 'quantile')", "with the name of an aggregate as a text"),
    ("select list_aggregate([1], (select 'sum'))", "with the name of an aggregate as a text"),
    ("select array_aggr([1], 'reservoir_quantile')", "with the name of an aggregate as a text"),
    ("select array_aggregate([1], 'invented')", "with the name of an aggregate as a text"),
    ("select aggregate([1], case_id) from cases", "with the name of an aggregate as a text"),
    ("select [1].list_aggr(repeat('x', 1000000))", "with the name of an aggregate as a text"),
    ("select list_aggr([1])", "with the name of an aggregate as a text"),
    # What ends the process.
    ("from pandas_scan(null)", "it reaches for Python's objects"),
    ("from arrow_scan(1, 2, 3)", "it reaches for Python's objects"),
    ("select json_structure('[]')", CRASHES),
    ("select json_transform('[]', '[\"int\"]')", CRASHES),
    ("select from_json('[]', '[\"int\"]')", CRASHES),
    ("select reservoir_quantile(label, 0.5) from cases", CRASHES),
    ("select 1::variant", CRASHES),
    ("select ('[' || repeat('[', 99999))::json::variant", CRASHES),
    ("select cast(case_id as struct(a variant[])) from cases", CRASHES),
    ('select try_cast(1 as "VARIANT")', CRASHES),
    ("select variant_typeof(1)", CRASHES),
    ("select __internal_compress_string_hugeint('x')", "it is DuckDB's own"),
    ("select finalize(1)", CRASHES),
    ("select cast(1 as invented)", "type invented is not taken"),
    ("select " + "(" * 20_000 + "1" + ")" * 20_000, "nested too deeply|expression depth|memory exhausted"),
    ("select " + "not " * 20_000 + "true", "nested too deeply|expression depth|memory exhausted"),
    ("select 1\0; drop view cases", "a character that is no text"),
    ("with a as (insert into cases values (1)) from a", f"CTE|{READS_ONLY}"),
    ("with a as (delete from cases) from a", f"CTE|{READS_ONLY}"),
    ("with a as (update cases set label = 1) from a", f"CTE|{READS_ONLY}"),
    ("pragma enable_profiling='json'", READS_ONLY),
    ("pragma enable_logging", f"does not exist|{READS_ONLY}"),
    ("call enable_logging()", READS_ONLY),
    ("call truncate_duckdb_logs()", READS_ONLY),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of three cases, which nothing here may change."""
    folder = tmp_path_factory.mktemp("sandbox")
    (folder / "outside.txt").write_text("secret", encoding="utf-8")
    (folder / "away").mkdir()
    store = three_case_store(folder / "three")
    (store.root / "link").symlink_to(folder / "away")
    return store


@pytest.fixture(scope="module")
def before(store: Store) -> dict[str, bytes]:
    """Every byte of it."""
    return snapshot(store.root)


@pytest.mark.parametrize(("sql", "message"), ATTACKS)
def test_an_attack_gets_one_line_and_changes_nothing(
    store: Store, before: dict[str, bytes], sql: str, message: str
) -> None:
    """Each attack is refused with its message, and not one byte of the store differs afterwards."""
    python_variable = [1, 2, 3]
    with pytest.raises(UsageError) as refused:
        ask_sql(store, sql.replace("{root}", str(store.root)), timeout=0.2 if "took longer" in message else 20).rows()
    said = str(refused.value)
    assert "\n" not in said
    assert any(part in said for part in message.split("|"))
    assert snapshot(store.root) == before
    assert python_variable


def test_half_a_character_is_refused(store: Store) -> None:
    """What cannot be written as UTF-8, as bytes that a shell passed on, is one line."""
    with pytest.raises(UsageError, match="a character that is no text"):
        ask_sql(store, "select '\ud800'")


def test_there_are_at_least_a_hundred_attacks() -> None:
    """The table of attacks does not shrink unseen."""
    assert len(ATTACKS) >= 190


STUCK = "select list_reduce(range(1, 200000000), lambda x, y: x + y)"
"""One value that DuckDB computes for minutes, and does not let itself be interrupted in."""


def test_a_program_does_not_wait_for_what_cannot_be_interrupted(store: Store, tmp_path: Path) -> None:
    """The command line ends itself a grace after the limit, with one line and exit 2."""

    def work() -> int:
        # For people it is three seconds.
        watchdog.GRACE = 0.3
        return main(["sql", STUCK, "--timeout", "0.2", "--store", str(store.root)])

    asking = fork(tmp_path, work)
    assert asking.ends_within(60)
    said = "error: the question took longer than 0.2 s: narrow it, or raise --timeout\n"
    assert (asking.wait(), asking.text()) == (2, said)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("select case_id from cases order by case_order", [("2",), ("10",), ("46",)]),
        ("from cases select count(*)", [(3,)]),
        ("with a as (select 1 as x) select x from a union select 2 order by 1", [(1,), (2,)]),
        ("values (1), (2)", [(1,), (2,)]),
        ("select (select count(*) from runs), exists (from runs)", [(3, True)]),
        ("with recursive t as (select 1 as a union all select a + 1 from t where a < 3) select max(a) from t", [(3,)]),
        ("select count(*) from (describe cases)", [(5,)]),
        ("select case_id from out_of_fold where pred_label <> true_label", [("10",)]),
        ("select count(*) from query_table('cases')", [(3,)]),
    ],
)  # fmt: skip
def test_reading_is_free(store: Store, sql: str, rows: list[tuple[object, ...]]) -> None:
    """Everything that reads is answered."""
    assert ask_sql(store, sql).rows() == rows


@pytest.mark.parametrize("sql", ["describe cases", "summarize cases", "explain select 1", "show tables"])
def test_looking_around_is_free(store: Store, sql: str) -> None:
    """DESCRIBE, SUMMARIZE, EXPLAIN and SHOW answer."""
    assert ask_sql(store, sql).rows()


ALONE = [
    'select count(*) from main."{upper}"',
    "select count(*) from query_table('{name}')",
    "with cases as (from {name}) select count(*) from cases",
    "select count(*) from {name} where true in (select count(*) >= 1 from (describe {name}))",
]


@pytest.mark.parametrize(("name", "sql"), crossed([*known_tables(), *DERIVED], ALONE))
def test_each_table_can_be_asked_alone(store: Store, name: str, sql: str) -> None:
    """A statement gets what it asks, and what that is defined over, however the name is written, and with a step of its own.

    Each table in one of these ways here; `make torture` asks for each in all.
    """
    rows = ask_sql(store, f"select count(*) from {name}").rows()
    assert ask_sql(store, sql.format(name=name, upper=name.upper())).rows() == rows


@pytest.mark.parametrize(
    "sql",
    [
        "select name from (show tables)",
        "select view_name from duckdb_views() where not internal",
        "select view_name from duckdb_views where not internal",
        "select table_name from information_schema.tables",
        "select name from sqlite_master where type = 'view'",
    ],
)
def test_who_asks_what_there_is_is_told_everything(store: Store, sql: str) -> None:
    """Every way to ask for the tables tells all of them."""
    assert {name for (name,) in ask_sql(store, sql).rows()} == {*known_tables(), *DERIVED}
