"""Which patch a row of a run's table is about: by number, by position, by file, by coordinates."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest.features import ingest_features
from milstore.ingest.labels import ingest_labels
from milstore.ingest.patch_placing import Reading
from milstore.ingest.patches import ingest_patches
from milstore.ingest.run_attention import read_attention
from milstore.ingest.runs import RunReport, ingest_run
from milstore.store import Store, create_store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.names import natural_key
from milstore.store.run_check import check_run
from milstore.store.run_reader import read_run, run_ids
from tests.crossing import WHOLE
from tests.ingesting import contents, make_vectors, milstore, new_store
from tests.making import MadeOnce, levels, make_run, make_splits

SLICES = {"match_1": (2, 11, 100), "match_3": (5,), "match_14": (1, 10)}
"""Case 7 in h&e: the patches of its slices. By number and naturally these are slices 0, 1, 2; as text 0, 2, 1."""
NAMES = tuple(f"case_7_{name}_he_patch{patch}" for name, patches in SLICES.items() for patch in patches)
Row = tuple[int, int, float, float]
"""slice_idx, patch_idx, slice_attention, patch_attention"""
TEXT_SLICES: list[Row] = [
    *((0, i, 0.5, w) for i, w in enumerate((0.5, 0.3, 0.2))),
    *((1, i, 0.3, w) for i, w in enumerate((0.75, 0.25))),
    (2, 0, 0.2, 1.0),
]
NATURAL_SLICES: list[Row] = [({0: 0, 1: 2, 2: 1}[s], *rest) for s, *rest in TEXT_SLICES]  # type: ignore[misc]
PREDICTIONS = "case_id,p_0,p_1\n7,0.25,0.75\n"


def images(folder: Path, names: Sequence[str]) -> Path:
    """Files of these names without a picture, which is enough for --names-only."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.png").touch()
    return folder


@MadeOnce
def case_seven(folder: Path) -> Store:
    """Case 7 and its six patches, known by their files' names."""
    store = create_store(folder)
    ingest_patches(store, images(folder.parent / "images", NAMES), names_only=True)
    return labelled(store, folder.parent)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return case_seven(tmp_path / "store")


def labelled(store: Store, folder: Path) -> Store:
    (folder / "labels.csv").write_text("case_id,label\n7,3\n8,1\n")
    label_map = {"1": "benign", "3": "high-grade"}
    ingest_labels(store, folder / "labels.csv", case_column="case_id", label_column="label", label_map=label_map)
    make_splits(store, "s", [{"test": ["7"], "train": ["8"]}])
    return store


def attention_table(rows: Sequence[Row], **columns: Sequence[Any]) -> pa.Table:
    """A table of case 7 in h&e."""
    own: dict[str, Any] = dict(
        zip(("slice_idx", "patch_idx", "slice_attention", "patch_attention"), zip(*rows, strict=True), strict=True)
    )
    fixed = {"case_id": ["007"] * len(rows), "stain": ["he"] * len(rows), "stain_attention": [1.0] * len(rows)}
    return pa.table({**fixed, **{name: list(values) for name, values in own.items()}, **columns})


def take(store: Store, folder: Path, table: pa.Table, predictions: str = PREDICTIONS, **options: Any) -> RunReport:
    (folder / "p.csv").write_text(predictions)
    pacsv.write_csv(table, folder / "a.csv")
    return ingest_run(store, folder / "p.csv", folder / "a.csv", experiment="theirs", split=1, **options)


def weights(store: Store, run_id: str) -> dict[str, float]:
    """Effective attention of each patch by its slice and the number in its name."""
    keys = ["case_id", "stain", "slice_idx"]
    found = pq.read_table(store.run_folder(run_id) / "attention.parquet", partitioning=None)
    found = found.select([*keys, "patch_idx", "effective_attention"])
    found = found.cast(
        pa.schema([pa.field(f.name, pa.string() if f.name in keys[:2] else f.type) for f in found.schema])
    )
    rows = found.join(read_cohort(store).table("slices").select([*keys, "slice_name"]), keys).to_pylist()
    return {f"{row['slice_name']} {row['patch_idx']}": round(row["effective_attention"], 6) for row in rows}


