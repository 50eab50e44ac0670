"""Runs that were trained elsewhere."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from milstore.errors import ConflictError, DataError
from milstore.ingest.runs import ingest_run
from milstore.store import Store
from milstore.store.attention import rank_attention
from milstore.store.cohort_edit import edit_cohort
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts
from tests.ingesting import contents, milstore
from tests.making import THREE_PATCHES, MadeOnce, levels, make_splits, make_store

LABELS = {"2": 1, "10": 0, "46": 0}
WEIGHTS = {patch: 1.0 + i % 5 for i, patch in enumerate(THREE_PATCHES)}
PREDICTIONS = "case_id,p_0,p_1,subset\n002,0.25,0.75,test\n10,0.5,0.5,val\n46,1,0,train\n"


@MadeOnce
def split_once(folder: Path) -> Store:
    """Three cases and a split, but no run."""
    store = make_store(folder, LABELS, THREE_PATCHES)
    make_splits(store, "s", [{"train": ["46"], "val": ["10"], "test": ["2"]}])
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return split_once(tmp_path / "store")


def save(folder: Path, predictions: str = PREDICTIONS, attention: pa.Table | None = None) -> tuple[Path, Path]:
    """The two tables as CSV."""
    (folder / "p.csv").write_text(predictions)
    pacsv.write_csv(levels(WEIGHTS) if attention is None else attention, folder / "a.csv")
    return folder / "p.csv", folder / "a.csv"


def read(store: Store, run_id: str, table: str) -> pa.Table:
    return pq.read_table(store.run_folder(run_id) / f"{table}.parquet", partitioning=None)


def test_a_run_from_elsewhere_is_a_run_like_ours(store: Store, tmp_path: Path) -> None:
    """Labels come from the store, subsets from the split; attention is ranked; what is unknown is called so."""
    report = ingest_run(store, *save(tmp_path), experiment="theirs", split=1, slices_by="number")
    assert run_ids(store) == [report.run_id]
    assert read(store, report.run_id, "predictions").to_pylist() == [
        {"case_id": "10", "subset": "val", "true_label": 0, "pred_label": 0, "p_true": 0.5, "error": 0.5},
        {"case_id": "2", "subset": "test", "true_label": 1, "pred_label": 1, "p_true": 0.75, "error": 0.25},
        {"case_id": "46", "subset": "train", "true_label": 0, "pred_label": 0, "p_true": 1.0, "error": 0.0},
    ]
    place = ["case_id", "stain", "slice_idx", "patch_idx", "rank", "n_patches"]
    attention = read(store, report.run_id, "attention")
    assert attention.select(place).to_pylist() == rank_attention(levels(WEIGHTS)).select(place).to_pylist()
    coverage = read(store, report.run_id, "coverage").to_pylist()
    assert coverage[-1] == {
        "case_id": "46",
        "stain": "h&e",
        "slice_idx": 0,
        "subset": "train",
        "existing": 3,
        "with_feature": 3,
        "trained": 3,
        "evaluated": 3,
    }
    assert milstore(store, "query", "top-patches", "--case", "2", "--run", report.run_id) == 0


def test_a_second_time_changes_nothing(store: Store, tmp_path: Path) -> None:
    """The same files for the same split are the same run; another configuration needs another experiment."""
    files = save(tmp_path)
    first = ingest_run(store, *files, experiment="theirs", split=1, slices_by="number")
    before = contents(store)
    again = ingest_run(store, *files, experiment="theirs", split=1, slices_by="number")
    assert (again.run_id, again.lines()[-1]) == (first.run_id, "nothing changed")
    assert contents(store) == before
    with pytest.raises(ConflictError, match="experiment theirs stands for another configuration"):
        ingest_run(store, *files, experiment="theirs", split=1, slices_by="number", config={"lr": 1})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_slices_may_be_told_by_name(store: Store, tmp_path: Path, suffix: str) -> None:
    """slice_name stands for slice_idx, and a stain's alias for the stain."""
    attention = levels(WEIGHTS)
    names = [f"Match0{slice_idx + 1}" for slice_idx in attention["slice_idx"].to_pylist()]
    stains = ["HE" if stain == "h&e" else stain for stain in attention["stain"].to_pylist()]
    table = (
        attention.drop_columns(["slice_idx", "stain"])
        .append_column("slice_name", [names])
        .append_column("stain", [stains])
    )
    predictions, file = save(tmp_path, attention=table)
    if suffix == "parquet":
        file = tmp_path / "a.parquet"
        pq.write_table(table, file)
    report = ingest_run(store, predictions, file, experiment="theirs", split=1)
    places = ["case_id", "stain", "slice_idx", "patch_idx"]
    order = [(name, "ascending") for name in places]
    found = read(store, report.run_id, "attention").select(places).sort_by(order)
    assert found.to_pylist() == attention.select(places).sort_by(order).to_pylist()


def _without_last(table: pa.Table) -> pa.Table:
    return table.slice(0, table.num_rows - 1)


