"""Which slide is of whom: the table of slides, TCGA's barcodes, and what is refused."""

from pathlib import Path

import pytest

from milstore.errors import ConflictError, DataError, MilstoreError, UsageError
from milstore.ingest.labels import ingest_labels
from milstore.ingest.slide_cases import case_of
from milstore.ingest.slide_columns import parse_columns
from milstore.ingest.slide_table import SlidesReport, ingest_slides
from milstore.ingest.splits import ingest_splits
from milstore.store import Store
from milstore.store.catalog import refresh
from milstore.store.cohort import read_cohort
from milstore.store.doctor import check
from milstore.store.settings import FILE
from milstore.store.slides import Slides
from milstore.store.summary import contents as summary
from tests.ingesting import contents, make_images, milstore, new_store

TABLE = """slide_id,case_id,stain,block,label,mpp_level0,width_level0,height_level0
A_he,A,HE,1,high-grade,0.5,2048,1536
A_sox,A,SOX10,1,high-grade,0.25,1792,1536
B_he,B,HE,2,benign,,,
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path)


def give(store: Store, text: str, **options: object) -> SlidesReport:
    """Take a table of slides in, which lies beside the store."""
    path = store.root.parent / "slides.csv"
    path.write_text(text, encoding="utf-8")
    return ingest_slides(store, path, **options)  # type: ignore[arg-type]


def rows(store: Store, *names: str) -> list[tuple[object, ...]]:
    """Columns of the table of slides."""
    return [tuple(row[name] for name in names) for row in read_cohort(store).table("slides").to_pylist()]


def test_a_table_says_which_slide_is_of_whom(store: Store) -> None:
    """Slides, cases and labels are in the store as the table has them, and what was understood is said."""
    report = give(store, TABLE)
    assert rows(store, "slide_id", "case_id", "stain", "block", "mpp", "width", "height") == [
        ("A_he", "A", "h&e", "1", 0.5, 2048, 1536),
        ("A_sox", "A", "sox10", "1", 0.25, 1792, 1536),
        ("B_he", "B", "h&e", "2", None, None, None),
    ]
    cases = read_cohort(store).table("cases").to_pylist()
    assert [(row["case_id"], row["class_name"]) for row in cases] == [("A", "high-grade"), ("B", "benign")]
    assert report.lines() == [
        f"{store.root.parent / 'slides.csv'}: 3 slides of 2 cases (2 h&e, 1 sox10), 3 of them new",
        "columns: slide_id, case_id, stain, block, mpp_level0 = mpp, width_level0 = width, height_level0 = height, label",
        "labels: 1 benign, 1 high-grade",
    ]
    assert check(store) == []


def test_a_second_time_changes_nothing(store: Store) -> None:
    """The same table once more leaves every file as it is."""
    give(store, TABLE)
    before = contents(store)
    assert give(store, TABLE).lines()[-1] == "nothing changed"
    assert contents(store) == before


def test_a_dry_run_writes_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` says what was understood, and no file of the store differs afterwards."""
    (store.root.parent / "slides.csv").write_text(TABLE)
    before = contents(store)
    assert milstore(store, "ingest", "slides", store.root.parent / "slides.csv", "--dry-run") == 0
    said = capsys.readouterr().err
    assert "3 slides of 2 cases (2 h&e, 1 sox10)" in said
    assert "nothing was written: the same line without --dry-run takes them in" in said
    assert contents(store) == before


def test_a_correction_needs_the_word(store: Store) -> None:
    """What the store says otherwise is refused, and corrected by `--replace`; what the table does not say stays."""
    give(store, TABLE)
    other = "slide_id,case_id,stain,mpp\nA_he,A,HE,0.46\nB_he,B,HE,0.5\n"
    with pytest.raises(ConflictError, match=r"slide A_he has mpp '0.5' in the store and '0.46' in .*--replace"):
        give(store, other)
    assert give(store, other, replace=True).corrected == ("A_he",)
    assert rows(store, "slide_id", "mpp", "width") == [("A_he", 0.46, 2048), ("A_sox", 0.25, 1792), ("B_he", 0.5, None)]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("slide,patient,stain", "S1,P1,he"),
        ("FILENAME,PATIENT,stain", "S1.h5,P1,he"),
        ("filename,submitter_id,Stain", "raw/S1.svs,P1,H&E"),
        ("Slide ID,Case ID,staining", "S1,P1,he"),
        ("path,case,stain", "raw/S1.ndpi,P1,he"),
    ],
)
def test_names_of_columns_that_tools_use(store: Store, header: str, row: str) -> None:
    """Columns are found by the names of STAMP, slideflow, CLAM and TCGA, whatever their capitals; the stem is the slide."""
    give(store, f"{header}\n{row}\n")
    assert rows(store, "slide_id", "case_id", "stain") == [("S1", "P1", "h&e")]


