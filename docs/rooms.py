"""The rooms of the package, read from its files: which there are, what each imports, and what each may import.

`tests/test_layout.py` holds the rooms to it, and `docs/architecture.md` shows it.
"""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "milstore"

FOUNDATIONS = {"_version", "errors", "extras", "plugins", "processors", "progress", "userfile", "workers"}
"""Modules at the root that any room may use. They use no room."""
LAYERS: tuple[set[str], ...] = (
    {"schema", "queries"},
    {"store"},
    {"formats", "pixels", "encoders", "ingest", "recording", "models", "training", "evidence", "asking", "analysis"},
    {"charts", "launching", "predicting", "exporting"},
    {"report", "viewer", "demo"},
    {"api"},
    {"cli"},
)
"""The rooms from the ground up: each imports what lies below it."""
PEERS = {
    "training": {"models", "analysis"},
    "asking": {"analysis"},
    # Weights of other trainers are evaluated by the models of ours.
    "ingest": {"formats", "pixels", "models"},
    # What others hand over is put on patches in one place.
    "recording": {"ingest"},
    "encoders": {"pixels"},
    "evidence": {"models"},
    "schema": set(),
    "charts": set(),
}
"""Which rooms of their own layer rooms may import besides."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for room in [PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_dir())]:
        for path in room.glob("*.py") if room == PACKAGE else room.rglob("*.py"):
            parts = ["milstore", *path.relative_to(PACKAGE).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules that a module imports, at the top, inside a function or by a text; not those for type checkers alone."""
    found: set[str] = set()
    nodes = _at_run_time(path)
    late = any("import_module" in (getattr(node, "id", ""), getattr(node, "attr", "")) for node in nodes)
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "milstore":
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(known) or {str(node.module)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # What import_module is given: a module, or, with a dot at its end, the room of one.
            said = node.value.removesuffix(".")
            loads = said in known and (node.value.endswith(".") or known[said].name != "__init__.py")
            found |= {said} if loads and late else set()
    return found


def libraries_of(path: Path) -> set[str]:
    """The packages of others that a module imports, at the top or inside a function; not those for type checkers alone."""
    found = set()
    for node in _at_run_time(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    return found - {"milstore"}


@cache
def _at_run_time(path: Path) -> list[ast.AST]:
    """The parts of a module that are there when it runs, so far as they may import: a file is read once."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    every = list(ast.walk(tree))
    only_types = {
        id(node)
        for branch in every
        if isinstance(branch, ast.If) and getattr(branch.test, "id", None) == "TYPE_CHECKING"
        for statement in branch.body
        for node in ast.walk(statement)
    }
    may_import = ast.Import, ast.ImportFrom, ast.Constant, ast.Name, ast.Attribute
    return [node for node in every if isinstance(node, may_import) and id(node) not in only_types]


def room_of(module: str) -> str:
    """The room that a module lies in, or its own name at the root."""
    return module.split(".")[1] if "." in module else "api"


def level_of(room: str) -> int:
    """How high a room lies, from 0; -1 if it has no place among the rooms."""
    return next((i for i, layer in enumerate(LAYERS) if room in layer), -1)


def may_import(room: str) -> set[str]:
    """What a room may import besides itself."""
    if room in FOUNDATIONS:
        return FOUNDATIONS
    below = set().union(*LAYERS[: max(level_of(room), 0)])
    return below | FOUNDATIONS | PEERS.get(room, set())


def imported_rooms() -> dict[str, set[str]]:
    """Which rooms each room imports, from the ground up; without the foundations, which all use."""
    known = modules()
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        # The package's own face hands out the facade: they are one here.
        found.setdefault(room_of(module), set()).update(room_of(name) for name in imports_of(path, known))
    rooms = sorted(found.keys() - FOUNDATIONS, key=lambda room: (level_of(room), room))
    return {room: found[room] - FOUNDATIONS - {room} for room in rooms}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, each sorted."""
    reached = {name: reachable(graph, name) for name in graph}
    groups = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in graph}
    return [list(group) for group in sorted(groups) if group]


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """What is imported by way of anything that a name imports."""
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.get(name, ())
    return seen


def without_shortcuts(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The graph without each arrow that a longer way says too. It must have no circle.

    >>> without_shortcuts({"cli": {"store", "schema"}, "store": {"schema"}, "schema": set()})
    {'cli': {'store'}, 'store': {'schema'}, 'schema': set()}
    """
    longer = {name: set().union(*(reachable(graph, other) for other in graph[name])) for name in graph}
    return {name: graph[name] - longer[name] for name in graph}
