"""Every kind of file that a command reads, whole and damaged: what the tests of broken files and of bad input draw from.

`SOURCES` are the kinds of files, `DAMAGES` what can happen to any file, and `tests/bad_inputs.py` holds what a file of
one kind can say besides.
"""

import csv
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from milstore.store import Store, open_store
from tests.ingesting import NAMES, contents, make_images, make_labels, make_vectors, milstore, new_store
from tests.making import levels
from tests.spoiling import PICKLE, array, cut, tensor
from tests.test_ingest_features import write_slice

Write = Callable[[Path], object]
Words = list[str | Path]
LABELS = ("ingest", "labels", "--case-column", "Case", "--label-column", "Class")
FEATURES = ("ingest", "features", "--encoder", "new")
ONE = "case_052_match_1_h&e_patch3"


@dataclass
class Place:
    """Where a test may put files, and the store that it may try to spoil."""

    folder: Path
    store: Store
    copied: bool = False
    """Whether the store is the test's own: elsewhere than where its milstore.duckdb was made."""

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def copy(self) -> "Place":
        """The same with a copy of the store, which may change."""
        shutil.copytree(self.store.root, self / "store")
        return Place(self.folder, open_store(self / "store"), copied=True)


def whole_store(folder: Path) -> Store:
    """A store with labels, patches, features, splits, a run and room for questions of its own."""
    store = new_store(folder)
    np.savez(folder / "split_1.npz", **SPLIT)
    writer(PREDICTED, ".csv")(folder / "p.csv")
    writer(levels(PATCHES), ".csv")(folder / "a.csv")
    run: Words = ["ingest", "run", folder / "p.csv", "--attention", folder / "a.csv", "--experiment", "first"]
    for words in (
        [*LABELS, make_labels(folder / "labels.csv"), "--map", "1=benign,3=high-grade"],
        ["ingest", "patches", make_images(folder / "images")],
        ["ingest", "features", make_vectors(folder / "vectors"), "--encoder", "e"],
        ["ingest", "splits", folder / "split_1.npz", "--split-set", "s"],
        [*run, "--split", "1"],
    ):
        assert milstore(store, *words) == 0
    (store.root / "queries").mkdir()
    return store


# --- every kind of file, and the command that reads it ----------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A kind of file that a command reads."""

    name: str
    """Of the file, below the folder of the test."""
    write: Write
    words: Callable[[Place, Path], Words]
    """The command that reads it."""
    binary: bool = True
    """Whether a part of such a file is none; a part of a text may be a text."""

    def put(self, place: Place, data: bytes) -> Words:
        """Put a file of these bytes where the command reads it."""
        path = place / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return self.words(place, path)


def text(content: str) -> Write:
    return lambda path: path.write_text(content, encoding="utf-8")


def given(name: str, content: str, *command: str) -> Source:
    """A text that is named behind a command."""
    return Source(name, text(content), lambda place, path: [*command, path], binary=False)


def folder_of(*command: str) -> Callable[[Place, Path], Words]:
    return lambda place, path: [*command, path.parent]


WIDTH = 1000
"""Numbers of a vector: enough for the cuts to lie within them too."""


def vector(suffix: str, write: Write) -> Source:
    """The vector of a patch; those of the others lie beside it as they should be."""
    other = tensor(torch.ones(WIDTH)) if suffix == ".pt" else array(np.ones(WIDTH, "f4"))

    def words(place: Place, path: Path) -> Words:
        for name in NAMES[1:]:
            (path.parent / f"{name}{suffix}").write_bytes(other)
        return [*FEATURES, path.parent]

    return Source(f"vectors/{ONE}{suffix}", write, words)


def a_slice(suffix: str) -> Source:
    def write(path: Path) -> None:
        write_slice(path, [3, 12], np.random.default_rng(0).normal(size=(2, 400)))

    return Source(f"slices/case_052_match_1_h&e{suffix}", write, folder_of(*FEATURES))


