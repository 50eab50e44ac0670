"""The rooms, how they import each other, and what a command loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from milstore.cli.lazy import load_entry
from milstore.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
LINKS = {"schema": "../schema", "queries": "../queries", "cli": "../cli", "study": "../data/study"}
HEAVY = {"torch", "pandas", "altair", "sqlalchemy", "scipy", "sklearn", "skimage", "pyarrow", "numpy"}


def imports_of(package: str) -> set[str]:
    """The milstore rooms that any module of a room imports, at the top or inside a function."""
    found = set()
    for path in (ROOT / "milstore" / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("milstore.")}
    return found - {package, "errors", "__version__"}


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


def test_imports_go_one_way() -> None:
    """schema <- store <- {ingest, training, analysis, charts} <- cli, and nothing imports the command line."""
    assert imports_of("schema") == set()
    assert imports_of("queries") == set()
    assert imports_of("store") <= {"schema"}
    for room in ("ingest", "training", "analysis", "charts"):
        assert imports_of(room) <= {"schema", "store", "analysis", "queries"}, room
    assert imports_of("launching") <= {"schema", "store", "training"}
    for room in ("demo", "report"):
        assert "cli" not in imports_of(room), room


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--help"], set()),
        (["query", "--list"], set()),
        (["query", "top-patches", "--help"], set()),
        (["query", "top-patches", "--case", "46", "--format", "csv", "--store", "{three}"], set()),
        (["query", "top-patches", "--case", "46", "--store", "{three}"], set()),
        (["sql", "select 1", "--store", "{three}"], set()),
        (["runs", "list", "--store", "{three}"], set()),
        (["info", "--store", "{three}"], set()),
        (["train", "--help"], set()),
    ],
)
def test_a_command_loads_only_what_it_uses(words: list[str], allowed: set[str], three: object) -> None:
    """Start-up time is a feature: no heavy library is imported by a command that does not use it."""
    words = [word.replace("{three}", str(getattr(three, "root"))) for word in words]  # noqa: B009
    program = (
        "import sys; from milstore.cli.main import main; code = main(sys.argv[1:]);"
        "sys.stderr.write('LOADED ' + ' '.join(sorted({m.split('.')[0] for m in sys.modules}))); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.rpartition("LOADED ")[2].split())
    assert loaded & HEAVY == allowed


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
