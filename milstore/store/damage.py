"""Damage, as a finding: what a check says of a file that is not what was stored."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.errors import MilstoreError
from milstore.store.findings import DAMAGE, Finding
from milstore.store.paths import Store


def below(store: Store, path: Path) -> str:
    """A path as a finding names it: relative to the store."""
    return path.relative_to(store.root).as_posix()


def damage(store: Store, path: Path, what: str, repair: str) -> Finding:
    """The finding that a file is not what was stored, and how to repair it."""
    return Finding(kind=DAMAGE, where=below(store, path), what=what, repair=repair)


def attempt(path: Path, store: Store, repair: str, look: Callable[[], Any]) -> Iterator[Finding]:
    """Damage at a path if looking at it fails in one of the ways in which broken files fail."""
    try:
        look()
    except (MilstoreError, OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        yield damage(store, path, " ".join(str(error).split())[:300] or type(error).__name__, repair)
