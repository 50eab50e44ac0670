"""How two runs differ: in their settings, data and software."""

import json
from collections.abc import Mapping
from typing import Any

from milstore.store.run_reader import LEARNING, MODEL_CODE, OWN_HASH

_A_RUNS_OWN = frozenset(
    {
        *("run_id", "files", "config", "config_hash", "started_at", "finished_at", "seconds", "weights_sha256"),
        *(LEARNING, MODEL_CODE, OWN_HASH),
    }
)
"""What differs between any two runs, or is told setting by setting."""


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The facts of two runs (`read_run`) that differ: name and both values, None where a run lacks it.

    Settings come as `config.name`. What every run has for itself (its id, times, hashes of its files) is left out.
    """
    flat = [_flat(facts) for facts in (a, b)]
    return [
        (name, flat[0].get(name), flat[1].get(name))
        for name in dict.fromkeys([*flat[0], *flat[1]])
        if flat[0].get(name) != flat[1].get(name)
    ]


def _flat(facts: Mapping[str, Any]) -> dict[str, Any]:
    config = json.loads(facts["config"])
    told = {name: value for name, value in facts.items() if name not in _A_RUNS_OWN}
    return told | {f"config.{name}": value for name, value in config.items()}
