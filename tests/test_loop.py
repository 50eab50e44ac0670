"""The part of the tests for the loop of work."""

import ast
from pathlib import Path

from tests.loop import LEFT_OUT, left_out

ROOT = Path(__file__).resolve().parents[1]


def test_what_is_left_out_is_there() -> None:
    """Every function that the loop of work leaves out is a test or an example of the project, named once and in order."""
    named = LEFT_OUT.read_text(encoding="utf-8").splitlines()
    assert named == sorted(left_out())
    files = {name.partition("::")[0] for name in named}
    parsed = {file: ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in files}
    defined = {
        f"{file}::{node.name}"
        for file, tree in parsed.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    assert [name for name in named if name.startswith("tests/") and name not in defined] == []
