"""Files and terminals as people have them: read, or told as what they are."""

import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from milstore.charts.drawing import drawable
from milstore.charts.render import drawing
from milstore.charts.save import as_svg
from milstore.cli.main import main
from milstore.errors import DataError
from milstore.formats.csv_table import read_csv
from milstore.formats.hdf5 import opened_hdf5
from milstore.ingest.features import ingest_features
from milstore.ingest.labels import ingest_labels
from milstore.ingest.runs import ingest_run
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from tests.crossing import WHOLE
from tests.forking import fork
from tests.ingesting import make_labels, make_vectors, milstore, new_store
from tests.making import levels, make_run, make_splits, make_store
from tests.reporting import brief

NAME = "case_1_match_1_he"


def write_h5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["features"], file["patch_idx"] = np.ones((2, 3), np.float32), np.arange(2)
    return path


def test_a_file_that_another_program_writes_is_in_use(tmp_path: Path) -> None:
    """It is neither damaged nor to be made again; when the other is done it goes in."""
    file = write_h5(tmp_path / f"{NAME}.h5")
    writing = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", writing, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        with pytest.raises(
            DataError, match=r"case_1_match_1_he.h5 is in use: another program has it open for writing; try"
        ):
            ingest_features(new_store(tmp_path), file, encoder="e", create_patches=True)
        other.communicate("")
    assert ingest_features(new_store(tmp_path / "b"), file, encoder="e", create_patches=True).patches == 2


def test_a_file_whose_writer_died_says_so(tmp_path: Path) -> None:
    """The mark that a writer leaves in a file is told, with what clears it."""
    file = tmp_path / "a.h5"
    script = (
        "import h5py, os, sys; f = h5py.File(sys.argv[1], 'w', libver='latest'); f['x'] = [1]; f.swmr_mode = True; "
        "f.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(file)], check=True)
    with (
        pytest.raises(DataError, match="is marked as open for writing: let the job that writes it end"),
        opened_hdf5(file),
    ):
        pass


def test_a_disk_without_locks_is_read_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk refuses locks, nobody can be kept out, and the file is read."""
    file, opened = write_h5(tmp_path / "a.h5"), h5py.File

    def refusing(path: Path, mode: str, **options: bool) -> h5py.File:
        if options.get("locking", True):
            raise OSError(37, "Unable to synchronously open file (unable to lock file, errno = 37, No locks available)")
        return opened(path, mode, **options)

    monkeypatch.setattr(h5py, "File", refusing)
    with opened_hdf5(file) as found:
        assert found["features"].shape == (2, 3)


def test_a_filter_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """Numbers that were compressed by another's filter are not damaged."""
    file = tmp_path / f"{NAME}.h5"
    with h5py.File(file, "w") as made:
        made["patch_idx"] = np.arange(2)
        space = h5py.h5s.create_simple((2, 3))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((2, 3))
        plist.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, ())
        data = h5py.h5d.create(made.id, b"features", h5py.h5t.IEEE_F32LE, space, plist)
        data.write_direct_chunk((0, 0), b"\1" * 30, 0)
    with pytest.raises(
        DataError, match=r"features in .*\.h5 is compressed by a filter that is not installed here \(number 32999"
    ):
        ingest_features(new_store(tmp_path), file, encoder="e", create_patches=True)


def test_one_bad_file_of_many_is_named(tmp_path: Path) -> None:
    """Files with the same header are told apart."""
    names = tuple(f"{NAME}_patch{i}" for i in range(6))
    folder = make_vectors(tmp_path / "f", names)
    np.save(folder / f"{names[4]}.npy", np.array([{}, {}, {}], dtype=object), allow_pickle=True)
    for store in (new_store(tmp_path), new_store(tmp_path / "again")):
        with pytest.raises(DataError, match=rf"{names[4]}\.npy holds Python objects"):
            ingest_features(store, folder, encoder="e", create_patches=True)
    np.save(folder / f"{names[4]}.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.save(folder / f"{names[2]}.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=rf"{names[2]}\.npy holds Python objects"):
        ingest_features(new_store(tmp_path / "two"), folder, encoder="e", create_patches=True)


def test_a_negative_view_is_the_numbers_that_it_stands_for(tmp_path: Path, warm_processes: None) -> None:
    """What torch saves of the negative of a tensor goes in as that."""
    (tmp_path / "f").mkdir()
    for i in range(2):
        torch.save(torch._neg_view(torch.tensor([1.0, -2.0, 3.0 + i])), tmp_path / "f" / f"{NAME}_patch{i}.pt")
    store = new_store(tmp_path)
    ingest_features(store, tmp_path / "f", encoder="e", create_patches=True)
    assert open_features(store, read_cohort(store), "e").read("1").tolist() == [[-1.0, 2.0, -3.0], [-1.0, 2.0, -4.0]]


