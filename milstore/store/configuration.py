"""Configurations of runs as JSON: written, hashed and compared in one way for every trainer.

An experiment stands for one configuration. Split set, split and seed are no part of it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from milstore.errors import ConflictError, UsageError
from milstore.store.names import clip, named
from milstore.store.paths import Store
from milstore.store.run_reader import read_run, run_ids
from milstore.store.run_writer import list_drafts

_HOW_READ = ("source", "read")
"""What an imported run says beside its configuration: the files that it came from, and how they were read."""


def sorted_json(fields: Mapping[str, Any]) -> str:
    """A configuration as it is stored. TypeError or ValueError for what JSON cannot hold."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)


def hash_of(fields: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration, in hexadecimal: the rule of `milstore.schema.CONFIG_VERSION`."""
    return hashlib.sha256(sorted_json(fields).encode()).hexdigest()


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that came from Python, as JSON has it. UsageError for what JSON cannot hold."""

    def number(value: Any) -> Any:
        # Numbers of numpy and torch.
        if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
            return value.item()
        raise TypeError(f"a {type(value).__name__}")

    try:
        found = json.loads(json.dumps(config, allow_nan=False, default=number))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the configuration holds what JSON cannot ({clip(str(error))}): give texts, numbers, lists and dictionaries"
        ) from error
    if not isinstance(found, dict):
        raise UsageError('the configuration is a dictionary of settings, such as {"lr": 1e-4}')
    return found


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The settings in which two configurations differ, with both values."""
    keys = sorted(there.keys() | here.keys())
    return [
        (key, there.get(key, "not set"), here.get(key, "not set")) for key in keys if there.get(key) != here.get(key)
    ]


def in_words(differences: list[tuple[str, Any, Any]]) -> list[str]:
    """Differences as texts, such as `lr 0.0003 there, 0.001 here`."""
    return [f"{key.replace('_', '-')} {old} there, {new} here" for key, old, new in differences]


def refuse_other_configuration(store: Store, experiment: str, config: Mapping[str, Any]) -> None:
    """ConflictError, with what differs, if the experiment stands for another configuration.

    Of runs that were imported or recorded: those of one experiment have every setting in common.
    """
    for run in runs_of(store, experiment):
        other = {name: value for name, value in json.loads(run["config"]).items() if name not in _HOW_READ}
        ours = {name: value for name, value in config.items() if name not in _HOW_READ}
        if found := in_words(differing(other, ours)):
            raise ConflictError(
                f"experiment {experiment} stands for another configuration ({clip(named(found), 300)}; run "
                f"{run['run_id']}): choose another name"
            )


def runs_of(store: Store, experiment: str) -> Iterator[dict[str, Any]]:
    """The facts of each run of an experiment with its run_id and whether it is `finished`; unfinished ones too."""
    there = run_ids(store)
    for run_id in there:
        # A run's id begins with its experiment: thousands of others need not be read.
        if run_id.startswith(f"{experiment}-"):
            facts = read_run(store, run_id)
            if facts["experiment"] == experiment:
                yield {**facts, "finished": True}
    for draft in list_drafts(store):
        if draft.run_id not in there and draft.facts.get("experiment") == experiment and "config" in draft.facts:
            yield {**draft.facts, "run_id": draft.run_id, "finished": False}
