"""Runs command lines in forked copies of a process that has imported next to nothing, and says what they imported.

A fresh interpreter for each would take several times as long. `python -m tests.nursery [MODULE …]` is that process, with
these modules imported: it reads a list of command lines as JSON a line, runs them one after another in one fork, and
answers for each with its exit code, the heavy packages that are loaded then, and what it printed.
"""

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import milstore.cli.main
from tests.crossing import WHOLE

HEAVY = {"torch", "pandas", "altair", "sqlalchemy", "scipy", "sklearn", "skimage", "pyarrow", "numpy"}


@dataclass(frozen=True)
class Ended:
    """What came of a command."""

    code: int
    loaded: set[str]
    """Heavy packages that are loaded at its end, by it or by one before it."""
    said: str


@dataclass(frozen=True)
class Nursery:
    """The process that is forked for command lines."""

    process: "subprocess.Popen[str]"

    def run(self, lines: list[list[str]]) -> list[Ended]:
        """Run command lines of milstore to their ends, one after another in one process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(lines) + "\n")
        self.process.stdin.flush()
        return [Ended(code, set(loaded), said) for code, loaded, said in json.loads(self.process.stdout.readline())]


@contextlib.contextmanager
def nursery(root: Path, *modules: str) -> Iterator[Nursery]:
    """A nursery, ended afterwards. It has these modules, which every command that it runs may load, from the beginning."""
    words = [sys.executable, "-m", "tests.nursery", *modules]
    with subprocess.Popen(words, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Nursery(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve() -> None:
    at_first = HEAVY & sys.modules.keys()
    if at_first:
        raise RuntimeError(f"the command line itself imports {at_first}")
    for module in sys.argv[1:]:
        importlib.import_module(module)
    if hasattr(os, "sched_setaffinity"):
        # With one processor a report is made in the process that is looked at, and not in others.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for line in sys.stdin:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        sys.stdout.write(json.dumps([_ended(words) for words in json.loads(line)]) + "\n")
        sys.stdout.flush()
        os._exit(0)


def _few_questions() -> contextlib.AbstractContextManager[None]:
    """A report asks some of its questions: each of them is a command line too."""
    from tests.reporting import brief

    return brief("recall", "explains")


def _ended(words: list[str]) -> tuple[object, list[str], str]:
    said = io.StringIO()
    code: object = "it raised"
    few = _few_questions() if words[:2] == ["report", "-o"] and not WHOLE else contextlib.nullcontext()
    with few, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.suppress(Exception):
        code = milstore.cli.main.main(words)
    return code, sorted(HEAVY & sys.modules.keys()), said.getvalue()


if __name__ == "__main__":
    _serve()
