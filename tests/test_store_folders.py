"""Where a store lies says nothing of what is in it: parents of any name, and paths that no store can lie at."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from milstore.asking.ask import ask, ask_sql, connect_locked
from milstore.asking.selection import Choice
from milstore.cli.main import main
from milstore.errors import StoreError
from milstore.report.answers import Answerer
from milstore.report.building import build_report
from milstore.report.plan import CLOSING, OPENING
from milstore.schema.columns import columns
from milstore.store import Store, create_store, doctor, open_store
from milstore.store.findings import DAMAGE, LEFTOVER
from milstore.store.sql_text import path_literal
from milstore.store.summary import contents
from milstore.training.setup import known_runs
from tests.crossing import WHOLE
from tests.making import three_case_store
from tests.reporting import brief
from tests.test_layout import ROOT

NAMES = sorted({column for group in ("cohort", "features", "run") for of in columns(group).values() for column in of})
KEYS = [f"{name}=9" for name in (*NAMES, "filename", "pct", "subset")]
"""What DuckDB would take for a column of every file below."""
TABLES = (*columns("cohort"), *columns("run"), "features", "out_of_fold")
ODD = [
    "[2026] melanoma", "o[d]", "a*b", "**", "a?b", "[!a]", "[a-z]", "]x[", "{a,b}", "q'q", 'd"q', "a;b -- c", "$HOME",
    "%41", "a#b", "~", " ", "a ", "uml äöü", "日本", "é́", "tab\t", "new\nline", "run_id=_none", "run_id=exp-s1-0",
    "runs", "case_id=9", "split=2", "class_name=a=b", "http:", "x.parquet", ".x.tmp",
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of three cases at a plain path."""
    return three_case_store(tmp_path_factory.mktemp("plain") / "store")


@pytest.fixture(scope="module")
def expected(made: Store) -> dict[str, Any]:
    """What it answers there."""
    return answers(made)


@pytest.fixture
def elsewhere(made: Store, tmp_path: Path) -> Iterator["Elsewhere"]:
    """Puts copies of the store below parents of any name, one after another."""
    place = Elsewhere(made, tmp_path / "parents")
    yield place
    place.clear()


class Elsewhere:
    """A folder below which the store is put."""

    def __init__(self, made: Store, folder: Path) -> None:
        self.made, self.folder = made, folder

    def put(self, *parents: str) -> Store:
        """The store below these parents, as if it had been made there, but for milstore.duckdb."""
        self.clear()
        root = self.folder.joinpath(*parents, "data")
        shutil.copytree(self.made.root, root)
        (root / "milstore.duckdb").unlink(missing_ok=True)
        return open_store(root)

    def clear(self) -> None:
        """Remove what was put. Finished runs are read-only."""
        shutil.rmtree(self.folder, ignore_errors=True)


def answers(store: Store) -> dict[str, Any]:
    """What a store says by each way of reading it."""
    reported = Answerer(store, Choice())
    with connect_locked(store) as con:
        tables = {name: con.execute(f"select * from {name} order by all").fetchall() for name in TABLES}
    return {
        **tables,
        "recall": ask(store, "recall").rows(),
        "top-patches": ask(store, "top-patches", Choice(cases=("2",))).rows(),
        "one run": ask(store, "loss-curves", Choice(run="exp-s2-0")).rows(),
        "from one run": ask_sql(store, "select count(*) from attention where run_id = 'exp-s3-0'").rows(),
        "contents": contents(store)[:-1],
        "trained": sorted((run["run_id"], run["split_set"], run["split"]) for run in known_runs(store, "exp")),
        "reported": [reported.result(name).rows() for name in ("misclassified", "coverage")],
        "damage": [each for each in doctor.check(store, young=0) if each.kind in (DAMAGE, LEFTOVER)],
    }


def test_known_answers(expected: dict[str, Any]) -> None:
    """The answers at the plain path are those that were put in by hand."""
    assert expected["trained"] == [("exp-s1-0", "three", 1), ("exp-s2-0", "three", 2), ("exp-s3-0", "three", 3)]
    assert [row[0] for row in expected["runs"]] == ["exp-s1-0", "exp-s2-0", "exp-s3-0"]
    assert expected["from one run"] == [(19,)]
    assert expected["damage"] == []


@pytest.mark.parametrize("parents", [KEYS, ODD], ids=["keys", "odd"])
def test_parents_of_any_name_change_no_answer(
    elsewhere: Elsewhere, expected: dict[str, Any], parents: list[str]
) -> None:
    """Queries, SQL, info, the doctor and what training knows of the splits are those of a plain path.

    Below a key for every column of the schema, and below signs of patterns, quotes, spaces and letters of all kinds.
    """
    assert answers(elsewhere.put(*parents)) == expected


MET = ["case_id=9", "a*b?c'd\"e\nf", *(["run_id=exp-s1-0", "split=2", "[2026] melanoma"] if WHOLE else [])]


@pytest.mark.parametrize("parent", MET)
def test_a_parent_that_was_met_changes_no_answer(elsewhere: Elsewhere, expected: dict[str, Any], parent: str) -> None:
    """The same, for the few that stand for the others; `make torture` takes three more."""
    assert answers(elsewhere.put(parent)) == expected


