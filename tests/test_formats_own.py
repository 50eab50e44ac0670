"""Formats, images and encoders of one's own, by the command line: one file each, as the examples are."""

import importlib.metadata
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from milstore.cli.store_access import open_current
from milstore.encoders.registry import load_encoder
from milstore.errors import DataError, UsageError
from milstore.formats.registry import BUILT_IN, FORMATS, find_format, recognised
from milstore.ingest.features import ingest_features
from milstore.pixels.image_file import SEEN
from milstore.pixels.registry import PIXELS
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.run_reader import run_ids
from tests.ingesting import NAMES, contents, make_images, make_vectors, milstore, new_store
from tests.making import levels
from tests.test_ingest_features import EXPECTED, SLICES, vectors
from tests.test_models_registry import Point

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
READER = f"{EXAMPLES}/add_a_reader.py:JsonSlice"
COLOURS = f"{EXAMPLES}/add_an_encoder.py:Colours"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that a command has looked at: the first one notes its stains."""
    made = new_store(tmp_path)
    open_current(made.root)
    return made


def refused(capsys: pytest.CaptureFixture[str], store: Store, *words: str | Path) -> str:
    """The one line that a command says, the store as it was."""
    before = contents(store)
    capsys.readouterr()
    assert milstore(store, *words) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n"), contents(store)) == ("", 1, before)
    return said.err


# --- the examples ---------------------------------------------------------------------------------------------------


def json_slices(folder: Path) -> Path:
    folder.mkdir()
    rows = iter([1, 0, 2, 3, 4])
    for name, numbers in SLICES.items():
        patches = []
        for number in numbers:
            row = next(rows)
            patches.append({"number": number, "x": number * 10, "y": number, "feature": [row, row + 1, row + 2]})
        (folder / f"{name}.json").write_text(json.dumps({"slide": "S1", "patches": patches}))
    return folder


def test_a_reader_of_ones_own(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """examples/add_a_reader.py brings each vector to its patch, and its place; what is wrong in a file is one line."""
    folder = json_slices(tmp_path / "theirs")
    words = ("ingest", "features", folder, "--encoder", "e", "--format", READER)
    assert milstore(store, *words, "--create-patches") == 0
    assert vectors(store) == EXPECTED
    places = read_cohort(store).table("patches").select(["patch_idx", "x", "y"]).to_pylist()
    assert [tuple(place.values()) for place in places] == [
        (3, 30, 3), (12, 120, 12), (1, 10, 1), (4, 40, 4), (4, 40, 4),
    ]  # fmt: skip
    file = folder / "case_52_match1_melan.json"
    for text, says in {
        '{"patches": []}': "has no patch: leave it out",
        '{"patches": [{"number": 1}]}': "is damaged, or not of the kind its name says (KeyError: 'feature')",
        '{"patches": [{"number": -1, "x": 1, "y": 2, "feature": [1, 2, 3]}]}': "has a patch_idx or coords outside 0",
        '{"patches": [{"number": 1, "x": 1, "y": 2, "feature": [1, 2]}]}': "vectors of 2 numbers",
        '{"patches": [{"number": 1, "x": 10, "y": 1, "feature": [1, 2, NaN]}]}': "hold NaN or infinity",
    }.items():
        file.write_text(text)
        said = refused(capsys, store, *words[:4], "other", "--format", READER)
        assert says in said and file.name in said


def test_an_encoder_of_ones_own(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """examples/add_an_encoder.py: features by hand, recorded with its settings and the SHA-256 of its file."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        Image.new("RGB", (8, 8), (0, 32 * i, 255)).save(folder / f"{name}.png")
    assert milstore(store, "ingest", "patches", folder) == 0
    copy = tmp_path / "mine.py"
    shutil.copy(EXAMPLES / "add_an_encoder.py", copy)
    encode = ("encode", "--encoder", f"{copy}:Colours")
    assert milstore(store, *encode, "--jobs", "1") == 0
    assert "baseline" not in capsys.readouterr().err
    (row,) = read_cohort(store).table("encoders").to_pylist()
    sha256 = load_encoder(COLOURS).found.sha256["add_an_encoder.py"]
    assert (row["encoder"], row["n_features"], row["n_patches"]) == ("colours", 24, 5)
    assert (
        row["source"]
        == f'milstore encode --encoder mine.py:Colours (settings {{"bins": 8}}; sha256 of mine.py {sha256}) ({SEEN})'
    )
    packed = open_features(store, read_cohort(store), "colours")
    found = {tuple(np.flatnonzero(row)) for case in packed.case_rows for row in packed.read(case)}
    assert found == {(0, 8 + i, 23) for i in range(5)}
    before = contents(store)
    # Wherever the file lies it is the same, and processes of their own find it by its path.
    assert milstore(store, "encode", "--encoder", f"{copy}:Colours", "--jobs", "2", "--replace") == 0
    assert contents(store) == before
    copy.write_text(copy.read_text() + "\n# Changed.\n")
    assert "features called colours from elsewhere (milstore encode --encoder mine.py" in refused(
        capsys, store, *encode
    )


