"""Features from files a patch, files a slice, and tables of a benchmark."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock

from milstore.errors import ConflictError, DataError, UsageError
from milstore.ingest import patch_file_import
from milstore.ingest.features import FeaturesReport, ingest_features
from milstore.ingest.patches import ingest_patches
from milstore.store import Store, create_store, open_store
from milstore.store.cohort import read_cohort
from milstore.store.features import FeaturePack, open_features
from milstore.store.settings import Settings
from tests.ingesting import NAMES, contents, make_images, make_vectors, new_store
from tests.making import MadeOnce

SLICES = {
    "case_052_match_1_h&e": [12, 3],
    "case_52_match1_melan": [1],
    "case_7_unmatched_2_he": [4],
    "case_7_unmatched10_he": [4],
}


@MadeOnce
def patched(folder: Path) -> Store:
    """A store with the patches of NAMES."""
    store = create_store(folder)
    ingest_patches(store, make_images(folder.parent / "images"))
    return store


@pytest.fixture
def store(tmp_path: Path, warm_processes: None) -> Store:
    return patched(tmp_path / "store")


def vectors(store: Store, encoder: str = "e") -> dict[tuple[str, str, int, int], list[float]]:
    """The vector of each patch."""
    packed = open_features(store, read_cohort(store), encoder)
    rows = np.concatenate([packed.read(case) for case in packed.case_rows]) if packed.case_rows else []
    return {tuple(p.values()): row.tolist() for p, row in zip(packed.patches.to_pylist(), rows, strict=True)}  # type: ignore[misc]


EXPECTED = {
    ("52", "h&e", 0, 3): [0.0, 1.0, 2.0],
    ("52", "h&e", 0, 12): [1.0, 2.0, 3.0],
    ("52", "melan", 0, 1): [2.0, 3.0, 4.0],
    ("7", "h&e", 0, 4): [3.0, 4.0, 5.0],
    ("7", "h&e", 1, 4): [4.0, 5.0, 6.0],
}


def save(path: Path, array: np.ndarray, dtype: str) -> None:
    """A vector as .pt or .npy."""
    if path.suffix == ".npy":
        np.save(path, array.astype(dtype))
    else:
        torch.save(torch.from_numpy(array).to(getattr(torch, dtype)), path)


@pytest.mark.parametrize(
    ("suffix", "dtype", "stored"),
    [
        (".npy", "float16", "float16"),
        (".npy", "float32", "float32"),
        (".npy", ">f8", "float32"),
        (".pt", "float16", "float16"),
        (".pt", "bfloat16", "float32"),
        (".pt", "float32", "float32"),
        (".pt", "float64", "float32"),
    ],
)
def test_a_file_a_patch(store: Store, tmp_path: Path, suffix: str, dtype: str, stored: str) -> None:
    """Each vector reaches its own patch, whatever number type it comes in."""
    folder = tmp_path / "vectors" / "deep"
    folder.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        save(folder / f"{name}{suffix}", np.arange(i, i + 3, dtype=np.float32), dtype)
    report = ingest_features(store, tmp_path / "vectors", encoder="e")
    assert vectors(store) == EXPECTED
    assert report == FeaturesReport(
        changed=True,
        source=str(tmp_path / "vectors"),
        encoder="e",
        patches=5,
        n_features=3,
        dtype=stored,
        without=0,
        cases_without=(),
        created=0,
        dropped_encoders=(),
        cases=("7", "52"),
    )


def test_one_vector_that_is_not_half_makes_all_float32(store: Store, tmp_path: Path) -> None:
    """float16 is stored only where nothing is lost by it."""
    folder = make_vectors(tmp_path / "vectors")
    np.save(folder / f"{NAMES[0]}.npy", np.array([0, 1, 2], np.float16))
    assert ingest_features(store, folder, encoder="e").dtype == "float32"
    assert vectors(store) == EXPECTED


def test_tensors_of_every_plain_shape_are_one_vector(store: Store, tmp_path: Path) -> None:
    """A row, a parameter, a piece of a larger tensor, a dict of one, and torch's old format hold one vector too."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    tensors = [torch.arange(i, i + 3, dtype=torch.float32) for i in range(5)]
    torch.save(tensors[0][None, :], folder / f"{NAMES[0]}.pt")
    torch.save(torch.nn.Parameter(tensors[1]), folder / f"{NAMES[1]}.pt")
    torch.save(torch.arange(9, dtype=torch.float32)[2:5], folder / f"{NAMES[2]}.pt")
    torch.save({"feature": tensors[3], "note": "x"}, folder / f"{NAMES[3]}.pt")
    torch.save(tensors[4], folder / f"{NAMES[4]}.pt", _use_new_zipfile_serialization=False)
    ingest_features(store, folder, encoder="e")
    assert vectors(store) == EXPECTED


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen once, after the next vectors were read and before they are stored."""
    pack_vectors = patch_file_import.pack_vectors

    def packed_meanwhile(*given: Any, **options: Any) -> None:
        pack_vectors(*given, **options)
        monkeypatch.undo()
        happens()

    monkeypatch.setattr(patch_file_import, "pack_vectors", packed_meanwhile)


def test_the_store_is_open_to_others_while_files_are_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the reading, and what others store meanwhile is kept."""

    def others() -> None:
        FileLock(store.manifest_path.parent / ".lock").acquire(timeout=0).lock.release()
        ingest_patches(store, make_images(tmp_path / "images", ("case_99_match_1_he_patch1",)))
        ingest_features(store, make_vectors(tmp_path / "other", NAMES[:2], width=2), encoder="other")

    meanwhile(monkeypatch, others)
    report = ingest_features(store, make_vectors(tmp_path / "vectors"), encoder="e")
    assert vectors(store) == EXPECTED
    assert (report.patches, report.without, report.cases_without) == (5, 1, ("99",))
    assert len(vectors(store, "other")) == 2


