"""The rooms, how they import each other, and what a command loads."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.rooms import FOUNDATIONS, ROOT, circles, imports_of, level_of, may_import, modules, room_of
from milstore import queries
from milstore.charts import charted
from milstore.cli.lazy import load_entry
from milstore.cli.main import COMMANDS
from tests.making import three_case_store
from tests.nursery import HEAVY, Nursery, nursery

LINKS = {"schema": "../schema", "queries": "../queries", "cli": "../cli", "study": "../data/study"}


@pytest.mark.parametrize(("name", "target"), LINKS.items())
def test_rooms_are_links(name: str, target: str) -> None:
    """The rooms at the root are the package's sub-packages by links, not by copies."""
    link = ROOT / "milstore" / name
    assert link.is_symlink()
    assert str(link.readlink()) == target


@pytest.mark.parametrize("room", ["schema", "queries", "cli"])
def test_a_room_is_imported_once(room: str) -> None:
    """Importing a room from the root, beside its place in the package, is refused."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"ImportError: import milstore.{room}" in done.stderr


def test_no_module_imports_itself_by_way_of_others() -> None:
    """There is no circle of imports, late ones counted."""
    known = modules()
    assert circles({name: imports_of(path, known) - {name} for name, path in known.items()}) == []


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    """The search for circles finds one, also where an import stands inside a function or in a text."""
    (tmp_path / "a.py").write_text("def late():\n    from milstore import b\n")
    (tmp_path / "b.py").write_text("from importlib import import_module\n\nimport_module('milstore.c')\n")
    (tmp_path / "c.py").write_text("import milstore.a\n")
    (tmp_path / "d.py").write_text("import milstore.a\n")
    known = {f"milstore.{name}": tmp_path / f"{name}.py" for name in "abcd"}
    graph = {name: imports_of(path, known) for name, path in known.items()}
    assert circles(graph) == [["milstore.a", "milstore.b", "milstore.c"]]


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_one_way(module: str) -> None:
    """A room imports what lies below it, and of its own layer only what is said here; nothing imports the command line."""
    if module == "milstore":
        # The package's own face hands out the facade.
        return
    known, room = modules(), room_of(module)
    used = {room_of(name) for name in imports_of(known[module], known)}
    assert room in FOUNDATIONS or level_of(room) >= 0, f"{room} has no place among the rooms"
    assert used <= may_import(room) | {room}, sorted(used - may_import(room))


ARROW = {"pyarrow", "numpy"}
RANKS = ARROW | {"scipy"}
NOTHING: frozenset[str] = frozenset()
THEN = {
    **dict.fromkeys(("compare-runs", "experiments", "recall", "roc", "split-balance"), ARROW),
    **dict.fromkeys(("concentration", "patch-count", "slice-spread"), RANKS),
    # Three cases have places, and so neighbours.
    "slice-pattern": RANKS,
}
"""What the questions use whose rows go through a function."""
DRAWING = ARROW | {"pandas", "altair"}
SHOW = ARROW | {"pandas"}
"""What pyarrow brings where it makes tables out of Python's own lists."""
COMMAND_LINES = {
    **{(name, "--help"): NOTHING for name in COMMANDS},
    **dict.fromkeys((("query", "--list"), ("query", "top-patches", "--help"), ("plot", "--list")), NOTHING),
    **{("query", name): THEN.get(name, NOTHING) for name in queries.available()},
    ("query", "top-patches", "--case", "46", "--format", "csv"): NOTHING,
    **{("plot", name, "-o", "chart.json"): DRAWING | THEN.get(name, NOTHING) for name in charted()},
    ("report", "-o", "report.html"): DRAWING | RANKS,
    **dict.fromkeys((("sql", "select 1"), ("info",), ("runs", "list"), ("runs", "show", "exp-s1-0")), NOTHING),
    ("runs", "diff", "exp-s1-0", "exp-s1-0"): NOTHING,
    **dict.fromkeys((("doctor",), ("splits", "show"), ("splits", "check")), SHOW),
}
"""Each command line, and the heavy packages that it may load."""
LOADS = list(dict.fromkeys(map(frozenset, COMMAND_LINES.values())))
"""The sets of packages that lines may load: those of one set run one after another in one process."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the store of three cases."""
    folder = tmp_path_factory.mktemp("cradle")
    three_case_store(folder / "three")
    return folder


@pytest.fixture(scope="module")
def bare() -> Iterator[Nursery]:
    """A process to fork commands from that has imported nothing heavy."""
    with nursery(ROOT, "milstore.cli.query") as process:
        yield process


@pytest.fixture(scope="module")
def drawing() -> Iterator[Nursery]:
    """A process to fork commands from that draw: it has imported what draws, as each of them would."""
    with nursery(ROOT, "milstore.charts.render", "milstore.charts.save") as process:
        yield process


def typed(words: tuple[str, ...], folder: Path) -> list[str]:
    """A command line with where its store and its file are, and a case for what wants one."""
    asked = [str(folder / word) if word.endswith((".html", ".json")) else word for word in words]
    if "--help" not in words:
        asked += ["--store", str(folder / "three")]
    if words[0] in ("query", "plot") and "--case" not in words and not words[1].startswith("-"):
        asked += ["--case", "46"] if queries.load(words[1]).wants_case else []
    return asked


@pytest.mark.parametrize("loads", LOADS, ids=lambda loads: " ".join(sorted(loads)) or "nothing")
def test_a_command_loads_only_what_it_uses(
    loads: frozenset[str], folder: Path, bare: Nursery, drawing: Nursery
) -> None:
    """Start-up time is a feature: no heavy library is imported by a command that does not use it.

    A report asks some of its questions; by `make torture` all.
    """
    lines = [words for words, may_load in COMMAND_LINES.items() if may_load == loads]
    ended = (drawing if loads >= DRAWING else bare).run([typed(words, folder) for words in lines])
    # The store lacks labels and features for some checks: then it says so, and 1.
    right = {words: 1 if words == ("splits", "check") else 0 for words in lines}
    assert {words: each.said for words, each in zip(lines, ended, strict=True) if each.code != right[words]} == {}
    assert {words: each.loaded - loads for words, each in zip(lines, ended, strict=True) if each.loaded - loads} == {}


def test_importing_milstore_is_light() -> None:
    """`import milstore` brings no heavy library."""
    program = "import sys, milstore; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & (HEAVY | {"duckdb", "typer", "rich"}) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_they_say(name: str) -> None:
    """The line in `milstore --help` is the first line of the command's own help."""
    own = load_entry(name, COMMANDS[name]).help or ""
    assert own.strip().splitlines()[0] == COMMANDS[name].help
