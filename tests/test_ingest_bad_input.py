"""Bad input: one clear line, exit 2, and a store that is as it was."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from milstore.store import Store
from tests.ingesting import NAMES, contents, make_images, make_labels, make_vectors, milstore, new_store
from tests.spoiling import (
    FEATURES,
    LABELS,
    ONE,
    PICKLE,
    Boom,
    Place,
    Words,
    array,
    cut,
    cut_slice,
    foreign_h5,
    forged_npz,
    hollow_h5,
    huge_png,
    image,
    labels,
    linked,
    npz,
    one_image,
    other_root,
    slice_file,
    split,
    tensor,
    twice,
    vector,
    with_files,
    written,
)


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with labels, patches, features and splits. Tests share it, for none may change it."""
    folder = tmp_path_factory.mktemp("bad")
    store = new_store(folder)
    np.savez(folder / "split_1.npz", train_cases=[52], val_cases=[7], test_cases=np.array([], int))
    labels = make_labels(folder / "labels.csv")
    assert milstore(store, *LABELS, labels, "--map", "1=benign,3=high-grade") == 0
    assert milstore(store, "ingest", "patches", make_images(folder / "images")) == 0
    assert milstore(store, "ingest", "features", make_vectors(folder / "vectors"), "--encoder", "e") == 0
    assert milstore(store, "ingest", "splits", folder / "split_1.npz", "--split-set", "s") == 0
    return store


