"""Words for missing values, spellings of one class and repeated headers: never classes or cases in silence."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milstore.errors import DataError, UsageError
from milstore.formats.group_file import read_groups
from milstore.formats.missing_marks import UNSAID, WORDS, Marks
from milstore.ingest.features import ingest_features
from milstore.ingest.labels import LabelsReport, ingest_labels
from milstore.ingest.splits import ingest_splits
from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import contents, make_labels, milstore, new_store

MARKED = "Case,Class\n1,benign\n2,high-grade\n3,NaN\n4,NA\n5,benign\n6, None \n7,n / a\n8,\n9,#N/A\n10,NULL\n11,na\n"


def ingest(store: Store, file: Path, **options: object) -> LabelsReport:
    return ingest_labels(store, file, case_column="Case", label_column="Class", **options)  # type: ignore[arg-type]


def labels(store: Store) -> dict[str, str | None]:
    return {row["case_id"]: row["class_name"] for row in read_cohort(store).table("cases").to_pylist()}


def classes(store: Store) -> list[str]:
    return [row["class_name"] for row in read_cohort(store).table("classes").to_pylist()]


def refused(store: Store, text: str, folder: Path, **options: object) -> str:
    """What is said of a label file that is refused; the store stays as it is."""
    before = contents(store)
    with pytest.raises(DataError) as error:
        ingest(store, make_labels(folder / "l.csv", text), **options)
    assert contents(store) == before
    return str(error.value).removeprefix(f"{folder / 'l.csv'} ")


def test_words_for_missing_values_are_refused_with_their_lines(tmp_path: Path) -> None:
    """No class is called NaN: each word is named with its lines, and the option to type."""
    assert refused(new_store(tmp_path), MARKED, tmp_path) == (
        "has in column Class what stands for a missing value: 'NaN' (line 4), 'NA' (line 5), 'None' (line 7), 'n / a' "
        "(line 8), nothing (line 9), '#N/A' (line 10), 'NULL' (line 11), 'na' (line 12); if the label is unknown there, "
        "add --missing 'NaN,NA,None,n / a,#N/A,NULL,na'; else give the class of each label by --map"
    )


def test_cases_of_unknown_label_stay_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --missing there are two classes, and every other case is in the store, unlabelled and counted."""
    store, file = new_store(tmp_path), make_labels(tmp_path / "l.csv", MARKED)
    words = ("ingest", "labels", file, "--case-column", "Case", "--label-column", "Class")
    assert milstore(store, *words, "--missing", "NaN,NA,None,n/a,#N/A,null") == 0
    assert capsys.readouterr().err.splitlines() == [
        f"{file}: 3 labelled cases (2 benign, 1 high-grade), 11 new cases",
        "label unknown: 8 cases (3, 4, 6, 7, 8, 9, 10, 11)",
    ]
    assert classes(store) == ["benign", "high-grade"]
    unknown = dict.fromkeys(("3", "4", "6", "7", "8", "9", "10", "11"))
    assert labels(store) == {"1": "benign", "2": "high-grade", "5": "benign", **unknown}
    assert milstore(store, "doctor") == 0
    assert milstore(store, *words, "--missing", "NaN,NA,None,n/a,#N/A,null") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "nothing changed"


def test_the_map_rules_as_before(tmp_path: Path) -> None:
    """What the map names is a class, even NA; what it does not name is left out and named."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv", "Case,Class\n1,NA\n2,none\n3,x\n4,\nCase,Class\n")
    report = ingest(store, file, label_map={"NA": "north", "x": "south"})
    assert labels(store) == {"1": "north", "3": "south"}
    assert report.left_out == {"": ("4",), "none": ("2",)}
    assert report.notes == ("left out: 1 repetition of the header (line 6)",)
    with pytest.raises(UsageError, match="--missing and --map both speak of NA: give each label to one of them"):
        ingest(store, file, label_map={"NA": "north"}, missing=["na"])


def test_a_word_that_was_not_named_is_still_refused(tmp_path: Path) -> None:
    """--missing speaks of the words that it names, and of empty cells."""
    told = refused(new_store(tmp_path), "Case,Class\n1,a\n2,NA\n3,null\n4,\n", tmp_path, missing=["NA"])
    assert told.startswith("has in column Class what stands for a missing value: 'null' (line 4); ")


def test_any_word_can_be_named(tmp_path: Path) -> None:
    """A group's own word for unknown is one if --missing says so, whatever its capitals and blanks."""
    store = new_store(tmp_path)
    report = ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,a\n2,Not Done\n"), missing=["not done"])
    assert (labels(store), report.unknown) == ({"1": "a", "2": None}, ("2",))


