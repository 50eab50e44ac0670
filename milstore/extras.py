"""Packages that only some need: each belongs to an extra of milstore, and where it is missing one line says so."""

import importlib
from types import ModuleType

from milstore.errors import UsageError


def needed(module: str, *, extra: str, why: str) -> ModuleType:
    """A module of an optional package, imported.

    Args:
        module: its name, such as openslide.
        extra: the extra of milstore that brings it, such as slides.
        why: what needs it, as the beginning of a sentence: "reading a whole slide".

    Raises:
        UsageError: it is not installed, or cannot be imported here.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise UsageError(f"{why} needs the package {missing}: pip install 'milstore[{extra}]'") from None
    except ImportError as error:
        raise UsageError(f"{why} needs {module}, which is installed but cannot be loaded ({error})") from None
