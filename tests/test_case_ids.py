"""Ids of cases: read in one way wherever they stand, never put together in silence."""

import json
import unicodedata
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from PIL import Image

from milstore.analysis.splits import check_splits
from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.errors import DataError
from milstore.ingest.features import ingest_features
from milstore.ingest.groups import ingest_groups
from milstore.ingest.labels import ingest_labels
from milstore.ingest.patches import ingest_patches
from milstore.ingest.splits import ingest_splits
from milstore.pixels.pictures import PatchFolder
from milstore.store import Store
from milstore.store.case_ids import CaseIds, is_cut_number, whole_number_texts
from milstore.store.cohort import read_cohort
from milstore.store.names import normal_case_id
from milstore.store.summary import contents as info
from tests.ingesting import contents, make_images, make_labels, make_vectors, milstore, new_store
from tests.making import levels, make_run, make_splits, make_store

COMPOSED = "J\u00f6rg"
APART = unicodedata.normalize("NFD", COMPOSED)


def cases(store: Store) -> list[str]:
    found: list[str] = read_cohort(store).table("cases")["case_id"].to_pylist()
    return found


@pytest.mark.parametrize(
    ("text", "case_id"),
    [
        ("7.0", "7"),
        ("07.000", "7"),
        ("0.0", "0"),
        ("7.5", "7.5"),
        (" 052 ", "52"),
        ("v1.0", "v1.0"),
        (APART, COMPOSED),
        ("S1_A", "S1_A"),
    ],
)
def test_a_new_id_is_kept_in_one_form(text: str, case_id: str) -> None:
    """Zeros before and .0 behind a whole number, blanks and accents set apart make no other case."""
    assert CaseIds().read(text) == normal_case_id(text) == case_id


def test_an_id_that_the_store_holds_stays_and_is_found_in_both_forms() -> None:
    """A store of before may hold 7.0, or accents set apart: each spelling leads to what it holds."""
    ids = CaseIds(["7.0", APART, "9"])
    assert [ids.read(text) for text in ("7", "7.0", "007", COMPOSED, APART, "9.0")] == [
        "7.0",
        "7.0",
        "7.0",
        APART,
        APART,
        "9",
    ]
    both = CaseIds(["8", "8.0"])
    assert [both.read("8"), both.read("8.0"), both.read("08")] == ["8", "8.0", "8"]


@given(st.text(max_size=12), st.lists(st.text(max_size=6), max_size=4))
def test_reading_an_id_again_changes_nothing(text: str, known: list[str]) -> None:
    """What a text was read as is read as itself; a known id is itself."""
    ids = CaseIds(known)
    assert ids.read(ids.read(text)) == ids.read(text)
    assert all(ids.read(each) == each for each in known if each == each.strip())


def test_a_number_that_was_cut_short_is_no_id() -> None:
    """What spreadsheets and programs write of long numbers; names that look a little like it are ids."""
    assert all(map(is_cut_number, ["1,23457E+11", "1.5e+07", "1E+16", "2.5e-05"]))
    assert not any(map(is_cut_number, ["1E16", "12E+3", "TCGA-1E+1", "1.5", "E+11", "7"]))


def test_labels_with_cut_numbers_are_refused_with_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three patients that a spreadsheet made one are never one case."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv", "Case;Class\n1,23457E+11;a\n1,23457E+11;a\n2,3E+11;b\n4;b\n")
    assert milstore(store, "info") == 0
    before = contents(store)
    assert milstore(store, "ingest", "labels", file, "--case-column", "Case", "--label-column", "Class") == 2
    said = capsys.readouterr().err
    assert (
        "l.csv has in column Case what cannot be the id of a case: '1,23457E+11' (lines 2, 3), '2,3E+11' (line 4)"
        in said
    )
    assert contents(store) == before


def test_every_way_in_refuses_cut_numbers(tmp_path: Path) -> None:
    """Tables of bags, groups, splits and names of files say of a cut number what labels say."""
    store = new_store(tmp_path)
    ingest_labels(store, make_labels(tmp_path / "l.csv"), case_column="Case", label_column="Class")
    (tmp_path / "bags.csv").write_text("bag,i,f0\n1.2E+11,0,1\n1.2E+11,1,2\n3,0,1\n")
    with pytest.raises(DataError, match=r"column bag what cannot be the id of a case: '1.2E\+11' \(lines 2, 3\)"):
        ingest_features(store, tmp_path / "bags.csv", encoder="e", bag_column="bag", index_column="i")
    (tmp_path / "g.csv").write_text("case_id,group\n7,1.2E+11\n52,1.2E+11\n")
    with pytest.raises(DataError, match=r"column group what cannot be the id of a case: '1.2E\+11' \(lines 2, 3\)"):
        ingest_groups(store, tmp_path / "g.csv")
    (tmp_path / "s.csv").write_text("split,case_id,subset\n1,7,train\n1,1.2E+11,test\n")
    with pytest.raises(DataError, match=r"column case_id what cannot be the id of a case: '1.2E\+11' \(line 3\)"):
        ingest_splits(store, [tmp_path / "s.csv"])
    np.savez(tmp_path / "s_1.npz", train_cases=["7"], val_cases=["1.2E+11"], test_cases=["52"])
    with pytest.raises(DataError, match=r"val_cases what cannot be the id of a case: '1.2E\+11' \(row 1\)"):
        ingest_splits(store, [tmp_path / "s_1.npz"])
    make_images(tmp_path / "p", ("case_1.2e+11_match_1_he_patch0", "case_7_match_1_he_patch0"))
    report = ingest_patches(store, tmp_path / "p")
    assert report.skipped == (
        "case_1.2e+11_match_1_he_patch0.png: its case is a number that was cut short, as 1.23e+11 is",
    )