def _unknown_patch(table: pa.Table) -> pa.Table:
    return table.set_column(3, "patch_idx", [[i + 100 for i in table["patch_idx"].to_pylist()]])


@pytest.mark.parametrize(
    ("predictions", "change", "message"),
    [
        ("case_id,p_0\n2,1\n", None, "it needs p_0, p_1, … for every class"),
        ("case_id,p_0,p_1\n2,0.5,0.5\n2,1,0\n", None, "has case 2 more than once: keep one"),
        ("case_id,p_0,p_1\n9,0.5,0.5\n", None, "has 1 cases that are not in the split (9)"),
        (
            "case_id,p_0,p_1\n2,0.5,0.5\nNaN,1,0\n",
            None,
            "has in column case_id what stands for a missing value: 'NaN' (line 3); name the case or drop these rows",
        ),
        (
            "case_id,p_0,p_1,true_label\n2,0,1,1\n10,1,0,NA\n46,1,0,0\n",
            None,
            "has in column true_label what stands for a missing value: 'NA' (line 3)",
        ),
        (PREDICTIONS.replace("test", "val"), None, "has case 2 in val, and the split has it in test"),
        (
            PREDICTIONS.replace("0.25", "0.35"),
            None,
            "probabilities of case '2' are not numbers from 0 to 1 that sum to 1",
        ),
        (PREDICTIONS.replace("0.25", "x"), None, "in column 'p_0': it must hold numbers"),
        ("case_id,p_0,p_1\n2,0.5,0.5\n", None, "are not of the same cases"),
        (
            "case_id,p_0,p_1,true_label\n2,0,1,7\n10,1,0,0\n46,1,0,0\n",
            None,
            "has no probability for the true class of case 2",
        ),
        (PREDICTIONS, _without_last, "patch_attention sums to"),
        (PREDICTIONS, _unknown_patch, "rows whose patch is not in the store, such as case"),
        (PREDICTIONS, lambda table: table.drop_columns(["slice_attention"]), "has no column slice_attention"),
        (PREDICTIONS, lambda table: pa.concat_tables([table, table]), "more than once"),
    ],
)
def test_what_cannot_be_is_refused_whole(
    store: Store, tmp_path: Path, predictions: str, change: object, message: str
) -> None:
    """A run from elsewhere keeps every promise that ours keep, or leaves no trace."""
    attention = levels(WEIGHTS) if change is None else change(levels(WEIGHTS))  # type: ignore[operator]
    files = save(tmp_path, predictions, attention)
    before = contents(store)
    with pytest.raises(DataError) as caught:
        ingest_run(store, *files, experiment="theirs", split=1, slices_by="number", patches_by="number")
    assert message in str(caught.value)
    assert contents(store) == before
    assert (run_ids(store), list_drafts(store)) == ([], [])


def test_labels_are_the_stores(store: Store, tmp_path: Path) -> None:
    """A true_label that is not the store's is refused; a case without a label in the store has none in the run."""
    other = "case_id,p_0,p_1,true_label\n2,0.25,0.75,0\n10,0.5,0.5,0\n46,1,0,0\n"
    with pytest.raises(DataError, match=r"of 1 of its 3 cases: 2 \(label 0, the store label 1\)"):
        ingest_run(store, *save(tmp_path, other), experiment="theirs", split=1, slices_by="number")
    with edit_cohort(store) as edit:
        none = dict.fromkeys(("label", "class_name", "source_label"))
        rows = [{**row, **none} if row["case_id"] == "2" else row for row in edit.table("cases").to_pylist()]
        edit.replace("cases", pa.Table.from_pylist(rows))
    report = ingest_run(store, *save(tmp_path), experiment="theirs", split=1, slices_by="number")
    (row,) = [row for row in read(store, report.run_id, "predictions").to_pylist() if row["case_id"] == "2"]
    assert row == {"case_id": "2", "subset": "test", "true_label": None, "pred_label": 1, "p_true": None, "error": None}
    facts = read_run(store, report.run_id)
    assert [facts[name] for name in ("encoder", "host", "threads", "seconds", "n_epochs", "code_version")] == [None] * 6
    assert milstore(store, "runs", "list") == 0


def test_the_command_takes_a_run_in(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ingest run` gives the run the facts that its options name."""
    predictions, attention = save(tmp_path)
    (tmp_path / "c.toml").write_text('lr = 0.1\n[model]\nname = "abmil"\n')
    words = ("ingest", "run", predictions, "--attention", attention, "--experiment", "theirs", "--slices-by", "number")
    assert milstore(store, *words, "--split", "1", "--config", tmp_path / "c.toml", "--code-version", "v1") == 0
    assert "predictions of 3 cases, attention of 19 patches" in capsys.readouterr().err
    assert milstore(store, *words, "--split", "2") == 2
    assert capsys.readouterr().err == "error: --split 2: split set s has the splits 1\n"
    (tmp_path / "c.toml").write_text("lr = nan\n")
    assert milstore(store, *words, "--split", "1", "--config", tmp_path / "c.toml") == 2
    assert milstore(store, "doctor") == 0
