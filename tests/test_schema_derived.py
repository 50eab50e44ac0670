"""Views and a macro that say once what nearly every question asks: classes by name, slices' weights, how many are top."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from milstore import queries
from milstore.asking.ask import ask, ask_sql, connect_locked
from milstore.asking.selection import Choice, select
from milstore.schema.columns import DERIVED, MACROS, TABLE_MACROS, columns, view_text
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.derived_views import with_derived
from milstore.store.engine import make_engine
from milstore.store.run_reader import with_own_hash
from milstore.store.views import connect, narrow, put_cohort

pytestmark = pytest.mark.database

NAMED = [
    ("2", "test", "high-grade", "high-grade", "right", 0.9, 0),
    ("10", "test", "benign", "high-grade", "wrong", 0.3, 1),
    ("46", "test", "benign", "benign", "right", 0.8, 2),
]
ASK_NAMED = """
select case_id, subset, true_class, pred_class, outcome, p_true, case_order
from predictions_named where subset = 'test' order by case_order
"""


def rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows, with numbers to five digits."""
    return [tuple(round(value, 5) if isinstance(value, float) else value for value in row) for row in rows]


def plain(sql: str) -> duckdb.DuckDBPyConnection:
    """A connection with tables of one's own."""
    con = duckdb.connect()
    con.execute(sql)
    return con


@pytest.mark.parametrize(
    ("n", "pct", "top"), [(209, 5.0, 10), (19, 5.0, 1), (40, 5.0, 2), (39, 5.0, 1), (7, 0.0, 1), (7, 100.0, 7), (1, 50, 1)]
)  # fmt: skip
def test_the_top_share_is_at_least_one_patch_and_no_part_of_one(n: int, pct: float, top: int) -> None:
    """`top_count` is greatest(1, floor(n * pct / 100))."""
    con = plain(view_text("top_count"))
    assert con.execute(f"select top_count({n}, {pct})").fetchall() == [(top,)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.5", "0.5000004", True), ("0.5", "0.500001", False), ("-2e-9", "-2.000001e-9", True), ("-1.0", "1.0", False),
        ("0.0", "0.0", True), ("0.0", "1e-30", False), ("null", "1.0", False),
    ],
)  # fmt: skip
def test_numbers_are_the_same_to_six_digits(one: str, other: str, same: bool) -> None:
    """By the size of the larger, of either sign and whichever comes first; null is the same as nothing."""
    con = plain(view_text("same_to_six_digits"))
    asked = f"select same_to_six_digits({one}, {other}), same_to_six_digits({other}, {one})"
    assert con.execute(asked).fetchall() == [(same, same)]


@pytest.mark.parametrize(
    ("stain", "asked", "fits"),
    [
        ("null", "null", True), ("'H&E'", "null", True), ("'melan'", "null", False), ("null", "'MATCH_2'", True),
        ("null", "'7'", True), ("'h&e'", "'match_1'", False), ("'melan'", "'7'", False),
    ],
)  # fmt: skip
def test_a_slice_fits_by_stain_and_by_name_or_number(stain: str, asked: str, fits: bool) -> None:
    """Of slice match_2 of h&e, whose number is 7: whatever the case of the letters, and null asks for all."""
    con = plain(view_text("slice_fits"))
    assert con.execute(f"select slice_fits('h&e', 'match_2', 7, {stain}, {asked})").fetchall() == [(fits,)]


def test_predictions_are_told_in_words() -> None:
    """A class that has no name any more is called by its number; without a label there is no class and no outcome."""
    con = plain(
        """
        create table predictions as
        from (values ('r', '1', 'test', 0, 0, 0.9, 0.1), ('r', '2', 'test', 1, 0, 0.2, 0.8),
                     ('r', '3', 'val', 2, 3, 0.1, 0.9), ('r', '4', 'train', null, 1, null, null))
            t(run_id, case_id, subset, true_label, pred_label, p_true, error);
        create table classes as from (values (0, 'benign'), (1, 'high-grade')) t(label, class_name);
        create table cases as from (values ('1', 0), ('2', 1), ('4', 2)) t(case_id, case_order);
        """
    )
    con.execute(view_text("predictions_named"))
    rows = con.execute(
        "select case_id, true_label, true_class, pred_label, pred_class, outcome, case_order "
        "from predictions_named order by case_id"
    ).fetchall()
    assert rows == [
        ("1", 0, "benign", 0, "benign", "right", 0),
        ("2", 1, "high-grade", 0, "benign", "wrong", 1),
        ("3", 2, "class 2", 3, "class 3", "wrong", None),
        ("4", None, None, 1, "high-grade", None, 2),
    ]