@pytest.mark.parametrize("create", [False, True])
def test_patches_that_changed_while_files_were_read_are_not_confused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, create: bool
) -> None:
    """A slice that joins in front of others gets a number of its own: features that were packed meanwhile are those of theirs."""
    meanwhile(
        monkeypatch,
        lambda: ingest_patches(store, make_images(tmp_path / "images", ("case_7_first_he_patch1",)), names_only=True),
    )
    ingest_features(store, make_vectors(tmp_path / "vectors"), encoder="e", create_patches=create)
    assert read_cohort(store).table("patches").num_rows == 6
    assert vectors(store) == EXPECTED


def test_a_table_is_packed_without_keeping_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the packing of a table, and what others store meanwhile is kept, labels too."""
    store = new_store(tmp_path)
    (tmp_path / "t.csv").write_text(TABLE)
    finish = FeaturePack.finish

    def finish_meanwhile(pack: FeaturePack) -> str:
        monkeypatch.undo()
        FileLock(store.manifest_path.parent / ".lock").acquire(timeout=0).lock.release()
        ingest_patches(store, make_images(tmp_path / "images", ("case_99_match_1_he_patch1",)))
        return finish(pack)

    monkeypatch.setattr(FeaturePack, "finish", finish_meanwhile)
    ingest_features(store, tmp_path / "t.csv", encoder="e", bag_column="bag", index_column="i", label_column="y")
    cases = read_cohort(store).table("cases").select(["case_id", "source_label"]).to_pylist()
    assert [tuple(case.values()) for case in cases] == [("1", "a"), ("10", "b"), ("2", "b"), ("99", None)]
    assert len(vectors(store)) == 4


def write_slice(path: Path, patch_idx: list[int], rows: np.ndarray, coords: np.ndarray | None = None) -> None:
    """The features of a slice in the format of the path's extension."""
    arrays = {"features": rows, "patch_idx": np.array(patch_idx)} | ({} if coords is None else {"coords": coords})
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, chunks=True, compression="gzip")
    else:
        pq.write_table(pa.table({name: pa.array(list(array)) for name, array in arrays.items()}), path)


def make_slices(folder: Path, suffix: str, dtype: str = "float32", *, coords: bool = False) -> Path:
    """A folder with the features of NAMES, one file a slice."""
    folder.mkdir()
    known = {(key[0], key[1], key[3]): value for key, value in EXPECTED.items() if key[:3] != ("7", "h&e", 1)}
    for name, patch_idx in SLICES.items():
        case = "52" if "52" in name else "7"
        stain = "melan" if "melan" in name else "h&e"
        rows = [[4.0, 5.0, 6.0]] if "10" in name else [known[case, stain, patch] for patch in patch_idx]
        places = np.array([[10 * patch, patch] for patch in patch_idx]) if coords else None
        write_slice(folder / f"{name}{suffix}", patch_idx, np.array(rows, dtype), places)
    return folder


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".parquet"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_file_a_slice(store: Store, tmp_path: Path, suffix: str, dtype: str) -> None:
    """Rows are matched by patch_idx, in any order, and slices by name in any spelling."""
    report = ingest_features(store, make_slices(tmp_path / "slices", suffix, dtype), encoder="e")
    assert vectors(store) == EXPECTED
    assert report.dtype == ("float16" if dtype == "float16" else "float32")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".parquet"])