def test_numbers_of_a_parquet_file_are_the_ids_of_a_csv_file(tmp_path: Path) -> None:
    """The same table, saved by pandas with ids made floats, gives the same cases from either file."""
    frame = pd.DataFrame({"bag": [1.0, 1.0, 123457000000.0], "i": [0, 1, 0], "f0": [0.5, 0.25, 2.0]})
    frame.to_csv(tmp_path / "b.csv", index=False)
    frame.to_parquet(tmp_path / "b.parquet", index=False)
    for ending in ("csv", "parquet"):
        (tmp_path / ending).mkdir()
        store = new_store(tmp_path / ending)
        ingest_features(store, tmp_path / f"b.{ending}", encoder="e", bag_column="bag", index_column="i")
        assert cases(store) == ["1", "123457000000"]


def test_numbers_as_texts_of_ids() -> None:
    """Whole numbers are exact as far as their type is; beyond that they stay as numbers are written, and are no ids."""
    texts = whole_number_texts(pa.array([7.0, 7.5, 2.0**53 + 2, None])).to_pylist()
    assert texts[:2] == ["7", "7.5"] and texts[3] is None and is_cut_number(texts[2])
    assert whole_number_texts(pa.array([0.1, 16777216.0], pa.float32())).to_pylist()[0] == "0.1"


def test_splits_and_groups_speak_of_the_same_cases(tmp_path: Path) -> None:
    """Floats of an .npz file, and accents set apart in a table of groups, name the cases that labels named."""
    store = new_store(tmp_path)
    rows = "".join(f"{case},{'a' if i % 2 else 'b'}\n" for i, case in enumerate(["1", "2", "3", COMPOSED]))
    ingest_labels(
        store, make_labels(tmp_path / "l.csv", "Case,Class\n" + rows), case_column="Case", label_column="Class"
    )
    np.savez(tmp_path / "s_1.npz", train_cases=np.array([1.0]), val_cases=np.array([2.0]), test_cases=np.array([3.0]))
    ingest_splits(store, [tmp_path / "s_1.npz"], split_set="s")
    assert {row["case_id"] for row in read_cohort(store).table("splits").to_pylist()} == {"1", "2", "3"}
    (tmp_path / "g.csv").write_text(f"case_id,group\n{APART},p\n1.0,p\n", encoding="utf-8")
    ingest_groups(store, tmp_path / "g.csv")
    assert read_cohort(store).table("case_groups").to_pylist() == [
        {"case_id": "1", "group_id": "p"},
        {"case_id": COMPOSED, "group_id": "p"},
    ]


