"""A run is committed whole, checked, named once, and never changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milstore.asking.ask import connect_locked
from milstore.errors import DataError, StoreError, UsageError
from milstore.store import Store
from milstore.store.attention import check_coverage, checked_attention, rank_attention
from milstore.store.io import put_parquet, sha256_of
from milstore.store.run_reader import find_run_id, read_run, run_ids
from milstore.store.run_writer import begin_run, list_drafts, mint_run_id, open_draft
from tests.making import RUN_FACTS, THREE_LABELS, Patch, levels, make_run
from tests.test_store_cohort import snapshot

ATTENTION = {("2", "h&e", 0, 0): 1.0, ("2", "h&e", 0, 1): 3.0, ("2", "melan", 0, 0): 4.0}


@pytest.mark.parametrize("arranged", [list, sorted])
def test_ranks_follow_the_stored_value_and_ties_the_identity(arranged: Callable[[list[Patch]], list[Patch]]) -> None:
    """Rank 1 is the highest; equal values go by stain, slice and patch; cases are sorted by bytes."""
    rows = [("b", "h&e", 0, 1), ("b", "h&e", 0, 0), ("b", "a", 0, 5), ("B", "h&e", 0, 0)]
    ranked = rank_attention(levels(dict.fromkeys(arranged(rows), 1.0)))
    assert [tuple(row.values()) for row in ranked.select(["case_id", "stain", "patch_idx", "rank", "n_patches"]).to_pylist()] == [
        ("B", "h&e", 0, 1, 1),
        ("b", "a", 5, 1, 3),
        ("b", "h&e", 0, 2, 3),
        ("b", "h&e", 1, 3, 3),
    ]  # fmt: skip


weights = st.lists(
    st.tuples(st.sampled_from("AB"), st.sampled_from("xy"), st.integers(0, 1), st.integers(0, 9), st.floats(0.01, 1)),
    min_size=1,
    max_size=40,
    unique_by=lambda row: row[:4],
)


@given(rows=weights)
def test_ranks_agree_with_pandas(rows: list[tuple[str, str, int, int, float]]) -> None:
    """For any weights, rank and count are those of a sort in pandas, and the table passes its checks."""
    table = checked_attention(levels({row[:4]: row[4] for row in rows})).table
    frame = table.to_pandas()
    place = ["stain", "slice_idx", "patch_idx"]
    expected = frame.sort_values(["case_id", "effective_attention", *place], ascending=[True, False, True, True, True])
    assert (expected.groupby("case_id").cumcount() + 1).tolist() == expected["rank"].tolist()
    assert frame.groupby("case_id")["n_patches"].nunique().eq(1).all()
    pd.testing.assert_frame_equal(frame, expected)


def change(column: str, value: Callable[[float], float]) -> Callable[[pa.Table], pa.Table]:
    def changed(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[0][column] = value(rows[0][column])
        return pa.Table.from_pylist(rows)

    return changed


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (change("patch_attention", lambda x: x + 0.01), "patch_attention sums to 1.010000 over a slice of case '2', not to 1"),
        (change("stain_attention", lambda x: x + 0.01), "stain_attention differs between patches of one stain"),
        (change("slice_attention", lambda x: x / 2), "slice_attention differs between patches of one slice"),
        (change("effective_attention", lambda x: x + 0.01), "effective_attention sums to 1.010000 over a case of case '2', not to 1"),
        (change("effective_attention", lambda x: float("nan")), "effective_attention that are NaN or infinite"),
        (change("effective_attention", lambda x: -x), "attention has a negative weight"),
        (lambda table: pa.concat_tables([table, table]), "table attention has 3 keys more than once, such as case_id 2"),
        (lambda table: table.append_column("rank", pa.array([1, 2, 3])).append_column("n_patches", pa.array([3] * 3)), "ranks that are not those of its values"),
    ],
)  # fmt: skip
def test_broken_attention_is_refused_whole(three: Store, broken: Callable[[pa.Table], pa.Table], message: str) -> None:
    """What breaks an invariant is named, no run appears, and the draft is kept."""
    before = snapshot(three.runs)
    with pytest.raises(DataError) as refused:
        make_run(three, "new", {"2": "test"}, THREE_LABELS, {"2": (0.5, 0.5)}, broken(levels(ATTENTION)))
    assert message in str(refused.value)
    assert snapshot(three.runs) == before
    assert [draft.run_id for draft in list_drafts(three)] == ["new"]


def test_coverage_that_counts_otherwise_is_refused() -> None:
    """A slice's patches that were evaluated are those that have attention: questions count on it."""
    attention = checked_attention(levels({("2", "h&e", 0, 0): 1.0, ("2", "melan", 0, 0): 3.0}))

    def check(**evaluated: int) -> None:
        rows = [{"case_id": "2", "stain": s, "slice_idx": 0, "evaluated": n} for s, n in evaluated.items()]
        rows[0]["stain"] = "h&e"
        types = [("case_id", pa.string()), ("stain", pa.string()), ("slice_idx", pa.int32()), ("evaluated", pa.int32())]
        check_coverage(pa.Table.from_pylist(rows, pa.schema(types)), attention)

    check(he=1, melan=1, sox10=0)
    with pytest.raises(DataError, match="2 patches of case '2', melan, slice 0 were evaluated, and 1 have attention"):
        check(he=1, melan=2)
    with pytest.raises(DataError, match="0 patches of case '2', melan, slice 0 were evaluated, and 1 have attention"):
        check(he=1)
    with pytest.raises(DataError, match="3 patches of case '2', sox10, slice 0 were evaluated, and 0 have attention"):
        check(he=1, melan=1, sox10=3)


