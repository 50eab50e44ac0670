"""How attention lies in a slice: a spike at one patch, a region of neighbours, or diffuse.

The rule, in this order, over the n patches of a slice, whose attention p sums to 1:

1. fewer than 5 patches: `too few`, no word is meaningful;
2. one patch holds at least half (peak share >= 1/2): `spike`;
3. the effective number of patches 1 / sum(p^2) is above n / 2: `diffuse`, for attention is not concentrated at all;
4. the patches that hold it lie together: `region`. Where all patches have a place, this is decided by Moran's I
   (as high in at most 1% of random rearrangements of the same weights), else by the longest run of patches above twice
   the mean in the order of their numbers (as long in at most 5% of random orders: a weaker test, for a square of
   patches gives short runs only);
5. few lone patches hold it (effective number at most 5, and at most a fifth of the patches): `spike`;
6. otherwise `diffuse`: a minority of patches, but scattered over the slice.

Patches are neighbours if their places differ by at most one and a half steps in x and in y, a step being the median
distance to the nearest patch: the eight around a patch on a grid, and sensible off a grid and among gaps. Moran's I
(Moran 1950) is n / W * sum_ij z_i z_j / sum_i z_i^2 over ordered pairs of neighbours, z being p minus its mean and W
the number of such pairs. Numbers follow the tissue row by row, so a run sees regions that are wide, not those that are
high: that is why places decide where there are places.
"""

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Vector = npt.NDArray[np.float64]

PATTERNS = ("spike", "region", "diffuse", "too few")
FEWEST_PATCHES = 5
SPIKE_SHARE = 0.5
DIFFUSE_SHARE = 0.5
LONE_PATCHES, LONE_SHARE = 5.0, 0.2
HOT = 2.0
"""A patch above this many times the slice's mean counts for a run."""
MORAN_LEVEL = 0.01
"""A store has hundreds of slices: at 0.05, one diffuse slice in twenty would be called a region."""
RUN_LEVEL = 0.05
PERMUTATIONS = 999
_LARGEST_BLOCK = 4_000_000
"""Numbers of a block of permutations: 32 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """What is measured of a slice's attention."""

    patches: int
    peak_share: float
    """Share of the most attended patch, 1/n to 1."""
    effective_patches: float
    """1 / sum(p^2): 1 where one patch holds all, n where all hold the same."""
    longest_run: int
    """Most patches in a row, in the order of their numbers, each above twice the mean."""
    run_p: float
    """Chance of so long a run if the same weights stood in a random order."""
    moran_i: float | None
    """Moran's I; None without places, neighbours or differences in weight."""
    moran_p: float | None
    """Share of random rearrangements with as high a Moran's I, the slice itself counted."""

    @property
    def pattern(self) -> str:
        """The word for it, by the rule at the head of this module."""
        if self.patches < FEWEST_PATCHES:
            return "too few"
        if self.peak_share >= SPIKE_SHARE:
            return "spike"
        if self.effective_patches > self.patches * DIFFUSE_SHARE:
            return "diffuse"
        together = self.run_p <= RUN_LEVEL if self.moran_p is None else self.moran_p <= MORAN_LEVEL
        if together:
            return "region"
        lone = min(LONE_PATCHES, LONE_SHARE * self.patches)
        return "spike" if self.effective_patches <= lone else "diffuse"


def measure(weights_N: Vector, places_N2: Vector | None, seed: int = 0) -> Measures:
    """Measure a slice.

    Args:
        weights_N: attention of the N >= 1 patches in the order of their numbers; not negative, with a positive sum.
        places_N2: x and y of each patch, in any unit; None where a place is unknown.
        seed: of the random rearrangements.
    """
    p_N = weights_N / weights_N.sum()
    n = len(p_N)
    hot_N = p_N > HOT / n
    run = longest_run(hot_N)
    moran = None if places_N2 is None else moran_test(p_N, places_N2, seed)
    return Measures(
        patches=n,
        peak_share=float(p_N.max()),
        effective_patches=float(1 / (p_N**2).sum()),
        longest_run=run,
        run_p=run_chance(n, int(hot_N.sum()), run),
        moran_i=None if moran is None else moran[0],
        moran_p=None if moran is None else moran[1],
    )


def longest_run(hot_N: npt.NDArray[np.bool_]) -> int:
    """Most true values in a row."""
    cold = np.flatnonzero(np.concatenate([[True], ~hot_N, [True]]))
    return int(np.diff(cold).max()) - 1