BY_TEXT = {"match_14 1": 0.225, "match_14 10": 0.075, "match_3 5": 0.2}
TEXT_PATCHES = {"match_1 100": 0.25, "match_1 11": 0.15, "match_1 2": 0.1, **BY_TEXT}
NATURAL_PATCHES = {"match_1 2": 0.25, "match_1 11": 0.15, "match_1 100": 0.1, **BY_TEXT}


@pytest.mark.parametrize(
    ("slices_by", "rows"),
    [("text-position", TEXT_SLICES), ("natural-position", NATURAL_SLICES), ("number", NATURAL_SLICES)],
)
@pytest.mark.parametrize(
    ("patches_by", "expected"), [("text-position", TEXT_PATCHES), ("natural-position", NATURAL_PATCHES)]
)
def test_a_position_is_read_as_it_is_said(
    store: Store, tmp_path: Path, slices_by: str, rows: list[Row], patches_by: str, expected: dict[str, float]
) -> None:
    """As text match_14 comes before match_3 and patch100 before patch2, naturally the other way; a number is neither."""
    report = take(store, tmp_path, attention_table(rows), slices_by=slices_by, patches_by=patches_by)
    assert weights(store, report.run_id) == expected
    assert list(check_run(store, report.run_id)) == []


def test_what_was_understood_is_said_and_stored(store: Store, tmp_path: Path) -> None:
    """The run keeps how its indices were read; the same files read otherwise are a contradiction, not news."""
    options = {"slices_by": "text-position", "patches_by": "text-position"}
    report = take(store, tmp_path, attention_table(TEXT_SLICES), **options)
    assert report.lines() == [
        f"run {report.run_id}: predictions of 1 case, attention of 6 patches",
        "slices: slice_idx is the text-position",
        "patches: patch_idx is the text-position",
        "positions count every patch of the store",
    ]
    assert json.loads(read_run(store, report.run_id)["config"])["read"] == {
        "patches": "text-position",
        "slices": "text-position",
        "counted": "every patch of the store",
    }
    before = contents(store)
    assert take(store, tmp_path, attention_table(TEXT_SLICES), **options).lines()[-1] == "nothing changed"
    with pytest.raises(ConflictError, match=r"read otherwise \(patches by text-position, slices by text-position\)"):
        take(store, tmp_path, attention_table(TEXT_SLICES), **{**options, "patches_by": "natural-position"})
    assert contents(store) == before


def test_a_run_of_an_older_version_was_read_by_number(tmp_path: Path) -> None:
    """A run that does not say how it was read was read by number: its files by number are it, by position are not."""
    new, old = (new_store(tmp_path / name) for name in ("new", "old"))
    names = [f"case_7_match_1_he_patch{i}" for i in range(3)]
    for store in (new, old):
        ingest_patches(store, images(tmp_path / "i", names), names_only=True)
        labelled(store, tmp_path)
    rows: list[Row] = [(0, i, 1.0, w) for i, w in enumerate((0.5, 0.3, 0.2))]
    facts = read_run(new, take(new, tmp_path, attention_table(rows), patches_by="number").run_id)
    config = json.loads(facts["config"])
    assert config.pop("read") == {"patches": "number", "slices": "number"}
    make_run(
        old, "theirs-s1-0-old", {"7": "test"}, {"7": 1}, {"7": (0.25, 0.75)},
        levels({("7", "h&e", 0, patch): share for _, patch, _, share in rows}),
        experiment="theirs", split_set="s", config_hash=facts["config_hash"], config=json.dumps(config),
    )  # fmt: skip
    again = take(old, tmp_path, attention_table(rows), patches_by="number")
    assert (again.changed, again.run_id) == (False, "theirs-s1-0-old")
    with pytest.raises(ConflictError, match=r"are run theirs-s1-0-old already, read otherwise \(patches by number\)"):
        take(old, tmp_path, attention_table(rows), patches_by="natural-position")


