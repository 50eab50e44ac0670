"""Each kind of damage in each kind of file that a command reads: one line and exit 2, or read as what it says."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from milstore.store import Store, open_store
from tests.ingesting import NAMES, contents, make_images, make_labels, make_vectors, milstore, new_store
from tests.making import levels
from tests.spoiling import FEATURES, LABELS, ONE, PICKLE, Boom, Place, Words, array, cut, huge_png, saved, tensor
from tests.test_ingest_features import write_slice
from tests.test_layout import ROOT

Write = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with labels, patches, features, splits and a question of its own, to be copied."""
    folder = tmp_path_factory.mktemp("whole")
    store = new_store(folder)
    np.savez(folder / "split_1.npz", train_cases=[52], val_cases=[7], test_cases=np.array([], int))
    labels = make_labels(folder / "labels.csv")
    for words in (
        [*LABELS, labels, "--map", "1=benign,3=high-grade"],
        ["ingest", "patches", make_images(folder / "images")],
        ["ingest", "features", make_vectors(folder / "vectors"), "--encoder", "e"],
        ["ingest", "splits", folder / "split_1.npz", "--split-set", "s"],
    ):
        assert milstore(store, *words) == 0
    (store.root / "queries").mkdir()
    writer(PREDICTED, ".csv")(folder / "p.csv")
    writer(levels(PATCHES), ".csv")(folder / "a.csv")
    run: Words = [
        "ingest",
        "run",
        folder / "p.csv",
        "--attention",
        folder / "a.csv",
        "--experiment",
        "first",
        "--split",
        "1",
    ]
    assert milstore(store, *run) == 0
    return store.root


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Place:
    """That store, which nothing that is refused may change, and a folder of the test's own."""
    return Place(tmp_path, open_store(whole))


def copied(place: Place) -> Place:
    """The same with a copy of the store, which may change."""
    shutil.copytree(place.store.root, place / "store")
    return Place(place.folder, open_store(place / "store"))


# --- every kind of file, and the command that reads it ------------------------------------------------------------------


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


def folder_of(*command: str) -> Callable[[Place, Path], Words]:
    return lambda place, path: [*command, path.parent]


def vector(suffix: str, write: Write) -> Source:
    def words(place: Place, path: Path) -> Words:
        for i, name in enumerate(NAMES[1:], start=1):
            offered = path.parent / f"{name}{suffix}"
            offered.write_bytes(tensor(torch.arange(i, i + 3.0)) if suffix == ".pt" else array(np.ones(3, "f4")))
        return [*FEATURES, path.parent]

    return Source(f"vectors/{ONE}{suffix}", write, words)


def a_slice(suffix: str) -> Source:
    def write(path: Path) -> None:
        write_slice(path, [3, 12], np.random.default_rng(0).normal(size=(2, 40)))

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


def given(name: str, content: str, *command: str) -> Source:
    """A text that is named behind a command."""
    return Source(name, text(content), lambda place, path: [*command, path], binary=False)


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
    "pt": vector(".pt", lambda path: torch.save(torch.arange(3.0), path)),
    "pt of a dict": vector(".pt", lambda path: torch.save({"a": torch.arange(3.0)}, path)),
    "npy": vector(".npy", lambda path: np.save(path, np.arange(3, dtype="f4"))),
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


@cache
def good(name: str) -> bytes:
    """A file as it should be."""
    source = SOURCES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(source.name).name
        source.write(path)
        return path.read_bytes()


def stored(store: Store) -> dict[str, str]:
    """Every file of the store but the lens, which any command refreshes after the store was copied."""
    lens = ("milstore.duckdb", "cohort/catalog.json")
    return {name: digest for name, digest in contents(store).items() if not name.startswith(lens)}


def judged(place: Place, words: Words, capsys: pytest.CaptureFixture[str], *, may_pass: bool) -> str:
    """The one line with which a command refuses, the store as it was; or nothing, where it may read the file."""
    before = stored(place.store)
    capsys.readouterr()
    code = milstore(place.store, *words)
    said = capsys.readouterr()
    if code in (0, 1):
        # 1: the file was read, and a check found something.
        assert may_pass, said
        return ""
    assert code == 2, said
    lines = said.err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert lines == errors[-1:], said.err
    assert "fault of milstore" not in errors[0]
    assert len(errors[0]) <= 4100
    assert stored(place.store) == before
    return errors[0]


