"""Labels from CSV files."""

from pathlib import Path

import pytest

from milstore.errors import ConflictError, DataError, UsageError
from milstore.formats.csv_table import read_csv, separator_of
from milstore.ingest.label_map import parse_map
from milstore.ingest.labels import LabelsReport, ingest_labels
from milstore.store import Store
from milstore.store.cohort import read_cohort
from tests.ingesting import make_images, make_labels, new_store

MAP = {"1": "benign", "3": "high-grade", "4": "high-grade"}


def ingest(store: Store, file: Path, label_map: dict[str, str] | None = MAP, *, replace: bool = False) -> LabelsReport:
    return ingest_labels(store, file, case_column="Case", label_column="Class", label_map=label_map, replace=replace)


def cases(store: Store) -> list[tuple[str, int | None, str | None, str | None]]:
    rows = sorted(read_cohort(store).table("cases").to_pylist(), key=lambda row: row["case_order"])
    return [(row["case_id"], row["label"], row["class_name"], row["source_label"]) for row in rows]


def classes(store: Store) -> list[tuple[int, str]]:
    return [(row["label"], row["class_name"]) for row in read_cohort(store).table("classes").to_pylist()]


def test_classes_are_numbered_in_the_order_of_the_map(tmp_path: Path) -> None:
    """Benign is 0 because the map names it first, and each case keeps the label of its file beside its class."""
    store = new_store(tmp_path)
    report = ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n010,4\n2,1\n9,3\n5,2\n6,0\n7,2\n"))
    assert classes(store) == [(0, "benign"), (1, "high-grade")]
    assert cases(store) == [("2", 0, "benign", "1"), ("9", 1, "high-grade", "3"), ("10", 1, "high-grade", "4")]
    assert report == LabelsReport(
        changed=True,
        file=str(tmp_path / "l.csv"),
        cases={"benign": 1, "high-grade": 2},
        new_cases=3,
        corrected=(),
        left_out={"0": ("6",), "2": ("5", "7")},
    )


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    """The same file again leaves the cohort as it is, and says so."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv")
    ingest(store, file, {"1": "benign", "3": "high-grade"})
    fingerprint = read_cohort(store).fingerprint
    report = ingest(store, file, {"1": "benign", "3": "high-grade"})
    assert (report.changed, report.lines()[-1]) == (False, "nothing changed")
    assert read_cohort(store).fingerprint == fingerprint


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_common_kind_of_csv_is_read(tmp_path: Path, separator: str, line_end: str, mark: str) -> None:
    """Commas, semicolons and tabs, any end of line, with a byte order mark or without, quoted or not."""
    lines = [("Case", "Note", "Class"), ("052", '"a,b;c\t"', "1"), (" 7 ", '""', " 3 "), ("", "", "")]
    text = mark + line_end.join(separator.join(line) for line in lines) + line_end
    (tmp_path / "l.csv").write_bytes(text.encode())
    store = new_store(tmp_path)
    ingest(store, tmp_path / "l.csv", {"1": "benign", "3": "high-grade"})
    assert cases(store) == [("7", 1, "high-grade", "3"), ("52", 0, "benign", "1")]


def test_the_separator_is_the_one_that_gives_the_columns() -> None:
    """A header that holds several separators is read by the one under which the wanted columns are there."""
    assert separator_of("Case (a,b,c);Class", ["Class"]) == ";"
    assert separator_of("Case") == ","


def test_without_a_map_each_label_is_a_class(tmp_path: Path) -> None:
    """Labels are then numbered in natural order."""
    store = new_store(tmp_path)
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,grade 10\n2,grade 2\n"), None)
    assert classes(store) == [(0, "grade 2"), (1, "grade 10")]
    assert cases(store) == [("1", 1, "grade 10", "grade 10"), ("2", 0, "grade 2", "grade 2")]


def test_a_correction_needs_to_be_asked_for(tmp_path: Path) -> None:
    """A class that contradicts the store is refused, and taken with `replace`."""
    store = new_store(tmp_path)
    ingest(store, make_labels(tmp_path / "l.csv", "Case,Class\n1,1\n2,3\n"), {"1": "benign", "3": "high-grade"})
    file = make_labels(tmp_path / "m.csv", "Case,Class\n1,3\n")
    with pytest.raises(ConflictError, match=r"such as case 1 .benign there, high-grade here.: use --replace"):
        ingest(store, file, {"3": "high-grade"})
    report = ingest(store, file, {"3": "high-grade"}, replace=True)
    assert report.corrected == ("1",)
    assert cases(store) == [("1", 1, "high-grade", "3"), ("2", 1, "high-grade", "3")]
    assert classes(store) == [(0, "benign"), (1, "high-grade")]


def test_classes_keep_their_numbers(tmp_path: Path) -> None:
    """A map in another order would turn every number round: refused; a new class comes after those known."""
    store = new_store(tmp_path)
    file = make_labels(tmp_path / "l.csv", "Case,Class\n1,1\n2,3\n3,9\n")
    ingest(store, file, {"1": "benign", "3": "high-grade"})
    with pytest.raises(ConflictError, match="the store numbers its classes benign, high-grade"):
        ingest(store, file, {"3": "high-grade", "1": "benign"})
    ingest(store, file, {"1": "benign", "9": "unsure", "3": "high-grade"})
    assert classes(store) == [(0, "benign"), (1, "high-grade"), (2, "unsure")]
    ingest(store, file, {"3": "high-grade", "1": "benign"}, replace=True)
    assert classes(store) == [(0, "high-grade"), (1, "benign"), (2, "unsure")]
    assert [row[:3] for row in cases(store)] == [("1", 1, "benign"), ("2", 0, "high-grade"), ("3", 2, "unsure")]


def test_labels_and_patches_come_in_any_order(tmp_path: Path) -> None:
    """A case that patches made gets its label, and one that labels made keeps it."""
    from milstore.ingest.patches import ingest_patches

    stores = [new_store(tmp_path / name) for name in ("a", "b")]
    images = make_images(tmp_path / "images")
    file = make_labels(tmp_path / "l.csv", "Case,Class\n52,1\n8,3\n")
    ingest_patches(stores[0], images)
    ingest(stores[0], file, {"1": "benign", "3": "high-grade"})
    ingest(stores[1], file, {"1": "benign", "3": "high-grade"})
    ingest_patches(stores[1], images)
    assert cases(stores[0]) == cases(stores[1])
    assert [row[:2] for row in cases(stores[0])] == [("7", None), ("8", 1), ("52", 0)]


STRANGE = ["a'b\"c", "line\nbreak", "[/red]x", "../../etc", "\U0001f600", "x" * 300, "</script>", "%s{0}"]


def test_strange_case_ids_are_kept_as_they_are(tmp_path: Path) -> None:
    """Quotes, line breaks, markup, paths, emoji and 300 characters travel unharmed."""
    import csv

    with (tmp_path / "l.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("Case", "Class"), *((name, "1") for name in STRANGE)])
    store = new_store(tmp_path)
    ingest(store, tmp_path / "l.csv", {"1": "benign"})
    assert {row[0] for row in cases(store)} == set(STRANGE)


@pytest.mark.parametrize("text", ["1", "1=", "=benign", "1=benign,", "1=benign,1=high-grade", ""])
def test_a_map_that_cannot_be_read_is_refused(text: str) -> None:
    """A map is label=class, separated by commas, each label once."""
    with pytest.raises(UsageError, match="--map"):
        parse_map(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty: a label file needs a header line"),
        (b"\n\n", "is empty: a label file needs a header line"),
        (b"Case,Class\n1\n", "line 2, has 1 values, and the header 2: correct the line"),
        (b"Case,Class,Case\n1,1,1\n", "has the column Case more than once: rename it"),
        (b"Case,Class\n1,\xe9\n", "is not UTF-8 (line 2; Latin-1 or Windows-1252?): save it as CSV in UTF-8"),
        ("Case,Class\n1,1\n".encode("utf-16"), "is not a text in UTF-8 (UTF-16, or no text at all)"),
        (b"PK\x03\x04\0\0", "is not a text in UTF-8"),
        (b'Case,Class\n"1,1\n', "line 2, is not CSV (unexpected end of data): correct the line"),
        (b"Case,Class\n" + b"1" * 10_000_000 + b",1\n", "is not CSV (field larger than field limit (131072))"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    """A damaged or foreign file gets one line that says what is wrong."""
    (tmp_path / "l.csv").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_csv(tmp_path / "l.csv", "a label file", ["Case"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
