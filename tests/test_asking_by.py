"""Questions of groups of cases: `--by site`."""

from pathlib import Path

import pyarrow as pa
import pytest

import milstore
from milstore.asking.grouped import ask_by
from milstore.asking.groups import groups_of
from milstore.asking.selection import Choice
from milstore.charts.render import drawing
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from tests.making import levels, make_run, make_store

LABELS = {"1": 0, "2": 0, "3": 1, "4": 1, "5": 1}
CHANCES = {"1": (0.9, 0.1), "2": (0.2, 0.8), "3": (0.1, 0.9), "4": (0.3, 0.7), "5": (0.6, 0.4)}


def keep(store: Store, name: str, values: dict[str, str]) -> None:
    with edit_cohort(store) as edit:
        before = edit.table("case_attributes").to_pylist()
        rows = before + [{"case_id": case, "name": name, "value": value} for case, value in values.items()]
        edit.replace("case_attributes", pa.Table.from_pylist(rows, edit.table("case_attributes").schema))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Cases 1, 3 of Leeds, 2, 4 of York; the site of 5 is not known; 6, of Hull, was never predicted."""
    made = make_store(tmp_path / "store", LABELS | {"6": 0}, [(case, "h&e", 0, 0) for case in LABELS])
    make_run(
        made,
        "exp-s1-0",
        dict.fromkeys(LABELS, "test"),
        LABELS,
        CHANCES,
        levels({(case, "h&e", 0, 0): 1.0 for case in LABELS}),
    )
    keep(made, "site", {"1": "Leeds", "3": "Leeds", "2": "York", "4": "York", "6": "Hull"})
    return made


def test_each_group_has_its_own_counts(store: Store) -> None:
    """The value stands before the other columns; the unknown are the last group; one that is not in the answer is named."""
    answer = ask_by(store, "recall", "site")
    pooled = [
        (row["site"], row["true_class"], row["right"], row["cases"])
        for row in answer.records()
        if row["measure"] == "recall" and row["scope"] == "split 1"
    ]
    assert pooled == [
        ("Leeds", "benign", 1, 1), ("Leeds", "high-grade", 1, 1), ("York", "benign", 0, 1), ("York", "high-grade", 1, 1),
        (None, "benign", 0, 0), (None, "high-grade", 0, 1),
    ]  # fmt: skip
    assert answer.title == "experiment exp, seed 0, test subsets, by site"
    assert "site Hull: none of its 1 case is in this answer" in answer.notes
    assert answer.columns[0] == answer.arrow().column_names[0] == "site"
    assert answer.arrow()["site"].to_pylist() == [row["site"] for row in answer.records()]


def test_the_face_for_notebooks_takes_by(store: Store) -> None:
    """`query(…, by=…)` gives the same rows, `plot(…, by=…)` a chart a group under its own title."""
    opened = milstore.open(store.root)
    assert opened.query("misclassified", by="site").rows() == ask_by(store, "misclassified", "site").rows()
    spec = opened.plot("confusion", by="site").to_dict()
    assert len(spec["vconcat"]) == 3
    assert [title.rpartition(" · ")[2] for title in (" ".join(part["title"]["text"]) for part in spec["vconcat"])] == [
        "site Leeds", "site York", "site not known",
    ]  # fmt: skip
    assert "site Hull: none of its 1 case is in this answer" in drawing(store, "confusion", by="site").about.notes


def test_numbers_are_cut_at_their_quartiles(store: Store) -> None:
    """More than twenty values that are numbers make four groups, named by their own ends; twenty and less stay as they are."""
    with edit_cohort(store) as edit:
        rows = [{"case_id": str(i), "case_order": i} for i in range(1, 25)]
        edit.replace("cases", pa.Table.from_pylist(rows, edit.table("cases").schema))
    keep(store, "age", {str(i): str(10 * i) for i in range(1, 25)})
    assert [(group.value, len(group.cases)) for group in groups_of(store, "age")] == [
        ("10 to 60", 6), ("70 to 120", 6), ("130 to 180", 6), ("190 to 240", 6),
    ]  # fmt: skip
    keep(store, "year", {str(i): str(2000 + i) for i in range(1, 21)})
    assert [group.value for group in groups_of(store, "year")] == [*map(str, range(2001, 2021)), None]


def test_what_cannot_be_asked_so_is_one_line(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown attribute, many texts, single cases, and questions about runs: exit code 2 and what to do."""
    with edit_cohort(store) as edit:
        rows = [{"case_id": str(i), "case_order": i} for i in range(7, 31)]
        edit.replace(
            "cases", pa.concat_tables([edit.table("cases"), pa.Table.from_pylist(rows, edit.table("cases").schema)])
        )
    keep(store, "name", {str(i): f"n{i}" for i in range(1, 30)})
    refused = {
        ("recall", "--by", "sit"): "error: --by 'sit': the store keeps no such attribute of its cases; did you mean site?",
        ("recall", "--by", "name"): "error: --by 'name': it has 29 values, which are too many to compare, and no numbers "
        "to cut in four",
        ("recall", "--by", "site", "--case", "1"): "error: --by parts all cases into groups: leave out --case, or --by",
        ("loss-curves", "--by", "site"): "error: query loss-curves is not about cases, so it cannot be asked by an "
        "attribute of theirs: leave out --by",
    }  # fmt: skip
    for (name, *words), said in refused.items():
        assert main(["query", name, "--store", str(store.root), *words]) == 2
        assert capsys.readouterr().err.strip() == said


def test_no_group_in_the_answer(store: Store) -> None:
    """Where no group has a case in it, that is said and not an empty answer."""
    with pytest.raises(UsageError, match=r"no group of site has a case in this answer: .*no case is in it"):
        ask_by(store, "recall", "site", Choice(subset="val"))


def test_a_terminal_shows_the_first_rows_of_each_group(store: Store) -> None:
    """All rows of the first group alone would be nothing to compare."""
    leading = ask_by(store, "recall", "site").leading(9)
    assert [row[0] for row in leading] == ["Leeds"] * 3 + ["York"] * 3 + [None] * 3


def test_empty_cells_are_no_attribute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--keep site,age` keeps both columns; a case whose cell is empty has no value."""
    (tmp_path / "l.csv").write_text("case_id,label,site,age\n1,a,Leeds,50\n2,b,,60\n", encoding="utf-8")
    root = str(tmp_path / "store")
    assert main(["init", "--store", root]) == 0
    assert (
        main(["ingest", "labels", str(tmp_path / "l.csv"), "--map", "a=a,b=b", "--keep", "site, age", "--store", root])
        == 0
    )
    capsys.readouterr()
    assert (
        main(["sql", "select case_id, name, value from case_attributes order by all", "--store", root, "-f", "csv"])
        == 0
    )
    assert capsys.readouterr().out.split() == ["case_id,name,value", "1,age,50", "1,site,Leeds", "2,age,60"]