ARRAYS = '''
import numpy as np


class NpyImage:
    """A patch a file: NumPy's .npy of (height, width, 3)."""

    endings = ("npy",)

    def recognises(self, path):
        return True

    def size(self, path):
        height, width = np.load(path, mmap_mode="r").shape[:2]
        return width, height

    def pixels(self, path):
        return np.load(path)
'''


def test_images_of_ones_own(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A source of images that milstore does not know gives sizes and pixels; what is no image is one line."""
    (tmp_path / "arrays.py").write_text(ARRAYS)
    own = ("--format", f"{tmp_path}/arrays.py:NpyImage")
    folder = tmp_path / "images"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        np.save(folder / f"{name}.npy", np.full((9, 12, 3), 32 * i, np.uint8))
    assert milstore(store, "ingest", "patches", folder, *own) == 0
    sizes = read_cohort(store).table("patches").select(["width", "height"]).to_pylist()
    assert sizes == [{"width": 12, "height": 9}] * 5
    assert milstore(store, "encode", "--encoder", COLOURS, *own) == 0
    packed = open_features(store, read_cohort(store), "colours")
    assert {tuple(np.flatnonzero(row)) for case in packed.case_rows for row in packed.read(case)} == {
        (i, 8 + i, 16 + i) for i in range(5)
    }
    np.save(folder / f"{NAMES[0]}.npy", np.ones((9, 12)))
    said = refused(capsys, store, "encode", "--encoder", COLOURS, *own, "--replace")
    assert f"{NAMES[0]}.npy: format {own[1]} gives no image (height, width, 3) of uint8 for it" in said
    (folder / f"{NAMES[0]}.npy").write_text("x")
    assert f"{NAMES[0]}.npy cannot be read" in refused(capsys, store, "ingest", "patches", folder, *own, "--replace")


TABLES = '''
import json

import pyarrow as pa

from milstore.formats.csv_table import TextTable
from milstore.formats.interface import RunPredictions
from milstore.formats.split_file import SplitFiles


class Json:
    endings = ("json",)

    def recognises(self, path):
        return True


class Labels(Json):
    """Labels as {case: label}."""

    def read(self, path, expected):
        held = json.loads(path.read_text())
        return TextTable(path, {expected[0]: list(held), expected[1]: list(held.values())}, list(range(1, len(held) + 1)))


class Splits(Json):
    """Splits as [{case: subset}]."""

    def read(self, files, reading):
        held = json.loads(files[0].read_text())
        return SplitFiles(
            splits={i: {reading.case_id(case): subset for case, subset in each.items()} for i, each in enumerate(held)}
        )


class Runs(Json):
    """Predictions as {case: [p]}, attention as rows."""

    def predictions(self, path, classes):
        held = json.loads(path.read_text())
        columns = {f"p{i}": [p[i] for p in held.values()] for i in range(len(classes))}
        table = pa.table({"case_id": list(held), **columns})
        return RunPredictions(table=table, probability=list(columns), label_in_store=[0, 1])

    def attention(self, path):
        return pa.Table.from_pylist(json.loads(path.read_text()))


class Bags(Json):
    """A table as rows."""

    def read(self, path, texts):
        return pa.Table.from_pylist(json.loads(path.read_text()))
'''


def test_labels_splits_runs_and_tables_of_ones_own(store: Store, tmp_path: Path) -> None:
    """Each kind of file is read by a class of the user's, and checked as if it were milstore's own."""
    (tmp_path / "own.py").write_text(TABLES)

    def ingest(kind: str, content: object, cls: str, *words: str | Path) -> int:
        (tmp_path / f"{cls}.json").write_text(json.dumps(content))
        return milstore(store, "ingest", kind, tmp_path / f"{cls}.json", "--format", f"{tmp_path}/own.py:{cls}", *words)

    assert ingest("labels", {"052": "1", "7": "3"}, "Labels", "--map", "1=benign,3=high-grade") == 0
    assert milstore(store, "ingest", "patches", make_images(tmp_path / "images")) == 0
    assert ingest("splits", [{"52": "test", "7": "train"}], "Splits", "--split-set", "own") == 0
    attention = levels({("52", "h&e", 0, 3): 1.0, ("52", "h&e", 0, 12): 2.0, ("52", "melan", 0, 1): 1.0}).to_pylist()
    (tmp_path / "a.json").write_text(json.dumps(attention))
    words = ("--attention", tmp_path / "a.json", "--experiment", "theirs", "--split", "0", "--slices-by", "number")
    assert ingest("run", {"52": [0.25, 0.75]}, "Runs", *words, "--patches-by", "number") == 0
    assert [run[:10] for run in run_ids(store)] == ["theirs-s0-"]
    bags = [{"bag": "x", "i": "0", "f0": 0.5}, {"bag": "x", "i": "1", "f0": 1.5}]
    assert ingest("features", bags, "Bags", "--encoder", "b", "--bag-column", "bag", "--index-column", "i") == 0
    classes = {row["case_id"]: row["class_name"] for row in read_cohort(store).table("cases").to_pylist()}
    assert classes == {"52": "benign", "7": "high-grade", "x": None}
    assert vectors(store, "b") == {("x", "h&e", 0, 0): [0.5], ("x", "h&e", 0, 1): [1.5]}


# --- how they are found ---------------------------------------------------------------------------------------------


class Toy:
    """A format of these tests."""

    endings = ("toy",)

    def recognises(self, path: Path) -> bool:
        return path.read_bytes().startswith(b"TOY")

    def vector(self, path: Path) -> np.ndarray:
        return np.frombuffer(path.read_bytes()[3:], np.uint8).astype(np.float32)


def test_a_line_in_the_table_is_all_that_a_format_needs(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are found in a folder, recognised and read, without a word from the user."""
    monkeypatch.setitem(BUILT_IN["features"], "toy", f"{__name__}:Toy")
    folder = tmp_path / "vectors"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        (folder / f"{name}.toy").write_bytes(b"TOY" + bytes([i, i + 1, i + 2]))
    assert milstore(store, "ingest", "features", folder, "--encoder", "e", "--create-patches") == 0
    assert vectors(store) == EXPECTED


def test_installed_packages_offer_formats_and_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no table has is looked up among entry points, of the group of its kind, and only such a name."""
    asked: list[str] = []

    def entry_points(*, group: str) -> list[Point]:
        asked.append(group)
        where = {
            "milstore.formats.features": f"{__name__}:Toy",
            "milstore.pixels": "milstore.pixels.image_file:ImageFile",
            "milstore.encoders": "milstore.encoders.hed:HedEncoder",
        }[group]
        return [Point("theirs", where)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    find_format("features", "npz"), PIXELS.find("image"), load_encoder("hed")
    assert asked == []
    assert type(FORMATS["features"].make("theirs")).__name__ == "Toy"
    assert type(PIXELS.make("theirs")).__name__ == "ImageFile"
    assert load_encoder("theirs").source == "milstore encode --encoder theirs"
    assert asked == ["milstore.formats.features", "milstore.pixels", "milstore.encoders"]
    with pytest.raises(UsageError, match=r"there is no format 'thiers': did you mean theirs\?"):
        find_format("features", "thiers")


BAD = {
    "absent.py:X": ("", "format {path}: there is no file"),
    "own.py": ("class X: pass", "say which class"),
    "own.py:Y": ("class X: pass", "has no Y"),
    "own.py:A": ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero (own.py, line 1)"),
    "own.py:B": ("def B(): pass", "it is no class"),
    "own.py:C": ("class C:\n    def __init__(self, x): pass", "it cannot be made: TypeError"),
    "own.py:D": ("class D: endings = ('x',)", "it has no recognises()"),
    "own.py:E": ("class E:\n    def recognises(self, path): return True", "it has no endings"),
    "own.py:F": (
        "class F:\n    endings = ('x',)\n    def recognises(self, path): return True",
        "to read features it needs vector() or layout() and vectors()",
    ),
    "own.py:G": (
        "class G:\n    endings = '.X'\n    def recognises(self, path): return True\n    def vector(self, path): pass",
        "its endings must be a list such as",
    ),
    "own.py:H": (
        "class H:\n    endings = ('npy',)\n    def recognises(self, path): return True\n    def vector(self, path): return [1]",
        "gives no vector (D,) of floats for it",
    ),
    "own.py:I": (
        "class I:\n    endings = ('npy',)\n    def recognises(self, path): return True\n"
        "    def vector(self, path): raise KeyError('a\\nb')",
        "is damaged, or not of the kind its name says (KeyError",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_format_is_one_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """What is wrong with a user's file, or with what it gives, is one line; nothing is stored."""
    text, says = BAD[name]
    (tmp_path / "own.py").write_text(text)
    words = ("ingest", "features", make_vectors(tmp_path / "v"), "--encoder", "e", "--create-patches")
    path = f"{tmp_path}/{name}"
    assert says.format(path=path) in refused(capsys, store, *words, "--format", path)


BAD_ENCODERS = {
    "it has no encode()": "class X:\n    name = 'x'\n    n_features = 1",
    "it has no n_features": "class X:\n    name = 'x'\n    def encode(self, images): pass",
    "encoder 'X/Y' does not fit": "class X:\n    name = 'X/Y'\n    n_features = 1\n    def encode(self, images): pass",
    "its settings must be a dict of plain values": (
        "class X:\n    name = 'x'\n    n_features = 1\n    settings = {'a': {1}}\n    def encode(self, images): pass"
    ),
    "its n_features must be a whole number": (
        "class X:\n    name = 'x'\n    n_features = 0\n    def encode(self, images): pass"
    ),
    "encoder x gives NoneType for 5 images: it must give floats of shape (5, 2)": (
        "class X:\n    name = 'x'\n    n_features = 2\n    def encode(self, images): pass"
    ),
    "encoder x failed on images from": (
        "class X:\n    name = 'x'\n    n_features = 2\n    def encode(self, images): raise ValueError('no\\nweights')"
    ),
}


@pytest.mark.parametrize("says", BAD_ENCODERS)
def test_what_is_no_encoder_is_one_line(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], says: str
) -> None:
    """What is wrong with a user's encoder, or with what it gives, is one line; nothing is stored."""
    (tmp_path / "own.py").write_text(BAD_ENCODERS[says])
    folder = tmp_path / "images"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
    assert milstore(store, "ingest", "patches", folder) == 0
    assert says in refused(capsys, store, "encode", "--encoder", f"{tmp_path}/own.py:X", "--jobs", "1")