def test_coordinates_of_a_slice_are_kept(store: Store, tmp_path: Path, suffix: str) -> None:
    """coords become x and y of the patches; what they say is not overwritten by another file."""
    ingest_features(store, make_slices(tmp_path / "slices", suffix, coords=True), encoder="e")
    places = read_cohort(store).table("patches").select(["patch_idx", "x", "y", "width"]).to_pylist()
    assert [tuple(place.values()) for place in places] == [
        (3, 30, 3, 6),
        (12, 120, 12, 6),
        (1, 10, 1, 6),
        (4, 40, 4, 6),
        (4, 40, 4, 6),
    ]
    write_slice(tmp_path / "slices" / f"case_052_match_1_h&e{suffix}", [3, 12], np.ones((2, 3)), np.zeros((2, 2), int))
    with pytest.raises(ConflictError, match="has x 30 in the store and 0 now: use --replace"):
        ingest_features(store, tmp_path / "slices", encoder="other")


def test_a_second_time_changes_nothing(store: Store, tmp_path: Path) -> None:
    """The same vectors again, in another container even, leave the store as it is; others are refused."""
    ingest_features(store, make_vectors(tmp_path / "vectors"), encoder="e")
    before = contents(store)
    assert ingest_features(store, tmp_path / "vectors", encoder="e").lines()[-1] == "nothing changed"
    assert not ingest_features(store, make_slices(tmp_path / "slices", ".npz"), encoder="e").changed
    assert contents(store) == before
    np.save(tmp_path / "vectors" / f"{NAMES[0]}.npy", np.zeros(3, np.float32))
    with pytest.raises(ConflictError, match="the store has other features of e"):
        ingest_features(store, tmp_path / "vectors", encoder="e")
    assert contents(store) == before
    assert ingest_features(store, tmp_path / "vectors", encoder="e", replace=True).changed
    assert vectors(store)["52", "h&e", 0, 3] == [0, 0, 0]


def other_width(folder: Path) -> Path:
    return make_vectors(folder, width=4)


def other_numbers(folder: Path) -> Path:
    make_vectors(folder)
    np.save(folder / f"{NAMES[0]}.npy", np.array([0, 1, 3], np.float32))
    return folder


def other_patches(folder: Path) -> Path:
    return make_vectors(folder, NAMES[1:])


def other_slices(folder: Path) -> Path:
    make_slices(folder, ".npz")
    for name, patch_idx in SLICES.items():
        write_slice(folder / f"{name}.npz", patch_idx, np.ones((len(patch_idx), 3)))
    return folder


@pytest.mark.parametrize("make", [other_width, other_numbers, other_patches, other_slices])
def test_other_features_of_an_encoder_are_refused_before_they_are_packed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path]
) -> None:
    """A name that stands for other features costs no packing, where one vector tells; --replace is not hindered."""
    ingest_features(store, make_vectors(tmp_path / "vectors"), encoder="e")
    before, folder = contents(store), make(tmp_path / "others")
    written: list[object] = []
    write, accept = FeaturePack.write, FeaturePack.accept
    monkeypatch.setattr(FeaturePack, "write", lambda *given: (written.append(given), write(*given)))
    monkeypatch.setattr(FeaturePack, "accept", lambda *given: (written.append(given), accept(*given)))
    message = r"^the store has other features of e \(5 patches, 3 numbers each\): use another name, or --replace$"
    with pytest.raises(ConflictError, match=message):
        ingest_features(store, folder, encoder="e")
    assert (written, contents(store)) == ([], before)
    assert ingest_features(store, folder, encoder="e", replace=True).changed