EXCEL = {
    "named separator": "sep=;\nCase;Class\n1;a\n2;b\n",
    "named separator, as BOM and with CRLF": "\ufeffsep=;\r\nCase;Class\r\n1;a\r\n2;b\r\n",
    "named tab": "sep=\t\nCase\tClass\n1\ta\n2\tb\n",
    "named separator in quotes": '"sep=,"\nCase,Class\n1,a\n2,b\n',
    "empty columns at the end": "Case;Class;;\n1;a;;\n2;b;;\n",
    "empty columns at the end of the header": "Case;Class;;\n1;a\n2;b;\n",
    "empty values at the end of rows": "Case,Class\n1,a,\n2,b,,\n",
    "empty rows at the end": "Case,Class\n1,a\n2,b\n,\n,\n",
    "an index without a name": ",Case,Class\n0,1,a\n1,2,b\n",
}


@pytest.mark.parametrize("text", EXCEL.values(), ids=EXCEL)
def test_tables_as_spreadsheets_write_them_go_in(tmp_path: Path, text: str) -> None:
    """Two labelled cases, whatever stands around them."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv", text)
    ingest_labels(store, file, case_column="Case", label_column="Class")
    rows = read_cohort(store).table("cases").to_pylist()
    assert [(row["case_id"], row["class_name"]) for row in rows] == [("1", "a"), ("2", "b")]


def test_lines_are_counted_from_the_first(tmp_path: Path) -> None:
    """The line that names the separator is a line of the file; values beyond the header are refused by theirs."""
    (tmp_path / "l.csv").write_text("sep=;\na;b\n1;2\n3;4\n")
    assert read_csv(tmp_path / "l.csv", "a table").lines == [3, 4]
    (tmp_path / "l.csv").write_text("sep=;\na;b\n1;2\n3;4;5\n")
    with pytest.raises(DataError, match="line 4, has 3 values, and the header 2"):
        read_csv(tmp_path / "l.csv", "a table")
    (tmp_path / "l.csv").write_text("a,b,c\n1,2\n")
    with pytest.raises(DataError, match="line 2, has 2 values, and the header 3"):
        read_csv(tmp_path / "l.csv", "a table")


def test_a_table_of_bags_from_a_spreadsheet_goes_in(tmp_path: Path) -> None:
    """A named separator, blanks in the header, empty columns and rows: the features are those two."""
    (tmp_path / "t.csv").write_text("sep=;\nbag ; i;f0; f1 ;;\n1;0;0.5;2;;\n1;1;0.25;1;;\n;;;;;\n")
    store = new_store(tmp_path)
    ingest_features(store, tmp_path / "t.csv", encoder="e", bag_column="bag", index_column="i")
    assert open_features(store, read_cohort(store), "e").read("1").tolist() == [[0.5, 2.0], [0.25, 1.0]]


PREDICTIONS = {
    "index first": ",case_id,p_0,p_1\n0,1,0.75,0.25\n1,2,0.25,0.75\n",
    "blanks in the header": "case_id,p_0 , p_1\n1,0.75,0.25\n2,0.25,0.75\n",
    "an empty row": "case_id,p_0,p_1\n1,0.75,0.25\n2,0.25,0.75\n,,\n",
    "ids as floats": "case_id,p_0,p_1\n1.0,0.75,0.25\n2.0,0.25,0.75\n",
    "an index saved twice": ",Unnamed: 0,case_id,p_0,p_1\n0,0,1,0.75,0.25\n1,1,2,0.25,0.75\n",
}


@pytest.mark.parametrize("text", PREDICTIONS.values(), ids=PREDICTIONS)
def test_predictions_as_pandas_writes_them_go_in(tmp_path: Path, text: str) -> None:
    """The same two predictions, whatever pandas put around them."""
    store = make_store(tmp_path / "s", {"1": 0, "2": 1}, [("1", "h&e", 0, 0), ("2", "h&e", 0, 0)])
    make_splits(store, "one", [{"train": ["1"], "test": ["2"]}])
    (tmp_path / "p.csv").write_text(text)
    head = "case_id,stain,slice_idx,patch_idx,stain_attention,slice_attention,patch_attention\n"
    (tmp_path / "a.csv").write_text(head + "1,h&e,0,0,1,1,1\n2,h&e,0,0,1,1,1\n")
    report = ingest_run(
        store, tmp_path / "p.csv", tmp_path / "a.csv", experiment="x", split=1, patches_by="number", slices_by="number"
    )
    import pyarrow.parquet as pq

    rows = pq.read_table(store.run_folder(report.run_id) / "predictions.parquet", partitioning=None).to_pylist()
    assert [(row["case_id"], row["subset"], row["p_true"]) for row in rows] == [
        ("1", "train", 0.75),
        ("2", "test", 0.75),
    ]


def run_in(encoding: str, store: Store, *commands: tuple[str, ...]) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of commands on a terminal of this encoding, a line of nine = after each."""
    out, err = store.root.parent / "out", store.root.parent / "err"

    def work() -> int:
        sys.stdout = out.open("w", encoding=encoding)
        sys.stderr = err.open("w", encoding=encoding, errors="backslashreplace")
        code = 0
        for words in commands:
            code = code or main([*words, "--store", str(store.root)])
            sys.stdout.write(f"\n{'=' * 9}\n")
        return code

    code = fork(store.root.parent, work).wait()
    return code, out.read_bytes(), err.read_bytes()