def test_a_format_whose_file_changes_is_read_anew(store: Store, tmp_path: Path) -> None:
    """In one process, a notebook's, an edit of the file counts at once."""
    own, folder = tmp_path / "own.py", make_vectors(tmp_path / "v")
    text = "import numpy as np\n\n\nclass X:\n    endings = ('npy',)\n    def recognises(self, path): return True\n"
    for i, value in enumerate((1, 22)):
        own.write_text(f"{text}    def vector(self, path): return np.full(2, {value}.0)\n")
        ingest_features(store, folder, encoder=f"e{i}", create_patches=True, format=f"{own}:X")
    assert [set(map(tuple, vectors(store, f"e{i}").values())) for i in (0, 1)] == [{(1.0, 1.0)}, {(22.0, 22.0)}]


# --- by content -----------------------------------------------------------------------------------------------------


def test_a_format_is_found_by_the_content(tmp_path: Path) -> None:
    """Whatever a file is called, what is in it says which format reads it; the ending only where nothing does."""
    made = tmp_path / "x"

    def found(kind: str, content: object, suffix: str = ".x") -> str | None:
        path = made.with_suffix(suffix)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, dict):
            with path.open("wb") as stream:
                np.savez(stream, **content)
        else:
            pq.write_table(content, path)
        return recognised(kind, [path])

    table = pa.table({"case_id": ["1"], "p_0": [0.5], "p_1": [0.5]})
    study = table.rename_columns(["case_id", "prob_benign", "prob_high_grade"])
    assert found("features", {"features": np.ones((1, 2)), "patch_idx": [1]}) == "npz"
    assert found("features", pa.table({"features": [[1.0]], "patch_idx": [1]})) == "parquet"
    assert found("features", b"\x93NUMPY\x01\x00") == "npy"
    assert found("tables", table, ".csv") == "parquet"
    assert found("tables", b"a,b\n1,2\n", ".parquet") == "csv"
    assert found("runs", table, ".csv") == "tables"
    assert found("runs", study) == "study"
    assert found("runs", b"case_id;prob_class0;prob_class1\n1;0;1\n") == "study"
    assert found("runs", b"case_id,stain_attn_weight\n1,0\n") == "study"
    assert found("splits", {"train_cases": [1], "val_cases": [2], "test_cases": [3]}) == "npz"
    assert found("splits", b"split;case_id;subset\n") == "split-table"
    assert found("splits", b"fold,bag_id\n") == "fold-table"
    # Nothing recognises these: the format of the ending says what is wrong.
    assert found("features", b"rubbish", ".h5") == "h5"
    assert found("splits", b"rubbish", ".npz") == "npz"
    assert found("features", b"rubbish", ".x") is None


