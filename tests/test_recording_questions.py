"""Every question answers of a recorded run what it answers of the run that it was recorded from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import milstore
from milstore import queries
from milstore.api import OpenStore
from milstore.asking.selection import Choice
from milstore.charts import charted
from milstore.charts.render import drawing
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.recording.recording import Recording
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.doctor import check
from milstore.store.run_reader import read_run
from milstore.training import train
from tests.crossing import covering
from tests.making import THREE_REGIONS, make_regions
from tests.recording import recorded, split_store
from tests.reporting import brief
from tests.training_cohort import LABELS, SMALL, places, tiny_store

OWN = ("run_id", "experiment", "config", "code_version", "host", "device", "threads", "restarts", "started_at", "finished_at", "weights")  # fmt: skip
"""What a recorded run has for itself, or does not say."""


PERMUTED = ("moran_p", "run_p")
"""Counts of permutations, which the last bit of a weight may change where two are equal but for it."""


def table(store: Store, run_id: str, name: str) -> pa.Table:
    return pq.read_table(store.run_folder(run_id) / f"{name}.parquet", partitioning=None)


def record_anew(store: Store, run_id: str, experiment: str) -> Recording:
    """A run's tables, given call by call to a recording."""
    facts = read_run(store, run_id)
    attention = table(store, run_id, "attention")
    chances: dict[str, list[float]] = {}
    for row in table(store, run_id, "probabilities").to_pylist():
        chances.setdefault(row["case_id"], []).append(row["probability"])
    with milstore.open(store.root).record(experiment=experiment, split=facts["split"], encoder="noise") as run:
        for row in table(store, run_id, "epochs").to_pylist():
            run.epoch(row.pop("epoch"), kept=row["train_loss"] is None, **row)
        epochs = table(store, run_id, "epochs").to_pylist()
        run.epoch(kept=True, **epochs[facts["best_epoch"] - 1])
        for row in table(store, run_id, "predictions").to_pylist():
            run.prediction(row["case_id"], chances[row["case_id"]], subset=row["subset"])
            of_case = attention.filter(pa.compute.equal(attention["case_id"], row["case_id"]))
            run.attention(row["case_id"], of_case, of_case)
    return run


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenStore, list[str], list[str]]]:
    """A store with two trained runs, and the same two recorded."""
    store = tiny_store(tmp_path_factory.mktemp("twins") / "store")
    make_regions(store, {"tumour": [(case_id, *places(case_id)[0]) for case_id in LABELS]})
    trained = [train(store, SMALL, split, threads=1, experiment="ours").run_id for split in (1, 2)]
    yield milstore.open(store.root), trained, [record_anew(store, run_id, "theirs").run_id for run_id in trained]


def comparable(rows: list[dict[str, Any]], ids: dict[str, str], own: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows with each run by its place, numbers as good as float32 is, and without what a run has for itself."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return ids.get(value, value)
        return pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True) if isinstance(value, float) else value

    return [{name: plain(value) for name, value in row.items() if name not in own} for row in rows]


@pytest.mark.parametrize("name", queries.available())
def test_a_recorded_run_answers_as_the_run_itself(twins: tuple[OpenStore, list[str], list[str]], name: str) -> None:
    """For each question: the tables of a training, recorded again, give equal answers."""
    opened, trained, recorded_ids = twins
    asked: dict[str, Any] = {"case": "9"} if queries.load(name).wants_case else {}
    if name == "compare-runs":
        asked = {}
    ours = opened.query(name, experiment="ours", **asked).records()
    theirs = opened.query(name, experiment="theirs", **asked).records()
    own = {"provenance": OWN, "slice-pattern": PERMUTED, "experiments": ("experiment",)}.get(name, ())
    places = {run_id: f"run {i}" for ids in (trained, recorded_ids) for i, run_id in enumerate(ids)}
    named = [
        {key: places.get(v, v) if isinstance(v, str) else v for key, v in row.items() if key not in own}
        for row in theirs
    ]
    assert ours
    assert named == comparable(ours, places, own)


