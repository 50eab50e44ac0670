"""The cohort changes as a whole or not at all."""

from pathlib import Path

import pyarrow as pa
import pytest

from milstore.errors import DataError, StoreError
from milstore.schema import SCHEMA_VERSION
from milstore.store import Settings, Store, create_store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.content_hash import content_hash, with_case_order
from tests.making import three_without_runs


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and its bytes; the database and locks left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and not path.name.startswith("milstore.duckdb")
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return three_without_runs(tmp_path / "store")


def cases(**more: list[object]) -> pa.Table:
    columns: dict[str, list[object]] = {
        "case_id": ["10", "2"], "label": [0, 1], "class_name": ["benign", "high-grade"], "source_label": ["1", "3"], **more,
    }  # fmt: skip
    return with_case_order(pa.table(columns))


def test_a_new_store_has_its_stains_and_nothing_else(tmp_path: Path) -> None:
    """An empty store knows its stains, in their order."""
    store = create_store(tmp_path / "new", Settings(stains={"b": ("bb",), "a": ()}))
    cohort = read_cohort(open_store(tmp_path / "new"))
    assert cohort.table("stains").to_pylist() == [{"stain": "a", "stain_order": 1}, {"stain": "b", "stain_order": 0}]
    assert cohort.table("cases").num_rows == 0
    assert store.settings.stain_of("BB") == "b"


def test_cases_are_in_natural_order() -> None:
    """Case 2 comes before case 10."""
    assert cases().sort_by("case_order")["case_id"].to_pylist() == ["2", "10"]


def test_what_is_replaced_is_read_back(store: Store) -> None:
    """A committed table is what the next reader sees, sorted by its key."""
    with edit_cohort(store) as edit:
        edit.replace("encoders", pa.table({
            "encoder": ["b", "a"], "n_features": [2, 3], "dtype": ["float16"] * 2, "n_patches": [0, 0],
            "fingerprint": ["x", "y"], "folder": ["features/b/x", "features/a/y"], "source": ["", ""],
        }))  # fmt: skip
    assert edit.changed
    assert read_cohort(store).table("encoders")["encoder"].to_pylist() == ["a", "b"]


def test_the_same_content_is_no_change(store: Store) -> None:
    """Replacing a table by itself, in another order, leaves every byte of the store."""
    before = snapshot(store.root)
    with edit_cohort(store) as edit:
        edit.replace("patches", edit.table("patches").sort_by([("patch_idx", "descending")]))
    assert not edit.changed
    assert snapshot(store.root) == before


def test_an_error_leaves_the_store_as_it_was(store: Store) -> None:
    """Whatever goes wrong inside an edit, nothing of it is stored."""
    before = snapshot(store.root)
    with pytest.raises(RuntimeError), edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0], "class_name": ["other"]}))
        raise RuntimeError
    assert snapshot(store.root) == before


@pytest.mark.parametrize(
    ("name", "table", "message"),
    [
        ("classes", pa.table({"label": [0]}), "table classes lacks the column class_name"),
        ("classes", pa.table({"label": [0, 0], "class_name": ["a", "b"]}), "table classes has 1 keys more than once, such as label 0"),
        ("classes", pa.table({"label": [0], "class_name": pa.array([None], pa.string())}), "table classes has 1 rows without class_name"),
        ("classes", pa.table({"label": ["x"], "class_name": ["a"]}), "table classes does not fit its schema"),
        ("cases", cases(), "keys of table slices are not in cases, such as case_id 46"),
        ("cases", cases(label=[0, 7]), "keys of table cases are not in classes, such as label 7"),
    ],
)  # fmt: skip
def test_broken_tables_are_refused_whole(store: Store, name: str, table: pa.Table, message: str) -> None:
    """A table that breaks its schema or a key is named, and nothing is stored."""
    before = snapshot(store.root)
    with pytest.raises(DataError) as refused, edit_cohort(store) as edit:
        edit.replace(name, table)
    assert message in str(refused.value)
    assert snapshot(store.root) == before


def test_a_reader_keeps_its_generation(store: Store) -> None:
    """A cohort that was opened before a commit still reads what it saw."""
    before = read_cohort(store)
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", "malignant"]}))
    assert before.table("classes")["class_name"].to_pylist() == ["benign", "high-grade"]
    assert read_cohort(store).table("classes")["class_name"].to_pylist() == ["benign", "malignant"]
    assert read_cohort(store).fingerprint != before.fingerprint


def test_the_content_hash_tells_null_from_empty() -> None:
    """A missing text and an empty one are different contents."""
    empty, missing = (pa.table({"a": pa.array([value], pa.string())}) for value in ("", None))
    assert content_hash(empty) != content_hash(missing)


def test_a_newer_store_is_refused(store: Store) -> None:
    """A store of a later version is left alone, with one line that says so."""
    text = store.manifest_path.read_text(encoding="utf-8")
    store.manifest_path.write_text(text.replace(f'"version": {SCHEMA_VERSION}', '"version": 99'), encoding="utf-8")
    with pytest.raises(StoreError, match=f"has version 99, this milstore knows {SCHEMA_VERSION}: upgrade milstore"):
        open_store(store.root)


def test_no_store_says_what_to_do(tmp_path: Path) -> None:
    """Opening a folder that is no store names the commands that make one."""
    with pytest.raises(StoreError, match="make one with milstore init or milstore demo"):
        open_store(tmp_path)