@pytest.mark.parametrize("name", SOURCES)
def test_a_good_file_is_read(place: Place, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is damaged below is right before."""
    place = copied(place)
    said = judged(place, SOURCES[name].put(place, good(name)), capsys, may_pass=True)
    assert said == ("" if name != "training settings" else "error: --split 9: split set s has the splits 1")


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], bool]] = {
    "empty": (lambda data: b"", False),
    "a pickle": (lambda data: PICKLE, False),
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


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", SOURCES)
def test_damage(place: Place, name: str, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but a line and exit 2, or reading what is there; and never half of it in the store."""
    spoil, may_pass = DAMAGES[damage]
    may_pass = may_pass and not (damage.startswith("cut") and cannot_be_cut(name))
    may_pass = may_pass or (damage == "empty" and SOURCES[name].name.endswith(".toml"))
    if may_pass or SOURCES[name].name.startswith("store/"):
        place = copied(place)
    judged(place, SOURCES[name].put(place, spoil(good(name))), capsys, may_pass=may_pass)


# --- what each kind of file can be besides ---------------------------------------------------------------------------

LONG = "x" * 10_000_000
DEEP = "[" * 100_000


def put(name: str, data: bytes | str) -> Callable[[Place], Words]:
    """A file of one of the kinds above, with this content."""
    return lambda place: SOURCES[name].put(place, data.encode() if isinstance(data, str) else data)


def parquet(**columns: object) -> bytes:
    return saved(lambda path: pq.write_table(pa.table(columns), path))


def h5(fill: Callable[[h5py.File], object]) -> bytes:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            fill(file)

    return saved(write)


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{name: np.asarray(value) for name, value in arrays.items()})
    return stream.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    """A .npy file that declares this shape and holds one number."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + text.ljust(117) + b"\n" + bytes(4)


def huge_tiff(side: int) -> bytes:
    """The beginning of a TIFF that claims side x side pixels."""
    tags = [(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, 4)]
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0" + (1).to_bytes(4, "little") + value.to_bytes(4, "little")
        for tag, value in tags
    )
    return b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little") + entries + bytes(8)


def huge_jpeg() -> bytes:
    """A JPEG whose header claims 65535 x 65535 pixels."""
    whole = bytearray(good("jpg"))
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 4] = b"\xff\xff\xff\xff"
    return bytes(whole)


def as_text(dtype: str) -> bytes:
    return array(np.array([b"1", b"2"], dtype))


OPAQUE = np.array([PICKLE], "V")
SPECIAL: dict[str, tuple[Callable[[Place], Words], str]] = {
    # Declared and not there: refused before anything of that size is made.
    "npy of a petabyte": (put("npy", header("(250000000000000,)")), "declares 1000000000000000 bytes and has 4"),
    "npy of a negative shape": (put("npy", header("(-1,)")), ONE),
    "npy of a shape beyond integers": (put("npy", header(f"({10**40},)")), ONE),
    "npy with a program for a shape": (put("npy", header("(__import__('os').getpid(),)")), "is damaged, or no array"),
    "split of a petabyte": (
        put("splits npz", npz(train_cases=[52], val_cases=[7], test_cases=[]).replace(b"(1,), ", b"(9,), ")),
        "split.npz",
    ),
    "h5 of a petabyte": (
        put(
            "h5",
            h5(
                lambda file: [
                    file.create_dataset("features", (10**12, 256), "f4", chunks=(1, 256)),
                    file.create_dataset("patch_idx", (10**12,), "i8", chunks=(1024,)),
                ]
            ),
        ),
        "declares shape",
    ),
    "h5 that is all fill": (
        put(
            "h5",
            h5(
                lambda file: [
                    file.create_dataset("features", (2, 10**9), "f4", chunks=(1, 1 << 20), fillvalue=1),
                    file.create_dataset("patch_idx", data=[3, 12]),
                ]
            ),
        ),
        "h&e.h5",
    ),
    "TIFF of gigapixels": (put("tif", huge_tiff(60000)), "a size that no patch has"),
    "JPEG of gigapixels": (put("jpg", huge_jpeg()), "a size that no patch has"),
    "PNG of gigapixels": (put("png", huge_png(60000)), "a size that no patch has"),
    # A pickle in every place where one can be.
    "pickle in a split": (
        put("splits npz", npz(**{**SPLIT, "val_cases": np.array([Boom()], object)})),
        "Python objects",
    ),
    "pickle in h5": (
        put(
            "h5",
            h5(lambda file: [file.create_dataset("features", data=OPAQUE), file.create_dataset("patch_idx", data=[3])]),
        ),
        "h&e.h5",
    ),
    "pickle in parquet": (put("parquet", parquet(features=[PICKLE, PICKLE], patch_idx=[3, 12])), "h&e.parquet"),
    "pickle in a table": (put("bags parquet", parquet(bag=["x"], i=[0], f0=[PICKLE])), "bags.parquet"),
    "pickle as a case": (put("bags parquet", parquet(bag=[PICKLE], i=[0], f0=[1.0])), "bags.parquet"),
    "pickle in a run": (
        put("predictions parquet", parquet(case_id=["52"], p_0=[PICKLE], p_1=[0.5])),
        "predictions.parquet",
    ),
    "pickle in npz": (put("npz", npz(features=np.array([[Boom()]], object), patch_idx=[3])), "holds Python objects"),
    "pickle behind npy's header": (put("npy", header("(1,)", "'|O'") + PICKLE), "Python objects"),
    # Numbers that are none.
    **{
        f"{value} in {name}": (put(name, data), "")
        for value, number in (("NaN", np.nan), ("infinity", np.inf))
        for name, data in (
            ("npz", npz(features=np.full((2, 3), number), patch_idx=[3, 12])),
            (
                "h5",
                h5(
                    lambda f, n=number: [
                        f.create_dataset("features", data=np.full((2, 3), n)),
                        f.create_dataset("patch_idx", data=[3, 12]),
                    ]
                ),
            ),
            ("parquet", parquet(features=[[number, 1.0], [1.0, 2.0]], patch_idx=[3, 12])),
            ("bags csv", f"bag,i,f0\nx,0,{number}\n".encode()),
            ("bags parquet", parquet(bag=["x"], i=[0], f0=[number])),
            ("predictions csv", f"case_id,p_0,p_1\n52,{number},0.5\n".encode()),
            ("predictions parquet", parquet(case_id=["52"], p_0=[number], p_1=[0.5])),
            ("coordinates", f"file,x,y\n{NAMES[0]}.png,{number},1\n".encode()),
            ("training settings", f"lr = {number}\n".encode()),
        )
    },
    # Twice the same.
    "a patch twice in h5": (
        put(
            "h5",
            h5(
                lambda f: [
                    f.create_dataset("features", data=np.ones((2, 3))),
                    f.create_dataset("patch_idx", data=[3, 3]),
                ]
            ),
        ),
        "has patch 3 more than once",
    ),
    "a patch twice in parquet": (
        put("parquet", parquet(features=[[1.0], [2.0]], patch_idx=[3, 3])),
        "patch 3 more than once",
    ),
    "an instance twice": (
        put("bags csv", "bag,i,f0\nx,0,1\nx,0,2\n"),
        "are the same patch (case x, h&e, bag, patch 0): remove one",
    ),
    "a case twice in a run": (
        put("predictions csv", "case_id,p_0,p_1\n52,1,0\n052,1,0\n"),
        "has case 52 more than once",
    ),
    "a column twice": (put("labels", "Case,Class,Class\n52,1,1\n"), "has the column Class more than once"),
    "a case twice in a split": (
        put("splits npz", npz(**{**SPLIT, "val_cases": [52]})),
        "has case 52 in train and in val",
    ),
    "a case twice by its zeros": (
        put("splits csv", "split,case_id,subset\n1,052,train\n1,52,val\n"),
        "case 52 in train and in val",
    ),
    "a key twice": (put("settings", "[patches]\n[patches]\n"), "is not readable as TOML"),
    "a parameter twice": (
        put("question", QUESTION.replace("-- columns", "-- param n text: again\n-- columns")),
        "a parameter twice",
    ),
    # Other encodings.
    **{
        f"{name} in Latin-1": (
            put(name, good(name).replace(b"a", b"\xe9", 1) if name != "labels" else b"Case,Class\n\xe9,1\n"),
            "",
        )
        for name in ("labels", "splits csv", "coordinates", "groups", "settings", "question", "training settings")
    },
    **{
        f"{name} in UTF-16": (put(name, good(name).decode().encode("utf-16")), "")
        for name in (
            "labels",
            "splits csv",
            "coordinates",
            "groups",
            "bags csv",
            "predictions csv",
            "settings",
            "question",
        )
    },
    # Names of ten megabytes, and depth without end.
    "a case of 10 MB": (
        put("splits csv", f"split,case_id,subset\n1,{LONG},train\n"),
        "line 2, is not CSV (field larger than field limit (131072)): mend the line",
    ),
    "a case of 100 KB": (
        put("splits csv", f"split,case_id,subset\n1,{LONG[:100_000]},train\n"),
        "names 1 cases that the store does not know (xxx",
    ),
    "a case of 10 MB in npz": (
        put("splits npz", npz(**{**SPLIT, "val_cases": [LONG]})),
        "1 cases that the store does not know (xxx",
    ),
    "a case of 10 MB in a run": (
        put("predictions csv", f"case_id,p_0,p_1\n{LONG},1,0\n"),
        "predictions.csv cannot be read as a table of numbers (straddling object",
    ),
    "a column of 10 MB": (
        put("labels", f"{LONG},Class\n1,1\n"),
        "line 1, is not CSV (field larger than field limit (131072)): mend the line",
    ),
    "a stain of 10 MB": (put("settings", f'[stains]\n"{LONG}" = ["a"]\n'), "is larger than 1048576 bytes"),
    "a stain of 1 MB": (put("settings", f'[stains]\n"{LONG[:1_000_000]}" = [7]\n'), "stain 'xxx"),
    "a pattern of 1 MB": (put("settings", f"[patches]\npattern = '{LONG[:1_000_000]}'\n"), "pattern"),
    "a question of 10 MB": (put("question", QUESTION + f"-- {LONG}\n"), "is larger than 1000000 bytes"),
    "a setting of 10 MB": (put("training settings", f'class_weights = "{LONG}"\n'), "is larger than 1048576 bytes"),
    "a setting of 1 MB": (put("training settings", f'class_weights = "{LONG[:1_000_000]}"\n'), "--class-weights 'xxx"),
    "a setting with a name of 1 MB": (put("training settings", f"{LONG[:1_000_000]} = 1\n"), "unknown key 'xxx"),
    "deep settings": (put("settings", f"a = {DEEP}"), "is nested too deeply"),
    "deep training settings": (put("training settings", f"a = {DEEP}"), "is nested too deeply"),
    "deep settings of a run": (put("settings of a run", f"a = {DEEP}"), "is not readable as TOML"),
    "a deep question": (put("question", QUESTION.replace("$n", "(" * 100_000 + "$n" + ")" * 100_000)), ""),
    # Headers of questions.
    "a question without a header": (put("question", "select 1 as n\n"), "has no line '-- grain: …' in its header"),
    "a question that does more": (
        put("question", QUESTION.replace("select $n as n", "drop view cases")),
        "only statements that read",
    ),
    "a question of two statements": (put("question", QUESTION + "; select 2\n"), "one statement is taken"),
    "a question that reads files": (
        put("question", QUESTION.replace("$n as n", "$n as n from read_text('/etc/hostname')")),
        "file system operations are disabled",
    ),
    "a question with a function": (
        put("question", QUESTION.replace("-- columns", "-- then: os.system\n-- columns")),
        "are SQL alone",
    ),
    # Padded and odd numbers.
    "patches of text": (put("npz", npz(features=np.ones((2, 3)), patch_idx=["3", "12"])), "patch_idx"),
    "patches of halves": (put("npz", npz(features=np.ones((2, 3)), patch_idx=[3.5, 12])), "patch_idx"),
    "features of text": (put("npy", as_text("S1")), "not floats"),
    "features of integers": (put("parquet", parquet(features=[["a"], ["b"]], patch_idx=[3, 12])), "h&e.parquet"),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special(place: Place, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What a hostile or unlucky file may hold is named in a line, and nothing of it is taken in."""
    make, message = SPECIAL[name]
    (place / "store").mkdir()
    words = make(place)
    if any((place / "store").iterdir()):
        # A file that lies in the store itself.
        shutil.copytree(place.store.root, place / "store", dirs_exist_ok=True, ignore=lambda *_: ["milstore.toml"])
        place = Place(place.folder, open_store(place / "store"))
    said = judged(place, words, capsys, may_pass=False)
    assert message in said


