"""The tutorial for data of one's own: all that it has one type is run, and prints what it says."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.store import open_store
from milstore.store.cohort import read_cohort
from tests.test_layout import ROOT

pytestmark = pytest.mark.thorough

PAGE = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")


def blocks() -> Iterator[tuple[str, str]]:
    """The blocks of the page: what each is written in, and its text."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE):
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


def test_the_tutorial_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From an empty folder to a report: every command ends as the page shows it, word by word where it shows words."""
    monkeypatch.chdir(tmp_path)
    pieces = list(blocks())
    ran = 0
    for (kind, text), (following, expected) in zip(pieces, [*pieces[1:], ("", "")], strict=True):
        if kind == "python":
            exec(compile(text, "your-own-data.md", "exec"), {})
        elif kind == "toml":
            Path("data/milstore.toml").write_text(text, encoding="utf-8")
        elif kind == "sh":
            lines = text.splitlines()
            outcomes = [run(line, capsys) for line in lines]
            ran += len(lines)
            refused = following == "text" and any(line.startswith("error: ") for line in expected.splitlines())
            assert [code for code, _ in outcomes] == [0] * (len(lines) - 1) + [2 if refused else 0], outcomes
            if following == "text":
                wanted = "\n".join(re.escape(line).replace("…", ".*") for line in printed(expected))
                said = "\n".join(line for _, lines in outcomes for line in lines)
                assert re.fullmatch(wanted, said), said
    assert ran >= 14
    cohort = read_cohort(open_store("data"))
    assert sorted(cohort.table("stains")["stain"].to_pylist()) == ["Ki-67", "PAS"]
    assert sorted(cohort.table("classes")["class_name"].to_pylist()) == ["no relapse", "relapse"]
    assert Path("report.html").stat().st_size > 100_000


def test_the_readme_leads_there() -> None:
    """Who has data of another naming finds the page from the README."""
    assert "](docs/your-own-data.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
