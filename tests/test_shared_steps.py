"""Steps that several questions share are views and a macro: what they say, where they answer, and what they read."""

import re
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from milstore import queries
from milstore.asking.ask import ask, ask_sql, connect_locked
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.schema.columns import DERIVED, TABLE_MACROS, view_text
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.derived_views import whole_text
from milstore.store.views import connect
from tests.test_schema_derived import of_an_own_question, of_the_engine, of_the_file, of_the_lens, of_the_sandbox, plain

WHEREVER = [of_the_lens, of_the_sandbox, of_the_file, of_the_engine, of_an_own_question]
Asked = Callable[[Store, str], list[tuple[Any, ...]]]


def test_the_probabilities_of_a_case_stand_in_the_order_of_the_labels() -> None:
    """Lists by label; a class without a name is called by its number; the margin is half of what the largest two differ by."""
    con = plain(
        """
        create table probabilities as
        from (values ('r', '1', 1, 0.75), ('r', '1', 0, 0.25), ('r', '2', 2, 0.5), ('r', '2', 0, 0.25), ('r', '2', 1, 0.25),
                     ('s', '1', 0, 1.0))
            t(run_id, case_id, label, probability);
        create table classes as from (values (0, 'benign'), (1, 'high-grade')) t(label, class_name);
        """
    )
    con.execute(view_text("case_probabilities"))
    assert con.execute("from case_probabilities order by run_id, case_id").fetchall() == [
        ("r", "1", [0, 1], ["benign", "high-grade"], [0.25, 0.75], 0.25),
        ("r", "2", [0, 1, 2], ["benign", "high-grade", "class 2"], [0.25, 0.25, 0.5], 0.125),
        ("s", "1", [0], ["benign"], [1.0], None),
    ]


def test_what_a_run_saw_of_a_case_is_counted_by_coverage() -> None:
    """Patches and slices that were evaluated, and the stains that have none, in the order of the stains; null where all have."""
    con = plain(
        """
        create table coverage as
        from (values ('r', '1', 'h&e', 0, 3), ('r', '1', 'h&e', 1, 2), ('r', '1', 'melan', 0, 0),
                     ('r', '2', 'h&e', 0, 1), ('r', '2', 'melan', 0, 1), ('r', '2', 'sox10', 0, 1),
                     ('r', '3', 'h&e', 0, 0))
            t(run_id, case_id, stain, slice_idx, evaluated);
        create table stains as from (values ('h&e', 0), ('melan', 2), ('sox10', 1)) t(stain, stain_order);
        """
    )
    con.execute(view_text("case_coverage"))
    assert con.execute("from case_coverage order by case_id").fetchall() == [
        ("r", "1", 5, 2, "sox10, melan"),
        ("r", "2", 3, 3, None),
    ]
    con.execute("delete from stains")
    assert con.execute("from case_coverage where case_id = '1'").fetchall() == [("r", "1", 5, 2, None)]


@pytest.mark.database
@pytest.mark.parametrize("asked", WHEREVER)
def test_they_answer_wherever_questions_are_asked(three: Store, asked: Asked) -> None:
    """The views and the macro answer in every connection, in milstore.duckdb and in a group's own questions."""
    sql = (
        "select stain, slice_name, slice_patches, case_slices, patches, missing_stains, round(margin, 6) as margin "
        "from slices_asked('10', 'H&E', '1') as asked "
        "join case_coverage using (run_id, case_id) join case_probabilities using (run_id, case_id) "
        "where run_id = 'exp-s2-0'"
    )
    assert asked(three, sql) == [("h&e", "match_2", 3, 3, 10, "melan", 0.2)]


@pytest.mark.parametrize(
    ("stain", "slice_", "found"),
    [
        (None, None, [("h&e", 0), ("h&e", 1), ("sox10", 0)]),
        ("h&e", None, [("h&e", 0), ("h&e", 1)]),
        ("SOX10", "Match_1", [("sox10", 0)]),
        (None, "match_1", [("h&e", 0), ("sox10", 0)]),
        (None, "1", [("h&e", 1)]),
    ],
)
def test_slices_are_asked_for_by_stain_name_or_number(
    three: Store, stain: str | None, slice_: str | None, found: list[tuple[str, int]]
) -> None:
    """`slices_asked` has a case's slices of a stain, and of a slice_name or slice_idx, whatever their capitals."""
    con = connect(three)
    sql = "select stain, slice_idx from slices_asked('10', $stain, $slice) where run_id = 'exp-s1-0' order by all"
    assert con.execute(sql, {"stain": stain, "slice": slice_}).fetchall() == found