def test_a_slice_has_its_weights_and_its_size(three: Store) -> None:
    """`slice_weights` is a row a slice: of case 10, 18 of 40 parts are of h&e, 12 of these of its first slice."""
    sql = (
        "select stain, slice_idx, stain_attention, slice_attention, slice_effective_attention, slice_patches, n_patches "
        "from slice_weights where run_id = 'exp-s2-0' and case_id = '10' order by stain, slice_idx"
    )
    assert rounded(connect(three).execute(sql).fetchall()) == [
        ("h&e", 0, 0.45, 0.66667, 0.3, 3, 10),
        ("h&e", 1, 0.45, 0.33333, 0.15, 3, 10),
        ("sox10", 0, 0.55, 1.0, 0.55, 4, 10),
    ]


def of_the_lens(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return connect(store).execute(sql).fetchall()


def of_the_sandbox(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return ask_sql(store, sql).rows()


def of_the_file(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(str(store.database), read_only=True)) as con:
        return con.execute(sql).fetchall()


def of_the_engine(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with make_engine(store).connect() as con:
        return [tuple(row) for row in con.exec_driver_sql(sql)]


def of_an_own_question(store: Store, sql: str) -> list[tuple[Any, ...]]:
    store.queries.mkdir()
    header = "-- Ours.\n-- grain: a row\n-- columns: some\n"
    (store.queries / "ours.sql").write_text(header + sql)
    return ask(store, "ours").rows()


@pytest.mark.parametrize("asked", [of_the_lens, of_the_sandbox, of_the_file, of_the_engine, of_an_own_question])
def test_they_are_wherever_questions_are_asked(
    three: Store, asked: Callable[[Store, str], list[tuple[Any, ...]]]
) -> None:
    """The views and the macro answer in every connection, in milstore.duckdb and in a group's own questions."""
    sql = ASK_NAMED.replace("p_true", "round(p_true, 5) as p_true")
    top = "top_count(slice_weights.n_patches, 25.0)"
    sql = sql.replace("case_order\n", f"case_order, (select max({top}) from slice_weights)\n", 1)
    assert rounded(asked(three, sql)) == [(*row, 2.0) for row in NAMED]


def test_a_shell_has_them(three: Store, tmp_path: Path) -> None:
    """The duckdb shell knows the views and the macro, and what they are for."""
    shell = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shell is None:
        pytest.skip("the duckdb shell is not installed")
    sql = "select outcome, top_count(209, 5.0) from predictions_named where subset = 'test' order by case_order"
    done = subprocess.run(
        [shell, "-csv", "-noheader", str(three.database), sql], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["right,10.0", "wrong,10.0", "right,10.0"]


def test_each_has_a_comment(three: Store) -> None:
    """milstore.duckdb says what each view and the macro is for."""
    sql = (
        "select view_name from duckdb_views() where not internal and comment is not null "
        "union all select function_name from duckdb_functions() where not internal and comment is not null"
    )
    assert {*DERIVED, *MACROS, *TABLE_MACROS} <= {name for (name,) in of_the_file(three, sql)}


def test_a_refresh_keeps_them(three: Store) -> None:
    """The views and the macro are there after a change of the cohort, and tell of it."""
    with edit_cohort(three) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", "melanoma"]}))
    assert edit.notes == []
    sql = "select case_id, pred_class, top_count(209, 5.0) from predictions_named where subset = 'test' order by case_order"
    assert of_the_file(three, sql) == [("2", "melanoma", 10.0), ("10", "melanoma", 10.0), ("46", "benign", 10.0)]


def views_of(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Names of the temporary views that were made."""
    found = con.execute("select view_name from duckdb_views() where temporary and not internal").fetchall()
    return {name for (name,) in found}


@pytest.mark.parametrize(
    ("sql", "needed"),
    [
        ("select * from predictions_named", {"predictions", "cases", "classes"}),
        ("select * from slice_weights", {"attention", "cases"}),
        ("select top_count(n_patches, 5) from attention", {"attention", "cases"}),
        ("select 1", {"cases"}),
    ],
)
def test_only_what_a_statement_needs_is_made(three: Store, sql: str, needed: set[str]) -> None:
    """A derived view brings the tables that it is over, though the statement does not name them; nothing else is made."""
    con = duckdb.connect()
    put_cohort(con, three, sql)
    select(con, three, Choice())
    narrow(con, three, sql, ["exp-s1-0"])
    assert views_of(con) == needed
    con.execute(with_derived(sql))


def test_a_statement_brings_its_derived_views_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view over a derived view brings that one too, before it; comments stay in front, and a statement's own steps behind."""
    bodies = {"first": "from a", "second": "from first", "third": "from second", "other": "from a"}
    monkeypatch.setattr("milstore.store.derived_views.DERIVED", tuple(bodies))
    monkeypatch.setattr(
        "milstore.store.derived_views.view_text",
        lambda name: f"-- What.\ncreate or replace view {name} as\n{bodies[name]};\n",
    )
    steps = "first as (from a), second as (from first), third as (from second)"
    assert with_derived("-- é with\nfrom third") == f"-- é with\nwith {steps} from third"
    assert with_derived("-- é\nWITH x as (from third) from x") == f"-- é\nwith {steps},  x as (from third) from x"
    assert with_derived("with x as (from a) from x") == "with x as (from a) from x"


def test_they_see_the_runs_that_answer_alone(three: Store) -> None:
    """On a connection that has seen other runs, the views are over those of the question at hand."""
    con = connect_locked(three)
    for case in ("2", "10", "46"):
        (row,) = ask(three, "attention-distribution", Choice(cases=(case,)), {"bins": 1}, con=con).records()
        assert (row["case_id"], row["true_class"]) == (case, "high-grade" if case == "2" else "benign")
        seen = con.execute(with_derived("select distinct case_id from predictions_named")).fetchall()
        assert seen == [(case,)]
    # A question that asks for none of it sees all again.
    ask(three, "loss-curves", con=con).rows()
    assert con.execute("select count(*) from predictions_named").fetchall() == [(9,)]


def test_they_are_made_from_what_is_in_the_schema() -> None:
    """Each file of a derived view makes what it is called, over tables and views that are there before it."""
    for i, name in enumerate(DERIVED):
        text = view_text(name)
        assert f"\ncreate or replace view {name} as\n" in text
        tables = {*(t for group in ("cohort", "run", "features") for t in columns(group)), *DERIVED[:i]}
        tables |= set(re.findall(r"\bwith (\w+) as \(", text))
        said = re.sub(r"--.*", "", text)
        assert {word for word in re.findall(r"\b(?:from|join) (\w+)", said) if word != name} <= tables
    sql = {path.name.removesuffix(".sql") for path in files("milstore.schema").iterdir() if path.name.endswith(".sql")}
    assert sql == {*DERIVED, *MACROS, *TABLE_MACROS, "catalog", "catalog_patches", "view_comments"}


@pytest.mark.parametrize("name", queries.loader.built_in_names())
def test_no_question_says_it_again(name: str) -> None:
    """No question joins the classes of predictions, tells right from wrong or counts the top patches by itself."""
    sql = re.sub(r"--.*", "", queries.load(name).sql)
    for again in (r"as (true|pred)_classes\b", r"'right'", r"\* \$pct"):
        assert not re.search(again, sql), again


def test_the_top_is_the_same_where_the_largest_case_is_not_known(three: Store) -> None:
    """A run that does not say how many patches its largest case has answers as one that does."""
    values = {"pct": 34.0}
    before = ask(three, "top-patches", Choice(run="exp-s2-0"), values).rows()
    path = three.run_folder("exp-s2-0") / "run.json"
    facts = json.loads(path.read_text())
    del facts["files"]["attention.parquet"]["largest_case"]
    path.chmod(0o644)
    path.write_text(json.dumps(with_own_hash(facts)))
    after = ask(three, "top-patches", Choice(run="exp-s2-0"), values).rows()
    assert after == before
    assert [row[8] for row in after] == [1, 0, 2]
