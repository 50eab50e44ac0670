"""Finds an encoder by name: a built-in by the table below, a user's own by its file, any other by entry point."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from milstore.encoders.interface import Encoder
from milstore.errors import ConflictError
from milstore.plugins import Found, Registry
from milstore.store.names import check_name

BUILT_IN = {"hed": "milstore.encoders.hed:HedEncoder"}
"""Module and class of each encoder that comes with milstore. A line here is all that a new file needs."""
ENTRY_POINTS = "milstore.encoders"
"""Group of the entry points by which an installed package offers encoders."""
_ENCODERS = Registry(kind="encoder", built_in=BUILT_IN, group=ENTRY_POINTS)


@dataclass(frozen=True, slots=True)
class LoadedEncoder:
    """An encoder, and where it came from."""

    found: Found
    encoder: Encoder
    settings: Mapping[str, Any]
    """What it says of how it encodes: plain values."""

    @property
    def source(self) -> str:
        """What is recorded with its features: the command that makes them, its settings, SHA-256 of a user's files."""
        name = self.found.name
        if self.found.files:
            # Where the file lies is not what it is.
            name = f"{Path(name.rpartition(':')[0]).name}:{self.found.where}"
        facts = [f"settings {json.dumps(dict(self.settings), sort_keys=True)}"] if self.settings else []
        facts += [f"sha256 of {file} {digest}" for file, digest in self.found.sha256.items()]
        return f"milstore encode --encoder {name}" + (f" ({'; '.join(facts)})" if facts else "")


def load_encoder(name: str) -> LoadedEncoder:
    """An encoder by its name: a built-in's, ./file.py:Class, or one that an installed package offers.

    Raises:
        UsageError: there is none, its file or package cannot be imported, or what has the name is no encoder.
    """
    found = _ENCODERS.find(name)
    encoder = _ENCODERS.made(found, ("encode",), ("name", "n_features"))
    if not isinstance(encoder.name, str):
        raise _ENCODERS.refuse(name, "its name must be a text")
    check_name(encoder.name, "encoder")
    if not isinstance(encoder.n_features, int) or encoder.n_features < 1:
        raise _ENCODERS.refuse(name, "its n_features must be a whole number from 1")
    settings = getattr(encoder, "settings", {})
    try:
        json.dumps(dict(settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _ENCODERS.refuse(name, "its settings must be a dict of plain values") from error
    return LoadedEncoder(found, encoder, settings)


@cache
def same_encoder(name: str, sha256: tuple[tuple[str, str], ...]) -> Encoder:
    """The encoder in another process, made once there. ConflictError if its files were changed meanwhile."""
    loaded = load_encoder(name)
    if tuple(loaded.found.sha256.items()) != sha256:
        raise ConflictError(f"encoder {name}: its file was changed while it encoded: run it again")
    return loaded.encoder
