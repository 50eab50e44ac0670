"""Checks finished runs: their files' hashes, their facts and the invariants of their tables."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from milstore.errors import MilstoreError
from milstore.schema.columns import columns, columns_of_version
from milstore.store.attention import (
    check_cases,
    check_known,
    check_predictions,
    checked_attention,
    patches_evaluated,
)
from milstore.store.damage import attempt, below, damage
from milstore.store.findings import NOTE, Finding
from milstore.store.integrity import checked_table
from milstore.store.io import sha256_of
from milstore.store.names import named
from milstore.store.paths import Store, store_option
from milstore.store.run_reader import (
    FURTHER_FACTS,
    KNOWN,
    LEARNING,
    MODEL_FACTS,
    OWN_HASH,
    PREDICTION,
    RECORDED,
    RUN_FILE,
    TABLES,
    completed,
    stored_facts,
    strangers,
    with_own_hash,
)

_AGAIN_BY = {
    "imported": "milstore ingest run or milstore ingest study-run take it in again",
    RECORDED: "record it again",
    PREDICTION: "milstore predict creates it again",
}
"""How a run is made again, by its kind; any other kind is trained."""


def check_run(store: Store, run_id: str) -> Iterator[Finding]:
    """What is wrong with a finished run. Its tables are compared only where its files are what was stored."""
    folder = store.run_folder(run_id)
    delete = f"restore it from a backup, or remove the run by milstore runs delete {run_id}{store_option(store)}"
    repair = f"{delete}, and {_AGAIN_BY.get(_kind(store, run_id), 'train that split again')}"
    broken = list(attempt(folder / RUN_FILE, store, repair, lambda: _facts(store, run_id)))
    if broken:
        yield from broken
        return
    facts = stored_facts(store, run_id)
    broken = [
        damage(store, folder / name, found, repair)
        for name, entry in facts["files"].items()
        for found in _run_file(folder / name, entry)
    ]
    yield from broken
    for path in sorted(folder.iterdir()):
        if path.name != RUN_FILE and path.name not in facts["files"]:
            yield Finding(
                kind=NOTE,
                where=below(store, path),
                what="a file that run.json does not name",
                repair=f"remove it by hand: {_by_hand(path)}",
            )
    if not broken:
        yield from attempt(folder, store, repair, lambda: _invariants(folder, facts))


def _kind(store: Store, run_id: str) -> str:
    """The kind of a run; empty if it cannot be read."""
    try:
        return str(completed(stored_facts(store, run_id)).get("kind"))
    except (MilstoreError, TypeError, AttributeError):
        return ""


def _by_hand(path: Path) -> str:
    """The line that removes something from the folder of a finished run, which nobody may write to."""
    folder, name = shlex.quote(str(path.parent)), shlex.quote(str(path))
    return f"chmod u+w {folder} && rm -r {name} && chmod u-w {folder}"


def _facts(store: Store, run_id: str) -> None:
    facts = stored_facts(store, run_id)
    known = columns_of_version("run", facts.get("schema_version", 1))["runs"]
    missing = [name for name in known if name not in facts]
    if missing or facts["run_id"] != run_id:
        raise ValueError(f"run.json is not of this run, or lacks {', '.join(missing) or 'its id'}")
    if set(facts["files"]) < {f"{name}.parquet" for name in TABLES}:
        raise ValueError("run.json does not name every file of a run")
    unknown = set(facts) - {
        *columns("run")["runs"],
        "run_id",
        "files",
        LEARNING,
        *MODEL_FACTS,
        *FURTHER_FACTS,
        OWN_HASH,
    }
    if unknown:
        raise ValueError(f"run.json has an entry that no run has: {named(unknown)}")
    # The first runs say nothing of themselves.
    if facts.get(OWN_HASH, with_own_hash(facts)[OWN_HASH]) != with_own_hash(facts)[OWN_HASH]:
        raise ValueError("run.json is not what was stored (its own SHA-256 differs)")
    for name, entry in facts["files"].items():
        if not {"bytes", "sha256"} <= entry.keys():
            raise ValueError(f"run.json does not say what {name} is")


def _run_file(path: Path, entry: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a file of a run."""
    if not path.is_file():
        yield "the file is missing"
    elif path.stat().st_size != entry["bytes"] or sha256_of(path) != entry["sha256"]:
        yield "the file is not what was stored (SHA-256 differs)"
    elif "rows" in entry and pq.read_metadata(path).num_rows != entry["rows"]:
        yield "the file has another number of rows than run.json says"


def _invariants(folder: Path, facts: dict[str, Any]) -> None:
    """Raise if the tables of a run violate an invariant that held when they were written."""
    tables = {name: pq.read_table(folder / f"{name}.parquet", partitioning=None) for name in TABLES}
    for name in ("epochs", "coverage"):
        checked_table(name, tables[name])
    check_predictions(tables["predictions"], tables["probabilities"])
    known, kind = facts.get(KNOWN), facts.get("attention", "levels")
    attention = checked_attention(tables["attention"], None if known is None else patches_evaluated(tables["coverage"]))
    check_cases(kind, attention, tables["predictions"], tables["coverage"], of_patches=known is not None)
    if known is not None:
        check_known(known, kind, attention)
    if "scores.parquet" in facts["files"]:
        checked_table("scores", pq.read_table(folder / "scores.parquet", partitioning=None))
    ranked = attention.table
    if not ranked.equals(tables["attention"].select(ranked.column_names).cast(ranked.schema)):
        raise ValueError("attention is not sorted by case and rank")
    if facts["files"]["attention.parquet"].get("largest_case", attention.largest_case()) != attention.largest_case():
        raise ValueError("the largest case of attention is not that of run.json")
    if ranked.num_rows and attention.fingerprint() != facts["patches_fingerprint"]:
        raise ValueError("the patches of attention are not those of run.json")


def check_strangers(store: Store) -> Iterator[Finding]:
    """What lies in the runs' folder and is no run of milstore."""
    for name in strangers(store):
        # A writer's leftover is found as such.
        if not (name.startswith(".") and name.endswith(".tmp")):
            yield Finding(
                kind=NOTE,
                where=f"{store.runs.name}/{name}",
                what="no run that milstore made, and read by nothing",
                repair="move it out of runs/, or remove it by hand",
            )