@pytest.mark.parametrize(
    ("subsets", "probabilities", "message"),
    [
        ({"2": "tset"}, {"2": (0.5, 0.5)}, "predictions name the subset 'tset'"),
        ({"2": "test"}, {"2": (0.5, 0.6)}, "the probabilities of case '2' are not numbers from 0 to 1 that sum to 1"),
        ({"2": "test"}, {"2": (0.5, float("nan"))}, "NaN or infinite"),
        (
            {"2": "test", "10": "val"},
            {"2": (0.5, 0.5), "10": (1, 0)},
            "predictions and attention are not of the same cases",
        ),
    ],
)
def test_broken_predictions_are_refused_whole(
    three: Store, subsets: dict[str, str], probabilities: dict[str, tuple[float, ...]], message: str
) -> None:
    """Predictions without a known subset, or that do not sum to 1, never become a run."""
    with pytest.raises(DataError) as refused:
        make_run(three, "new", subsets, THREE_LABELS, probabilities, levels(ATTENTION))
    assert message in str(refused.value)
    assert run_ids(three) == ["exp-s1-0", "exp-s2-0", "exp-s3-0"]


def test_a_committed_run_names_its_files(three: Store) -> None:
    """run.json holds size, rows and SHA-256 of every file, and the facts of the table runs."""
    folder = three.run_folder("exp-s1-0")
    facts = read_run(three, "exp-s1-0")
    assert sorted(facts["files"]) == sorted(p.name for p in folder.iterdir() if p.name != "run.json")
    for name, entry in facts["files"].items():
        assert entry["sha256"] == sha256_of(folder / name)
        assert entry["bytes"] == (folder / name).stat().st_size
        assert entry["rows"] == pq.read_metadata(folder / name).num_rows
    assert {name: facts[name] for name in RUN_FACTS if name not in ("split_set", "n_splits", "finished_at")} == {
        name: value for name, value in RUN_FACTS.items() if name not in ("split_set", "n_splits", "finished_at")
    }
    assert not (three.running / "exp-s1-0").exists()


def test_attention_is_written_for_searches(three: Store) -> None:
    """What every search for a case reads is not compressed, all else is; a group of rows says which cases, ranks
    and sizes it holds; and texts, however written, are read as texts."""
    path = three.run_folder("exp-s1-0") / "attention.parquet"
    group = pq.read_metadata(path).row_group(0)
    columns = {name: group.column(i) for i, name in enumerate(pq.read_schema(path).names)}
    bare = [name for name, column in columns.items() if column.compression == "UNCOMPRESSED"]
    assert (bare, {columns[name].compression for name in columns if name not in bare}) == (
        ["case_id", "stain", "n_patches"], {"ZSTD"},
    )  # fmt: skip
    assert [name for name, column in columns.items() if column.is_stats_set] == ["case_id", "rank", "n_patches"]
    assert {pq.read_schema(path).field(name).type for name in ("case_id", "stain")} == {pa.string()}


