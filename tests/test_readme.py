"""The README's commands work as they stand there."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from milstore.cli.main import main
from milstore.store import Store
from tests.crossing import WHOLE
from tests.reporting import brief
from tests.test_layout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The milstore commands of the README's shell blocks, comments left out and continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def test_every_command_of_the_readme_exists() -> None:
    """Each command line of the README is accepted by the program, with its options: a typo would be found."""
    for words in commands(README):
        if words[0] == "milstore":
            options = {word.split("=")[0] for word in words if word.startswith("-")}
            assert main([*_command(words[1:]), "--help"]) == 0, words
            assert options <= _options_of(_command(words[1:])), words


def _command(words: list[str]) -> list[str]:
    groups = {"export", "ingest", "splits", "query", "plot", "runs"}
    return words[: 2 if words[0] in groups and not words[1].startswith("-") else 1]


def _options_of(command: list[str]) -> set[str]:
    import contextlib
    import io

    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        main([*command, "--help"])
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", stream.getvalue()))


@pytest.fixture
def lab(three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose `data` is the store of three cases."""
    three.root.rename(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tour_runs(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The asking commands of the tour answer, on a small store; building and training have tests of their own.

    By `make torture` the report asks in processes, as it does by itself.
    """
    tour = README.partition("<!-- tour -->")[2].partition("```\n")[0]
    asked = [words[1:] for words in commands(tour + "```\n") if words[1] not in ("demo", "train")]
    assert len(asked) >= 7
    with brief("recall", "provenance", processes=WHOLE):
        for words in asked:
            assert main(words) == 0, (words, capsys.readouterr().err)
    assert (lab / "top.html").stat().st_size > 100_000
    assert (lab / "report.html").stat().st_size > 100_000


def test_the_example_question_runs(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's own question becomes a command with its option."""
    (lab / "data" / "queries").mkdir()
    text = README.partition("```sql\n")[2].partition("```")[0]
    (lab / "data" / "queries" / "leading.sql").write_text(text, encoding="utf-8")
    assert main(["query", "leading", "--threshold", "0.4", "--format", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "stain,cases,mean_error"


def test_the_two_commands_are_targets_of_make() -> None:
    """`make demo` and `make test` exist, and torch is the one version that the constraints name."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"demo:", "test:"} <= {line.split()[0] for line in makefile.splitlines() if line and not line[0].isspace()}
    pinned = re.findall(
        r"torch==[\d.]+", makefile + (ROOT / "constraints.txt").read_text() + (ROOT / "pyproject.toml").read_text()
    )
    assert set(pinned) == {"torch==2.13.0"}
    assert sys.version_info >= (3, 11)
