"""Whatever somebody left in milstore.duckdb: nothing of it is run, nobody's rows are lost, and every refresh ends."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pytest
from filelock import FileLock

from milstore.asking.ask import ask
from milstore.cli.main import main
from milstore.store import Store, catalog, open_store
from milstore.store.catalog import is_behind, made_from, refresh
from milstore.store.doctor import check
from milstore.store.findings import NOTE
from milstore.store.foreign_database import stored_columns
from tests.crossing import WHOLE
from tests.forking import fork
from tests.making import three_case_store
from tests.test_store_catalog import held, rename_class, shell

pytestmark = pytest.mark.database

ODD = '"s.1 ""x"" y".";drop table cases;--"'
"""A schema and a table, quoted for SQL."""
LATER = "it will be brought up to date by a later command"
IN_USE, OPEN_HERE, WAITING, REPLACED = (
    f"milstore.duckdb {reason}: {LATER}"
    for reason in (
        "is in use elsewhere",
        "is open in this process",
        "waits for a command that changes the cohort",
        "was put in place by another command meanwhile",
    )
)
ENDLESS = "with recursive r as (select 1 as n union all select n + 1 from r) select count(*) from r"
HOSTILE = f"""
create macro read_parquet(x, hive_partitioning := true, filename := true) as table {ENDLESS};
create macro read_json(x, columns := 1, format := 1, hive_partitioning := 1, filename := 1) as table {ENDLESS};
create macro duckdb_tables() as table {ENDLESS};
create macro duckdb_columns() as table {ENDLESS};
create macro duckdb_views() as table {ENDLESS};
create macro pragma_table_info(x) as table {ENDLESS};
create macro regexp_extract(a, b, c) as error('run');
create macro parse_filename(a) as error('run');
create view endless as {ENDLESS};
create or replace view runs as {ENDLESS};
create or replace view attention as select error('run') as run_id;
create sequence counted;
create table guarded (
    a integer,
    b integer default (nextval('counted')),
    c integer generated always as (case when a > 2 then error('run') else a end),
    d varchar check (case when a > 2 then error('run') else true end)
);
create schema "endless";
"""
"""What is run by whoever reads such a file as if it were their own: all of it fails, or never ends."""


def behind(store: Store) -> None:
    """Let the next command refresh."""
    (store.manifest_path.parent / "catalog.json").unlink(missing_ok=True)


def put(store: Store, sql: str) -> None:
    """Let somebody write into the store's database."""
    with closing(duckdb.connect(str(store.database))) as con:
        con.execute(sql)


def asked(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(str(store.database), read_only=True)) as con:
        return con.execute(sql).fetchall()


def described(store: Store, sql: str) -> list[tuple[Any, ...]]:
    """Names and types of the columns, and whether they may be null."""
    return [row[:3] for row in asked(store, f"describe {sql}")]


def own_sql(store: Store) -> str:
    return (store.root / "milstore.own.sql").read_text(encoding="utf-8")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail where something takes longer, rather than to wait for ever: it is asked in a process that can be ended."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def elsewhere(store: Store, work: Callable[[], int | None], code: int = 0) -> str:
    """What another process says, which must end."""
    child = fork(store.root.parent, work)
    try:
        assert child.ends_within(60), child.text()
    finally:
        if not child.ended():
            child.send(signal.SIGKILL)
    assert child.wait() == code, child.text()
    return child.text()


def milstore(store: Store, *words: str) -> str:
    return elsewhere(store, lambda: main([*words, "--store", str(store.root)]))


def refreshing(store: Store) -> Callable[[], None]:
    def work() -> None:
        sys.stdout.write(f"{refresh(open_store(store.root))}\n")

    return work


