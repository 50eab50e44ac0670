"""Tests wait for what they need, and no longer: for a condition, an event or a pipe, never for some time to pass."""

import ast
import re
from itertools import count

import pytest

from tests.test_layout import ROOT
from tests.waiting import holds_within, wait_for

ALLOWED = "waiting.py"


def sleeps(text: str) -> list[int]:
    """The lines in which a program sleeps: `time.sleep(…)`, `sleep(…)` after an import of it, or so within a text."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        called = node.func if isinstance(node, ast.Call) else None
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        program = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if name == "sleep" or re.search(r"\btime\.sleep\(", program):
            lines.append(node.lineno)  # type: ignore[attr-defined]
    return lines


def test_sleeps_are_found() -> None:
    """The search below finds a sleep however it is written, programs within texts included."""
    assert sleeps(
        "import time\ntime.sleep(1)\nfrom time import sleep\nsleep(2)\nrun('import time; time.sleep(1)')"
    ) == [2, 4, 5]
    assert sleeps("monkeypatch.setattr('milstore.launching.states.time.sleep', look)") == []


def test_no_test_sleeps() -> None:
    """What a test waits for is a condition with a deadline, in `tests/waiting.py`; time alone proves nothing."""
    # This file speaks of sleeping.
    files = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path.name not in (ALLOWED, "test_waiting.py")]
    assert {path.name: found for path in files if (found := sleeps(path.read_text(encoding="utf-8")))} == {}


def test_waiting_ends_with_the_condition_or_with_the_deadline() -> None:
    """A condition that comes true is seen, and one that does not is named."""
    looks = count(1)
    wait_for(lambda: next(looks) >= 3, "the third look", every=0.0)
    assert next(looks) == 4
    assert not holds_within(lambda: False, 0.0)
    with pytest.raises(AssertionError, match="waited in vain for the end of the world"):
        wait_for(lambda: False, "the end of the world", seconds=0.0)
