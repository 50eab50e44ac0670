"""The views of milstore.duckdb answer from the files beside the very file that was opened, or fail."""

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from milstore.store import Store
from milstore.store.catalog import refresh
from milstore.store.engine import make_engine
from milstore.store.paths import open_store
from milstore.store.removal import make_writable
from tests.making import three_case_store
from tests.test_store_catalog import SHELL

pytestmark = pytest.mark.database

RUNS = "select run_id, count(*) from runs join attention using (run_id) group by all order by all"
OF_ONE = [("exp-s1-0", 19), ("exp-s3-0", 19)]
OF_ALL = [("exp-s1-0", 19), ("exp-s2-0", 19), ("exp-s3-0", 19)]
RUN_MAIN = "import sys; from milstore.cli.main import main; sys.exit(main(sys.argv[1:]))"
NOT_ITSELF = "open milstore.duckdb itself, without ATTACH; if temp_directory was set: reset temp_directory"


def asked(database: Path | str, sql: str = RUNS, **options: Any) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(str(database), **options)) as con:
        return con.execute(sql).fetchall()


def copied(store: Store, to: Path) -> Path:
    """A copy of the store without the second run, and where its database lies."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(store.root, to)
    second = to / "runs" / "run_id=exp-s2-0"
    make_writable(second)
    shutil.rmtree(second)
    return to / "milstore.duckdb"


@pytest.mark.parametrize(
    "place",
    [
        "copy", "o[d]", "case_id=9", "run_id=x", "split=2/encoder=y", "[2026] x", "a*b", "{a,b}", "o'ne", 'tw"o',
        "ünï 病理", "milstore.duckdb.tmp", "#%20;--",
    ],
)  # fmt: skip
def test_a_copy_answers_for_itself(three: Store, tmp_path: Path, place: str) -> None:
    """Whatever the folders above are called, a copy that lost a run has no row of it, and the original has."""
    database = copied(three, tmp_path / place / "store")
    assert asked(database) == OF_ONE
    assert asked(database, read_only=True) == OF_ONE
    assert asked(database, "select distinct case_id from attention order by all") == [("10",), ("2",), ("46",)]
    assert asked(database, "select count(*) from out_of_fold") == [(2,)]
    assert asked(three.database) == OF_ALL


def test_a_copy_answers_in_the_shell(three: Store, tmp_path: Path) -> None:
    """By a relative path, through a link to the folder, in the folder itself, and read-only, in the duckdb shell."""
    if SHELL is None:
        pytest.skip("the duckdb shell is not installed")
    folder = copied(three, tmp_path / "archive" / "store").parent
    (tmp_path / "link").symlink_to(folder)
    ways = [
        ("archive/store/milstore.duckdb", tmp_path),
        ("milstore.duckdb", folder),
        ("./milstore.duckdb", folder),
        ("../milstore.duckdb", folder / "cohort"),
        ("link/milstore.duckdb", tmp_path),
        (str(tmp_path / "link" / "milstore.duckdb"), tmp_path),
    ]
    shutil.rmtree(three.root / "running")
    for path, cwd in ways:
        words = [SHELL, "-csv", "-noheader", "-readonly", path, RUNS]
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
        assert (done.stdout.split(), done.stderr) == (["exp-s1-0,19", "exp-s3-0,19"], ""), path


def test_a_read_only_copy_answers_for_itself(three: Store, tmp_path: Path) -> None:
    """As in an archive that nobody may write to."""
    database = copied(three, tmp_path / "copy")
    for path in [*database.parent.rglob("*"), database.parent]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert asked(database, read_only=True) == OF_ONE
    finally:
        make_writable(database.parent)


def test_a_moved_store_and_a_relative_path(three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is moved answers where it is, by a path from any directory, also after a change of directory."""
    three.root.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    with closing(duckdb.connect("moved/milstore.duckdb")) as con:
        assert con.execute(RUNS).fetchall() == OF_ALL
        os.chdir("/")
        assert con.execute(RUNS).fetchall() == OF_ALL


def test_every_view_fails_where_the_place_is_not_known(three: Store, tmp_path: Path) -> None:
    """Attached to another database, or with a temp_directory, no view gives a row, and the message says what to do."""
    views = ["runs", "epochs", "predictions", "probabilities", "attention", "coverage", "out_of_fold"]
    with closing(duckdb.connect()) as con:
        con.execute(f"attach '{three.database}' as store (read_only)")
        for name in views:
            with pytest.raises(duckdb.Error, match=NOT_ITSELF):
                con.execute(f"select * from store.{name}").fetchall()
        assert con.execute("select count(*) from store.cases").fetchall() == [(3,)]
    with closing(duckdb.connect(str(three.database), config={"temp_directory": str(tmp_path)})) as con:
        for name in views:
            with pytest.raises(duckdb.Error, match=NOT_ITSELF):
                con.execute(f"select * from {name}").fetchall()
        con.execute("reset temp_directory")
        assert con.execute(RUNS).fetchall() == OF_ALL