def test_nothing_of_a_hostile_file_is_run(three: Store) -> None:
    """Macros that hide DuckDB's own functions, views without end, generated columns, defaults and checks: `info`,
    `doctor` and a refresh end, answer right, and keep the rows.
    """
    expected = held(three)
    put(three, HOSTILE)
    put(three, "insert into guarded (a, d) values (1, null), (2, null)")
    behind(three)
    assert "milstore.duckdb" in milstore(three, "doctor")
    said = milstore(three, "info")
    assert "milstore.duckdb was made again with your tables" in said
    assert ("finished runs" in said, "exp (3)" in said) == (True, True)
    assert not is_behind(three)
    assert held(three) == expected
    assert asked(three, "from guarded order by a") == [(1, 1, None), (2, 2, None)]
    assert asked(three, "select run_id from runs order by all") == [("exp-s1-0",), ("exp-s2-0",), ("exp-s3-0",)]
    assert asked(three, "select view_name from duckdb_views() where not internal and view_name = 'endless'") == []
    sql = "select function_name from duckdb_functions() where database_name = 'milstore' order by all"
    assert asked(three, sql) == [
        ("natural_order",),
        ("same_to_six_digits",),
        ("scores_ranked",),
        ("slice_fits",),
        ("slices_asked",),
        ("slices_scored",),
        ("top_count",),
    ]
    text = own_sql(three)
    assert "CREATE OR REPLACE VIEW endless AS" in text
    assert "CREATE OR REPLACE VIEW runs AS" not in text
    assert 'create or replace macro "read_parquet"("x"' in text
    assert "\n-- table main.guarded was more than its rows: CREATE TABLE guarded(" in text


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("a view", f"create view milstore_catalog as {ENDLESS}"),
        ("a view", "create view milstore_catalog as select error('run') as fingerprint, 1 as version, 3 as layout"),
        (
            "generated columns",
            "create table milstore_catalog (a integer, fingerprint varchar generated always as (case when a > 2 then error('run') else 'x' end), "
            "version integer, layout integer); insert into milstore_catalog (a, version, layout) values (1, 1, 3)",
        ),
    ],
)
def test_a_stamp_that_is_a_program_is_not_run(three: Store, kind: str, sql: str) -> None:
    """What stands in the place of the stamp is read as data or not at all."""
    put(three, f"drop table milstore_catalog; {sql}")
    before = three.database.read_bytes()
    with within(20):
        assert made_from(three) is None
        assert [(found.kind, found.where) for found in check(three)] == [(NOTE, "milstore.duckdb")]
    behind(three)
    said = milstore(three, "info")
    if kind == "a view":
        assert "tables of these names that milstore did not make" in said
        assert three.database.read_bytes() == before
    else:
        assert made_from(three) == catalog.wanted_stamp(three)


def test_peoples_tables_go_along_whatever_they_are_called_and_hold(three: Store) -> None:
    """Names, types and rows of own tables are the same after many refreshes, with keys and what is never null."""
    put(
        three,
        f"""
        create type mood as enum ('it''s', 'ok');
        create type number as integer;
        create schema "s.1 ""x"" y";
        create table {ODD} (
            "a""b" integer primary key, "generated always as (1)" mood not null, n number, s struct(a integer, m mood)[],
            m map(varchar, decimal(9, 3)), u union(i integer, t varchar), j json, t timestamptz, b blob, x integer[3],
            "select" varchar default ('(,'), big hugeint
        );
        insert into {ODD} values (1, 'it''s', 7, [{{'a': 1, 'm': 'ok'}}], map {{'k': 1.5}}, 'word', '{{"a": 1}}', '2026-01-02 03:04:05+00',
                '\\xff\\x00'::blob, [1, 2, 3], 'x', 170141183460469231731687303715884105727);
        create table empty (a integer, b integer generated always as (a + 1));
        comment on table empty is 'it''s empty';
        create table Notes as select 'a''b;--' as note;
        """,
    )
    stored = {ODD: "*", "empty": "a", "Notes": "*"}
    wanted = {
        name: (asked(three, f"select {columns} from {name}"), described(three, f"select {columns} from {name}"))
        for name, columns in stored.items()
    }
    said = [rename_class(three, label) for label in ("a", "b")]
    assert [len(notes) for notes in said] == [1, 0], said
    assert "(type mood, " in said[0][0]
    for name, (rows, columns) in wanted.items():
        assert asked(three, f"select * from {name}") == rows
        assert described(three, f"select * from {name}") == columns
    assert asked(three, "select comment from duckdb_tables() where table_name = 'empty'") == [("it's empty",)]
    keys = "select constraint_type, constraint_column_names from duckdb_constraints() where schema_name <> 'main'"
    assert sorted(asked(three, keys)) == [
        ("NOT NULL", ['a"b']),
        ("NOT NULL", ["generated always as (1)"]),
        ("PRIMARY KEY", ['a"b']),
    ]
    assert asked(three, "select class_name from classes where label = 1") == [("b",)]
    assert shell(three, "select note from notes", three.root).strip() == '"a\'b;--"'


