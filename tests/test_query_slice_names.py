"""Slices are called by their names: in the answers, in their order, and where one is asked for."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from milstore import queries
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.report.gallery import tiles
from milstore.report.studies import bars
from milstore.schema.columns import view_text
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.views import connect_bare
from tests.making import Patch, levels, make_run, make_store

NAMES = {0: "match_10", 1: "match_2", 2: "0"}
"""The slices' names by their numbers: the last is called by the number of the first."""


@pytest.fixture
def named(tmp_path: Path) -> Store:
    """A case of one stain and three slices, of 1, 2 and 3 patches, with 5, 3 and 2 tenths of the attention."""
    patches: list[Patch] = [("7", "h&e", slice_idx, i) for slice_idx in NAMES for i in range(slice_idx + 1)]
    store = make_store(tmp_path / "store", {"7": 1}, patches)
    rows = [
        {"case_id": "7", "stain": "h&e", "slice_idx": idx, "slice_name": name, "n_patches": idx + 1}
        for idx, name in NAMES.items()
    ]
    with edit_cohort(store) as edit:
        edit.replace("slices", pa.Table.from_pylist(rows, schema=edit.table("slices").schema))
    of_slice = {0: 5.0, 1: 1.5, 2: 2 / 3}
    weights = {patch: of_slice[patch[2]] for patch in patches}
    make_run(store, "exp-s1-0", {"7": "test"}, {"7": 1}, {"7": (0.1, 0.9)}, levels(weights))
    return store


def _asked(store: Store, name: str, **values: Any) -> list[dict[str, Any]]:
    return ask(store, name, Choice(cases=("7",)), values).records()


@pytest.mark.parametrize("name", ["coverage", "top-patches", "slice-pattern"])
def test_slices_in_the_natural_order_of_their_names(named: Store, name: str) -> None:
    """Each row of a slice says its name, and match_2 comes before match_10 whatever number it was given."""
    assert [(row["slice_idx"], row["slice_name"]) for row in _asked(named, name)] == [
        (2, "0"),
        (1, "match_2"),
        (0, "match_10"),
    ]


def test_every_question_that_gives_slices_gives_their_names() -> None:
    """Where the number of a slice is a column, its name is the next."""
    for name in queries.loader.built_in_names():
        columns = queries.load(name).columns
        if "slice_idx" in columns:
            assert columns[columns.index("slice_idx") + 1] == "slice_name", name


@pytest.mark.parametrize("question", ["patch-profile", "slice-map"])
@pytest.mark.parametrize(
    ("slice_", "expected"),
    [("match_2", 1), ("MATCH_10", 0), ("1", 1), (1, 1), ("2", 2), ("0", 2), (None, 0)],
    ids=[
        "name",
        "capitals",
        "number",
        "a number of Python",
        "number of one without that name",
        "name first",
        "heaviest",
    ],
)
def test_a_slice_is_meant_by_its_name_or_its_number(named: Store, question: str, slice_: Any, expected: int) -> None:
    """`--slice match_2` is the slice of that name, `--slice 1` that of slice_idx 1; a name goes before a number.

    Where none is asked for, the profile is that of the heaviest slice and the map shows all.
    """
    all_of_them = question == "slice-map" and slice_ is None
    assert {row["slice_idx"] for row in _asked(named, question, slice=slice_)} == (
        {0, 1, 2} if all_of_them else {expected}
    )


@pytest.mark.parametrize("question", ["patch-profile", "slice-map", "patch-gallery"])
def test_a_slice_that_there_is_not(named: Store, question: str) -> None:
    """It is said which slices there are, by name and number, in natural order."""
    with pytest.raises(
        UsageError, match=r"has no such slice: it has h&e 0 \(2\), h&e match_2 \(1\), h&e match_10 \(0\)"
    ):
        _asked(named, question, slice="match_3")


def test_ties_are_broken_by_name(named: Store) -> None:
    """Slices that weigh the same stand in the natural order of their names."""
    even = {("7", "h&e", idx, i): (6.0, 3.0, 2.0)[idx] for idx in NAMES for i in range(idx + 1)}
    make_run(named, "even-s1-0", {"7": "test"}, {"7": 1}, {"7": (0.1, 0.9)}, levels(even), experiment="even")
    for question in ("slice-attention", "selected-slices"):
        found = ask(named, question, Choice(experiment="even")).records()
        assert len({row["slice_attention"] for row in found}) == 1
        assert [row["slice_name"] for row in found] == ["0", "match_2", "match_10"], question


def test_natural_order() -> None:
    """The macro sorts numbers within a name by their value; null stays null."""
    con = connect_bare()
    con.execute(view_text("natural_order"))
    names = ["b1", "a10", "a2", "a10b9", "a10b10", "7", "12"]
    found = con.execute(f"select x from unnest({names}) as t(x) order by natural_order(x)").fetchall()
    assert [name for (name,) in found] == ["7", "12", "a2", "a10", "a10b9", "a10b10", "b1"]
    assert con.execute("select natural_order(null)").fetchall() == [(None,)]


def test_the_report_calls_slices_by_name(named: Store) -> None:
    """Bars and pictures of the report say the name that the files have."""
    rows = _asked(named, "top-patches")
    labels = [bar.label for bar in bars(rows, {"h&e": "#888888"})]
    assert labels == ["h&e", "slice 0", "match_2", "match_10"]
    places = {tile.place for tile in tiles(named, ask(named, "top-patch-list", Choice(cases=("7",)), {"n": 9}), 16)}
    assert places == {"h&e · slice 0", "h&e · slice match_2", "h&e · slice match_10"}
