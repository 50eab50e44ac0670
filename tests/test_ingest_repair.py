"""What `--replace` makes of a store whose files were damaged: it is as it was, or the command says what is lost or does what."""

import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from milstore.cli.main import main
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.doctor import check
from milstore.store.features import PACK, ROWS, VECTORS, open_features
from milstore.store.findings import DAMAGE, Finding
from milstore.store.io import sha256_of
from tests.crossing import crossed
from tests.ingesting import contents, milstore, new_store
from tests.making import levels, make_run

PATCHES = [(case, slice_, patch) for case in ("1", "2", "3") for slice_ in ("1", "2") for patch in (1, 2)]
LABELS = "case_id,label\n1,benign\n2,malignant\n3,malignant\n"
SPLITS = "split,case_id,subset\n1,1,train\n1,2,val\n1,3,test\n2,1,test\n2,2,train\n2,3,val\n"


class Group:
    """What a group has: images, labels, splits and vectors, and the commands that take them in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        images = folder / "images"
        images.mkdir()
        (folder / "vectors").mkdir()
        for i, (case, slice_, patch) in enumerate(PATCHES):
            name = f"case_{case}_match_{slice_}_he_patch{patch}"
            Image.new("RGB", (16, 16), (10 * i, 100, 150)).save(images / f"{name}.png")
            np.save(folder / "vectors" / f"{name}.npy", np.arange(i, i + 3, dtype=np.float32))
        for case in ("1", "2", "3"):
            for slice_ in ("1", "2"):
                of_slice = [i for i, key in enumerate(PATCHES) if key[:2] == (case, slice_)]
                rows = np.array([np.arange(i, i + 3) for i in of_slice], np.float32)
                (folder / "slices").mkdir(exist_ok=True)
                np.savez(folder / "slices" / f"case_{case}_match_{slice_}_he.npz", features=rows, patch_idx=[1, 2])
        (folder / "labels.csv").write_text(LABELS)
        (folder / "splits.csv").write_text(SPLITS)

    def commands(self) -> dict[str, list[str | Path]]:
        """Command lines by what they take in, in an order in which a store is filled."""
        return {
            "labels": ["ingest", "labels", self.folder / "labels.csv", "--map", "benign=benign,malignant=malignant"],
            "patches": ["ingest", "patches", self.folder / "images"],
            "splits": ["ingest", "splits", self.folder / "splits.csv"],
            "features": ["ingest", "features", self.folder / "vectors", "--encoder", "given", "--jobs", "1"],
            "encode": ["encode", "--jobs", "1"],
        }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Group:
    """A store that everything was taken into."""
    group = Group(tmp_path_factory.mktemp("group"))
    store = new_store(group.folder)
    for words in group.commands().values():
        assert milstore(store, *words) == 0
    assert check(store) == []
    return group


@pytest.fixture
def group(built: Group, tmp_path: Path) -> Iterator[Group]:
    """The group's files, and a store of its own."""
    copy = Group.__new__(Group)
    copy.folder = built.folder
    whole = built.folder / "whole"
    if not whole.exists():
        shutil.copytree(built.folder / "store", whole)
    shutil.rmtree(built.folder / "store", ignore_errors=True)
    shutil.copytree(whole, built.folder / "store")
    yield copy


@pytest.fixture
def store(group: Group) -> Store:
    """The store, at the place where it was made."""
    return Store(group.folder / "store")


def path_of(store: Store, table: str) -> Path:
    """The file of a table."""
    return store.root / str(store.manifest()["tables"][table]["file"])


def held(store: Store) -> dict[str, list[dict[str, Any]]]:
    """What every table of the cohort holds; where packs lie is not of the content."""
    cohort = read_cohort(store)
    tables = {name: cohort.table(name) for name in cohort.names()}
    return {
        name: table.select([c for c in table.column_names if c != "folder"]).to_pylist()
        for name, table in tables.items()
    }


def damage(store: Store) -> list[Finding]:
    """What the doctor finds damaged."""
    return [found for found in check(store) if found.kind == DAMAGE]


def flip(path: Path) -> None:
    """Another byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def truncate(path: Path) -> None:
    """A file without its second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(path: Path) -> None:
    """A valid file that says something else: all but the first column, from the last row to the first."""
    table = pq.read_table(path)
    turned = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    if table.num_rows < 2:
        text = turned.column_names[0]
        turned = turned.set_column(0, text, pa.array(["/elsewhere"] * table.num_rows))
        pq.write_table(turned, path)
        return
    first = table.column_names[0]
    pq.write_table(turned.set_column(0, first, table[first]), path)