def test_views_and_macros_are_written_down_once_and_can_be_run_again(three: Store) -> None:
    """The file of SQL makes them again; a refresh after that says it again, and the file does not grow."""
    put(
        three,
        """
        create schema mine;
        create type mood as enum ('sad', 'ok');
        create view mine.benign as select case_id from cases where label = 0 order by case_order;
        create macro twice(x) as 2 * x, (x, y) as 2 * x + y;
        create macro first_cases(n) as table select case_id from cases order by case_order limit n;
        create table notes as select 'ok'::mood as note;
        create unique index one_note on notes (note);
        """,
    )
    said = rename_class(three, "a")
    assert said == [
        "milstore.duckdb was made again with your tables; what is no table (type mood, macro first_cases, macro twice, "
        "view benign, index one_note) is in milstore.own.sql: read it, and run it again in a duckdb shell"
    ]
    text = own_sql(three)
    assert rename_class(three, "b") == []
    put(three, text)
    assert asked(three, "from mine.benign") == [("10",), ("46",)]
    assert asked(three, "select twice(3), twice(3, 1)") == [(6, 7)]
    assert asked(three, "from first_cases(1)") == [("2",)]
    assert rename_class(three, "c") == said
    assert own_sql(three) == text
    put(three, "create view another as select 1 as one")
    rename_class(three, "d")
    assert own_sql(three) == text + "\nCREATE OR REPLACE VIEW another AS SELECT 1 AS one;\n"


def test_a_text_over_several_lines_stays_a_comment(three: Store) -> None:
    """What a table's definition holds does not become a statement or a command of the shell in the file of SQL."""
    put(three, "create table odd (a varchar default ('\n.shell touch made\rdrop table cases;\n--'))")
    rename_class(three, "a")
    lines = own_sql(three).splitlines()
    assert [line for line in lines if line and not line.startswith("--")] == []
    assert any("shell touch made" in line for line in lines)


@pytest.mark.parametrize("name", ["runs", "Features", "out_of_fold"])
def test_an_own_table_with_a_name_of_milstores_is_not_lost(three: Store, name: str) -> None:
    """Where a table of somebody's stands in the place of a view, the file is left as it is, and that is said."""
    put(three, f"drop view {name}; create table {name} as select 1 as mine")
    before = three.database.read_bytes()
    assert rename_class(three, "a") == [
        f"milstore.duckdb cannot be brought up to date: it holds tables of these names that milstore did not make "
        f"({name}): rename them, or move the file away"
    ]
    assert three.database.read_bytes() == before
    put(three, f"alter table {name} rename to mine")
    assert refresh(three) == []
    assert asked(three, "from mine") == [(1,)]


def cut_off(store: Store, sql: str) -> None:
    """Somebody's shell that was killed after it wrote, and left its log."""

    def work() -> None:
        con = duckdb.connect(str(store.database))
        con.execute(sql)
        os._exit(9)

    elsewhere(store, work, code=9)
    assert store.database.with_name("milstore.duckdb.wal").is_file()


def test_a_log_beside_the_file_puts_the_refresh_off(three: Store) -> None:
    """What a killed shell had written is not lost: the next one that opens the file has it, and then a refresh goes on."""
    cut_off(three, "create table my_notes as select 'written' as note")
    said = rename_class(three, "a")
    assert len(said) == 1
    assert said[0].startswith("milstore.duckdb has a log beside it (milstore.duckdb.wal)")
    assert is_behind(three)
    assert [(found.kind, found.where) for found in check(three)] == [(NOTE, "milstore.duckdb")]
    put(three, "select 1")
    assert refresh(three) == []
    assert asked(three, "from my_notes") == [("written",)]


def test_a_log_without_its_file_puts_the_refresh_off(three: Store) -> None:
    """It would be put into the new file."""
    cut_off(three, "create table my_notes as select 'written' as note")
    three.database.unlink()
    assert "has a log beside it" in refresh(three)[0]
    assert not three.database.exists()


def test_a_log_that_no_shell_can_take_in_is_kept_away_from(three: Store) -> None:
    """DuckDB ends the process over such a log, so nothing opens the file: all answers, and the message says what to do."""
    log = three.database.with_name("milstore.duckdb.wal")
    log.write_bytes(b"\x13\x37" * 50)
    (said,) = rename_class(three, "a")
    assert said.endswith(
        "where the shell ends with an error, too, move the log away: its changes never came into the file"
    )
    assert ask(three, "recall").rows()
    assert [(found.kind, found.where) for found in check(three)] == [(NOTE, "milstore.duckdb")]
    assert log.read_bytes() == b"\x13\x37" * 50
    log.unlink()
    assert refresh(three) == []
    assert check(three) == []


def test_a_cohort_that_is_being_changed_is_not_called_a_file_in_use(three: Store) -> None:
    """The lock that is waited for is the cohort's: the database is held by nobody."""
    behind(three)
    with FileLock(three.root / "cohort" / ".lock"):
        assert elsewhere(three, refreshing(three)) == f"[{WAITING!r}]\n"
    assert refresh(three) == []