def test_a_case_that_is_a_mark_is_left_out(tmp_path: Path) -> None:
    """No case is called NaN: refused with its line, or its row left out and counted."""
    text = "Case,Class\n1,a\nNaN,b\n,b\nnone,NaN\n"
    store = new_store(tmp_path)
    assert "line 4, has no case in column Case" in refused(store, text, tmp_path, label_map={"a": "a", "b": "b"})
    told = refused(store, "Case,Class\n1,a\nNaN,b\n", tmp_path)
    assert told == (
        "has in column Case what stands for a missing value: 'NaN' (line 3); if these rows are to be left out, add "
        "--missing 'NaN'"
    )
    told = refused(store, "Case,Class\n1,a\nNaN,NA\n", tmp_path, missing=["NA"])
    assert told.startswith("has in column Case what stands for a missing value: 'NaN' (line 3)")
    report = ingest(store, make_labels(tmp_path / "l.csv", text), missing=["NaN", "none"])
    assert (labels(store), report.notes) == ({"1": "a"}, ("left out: 3 rows without a case (lines 3, 4, 5)",))


def test_a_repeated_header_is_no_case(tmp_path: Path) -> None:
    """Two files put under one another have two headers: named with the line."""
    store = new_store(tmp_path)
    text = "Case,Class\n1,a\nCase,Class\n2,b\n"
    assert refused(store, text, tmp_path) == "repeats its header in line 3: drop it there"
    report = ingest(store, make_labels(tmp_path / "l.csv", text), missing=[])
    assert (labels(store), report.notes) == (
        {"1": "a", "2": "b"},
        ("left out: 1 repetition of the header (line 3)",),
    )


@pytest.mark.parametrize("other", ["Benign", "BENIGN", "be nign"])
def test_spellings_of_one_class_are_refused(tmp_path: Path, other: str) -> None:
    """`Benign` beside `benign` is one class or two by --map, never by accident, nor against the store's."""
    store = new_store(tmp_path)
    assert refused(store, f"Case,Class\n1,benign\n2,{other}\n3,{other}\n", tmp_path) == (
        f"spells one thing in several ways in column Class: 'benign' (line 2), '{other}' (line 3); write each in one way, "
        "or give the class of each by --map"
    )
    ingest(store, make_labels(tmp_path / "a.csv", "Case,Class\n1,benign\n"))
    assert refused(store, f"Case,Class\n9,x\n2,{other}\n", tmp_path) == (
        f"spells the store's class 'benign' as '{other}' in column Class (line 3): write each in one way, or give the "
        "class of each by --map"
    )
    file = make_labels(tmp_path / "m.csv", f"Case,Class\n1,benign\n2,{other}\n")
    ingest(store, file, label_map={"benign": "benign", other: "benign"})
    assert (classes(store), labels(store)) == (["benign"], {"1": "benign", "2": "benign"})


def test_a_label_that_the_store_has_is_kept(tmp_path: Path) -> None:
    """A file that does not know a label does not take the store's away, unless --replace asks for that."""
    store = new_store(tmp_path)
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,a\n2,b\n"))
    file = make_labels(tmp_path / "m.csv", "Case,Class\n1,NA\n3,NA\n")
    report = ingest(store, file, missing=["NA"])
    assert (report.kept, report.unknown, labels(store)) == (("1",), ("3",), {"1": "a", "2": "b", "3": None})
    report = ingest(store, file, missing=["NA"], replace=True)
    assert (report.corrected, report.unknown, labels(store)) == (("1",), ("1", "3"), {"1": None, "2": "b", "3": None})


def test_a_label_and_a_mark_for_one_case_are_refused(tmp_path: Path) -> None:
    """A case cannot be benign and unknown."""
    told = refused(new_store(tmp_path), "Case,Class\n1,a\n1,NA\n", tmp_path, missing=["NA"])
    assert told == "has case 1 with a label and with another or none: keep one"


def test_ids_that_pandas_made_numbers_of_are_the_known_cases(tmp_path: Path) -> None:
    """Labels of 1.0, 2.0, … are those of the cases 1, 2, … that the store knows."""
    store = new_store(tmp_path)
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,a\n2,b\n"))
    report = ingest(store, make_labels(tmp_path / "m.csv", "Case,Class\n1.0,a\n2.0,b\n3.5,a\n"))
    assert (report.new_cases, labels(store)) == (1, {"1": "a", "2": "b", "3.5": "a"})


SPLITS = "split,case_id,subset\n1,1,train\n1,2,val\n1,3,test\n"


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ("1,NaN,train\n", "case_id what stands for a missing value: 'NaN' (line 5)"),
        ("NA,1,train\n", "split what stands for a missing value: 'NA' (line 5)"),
        ("1,4,None\n", "subset what stands for a missing value: 'None' (line 5)"),
        ("1,4,\n", "subset what stands for a missing value: nothing (line 5)"),
    ],
)
def test_tables_of_splits_know_marks_too(tmp_path: Path, row: str, where: str) -> None:
    """A row without case, split or subset is refused with its line, or left out and counted."""
    store = new_store(tmp_path)
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,a\n2,b\n3,a\n4,b\n"))
    file = make_labels(tmp_path / "s.csv", SPLITS + row)
    before = contents(store)
    with pytest.raises(DataError) as error:
        ingest_splits(store, [file])
    assert f"has in column {where}" in str(error.value)
    assert contents(store) == before
    report = ingest_splits(store, [file], missing=["na", "nan", "none"])
    assert report.notes == ("left out: 1 row without a value (line 5)",)
    rows = read_cohort(store).table("splits").to_pylist()
    assert {row["case_id"]: row["subset"] for row in rows} == {"1": "train", "2": "val", "3": "test"}


