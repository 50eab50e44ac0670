"""Files that a group might bring, tiny: for the tests of ingest."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from milstore.cli.main import main
from milstore.store import Store, create_store

NAMES = (
    "case_052_match_1_h&e_patch3",
    "case_052_match_1_h&e_patch12",
    "case_052_match_1_melan_patch1",
    "case_7_unmatched2_he_patch4",
    "case_7_unmatched_10_he_patch4",
)
"""Two cases: 52 with two stains, 7 with two slices of one stain."""


def make_images(folder: Path, names: tuple[str, ...] = NAMES, extension: str = "png") -> Path:
    """A folder of images of 6 x 4 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (6, 4)).save(folder / f"{name}.{extension}")
    return folder


def make_labels(path: Path, text: str = "Case,Class\n52,1\n7,3\n") -> Path:
    """A label file."""
    path.write_text(text, encoding="utf-8")
    return path


def make_vectors(folder: Path, names: tuple[str, ...] = NAMES, width: int = 3) -> Path:
    """A folder of one .npy vector a patch: vector i is i, i + 1, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        np.save(folder / f"{name}.npy", np.arange(i, i + width, dtype=np.float32))
    return folder


def new_store(folder: Path) -> Store:
    """An empty store."""
    return create_store(folder / "store")


def contents(store: Store) -> dict[str, str]:
    """SHA-256 of every file of a store; the lock, which holds nothing, left out."""
    return {
        str(path.relative_to(store.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def milstore(store: Store, *words: str | Path) -> int:
    """Run a command line on a store; its exit code."""
    return main([*(str(word) for word in words), "--store", str(store.root)])
