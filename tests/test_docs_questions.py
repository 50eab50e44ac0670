"""The page that says which question to ask when."""

import re
import shlex
from contextlib import nullcontext
from pathlib import Path

import pytest

from docs.rooms import ROOT
from milstore import queries
from milstore.cli.main import main
from milstore.store import Store
from tests.crossing import WHOLE
from tests.reporting import brief

PAGE = (ROOT / "docs" / "questions-when.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"`(milstore [a-z]+ [^`]+)`", PAGE)


def test_every_question_is_in_it() -> None:
    """Each question stands there once as a command, and no other is named."""
    named = [words[2] for command in COMMANDS if (words := shlex.split(command))[1] in ("query", "plot")]
    assert sorted(named) == sorted(queries.loader.built_in_names())


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_run(three: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """What it says to type is answered as it stands; the whole report by `make torture`."""
    monkeypatch.chdir(tmp_path)
    with nullcontext() if WHOLE else brief("recall"):
        assert main([*shlex.split(command)[1:], "--store", str(three.root)]) == 0


def test_the_columns_that_it_names_are_there() -> None:
    """A column in a line of a question is one of its answer, so far as SQL gives it."""
    for line in PAGE.splitlines():
        found = re.match(r"\| [^|]+\| `milstore query ([a-z-]+)[^|]*\| ([^|]*)\|", line)
        if found and queries.load(found[1]).then is None:
            named = set(re.findall(r"`([a-z_]+)`", found[2]))
            assert named <= set(queries.load(found[1]).columns), line


def test_the_readme_leads_to_it() -> None:
    """Who reads the README finds it."""
    assert "](docs/questions-when.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
