"""What an array, a tensor, a table of numbers or an image can hold that cannot be taken, and the words that answer it."""

import h5py
import numpy as np
import torch

from tests.bad_inputs import Bad, bad
from tests.broken import ONE, SPLIT, WIDTH, good
from tests.ingesting import NAMES
from tests.spoiling import (
    PICKLE,
    Boom,
    array,
    flipped,
    forged_npz,
    h5,
    hollow_h5,
    huge_jpeg,
    huge_png,
    huge_tiff,
    npy_header,
    npz,
    parquet,
    tensor,
)


def slices(says: str, **arrays: object) -> Bad:
    """An .npz file of a slice of two patches, 3 and 12."""
    return bad("npz", npz(**arrays), says)


TWO = np.ones((2, 3))
P_TRUE = "table predictions has values of p_true that are NaN or infinite"
GIGAPIXELS = "a size that no patch has"


def with_one(number: float, *shape: int) -> np.ndarray:
    """Ones, but for this number as the second last."""
    ones = np.ones(shape, np.float32)
    ones.flat[-2] = number
    return ones


ARRAYS = {
    "feature of the wrong length": bad(
        "npy", array(np.zeros(4, "f4")), "has 4: the features of one encoder are of one length"
    ),
    "feature of two dimensions": bad(
        "npy", array(np.zeros((3, 3), "f4")), "has shape (3, 3), and a patch has one vector (D)"
    ),
    "feature of integers": bad("npy", array([1, 2, 3]), "holds int64, not floats"),
    "features of text": bad("npy", array(np.array([b"1", b"2"], "S1")), "not floats"),
    "float64 beyond float32": bad(
        "npy", array(np.full(WIDTH, 1e300)), f"{ONE}.npy holds NaN, infinity or numbers too large"
    ),
    "no tensor": bad("pt", tensor({"a": 1}), "holds 0 tensors, not one"),
    "two tensors": bad("pt", tensor({"a": torch.ones(3), "b": torch.ones(3)}), "holds 2 tensors, not one"),
    "sparse tensor": bad("pt", tensor(torch.ones(3).to_sparse()), "holds a tensor that is no plain vector"),
    "a flipped bit": bad(
        "pt",
        flipped(good("pt"), torch.arange(float(WIDTH)).numpy().tobytes()),
        "the checksum of its '0' does not fit",
    ),
    # Declared and not there: refused before anything of that size is made.
    "a tensor larger than its file": bad(
        "pt",
        tensor(torch.ones(1).expand(10**12)),
        "holds a tensor of shape (1000000000000,), larger than its file",
    ),
    "npy of a petabyte": bad("npy", npy_header("(250000000000000,)"), "declares 1000000000000000 bytes and has 4"),
    "npy of a negative shape": bad("npy", npy_header("(-1,)"), ONE),
    "npy of a shape beyond integers": bad("npy", npy_header(f"({10**40},)"), ONE),
    "npy with a program for a shape": bad("npy", npy_header("(__import__('os').getpid(),)"), "is damaged, or no array"),
    "npz of a petabyte": bad("npz", forged_npz(), "it is truncated or damaged"),
    "split of a petabyte": bad(
        "splits npz", npz(train_cases=[52], val_cases=[7], test_cases=[]).replace(b"(1,), ", b"(9,), ")
    ),
    "h5 of a petabyte": bad("h5", hollow_h5(), "declares shape (1000000000000, 256) and holds nothing"),
    "h5 that is all fill": bad(
        "h5",
        h5(
            features={"shape": (2, 10**9), "dtype": "f4", "chunks": (1, 1 << 20), "fillvalue": 1},
            patch_idx=[3, 12],
        ),
    ),
    "TIFF of gigapixels": bad("tif", huge_tiff(60000), GIGAPIXELS),
    "JPEG of gigapixels": bad("jpg", huge_jpeg(good("jpg")), GIGAPIXELS),
    "PNG of gigapixels": bad("png", huge_png(60000), GIGAPIXELS),
    # Features of a slice that contradict themselves or the store.
    "npz without patch_idx": slices("has no patch_idx: it must hold features (N, D) and patch_idx (N)", features=TWO),
    "npz of other length": slices("has patch_idx of shape (1,)", features=TWO, patch_idx=[3]),
    "npz with unknown patch": slices("1 features have no patch in the store", features=TWO, patch_idx=[3, 4]),
    "npz with too many rows": slices(
        "has 3 features and its slice 2 patches", features=np.ones((3, 3)), patch_idx=[3, 4, 5]
    ),
    "npz with negative index": slices("has a patch_idx or coords outside 0", features=np.ones((1, 3)), patch_idx=[-1]),
    "h5 leads elsewhere": bad(
        "h5", h5(features=h5py.ExternalLink("/etc/passwd", "/x"), patch_idx=[3]), "is not a dataset of this file"
    ),
    "a patch twice in npz": slices("has patch 3 more than once: remove one", features=TWO, patch_idx=[3, 3]),
    "a patch twice in h5": bad("h5", h5(features=TWO, patch_idx=[3, 3]), "has patch 3 more than once: remove one"),
    "a patch twice in parquet": bad(
        "parquet", parquet(features=[[1.0], [2.0]], patch_idx=[3, 3]), "has patch 3 more than once: remove one"
    ),
    "patches of text": slices("patch_idx", features=TWO, patch_idx=["3", "12"]),
    "patches of halves": slices("patch_idx", features=TWO, patch_idx=[3.5, 12]),
    "features of words": bad("parquet", parquet(features=[["a"], ["b"]], patch_idx=[3, 12])),
    # A pickle in every place where one can be.
    "pickle in .pt": bad("pt", tensor(Boom()), "is damaged, or holds more than tensors: create it again"),
    "pickle in npy": bad(
        "npy", array(np.array([Boom()], object)), "holds Python objects, which only pickle could read"
    ),
    "pickle behind npy's header": bad("npy", npy_header("(1,)", "'|O'") + PICKLE, "Python objects"),
    "pickle in npz": slices("holds Python objects", features=np.array([[Boom()]], object), patch_idx=[3]),
    "pickle in a split": bad("splits npz", npz(**{**SPLIT, "val_cases": np.array([Boom()], object)}), "Python objects"),
    "pickle in h5": bad("h5", h5(features=np.array([PICKLE], "V"), patch_idx=[3])),
    "pickle in parquet": bad("parquet", parquet(features=[PICKLE, PICKLE], patch_idx=[3, 12])),
    "pickle in a table": bad("bags parquet", parquet(bag=["x"], i=[0], f0=[PICKLE])),
    "pickle as a case": bad("bags parquet", parquet(bag=[PICKLE], i=[0], f0=[1.0])),
    "pickle in a run": bad("predictions parquet", parquet(case_id=["52"], p_0=[PICKLE], p_1=[0.5])),
    # Numbers that are none.
    **{
        f"{value} in {name}": bad(name, data, says)
        for value, number in (("NaN", np.nan), ("infinity", np.inf))
        for name, data, says in (
            ("pt", tensor(torch.from_numpy(with_one(number, WIDTH))), f"{ONE}.pt holds NaN, infinity"),
            ("npy", array(with_one(number, WIDTH)), f"{ONE}.npy holds NaN, infinity"),
            ("npz", npz(features=with_one(number, 2, 3), patch_idx=[3, 12]), "h&e.npz: features of case 52"),
            ("h5", h5(features=with_one(number, 2, 3), patch_idx=[3, 12]), "h&e.h5: features of case 52"),
            (
                "parquet",
                parquet(features=[[number, 1.0], [1.0, 2.0]], patch_idx=[3, 12]),
                "h&e.parquet: features of case 52",
            ),
            ("bags csv", f"bag,i,f0\nx,0,{number}\n", "features of case x, h&e, slice 0, patch 0 hold NaN or infinity"),
            (
                "bags parquet",
                parquet(bag=["x"], i=[0], f0=[number]),
                "features of case x, h&e, slice 0, patch 0 hold NaN",
            ),
            ("predictions csv", f"case_id,p_0,p_1\n52,{number},0.5\n", P_TRUE),
            ("predictions parquet", parquet(case_id=["52"], p_0=[number], p_1=[0.5]), P_TRUE),
            ("coordinates", f"file,x,y\n{NAMES[0]}.png,{number},1\n", ""),
            ("training settings", f"lr = {number}\n", f"--lr {number}: give a finite number"),
        )
    },
}