def test_another_table_under_the_same_name_is_refused(tmp_path: Path) -> None:
    """Features of a table, too."""
    store, columns = new_store(tmp_path), {"bag_column": "bag", "index_column": "i"}
    (tmp_path / "t.csv").write_text("bag,i,f0\n1,0,1\n1,1,2\n")
    (tmp_path / "u.csv").write_text("bag,i,f0\n1,0,3\n1,1,2\n")
    ingest_features(store, tmp_path / "t.csv", encoder="e", **columns)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match=r"other features of e \(2 patches, 1 numbers each\)"):
        ingest_features(store, tmp_path / "u.csv", encoder="e", **columns)  # type: ignore[arg-type]


def test_patches_without_a_feature_are_reported(store: Store, tmp_path: Path) -> None:
    """What has no vector is counted and named, and stored nonetheless."""
    report = ingest_features(store, make_vectors(tmp_path / "vectors", NAMES[:2]), encoder="e")
    assert (report.patches, report.without, report.cases_without) == (2, 3, ("7",))
    assert report.lines()[1:] == [
        "without a feature: 3 patches of the store; training leaves them out",
        "without any feature: 1 case (7)",
    ]
    # What is added later joins those.
    report = ingest_features(store, make_vectors(tmp_path / "more", NAMES[2:3]), encoder="e")
    assert (report.patches, report.without) == (1, 2)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_patches_are_made_from_names_only_when_asked(tmp_path: Path, suffix: str) -> None:
    """A store without images can be filled from features alone; else they are refused with that hint."""
    store = new_store(tmp_path)
    folder = make_vectors(tmp_path / "f") if suffix == ".npy" else make_slices(tmp_path / "f", suffix, coords=True)
    with pytest.raises(DataError, match="use --create-patches where there are no images"):
        ingest_features(store, folder, encoder="e")
    report = ingest_features(store, folder, encoder="e", create_patches=True)
    assert (report.created, vectors(store)) == (5, EXPECTED)
    assert read_cohort(store).table("patches")["file"].null_count == 5
    assert not ingest_features(store, folder, encoder="e", create_patches=True).changed
    assert ingest_patches(store, make_images(tmp_path / "images")).new == 0


TABLE = "bag,i,y,f0,f1\n02,1,b,1,2.5\n02,0,b,3,4\n1,7,a,5,6\n10,0,b,7,8\n"


