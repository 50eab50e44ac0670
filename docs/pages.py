"""Writes the parts of docs/architecture.md and docs/api.md that the code says: `python -m docs.pages [--check]`.

Such a part stands between `<!-- name: begin -->` and `<!-- name: end -->`; what is around it is written by hand.
"""

import ast
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from docs.rooms import FOUNDATIONS, PACKAGE, ROOT, imported_rooms, libraries_of, modules, room_of, without_shortcuts

PUBLIC = ("milstore", "milstore.models", "milstore.charts.theme")
"""The modules whose `__all__` is public."""
CHOICE = {"run", "experiment", "split", "seed", "subset", "case"}
"""The words that say which run answers."""
HEAVY = ("torch", "pandas", "altair", "sqlalchemy", "scipy", "sklearn", "skimage", "h5py", "submitit")
"""Libraries that a command imports only where it uses them."""


def picture() -> str:
    """The rooms and the arrows between them, for Mermaid. What a longer way says too is left out."""
    arrows = without_shortcuts(imported_rooms())
    lines = ["```mermaid", "flowchart TD"]
    lines += [f"    {room} --> {other}" for room in reversed(arrows) for other in sorted(arrows[room])]
    return "\n".join([*lines, "```"])


def table_of_rooms() -> str:
    """A row a room, from the ground up: what it holds, what it imports, and the heavy libraries that it uses."""
    arrows, used = imported_rooms(), _libraries()
    rows = [
        f"| `{room}` | {_summary(_docstring(room))} | {', '.join(sorted(arrows[room])) or '–'} "
        f"| {', '.join(name for name in HEAVY if name in used[room])} |"
        for room in arrows
    ]
    head = ["| room | what it holds | imports | heavy libraries |", "|---|---|---|---|"]
    root = ", ".join(f"`{name}`" for name in sorted(FOUNDATIONS & {room_of(name) for name in modules()}))
    return "\n".join([*head, *rows, "", f"Beside the rooms there are modules that all may use: {root}."])


def _libraries() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, path in modules().items():
        found.setdefault(room_of(module), set()).update(libraries_of(path))
    return found


def _docstring(room: str) -> str | None:
    folder = PACKAGE / room
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def _summary(text: str | None) -> str:
    """The first paragraph of a docstring, as a cell of a table."""
    return " ".join((text or "").partition("\n\n")[0].split()).replace("|", "\\|")


def public_names(module: str) -> list[str]:
    """The names that a module promises: its `__all__`, read and not imported."""
    for node in ast.parse(_file_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value), key=str.lower)
    raise LookupError(f"{module} has no __all__")


def table_of_names() -> str:
    """The public names of each public module, a line each."""
    blocks = []
    for module in PUBLIC:
        rows = [f"| `{name}` | {line_of(module, name)} |" for name in public_names(module)]
        blocks.append("\n".join([f"### `{module}`", "", "| name | |", "|---|---|", *rows]))
    return "\n\n".join(blocks)


def table_of_members(module: str, class_name: str) -> str:
    """What a class offers: its public methods and properties, a line each."""
    tree = ast.parse(_file_of(module).read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    methods = [node for node in found.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    rows = [f"| `{_shown(node)}` | {_summary(ast.get_docstring(node))} |" for node in methods]
    return "\n".join(["| | |", "|---|---|", *rows])


def _shown(node: ast.FunctionDef) -> str:
    """A method as one calls it: without the words that all questions take."""
    if any("property" in ast.unparse(decorator) for decorator in node.decorator_list):
        return node.name
    words = [argument.arg for argument in node.args.args[1:]]
    words += [argument.arg for argument in node.args.kwonlyargs if argument.arg not in CHOICE]
    words += [f"**{node.args.kwarg.arg}"] if node.args.kwarg else []
    return f"{node.name}({', '.join(words)})"


def line_of(module: str, name: str) -> str:
    """The first line of what is said of a name where it is defined. LookupError if nothing is."""
    body = ast.parse(_file_of(module).read_text(encoding="utf-8")).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _summary(ast.get_docstring(node))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(target) == name and isinstance(after, ast.Expr):
                return _summary(str(ast.literal_eval(after.value)))
    for each in (each for statement in body for each in ast.walk(statement)):
        if isinstance(each, ast.ImportFrom) and name in {alias.name for alias in each.names}:
            return line_of(str(each.module), name)
    raise LookupError(f"{module}.{name} is defined without a line about it")


def _file_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin)


BLOCKS: dict[str, tuple[str, Callable[[], str]]] = {
    "picture": ("architecture.md", picture),
    "rooms": ("architecture.md", table_of_rooms),
    "names": ("api.md", table_of_names),
    "store": ("api.md", lambda: table_of_members("milstore.api", "OpenStore")),
    "result": ("api.md", lambda: table_of_members("milstore.asking.result", "Result")),
}
"""Each part that is written here: its page, and what writes it."""


def pages() -> dict[Path, str]:
    """The pages as they should be, by their files. LookupError if a page lacks the marks of a part."""
    found: dict[Path, str] = {}
    for name, (page, write) in BLOCKS.items():
        path = ROOT / "docs" / page
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        above, begun, rest = (found.get(path) or path.read_text(encoding="utf-8")).partition(begin)
        _, ended, below = rest.partition(end)
        if not (begun and ended):
            raise LookupError(f"{page} lacks {begin.strip()} … {end}")
        found[path] = f"{above}{begin}{write()}\n{end}{below}"
    return found


def main() -> int:
    """Write the pages; with --check, only say whether they are as they should be. Returns 1 if they are not."""
    stale = {path: text for path, text in pages().items() if path.read_text(encoding="utf-8") != text}
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not what the code says: run python -m docs.pages\n")
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