def test_cases_that_are_put_together_are_named(tmp_path: Path) -> None:
    """Two spellings of one case in a file are one case, and that is said."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv", f"Case,Class\n7,a\n007,a\n8,b\n{COMPOSED},a\n{APART},a\n")
    report = ingest_labels(store, file, case_column="Case", label_column="Class")
    assert cases(store) == ["7", "8", COMPOSED]
    assert report.lines()[-1] == (
        "spelled in several ways, and each read as one case: 7 ('7', '007'), "
        f"{COMPOSED} (with accents composed, and apart)"
    )


def test_a_question_finds_a_case_by_each_of_its_spellings(tmp_path: Path) -> None:
    """--case 7, 7.0 and 007 are the case that the store holds, be it 7.0 as a store of before may."""
    patches = [("7.0", "h&e", 0, i) for i in range(3)]
    store = make_store(tmp_path / "s", {"7.0": 1, "8": 0}, patches)
    make_splits(store, "one", [{"test": ["7.0"], "train": ["8"]}])
    weights = levels({patch: float(i + 1) for i, patch in enumerate(patches)})
    make_run(store, "exp-s1-0", {"7.0": "test"}, {"7.0": 1}, {"7.0": (0.2, 0.8)}, weights, split_set="one")
    for text in ("7", "7.0", "007"):
        rows = ask(store, "top-patches", Choice(cases=(text,))).records()
        assert {row["case_id"] for row in rows} == {"7.0"}
    assert [
        row["case_id"] for row in ask(store, "near-threshold", Choice(cases=("7",)), {"margin": 0.5}).records()
    ] == ["7.0"]


NAMES = tuple(f"case_S{i}_{letter}_match_1_he_patch0" for i in (1, 2) for letter in "AB")
IDS = [f"S{i}_{letter}" for i in (1, 2) for letter in "AB"]


def label_ids(store: Store, folder: Path) -> list[str]:
    rows = "".join(f"{case},{'ab'[i % 2]}\n" for i, case in enumerate(IDS))
    file = make_labels(folder / "ids.csv", "Case,Class\n" + rows)
    return ingest_labels(store, file, case_column="Case", label_column="Class").lines()


def test_ids_with_an_underscore_that_are_known_are_read_whole(tmp_path: Path) -> None:
    """S1_A and S1_B, once labelled, are two cases for the default pattern too; a second time changes nothing."""
    store = new_store(tmp_path)
    label_ids(store, tmp_path)
    ingest_patches(store, make_images(tmp_path / "p", NAMES))
    slices = read_cohort(store).table("slices").to_pylist()
    assert [(row["case_id"], row["slice_name"], row["n_patches"]) for row in slices] == [
        (case, "match_1", 1) for case in IDS
    ]
    assert not ingest_patches(store, tmp_path / "p").changed
    report = ingest_features(store, make_vectors(tmp_path / "f", NAMES), encoder="e")
    assert (report.patches, report.created) == (4, 0)
    folder = PatchFolder.of(store)
    patch = {"case_id": "S1_A", "stain": "h&e", "slice_name": "match_1", "patch_idx": 0, "file": f"{NAMES[0]}.png"}
    assert folder.read(patch, 32).problem == ""
    assert folder.read({**patch, "file": f"{NAMES[1]}.png"}, 32).problem == "of another patch"


def test_ids_that_the_pattern_may_have_fused_are_named(tmp_path: Path) -> None:
    """Where no id is known, it is said that slices look like cases; and then that labels and patches fit nothing."""
    store = new_store(tmp_path)
    told = ingest_features(store, make_vectors(tmp_path / "f", NAMES), encoder="e", create_patches=True).lines()
    assert any(line.startswith("2 cases may be several (S1, S2): S1_A and S1_B are read as slices") for line in told)
    assert label_ids(store, tmp_path)[1:] == [
        "without any patch: 4 cases (S1_A, S1_B, S2_A, S2_B)",
        "without a label: 2 cases (S1, S2)",
        "ids that look alike, the first with patches and no label, the others with a label and no patch: "
        "S1 and S1_A, S1_B, S2 and S2_A, S2_B",
    ]
    assert dict(info(store))["cases"] == "6 (a 2, b 2, without label 2, without any patch 4)"
    make_splits(store, "s", [{"train": IDS[:2], "val": IDS[2:3], "test": IDS[3:]}])
    (check,) = check_splits(store)
    notes = [finding.text for finding in check.findings if finding.kind == "note"]
    assert notes[-3:-1] == [
        "in the store, without any patch: 4 cases (S1_A, S1_B, S2_A, S2_B)",
        "in the store, without a label: 2 cases (S1, S2), 2 of them in no split",
    ]
    assert notes[-1].startswith("ids that look alike")
    # What the store holds stays what it is.
    assert not ingest_features(store, tmp_path / "f", encoder="e", create_patches=True).changed


def test_slices_whose_names_begin_alike_are_not_called_cases(tmp_path: Path) -> None:
    """match_1 beside unmatched_1 is the study's own naming, and nothing is said of it."""
    names = ("case_7_match_1_he_patch0", "case_7_unmatched_1_he_patch0")
    assert ingest_patches(new_store(tmp_path), make_images(tmp_path / "p", names)).notes == ()


def test_names_of_files_with_accents_set_apart_are_the_case(tmp_path: Path) -> None:
    """What a Mac makes of a name is the case that labels speak of, and its pictures are shown."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv", f"Case,Class\n{COMPOSED},a\n2,b\n")
    ingest_labels(store, file, case_column="Case", label_column="Class")
    (tmp_path / "p").mkdir()
    name = f"case_{APART}_match_1_he_patch0.png"
    Image.new("RGB", (16, 16), "red").save(tmp_path / "p" / name)
    ingest_patches(store, tmp_path / "p")
    (patch,) = read_cohort(store).table("patches").to_pylist()
    assert (patch["case_id"], cases(store)) == (COMPOSED, ["2", COMPOSED])
    assert PatchFolder.of(store).read({**patch, "slice_name": "match_1"}, 32).problem == ""


def test_info_counts_nothing_while_a_store_is_being_filled(tmp_path: Path) -> None:
    """Labels that come first are no cases without patches yet."""
    store = new_store(tmp_path)
    told = label_ids(store, tmp_path)
    assert len(told) == 1 and dict(info(store))["cases"] == "4 (a 2, b 2)"
    assert json.dumps(told).count("without") == 0
