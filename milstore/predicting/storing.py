"""Stores predictions of new cases: those of one model, and the mean of several.

Legend: N patches, C classes, M models.
"""

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.predicting.sources import Sources
from milstore.schema.arrow import arrow_schema
from milstore.schema.columns import NEW
from milstore.store import predicted
from milstore.store.attention_levels import levels_of_distribution
from milstore.store.patch_index import PLACE
from milstore.store.paths import Store
from milstore.store.run_reader import NO_ATTENTION, PREDICTED, PREDICTION
from milstore.store.run_writer import begin_run, list_drafts, mint_run_id
from milstore.store.sql_text import literal
from milstore.store.views import connect_bare, rows_of_runs
from milstore.store.write_run import Told, write_run

_AT_ONCE = 8
"""Cases whose attention by all models is in memory at a time."""
Floats = npt.NDArray[np.float64]
_OF_CONFIGURATION = ("encoder", "pooling", "config", "config_hash", "config_version", "n_parameters", "model")
"""Facts of a run that are those of the experiment that made it."""


def store_run(
    store: Store,
    name: str,
    sources: Sources,
    tables: Mapping[str, pa.Table],
    told: Told,
    facts: Mapping[str, Any],
) -> str:
    """Put a run of a prediction into the store, whole or not at all. Returns its id.

    Args:
        store: the store.
        name: the prediction's.
        sources: the models of the experiment.
        tables: `predictions`, `probabilities`, `attention`, `coverage`, and `scores` where there are some.
        told: classes, labels and subsets.
        facts: columns of the table `runs` that are this run's own, and what `PREDICTED` says beside the experiment.
    """
    own = {
        "experiment": name,
        "kind": PREDICTION,
        **{key: sources.first.get(key) for key in _OF_CONFIGURATION},
        "attention": "levels",
        "host": platform.node(),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "restarts": 0,
        **facts,
        PREDICTED: {"experiment": sources.experiment, **facts[PREDICTED]},
    }
    run_id = mint_run_id(name, own.get("split"), own.get("seed"))
    draft = begin_run(
        store, run_id, {key: own.get(key) for key in ("experiment", "kind", "split_set", "split", "seed")}
    )
    epochs = pa.Table.from_pylist([], arrow_schema("epochs"))
    try:
        write_run(draft, {"epochs": epochs, **tables}, own, told=told)
    except BaseException:
        shutil.rmtree(draft.folder, ignore_errors=True)
        raise
    return run_id


def remove_begun(store: Store, name: str) -> None:
    """Remove what a killed prediction left. The caller holds the lease of this prediction's name."""
    for draft in list_drafts(store):
        if draft.facts.get("kind") == PREDICTION and draft.facts.get("experiment") == name:
            draft.remove()


def cases_of(store: Store, run_ids: Sequence[str]) -> dict[str, list[str]]:
    """The cases that each run speaks of."""
    found: dict[str, list[str]] = {run_id: [] for run_id in run_ids}
    for run_id, case_id in rows_of(store, run_ids, "predictions", "run_id, case_id"):
        found[run_id].append(case_id)
    return found


def rows_of(store: Store, run_ids: Sequence[str], table: str, chosen: str) -> list[tuple[Any, ...]]:
    """Columns of a table of some runs, in order."""
    con = connect_bare()
    try:
        return con.execute(f"select {chosen} from {rows_of_runs(store, run_ids, table)} order by all").fetchall()
    finally:
        con.close()


def chances_of(store: Store, run_ids: Sequence[str]) -> dict[str, dict[str, Floats]]:
    """What each run of one model said of each case: run -> case -> probability of each class (C,)."""
    found: dict[str, dict[str, list[float]]] = {run_id: {} for run_id in run_ids}
    for run_id, case_id, _, chance in rows_of(store, run_ids, "probabilities", "run_id, case_id, label, probability"):
        found[run_id].setdefault(case_id, []).append(chance)
    return {run_id: {case: np.array(p_C) for case, p_C in cases.items()} for run_id, cases in found.items()}


