"""milstore: database-backed analysis of multi-stain, hierarchical-attention MIL models on pathology slides."""

from typing import TYPE_CHECKING

from milstore._version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from milstore.api import OpenStore

__all__ = ["__version__", "open"]


def open(path: "str | Path | None" = None) -> "OpenStore":
    """Open the store in a folder (default: MILSTORE_STORE, else ./data), to ask it questions from Python.

    StoreError if there is none.
    """
    # Imported here, so that `import milstore` costs nothing.
    from milstore.api import open_notebook

    return open_notebook(path)