def test_columns_by_option(store: Store) -> None:
    """A column may be called anything if its name is given; what is not understood is named."""
    columns = parse_columns("Scan=slide_id,Who=case_id,um=mpp")
    report = give(store, "Scan,Who,um,stain,site,age\nS1,P1,0.5,he,Bern,40\n", columns=columns)
    assert rows(store, "slide_id", "case_id", "mpp") == [("S1", "P1", 0.5)]
    assert report.not_understood == ("site", "age")
    assert report.lines()[1] == (
        "columns: Scan = slide_id, Who = case_id, um = mpp, stain; not understood, and left out: site, age"
    )


def test_a_cohort_of_one_stain_needs_no_column(store: Store) -> None:
    """Without a column of stains the store's only one is meant; where it has several, --stain says which."""
    table = "slide,patient\nS1,P1\n"
    with pytest.raises(UsageError, match=r"the store has several \(h&e, melan, sox10\): say by --stain h&e"):
        give(store, table)
    give(store, table, stain="MelanA")
    assert rows(store, "stain") == [("melan",)]


def test_the_only_stain_of_a_store(store: Store) -> None:
    """A store with one stain takes slides of it without a word."""
    (store.root / FILE).write_text('[stains]\npas = ["pas"]\n')
    give(new := Store(store.root), "slide,patient\nS1,P1\n")
    assert rows(new, "stain") == [("pas",)]


def test_paths_are_told_from_the_table(store: Store) -> None:
    """A relative path is one from the table's folder; a slide that is not there is named and taken in."""
    folder = store.root.parent
    (folder / "raw").mkdir()
    (folder / "raw" / "S1.svs").write_bytes(b"x")
    report = give(store, "slide,case,stain,path\nS1,A,he,raw/S1.svs\nS2,A,he,raw/S2.svs\n")
    assert rows(store, "path") == [(str(folder / "raw" / "S1.svs"),), (str(folder / "raw" / "S2.svs"),)]
    assert "no file at the path that is given: 1 slide (S2)" in report.lines()