def test_an_index_is_not_guessed(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What may be a number or a position is refused with what each reading of one place would mean, exit code 2."""
    (tmp_path / "p.csv").write_text(PREDICTIONS)
    pacsv.write_csv(attention_table(TEXT_SLICES), tmp_path / "a.csv")
    before = contents(store)
    words = (
        "ingest",
        "run",
        tmp_path / "p.csv",
        "--attention",
        tmp_path / "a.csv",
        "--experiment",
        "e",
        "--split",
        "1",
    )
    assert milstore(store, *words) == 2
    shuffled = "After a shuffle none of these is right: then only a table that names its files can be taken in"
    may_be = "that may be numbers of the store or positions, and that one fits proves nothing: say which by"
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'a.csv'} has slice_idx {may_be} --slices-by number|text-position|natural-position. "
        "In case 7, h&e, slice_idx 0, 1, 2 would be by number: match_1, match_3, match_14; "
        f"by text-position: match_1, match_14, match_3; by natural-position: match_1, match_3, match_14. {shuffled}\n"
    )
    assert milstore(store, *words, "--slices-by", "text-position") == 2
    named = {i: f"case_7_match_1_he_patch{i}.png" for i in (2, 11, 100)}
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'a.csv'} has patch_idx {may_be} --patches-by number|text-position|natural-position. "
        f"In case 7, h&e, match_1, patch_idx 0, 1, 2 would be by number: none, none, {named[2]}; by text-position: "
        f"{named[100]}, {named[11]}, {named[2]}; by natural-position: {named[2]}, {named[11]}, {named[100]}. {shuffled}\n"
    )
    assert milstore(store, *words, "--slices-by", "place") == 2
    assert capsys.readouterr().err == (
        "error: --slices-by 'place' is not one of number, text-position, natural-position\n"
    )
    assert contents(store) == before


def test_a_table_that_fits_by_every_reading_is_not_taken(tmp_path: Path) -> None:
    """Patches 0, 1, 2 fit by number and by position, and after a shuffle too: fitting proves nothing."""
    store = new_store(tmp_path)
    ingest_patches(store, images(tmp_path / "i", [f"case_7_match_1_he_patch{i}" for i in range(3)]), names_only=True)
    labelled(store, tmp_path)
    rows: list[Row] = [(0, i, 1.0, w) for i, w in enumerate((0.5, 0.3, 0.2))]
    with pytest.raises(UsageError, match="has patch_idx that may be numbers"):
        take(store, tmp_path, attention_table(rows))
    report = take(store, tmp_path, attention_table(rows), patches_by="number")
    assert weights(store, report.run_id) == {"match_1 0": 0.5, "match_1 1": 0.3, "match_1 2": 0.2}


def test_numbers_that_can_be_nothing_else_need_no_option(store: Store, tmp_path: Path) -> None:
    """Where an index lies beyond the count of its slice and every one exists, the column holds numbers."""
    number = {0: (2, 11, 100), 1: (1, 10), 2: (5,)}
    rows: list[Row] = [(s, number[s][p], *rest) for s, p, *rest in TEXT_SLICES]  # type: ignore[misc]
    names = [{0: "match_1", 1: "match_14", 2: "match_3"}[s] for s, *_ in rows]
    report = take(store, tmp_path, attention_table(rows, slice_name=names).drop_columns(["slice_idx"]))
    assert weights(store, report.run_id) == NATURAL_PATCHES
    assert report.understood == (
        "slices: by their names",
        "patches: patch_idx is the store's number (some are larger than any position among the patches)",
    )
    rows[0] = (0, 3, 0.5, 0.5)
    with pytest.raises(UsageError, match="has patch_idx that may be numbers"):
        take(store, tmp_path, attention_table(rows), slices_by="text-position")
    with pytest.raises(
        DataError, match="1 rows whose patch is not in the store, such as case 7, h&e, slice 0, patch 3"
    ):
        take(store, tmp_path, attention_table(rows), slices_by="text-position", patches_by="number")


def test_patches_without_file_names_have_numbers_only(tmp_path: Path) -> None:
    """Instances of a table of features have no names to sort: their index is a number, and a text position means nothing."""
    store = new_store(tmp_path)
    names = tuple(f"case_7_match_1_he_patch{i}" for i in (2, 0, 1))
    ingest_features(store, make_vectors(tmp_path / "v", names), encoder="e", create_patches=True)
    labelled(store, tmp_path)
    rows: list[Row] = [(0, i, 1.0, w) for i, w in enumerate((0.5, 0.3, 0.2))]
    report = take(store, tmp_path, attention_table(rows))
    assert weights(store, report.run_id) == {"match_1 0": 0.5, "match_1 1": 0.3, "match_1 2": 0.2}
    assert report.understood == (
        "slices: slice_idx is the store's number (there is only one slice each)",
        "patches: patch_idx is the store's number (the patches have no file names)",
    )
    with pytest.raises(UsageError, match="text-position sorts file names, and the store knows none of 3 patches"):
        take(store, tmp_path, attention_table(rows), patches_by="text-position")
    pq.write_table(attention_table(rows), tmp_path / "a.parquet")
    read = Reading(patches_by="natural-position")
    found, _ = read_attention(tmp_path / "a.parquet", read_cohort(store), store.settings, reading=read)
    assert found["patch_idx"].to_pylist() == [0, 1, 2]


def test_positions_count_what_the_encoder_covers(store: Store, tmp_path: Path) -> None:
    """A patch without a vector shifts those after it, and a slice without one is no slice of the table."""
    lost = ("case_7_match_1_he_patch11", "case_7_match_14_he_patch1", "case_7_match_14_he_patch10")
    made = make_vectors(tmp_path / "v", tuple(name for name in NAMES if name not in lost))
    ingest_features(store, made, encoder="e")
    rows: list[Row] = [(0, 0, 0.6, 0.75), (0, 1, 0.6, 0.25), (1, 0, 0.4, 1.0)]
    options = {"slices_by": "text-position", "patches_by": "text-position"}
    before = contents(store)
    with pytest.raises(DataError, match="has 2 slices of case 7, h&e, and there are 3 in the store: positions can be"):
        take(store, tmp_path, attention_table(rows), **options)
    more: list[Row] = [(0, 0, 0.6, 0.75), (0, 1, 0.6, 0.25), (1, 0, 0.2, 0.5), (1, 1, 0.2, 0.5), (2, 0, 0.2, 1.0)]
    with pytest.raises(
        DataError, match="has 2 patches of case 7, h&e, match_1, and there are 3 in the store: positions"
    ):
        take(store, tmp_path, attention_table(more), **options)
    assert contents(store) == before
    report = take(store, tmp_path, attention_table(rows), **options, encoder="e")
    assert weights(store, report.run_id) == {"match_1 100": 0.45, "match_1 2": 0.15, "match_3 5": 0.4}
    assert report.understood[-1] == "positions count patches with features of e"


@pytest.mark.parametrize("where", ["slices", "patches"])
def test_positions_begin_at_0(store: Store, tmp_path: Path, where: str) -> None:
    """Positions from 1 agree in their count, and would be off by one."""
    shift = (1, 0) if where == "slices" else (0, 1)
    rows: list[Row] = [(s + shift[0], p + shift[1], *rest) for s, p, *rest in TEXT_SLICES]  # type: ignore[misc]
    message = {
        "slices": "has slice_idx 3 in case 7, h&e, where positions go from 0 to 2",
        "patches": "has patch_idx 3 in case 7, h&e, match_1, where positions go from 0 to 2",
    }[where]
    with pytest.raises(DataError, match=message):
        take(store, tmp_path, attention_table(rows), slices_by="text-position", patches_by="text-position")


FILES = ("match_1 100", "match_1 11", "match_1 2", "match_14 1", "match_14 10", "match_3 5")
"""What the rows of TEXT_SLICES are about, if both indices are positions of texts."""


def file_of(words: str) -> str:
    name, patch = words.split()
    return f"case_7_{name}_he_patch{patch}"


@pytest.mark.parametrize(
    ("column", "spelled"),
    [
        ("file", lambda words: f"./{file_of(words)}"),
        ("patch_path", lambda words: f"/scratch/patches/{file_of(words)}.png"),
        ("patch", lambda words: f"C:\\patches\\{file_of(words)}.pt"),
        ("file", lambda words: file_of(words).replace("case_7", "case_007").replace("_he_", "_h&e_") + ".png"),
    ],
)
def test_a_files_name_needs_no_option(store: Store, tmp_path: Path, column: str, spelled: Callable[[str], str]) -> None:
    """The patch is that of the file, whatever the indices beside it say; the name is also found as it is elsewhere spelled."""
    table = attention_table(TEXT_SLICES, **{column: [spelled(words) for words in FILES]})
    report = take(store, tmp_path, table.drop_columns(["stain"]))
    assert weights(store, report.run_id) == TEXT_PATCHES
    assert report.understood == (f"patches: by their files' names (column {column}); slice_idx and patch_idx not used",)
    with pytest.raises(UsageError, match=f"names its patches in the column {column}: leave --patches-by and"):
        take(store, tmp_path, table, patches_by="number")


def test_a_files_name_must_be_of_its_row(store: Store, tmp_path: Path) -> None:
    """A file that is no patch, or of another slice than the row says, is refused by name."""
    files = [file_of(words) for words in FILES]
    table = attention_table(TEXT_SLICES, file=[*files[:5], "case_7_match_3_he_patch6.png"])
    with pytest.raises(DataError, match=r"'case_7_match_3_he_patch6.png' in column file, which is no patch of these"):
        take(store, tmp_path, table)
    table = attention_table(TEXT_SLICES, file=files, slice_name=["match_1"] * 4 + ["match_14", "match_3"])
    with pytest.raises(
        DataError, match=r"case_7_match_14_he_patch1 in file with slice_name match_1, and it is of match_14"
    ):
        take(store, tmp_path, table)
    with pytest.raises(DataError, match="more than once"):
        take(store, tmp_path, attention_table(TEXT_SLICES, file=[*files[:2], files[1], *files[3:]]))


def test_a_column_of_numbers_is_no_files_name(store: Store, tmp_path: Path) -> None:
    """A column `patch` with numbers names no file."""
    table = attention_table(TEXT_SLICES, patch=[9] * 6)
    report = take(store, tmp_path, table, slices_by="text-position", patches_by="text-position")
    assert weights(store, report.run_id) == TEXT_PATCHES


def with_places(store: Store, places: Mapping[str, tuple[int, int]]) -> None:
    """Give the store's patches coordinates, by the name of their file."""
    with edit_cohort(store) as edit:
        table = edit.table("patches")
        found = [places[file.removesuffix(".png")] for file in table["file"].to_pylist()]
        for i, name in enumerate(("x", "y")):
            column = pa.array([place[i] for place in found], pa.int32())
            table = table.set_column(table.column_names.index(name), name, column)
        edit.replace("patches", table)


def test_coordinates_need_no_option(store: Store, tmp_path: Path) -> None:
    """x and y name a patch within its slice, and without a slice where only one patch of case and stain lies there."""
    with_places(store, {name: (i * 64, 128) for i, name in enumerate(NAMES)})
    place = {name: float(i * 64) for i, name in enumerate(NAMES)}
    table = attention_table(TEXT_SLICES, x=[place[file_of(words)] for words in FILES], y=[128] * 6)
    report = take(store, tmp_path, table)
    assert weights(store, report.run_id) == TEXT_PATCHES
    assert report.understood == (
        "patches: by their coordinates (x, y) within case and stain; slice_idx and patch_idx not used",
    )


def test_coordinates_of_several_patches_need_the_slice(store: Store, tmp_path: Path) -> None:
    """Slices that begin at the same corner are told apart by name, or by an index that --slices-by explains."""
    corner = {name: (i * 64, 0) for part in SLICES for i, name in enumerate(n for n in NAMES if f"_{part}_" in n)}
    with_places(store, corner)
    x = [corner[file_of(words)][0] for words in FILES]
    table = attention_table(TEXT_SLICES, x=x, y=[0] * 6)
    with pytest.raises(
        DataError, match="5 rows whose coordinates are those of several patches, such as case 7, h&e, x "
    ):
        take(store, tmp_path, table)
    report = take(store, tmp_path, table, slices_by="text-position")
    assert weights(store, report.run_id) == TEXT_PATCHES
    names = attention_table(TEXT_SLICES, x=x, y=[0] * 6, slice_name=[words.split()[0] for words in FILES])
    report = take(store, tmp_path, names.drop_columns(["slice_idx", "patch_idx"]))
    assert weights(store, report.run_id) == TEXT_PATCHES
    with pytest.raises(DataError, match="whose coordinates are those of no patch, such as case 7, h&e, x"):
        take(store, tmp_path, attention_table(TEXT_SLICES, x=x, y=[7] * 6), slices_by="text-position")


def test_a_table_of_the_top_patches_says_so(store: Store, tmp_path: Path) -> None:
    """What holds only some patches of a slice does not sum to 1: the message says how many are there."""
    table = attention_table(TEXT_SLICES, file=[file_of(words) for words in FILES]).slice(1)
    with pytest.raises(DataError) as caught:
        take(store, tmp_path, table)
    assert str(caught.value) == (
        f"{tmp_path / 'a.csv'}: patch_attention sums to 0.500000 over case 7, h&e, match_1, not to 1, and 2 of its 3 "
        "patches are there: give attention of every patch that the model saw, or say by --top-pct of which share of each "
        "case's patches, from the top, this is"
    )
    assert run_ids(store) == []


def test_the_trainers_own_names_of_columns_are_known(store: Store, tmp_path: Path) -> None:
    """slice_attn_weight is of the slices of a stain, stain_attn_weight of the stains of a case, as the words say."""
    names = {f"{level}_attention": f"{level}_attn_weight" for level in ("stain", "slice", "patch")}
    table = attention_table(TEXT_SLICES)
    table = table.rename_columns([names.get(name, name) for name in table.column_names])
    report = take(store, tmp_path, table, slices_by="text-position", patches_by="text-position")
    found = pq.read_table(store.run_folder(report.run_id) / "attention.parquet", partitioning=None)
    levels = found.select(["patch_attention", "slice_attention", "stain_attention"]).slice(0, 1).to_pylist()[0]
    assert {name: round(value, 6) for name, value in levels.items()} == {
        "patch_attention": 0.5,
        "slice_attention": 0.5,
        "stain_attention": 1.0,
    }


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ("case_id,true_label,predicted_label,prob_benign,prob_high_grade\n7,1,1,0.25,0.75\n", (1, 1, 0.75)),
        ("case_id,true_label,predicted_label,prob_high_grade,prob_benign\n7,0,1,0.25,0.75\n", (1, 0, 0.25)),
        ("case_id,true_label,predicted_label,correct,prob_class0,prob_class1\n7,1,1,True,0.25,0.75\n", (1, 1, 0.75)),
    ],
)
def test_probabilities_may_be_called_by_their_class(
    store: Store, tmp_path: Path, predictions: str, expected: tuple[int, int, float]
) -> None:
    """A class is found by its name, and the numbers of a file with named classes are in the order of its columns."""
    options = {"slices_by": "text-position", "patches_by": "text-position"}
    report = take(store, tmp_path, attention_table(TEXT_SLICES), predictions, **options)
    said = pq.read_table(store.run_folder(report.run_id) / "predictions.parquet", partitioning=None).to_pylist()
    assert [(row["true_label"], row["pred_label"], row["p_true"]) for row in said] == [expected]


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ("case_id,predicted_label,p_0,p_1\n7,0,0.25,0.75\n", "a predicted_label for case 7 that is not its likeliest"),
        (
            "case_id,prob_benign,prob_malign\n7,0.25,0.75\n",
            "it needs p_0, p_1, … for every class, or prob_ and each of",
        ),
    ],
)
def test_probabilities_of_other_classes_are_refused(
    store: Store, tmp_path: Path, predictions: str, message: str
) -> None:
    """A predicted label that is not the likeliest class says that the columns are in another order."""
    with pytest.raises(DataError, match=message):
        take(store, tmp_path, attention_table(TEXT_SLICES), predictions, slices_by="number", patches_by="number")


