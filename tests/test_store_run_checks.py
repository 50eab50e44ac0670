"""A run speaks of what the store has, whoever made it."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from milstore.errors import DataError
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.run_checks import check_against_store

LABELS = {"2": 1, "10": 0, "46": 0}


def given(store: Store) -> dict[str, Any]:
    """What the first run of the store of three cases holds."""
    folder = store.run_folder("exp-s1-0")
    tables = {
        name: pq.read_table(folder / f"{name}.parquet", partitioning=None)
        for name in ("predictions", "probabilities", "attention")
    }
    subset_of = dict(zip(*(tables["predictions"][name].to_pylist() for name in ("case_id", "subset")), strict=True))
    return {**tables, "subset_of": subset_of, "label_of": LABELS}


def changed(table: pa.Table, column: str, value: Any) -> pa.Table:
    """The table with a value in the first row of a column."""
    values = [value, *table[column].to_pylist()[1:]]
    return table.set_column(table.column_names.index(column), column, pa.array(values, table[column].type))


def test_what_the_store_has_is_taken(three: Store) -> None:
    """A run of this store passes."""
    check_against_store(read_cohort(three), **given(three))


def test_a_patch_that_is_not_there_is_refused(three: Store) -> None:
    """Named by its place, with the command that takes patches in."""
    run = given(three)
    case_id, stain, slice_idx = (run["attention"][name][0].as_py() for name in ("case_id", "stain", "slice_idx"))
    run["attention"] = changed(run["attention"], "patch_idx", 999)
    with pytest.raises(DataError) as refused:
        check_against_store(read_cohort(three), **run)
    assert str(refused.value) == (
        f"1 patch of the run not in the store, such as case {case_id}, {stain}, slice {slice_idx}, patch 999: "
        "run milstore ingest patches"
    )


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("probabilities", "label", 7, "the store has no class number 7: it has 0, 1"),
        ("predictions", "subset", "none", "is in none in the run and in "),
        ("predictions", "true_label", 7, "has label 7 in the run and"),
    ],
)
def test_other_classes_subsets_and_labels_are_refused(
    three: Store, table: str, column: str, value: Any, message: str
) -> None:
    """A class that the store lacks, a subset that is not the split's, a label that the case does not have."""
    run = given(three)
    run[table] = changed(run[table], column, value)
    with pytest.raises(DataError, match=message):
        check_against_store(read_cohort(three), **run)


def test_a_case_outside_the_split_is_refused(three: Store) -> None:
    """A case that the split does not have is in no subset of it."""
    run = given(three)
    del run["subset_of"]["46"]
    assert pc.any(pc.equal(run["predictions"]["case_id"], "46")).as_py()
    with pytest.raises(DataError, match=r"case 46 is in .* in the run and in no subset in its split"):
        check_against_store(read_cohort(three), **run)