@pytest.fixture
def place(spoiled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """That store, and a folder of the test's own."""
    capsys.readouterr()
    return Place(tmp_path, spoiled)


BAD: dict[str, tuple[Callable[[Place], Words], str]] = {
    "missing folder": (lambda place: ["ingest", "patches", place / "none"], "/none does not exist: name a folder"),
    "file as folder": (
        lambda place: ["ingest", "patches", written(place / "x.csv", b"")],
        "x.csv is no folder: name a folder",
    ),
    "empty folder": (with_files(), "holds no .pt, .npy, .npz, .h5 or .parquet file"),
    "missing label file": (lambda place: [*LABELS, place / "none.csv"], "none.csv does not exist: name a label file"),
    "folder as label file": (lambda place: [*LABELS, place.folder], " is a folder: name a label file"),
    "missing column": (labels("ID,Class\n1,1\n", "1=a"), "bad.csv has no column 'Case': it has ID, Class"),
    "map key without row": (
        labels("Case,Class\n1,1\n", "1=benign,7=high-grade"),
        "--map names label 7, which no row of",
    ),
    "class against the store": (
        labels("Case,Class\n52,3\n", "3=high-grade"),
        "such as case 52 (benign there, high-grade here)",
    ),
    "two classes for a case": (
        labels("Case,Class\n8,1\n08,3\n", "1=benign,3=high-grade"),
        "has case 8 as benign (line 2) and as high-grade (line 3): keep one",
    ),
    "empty case": (labels("Case,Class\n,1\n", "1=benign"), "line 2, has no case in column Case"),
    "label file in Latin-1": (
        lambda place: [*LABELS, written(place / "bad.csv", b"Case,Class\n\xe9,1\n")],
        "bad.csv is not UTF-8 (line 2; Latin-1 or Windows-1252?): save it as CSV in UTF-8",
    ),
    "unknown stain": (
        image(b"", "case_5_match_1_cd3_patch1.png"),
        "stain 'cd3' in case_5_match_1_cd3_patch1.png is not in this store (h&e, melan, sox10): add an alias",
    ),
    "two files of one patch": (twice, "are the same patch (case 52, h&e, match_1, patch 3): remove one"),
    "a known patch elsewhere": (other_root, "use --replace to correct the store"),
    "only links out": (linked, "holds only links that lead out of it"),
    "image that is no image": (image(b"hello"), "case_5_match_1_he_patch1.png is not a PNG, JPEG or TIFF image"),
    "empty image": (image(b""), "case_5_match_1_he_patch1.png is not a PNG, JPEG or TIFF image"),
    "image of gigapixels": (
        image(huge_png(60000)),
        "a size that no patch has",
    ),
    "nothing parses": (
        lambda place: ["ingest", "patches", one_image(place / "odd")],
        "none of the 1 images in",
    ),
    "feature of the wrong length": (
        vector(array(np.zeros(4, "f4")), ".npy"),
        "has 4: the features of one encoder are of one length",
    ),
    "feature of two dimensions": (
        vector(array(np.zeros((3, 3), "f4")), ".npy"),
        "has shape (3, 3), and a patch has one vector (D)",
    ),
    "feature of integers": (vector(array([1, 2, 3]), ".npy"), "holds int64, not floats"),
    "feature without patch": (
        lambda place: [*FEATURES, make_vectors(place / "bad", (*NAMES, "case_9_match_1_he_patch1"))],
        "1 features have no patch in the store, such as case_9_match_1_he_patch1.npy",
    ),
    "feature of unknown name": (
        with_files("x.npy"),
        "1 of 1 files do not say by their name which patch they are of, such as x.npy",
    ),
    "NaN": (vector(array(np.array([1, np.nan, 2], "f4")), ".npy"), f"{ONE}.npy holds NaN, infinity"),
    "infinity": (vector(tensor(torch.tensor([1.0, float("inf"), 2])), ".pt"), f"{ONE}.pt holds NaN, infinity"),
    "float64 beyond float32": (
        vector(array(np.array([1e300, 1, 2])), ".npy"),
        f"{ONE}.npy holds NaN, infinity or numbers too large",
    ),
    "pickled .npy": (
        vector(array(np.array([Boom()], dtype=object)), ".npy"),
        "holds Python objects, which only pickle could read",
    ),
    "pickle as .pt": (vector(PICKLE), "is damaged, or holds more than tensors: make it anew"),
    "pickle in .pt": (vector(tensor(Boom())), "is damaged, or holds more than tensors: make it anew"),
    "pickle as .npy": (vector(PICKLE, ".npy"), "is damaged, or no array of NumPy's format"),
    "no tensor": (vector(tensor({"a": 1})), "holds 0 tensors, not one"),
    "two tensors": (vector(tensor({"a": torch.ones(3), "b": torch.ones(3)})), "holds 2 tensors, not one"),
    "a tensor larger than its file": (
        vector(tensor(torch.ones(1).expand(10**12))),
        "holds a tensor of shape (1000000000000,), larger than its file",
    ),
    "sparse tensor": (vector(tensor(torch.ones(3).to_sparse())), "holds a tensor that is no plain vector"),
    "mixed kinds": (with_files(f"{ONE}.npy", "case_052_match_1_h&e.npz"), "holds files of patches"),
    "npz declares a petabyte": (slice_file(forged_npz), "it is truncated or damaged"),
    "npz of pickles": (npz(features=np.array([[Boom()]], dtype=object), patch_idx=[3]), "holds Python objects"),
    "npz without patch_idx": (
        npz(features=np.ones((2, 3))),
        "has no patch_idx: it must hold features (N, D) and patch_idx (N)",
    ),
    "npz of other length": (npz(features=np.ones((2, 3)), patch_idx=[3]), "has patch_idx of shape (1,)"),
    "npz with a patch twice": (
        npz(features=np.ones((2, 3)), patch_idx=[3, 3]),
        "has patch 3 more than once: remove one",
    ),
    "npz with unknown patch": (
        npz(features=np.ones((2, 3)), patch_idx=[3, 4]),
        "1 features have no patch in the store",
    ),
    "npz with too many rows": (
        npz(features=np.ones((3, 3)), patch_idx=[3, 4, 5]),
        "has 3 features and its slice 2 patches",
    ),
    "npz with NaN": (npz(features=np.full((2, 3), np.nan), patch_idx=[3, 12]), "h&e.npz: features of case 52"),
    "npz with negative index": (npz(features=np.ones((1, 3)), patch_idx=[-1]), "has a patch_idx or coords outside 0"),
    "npz of text": (slice_file(lambda path: path.write_text("hello")), "is damaged, or not of the kind its name says"),
    "h5 declares a petabyte": (slice_file(hollow_h5, ".h5"), "declares shape (1000000000000, 256) and holds nothing"),
    "h5 leads elsewhere": (slice_file(foreign_h5, ".h5"), "is not a dataset of this file"),
    "h5 of text": (
        slice_file(lambda path: path.write_text("hello"), ".h5"),
        "is damaged, or not of the kind its name says",
    ),
    "parquet of text": (
        slice_file(lambda path: path.write_text("hello"), ".parquet"),
        "is damaged, or not of the kind its name",
    ),
    "unknown cases in splits": (
        split("split,case_id,subset\n1,999,train\n"),
        "names 1 cases that the store does not know (999)",
    ),
    "case in two subsets": (
        split("split,case_id,subset\n1,52,train\n1,52,val\n"),
        "split 1, has case 52 in train and in val: keep one",
    ),
    "other splits of the name": (
        split("split,case_id,subset\n1,52,test\n", "--split-set", "s"),
        "has a split set s with other splits",
    ),
    "split file of text": (
        lambda place: ["ingest", "splits", written(place / "bad.npz", b"hello")],
        "bad.npz is damaged or no .npz file",
    ),
    "few cases to split": (lambda place: ["splits", "make"], "has 1 cases, too few for 5 folds"),
    "unknown group file": (
        lambda place: ["splits", "check", "--group-by", place / "none"],
        "none does not exist: name a file of groups",
    ),
    "unknown option": (lambda place: ["ingest", "patches", "--colour", "red"], "No such option: --colour"),
    **{
        f".pt cut at {tenth}0%": (vector(cut(tensor(torch.arange(1000.0)), tenth)), f"{ONE}.pt is ")
        for tenth in range(10)
    },
    **{
        f".npy cut at {tenth}0%": (vector(cut(array(np.arange(1000.0)), tenth), ".npy"), f"{ONE}.npy")
        for tenth in range(10)
    },
    **{
        f"{suffix} cut at {tenth}0%": (
            slice_file(lambda path, s=suffix, t=tenth: cut_slice(path, s, t), suffix),  # type: ignore[misc]
            f"case_052_match_1_h&e{suffix} is ",
        )
        for suffix in (".npz", ".h5", ".parquet")
        for tenth in range(10)
    },
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_changes_nothing(place: Place, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, one line that says what, where and what to do, no traceback, and not a byte of the store changed."""
    make, message = BAD[name]
    words = make(place)
    before = contents(place.store)
    assert milstore(place.store, *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "fault of milstore" not in line
    assert contents(place.store) == before


def test_a_flipped_bit_is_found(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """A vector's file that does not fit its checksum is not taken for right."""
    data = bytearray(tensor(torch.arange(3.0)))
    at = data.index(torch.arange(3.0).numpy().tobytes())
    data[at + 5] ^= 1
    before = contents(place.store)
    assert milstore(place.store, *vector(bytes(data))(place)) == 2
    assert "the checksum of its '0' does not fit" in capsys.readouterr().err
    assert contents(place.store) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads all")
def test_an_unreadable_file_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """What may not be read is named."""
    (make_images(place / "images") / f"{NAMES[0]}.png").chmod(0)
    assert milstore(place.store, "ingest", "patches", place / "images", "--replace") == 2
    assert "cannot be read: Permission denied" in capsys.readouterr().err