def _unlabel(store: Store, case_id: str) -> None:
    with edit_cohort(store) as edit:
        rows = edit.table("cases").to_pylist()
        gone = dict.fromkeys(("label", "class_name", "source_label"))
        edit.replace("cases", pa.Table.from_pylist([{**r, **gone} if r["case_id"] == case_id else r for r in rows]))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStore]:
    """Runs that say little: without a split, with a case without a label, and attention of no case, or of one."""
    store = split_store(tmp_path_factory.mktemp("bare") / "store")
    make_regions(store, THREE_REGIONS)
    _unlabel(store, "10")
    with recorded(store, experiment="none", split=None) as run:
        run.epoch(1, train_loss=0.5)
    with recorded(store, experiment="part", split=None, seed=None) as run:
        run.epoch(1, train_loss=0.5)
        run.attention("2", [("h&e", 0, i) for i in range(4)], [0.5, 0.25, 0.25, 0.0])
        run.attention("10", [("h&e", 0, i) for i in range(3)], [0.5, 0.25, 0.25])
    with recorded(store, experiment="part", split=None, seed=1) as run:
        run.attention("2", [("h&e", 0, i) for i in range(4)], [0.25, 0.5, 0.25, 0.0])
        run.attention("10", [("h&e", 0, i) for i in range(3)], [0.25, 0.5, 0.25])
    assert check(store) == []
    yield milstore.open(store.root)


@pytest.mark.parametrize(
    ("name", "experiment"), covering([(name, each) for name in queries.available() for each in ("none", "part")])
)
def test_of_what_is_missing_a_question_says_one_line(bare: OpenStore, name: str, experiment: str) -> None:
    """Of a run with attention of no case, or of some: an answer that names what is left out, or one line why there is none.

    Each question of one of the two; `make torture` asks each of both.
    """
    query = queries.load(name)
    asked: dict[str, Any] = {"case": "2"} if query.wants_case else {}
    try:
        answer = bare.query(name, experiment=experiment, **asked)
        rows = answer.records()
    except UsageError as error:
        assert "\n" not in str(error)
        assert experiment == "none"
        if query.needs_attention:
            assert "has no attention: no patch was weighed" in str(error)
        return
    assert not (experiment == "none" and (query.needs_attention or query.needs_coverage))
    # Nobody of those that have a label is called wrong, nor nearly.
    assert rows or name in ("misclassified", "near-threshold")
    if experiment == "part" and not asked and (query.needs_attention or query.needs_coverage):
        assert any("case (46): not in this answer" in note for note in answer.notes), answer.notes


@pytest.mark.parametrize(
    ("name", "experiment"), covering([(name, each) for name in charted() for each in ("theirs", "part")])
)
def test_a_recorded_run_is_drawn(
    twins: tuple[OpenStore, list[str], list[str]], bare: OpenStore, name: str, experiment: str
) -> None:
    """Each chart takes the rows of a recorded run that says all, or of one that says little; by `make torture` of both."""
    opened, case = (twins[0], "9") if experiment == "theirs" else (bare, "2")
    choice = Choice(experiment=experiment, cases=(case,) if queries.load(name).wants_case else ())
    assert drawing(opened.store, name, choice).spec["$schema"]


def test_cases_without_a_label_are_named(bare: OpenStore) -> None:
    """What counts right and wrong leaves them out and says so."""
    answer = bare.query("recall", experiment="none")
    assert answer.notes == ["without a label, and not counted: 1 case (10)"]
    assert [(r["scope"], r["right"], r["cases"]) for r in answer.records()[:2]] == [
        ("no split", 1, 1),
        ("no split", 1, 1),
    ]
    with pytest.raises(
        UsageError, match="no case of it had a label when it was predicted, so there is nothing to count"
    ):
        bare.query("recall", experiment="none", case="10")


@pytest.mark.parametrize("experiment", ["none", "part"])
def test_a_report_is_written(bare: OpenStore, experiment: str, tmp_path: Path) -> None:
    """A page of a run that says little is a page; its questions are asked and its charts drawn above."""
    with brief("recall", "deviation", "where", "provenance", charts=False):
        assert bare.report(tmp_path / "report.html", experiment=experiment).stat().st_size > 1000


def test_shells_see_recorded_runs(bare: OpenStore, capsys: pytest.CaptureFixture[str]) -> None:
    """`runs list`, `info` and `sql` take what is null."""
    where = ["--store", str(bare.store.root)]
    assert [main([*words, *where]) for words in (["runs", "list"], ["info"], ["runs", "list", "-f", "json"])] == [
        0,
        0,
        0,
    ]
    capsys.readouterr()
    assert (
        main(["sql", "select experiment, kind, attention, seed, split from runs order by all", "-f", "csv", *where])
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1:] == [
        "none,recorded,none,0,", "part,recorded,part,1,", "part,recorded,part,,"
    ]  # fmt: skip
