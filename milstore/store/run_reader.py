"""Finished runs, found and read: what a question needs of them, and therefore quick to import."""

import json
import os
import re
from collections.abc import Iterable
from typing import Any

from milstore.errors import UsageError
from milstore.schema.columns import columns
from milstore.store.names import named, nearest
from milstore.store.paths import NO_RUN, RUN_FOLDER, Store
from milstore.store.plain import read_object, unreadable

_JSON_KINDS = {"VARCHAR": str, "INTEGER": int, "BIGINT": int}
RUN_FILE = "run.json"
WEIGHTS = "weights.safetensors"
TABLES = ("epochs", "predictions", "probabilities", "attention", "coverage")
"""The tables of a run that are Parquet files, of every run there ever was."""
FURTHER = ("scores",)
"""Tables that a run may have besides, if its `run.json` names their files."""
RUN_ID = re.compile(r"[a-z0-9][a-z0-9_.-]*")
"""What a run can be called. A folder of any other name is not milstore's."""

LEARNING = "learning"
"""Entry of `run.json` that says whether the training learned anything (see `milstore.analysis.learning`).

Runs of 0.1 and
those that were not trained here lack it."""
MODEL_CODE = "model_code"
MODEL_FACTS = ("model", "attention", MODEL_CODE)
"""Entries of `run.json` that say which model it is (its name, or the class of a user's own), what attention it has (levels,
patches or none), and what it was made of: class, settings, SHA-256 and text of a user's own files, which are never
executed from there. Runs of 0.1 lack them, and those that were not trained here."""
NO_ATTENTION = "none"
"""What `attention` is of a run without any: its table has no rows."""
PART_ATTENTION = "part"
"""What `attention` is of a run that has it of some of the cases that it predicted, or of some of their patches."""
KNOWN = "attention_known"
"""Entry of `run.json` of a run that has attention of a part of its cases' patches. `pct`: the share of each case's most
attended patches, in percent, that this surely is; null where it is no top. `said`: what there is of it, in words."""
OWN_LABELS = "labels_of_run"
"""Entry of `run.json` of a run that keeps labels that the store contradicted: the cases."""
PREDICTED = "predicted"
"""Entry of `run.json` of a run of kind prediction.

`experiment`: whose models made it. `weights_sha256`: of the model's weights,
where one model made it. `runs`: of the mean of several models, the runs that it is the mean of."""
FIGURES = "figures"
"""Entry of `run.json` of a run that another tool made.

`by`: the tool. `said`: how its figures, which are of slides, became
those of cases, in words; empty where they are of cases."""
FURTHER_FACTS = (KNOWN, OWN_LABELS, PREDICTED, FIGURES)
"""Entries of `run.json` that only some runs have."""
PREDICTION = "prediction"
"""The `kind` of a run that speaks of new cases, by the weights of another run or as the mean of several such.

Its `experiment`
is the prediction's name. It answers only where it is asked for."""
RECORDED = "recorded"
"""The `kind` of a run, and of an unfinished one, that another trainer writes."""
OWN_HASH = "facts_sha256"
"""Entry of `run.json` that holds the SHA-256 of all its others."""


def with_own_hash(facts: dict[str, Any]) -> dict[str, Any]:
    """The contents of `run.json` and their SHA-256."""
    import hashlib

    others = {name: value for name, value in facts.items() if name != OWN_HASH}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return {**others, OWN_HASH: hashlib.sha256(text.encode()).hexdigest()}


def run_ids(store: Store) -> list[str]:
    """The finished runs, by id."""
    with os.scandir(store.runs) as entries:
        return sorted(entry.name.removeprefix(RUN_FOLDER) for entry in entries if _is_run(entry))


def strangers(store: Store) -> list[str]:
    """Names of entries among the finished runs that are no run, such as a copy that a user made. Nothing reads them."""
    with os.scandir(store.runs) as entries:
        return sorted(entry.name for entry in entries if not _is_run(entry) and entry.name != RUN_FOLDER + NO_RUN)


def _is_run(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    return name.startswith(RUN_FOLDER) and RUN_ID.fullmatch(name, len(RUN_FOLDER)) is not None and entry.is_dir()


def find_run_id(store: Store, text: str) -> str:
    """The finished run whose id is `text`, or the only one it fits. Raises UsageError if none or several fit."""
    return one_run_id(text, run_ids(store), "finished run")


def one_run_id(text: str, ids: Iterable[str], what: str) -> str:
    """The one of these ids that contains `text`. Raises UsageError, with the candidates, if none or several do.

    >>> one_run_id("d416", ["mil-s1-0-d416", "mil-s2-0-0ebb"], "run")
    'mil-s1-0-d416'
    """
    ids = list(ids)
    found = fitting_run_ids(text, ids)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"run {text!r} is ambiguous: it may be {named(found)}")
    raise UsageError(f"there is no {what} {text!r}: {nearest(text, ids)}")


def fitting_run_ids(text: str, ids: Iterable[str]) -> list[str]:
    """The ids that a text may mean: the equal one, else those that begin with it, else those that contain it.

    >>> fitting_run_ids("a", ["a", "ab"]), fitting_run_ids("a", ["ab", "ba"]), fitting_run_ids("b", ["abc", "cba"])
    (['a'], ['ab'], ['abc', 'cba'])
    """
    ids = list(ids)
    if text in ids or not text:
        return [text] if text else []
    return [each for each in ids if each.startswith(text)] or [each for each in ids if text in each]


def read_run(store: Store, run_id: str) -> dict[str, Any]:
    """All facts in a finished run's `run.json`, with the implied values of facts that its version did not store.

    StoreError if it cannot be read.
    """
    return completed(stored_facts(store, run_id))


def completed(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of a run; those of version 1 with the implied values of what it did not store."""
    return facts if "schema_version" in facts else {**facts, **_of_version_1(facts)}


def _of_version_1(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that a run of version 1 does not name. The view `runs` says the same in SQL."""
    imported = '"imported": true' in str(facts.get("config"))
    return {
        "config_version": 1,
        "schema_version": 1,
        "model": None if imported else "hierarchical",
        "kind": "imported" if imported else "training",
        "attention": "levels",
        "source_run_id": None,
    }


def stored_facts(store: Store, run_id: str) -> dict[str, Any]:
    """What a finished run's `run.json` says, as it stands there. StoreError if it cannot be read."""
    # Text, not a Path: of thousands of runs, making the paths takes longer than reading.
    path = f"{store.root}/runs/{RUN_FOLDER}{run_id}/{RUN_FILE}"
    try:
        facts = read_object(path, store.root)
        _check_form(facts, run_id)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return facts


def _check_form(facts: dict[str, Any], run_id: str) -> None:
    """ValueError unless what `run.json` says has the form that every reader of it counts on."""
    if facts.get("run_id") != run_id:
        raise ValueError("it is not of this run, or lacks its id")
    files = facts.get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise ValueError("it does not name the files of the run")
    for name, kind in columns("run")["runs"].items():
        wanted = _JSON_KINDS.get(kind)
        if wanted and name in facts and not isinstance(facts[name], (wanted, type(None))):
            raise ValueError(f"its {name} is no {kind.lower()}")
    missing = [name for name in ("experiment", "finished_at", "config") if not isinstance(facts.get(name), str)]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
