"""The files that a user's own model is loaded from, as a run keeps them."""

import hashlib
from dataclasses import dataclass


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
