"""A format of one's own: the features of a slice in a JSON file.

    milstore ingest features folder/ --encoder theirs --format ./examples/add_a_reader.py:JsonSlice

A file is called as its slice is (case_7_match_1_he.json) and holds
{"slide": "S23-0104", "patches": [{"number": 3, "x": 30, "y": 4, "feature": [0.5, 1.5]}, …]}. docs/formats.md says what each
part means, and what readers of other kinds of files have.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from milstore.errors import DataError
from milstore.formats.interface import Layout, Vectors, first_bytes


class JsonSlice:
    """A slice a file: JSON with the number, place and vector of each patch."""

    endings = ("json",)

    def recognises(self, path: Path) -> bool:
        """By what stands in front: the file is not read for it."""
        return first_bytes(path, 4096).lstrip().startswith(b"{") and b'"patches"' in first_bytes(path, 4096)

    def layout(self, path: Path) -> Layout:
        """Which patches there are, and how long a vector is. N patches, D numbers each."""
        held = _read(path)
        return Layout(
            rows=len(held["patches"]),
            width=len(held["patches"][0]["feature"]),
            patch_idx=np.array([patch["number"] for patch in held["patches"]]),
            xy=np.array([[patch["x"], patch["y"]] for patch in held["patches"]]),
            slide=held.get("slide"),
        )

    def vectors(self, path: Path) -> Vectors:
        """The vectors (N, D), in the order of `layout`."""
        return np.array([patch["feature"] for patch in _read(path)["patches"]], np.float32)


def _read(path: Path) -> Any:
    held = json.loads(path.read_text(encoding="utf-8"))
    if not held["patches"]:
        # Whatever else is wrong is said by milstore, with the file's name.
        raise DataError(f"{path} has no patch: leave it out")
    return held