def test_what_is_not_asked_for_is_not_read(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """An array beside those that make a split may be anything: it is never opened."""
    extra = npz(**SPLIT, extra=np.array([Boom()], object))
    assert judged(copied(place), SOURCES["splits npz"].put(place, extra), capsys, may_pass=True) == ""


IN_STORE = ("settings", "question")


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in IN_STORE])
@pytest.mark.parametrize("kind", ["a link to itself", "a link to nowhere", "a folder", "a pipe"])
def test_what_is_no_file(place: Place, name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A loop of links ends at once, a pipe is not waited for, and a folder is no file."""
    source = SOURCES[name]
    words = source.put(place, good(name))
    path = place / source.name
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "a link to itself" else place / "nowhere")
    # Of a folder of vectors, one is missing then, which is said beside the others.
    judged(
        copied(place) if name in ("pt", "pt of a dict", "npy") else place,
        words,
        capsys,
        may_pass="vectors" in source.name,
    )


@pytest.mark.parametrize("name", IN_STORE)
@pytest.mark.parametrize("kind", ["a link to itself", "a folder", "a pipe"])
def test_what_is_no_file_in_the_store(place: Place, name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A loop of links, a folder or a pipe in the place of the store's own texts is named."""
    place = copied(place)
    words = SOURCES[name].put(place, good(name))
    path = place / SOURCES[name].name
    path.unlink()
    if kind == "a link to itself":
        path.symlink_to(path)
    else:
        path.mkdir() if kind == "a folder" else os.mkfifo(path)
    wrong = "cannot be read" if kind == "a link to itself" else "is no plain file"
    assert f"{path.name} {wrong}" in judged(place, words, capsys, may_pass=False)


PROGRAM = """
import os, sys, json, contextlib, io
from tests.test_broken_files import *
root = Path(sys.argv[1])
store = open_store(root / "store")
prepared = {}
for name, source in SOURCES.items():
    # A first time as root, so that everything is imported: the libraries may be root's alone.
    place = Place(root / name.replace(" ", "-"), store)
    words = source.put(Place(place.folder if name not in IN_STORE else root, store), good(name))
    if words[:2] == ["ingest", "patches"] and "--replace" not in words:
        # What is known is not opened a second time, unless that is asked for.
        words.append("--replace")
    prepared[name] = (words, (place.folder if name not in IN_STORE else root) / source.name)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        milstore(store, *words)
        milstore(store, "ingest", "patches", root / "nowhere")
    if name in IN_STORE:
        prepared[name][1].unlink()
for path in [root, *root.rglob("*")]:
    if not path.is_symlink():
        os.chown(path, 65534, 65534)
before = stored(store)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
said = {}
for name, (words, path) in prepared.items():
    if name in IN_STORE:
        path.write_bytes(good(name))
    path.chmod(0)
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), contextlib.redirect_stdout(io.StringIO()):
        code = milstore(store, *words)
    said[name] = [code, stream.getvalue()]
    path.chmod(0o600)
    if name in IN_STORE:
        path.unlink()
print(json.dumps([said, stored(store) == before]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads all, and here becomes an ordinary user")
def test_what_may_not_be_read_is_named(whole: Path) -> None:
    """For an ordinary user, a file of mode 000 of every kind is one line, exit 2, and a store that is as it was."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(whole, Path(folder) / "store")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said, unchanged = json.loads(done.stdout.splitlines()[-1])
    assert set(said) == set(SOURCES)
    for name, (code, text) in said.items():
        assert (code, text.count("\n")) == (2, 1), (name, code, text)
        assert text.startswith("error: ")
        assert "Permission denied" in text or "is not readable" in text, (name, text)
        assert Path(SOURCES[name].name).name in text, (name, text)
    assert unchanged
