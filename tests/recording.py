"""What the tests of recording share: a store of three cases with splits, and a run that is recorded in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import milstore
from milstore.api import OpenStore
from milstore.recording.recording import Recording
from milstore.store import Store
from tests.making import THREE_LABELS, THREE_PATCHES, MadeOnce, make_splits, make_store

CHANCES: Mapping[str, tuple[float, float]] = {"2": (0.1, 0.9), "10": (0.3, 0.7), "46": (0.8, 0.2)}
WHAT: dict[str, Any] = {"experiment": "theirs", "split": 2, "config": {"lr": 1e-4}}
PATCHES_46 = [("h&e", 0, 1), ("h&e", 0, 5), ("h&e", 0, 9)]


@MadeOnce
def split_store(folder: Path) -> Store:
    """The three cases and the split set `s`: 2 and 46 change places between its splits 1 and 2, and 10 validates."""
    store = make_store(folder, THREE_LABELS, THREE_PATCHES)
    splits = [{"train": ["46"], "val": ["10"], "test": ["2"]}, {"train": ["2"], "val": ["10"], "test": ["46"]}]
    make_splits(store, "s", splits)
    return store


@contextmanager
def recorded(store: Store | Path, **changes: Any) -> Iterator[Recording]:
    """A run whose predictions are CHANCES, before whatever the block gives."""
    opened: OpenStore = milstore.open(store.root if isinstance(store, Store) else store)
    with opened.record(**{**WHAT, **changes}) as run:
        for case_id, chances in CHANCES.items():
            run.prediction(case_id, chances, subset=None if {**WHAT, **changes}["split"] else "test")
        yield run


def rows(run: Recording, table: str) -> list[dict[str, Any]]:
    """A table of a finished recording."""
    assert run.folder is not None
    found: list[dict[str, Any]] = pq.read_table(run.folder / f"{table}.parquet", partitioning=None).to_pylist()
    return found