def test_the_report_is_that_of_a_plain_path(made: Store, elsewhere: Elsewhere) -> None:
    """The first question of every chapter of the report, and the studies of its cases; all questions by `make torture`."""
    anchors = () if WHOLE else (each.anchor for each in (*OPENING, *CLOSING))
    with brief(*anchors, charts=False):
        plain, other = build_report(made), build_report(elsewhere.put("case_id=9", "[2026] split=2"))
    assert other.faults == []
    assert (other.subject, other.headlines, other.notes) == (plain.subject, plain.headlines, plain.notes)
    for chapters, others in ((plain.opening, other.opening), (plain.closing, other.closing)):
        assert [(a.words, a.table) for _, of in chapters for a in of] == [
            (a.words, a.table) for _, of in others for a in of
        ]
    assert [replace(study, tiles=()) for study in plain.studies] == [
        replace(study, tiles=()) for study in other.studies
    ]


NAME = st.one_of(
    st.sampled_from([*KEYS, *ODD]),
    st.tuples(st.sampled_from(NAMES), st.text("ab9*?['\"= ", max_size=5)).map("=".join),
    st.text(st.characters(codec="utf-8", exclude_characters="\0/\\"), min_size=1, max_size=20).filter(
        lambda name: name not in (".", "..") and len(name.encode()) < 200
    ),
)


@settings(max_examples=24 if WHOLE else 1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parents=st.lists(NAME, min_size=1, max_size=5))
@example(parents=["split=9", "case_id=9", "run_id=x", "[x]", "label=null"])
def test_parents_within_parents_change_no_answer(
    elsewhere: Elsewhere, expected: dict[str, Any], parents: list[str]
) -> None:
    """Parents within parents, of columns' names with values, signs of patterns, quotes and any letters.

    `make torture` draws more of them.
    """
    assert answers(elsewhere.put(*parents)) == expected


DEEP = ["[a*?]é'", *(["d", "case_id=9", "split=2" + 5 * "x"] if WHOLE else [])]


@pytest.mark.parametrize("name", DEEP)
def test_hundreds_of_levels_change_no_answer(elsewhere: Elsewhere, expected: dict[str, Any], name: str) -> None:
    """As deep as the operating system's longest path lets it be in `make torture`, with plain names and keys too; here half."""
    assert answers(elsewhere.put(*[name] * (200 if WHOLE else 100))) == expected


@pytest.mark.database
def test_the_database_is_made_below_any_parent(elsewhere: Elsewhere) -> None:
    """What is copied into milstore.duckdb is of the store's own files, not of a folder above it."""
    for parents in (("case_id=9", "label=1"), ("[2026] melanoma", "a*b")):
        store = elsewhere.put(*parents)
        assert main(["info", "--store", str(store.root), "--quiet"]) == 0
        import duckdb

        with duckdb.connect(str(store.database), read_only=True) as con:
            assert con.execute("select case_id, label from cases order by all").fetchall() == [
                ("10", 0), ("2", 1), ("46", 0)
            ]  # fmt: skip
            assert con.execute("select run_id, split from runs order by all").fetchall() == [
                ("exp-s1-0", 1), ("exp-s2-0", 2), ("exp-s3-0", 3)
            ]  # fmt: skip


@pytest.mark.parametrize("parent", ["back\\slash", "end\\", "\\", os.fsdecode(b"latin-\xe4")])
def test_a_place_that_cannot_work_is_refused(
    made: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], parent: str
) -> None:
    """With a backslash in it, or none of UTF-8: one line from init and from every other command, and nothing is made."""
    root = tmp_path / parent / "data"
    assert main(["init", "--store", str(root)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: no store can lie at ")
    assert said.endswith("rename that folder\n")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    shutil.copytree(made.root, root)
    for words in (["query", "recall"], ["info"], ["doctor"], ["sql", "select 1"], ["init"]):
        assert main([*words, "--store", str(root)]) == 2
        assert capsys.readouterr().err == said
    with pytest.raises(StoreError, match="rename that folder"):
        open_store(root)


def test_a_link_of_an_odd_name_is_a_way_to_a_store(made: Store, expected: dict[str, Any], tmp_path: Path) -> None:
    """What counts is where the store really lies."""
    (tmp_path / "back\\slash").symlink_to(made.root)
    assert answers(open_store(tmp_path / "back\\slash")) == expected


def test_a_path_that_is_none_is_a_line(tmp_path: Path) -> None:
    """A character 0, and a name that is too long, are said in the words of milstore."""
    for path, words in ((f"{tmp_path}/a\0b", "character 0"), (tmp_path / ("x" * 300), "File name too long")):
        with pytest.raises(StoreError, match=words):
            open_store(path)
        with pytest.raises(StoreError, match=words):
            create_store(path)


def test_a_path_is_quoted_in_a_command_that_is_to_be_pasted(tmp_path: Path) -> None:
    """The option that messages name finds the store in a shell."""
    from milstore.store.paths import store_option

    store = create_store(tmp_path / "[2026] it's")
    assert store_option(store) == f""" --store '{tmp_path}/[2026] it'"'"'s'"""


def test_a_path_for_duckdb_is_escaped() -> None:
    """Signs of patterns stand in brackets, quotes are doubled."""
    assert path_literal(Path("/a[1]/b*/c?/d'e")) == "'/a[[]1]/b[*]/c[?]/d''e'"


@pytest.mark.parametrize("package", ["milstore", "benchmarks"])
def test_no_file_is_read_with_keys_of_folders(package: str) -> None:
    """Wherever DuckDB is given a file to read, it is told to take no columns from the names of folders."""
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "hive_partitioning = true" not in line, path
            if "read_parquet({" in line or "read_json({" in line:
                found.append(path.name)
                assert "hive_partitioning = false" in line or "{options}" in line, f"{path}: {line}"
    assert found, package
