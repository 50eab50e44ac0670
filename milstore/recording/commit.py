"""The end of a recording: its tables, made from what was given, and the commit of the run."""

import shutil
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from milstore.errors import DataError
from milstore.ingest.run_tables import coverage_table
from milstore.schema.arrow import arrow_schema, empty
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.given import Given, Prediction
from milstore.store.names import counted, named
from milstore.store.predicted import prediction_tables
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import NO_ATTENTION, PART_ATTENTION
from milstore.store.write_run import told_by_store, write_run


def commit(draft: RunDraft) -> Path:
    """Write the run from what was given, and commit it. Returns its folder.

    Raises:
        DataError: there is no prediction, or attention or scores of a case without one.
        StoreError: the disk refuses, or another process has taken the run over.
    """
    given = Given(draft)
    said = given.predictions()
    if not said:
        raise DataError(
            f"run {draft.run_id} has no prediction, and nothing was committed: give run.prediction(case, probabilities); "
            "the same record(…) goes on"
        )
    looked, forms = given.attention()
    attention = pa.concat_tables(looked) if looked else empty("attention").drop_columns(["rank", "n_patches"])
    _refuse_unpredicted("attention", attention, said)
    scored = given.scores()
    scores = pa.concat_tables(scored) if scored else empty("scores")
    _refuse_unpredicted("scores", scores, said)
    # The labels of now: what a recording is told, it is told at its end.
    cohort = read_cohort(draft.store)
    told = told_by_store(cohort, draft.facts["split_set"], draft.facts["split"])
    subsets = {each.case_id: each.subset for each in said}
    predictions, probabilities = prediction_tables(
        list(subsets),
        list(subsets.values()),
        [told.label_of.get(case_id) for case_id in subsets],
        np.array([each.probabilities for each in said]),
    )
    encoder = draft.facts["encoder"]
    has_features = encoder is not None and encoder in cohort.table("encoders")["encoder"].to_pylist()
    encoded = open_features(draft.store, cohort, encoder).patches if has_features else None
    epochs = draft.epochs()
    tables = {
        "epochs": pa.Table.from_pylist(epochs, arrow_schema("epochs")),
        "predictions": predictions,
        "probabilities": probabilities,
        "attention": attention,
        # Of a case without attention nobody knows how many patches were evaluated: it has no row.
        "coverage": coverage_table(cohort, attention, subsets, encoded),
        "scores": scores,
    }
    weights = given.weights
    return write_run(
        draft,
        tables,
        {**_run_row(draft, epochs), "attention": _kind_of(forms, n_attended=len(looked), n_predicted=len(said))},
        told=told,
        weights=None if weights is None else partial(shutil.copyfile, weights),
    )


def _refuse_unpredicted(what: str, table: pa.Table, said: list[Prediction]) -> None:
    others = sorted(set(table["case_id"].unique().to_pylist()) - {each.case_id for each in said})
    if others:
        raise DataError(
            f"there are {what} of {counted(len(others), 'case')} without a prediction ({named(others)}), and nothing was "
            "committed: give run.prediction of them too; the same record(…) goes on"
        )


def _kind_of(forms: set[str], *, n_attended: int, n_predicted: int) -> str:
    """The kind of attention that the run has: none, part, patches or levels."""
    if not n_attended:
        return NO_ATTENTION
    if n_attended < n_predicted:
        return PART_ATTENTION
    return "patches" if forms == {"patches"} else "levels"


_OF_DRAFT = ("class_names", "error", "started_at")
"""Facts that a recording needs to go on, and that a finished run says otherwise or not at all: when the training began is
not known."""


def _run_row(draft: RunDraft, epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns of the table `runs`, as far as they are known: what was not given is null."""
    spent = [row["seconds"] for row in epochs]
    numbers = {row["epoch"] for row in epochs}
    best = draft.facts.get("best_epoch")
    return {
        **{name: value for name, value in draft.facts.items() if name not in _OF_DRAFT},
        "finished_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
        "n_epochs": len(epochs) or None,
        "best_epoch": best if best in numbers else None,
        "seconds": sum(spent) if spent and None not in spent else None,
    }