def test_a_reader_elsewhere_puts_the_refresh_off(three: Store) -> None:
    """Also one that only reads holds the file."""
    program = f"import duckdb; con = duckdb.connect({str(three.database)!r}, read_only=True); print('held', flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert rename_class(three, "a") == [IN_USE]
    assert made_from(three) is not None
    holder.communicate("\n")
    assert refresh(three) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_connection_of_the_same_process_keeps_its_lock(three: Store, read_only: bool) -> None:
    """As in a notebook: locks of one process do not stand in its own way, so handles are looked for."""

    def lock() -> None:
        with suppress(duckdb.IOException):
            duckdb.connect(str(three.database))
            raise AssertionError("it is not locked")

    with closing(duckdb.connect(str(three.database), read_only=read_only)) as con:
        assert rename_class(three, "a") == [OPEN_HERE]
        assert [found.where for found in check(three)] == ["milstore.duckdb"]
        assert con.execute("select count(*) from cases").fetchall() == [(3,)]
        elsewhere(three, lock)
    assert refresh(three) == []


def test_a_link_is_not_followed(three: Store, tmp_path: Path) -> None:
    """A database that is a link to somebody's other file is neither read nor replaced."""
    other = tmp_path / "private.duckdb"
    with closing(duckdb.connect(str(other))) as con:
        con.execute("create table secret as select 1 as a")
    before = other.read_bytes()
    three.database.unlink()
    three.database.symlink_to(other)
    assert rename_class(three, "a") == [
        "milstore.duckdb is a link, or no file: remove it, and a later command makes it"
    ]
    assert (three.database.is_symlink(), other.read_bytes()) == (True, before)


@pytest.mark.parametrize("kind", ["pipe", "folder", "text", "cut"])
def test_what_is_no_database_is_left_and_named(three: Store, kind: str) -> None:
    """A refresh ends with a line, and changes nothing."""
    whole = three.database.read_bytes()
    three.database.unlink()
    match kind:
        case "pipe":
            os.mkfifo(three.database)
        case "folder":
            three.database.mkdir()
        case "text":
            three.database.write_text("not a database\n" * 2000, encoding="utf-8")
        case "cut":
            three.database.write_bytes(whole[:9000])
    said = rename_class(three, "a")
    assert len(said) == 1
    assert ("is a link, or no file" if kind in ("pipe", "folder") else "move it away and it is made again") in said[0]
    assert main(["info", "--store", str(three.root), "--quiet"]) == 0
    assert [(found.kind, found.where) for found in check(three)] == [(NOTE, "milstore.duckdb")]


def test_a_file_of_sql_that_is_a_link_is_not_written_through(three: Store, tmp_path: Path) -> None:
    """Nothing outside the store is changed, and the views are not lost."""
    other = tmp_path / "other.sql"
    other.write_text("mine", encoding="utf-8")
    (three.root / "milstore.own.sql").symlink_to(other)
    put(three, "create view mine as select 1 as a")
    said = rename_class(three, "a")
    assert len(said) == 1
    assert "milstore.own.sql beside it is a link" in said[0]
    assert other.read_text(encoding="utf-8") == "mine"
    assert asked(three, "from mine") == [(1,)]


def test_mode_and_leftovers(three: Store) -> None:
    """A group's file stays writable for the group; what a killed refresh left goes with the next one."""
    three.database.chmod(0o664)
    leftover = three.root / ".milstore.duckdb.0123.tmp"
    leftover.mkdir()
    (leftover / "new.duckdb").write_bytes(b"half")
    assert [found.remove for found in check(three, young=0)] == [leftover]
    before = os.umask(0o077)
    try:
        assert rename_class(three, "a") == []
    finally:
        os.umask(before)
    assert three.database.stat().st_mode & 0o777 == 0o664
    assert [path.name for path in three.root.iterdir() if path.name.startswith(".")] == []


def test_in_a_groups_folder_a_new_file_is_the_groups(three: Store) -> None:
    """Else a colleague could never refresh what one of them made first."""
    three.root.chmod(0o2770)
    three.database.unlink()
    before = os.umask(0o077)
    try:
        assert refresh(three) == []
    finally:
        os.umask(before)
    assert three.database.stat().st_mode & 0o777 == 0o660


