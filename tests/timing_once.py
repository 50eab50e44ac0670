"""Benchmarks at a size that proves nothing but that they run: each contender runs once, and is not warmed up."""

import sys
from collections.abc import Callable, Mapping

import pytest

from benchmarks.rounds import Timed, in_rounds


def once(contenders: Mapping[str, Callable[[], object]], rounds: int, *, warm: bool = True) -> Timed:
    """As `in_rounds`, in one round alone."""
    return in_rounds(contenders, 1, warm=False)


def each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All benchmarks that have been imported do so."""
    for name, module in list(sys.modules.items()):
        if name.startswith("benchmarks.") and getattr(module, "in_rounds", None) is in_rounds:
            monkeypatch.setattr(module, "in_rounds", once)
