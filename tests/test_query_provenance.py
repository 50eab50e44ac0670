"""`provenance`: where each run's numbers came from."""

from datetime import datetime
from pathlib import Path

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from milstore.store.commit import commit_run
from tests.drawing import drawn, rows_of, subtitle_of
from tests.making import THREE_LABELS, THREE_PATCHES, levels, make_run


def _more(store: Store) -> None:
    """A second seed of split 2, trained as a SLURM job on another cohort."""
    make_run(
        store, "exp-s2-1", {"2": "test"}, THREE_LABELS, {"2": (0.5, 0.5)},
        levels({patch: 1.0 for patch in THREE_PATCHES if patch[0] == "2"}), split_set="three", split=2, n_splits=3, seed=1,
        slurm_job_id="1285944", cohort_fingerprint="0123456789abcdef" * 4, best_epoch=2, restarts=1,
        finished_at="2026-01-02T00:00:00",
    )  # fmt: skip


def test_a_row_a_run(three: Store) -> None:
    """Every run of the experiment, all seeds, with what identifies its data."""
    _more(three)
    answer = ask(three, "provenance")
    assert answer.title == "experiment exp, 4 runs"
    rows = answer.records()
    assert [(r["run_id"], r["split"], r["seed"], r["slurm_job_id"], r["best_epoch"]) for r in rows] == [
        ("exp-s1-0", 1, 0, None, 1),
        ("exp-s2-0", 2, 0, None, 1),
        ("exp-s2-1", 2, 1, "1285944", 2),
        ("exp-s3-0", 3, 0, None, 1),
    ]
    patches = rows[2].pop("patches")
    assert len(patches) == 12 and patches != rows[1]["patches"]
    assert rows[2] == {
        "run_id": "exp-s2-1", "experiment": "exp", "split_set": "three", "split": 2, "seed": 1,
        "slurm_job_id": "1285944", "best_epoch": 2, "n_epochs": 2, "weights": None, "cohort": "0123456789ab",
        "features": "e" * 12, "config": "c" * 12, "code_version": "0", "host": "node1", "device": "cpu",
        "threads": 1, "restarts": 1, "started_at": datetime(2026, 1, 1), "finished_at": datetime(2026, 1, 2),
    }  # fmt: skip


def test_whole_fingerprints_on_request(three: Store) -> None:
    """--full gives each SHA-256 whole, as sha256sum prints it."""
    row = ask(three, "provenance", Choice(run="exp-s1-0"), {"full": True}).records()[0]
    assert (row["cohort"], row["features"], row["config"], len(row["patches"])) == ("d" * 64, "e" * 64, "c" * 64, 64)


def test_the_checkpoint_is_that_of_the_weights_file(three: Store) -> None:
    """The hash is that of the file, which anybody can check."""
    import hashlib

    from milstore.store.run_writer import begin_run  # a run with weights, which the made ones have not
    from tests.making import RUN_FACTS

    def weights(path: Path) -> None:
        path.write_bytes(b"weights")

    of = {name: frame(three, name) for name in ("epochs", "predictions", "probabilities", "attention", "coverage")}
    commit_run(begin_run(three, "exp-s1-2", {}), {**RUN_FACTS, "seed": 2}, **of, weights=weights)
    rows = ask(three, "provenance", Choice(run="exp-s1-2"), {"full": True}).records()
    assert [row["weights"] for row in rows] == [hashlib.sha256(b"weights").hexdigest()]


def frame(store: Store, name: str) -> object:
    """A table of the first run."""
    from milstore.asking.ask import ask_sql

    return ask_sql(store, f"select * exclude run_id from {name} where run_id = 'exp-s1-0'").arrow()


def test_its_chart(three: Store) -> None:
    """What sets a run apart is marked."""
    assert "All 3 runs agree in cohort, features, patches, config and code" in subtitle_of(drawn(three, "provenance"))
    _more(three)
    spec = drawn(three, "provenance")
    assert [(row["run"], row["field"]) for row in rows_of(spec) if row["odd"]] == [
        ("exp-s2-1", "cohort"), ("exp-s2-1", "patches"),
    ]  # fmt: skip
    assert subtitle_of(spec).startswith("1 of 4 runs not as most: cohort in 1, patches in 1.")