def test_a_file_that_was_replaced_is_read_anew(three: Store) -> None:
    """What a process remembers of a file is not taken for another one of the same name and age."""
    con = connect_locked(three)
    sevens = "select count(*) from predictions where run_id = 'exp-s1-0' and true_label = 7"
    assert con.execute(sevens).fetchall() == [(0,)]
    path = three.run_folder("exp-s1-0") / "predictions.parquet"
    table, times = pq.read_table(path, partitioning=None), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    at = table.column_names.index("true_label")
    path.parent.chmod(0o755)
    path.unlink()
    put_parquet(table.set_column(at, "true_label", pa.array([7] * 3, pa.int32())), path)
    os.utime(path, ns=times)
    assert con.execute(sevens).fetchall() == [(3,)]


def test_a_committed_run_is_read_only(three: Store) -> None:
    """Nobody changes a finished run by accident: files 0444, folder 0555."""
    folder = three.run_folder("exp-s1-0")
    assert oct(folder.stat().st_mode)[-3:] == "555"
    assert {oct(path.stat().st_mode)[-3:] for path in folder.iterdir()} == {"444"}


def test_a_finished_run_is_never_overwritten(three: Store) -> None:
    """A run id that is taken is refused, and the run stays as it is."""
    before = snapshot(three.runs)
    with pytest.raises(StoreError, match="run exp-s1-0 is finished already: nothing is overwritten"):
        begin_run(three, "exp-s1-0", {})
    assert snapshot(three.runs) == before


def test_run_ids_are_minted_once() -> None:
    """Two runs that begin in the same second have different ids."""
    ids = {mint_run_id("exp", 2, 7) for _ in range(20)}
    assert len(ids) == 20
    assert all(run_id.startswith("exp-s2-7-20") for run_id in ids)
    with pytest.raises(UsageError, match="does not fit"):
        mint_run_id("../x", 1, 0)


def test_a_run_is_found_by_how_it_begins(three: Store) -> None:
    """A beginning that fits one run is enough; otherwise the runs are named."""
    assert find_run_id(three, "exp-s2") == "exp-s2-0"
    with pytest.raises(UsageError, match="run 'exp-s' is ambiguous: it may be exp-s1-0, exp-s2-0, exp-s3-0"):
        find_run_id(three, "exp-s")
    with pytest.raises(UsageError, match="there is no finished run 'exp-s9': did you mean exp-s"):
        find_run_id(three, "exp-s9")


def test_epochs_are_on_disk_when_they_end(three: Store) -> None:
    """Rows of epochs survive a new opening; a repeated epoch replaces the row and what came after it."""
    draft = begin_run(three, "d", {"a": 1})
    for epoch in (1, 2, 3):
        draft.append_epoch({"epoch": epoch, "x": epoch})
    draft.append_epoch({"epoch": 2, "x": 9})
    again = open_draft(three, "d")
    assert again.facts == {"a": 1}
    assert again.epochs() == [{"epoch": 1, "x": 1}, {"epoch": 2, "x": 9}]


def test_a_checkpoint_that_fails_leaves_the_last_one(three: Store) -> None:
    """A checkpoint is there whole or not at all."""
    draft = begin_run(three, "d", {})
    draft.write_checkpoint(lambda path: path.write_bytes(b"one") and None)

    def fail(path: Path) -> Any:
        path.write_bytes(b"tw")
        raise OSError(28, os.strerror(28))

    with pytest.raises(StoreError, match=r"run d: the checkpoint cannot be written \(No space left on device\)"):
        draft.write_checkpoint(fail)
    assert draft.checkpoint_path.read_bytes() == b"one"
    assert sorted(path.name for path in draft.folder.iterdir()) == ["checkpoint.pt", "draft.json"]