def run_chance(n: int, hot: int, run: int) -> float:
    """Chance that `hot` of n patches in a random order have a run of at least `run`; exact.

    The orders without one are counted by inclusion and exclusion over the n - hot + 1 gaps between the others.

    >>> run_chance(3, 2, 2)  # of 110, 101, 011 two have a run of two
    0.6666666666666666
    """
    if run <= 1:
        return 1.0 if hot >= run else 0.0
    without = sum(
        (-1) ** j * math.comb(n - hot + 1, j) * math.comb(n - j * run, n - hot) for j in range(hot // run + 1)
    )
    orders = math.comb(n, hot)
    return float((orders - without) / orders)


def moran_test(p_N: Vector, places_N2: Vector, seed: int) -> tuple[float, float] | None:
    """Moran's I of weights at places and its one-sided permutation p-value; None where it is undefined."""
    from scipy.sparse import coo_array

    pairs_E2 = neighbours(places_N2)
    z_N = p_N - p_N.mean()
    # Sums of squares below this are rounding: all weights are one.
    if not len(pairs_E2) or (variance := float((z_N**2).sum())) <= (np.finfo(np.float32).eps * p_N.mean()) ** 2:
        return None
    n, edges = len(p_N), len(pairs_E2)
    # Each pair once: it counts twice above and below the line.
    beside_NN = coo_array((np.ones(edges), (pairs_E2[:, 0], pairs_E2[:, 1])), shape=(n, n)).tocsr()
    products = float(z_N @ (beside_NN @ z_N))
    rng = np.random.default_rng(seed)
    as_high, left = 1, PERMUTATIONS
    while left:
        block = min(left, max(1, _LARGEST_BLOCK // n))
        z_NB = np.ascontiguousarray(rng.permuted(np.broadcast_to(z_N, (block, n)), axis=1).T)
        products_B = np.einsum("nb,nb->b", z_NB, beside_NN @ z_NB)
        # A rearrangement that gives the same sum in another order is as high.
        as_high += int((products_B >= products - 1e-12 * variance).sum())
        left -= block
    return n / edges * products / variance, as_high / (PERMUTATIONS + 1)


def neighbours(places_N2: Vector) -> npt.NDArray[np.int64]:
    """Pairs (E, 2) of patches that lie side by side, each pair once; none where most places coincide."""
    from scipy.spatial import cKDTree

    if len(places_N2) < 2:
        return np.empty((0, 2), np.int64)
    tree = cKDTree(places_N2)
    nearest_N2, _ = tree.query(places_N2, k=2, p=np.inf)
    step = float(np.median(nearest_N2[:, 1]))
    if step <= 0:
        return np.empty((0, 2), np.int64)
    return np.asarray(tree.query_pairs(1.5 * step, p=np.inf, output_type="ndarray"), np.int64).reshape(-1, 2)


def classified(table: "pa.Table") -> "pa.Table":
    """The rows of the query `slice-pattern` with measures and pattern in place of the lists of weights and places."""
    import pyarrow as pa

    from milstore.analysis.arrays import array

    lists = ("weights", "xs", "ys")
    found = [_measured(row) for row in table.to_pylist()]
    columns: dict[str, Any] = {
        "pattern": array([m.pattern for m in found], pa.string()),
        "peak_share": array([m.peak_share for m in found], pa.float64()),
        "effective_patches": array([m.effective_patches for m in found], pa.float64()),
        "longest_run": array([m.longest_run for m in found], pa.int64()),
        "run_p": array([m.run_p for m in found], pa.float64()),
        "moran_i": array([m.moran_i for m in found], pa.float64()),
        "moran_p": array([m.moran_p for m in found], pa.float64()),
    }
    kept = table.select([name for name in table.column_names if name not in lists])
    for name, column in columns.items():
        kept = kept.append_column(name, column)
    return kept


def _measured(row: dict[str, Any]) -> Measures:
    whole = not any(value is None for name in ("xs", "ys") for value in row[name])
    places_N2 = np.array([row["xs"], row["ys"]], np.float64).T if whole else None
    # A seed of the slice's own: its p-value is the same in whatever company it is asked for.
    key = f"{row['run_id']}\0{row['case_id']}\0{row['stain']}\0{row['slice_idx']}"
    return measure(np.array(row["weights"], np.float64), places_N2, zlib.crc32(key.encode()))