patches = st.dictionaries(
    st.integers(0, 120), st.sets(st.integers(0, 1200), min_size=1, max_size=6), min_size=1, max_size=5
)


@given(slices=patches, natural=st.booleans(), natural_slices=st.booleans())
@settings(max_examples=25 if WHOLE else 8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_lands_on_its_patch(
    tmp_path_factory: pytest.TempPathFactory, slices: dict[int, set[int]], natural: bool, natural_slices: bool
) -> None:
    """Whatever the slices and patches are called, a table that counts by sorted names comes back as those names.

    `make torture` draws more of them.
    """
    folder = tmp_path_factory.mktemp("any")
    store = new_store(folder)
    names = {f"match_{s}": [f"case_7_match_{s}_he_patch{p}" for p in members] for s, members in slices.items()}
    ingest_patches(store, images(folder / "i", [name for each in names.values() for name in each]), names_only=True)
    rows, expected = [], []
    for s, slice_name in enumerate(sorted(names, key=natural_key if natural_slices else str)):
        members = sorted(names[slice_name], key=natural_key if natural else str)
        rows += [(s, p, 1 / len(names), 1 / len(members)) for p in range(len(members))]
        expected += [(slice_name, int(name.rpartition("patch")[2])) for name in members]
    pq.write_table(attention_table(rows), folder / "a.parquet")
    by = {False: "text-position", True: "natural-position"}
    reading = Reading(patches_by=by[natural], slices_by=by[natural_slices])
    cohort = read_cohort(store)
    found, _ = read_attention(folder / "a.parquet", cohort, store.settings, reading=reading)
    name_of = dict(zip(*(cohort.table("slices")[c].to_pylist() for c in ("slice_idx", "slice_name")), strict=True))
    places = zip(found["slice_idx"].to_pylist(), found["patch_idx"].to_pylist(), strict=True)
    assert [(name_of[s], p) for s, p in places] == expected


@pytest.fixture
def study(tmp_path: Path, shared_data: Path) -> Store:
    return of_the_study(tmp_path / "store", folder=shared_data / "study-runs")


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Store:
    """The same, for what may not change it."""
    return of_the_study(tmp_path_factory.mktemp("study") / "store", folder=shared_data / "study-runs")


@MadeOnce
def of_the_study(root: Path, *, folder: Path) -> Store:
    """The twelve drawn cases of the study's trainers: 240 patches by their names, 238 of them with a vector."""
    store = create_store(root)
    with (folder / "patches.csv").open() as lines:
        names = [row["file"] for row in csv.DictReader(lines)]
    options = ("--case-column", "Case", "--label-column", "Class", "--map", "1=benign,3=high-grade,4=high-grade")
    assert milstore(store, "ingest", "labels", folder / "labels.csv", *options) == 0
    assert milstore(store, "ingest", "patches", images(root.parent / "patches", names), "--names-only") == 0
    assert milstore(store, "ingest", "features", folder / "features_winter", "--encoder", "winter") == 0
    splits = folder / "splits" / "data_splits_new_01.npz"
    assert milstore(store, "ingest", "splits", splits, "--split-set", "study") == 0
    return store


@pytest.mark.shared
def test_a_whole_table_of_the_study_goes_in(study: Store, shared_data: Path) -> None:
    """Each of the 153 rows lies on the patch that the checkpoint looked at, and the predictions are its own."""
    folder = shared_data / "study-runs" / "winter_whole"
    (run,) = folder.glob("*_MIL_split_1")
    tables = (run / "predictions.csv", "--attention", run / "attention_analysis" / "weights_df.csv")
    words = ("ingest", "run", *tables, "--experiment", "winter", "--split", "1", "--encoder", "winter")
    by_text = ("--patches-by", "text-position", "--slices-by", "text-position")
    assert milstore(study, *words) == 2
    assert milstore(study, *words, "--slices-by", "text-position") == 2
    assert milstore(study, *words, "--patches-by", "text-position", "--slices-by", "natural-position") == 2
    assert milstore(study, *words[:-2], *by_text) == 2  # two patches have no vector
    assert milstore(study, *words, *by_text) == 0
    (run_id,) = run_ids(study)
    with (folder / "expected.csv").open() as lines:
        expected = {row["file"]: row for row in csv.DictReader(lines) if row["subset"] == "test"}
    keys = ["case_id", "stain", "slice_idx", "patch_idx"]
    attention = pq.read_table(study.run_folder(run_id) / "attention.parquet", partitioning=None)
    attention = attention.cast(
        pa.schema([pa.field(f.name, pa.string() if f.name in keys[:2] else f.type) for f in attention.schema])
    )
    rows = attention.join(read_cohort(study).table("patches").select([*keys, "file"]), keys).to_pylist()
    found = {row["file"].removesuffix(".png"): row for row in rows}
    assert (len(rows), set(found)) == (153, set(expected))
    for level in ("patch", "slice", "stain", "effective"):
        values = {file: float(row[f"{level}_attention"]) for file, row in expected.items()}
        assert {file: row[f"{level}_attention"] for file, row in found.items()} == pytest.approx(values, rel=1e-6)
    said = pq.read_table(study.run_folder(run_id) / "predictions.parquet", partitioning=None).to_pylist()
    with (folder / "expected_cases.csv").open() as lines:
        cases = {row["case_id"]: row for row in csv.DictReader(lines) if row["subset"] == "test"}
    for row in said:
        case = cases.pop(row["case_id"])
        label = int(case["true_label"])
        assert (row["true_label"], row["pred_label"]) == (label, int(case["predicted_label"]))
        assert row["p_true"] == pytest.approx(float(case[("prob_benign", "prob_high_grade")[label]]), rel=1e-5)
    assert cases == {}
    assert milstore(study, "doctor") == 0


@pytest.mark.shared
@pytest.mark.parametrize(
    "options",
    [
        (),
        *(
            ("--slices-by", slices, "--patches-by", patches)
            for slices in ("number", "text-position", "natural-position")
            for patches in ("number", "text-position", "natural-position")
        ),
    ],
)
def test_shuffled_positions_of_the_study_are_refused(
    refusing: Store, shared_data: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The December form holds positions after a shuffle: no reading of its table of top patches is right."""
    (run,) = (shared_data / "study-runs" / "fall").glob("run_*")
    table = run / "attention_analysis" / "top_effective_patches_per_case_5.0pct.csv"
    words = ("ingest", "run", run / "predictions.csv", "--attention", table, "--experiment", "fall", "--split", "1")
    before = contents(refusing)
    capsys.readouterr()
    assert milstore(refusing, *words, *options) == 2
    assert capsys.readouterr().err.startswith(f"error: {table} has ")
    assert contents(refusing) == before


@pytest.mark.shared
def test_the_studys_named_files_land_on_their_patches(refusing: Store, shared_data: Path, tmp_path: Path) -> None:
    """The November table names its files: 137 rows, each on the patch whose number stands beside it."""
    (run,) = (shared_data / "study-runs" / "fall_paths").glob("run_*")
    table = pacsv.read_csv(run / "attention_analysis" / "plots" / "patch_attention_selected_slices.csv")
    rows = table.to_pylist()
    slice_of: list[dict[str, Any]] = []
    for _, group in groupby(rows, key=lambda row: (row["case_id"], row["stain"], row["slice_idx"])):
        slice_of += [{"members": len(members)} for members in [list(group)] for _ in members]
    counts = [1 / row["members"] for row in slice_of]
    ones = [1.0] * len(rows)
    table = table.append_column("patch_attention", [counts])
    table = table.append_column("slice_attention", [ones]).append_column("stain_attention", [ones])
    pacsv.write_csv(table, tmp_path / "a.csv")
    found, understood = read_attention(tmp_path / "a.csv", read_cohort(refusing), refusing.settings)
    assert (understood.patches, found.num_rows) == ("file", 137)
    assert found["patch_idx"].to_pylist() == [row["patch_number"] for row in rows]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("case_id", ["7"] * 5 + ["99"], "has slices of case 99, h&e, and the store has none there"),
        ("stain", ["he"] * 5 + ["sox10"], "has slices of case 7, sox10, and the store has none there"),
        ("patch_idx", [[1]] * 6, "has patch_idx that are no whole numbers"),
        ("file", ["case_7_match_1_zz_patch2"] * 6, "stain 'zz' in case_7_match_1_zz_patch2 is not in this store"),
    ],
)
@pytest.mark.parametrize("by", [None, "number", "text-position"])
def test_what_the_store_does_not_know_is_named(
    store: Store, tmp_path: Path, column: str, values: list[Any], message: str, by: str | None
) -> None:
    """A case, stain or file that the store lacks is named before anybody is asked what an index means."""
    table = attention_table(TEXT_SLICES)
    place = table.column_names.index(column) if column in table.column_names else table.num_columns
    table = table.drop_columns([column] if place < table.num_columns else []).add_column(place, column, [values])
    pq.write_table(table, tmp_path / "a.parquet")
    by = None if column == "file" else by
    reading = Reading(slices_by="text-position" if column == "patch_idx" else by, patches_by=by)
    with pytest.raises(DataError, match=message):
        read_attention(tmp_path / "a.parquet", read_cohort(store), store.settings, reading=reading)