def test_a_split_table_with_two_headers_is_refused(tmp_path: Path) -> None:
    """The line is named; with --missing it is left out and counted."""
    store = new_store(tmp_path)
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,a\n2,b\n3,a\n"))
    file = make_labels(tmp_path / "s.csv", SPLITS + "split,case_id,subset\n")
    with pytest.raises(DataError, match="repeats its header in line 5: drop it there"):
        ingest_splits(store, [file])
    assert ingest_splits(store, [file], missing=[]).notes == ("left out: 1 repetition of the header (line 5)",)


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_tables_of_bags_know_marks_too(tmp_path: Path, extension: str) -> None:
    """A bag's label that stands for a missing value is no class: refused, or the case stays without one."""
    store, file = new_store(tmp_path), tmp_path / f"b.{extension}"
    rows = [("1", "a"), ("2", "b"), ("3", "NaN"), ("4", "")]
    if extension == "csv":
        file.write_text("bag,i,y,f\n" + "".join(f"{bag},0,{label},0.5\n" for bag, label in rows))
    else:
        table = pa.table({"bag": [r[0] for r in rows], "i": [0] * 4, "y": [r[1] or None for r in rows], "f": [0.5] * 4})
        pq.write_table(table, file)
    options = {"encoder": "e", "bag_column": "bag", "index_column": "i", "label_column": "y"}
    with pytest.raises(DataError, match="rows without a value in column 'y'"):
        ingest_features(store, file, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"in column y what stands for a missing value: 'NaN' \(line 4\)"):
        ingest_features(store, file, **options, missing=["NA"])  # type: ignore[arg-type]
    report = ingest_features(store, file, **options, missing=["NaN"])  # type: ignore[arg-type]
    assert report.notes[-1:] == ("label unknown: 2 cases (3, 4)",)
    assert (classes(store), labels(store)) == (["a", "b"], {"1": "a", "2": "b", "3": None, "4": None})


def test_a_bag_that_is_a_mark_is_refused(tmp_path: Path) -> None:
    """No case is called NaN because of a table of bags; 1.0 is the case 1 that the store knows."""
    store = new_store(tmp_path)
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,a\n"))
    (tmp_path / "b.csv").write_text("bag,i,f\n1.0,0,0.5\nNaN,0,0.5\n")
    options = {"encoder": "e", "bag_column": "bag", "index_column": "i"}
    with pytest.raises(
        DataError, match=r"in column bag what stands for a missing value: 'NaN' \(line 3\); name the bag"
    ):
        ingest_features(store, tmp_path / "b.csv", **options)  # type: ignore[arg-type]
    (tmp_path / "b.csv").write_text("bag,i,f\n1.0,0,0.5\n")
    ingest_features(store, tmp_path / "b.csv", **options)  # type: ignore[arg-type]
    assert labels(store) == {"1": "a"}


@given(st.sampled_from(sorted(WORDS)), st.text(" \t\u00a0", max_size=2), st.booleans())
def test_capitals_and_blanks_do_not_hide_a_mark(word: str, blanks: str, upper: bool) -> None:
    """Each word is found as it is written, and taken for missing once it is named in any way."""
    text = blanks + (word.upper() if upper else word) + blanks
    assert UNSAID.are_doubtful(text)
    assert Marks.of([word]).mean_missing(text)
    assert not Marks.of([word]).are_doubtful(text)


def test_a_case_that_is_really_called_so_is_one(tmp_path: Path) -> None:
    """A case NA that the store knows, from a Parquet table of texts, keeps its name in every other file."""
    store = new_store(tmp_path)
    pq.write_table(pa.table({"bag": ["NA", "2"], "i": [0, 0], "f": [0.5, 0.5]}), tmp_path / "b.parquet")
    ingest_features(store, tmp_path / "b.parquet", encoder="e", bag_column="bag", index_column="i")
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\nNA,a\n2,b\n"))
    ingest_splits(store, [make_labels(tmp_path / "s.csv", "split,case_id,subset\n1,NA,train\n1,2,test\n")])
    groups = read_groups(make_labels(tmp_path / "g.csv", "case_id,group\nNA,p\n2,q\n"), {"NA", "2"})
    assert labels(store) == {"NA": "a", "2": "b"}
    assert {row["case_id"] for row in read_cohort(store).table("splits").to_pylist()} == {"NA", "2"}
    assert groups.group_of == {"NA": "p", "2": "q"}