def image(suffix: str) -> Source:
    def write(path: Path) -> None:
        Image.effect_noise((40, 30), 60).convert("RGB").save(path)

    return Source(f"images/case_5_match_1_he_patch1{suffix}", write, folder_of("ingest", "patches"))


def bags(suffix: str) -> Source:
    table = pa.table({"bag": ["x", "x", "y"], "i": [0, 1, 0], "f0": [0.5, 1.5, 2.5], "f1": [1.0, 2.0, 3.0]})
    command = ["ingest", "features", "--encoder", "t", "--bag-column", "bag", "--index-column", "i"]
    return Source(f"bags{suffix}", writer(table, suffix), lambda place, path: [*command, path], suffix != ".csv")


def writer(table: pa.Table, suffix: str) -> Write:
    def write(path: Path) -> None:
        if suffix == ".parquet":
            pq.write_table(table, path)
            return
        with path.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(table.column_names)
            rows.writerows(row.values() for row in table.to_pylist())

    return write


PATCHES = {("52", "h&e", 0, 3): 1.0, ("52", "h&e", 0, 12): 2.0, ("52", "melan", 0, 1): 1.0}
PREDICTED = pa.table({"case_id": ["52"], "p_0": [0.25], "p_1": [0.75]})


def run_table(which: str, suffix: str) -> Source:
    """One of the two tables of a run from elsewhere; the other is as it should be."""
    tables = {"predictions": PREDICTED, "attention": levels(PATCHES)}
    other = "attention" if which == "predictions" else "predictions"

    def words(place: Place, path: Path) -> Words:
        writer(tables[other], suffix)(place / f"{other}{suffix}")
        both = {which: path, other: place / f"{other}{suffix}"}
        options: Words = ["--attention", both["attention"], "--experiment", "theirs", "--split", "1"]
        return ["ingest", "run", both["predictions"], *options]

    return Source(f"{which}{suffix}", writer(tables[which], suffix), words, suffix != ".csv")


QUESTION = (
    "-- What there is.\n-- grain: one row\n-- param n integer = 1 [0, 9]: a number\n-- columns: n\nselect $n as n\n"
)
SPLIT = {"train_cases": [52], "val_cases": [7], "test_cases": np.array([], int)}
SOURCES = {
    "labels": given("labels.csv", "Case,Class\n0052,1\n7,3\n", *LABELS, "--map", "1=benign,3=high-grade"),
    "splits csv": given("splits.csv", "split,case_id,subset\n1,052,train\n1,7,val\n", "ingest", "splits"),
    "splits npz": Source(
        "split.npz", lambda path: np.savez(path, **SPLIT), lambda place, path: ["ingest", "splits", path]
    ),
    "coordinates": Source(
        "c.csv",
        text(f"file,x,y\n{NAMES[0]}.png,1,2\n"),
        lambda place, path: ["ingest", "patches", make_images(place / "images"), "--replace", "--coordinates", path],
        binary=False,
    ),
    "groups": given("groups.csv", "case,patient\n52,a\n7,b\n", "splits", "check", "--group-by"),
    "pt": vector(".pt", lambda path: torch.save(torch.arange(float(WIDTH)), path)),
    "pt of a dict": vector(".pt", lambda path: torch.save({"a": torch.arange(float(WIDTH))}, path)),
    "npy": vector(".npy", lambda path: np.save(path, np.arange(WIDTH, dtype="f4"))),
    "npz": a_slice(".npz"),
    "h5": a_slice(".h5"),
    "parquet": a_slice(".parquet"),
    "bags csv": bags(".csv"),
    "bags parquet": bags(".parquet"),
    "predictions csv": run_table("predictions", ".csv"),
    "predictions parquet": run_table("predictions", ".parquet"),
    "attention csv": run_table("attention", ".csv"),
    "attention parquet": run_table("attention", ".parquet"),
    "png": image(".png"),
    "jpg": image(".jpg"),
    "tif": image(".tif"),
    "settings": Source(
        "store/milstore.toml",
        text('[stains]\n"h&e" = ["he"]\nmelan = []\n'),
        lambda place, path: ["ingest", "patches", make_images(place / "images"), "--replace"],
        binary=False,
    ),
    "question": Source(
        "store/queries/mine.sql",
        text(QUESTION),
        lambda place, path: ["query", "mine", "--subset", "train"],
        binary=False,
    ),
    "training settings": given("t.toml", "hidden = 8\nlr = 0.01\nepochs = 1\n", "train", "--split", "9", "--config"),
    "settings of a run": Source(
        "run.toml",
        text("hidden = 8\n"),
        lambda place, path: [
            *run_table("predictions", ".csv").put(place, b"case_id,p_0,p_1\n52,1,0\n"),
            "--config",
            path,
        ],
        binary=False,
    ),
}