@pytest.mark.parametrize("name", ["milstore.duckdb", "renamed.duckdb"])
def test_two_stores_in_one_shell_do_not_answer_for_each_other(three: Store, tmp_path: Path, name: str) -> None:
    """Where a second store is attached, also by a copy of another name, neither store's views give a row."""
    other = copied(three, tmp_path / "copy")
    other.rename(other.with_name(name))
    with closing(duckdb.connect(str(three.database))) as con:
        con.execute(f"attach '{other.with_name(name)}' as other (read_only)")
        for asked_of in ("runs", "other.runs", "other.out_of_fold"):
            with pytest.raises(duckdb.Error, match="more than one store is open: open each by itself"):
                con.execute(f"select * from {asked_of}").fetchall()
        con.execute("detach other")
        assert con.execute(RUNS).fetchall() == OF_ALL


def test_a_database_of_ones_own_can_be_attached(three: Store, tmp_path: Path) -> None:
    """What is no store does not stand in the way."""
    with closing(duckdb.connect(str(tmp_path / "mine.duckdb"))) as con:
        con.execute("create table mine as select 'exp-s1-0' as run_id, 'good' as note")
    with closing(duckdb.connect(str(three.database))) as con:
        con.execute(f"attach '{tmp_path}/mine.duckdb' as mine")
        assert con.execute("select note, split from mine.mine join runs using (run_id)").fetchall() == [("good", 1)]


def test_large_patch_tables_and_features_are_found_beside_the_file(
    three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is a view because it is large, and the packs of features, are those of the copy."""
    import numpy as np

    from milstore.store import catalog_build as building
    from milstore.store.cohort_edit import edit_cohort
    from milstore.store.features import FeaturePack

    monkeypatch.setattr(building, "LARGEST_TABLE", 5)
    with edit_cohort(three) as edit:
        patches = edit.table("patches")
        with FeaturePack(three, encoder="hed", n_features=2, dtype="float16", patches=patches) as pack:
            pack.write(0, np.ones((patches.num_rows, 2), np.float16))
            pack.commit(edit, source="by hand")
    database = copied(three, tmp_path / "case_id=9" / "copy")
    make_writable(three.root)
    shutil.rmtree(three.root)
    assert asked(database, "select count(*), count(distinct case_id) from patches") == [(19, 3)]
    assert asked(database, "select count(*), count(distinct case_id) from features") == [(19, 3)]
    assert asked(database, "select table_type from information_schema.tables where table_name = 'patches'") == [
        ("VIEW",)
    ]


def test_strange_folders_beside_the_runs_are_not_read(three: Store) -> None:
    """A folder that is no run's, such as a backup or one half removed, is not in the views."""
    for name in ("bak_run_id=exp-s1-0", ".run_id=exp-s1-0.x.tmp"):
        shutil.copytree(three.run_folder("exp-s1-0"), three.runs / name)
    assert asked(three.database) == OF_ALL


def test_the_engine_answers_for_the_store_it_was_opened_on(three: Store, tmp_path: Path) -> None:
    """pandas through SQLAlchemy, in a copy below a folder with brackets."""
    store = open_store(copied(three, tmp_path / "o[d]" / "copy").parent)
    assert list(pd.read_sql("select run_id from runs order by run_id", make_engine(store))["run_id"]) == [
        "exp-s1-0",
        "exp-s3-0",
    ]


def test_below_a_question_mark_nothing_is_made_and_nothing_answers(three: Store, tmp_path: Path) -> None:
    """For DuckDB a question mark ends a path: the log of such a file would lie elsewhere, so it is said and left."""
    database = copied(three, tmp_path / "a?b" / "copy")
    with pytest.raises(duckdb.Error, match=NOT_ITSELF):
        asked(database, read_only=True)
    (database.parent / "cohort" / "catalog.json").unlink()
    before = database.read_bytes()
    assert refresh(open_store(database.parent)) == [
        "milstore.duckdb cannot be made below a folder with a question mark in its name, "
        "which ends a path for DuckDB: rename the folder"
    ]
    assert database.read_bytes() == before


def test_a_store_below_a_key_is_made_as_any_other(tmp_path: Path) -> None:
    """Tables are copied from the files' own columns, never from what a folder above is called."""
    store = three_case_store(tmp_path / "case_id=9" / "label=0" / "store")
    assert asked(store.database, "select case_id, label from cases order by case_order") == [
        ("2", 1),
        ("10", 0),
        ("46", 0),
    ]
    assert asked(store.database, "select distinct case_id from patches order by all") == [("10",), ("2",), ("46",)]


def test_milstore_shell_answers_from_a_copy(three: Store, tmp_path: Path) -> None:
    """The prompt of milstore itself, in a copy."""
    folder = copied(three, tmp_path / "copy").parent
    done = subprocess.run(
        [sys.executable, "-c", RUN_MAIN, "shell", "--store", str(folder), "--format", "csv"],
        input="select run_id from runs order by all;\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["run_id", "exp-s1-0", "exp-s3-0"]