def test_tables_are_drawn_on_a_terminal_of_any_encoding(three: Store) -> None:
    """Lines and signs that it lacks are plain ones; the numbers are those of every terminal."""
    commands = (("query", "recall"), ("runs", "list"), ("info",), ("query", "top-patches", "--case", "46"))
    usual = run_in("utf-8", three, *commands)[1].decode().split("=" * 9)
    assert len(usual) == len(commands) + 1
    for encoding in ("iso8859-1", "ascii"):
        code, out, err = run_in(encoding, three, *commands)
        assert code == 0, err
        assert b"?" not in out
        tables = out.decode(encoding).split("=" * 9)
        assert [re.findall(r"\d+", each) for each in tables] == [re.findall(r"\d+", each) for each in usual]


def test_data_is_never_changed_for_a_terminal(three: Store) -> None:
    """A letter that the terminal lacks is a question mark to people; data is refused, with the way out."""
    words = ("sql", "select 'Wa\u0142' as name")
    assert b"Wa?" in run_in("iso8859-1", three, words)[1]
    code, out, err = run_in("iso8859-1", three, (*words, "--format", "csv"))
    assert (code, out.strip(b"=\n")) == (2, b"")
    assert b"'\\u0142', which the terminal's encoding (iso8859-1) lacks: write it to a file by --output" in err


JAVASCRIPT = ["constructor", "toString", "__proto__"]


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three cases called like what every object of JavaScript has."""
    labels = dict(zip(JAVASCRIPT, (0, 1, 1), strict=True))
    patches = [(case, stain, 0, i) for case in JAVASCRIPT for stain in ("h&e", "melan") for i in range(3)]
    store = make_store(tmp_path_factory.mktemp("scripted") / "s", labels, patches)
    make_splits(store, "one", [{"test": JAVASCRIPT}])
    weights = levels({patch: float(i % 5 + 1) for i, patch in enumerate(patches)})
    chances = dict.fromkeys(JAVASCRIPT, (0.4, 0.6))
    make_run(store, "exp-s1-0", dict.fromkeys(JAVASCRIPT, "test"), labels, chances, weights, split_set="one")
    return store


@pytest.mark.parametrize("name", ["deviation", "stain-attention", "entropy", "concentration"])
def test_a_chart_is_drawn_whatever_a_case_is_called(scripted: Store, name: str) -> None:
    """Each case stands in the picture under its own name."""
    picture = as_svg(drawing(scripted, name).spec).replace("\u200b", "")
    for case in JAVASCRIPT[:2]:
        assert case in picture


def test_the_report_of_such_cases_is_written(scripted: Store, tmp_path: Path) -> None:
    """The page is made, and names them. `make torture` makes the whole page."""
    with brief() if WHOLE else brief("deviation"):
        assert milstore(scripted, "report", "-o", tmp_path / "r.html") == 0
    assert "constructor" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_keys_and_other_texts_are_left_as_they_are() -> None:
    """Only whole texts that are such names change, also within a condition."""
    spec = {"a": "constructor", "constructor": 1, "b": ["the constructor", "datum.x === 'toString'"]}
    assert drawable(spec) == {
        "a": "constructor\u200b",
        "constructor": 1,
        "b": ["the constructor", "datum.x === 'toString\u200b'"],
    }