IN_STORE = ("settings", "question")
"""Kinds of files that lie in the store itself."""


@cache
def good(name: str) -> bytes:
    """A file as it should be."""
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(source.name).name
        source.write(path)
        return path.read_bytes()


# --- what can happen to any file --------------------------------------------------------------------------------------

DAMAGES: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "empty": (lambda data: b"", False),
    "a pickle": (lambda data: PICKLE, False),
    "a text": (lambda data: b"hello", False),
    "other magic": (lambda data: b"GIF89a\x01\x02" + data[8:], False),
    "UTF-16": (lambda data: "Case,Class\n".encode("utf-16"), False),
    "a program": (lambda data: b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 9, False),
    "zeros": (lambda data: bytes(len(data)), False),
    "longer": (lambda data: data + b"\0" * 999, True),
    "twice": (lambda data: data + data, True),
    "half zeros": (lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2), True),
    **{f"cut at {tenth}0%": (lambda data, tenth=tenth: cut(data, tenth), True) for tenth in range(1, 10)},  # type: ignore[misc]
}
"""How a file may be damaged, and whether what is left may still be a file of its kind."""


def cannot_be_cut(name: str) -> bool:
    """Whether every part of a file is damaged. Of an image only the header is read, and a text may end anywhere."""
    return SOURCES[name].binary and name not in ("png", "jpg", "tif")


def happens(name: str, damage: str) -> bool:
    """Whether a damage says more of a kind of file than others do: of what may end anywhere, three ends are enough."""
    return cannot_be_cut(name) or not damage.startswith("cut") or damage in ("cut at 10%", "cut at 50%", "cut at 90%")


def stored(store: Store) -> dict[str, str]:
    """Every file of the store but milstore.duckdb, which any command refreshes after the store was copied."""
    lens = ("milstore.duckdb", "cohort/catalog.json")
    return {name: digest for name, digest in contents(store).items() if not name.startswith(lens)}


@cache
def untouched(store: Store) -> dict[str, str]:
    """Every file of a store that nobody may change."""
    return contents(store)


def judged(place: Place, words: Words, capsys: pytest.CaptureFixture[str], *, may_pass: bool = False) -> str:
    """The one line with which a command refuses, the store as it was; or nothing, where it may read the file."""
    look = stored if place.copied else contents
    before = look(place.store) if place.copied else untouched(place.store)
    capsys.readouterr()
    code = milstore(place.store, *words)
    said = capsys.readouterr()
    if code in (0, 1) and may_pass:
        # 1: the file was read, and a check found something.
        return ""
    assert (code, said.out) == (2, ""), said
    lines = said.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    # Under an error of SQL stands the place in the statement.
    assert lines[:1] == errors[-1:], said.err
    assert all(line.startswith("LINE ") or line.strip() == "^" for line in lines[1:]), said.err
    assert "fault of milstore" not in errors[0]
    assert len(errors[0]) <= 4100
    assert look(place.store) == before
    return errors[0]
