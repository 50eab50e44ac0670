"""The one way in for runs: what contradicts the store is refused whole, whoever comes with it."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milstore.errors import ConflictError, DataError
from milstore.schema.arrow import empty
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check
from milstore.store.patch_index import PLACE, by_slice, places, unknown_rows
from milstore.store.predicted import prediction_tables
from milstore.store.run_reader import run_ids
from milstore.store.run_writer import begin_run, list_drafts
from milstore.store.write_run import Told, write_run
from tests.making import THREE_LABELS, THREE_PATCHES, MadeOnce, levels, make_splits, make_store

ROOT = Path(__file__).resolve().parents[1]
SUBSETS = {"2": "test", "10": "val", "46": "train"}
WEIGHTS = {patch: 1.0 + i % 3 for i, patch in enumerate(THREE_PATCHES)}
Tables = dict[str, Any]


@MadeOnce
def _once(folder: Path) -> Store:
    store = make_store(folder, THREE_LABELS, THREE_PATCHES)
    make_splits(store, "s", [{"train": ["46"], "val": ["10"], "test": ["2"]}])
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return _once(tmp_path / "store")


def coverage(attention: pa.Table) -> pa.Table:
    keys = ["case_id", "stain", "slice_idx"]
    counts = attention.group_by(keys).aggregate([([], "count_all")])
    rows = [
        {**dict(zip(keys, place, strict=True)), "subset": SUBSETS[place[0]], "existing": n, "with_feature": n,
         "trained": 0, "evaluated": n}
        for *place, n in zip(*(counts[name].to_pylist() for name in [*keys, "count_all"]), strict=True)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, empty("coverage").schema)


def tables(attended: set[str] = frozenset(SUBSETS), **changes: Any) -> Tables:  # type: ignore[assignment]
    """The tables of a run of the three cases, with attention of some; `labels`, `subsets` and `chances` by case."""
    labels = {**THREE_LABELS, **changes.get("labels", {})}
    subsets = {**SUBSETS, **changes.get("subsets", {})}
    chances = np.array([changes.get("chances", [0.75, 0.25])] * len(subsets))
    attention = levels({patch: weight for patch, weight in WEIGHTS.items() if patch[0] in attended})
    predictions, probabilities = prediction_tables(
        list(subsets), list(subsets.values()), [labels.get(c) for c in subsets], chances
    )
    return {
        "epochs": empty("epochs"), "predictions": predictions, "probabilities": probabilities,
        "attention": attention if attended else empty("attention"),
        "coverage": coverage(attention) if attended else empty("coverage"),
    }  # fmt: skip


FACTS: dict[str, Any] = {
    "experiment": "exp", "split_set": "s", "split": 1, "n_splits": 1, "seed": 0, "config": "{}", "config_hash": "c",
    "kind": "recorded", "finished_at": "2026-01-01T00:00:00",
}  # fmt: skip


def put(store: Store, given_tables: Tables, told: Told | None = None, **facts: Any) -> Path:
    return write_run(begin_run(store, "exp-s1-0", {}), given_tables, {**FACTS, **facts}, told=told)


def test_every_run_goes_by_the_one_way_in() -> None:
    """Nothing in milstore commits a run but `write_run`, which training, record and the importer call."""
    callers: dict[str, set[str]] = {"commit_run": set(), "commit_checked": set(), "write_run": set()}
    for path in (ROOT / "milstore").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in callers:
                callers[node.func.id].add(path.relative_to(ROOT / "milstore").as_posix())
    assert callers["commit_run"] == set()
    assert callers["commit_checked"] == {"store/commit.py", "store/write_run.py"}
    by_milstore = {"training/job.py", "ingest/imported.py", "recording/commit.py", "predicting/storing.py"}
    assert callers["write_run"] == by_milstore


def _unknown_patch(given_tables: Tables) -> Tables:
    moved = [i + (50 if i == 9 else 0) for i in given_tables["attention"]["patch_idx"].to_pylist()]
    return {**given_tables, "attention": given_tables["attention"].set_column(3, "patch_idx", [moved])}


def _score(patch_idx: int, value: float = -2.0, times: int = 1) -> Callable[[Tables], Tables]:
    row = {"case_id": "46", "stain": "h&e", "slice_idx": 0, "patch_idx": patch_idx, "name": "cam", "value": value}
    return lambda given_tables: {**given_tables, "scores": pa.Table.from_pylist([row] * times)}


@pytest.mark.parametrize(
    ("given_tables", "facts", "message"),
    [
        (tables(subsets={"99": "test"}), {"split_set": None, "split": None, "attention": "part"}, "case '99' is not in this store: take it in by"),
        (tables(subsets={"2": "val"}), {}, "case '2' is said to be in val, and the split has it in test: give test"),
        (tables(labels={"46": 1}), {}, "told label 1 of case '46', and the store has label 0: give the store's, or correct"),
        (tables(labels={"46": None}), {}, "the run was told no label of case '46', and the store has label 0"),
        (tables(chances=[0.5, 0.25, 0.25]), {}, "a probability for each of the store's 2 classes (benign, high-grade)"),
        (_unknown_patch(tables()), {}, "attention of 1 patch that this store does not have, such as case 46, h&e, slice 0, patch 59"),
        (_score(7)(tables()), {}, "scores of 1 patch that this store does not have, such as case 46, h&e, slice 0, patch 7"),
        (_score(5, times=2)(tables()), {}, "table scores has 1 keys more than once"),
        (_score(5, float("nan"))(tables()), {}, "table scores has values of value that are NaN or infinite"),
        (tables(), {"attention": "none"}, "says that it has no attention, and has rows of it"),
        (tables(), {"attention": "part"}, "of a part of its cases, and has it of 3 of the 3 predicted ones"),
        (tables({"2"}), {}, "predictions and attention are not of the same cases"),
        (tables(set()), {"attention": "part"}, "of a part of its cases, and has it of 0 of the 3 predicted ones"),
    ],
)  # fmt: skip
def test_what_contradicts_the_store_is_refused_whole(
    store: Store, given_tables: Tables, facts: dict[str, Any], message: str
) -> None:
    """Cases, subsets, labels, classes and patches are the store's, and the run's word on its attention is true."""
    with pytest.raises(DataError) as caught:
        put(store, given_tables, **facts)
    assert message in str(caught.value)
    assert (run_ids(store), [draft.run_id for draft in list_drafts(store)]) == ([], ["exp-s1-0"])


def test_a_store_without_classes_takes_no_run(tmp_path: Path) -> None:
    """Where there is no class there is no order of probabilities."""
    store = create_store(tmp_path / "store")
    with pytest.raises(ConflictError, match="the store has no labels: begin with milstore ingest labels"):
        put(store, tables(), split_set=None, split=None)


@pytest.mark.parametrize(("attended", "said"), [({"2", "10"}, "part"), (set(), "none"), ({"2", "10", "46"}, "patches")])
def test_attention_may_be_of_some_cases_or_of_none(store: Store, attended: set[str], said: str) -> None:
    """A run says what there is of it, and the doctor finds nothing."""
    put(store, tables(attended), attention=said)
    assert check(store) == []


def test_a_case_without_a_label_has_no_error(store: Store) -> None:
    """true_label, p_true and error are null together, and nothing else will do."""
    with edit_cohort(store) as edit:
        rows = edit.table("cases").to_pylist()
        edit.replace("cases", pa.Table.from_pylist([{**r, "label": None, "class_name": None, "source_label": None} if r["case_id"] == "46" else r for r in rows]))  # fmt: skip
    given_tables = tables(labels={"46": None})
    broken = given_tables["predictions"].to_pylist()
    broken[2]["p_true"] = 0.75
    with pytest.raises(DataError, match="case '46' has no label, and so no p_true and no error"):
        put(store, {**given_tables, "predictions": pa.Table.from_pylist(broken, given_tables["predictions"].schema)})
    list_drafts(store)[0].remove()
    put(store, given_tables)
    assert check(store) == []


def test_a_run_keeps_the_labels_that_it_was_told(store: Store) -> None:
    """A training that began before a label was corrected is committed as it began, and the doctor notes it."""
    told = Told(classes=("benign", "high-grade"), label_of={**THREE_LABELS, "46": 1}, subset_of=SUBSETS)
    put(store, tables(labels={"46": 1}), told)
    (note,) = check(store)
    assert (note.kind, note.where) == ("note", "runs/run_id=exp-s1-0")
    assert note.what == "saw other labels than the store has now, of 1 case (46)"


def test_scores_are_stored_with_the_run(store: Store) -> None:
    """Signed numbers of patches that are not attention, in the table of that name."""
    folder = put(store, _score(5)(tables()))
    assert pa.parquet.read_table(folder / "scores.parquet", partitioning=None).to_pylist() == [
        {"case_id": "46", "stain": "h&e", "slice_idx": 0, "patch_idx": 5, "name": "cam", "value": -2.0}
    ]
    assert check(store) == []


PATCHES = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 1), st.integers(0, 4))


def _table(patches: list[tuple[str, str, int, int]]) -> pa.Table:
    types = (pa.string(), pa.string(), pa.int32(), pa.int32())
    return pa.table({name: pa.array([p[i] for p in patches], types[i]) for i, name in enumerate(PLACE)})


@given(st.lists(PATCHES, unique=True), st.lists(PATCHES, unique=True), st.booleans())
def test_unknown_patches_are_found(asked: list[Any], there: list[Any], ordered: bool) -> None:
    """Of any rows in any order, those are found whose patch is not there; texts may be dictionaries."""
    table, others = _table(asked), _table(sorted(there) if ordered else there)
    others = others.set_column(0, "case_id", others["case_id"].dictionary_encode())
    found = unknown_rows(table, places(table), by_slice(others))
    assert {asked[row] for row in found} == set(asked) - set(there)


def test_places_are_those_of_the_patches(store: Store) -> None:
    """What is read alone is what the whole table says."""
    cohort = read_cohort(store)
    texts = cohort.places().cast(cohort.table("patches").select(list(PLACE)).schema)
    assert texts.equals(cohort.table("patches").select(list(PLACE)))
