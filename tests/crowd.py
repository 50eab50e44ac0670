"""What each member of a crowd does that works in one store at once."""

import contextlib

import duckdb
import pyarrow as pa

from milstore.asking.ask import ask, ask_sql
from milstore.asking.selection import Choice
from milstore.store import Store
from milstore.store.cohort_edit import edit_cohort
from tests.crossing import WHOLE
from tests.making import THREE_LABELS, THREE_PATCHES, levels, make_run
from tests.waiting import holds_within

RUNS_EACH, CORRECTIONS = (3, 10) if WHOLE else (2, 4)
STOP = "stop"


def train(store: Store, number: int) -> None:
    """Commit runs of random attention, as fast as they come."""
    import numpy as np

    random = np.random.default_rng(number)
    chances = {"2": (0.1, 0.9), "10": (0.3, 0.7), "46": (0.8, 0.2)}
    for i in range(RUNS_EACH):
        attention = levels({patch: float(random.uniform(0.1, 1)) for patch in THREE_PATCHES})
        subsets = {"2": "test", "10": "val", "46": "train"}
        make_run(store, f"crowd-{number}-{i}", subsets, THREE_LABELS, chances, attention, experiment=f"crowd-{number}")


def read(store: Store, _: int) -> None:
    """Ask again and again: each run that is seen is seen whole."""
    while not (store.root.parent / STOP).exists():
        rows = ask_sql(
            store,
            "select run_id, count(*), sum(effective_attention), (select count(*) from predictions p where p.run_id = a.run_id)"
            " from attention a group by run_id",
        ).rows()
        assert len(rows) >= 3
        for run_id, count, total, cases in rows:
            assert (count, cases) == (len(THREE_PATCHES), 3), f"{run_id} was seen half: {count} patches, {cases} cases"
            assert abs(total - 3) < 1e-3, run_id
        assert ask(store, "top-patches", Choice(experiment="exp")).rows()


def hold(store: Store, _: int) -> None:
    """Somebody's shell: the database open for writing, with a table of one's own."""
    with contextlib.closing(duckdb.connect(str(store.database))) as con:
        con.execute("create table if not exists my_notes (n integer)")
        while not holds_within((store.root.parent / STOP).exists, 0.05):
            con.execute("insert into my_notes values (1)")
            assert con.execute("select count(*) from cases").fetchall() == [(3,)]
            con.execute("select count(*) from attention").fetchall()


def ingest(store: Store, _: int) -> None:
    """Correct the cohort again and again."""
    for i in range(CORRECTIONS):
        with edit_cohort(store) as edit:
            edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", f"high-grade {i}"]}))
