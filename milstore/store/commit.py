"""Commits a run: writes its checked tables into a folder with their hashes, and renames that."""

import shutil
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import DataError, StoreError
from milstore.schema import CONFIG_VERSION, SCHEMA_VERSION
from milstore.schema.columns import columns, required
from milstore.store.attention import (
    Attention,
    check_cases,
    check_known,
    check_predictions,
    checked_attention,
    patches_evaluated,
)
from milstore.store.integrity import checked_table
from milstore.store.io import put_parquet, sha256_of, sync_file, sync_folder, write_json
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import FURTHER_FACTS, KNOWN, LEARNING, MODEL_FACTS, RUN_FILE, WEIGHTS, with_own_hash


@dataclass(frozen=True)
class Checked:
    """The contents of a run, after every invariant was checked."""

    tables: dict[str, pa.Table]
    """By name, as they are written."""
    attention: Attention


def checked_tables(
    *,
    epochs: pa.Table,
    predictions: pa.Table,
    probabilities: pa.Table,
    attention: pa.Table,
    coverage: pa.Table,
    scores: pa.Table | None = None,
    kind: str = "levels",
    known: Mapping[str, Any] | None = None,
) -> Checked:
    """The tables of a run, as they are stored. DataError where an invariant does not hold.

    `kind` is what the run says of its attention: levels, patches, part or none; `known` what it says of the part of the
    patches that it has it of (the entry `attention_known` of `run.json`), None where it has it of all patches of a case.
    """
    predictions, probabilities = check_predictions(predictions, probabilities)
    coverage = checked_table("coverage", coverage)
    ranked = checked_attention(attention, None if known is None else patches_evaluated(coverage))
    check_cases(kind, ranked, predictions, coverage, of_patches=known is not None)
    if known is not None:
        check_known(known, kind, ranked)
    tables = {
        "epochs": checked_table("epochs", epochs),
        "predictions": predictions,
        "probabilities": probabilities,
        "coverage": coverage,
        **({} if scores is None or not scores.num_rows else {"scores": checked_table("scores", scores)}),
        # Last, for it takes longest: what comes before is brought to the disk meanwhile.
        "attention": ranked.stored,
    }
    return Checked(tables, ranked)


def stage(draft_folder: Path, run: dict[str, Any], checked: Checked, weights: Callable[[Path], None] | None) -> Path:
    """The folder of a finished run, complete and on the disk, but still within the draft's. Returns it.

    Args:
        draft_folder: the draft's.
        run: the columns of the table `runs`, but those that are found here, and LEARNING, MODEL_FACTS and FURTHER_FACTS
            where there are such.
        checked: from `checked_tables`.
        weights: writes the weights (safetensors) to a path; None for a run without weights.

    Raises:
        OSError: the disk refuses, or the draft's folder is there no more.
        DataError: a column of `runs` is not given.
    """
    staging = draft_folder / "commit"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    # Files are hashed and brought to the disk while the next is written.
    with ThreadPoolExecutor(2) as side:
        fingerprint = side.submit(checked.attention.fingerprint)
        settled: dict[str, Future[dict[str, Any]]] = {}
        if weights is not None:
            weights(staging / WEIGHTS)
            settled[WEIGHTS] = side.submit(_settled, staging / WEIGHTS)
        for name, table in checked.tables.items():
            path = staging / f"{name}.parquet"
            put_parquet(table, path)
            settled[path.name] = side.submit(_settled, path, rows=table.num_rows)
        files = {name: entry.result() for name, entry in settled.items()}
    files["attention.parquet"]["largest_case"] = checked.attention.largest_case()
    run = {
        "config_version": CONFIG_VERSION,
        "kind": "training",
        "attention": "levels",
        **run,
        "schema_version": SCHEMA_VERSION,
        "patches_fingerprint": fingerprint.result() if checked.attention.stored.num_rows else None,
        "weights_sha256": files[WEIGHTS]["sha256"] if weights is not None else None,
    }
    facts = {name: _known(run, name) for name in ("run_id", *(n for n in columns("run")["runs"] if n != "run_id"))}
    facts |= {name: run[name] for name in (LEARNING, *MODEL_FACTS, *FURTHER_FACTS) if name in run}
    write_json(staging / RUN_FILE, with_own_hash({**facts, "files": files}))
    for path in staging.iterdir():
        path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    sync_folder(staging)
    return staging


def _settled(path: Path, **facts: Any) -> dict[str, Any]:
    """What run.json says of a file, after waiting until it is on the disk."""
    hashed = sha256_of(path)
    sync_file(path)
    return {**facts, "bytes": path.stat().st_size, "sha256": hashed}


def _known(run: dict[str, Any], name: str) -> Any:
    """A fact of a run; null where it was not given and may be unknown."""
    if run.get(name) is None and name in required("runs"):
        raise DataError(f"the run says nothing of {name}")
    return run.get(name)


def commit_run(
    draft: RunDraft,
    run: dict[str, Any],
    *,
    epochs: pa.Table,
    predictions: pa.Table,
    probabilities: pa.Table,
    attention: pa.Table,
    coverage: pa.Table,
    scores: pa.Table | None = None,
    weights: Callable[[Path], None] | None = None,
) -> Path:
    """Check the tables against each other, write them, and make an unfinished run a finished one. Returns its folder.

    What they must have in common with the store is checked by `milstore.store.write_run`, by which every run goes.

    Args:
        draft: the unfinished run, this process's own.
        run: the columns of the table `runs`, without run_id; times as ISO texts in UTC.
        epochs: rows of the table of that name, and so on; attention may come without rank and n_patches.
        predictions: see epochs.
        probabilities: see epochs.
        attention: see epochs.
        coverage: see epochs.
        scores: see epochs; None, or no row, for a run without.
        weights: writes the weights (safetensors) to a path; None for a run without weights.

    Raises:
        DataError: an invariant does not hold; nothing is stored.
        StoreError: the disk refuses, or the run was taken over; nothing is stored, and the draft stays as it is.
    """
    checked = checked_tables(
        epochs=epochs,
        predictions=predictions,
        probabilities=probabilities,
        attention=attention,
        coverage=coverage,
        scores=scores,
        kind=run.get("attention", "levels"),
        known=run.get(KNOWN),
    )
    return commit_checked(draft, run, checked, weights)


def commit_checked(
    draft: RunDraft, run: dict[str, Any], checked: Checked, weights: Callable[[Path], None] | None = None
) -> Path:
    """Write tables that were checked, and make an unfinished run a finished one. See `commit_run`."""
    final = draft.store.run_folder(draft.run_id)
    with draft.writing("the run"):
        staging = stage(draft.folder, {**run, "run_id": draft.run_id}, checked, weights)
        draft.check_own()
        if final.exists():
            raise StoreError(f"run {draft.run_id} is finished already: nothing is overwritten")
        # The staging folder lies in the draft's: whoever has lost the draft cannot do this.
        staging.rename(final)
    draft.settle(final)
    return final
