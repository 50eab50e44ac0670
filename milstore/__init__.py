"""milstore: database-backed analysis of multi-stain, hierarchical-attention MIL models on pathology slides.

The names in `__all__` are public, and so are those of the modules that docs/api.md lists. All others may change.
"""

from typing import TYPE_CHECKING, Any

from milstore._version import __version__
from milstore.errors import ConflictError, DataError, Interrupted, MilstoreError, StoreError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from milstore.api import OpenStore
    from milstore.asking.result import Result

__all__ = [
    "ConflictError",
    "DataError",
    "Interrupted",
    "MilstoreError",
    "OpenStore",
    "Result",
    "StoreError",
    "UsageError",
    "__version__",
    "open",
]


def open(path: "str | Path | None" = None) -> "OpenStore":
    """Open the store in a folder (default: MILSTORE_STORE, else ./data), to ask it questions from Python.

    StoreError if there is none.
    """
    # Imported here, so that `import milstore` costs nothing.
    from milstore.api import open_notebook

    return open_notebook(path)


def __getattr__(name: str) -> Any:
    if name == "OpenStore":
        from milstore.api import OpenStore

        return OpenStore
    if name == "Result":
        from milstore.asking.result import Result

        return Result
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names: what has been imported besides is nobody's to rely on."""
    return sorted(__all__)
