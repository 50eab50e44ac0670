"""Loads a class from a user's own file: `./mymodel.py:MyModel`, `./myreader.py:MyReader`.

The file is executed under a private name, so that it may be called as it likes, and what is hashed is what was executed:
its own text, and that of every module that it imports from its own folder, however deep. Such a module is found by the
text of the import (at the top or within a function), and nothing else of the folder can be imported. Where two files
whose modules have one name are loaded in one process, imports within functions find those of the file that was loaded
last.
"""

import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from milstore.errors import DataError, UsageError


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One of the files that a user's own class was loaded from."""

    name: str
    """Its path from the folder of the class's file, with slashes."""
    sha256: str
    text: str
    """What was executed; kept to be read, never executed from there."""


def require_same_files(kind: str, name: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Refuse files that are not those of a run.

    Args:
        kind: what the files are of, such as model, for messages.
        name: its name.
        ours: SHA-256 of the files there are, by name.
        theirs: SHA-256 of the files that the run was trained with.

    Raises:
        DataError: a file differs, is new or is missing; each is named.
    """
    different = sorted(file for file in ours.keys() | theirs.keys() if ours.get(file) != theirs.get(file))
    if different:
        raise DataError(
            f"{kind} {name}: {', '.join(different)} differs from what the run was trained with: "
            "give the file that it was trained with"
        )


def is_path(name: str) -> bool:
    """Whether a name is that of a class in a file."""
    path = name.rpartition(":")[0] or name
    return path.endswith(".py") or "/" in name or "\\" in name


def load_file(
    kind: str, name: str, sha256: Mapping[str, str] | None = None, *, wanted: str = ""
) -> tuple[Any, tuple[SourceFile, ...]]:
    """The object that `./file.py:Class` names, and the files that it was loaded from, its own first.

    Args:
        kind: what it is to be, such as model or format, for messages.
        name: its path and class.
        sha256: what the files must have, by name; others are not executed. None for any.
        wanted: what the file must define, where that has one name for all: a function chart(frame, about).

    Raises:
        DataError: a file has another SHA-256.
        UsageError: the file or the class is missing, or the file cannot be imported.
    """
    path_text, _, class_name = name.rpartition(":")
    if not path_text or path_text.endswith(":") or class_name.endswith(".py"):
        path_text, class_name = name, ""
    path, shown = Path(path_text), path_text if wanted else name
    if not path.is_file():
        raise UsageError(f"{kind} {shown}: there is no file {path}")
    sources = _collect(kind, shown, path.resolve())
    if not class_name:
        raise UsageError(f"{kind} {shown}: say which class, such as {name}:{_some_class(sources[0])}")
    if sha256 is not None:
        require_same_files(kind, shown, {source.file.name: source.file.sha256 for source in sources}, sha256)
    module = _import(kind, shown, path.resolve(), sources)
    if not hasattr(module, class_name) and wanted:
        raise UsageError(f"{kind} {shown}: it defines no {wanted.removeprefix('a ')}")
    if not hasattr(module, class_name):
        near = get_close_matches(class_name, [each for each in vars(module) if not each.startswith("_")], n=1)
        hint = f"did you mean {near[0]}?" if near else f"it defines {_some_class(sources[0])}"
        raise UsageError(f"{kind} {shown}: {path} has no {class_name}: {hint}")
    return getattr(module, class_name), tuple(source.file for source in sources)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that was read, once."""

    file: SourceFile
    path: Path
    content: bytes
    tree: ast.Module


def _collect(kind: str, name: str, path: Path) -> list[_Source]:
    """The file, and every module that it imports from its own folder, in the order of their names."""
    folder = path.parent
    first = _read(kind, name, path, folder)
    found: dict[Path, _Source] = {}
    waiting = [first]
    while waiting:
        for module in _imported(waiting.pop().tree):
            for file in _files_of(folder, module):
                if file not in found and file != path:
                    found[file] = _read(kind, name, file, folder)
                    waiting.append(found[file])
    return [first, *(found[file] for file in sorted(found))]


def _read(kind: str, name: str, path: Path, folder: Path) -> _Source:
    content = path.read_bytes()
    shown = path.relative_to(folder).as_posix()
    try:
        text = content.decode("utf-8")
        tree = ast.parse(content, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else "it is no UTF-8 text"
        raise UsageError(f"{kind} {name}: {shown}{line}: {reason}") from error
    return _Source(SourceFile(shown, _sha256_of(content), text), path, content, tree)


def _imported(tree: ast.Module) -> Iterator[str]:
    """The first part of every module that is imported, at the top or within a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _files_of(folder: Path, module: str) -> list[Path]:
    """The files in the folder that a module comes from: none if it is not there, all of a package's if it is one."""
    if module == "milstore":  # Of a file that lies in milstore's own repository.
        return []
    package = folder / module
    if (package / "__init__.py").is_file():
        return sorted(package.rglob("*.py"))
    single = folder / f"{module}.py"
    return [single] if single.is_file() else []


def _import(kind: str, name: str, path: Path, sources: Sequence[_Source]) -> ModuleType:
    identity = _sha256_of("\n".join(f"{source.path} {source.file.sha256}" for source in sources).encode())
    private = f"_milstore_{kind.replace(' ', '_')}_{identity[:16]}"
    _Siblings.provide(kind, name, path.parent, sources[1:])
    if private in sys.modules:
        return sys.modules[private]
    own = {str(source.path): source.file.name for source in sources}
    module = ModuleType(private)
    module.__file__ = str(path)
    sys.modules[private] = module
    try:
        exec(compile(sources[0].content, str(path), "exec"), module.__dict__)  # noqa: S102 - this is how a module is made
    except Exception as error:
        del sys.modules[private]
        raise UsageError(f"{kind} {name}: {path.name} cannot be imported: {told(error, own)}") from error
    except BaseException:
        del sys.modules[private]
        raise
    return module


def told(error: Exception, own: Mapping[str, str]) -> str:
    """An error in a user's file: its kind, its words, and the last of the user's lines that led to it.

    Args:
        error: what was raised.
        own: names of the user's files by their paths.
    """
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        place = f" ({own[file]}, line {trace.tb_lineno})" if file in own else place
        trace = trace.tb_next
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _some_class(source: _Source) -> str:
    classes = [each.name for each in source.tree.body if isinstance(each, ast.ClassDef)]
    return classes[-1] if classes else "MyModel"


class _Siblings(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds the modules that users' files import from their own folders, by their names and by no others."""

    def __init__(self) -> None:
        self.sources: dict[str, _Source] = {}

    @classmethod
    def provide(cls, kind: str, name: str, folder: Path, sources: Sequence[_Source]) -> None:
        """Have these modules imported from what was read of them, in place of those of an earlier file.

        Raises:
            UsageError: one is called as a module that is not the user's.
        """
        named = {_module_name(source.path, folder): source for source in sources}
        if all(_is_same(_SIBLINGS.sources.get(module), source) for module, source in named.items()):
            return
        for module, source in named.items():
            loaded = sys.modules.get(module)
            theirs = loaded is not None and getattr(loaded, "__file__", None) != str(source.path)
            theirs = theirs and module not in _SIBLINGS.sources
            if theirs or module.partition(".")[0] in sys.stdlib_module_names:
                raise UsageError(
                    f"{kind} {name}: {source.file.name} is called as a module that is in use already: rename it"
                )
        for module in named:
            sys.modules.pop(module, None)
        _SIBLINGS.sources.update(named)
        if _SIBLINGS not in sys.meta_path:
            sys.meta_path.insert(0, _SIBLINGS)

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module, if it is a user's."""
        source = self.sources.get(fullname)
        if source is None:
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            source.path,
            loader=self,
            submodule_search_locations=[] if source.path.name == "__init__.py" else None,
        )

    def get_source(self, fullname: str) -> str:
        """The text that is executed."""
        return self.sources[fullname].file.text

    def get_code(self, fullname: str) -> Any:
        """What was read and hashed, compiled."""
        source = self.sources[fullname]
        return compile(source.content, str(source.path), "exec")


def _is_same(one: _Source | None, other: _Source) -> bool:
    return one is not None and (one.path, one.file.sha256) == (other.path, other.file.sha256)


def _module_name(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


_SIBLINGS = _Siblings()
