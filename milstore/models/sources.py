"""The files that a user's own model is loaded from, as a run keeps them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from milstore.errors import DataError


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One of the files that a user's own model was loaded from."""

    name: str
    """Its path from the folder of the model's file, with slashes."""
    sha256: str
    text: str
    """What was executed; kept with a run to be read, never executed from there."""


def sha256_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def require_same_files(name: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> None:
    """Refuse files that are not those of a run.

    Args:
        name: the model's.
        ours: SHA-256 of the files there are, by name.
        theirs: SHA-256 of the files that the run was trained with.

    Raises:
        DataError: a file differs, is new or is missing; each is named.
    """
    different = sorted(file for file in ours.keys() | theirs.keys() if ours.get(file) != theirs.get(file))
    if different:
        raise DataError(
            f"model {name}: {', '.join(different)} differs from what the run was trained with: "
            "give the file that it was trained with"
        )
