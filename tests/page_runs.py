"""Runs what a page of the docs says, block after block, and compares what it shows with what is printed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from milstore.cli.main import main
from tests.crossing import WHOLE
from tests.reporting import brief


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """The blocks of a page: what each is written in, and its text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def printed(text: str) -> list[str]:
    """The lines of an output: no empty ones, no rule of a table, one blank for many."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line and not set(line) <= {"─"}]


def run(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code of a command line, and the lines that it prints: its data, then its words."""
    capsys.readouterr()
    code = main(shlex.split(line)[1:])
    said = capsys.readouterr()
    return code, printed(said.out) + printed(said.err)


def run_page(page: str, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Run a page in the folder that is current: python, the store's toml, and commands, each compared with what it shows.

    What would start processes does its work in this one, and a report asks few questions, but by `make torture`.

    Returns:
        What each command printed. AssertionError if one ends or prints otherwise than the page says (… stands for anything).
    """
    if WHOLE:
        return _run_pieces(list(blocks(page)), capsys)
    with pytest.MonkeyPatch.context() as patch, brief("recall", "where"):
        patch.setattr("milstore.workers.processors", lambda: 1)
        return _run_pieces(list(blocks(page)), capsys)


def _run_pieces(pieces: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for (kind, text), (following, expected) in zip(pieces, [*pieces[1:], ("", "")], strict=True):
        if kind == "python":
            exec(compile(text, "page", "exec"), {})
        elif kind == "toml":
            Path("data/milstore.toml").write_text(text, encoding="utf-8")
        elif kind == "sh":
            lines = text.splitlines()
            outcomes = [run(line, capsys) for line in lines]
            told |= {line: said for line, (_, said) in zip(lines, outcomes, strict=True)}
            refused = following == "text" and any(line.startswith("error: ") for line in expected.splitlines())
            assert [code for code, _ in outcomes] == [0] * (len(lines) - 1) + [2 if refused else 0], outcomes
            if following == "text":
                wanted = "\n".join(re.escape(line).replace("…", ".*") for line in printed(expected))
                said = "\n".join(line for _, lines in outcomes for line in lines)
                assert re.fullmatch(wanted, said), said
    return told
