"""milstore.duckdb works in any shell, from anywhere, and never loses what is somebody else's."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from milstore.schema.columns import columns
from milstore.schema.tables import METADATA
from milstore.store import Store
from milstore.store import catalog_build as building
from milstore.store.catalog import is_behind, refresh
from milstore.store.cohort_edit import edit_cohort
from milstore.store.engine import make_engine
from milstore.store.features import FeaturePack
from milstore.store.paths import open_store
from tests.making import THREE_LABELS, levels, make_run

pytestmark = pytest.mark.database

SHELL = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def rename_class(store: Store, name: str) -> list[str]:
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", name]}))
    return edit.notes


def shell(store: Store, sql: str, cwd: Path) -> str:
    if SHELL is None:
        pytest.skip("the duckdb shell is not installed")
    done = subprocess.run(
        [SHELL, "-csv", "-noheader", str(store.database), sql], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_the_shell_works_from_any_directory(three: Store, tmp_path: Path) -> None:
    """Tables and views answer in the duckdb shell, whatever directory it was started in."""
    sql = "select case_id, class_name, pred_label from out_of_fold join cases using (case_id) order by case_order"
    assert shell(three, sql, tmp_path).split() == ["2,high-grade,1", "10,benign,1", "46,benign,0"]


def test_the_shell_sees_new_runs_by_itself(three: Store, tmp_path: Path) -> None:
    """A run that is committed later is in the views without any refresh."""
    before = three.database.read_bytes()
    attention = levels({("2", "h&e", 0, 0): 1.0})
    make_run(three, "later", {"2": "test"}, THREE_LABELS, {"2": (0.5, 0.5)}, attention)
    assert three.database.read_bytes() == before
    assert shell(three, "select count(*) from runs where run_id = 'later'", tmp_path).split() == ["1"]


def test_every_table_is_there_with_its_comment(three: Store) -> None:
    """Each table of the schema is a table or a view, and its comment and those of its columns are in the file."""
    with closing(duckdb.connect(str(three.database), read_only=True)) as con:
        comments = dict(
            con.sql("select table_name, comment from duckdb_tables() union all select view_name, comment from duckdb_views() where not internal").fetchall()
        )  # fmt: skip
        found = con.sql("select table_name, column_name, comment from duckdb_columns() where not internal").fetchall()
    for table in METADATA.sorted_tables:
        assert comments[table.name] == table.comment
        ours = {name: comment for of, name, comment in found if of == table.name}
        assert ours == {column.name: column.comment for column in table.columns}


def test_the_cohort_has_its_keys(three: Store) -> None:
    """The cohort's tables carry primary and foreign keys, so that tools can draw and join them."""
    with closing(duckdb.connect(str(three.database), read_only=True)) as con:
        kinds = con.sql("select table_name, constraint_type from duckdb_constraints()").fetchall()
    for name in ("cases", "slices", "patches", "splits"):
        assert {(name, "PRIMARY KEY"), (name, "FOREIGN KEY")} <= set(kinds)


def test_an_ingest_brings_the_database_up_to_date_and_keeps_own_tables(three: Store) -> None:
    """A change of the cohort arrives, and people's own tables stay, through many changes."""
    with closing(duckdb.connect(str(three.database))) as con:
        con.execute("create table my_notes as select 46 as case_id, 'odd' as note")
    for name in ("a", "b", "c", "d", "melanoma"):
        assert rename_class(three, name) == []
    with closing(duckdb.connect(str(three.database), read_only=True)) as con:
        assert con.sql("from my_notes").fetchall() == [(46, "odd")]
        assert con.sql("select class_name from classes order by label").fetchall() == [("benign",), ("melanoma",)]


def held(store: Store) -> dict[str, list[tuple[object, ...]]]:
    """The rows of every table of the cohort, in milstore.duckdb."""
    with closing(duckdb.connect(str(store.database), read_only=True)) as con:
        return {name: con.sql(f"select * from {name} order by all").fetchall() for name in columns("cohort")}