def operations(folder: Path, at: int, mode: str) -> int:
    """Refresh a store whose n-th change of the disk fails, or is the process's last. 0: there were fewer."""

    def run() -> int:
        store = open_store(folder)
        left = at

        def before(real: Any) -> Any:
            def shim(*args: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0 and mode == "killed":
                    os._exit(137)
                if left == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return real(*args, **options)

            return shim

        import milstore.store.catalog_build as building
        import milstore.store.own_objects as keeping

        for module, name in (
            (os, "fsync"),
            (os, "rename"),
            (os, "replace"),
            (os, "mkdir"),
            (os, "chmod"),
            (os, "unlink"),
        ):
            setattr(module, name, before(getattr(module, name)))
        # What DuckDB does lies between these.
        for module, name in ((building, "_rows"), (building, "_stamp"), (keeping, "carry"), (keeping, "_append")):
            setattr(module, name, before(getattr(module, name)))
        refresh(store)
        return 0 if left > 0 else 4

    return fork(folder.parent, run).wait()


@pytest.mark.parametrize("mode", ["killed", "disk full"])
def test_the_old_file_or_the_new_one_whatever_fails(tmp_path: Path, mode: str) -> None:
    """A kill or a full disk at any moment leaves one of the two, whole, with people's rows; then a refresh goes on.

    At one operation in six; `make torture` tries each.
    """
    base = three_case_store(tmp_path / "base")
    put(
        base,
        "create table notes (n integer primary key); insert into notes values (1); create view mine as select 1 as a; "
        "delete from splits",
    )
    behind(base)
    found = (
        "select (select list(n) from notes), (select count(*) from splits), "
        "(select count(*) from duckdb_views() where view_name = 'mine')"
    )
    old, new = [([1], 0, 1)], [([1], 9, 0)]
    seen = []
    for at in count(1, 1 if WHOLE else 6):
        shutil.rmtree(tmp_path / "tried", ignore_errors=True)
        shutil.copytree(base.root, tmp_path / "tried")
        code = operations(tmp_path / "tried", at, mode)
        store = open_store(tmp_path / "tried")
        assert code in (0, 4, 137)
        seen.append(asked(store, found))
        assert seen[-1] in (old, new)
        assert seen[-1] == old or "VIEW mine" in own_sql(store)
        assert "in use" not in "".join(refresh(store))
        assert asked(store, found) == new
        assert not is_behind(store)
        assert [path.name for path in store.root.iterdir() if path.name.endswith(".tmp")] == []
        if code == 0:
            break
    assert at > 15
    assert old in seen and new in seen


def test_a_full_disk_while_duckdb_writes(three: Store) -> None:
    """The new file does not fit: the old one stays as it was, and the refresh says so."""
    put(three, "create table large as select range as n, hash(range) as h from range(400000)")
    before = three.database.read_bytes()
    behind(three)

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
        refreshing(three)()

    assert "could not be brought up to date" in elsewhere(three, work)
    assert three.database.read_bytes() == before
    assert [path.name for path in three.root.iterdir() if path.name.endswith(".tmp")] == []
    assert refresh(three) == []
    assert asked(three, "select count(*) from large") == [(400000,)]


def test_only_one_refreshes_at_a_time(three: Store) -> None:
    """Many that want to refresh at once: one does, nobody fails, nothing is left."""
    put(three, "create table notes as select 1 as n")
    behind(three)
    many = [fork(three.root.parent, refreshing(three)) for _ in range(6)]
    assert [one.wait() for one in many] == [0] * 6
    said = {one.text() for one in many}
    assert said <= {"[]\n", *(f"[{reason!r}]\n" for reason in (IN_USE, WAITING, REPLACED))}
    assert "[]\n" in said
    assert not is_behind(three)
    assert asked(three, "from notes") == [(1,)]
    assert check(three, young=0) == []


@pytest.mark.parametrize(
    ("columns", "stored"),
    [
        ("a INTEGER, b INTEGER GENERATED ALWAYS AS((a + 1))", ["a"]),
        ('"a, b" VARCHAR, "GENERATED ALWAYS AS" VARCHAR', ["a, b", "GENERATED ALWAYS AS"]),
        ("a ENUM('(', ', b GENERATED ALWAYS AS(1)'), b INTEGER DEFAULT(')'), c INTEGER GENERATED ALWAYS AS(1)", ["a", "b"]),
        ("a DECIMAL(9,2), b STRUCT(x INTEGER, \"y)\" VARCHAR)[], CHECK((a > 0))", ["a", "b"]),
    ],
)  # fmt: skip
def test_which_columns_are_stored(columns: str, stored: list[str]) -> None:
    """It is read from how DuckDB writes a table down, whatever names and texts are in it."""
    with closing(duckdb.connect()) as con:
        con.execute(f'create table "t (" ({columns.replace("DEFAULT", "default ")})')
        ((sql, count),) = con.execute("select sql, column_count from duckdb_tables()").fetchall()
    assert stored_columns(sql, count) == stored