BAD = {
    "a slide twice": (
        "slide,case,stain\nS1,A,he\nS2,A,he\nS1,A,he\n",
        r"has slide S1 twice \(lines 2 and 4\): keep one",
    ),
    "no case": ("slide,case,stain\nS1,,he\n", r"line 2: slide S1 has no case in column case"),
    "no slide": ("slide,case,stain\n,A,he\n", r"line 2, has no slide in column slide"),
    "a stain of none": ("slide,case,stain\nS1,A,\n", r"line 2, has no stain in column stain"),
    "an unknown stain": (
        "slide,case,stain\nS1,A,he\nS2,A,PAS\n",
        r"line 3: stain 'PAS' is not in this store .*: add the line \"pas\" = \[\"pas\"\] under \[stains\] in milstore.toml",
    ),
    "mpp of 0": ("slide,case,stain,mpp\nS1,A,he,0\n", r"line 2: mpp is '0', and must be greater than 0"),
    "mpp below 0": ("slide,case,stain,mpp\nS1,A,he,-0.5\n", r"line 2: mpp is '-0.5', and must be greater than 0"),
    "mpp in words": ("slide,case,stain,mpp\nS1,A,he,forty\n", r"line 2: mpp is 'forty', which is no number"),
    "mpp as NaN": ("slide,case,stain,mpp\nS1,A,he,nan\n", r"line 2: mpp is 'nan', which is no number"),
    "nanometres": ("slide,case,stain,mpp\nS1,A,he,250\n", r"line 2: mpp is '250' .*250 would be nanometres"),
    "half a pixel": ("slide,case,stain,width\nS1,A,he,10.5\n", r"line 2: width is '10.5', and must be a whole number"),
    "no column of cases": ("slide,stain\nS1,he\n", r"has no column case_id that is plainly one .*--case-column"),
    "no row": ("slide,case,stain\n", r"has no row"),
    "two labels of a case": (
        "slide,case,stain,label\nS1,A,he,x\nS2,A,he,y\n",
        r"has case A as x \(slide S1, line 2\) and as y \(slide S2, line 3\): keep one",
    ),
    "two slides of one slice": (
        "slide,case,stain,slice\nS1,A,he,s\nS2,A,he,s\n",
        r"slides S1 and S2 are both slice s of case A, h&e",
    ),
    "an id that was cut short": ("slide,case,stain\nS1,1.23E+11,he\n", r"cannot be the id of a case"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_refused(store: Store, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is one line that says what and where, exit code 2, and the store stays as it is."""
    text, message = BAD[name]
    refresh(store)
    before = contents(store)
    with pytest.raises(MilstoreError, match=message):
        give(store, text)
    assert milstore(store, "ingest", "slides", store.root.parent / "slides.csv") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert contents(store) == before


def test_an_improbable_resolution_is_named(store: Store) -> None:
    """Ten micrometres a pixel may be meant, and is taken in with a word."""
    report = give(store, "slide,case,stain,mpp\nS1,A,he,10\nS2,A,he,10\n")
    assert report.notes == ("improbable: 10 micrometres a pixel at level 0 of 2 slides (0.05 to 4 is usual)",)


def test_cases_that_earlier_labels_lack_are_named(store: Store, tmp_path: Path) -> None:
    """A case that no label names may be a mistyped one: it is refused, and taken in with a word where that is said."""
    (tmp_path / "labels.csv").write_text("case_id,label\nA,x\n")
    ingest_labels(store, tmp_path / "labels.csv")
    before = contents(store)
    with pytest.raises(
        DataError, match=r"has 1 case that the store does not know \(B\), and no label of it: correct the ids"
    ):
        give(store, "slide,case,stain\nS1,A,he\nS2,B,he\n")
    assert contents(store) == before
    report = give(store, "slide,case,stain\nS1,A,he\nS2,B,he\n", new_cases=True)
    assert [line for line in report.lines() if "not known before" in line] == [
        f"not known before, and without a label: 1 case of {store.root.parent / 'slides.csv'} (B)"
    ]


UUID = "0F1E2D3C-0000-4A1B-8C2D-000000000001"
ONE = f"TCGA-AA-0001-01Z-00-DX1.{UUID}"


def test_tcga_by_a_table(store: Store) -> None:
    """The case is the first three parts of the barcode, the slide all of the name, its UUID too; kinds that differ are said."""
    table = f"filename\n{ONE}.svs\nTCGA-AA-0001-11A-01-TS1.x1.svs\nTCGA-B1-A0ZZ-06A-00-DX2.x2.svs\n"
    report = give(store, table, tcga=True, stain="he")
    assert rows(store, "slide_id", "case_id") == [
        (ONE, "TCGA-AA-0001"),
        ("TCGA-AA-0001-11A-01-TS1.x1", "TCGA-AA-0001"),
        ("TCGA-B1-A0ZZ-06A-00-DX2.x2", "TCGA-B1-A0ZZ"),
    ]
    assert report.notes == (
        "by their barcodes: 2 diagnostic (DX), 1 frozen (TS)",
        "by their barcodes 1 slide of normal tissue (sample types 10 to 19): their case's label is of its tumour",
    )


def test_tcga_by_a_folder(store: Store, tmp_path: Path) -> None:
    """A folder of slides will do, sub-folders too; files without a barcode are counted and named."""
    for file in (f"a/{ONE}.svs", "b/other.svs"):
        (tmp_path / "raw" / file).parent.mkdir(parents=True)
        (tmp_path / "raw" / file).touch()
    report = ingest_slides(store, tmp_path / "raw", tcga=True, stain="he")
    assert rows(store, "slide_id", "case_id", "path") == [
        (ONE, "TCGA-AA-0001", str(tmp_path / "raw" / "a" / f"{ONE}.svs"))
    ]
    assert "left out: 1 file without a barcode of TCGA (b/other.svs)" in report.lines()


def test_a_name_that_is_no_barcode(store: Store) -> None:
    """With --tcga every row must be a slide of TCGA."""
    with pytest.raises(
        DataError, match=r"line 3: 'S2' is no barcode of a slide of TCGA, such as TCGA-AA-0001-01Z-00-DX1"
    ):
        give(store, f"slide\n{ONE}\nS2\n", tcga=True, stain="he")


def test_a_text_names_a_slide(store: Store) -> None:
    """A slide is found by its id, its file's name, a path, and before the dot of a UUID; a part of an id is none."""
    give(store, f"slide\n{ONE}\n", tcga=True, stain="he")
    slides = Slides(read_cohort(store))
    texts = (ONE, f"{ONE}.h5", f"/a/b/{ONE}.svs", ONE.partition(".")[0])
    assert [case_of(slides, text) for text in texts] == ["TCGA-AA-0001"] * 4
    assert [case_of(slides, text) for text in ("TCGA-AA-0001", "", "S9")] == [None] * 3


def test_labels_by_slides(store: Store, tmp_path: Path) -> None:
    """A column of slides stands for their cases; a case whose slides say two things is refused by name."""
    give(store, "slide,case,stain\nS1,A,he\nS2,A,sox10\nS3,B,he\n")
    path = tmp_path / "labels.csv"
    path.write_text("FILENAME,label\nS1.h5,x\nS2.h5,x\nS3.h5,y\n")
    report = ingest_labels(store, path, case_column="FILENAME")
    assert report.notes[0] == "FILENAME holds slides: 3 slides of 2 cases"
    cases = read_cohort(store).table("cases").to_pylist()
    assert [(row["case_id"], row["class_name"]) for row in cases] == [("A", "x"), ("B", "y")]
    path.write_text("FILENAME,label\nS1.h5,x\nS2.h5,y\nS3.h5,y\n")
    with pytest.raises(DataError, match=r"has case A as x \(line 2\) and as y \(line 3\)"):
        ingest_labels(store, path, case_column="FILENAME")


def test_splits_by_slides(store: Store, tmp_path: Path) -> None:
    """A table of splits may name slides; a case that would be torn apart is refused by name."""
    give(store, "slide,case,stain,label\nS1,A,he,x\nS2,A,sox10,x\nS3,B,he,y\n")
    path = tmp_path / "split_1.csv"
    path.write_text("case_id,subset\nS1,train\nS2,train\nS3,test\n")
    ingest_splits(store, [path], split_set="own")
    splits = read_cohort(store).table("splits").to_pylist()
    assert [(row["case_id"], row["subset"]) for row in splits] == [("A", "train"), ("B", "test")]
    path.write_text("case_id,subset\nS1,train\nS2,test\nS3,test\n")
    with pytest.raises(DataError, match=r"tears case A .*S1 in train; S2 in test"):
        ingest_splits(store, [path], split_set="torn")


def test_info_counts_slides(store: Store) -> None:
    """The overview says how many slides there are, and names those without a patch."""
    give(store, TABLE)
    assert dict(summary(store))["slides"] == "3 (without patches 3: A_he, A_sox, B_he)"


def test_ids_of_columns_of_a_table() -> None:
    """`--columns` must name what a table of slides says."""
    assert parse_columns("patient=case_id,um=mpp") == {"case_id": "patient", "mpp": "um"}
    with pytest.raises(UsageError, match="--columns has 'um=size'"):
        parse_columns("um=size")


def test_images_of_a_slide_s_patches(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images whose names begin with a slide's id, or lie in its folder, are its patches: by QuPath's brackets, by x and y, or
    by a number; their places count pixels of level 0. Two bare numbers are not guessed at."""
    give(store, "slide,case,stain\nS1,A,he\nS2,B,he\n")
    folder = make_images(
        tmp_path / "tiles", ("S1 [d=2,x=0,y=512,w=256,h=256]", "S1 [d=2,x=256,y=0,w=256,h=256]", "S1_3_4")
    )
    make_images(folder / "S2", ("x10_y20", "x0_y20"))
    assert milstore(store, "ingest", "patches", folder) == 0
    said = capsys.readouterr().err
    assert "4 patches of 2 cases in 2 slices, 4 of them new" in said
    assert "S1_3_4.png: its two numbers may be pixels or columns and rows of a grid" in said
    names = ("case_id", "patch_idx", "x", "y", "width", "unit", "file")
    found = read_cohort(store).table("patches").to_pylist()
    assert [tuple(row[name] for name in names) for row in found] == [
        ("A", 0, 256, 0, 256, "level0", "S1 [d=2,x=256,y=0,w=256,h=256].png"),
        ("A", 1, 0, 512, 256, "level0", "S1 [d=2,x=0,y=512,w=256,h=256].png"),
        ("B", 0, 0, 20, None, "level0", "S2/x0_y20.png"),
        ("B", 1, 10, 20, None, "level0", "S2/x10_y20.png"),
    ]
    assert [row["slide_id"] for row in read_cohort(store).table("slices").to_pylist()] == ["S1", "S2"]
    assert milstore(store, "ingest", "patches", folder) == 0
    assert "nothing changed" in capsys.readouterr().err


def test_further_columns_are_kept_of_cases(store: Store) -> None:
    """`keep` keeps columns as attributes of the cases; slides of one case that disagree are refused, with all kept out."""
    table = "slide,case,stain,site,batch\nS1,A,he,Leeds,one\nS2,A,he,Leeds,two\nS3,B,he,,one\n"
    before = contents(store)
    with pytest.raises(DataError, match="says of case A in batch both 'one' and 'two'"):
        give(store, table, keep=["site", "batch"])
    assert contents(store) == before
    report = give(store, table, keep=["site"])
    assert report.not_understood == ("batch",)
    assert read_cohort(store).table("case_attributes").to_pylist() == [
        {"case_id": "A", "name": "site", "value": "Leeds"}
    ]