def test_a_refresh_holds_what_a_database_made_from_nothing_holds(three: Store) -> None:
    """Whatever was changed in the tables that milstore made: they are made again."""
    with edit_cohort(three) as edit:
        patches = edit.table("patches")
        with FeaturePack(three, encoder="e", n_features=1, dtype="float16", patches=patches) as pack:
            pack.write(0, np.ones((patches.num_rows, 1)))
            pack.commit(edit, source="here")
    assert edit.notes == []
    with closing(duckdb.connect(str(three.database))) as con:
        con.execute("update patches set x = 77")
    rename_class(three, "melanoma")
    refreshed = held(three)
    assert (len(refreshed["encoders"]), {row[5] for row in refreshed["patches"]}) == (1, {0, 64, 128, 192})
    three.database.unlink()
    assert refresh(three) == []
    assert held(three) == refreshed


def test_a_database_of_an_earlier_milstore_is_made_anew(three: Store) -> None:
    """One whose views look where the store lay then."""
    expected = held(three)
    with closing(duckdb.connect(str(three.database))) as con:
        con.execute("create or replace table milstore_catalog (fingerprint varchar, root varchar, version integer)")
        con.execute(f"insert into milstore_catalog values ('{three.manifest()['fingerprint']}', '{three.root}', 1)")
        con.execute("delete from patches")
    stamp = {"fingerprint": three.manifest()["fingerprint"], "root": str(three.root), "version": 1}
    (three.manifest_path.parent / "catalog.json").write_text(json.dumps(stamp), encoding="utf-8")
    assert refresh(three) == []
    assert held(three) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "drop table patches",
        "delete from patches where patch_idx = 1",
        "alter table patches rename column x to left_edge",
    ],
)
def test_a_table_that_a_shell_took_from_is_made_anew(three: Store, statement: str) -> None:
    """Whatever changed in the store: a table that lacks something is not taken for what was put into it."""
    expected = held(three)["patches"]
    with closing(duckdb.connect(str(three.database))) as con:
        con.execute(statement)
    with edit_cohort(three) as edit:
        edit.replace("patch_roots", pa.table({"root": ["elsewhere"]}))
    assert edit.notes == []
    assert held(three)["patches"] == expected


def test_a_held_file_puts_the_refresh_off(three: Store) -> None:
    """While somebody's shell holds the file, an ingest succeeds and says so; the next refresh catches up."""
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; con = duckdb.connect({str(three.database)!r}); print('held', flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    notes = rename_class(three, "melanoma")
    holder.communicate("\n")
    assert notes == ["milstore.duckdb is in use elsewhere: it will be brought up to date by a later command"]
    assert is_behind(three)
    assert refresh(three) == []
    assert not is_behind(three)


def test_a_moved_store_answers(three: Store, tmp_path: Path) -> None:
    """Views find the files beside the database, so a store that was moved is not behind."""
    moved = tmp_path / "elsewhere ' [1]"
    three.root.rename(moved)
    store = open_store(moved)
    assert not is_behind(store)
    assert shell(store, "select count(*) from attention", tmp_path).split() == ["57"]


def test_a_foreign_database_is_left_alone(three: Store) -> None:
    """A file whose tables milstore did not make is not touched."""
    three.database.unlink()
    with closing(duckdb.connect(str(three.database))) as con:
        con.execute("create table cases as select 1 as mine")
    notes = rename_class(three, "melanoma")
    assert len(notes) == 1
    assert "it holds tables of these names that milstore did not make" in notes[0]
    with closing(duckdb.connect(str(three.database), read_only=True)) as con:
        assert con.sql("select mine from cases").fetchall() == [(1,)]


def test_very_many_patches_stay_a_view(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit the patch table is a view over its file, and comes back as a table below it."""

    def kind() -> str:
        with closing(duckdb.connect(str(three.database), read_only=True)) as con:
            rows = con.sql(
                "select table_type, count(*) over () from information_schema.tables where table_name = 'patches'"
            ).fetchall()
            assert con.sql("select count(*) from patches").fetchall() == [(19,)]
        return str(rows[0][0])

    monkeypatch.setattr(building, "LARGEST_TABLE", 5)
    rename_class(three, "a")
    assert kind() == "VIEW"
    monkeypatch.undo()
    rename_class(three, "b")
    assert kind() == "BASE TABLE"


def test_pandas_reads_through_an_engine(three: Store) -> None:
    """pandas.read_sql works on every table, with parameters, while somebody holds the database."""
    with closing(duckdb.connect(str(three.database))):
        frame = pd.read_sql(
            "select case_id, p_true from predictions where run_id = 'exp-s1-0' order by p_true", make_engine(three)
        )
    expected = pd.DataFrame({"case_id": ["10", "46", "2"], "p_true": [0.3, 0.8, 0.9]})
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False)
