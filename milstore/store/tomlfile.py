"""Reads small TOML files that people write: settings of a store, of a training and of somebody else's run."""

import tomllib
from pathlib import Path
from typing import Any

from milstore.errors import DataError
from milstore.store.names import clip

LARGEST = 1 << 20
"""Bytes that such a file may take."""


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """What a TOML file says.

    Args:
        path: the file; a mark of byte order at its beginning is skipped.
        what: what it should be, such as `a configuration`.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no plain file, is larger than 1 MiB, cannot be read, or is not TOML.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no plain file: name {what} in TOML, or repair or remove it")
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is larger than {LARGEST} bytes: that is not {what}")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise
    except RecursionError as error:
        raise DataError(f"{path} is not readable as TOML (it is nested too deeply): repair or remove it") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        # What tomllib says of a file, and UTF-8 of its bytes; also numbers that are too long for Python.
        reason = clip(" ".join(str(error).split()))
        raise DataError(f"{path} is not readable as TOML ({reason}): repair or remove it") from error
