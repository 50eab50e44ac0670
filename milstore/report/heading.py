"""What stands under a report's title: how the runs were trained, and when."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from milstore.store.names import counted, named, natural_key

Facts = Mapping[str, Any]
"""What a run's `run.json` says."""


def settings(runs: Sequence[Facts]) -> str:
    """Model, encoder, split set, splits, seeds and the settings of the training that people ask for first.

    >>> settings([{"model": "hierarchical", "encoder": "hed", "split_set": "study", "split": 2, "seed": 0, "config": "{}"}])
    'model hierarchical · encoder hed · split set study, split 2 · seed 0'
    """
    parts = [
        _of("model", [run.get("model") or run.get("pooling") for run in runs]),
        _of("encoder", [run.get("encoder") for run in runs]),
        _splits(runs),
        _of("seed", [run.get("seed") for run in runs]),
        *_training(runs),
    ]
    return " · ".join(part for part in parts if part)


def day(runs: Sequence[Facts]) -> str:
    """The day (UTC) on which the last of the runs ended; empty where none says.

    >>> day([{"finished_at": "2026-11-26T23:59:00"}, {"finished_at": "2026-11-03T00:00:00"}, {"finished_at": None}])
    '26 November 2026'
    """
    days = [datetime.fromisoformat(str(run["finished_at"])) for run in runs if run.get("finished_at")]
    return f"{max(days).day} {max(days):%B %Y}" if days else ""


def _of(name: str, values: Sequence[Any]) -> str:
    found = sorted({str(value) for value in values if value is not None}, key=natural_key)
    plural = f"{name}s" if len(found) > 1 else name
    return f"{plural} {named(found)}" if found else ""


def _splits(runs: Sequence[Facts]) -> str:
    sets = _of("split set", [run.get("split_set") for run in runs])
    splits = sorted({run["split"] for run in runs if run.get("split") is not None})
    of = f"split {splits[0]}" if len(splits) == 1 else counted(len(splits), "split") if splits else ""
    return ", ".join(part for part in (sets, of) if part)


_SETTINGS = {
    "lr": "learning rate",
    "epochs": "at most {} epochs",
    "max_patches_per_slice": "at most {} patches a slice",
}
"""Settings of a training that stand in the line, and their words."""


def _training(runs: Sequence[Facts]) -> list[str]:
    """Learning rate, epochs and cap, where all runs have the same."""
    found = [json.loads(run.get("config") or "{}") for run in runs]
    said = []
    for name, words in _SETTINGS.items():
        values = {repr(config.get(name)): config.get(name) for config in found}
        value = next(iter(values.values()), None)
        # A cap of 0 is none.
        if len(values) == 1 and value:
            said.append(words.format(f"{value:g}") if "{}" in words else f"{words} {value:g}")
    return said