def test_a_name_goes_before_a_number(three: Store) -> None:
    """A text that is the name of one slice and the number of another means the one of that name."""
    with edit_cohort(three) as edit:
        rows = edit.table("slices").to_pylist()
        for row in rows:
            if (row["case_id"], row["stain"], row["slice_idx"]) == ("10", "h&e", 0):
                row["slice_name"] = "1"
        edit.replace("slices", pa.Table.from_pylist(rows, edit.table("slices").schema))
    sql = "select distinct stain, slice_idx, slice_name from slices_asked('10', null, '1')"
    assert connect(three).execute(sql).fetchall() == [("h&e", 0, "1")]


@pytest.mark.parametrize("question", ["patch-gallery", "patch-profile", "slice-map"])
def test_what_a_case_has_not_is_refused_with_what_it_has(three: Store, question: str) -> None:
    """Each question about slices refuses one that is not there by the same line."""
    with pytest.raises(UsageError) as refused:
        ask(three, question, Choice(cases=("10",)), {"slice": "match_9"}).rows()
    assert str(refused.value) == (
        "case 10 has no such slice: it has h&e match_1 (0), h&e match_2 (1), sox10 match_1 (0)"
    )
    with pytest.raises(UsageError, match="case 10 has no such slice"):
        ask_sql(three, "from slices_asked('10', 'melan', null)").rows()


def test_the_macro_sees_the_runs_that_answer_alone(three: Store) -> None:
    """On a connection that answered before, it is over the runs of the question at hand, and then over all again."""
    con = connect_locked(three)
    for run_id in ("exp-s1-0", "exp-s3-0"):
        choice = Choice(run=run_id, cases=("10",), subset="all")
        assert {row["run_id"] for row in ask(three, "patch-gallery", choice, con=con).records()} == {run_id}
        assert con.execute("select distinct run_id from slices_asked('10', null, null)").fetchall() == [(run_id,)]
    ask(three, "loss-curves", con=con).rows()
    assert con.execute("select count(distinct run_id) from slices_asked('10', null, null)").fetchall() == [(3,)]


@pytest.mark.parametrize("name", ["case_probabilities", "case_coverage", "predictions_named", "slice_weights"])
def test_of_one_run_one_file_is_read(three: Store, name: str) -> None:
    """A condition on run_id goes through the views: the files of other runs are not opened."""
    con = connect(three)
    plan = con.execute(f"explain analyze select * from {name} where run_id = 'exp-s2-0' and case_id = '10'").fetchall()
    scanned = re.findall(r"Scanning Files: (\d+)/(\d+)", plan[0][1])
    # Three runs, and the placeholder, which is named and fits the pattern.
    assert [pair for pair in scanned if int(pair[1]) > 1] == [("1", "5")]


@pytest.mark.parametrize("name", [*DERIVED, *TABLE_MACROS])
def test_a_question_needs_what_its_views_are_over(name: str) -> None:
    """A question over a view of attention, or of counts of patches, is about these as one that names the table itself."""
    call = f"{name}('1', null, null)" if name in TABLE_MACROS else name
    query = queries.parse("ours", f"-- Ours.\n-- grain: a row\n-- columns: n\nselect count(*) as n from {call}")
    over = whole_text(f"select * from {call}")
    assert query.reads_attention == query.needs_attention == (re.search(r"\bfrom attention\b", over) is not None)
    assert query.needs_coverage == (re.search(r"\bfrom coverage\b", over) is not None)


@pytest.mark.parametrize("name", queries.loader.built_in_names())
def test_no_question_repeats_a_shared_step(name: str) -> None:
    """No question lists probabilities by label, looks for missing stains or refuses a slice by itself."""
    sql = re.sub(r"--.*", "", queries.load(name).sql)
    for again in (r"list\(probability order by", r"missing_stains\b.*\bas\b|\bas missing_stains", "has no such slice"):
        assert not re.search(again, sql), again


def test_a_macro_is_not_asked_as_a_table(three: Store) -> None:
    """Without its arguments it is refused in one line."""
    with pytest.raises(UsageError, match="slices_asked"):
        ask_sql(three, "select * from slices_asked").rows()
    with pytest.raises(duckdb.Error):
        connect(three).execute("select * from slices_asked")
