"""CLAM's data set table, a row a slide, is a table of slides and one of labels."""

from pathlib import Path

import pytest

from milstore.errors import DataError
from milstore.ingest.labels import ingest_labels
from milstore.store import create_store
from milstore.store.cohort import read_cohort
from tests.clam_files import clam_dataset
from tests.ingesting import contents, milstore


def test_it_is_a_table_of_labels(tmp_path: Path) -> None:
    """Several rows of a case that agree are one label."""
    store = create_store(tmp_path / "store")
    report = ingest_labels(store, clam_dataset(tmp_path))
    assert report.cases == {"benign": 2, "high-grade": 1}
    assert {row["case_id"]: row["class_name"] for row in read_cohort(store).table("cases").to_pylist()} == {
        "A": "high-grade",
        "B": "benign",
        "C": "benign",
    }


def test_slides_of_one_case_that_contradict_are_refused(tmp_path: Path) -> None:
    """The case is named with the lines of both labels, and nothing is stored."""
    store = create_store(tmp_path / "store")
    path = clam_dataset(tmp_path)
    path.write_text(path.read_text().replace("A,A_sox,high-grade", "A,A_sox,benign"))
    before = contents(store)
    with pytest.raises(DataError, match=r"has case A as high-grade \(line 2\) and as benign \(line 3\): keep one"):
        ingest_labels(store, path)
    assert contents(store) == before


def test_it_is_a_table_of_slides_without_options_where_there_is_one_stain(tmp_path: Path) -> None:
    """`ingest slides cohort.csv`: case, slide and label by their columns, the stain the store's only one."""
    store = create_store(tmp_path / "store")
    (store.root / "milstore.toml").write_text('[stains]\n"h&e" = ["he"]\n')
    assert milstore(store, "ingest", "slides", clam_dataset(tmp_path)) == 0
    cohort = read_cohort(store)
    assert {row["slide_id"]: (row["case_id"], row["stain"]) for row in cohort.table("slides").to_pylist()} == {
        "A_he": ("A", "h&e"),
        "A_sox": ("A", "h&e"),
        "B_he": ("B", "h&e"),
        "C_he": ("C", "h&e"),
    }
    assert {row["case_id"]: row["class_name"] for row in cohort.table("cases").to_pylist()} == {
        "A": "high-grade",
        "B": "benign",
        "C": "benign",
    }
