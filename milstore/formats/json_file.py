"""Small JSON files of other tools: settings, splits, summaries."""

from pathlib import Path
from typing import Any

from milstore.errors import DataError
from milstore.formats.csv_table import file_bytes
from milstore.store.names import clip
from milstore.store.plain import parse_json

LARGEST = 1 << 26


def read_json(path: Path, what: str) -> Any:
    """The contents of a JSON file. Raises DataError if it cannot be read; `what` names it in the message."""
    try:
        return parse_json(file_bytes(path, what, LARGEST).decode("utf-8-sig"))
    except ValueError as error:
        reason = clip(" ".join(str(error).split()), 100)
        raise DataError(f"{path} is damaged, or no JSON ({reason}): create it again") from error


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """The object in a JSON file. Errors as for `read_json`, and DataError if it holds no object."""
    found = read_json(path, what)
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no object in braces: name {what}")
    return found