def test_a_table_is_read_by_what_it_is(store: Store, tmp_path: Path) -> None:
    """A Parquet table that is called .csv is a Parquet table."""
    table = pa.table({"bag": ["x"], "i": ["0"], "f0": [0.5]})
    pq.write_table(table, tmp_path / "t.csv")
    ingest_features(store, tmp_path / "t.csv", encoder="e", bag_column="bag", index_column="i")
    pacsv.write_csv(table, tmp_path / "t.parquet")
    assert not ingest_features(store, tmp_path / "t.parquet", encoder="e", bag_column="bag", index_column="i").changed


def test_a_named_format_counts(store: Store, tmp_path: Path) -> None:
    """Who names a format is believed: only its files are looked for, and its words say what is wrong."""
    folder = make_vectors(tmp_path / "v")
    with pytest.raises(DataError, match=r"holds no \.npz file: name the folder of the features"):
        ingest_features(store, folder, encoder="e", format="npz")
    (tmp_path / "l.csv").write_text("split,case_id,subset\n")
    assert milstore(store, "ingest", "splits", tmp_path / "l.csv", "--format", "npz") == 2


def test_the_formats_are_listed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`milstore ingest formats` names every format of every kind with its files and what it is."""
    from milstore.cli.main import main

    assert main(["ingest", "formats"]) == 0
    said = capsys.readouterr().out
    for names in (*BUILT_IN.values(), PIXELS.registry.built_in):
        for name in names:
            assert f" {name} " in said
    assert "A patch a file: NumPy's .npy with one vector (D)." in said