def mean_tables(
    store: Store, of_model: Mapping[str, Sequence[str]], cases: Sequence[str], told: Told, *, attends: bool
) -> dict[str, pa.Table]:
    """The tables of the mean of several models, each case once.

    Probabilities are the mean of the models'; effective attention likewise, and its levels are the marginals and the
    conditional of that one distribution over the case's patches.

    Args:
        store: the store.
        of_model: the runs of each model; each case is in one of them.
        cases: the cases, which every model has spoken of.
        told: classes, labels and subsets.
        attends: whether the models have attention.
    """
    members = [run_id for own in of_model.values() for run_id in own]
    chances = chances_of(store, members)
    model_of = {run_id: model for model, own in of_model.items() for run_id in own}
    p_MC: dict[str, dict[str, Floats]] = {}
    for run_id, own in chances.items():
        for case_id, p_C in own.items():
            p_MC.setdefault(case_id, {})[model_of[run_id]] = p_C
    mean_NC = np.array([np.mean([p_MC[case][model] for model in of_model], axis=0) for case in cases])
    predictions, probabilities = predicted.prediction_tables(
        cases, [NEW] * len(cases), [told.label_of[case] for case in cases], mean_NC
    )
    first = list(next(iter(of_model.values())))
    return {
        "predictions": predictions,
        "probabilities": probabilities,
        "coverage": _of_cases(store, first, "coverage", cases).drop_columns(["run_id"]),
        "attention": _mean_attention(store, members, cases, len(of_model)) if attends else _no_attention(),
    }


def _of_cases(store: Store, run_ids: Sequence[str], table: str, cases: Sequence[str]) -> pa.Table:
    """The rows of a table of some runs that are of some cases, in order."""
    con = connect_bare()
    listed = ", ".join(literal(case) for case in cases)
    try:
        source = rows_of_runs(store, run_ids, table)
        return con.execute(f"select * from {source} where case_id in ({listed}) order by all").to_arrow_table()
    finally:
        con.close()


def _no_attention() -> pa.Table:
    fields = [field for field in arrow_schema("attention") if field.name not in ("rank", "n_patches")]
    return pa.Table.from_pylist([], pa.schema(fields))


def _mean_attention(store: Store, members: Sequence[str], cases: Sequence[str], n_models: int) -> pa.Table:
    """The mean of what models gave to each patch, as the table `attention` without ranks."""
    # A few cases at a time: many models of many patches are more than memory holds.
    parts = [
        _mean_of_few(store, members, cases[first : first + _AT_ONCE], n_models)
        for first in range(0, len(cases), _AT_ONCE)
    ]
    return pa.concat_tables(parts) if parts else _no_attention()


def _mean_of_few(store: Store, members: Sequence[str], cases: Sequence[str], n_models: int) -> pa.Table:
    rows = _of_cases(store, members, "attention", cases).select([*PLACE, "effective_attention"])
    weights = rows["effective_attention"].cast(pa.float64())
    rows = rows.set_column(rows.column_names.index("effective_attention"), "effective_attention", weights)
    # One thread: the last bit of a sum goes by the order of its terms.
    summed = rows.group_by(list(PLACE), use_threads=False).aggregate([("effective_attention", "sum")])
    summed = summed.sort_by([(name, "ascending") for name in PLACE]).combine_chunks()
    weight_N = np.asarray(summed["effective_attention_sum"]) / n_models
    case_N = np.asarray(summed["case_id"].combine_chunks().dictionary_encode().indices)
    stain_N = np.asarray(summed["stain"].combine_chunks().dictionary_encode().indices)
    slice_N = np.asarray(summed["slice_idx"])
    begins = np.flatnonzero(np.diff(case_N, prepend=-1))
    parts: dict[str, list[Floats]] = {f"{level}_attention": [] for level in ("stain", "slice", "patch", "effective")}
    for first, end in zip(begins, [*begins[1:], len(case_N)], strict=True):
        rows_of_case = slice(int(first), int(end))
        for name, values in _levels(weight_N[rows_of_case], stain_N[rows_of_case], slice_N[rows_of_case]).items():
            parts[name].append(values)
    columns = {name: np.concatenate(values).astype(np.float32) for name, values in parts.items()}
    return pa.table({**{name: summed[name] for name in PLACE}, **columns})


def _levels(
    weight_N: Floats, stain_N: npt.NDArray[np.integer[Any]], slice_N: npt.NDArray[np.integer[Any]]
) -> dict[str, Floats]:
    """Every level of one case's distribution, for each of its patches."""
    pairs, slice_of_N = np.unique(np.stack([stain_N, slice_N], axis=1), axis=0, return_inverse=True)
    slice_of_N = slice_of_N.reshape(-1).astype(np.int64)
    _, stain_G = np.unique(pairs[:, 0], return_inverse=True)
    stain_G = stain_G.reshape(-1).astype(np.int64)
    with np.errstate(divide="ignore"):
        found = levels_of_distribution(np.log(weight_N), slice_of_N, stain_G)
    return {
        "stain_attention": found.stain_S[stain_G][slice_of_N],
        "slice_attention": found.slice_G[slice_of_N],
        "patch_attention": found.patch_N,
        "effective_attention": found.effective_N,
    }


def attention_kind(sources: Sources) -> str:
    """What a mean of the models holds of attention: one distribution over the case's patches, or none."""
    return NO_ATTENTION if sources.first.get("attention") == NO_ATTENTION else "patches"