FAULTS: dict[str, Callable[[Path], None]] = {"swap": swap, "truncate": truncate, "delete": Path.unlink, "flip": flip}
REPAIRED_BY = {
    "classes": ["labels"],
    "cases": ["labels"],
    "stains": ["labels"],
    "slices": ["patches"],
    "patches": ["patches"],
    "patch_roots": ["patches"],
    "split_sets": ["splits"],
    "splits": ["splits"],
    # Both encoders are lost with the table that names them.
    "encoders": ["features", "encode"],
}


@pytest.mark.parametrize(("table", "fault"), crossed([*REPAIRED_BY], [*FAULTS]))
def test_what_the_doctor_advises_repairs_a_table(
    table: str, fault: str, group: Group, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged table is as it was once the same was ingested with --replace, and that is said.

    Each table and each fault here; `make torture` tries each fault on each table.
    """
    before, file = held(store), path_of(store, table)
    FAULTS[fault](file)
    (found,) = damage(store)
    # What the doctor and the refusal advise is one of the commands that are run here.
    for name in REPAIRED_BY[table]:
        words = [str(word) for word in group.commands()[name]]
        assert " ".join(words[: 1 if name == "encode" else 2]) in found.repair or table == "stains"
        capsys.readouterr()
        assert milstore(store, *words, "--replace") == 0
        if name == REPAIRED_BY[table][0]:
            said = capsys.readouterr().err
            assert f"{file.relative_to(store.root)} " in said
            assert "nothing changed" not in said
    assert damage(store) == []
    after = held(store)
    assert {name: sorted(map(str, rows)) for name, rows in after.items()} == {
        name: sorted(map(str, rows)) for name, rows in before.items()
    }


@pytest.mark.parametrize(("table", "fault"), crossed(["cases", "slices", "splits", "encoders"], [*FAULTS]))
def test_without_replace_a_damaged_table_is_refused(
    table: str, fault: str, group: Group, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that reads a damaged table says which, and what repairs it, in one line, and changes nothing.

    Each table and each fault here; `make torture` tries each fault on each table.
    """
    FAULTS[fault](path_of(store, table))
    before = contents(store)
    name = REPAIRED_BY[table][0]
    capsys.readouterr()
    assert milstore(store, *group.commands()[name]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert str(path_of(store, table)) in said
    assert "--replace" in said
    assert contents(store) == before


@pytest.mark.database
def test_what_was_damaged_is_put_right_in_the_database_too(group: Group, store: Store) -> None:
    """A database that was made while labels were swapped, or before the classes were lost, does not keep them."""
    for table, fault in (("cases", swap), ("classes", Path.unlink)):
        fault(path_of(store, table))
        if table == "cases":
            store.database.unlink(missing_ok=True)
            assert milstore(store, "info") == 0
        assert milstore(store, *group.commands()["labels"], "--replace") == 0
        with closing(duckdb.connect(str(store.database), read_only=True)) as con:
            labels = con.execute("select case_id, class_name from cases order by 1").fetchall()
        assert labels == [("1", "benign"), ("2", "malignant"), ("3", "malignant")]


# --- what is not given again ------------------------------------------------------------------------------------------


def test_labels_that_are_not_given_again_are_lost_and_named(
    group: Group, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a table that fails its check nothing is taken over: the cases stay, without labels, and are named."""
    swap(path_of(store, "cases"))
    (tmp_path / "part.csv").write_text("case_id,label\n2,malignant\n")
    capsys.readouterr()
    assert milstore(store, "ingest", "labels", tmp_path / "part.csv", "--replace") == 0
    assert "without a label now: 2 cases (1, 3), whose labels are to be ingested again" in capsys.readouterr().err
    labels = read_cohort(store).table("cases").select(["case_id", "class_name"]).to_pylist()
    assert [tuple(row.values()) for row in labels] == [("1", None), ("2", "malignant"), ("3", None)]
    assert damage(store) == []
    assert milstore(store, *group.commands()["labels"]) == 0
    assert damage(store) == []
    assert pc.count(read_cohort(store).table("cases")["label"]).as_py() == 3


def test_split_sets_that_are_not_given_again_are_named(
    group: Group, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another split set of a damaged table is gone, and said to be."""
    words = ["ingest", "splits", group.folder / "splits.csv", "--split-set", "other"]
    assert milstore(store, *words) == 0
    flip(path_of(store, "splits"))
    capsys.readouterr()
    assert milstore(store, *group.commands()["splits"], "--replace") == 0
    assert "gone, and to be ingested or drawn again: other" in capsys.readouterr().err
    assert damage(store) == []
    assert read_cohort(store).table("split_sets")["split_set"].to_pylist() == ["splits"]
    assert milstore(store, *words) == 0
    assert damage(store) == []


def test_a_split_set_outlives_the_loss_of_its_name(group: Group, store: Store) -> None:
    """Where only the table of split sets is damaged, splits that are whole are kept."""
    assert milstore(store, "ingest", "splits", group.folder / "splits.csv", "--split-set", "other") == 0
    before = read_cohort(store).table("splits")
    path_of(store, "split_sets").unlink()
    assert milstore(store, *group.commands()["splits"], "--replace") == 0
    assert damage(store) == []
    assert read_cohort(store).table("splits").equals(before)
    sets = {row["split_set"]: row for row in read_cohort(store).table("split_sets").to_pylist()}
    assert {name: row["n_splits"] for name, row in sets.items()} == {"other": 2, "splits": 2}
    assert sets["splits"]["source"] == "splits.csv"


@pytest.mark.parametrize(
    "tables", [("cases", "slices"), ("cases", "splits"), ("patches", "encoders"), ("classes", "cases")]
)
def test_two_damaged_tables_are_repaired_one_after_the_other(
    tables: tuple[str, str], group: Group, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """No repair waits for the other: what is damaged beside is named, with what repairs it."""
    before = held(store)
    for table in tables:
        flip(path_of(store, table))
    capsys.readouterr()
    for i, name in enumerate(dict.fromkeys([*REPAIRED_BY[tables[0]], *REPAIRED_BY[tables[1]]])):
        assert milstore(store, *group.commands()[name], "--replace") == 0
        said = capsys.readouterr().err
        assert ("still damaged: " in said) == (i == 0 and tables != ("classes", "cases"))
    assert damage(store) == []
    assert {k: sorted(map(str, v)) for k, v in held(store).items()} == {
        k: sorted(map(str, v)) for k, v in before.items()
    }


def with_run(store: Store) -> None:
    """A run that speaks of every patch."""
    patches = {(case, "h&e", int(slice_) - 1, patch): 1.0 for case, slice_, patch in PATCHES}
    truth = {"1": 0, "2": 1, "3": 1}
    make_run(
        store,
        "exp-s1-0",
        {"1": "train", "2": "val", "3": "test"},
        truth,
        {"1": (0.9, 0.1), "2": (0.2, 0.8), "3": (0.4, 0.6)},
        levels(patches),
        split_set="splits",
    )


@pytest.mark.parametrize("table", ["slices", "patches"])
def test_patches_that_runs_speak_of_must_be_given_as_they_were(
    table: str, group: Group, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While there are runs, a folder that gives other slices or patches is refused, and the one that they came from taken."""
    with_run(store)
    flip(path_of(store, table))
    less = tmp_path / "less"
    shutil.copytree(group.folder / "images", less)
    (less / "case_1_match_1_he_patch1.png").unlink()
    before = contents(store)
    capsys.readouterr()
    assert milstore(store, "ingest", "patches", less, "--replace") == 2
    said = capsys.readouterr().err
    assert "12 patches in 6 slices then, 11 in 6 now" in said
    assert len(said.splitlines()) == 1
    assert contents(store) == before
    assert milstore(store, *group.commands()["patches"], "--replace") == 0
    assert damage(store) == []


def test_classes_that_runs_speak_of_keep_their_numbers(
    group: Group, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nothing tells how classes were numbered, another numbering is refused while runs speak of it."""
    with_run(store)
    for table in ("classes", "cases"):
        flip(path_of(store, table))
    before = contents(store)
    capsys.readouterr()
    words = ["ingest", "labels", group.folder / "labels.csv", "--replace", "--map"]
    assert milstore(store, *words, "malignant=malignant,benign=benign") == 2
    assert "give every label, with --map in the order that it had" in capsys.readouterr().err
    assert contents(store) == before
    assert milstore(store, *words, "benign=benign,malignant=malignant") == 0
    assert damage(store) == []


def test_fewer_patches_drop_the_features_that_no_longer_fit(
    group: Group, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without runs, a folder with other patches makes the table anew, and features of patches that are gone go."""
    flip(path_of(store, "patches"))
    less = tmp_path / "less"
    shutil.copytree(group.folder / "images", less)
    (less / "case_1_match_1_he_patch1.png").unlink()
    capsys.readouterr()
    assert milstore(store, "ingest", "patches", less, "--replace") == 0
    said = capsys.readouterr().err
    assert "dropped: the features of given, hed" in said
    assert "it had 12 rows and has 11" in said
    assert damage(store) == []
    assert read_cohort(store).table("encoders").num_rows == 0


# --- features ---------------------------------------------------------------------------------------------------------


def gone(folder: Path) -> None:
    """A pack's folder is gone."""
    shutil.rmtree(folder)


PACK_FAULTS: dict[str, Callable[[Path], None]] = {
    "no folder": gone,
    **{
        f"{fault} {name}": (lambda folder, fault=fault, name=name: FAULTS[fault](folder / name))  # type: ignore[misc]
        for name in (VECTORS, ROWS, PACK)
        for fault in ("flip", "truncate", "delete")
    },
    "swap rows": lambda folder: swap(folder / ROWS),
}


@pytest.mark.parametrize(("fault", "way"), crossed([*PACK_FAULTS], ["features", "slices", "encode"]))
def test_a_damaged_pack_is_put_back(
    way: str, fault: str, group: Group, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --replace a damaged pack is refused in a line; with it the vectors are what they were, and that is said.

    Each fault and each way to put vectors in here; `make torture` tries each fault with each way.
    """
    words = group.commands()["encode" if way == "encode" else "features"]
    if way == "slices":
        words = ["ingest", "features", group.folder / "slices", "--encoder", "given"]
    encoder = "hed" if way == "encode" else "given"
    features = open_features(store, read_cohort(store), encoder)
    before = [features.read(case).tolist() for case in ("1", "2", "3")]
    PACK_FAULTS[fault](features.folder)
    (found,) = damage(store)
    # What is advised, as a person would type it.
    advised = [*shlex.split(found.repair.split(": milstore ")[1]), "--jobs", "1"]
    stored = contents(store)
    capsys.readouterr()
    assert milstore(store, *words) == 2
    said = capsys.readouterr().err
    assert "--replace" in said
    assert len([line for line in said.splitlines() if line.startswith("error")]) == 1
    assert contents(store) == stored
    assert main([*map(str, words), "--replace", "--store", str(store.root)] if way == "slices" else advised) == 0
    said = capsys.readouterr().err
    assert "repaired: features/" in said
    assert "nothing changed" not in said
    assert damage(store) == []
    again = open_features(store, read_cohort(store), encoder)
    assert [again.read(case).tolist() for case in ("1", "2", "3")] == before
    assert milstore(store, *words, "--replace") == 0
    assert "nothing changed" in capsys.readouterr().err


def test_patches_without_images_are_made_anew_from_their_features(
    group: Group, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where patches came from the names of features, these repair the tables of slices, patches and cases.

    Each table and each fault here; `make torture` tries each fault on each table.
    """
    store = new_store(tmp_path)
    words = ["ingest", "features", group.folder / "slices", "--encoder", "e", "--create-patches"]
    assert milstore(store, *words) == 0
    before = held(store)
    for table, fault in crossed(["cases", "slices", "patches", "stains", "encoders"], [*FAULTS.values()]):
        fault(path_of(store, table))
        (found,) = damage(store)
        assert "milstore ingest" in found.repair
        assert milstore(store, *words, "--replace") == 0
        assert damage(store) == []
        assert held(store) == before


def test_a_table_of_bags_repairs_what_it_made(tmp_path: Path) -> None:
    """A benchmark's table has the labels, the patches and the features of its store.

    Each table and each fault here; `make torture` tries each fault on each table.
    """
    store = new_store(tmp_path)
    (tmp_path / "t.csv").write_text("bag,i,y,a,b\n1,0,x,1,2\n1,1,x,3,4\n2,0,z,5,6\n")
    words = ["ingest", "features", tmp_path / "t.csv", "--encoder", "e", "--bag-column", "bag", "--index-column", "i"]
    words += ["--label-column", "y"]
    assert milstore(store, *words) == 0
    before = held(store)
    for table, fault in crossed(["classes", "cases", "slices", "patches", "encoders"], [*FAULTS.values()]):
        fault(path_of(store, table))
        assert milstore(store, *words, "--replace") == 0
        assert damage(store) == []
        assert held(store) == before


# --- the manifest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["fingerprint", "content", "sha256", "rows"])
def test_a_manifest_that_contradicts_itself_is_put_right(key: str, group: Group, store: Store) -> None:
    """A flipped letter in what the manifest says of a table is repaired by ingesting that table's content again."""
    before, manifest = held(store), store.manifest()
    text = store.manifest_path.read_text()
    if key == "fingerprint":
        old, new = manifest["fingerprint"], "0" * 64
    elif key == "rows":
        old, new = f'"rows": {manifest["tables"]["cases"]["rows"]}', '"rows": 9'
    else:
        old, new = manifest["tables"]["cases"][key], "0" * 64
    store.manifest_path.write_text(text.replace(old, new, 1) if key != "rows" else _in_cases(text, old, new))
    assert damage(store)
    assert milstore(store, *group.commands()["labels"], "--replace") == 0
    assert damage(store) == []
    assert held(store) == before
    for entry in store.manifest()["tables"].values():
        assert sha256_of(store.root / entry["file"]) == entry["sha256"]


def _in_cases(text: str, old: str, new: str) -> str:
    """The manifest with another number in the entry of cases."""
    start = text.index('"cases"')
    return text[:start] + text[start:].replace(old, new, 1)