@pytest.mark.parametrize("kind", ["csv", "semicolon", "parquet"])
def test_a_table_of_a_benchmark(tmp_path: Path, kind: str) -> None:
    """A bag is a case with one stain and one slice; labels become classes, in natural order."""
    store = new_store(tmp_path)
    file = tmp_path / "t.csv"
    file.write_text(TABLE.replace(",", ";") if kind == "semicolon" else TABLE)
    if kind == "parquet":
        import pyarrow.csv as pacsv

        pq.write_table(pacsv.read_csv(file), tmp_path / "t.parquet")
        file = tmp_path / "t.parquet"
    report = ingest_features(store, file, encoder="e", bag_column="bag", index_column="i", label_column="y")
    assert vectors(store) == {
        ("1", "all", 0, 7): [5, 6],
        ("10", "all", 0, 0): [7, 8],
        ("2", "all", 0, 0): [3, 4],
        ("2", "all", 0, 1): [1, 2.5],
    }
    cases = sorted(read_cohort(store).table("cases").to_pylist(), key=lambda row: row["case_order"])
    assert [tuple(row.values()) for row in cases] == [
        ("1", 0, 0, "a", "a"),
        ("2", 1, 1, "b", "b"),
        ("10", 2, 1, "b", "b"),
    ]
    assert [row["slice_name"] for row in read_cohort(store).table("slices").to_pylist()] == ["bag"] * 3
    assert (report.created, report.patches, report.n_features) == (4, 4, 2)
    again = ingest_features(store, file, encoder="e", bag_column="bag", index_column="i", label_column="y")
    assert again.lines()[-1] == "nothing changed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bag,i,f0\n1,0,1\n", "has no column y: it has bag, i, f0"),
        ("bag,i,y\n1,0,a\n", "has 1 rows and 0 columns of features"),
        ("bag,i,y,f0\n", "has 0 rows and 1 columns of features"),
        ("bag,i,y,f0\n1,0,a,x\n", "values of type string in column 'f0'"),
        ("bag,i,y,f0\n1,0,a,1\n1,1,a,\n", "1 empty values in column 'f0'"),
        ("bag,i,y,f0\n1,0,a,1\n1,1,b,1\n", "gives bag 1 the labels a and b: keep one"),
        (
            "bag,i,y,f0\n1,0,a,1\n1,0,a,1\n",
            "row 1 of t.csv and row 2 of t.csv are the same patch (case 1, all, bag, patch 0)",
        ),
        ("bag,i,y,f0\n1,-1,a,1\n", "'-1' in column 'i'"),
        ("bag,i,y,f0\n,1,a,1\n", "rows without a value in column 'bag'"),
        ("bag,i,y,f0\n1,1,a,1,2\n", "cannot be read as a table of numbers"),
        ("bag,i,y,f0,f0\n1,1,a,1,2\n", "has the column f0 more than once"),
        ("bag,i,y,f0\n1,0,a,nan\n", "hold NaN or infinity"),
        ("bag,i,y,f0\n1,0,a,1e39\n", "hold NaN or infinity"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Every value of a table is a number of a known instance, or nothing is stored."""
    store = new_store(tmp_path)
    (tmp_path / "t.csv").write_text(text)
    before = contents(store)
    with pytest.raises(DataError) as caught:
        ingest_features(store, tmp_path / "t.csv", encoder="e", bag_column="bag", index_column="i", label_column="y")
    assert message in str(caught.value)
    assert contents(store) == before


def test_options_that_do_not_go_together_are_refused(store: Store, tmp_path: Path) -> None:
    """Options of a table go with a table."""
    (tmp_path / "t.csv").write_text(TABLE)
    with pytest.raises(UsageError, match="a table of a benchmark needs --bag-column and --index-column"):
        ingest_features(store, tmp_path / "t.csv", encoder="e")
    with pytest.raises(UsageError, match="--bag-column needs --index-column"):
        ingest_features(store, tmp_path / "t.csv", encoder="e", bag_column="bag")
    with pytest.raises(UsageError, match="go with --bag-column"):
        ingest_features(store, tmp_path, encoder="e", stain="he")
    with pytest.raises(UsageError, match="encoder 'E/' does not fit"):
        ingest_features(store, tmp_path, encoder="E/")


def test_many_files_are_packed_by_several_processes(tmp_path: Path) -> None:
    """Processes of their own write what one writes."""
    names = tuple(f"case_{i // 500}_match_1_he_patch{i}" for i in range(2100))
    folder = make_vectors(tmp_path / "vectors", names, width=5)
    stores = [new_store(tmp_path / f"{jobs}") for jobs in (1, 2)]
    for jobs, store in enumerate(stores, start=1):
        ingest_features(store, folder, encoder="e", create_patches=True, jobs=jobs)
    one, two = (open_features(store, read_cohort(store), "e") for store in stores)
    assert one.fingerprint == two.fingerprint
    assert vectors(stores[1])["4", "h&e", 0, 2099] == [2099, 2100, 2101, 2102, 2103]


def test_a_cohort_of_bags_has_no_stain_called_he(tmp_path: Path) -> None:
    """Where nobody has named stains, bags make one called all, in the store and in milstore.toml; what others named stays."""
    store = new_store(tmp_path)
    (tmp_path / "t.csv").write_text(TABLE)
    of_bags = {"bag_column": "bag", "index_column": "i", "label_column": "y"}
    report = ingest_features(store, tmp_path / "t.csv", encoder="e", **of_bags)  # type: ignore[arg-type]
    assert read_cohort(store).table("stains").to_pylist() == [{"stain": "all", "stain_order": 0}]
    assert open_store(store.root).settings.stains == {"all": ()}
    assert "the one stain of the store is called all: bags say nothing of staining" in report.lines()
    ingest_features(store, tmp_path / "t.csv", encoder="other", **of_bags)  # type: ignore[arg-type]
    assert read_cohort(store).table("slices")["stain"].to_pylist() == ["all"] * 3
    named = create_store(tmp_path / "named", Settings(stains={"cells": ("c",), "dna": ()}))
    ingest_features(named, tmp_path / "t.csv", encoder="e", **of_bags)  # type: ignore[arg-type]
    assert set(read_cohort(named).table("slices")["stain"].to_pylist()) == {"cells"}
    said = new_store(tmp_path / "said")
    ingest_features(said, tmp_path / "t.csv", encoder="e", stain="sox10", **of_bags)  # type: ignore[arg-type]
    assert set(read_cohort(said).table("slices")["stain"].to_pylist()) == {"sox10"}
    assert read_cohort(said).table("stains").num_rows == 3
