"""A section of skin without its cells: where tissue lies on the glass, how it is cut into patches, and what is where.

All lengths are in pixels, about a micrometre each.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milstore.demo.fields import Field, cloud, ramp, smooth_noise

PATCH_SIZE = 64
"""Width and height of a patch, in pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """Maps of structures over the slice, with values 0 to 1 (depth in pixels)."""

    tissue: Field
    depth: Field
    epidermis: Field
    junction: Field
    dermis: Field
    papillary: Field
    nest: Field
    planted: Field


def patch_grid(n_patches: int) -> tuple[int, int]:
    """Rows and columns of a patch grid of which the tissue fills about n_patches; wider than high, like a section."""
    rows = max(2, round((n_patches / 1.5) ** 0.5))
    return rows, max(2, -(-n_patches * 117 // (rows * 100)))


def draw_outline(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Field, Field]:
    """The section on the glass: its map of tissue, and the depth below its surface in pixels."""
    height, width = shape
    along = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    ends = np.abs(along) ** 6
    wave = smooth_noise(rng, (1, width), width / 3)
    surface = height * (0.07 + 0.10 * ends) + 0.03 * height * wave + 5 * smooth_noise(rng, (1, width), 90)
    floor = height * (0.97 - 0.22 * ends) - 0.05 * height * (1 + smooth_noise(rng, (1, width), width / 4))
    depth = (y - surface).astype(np.float32)
    left_over = np.minimum(depth, (floor - y).astype(np.float32))
    sides = (0.985 - np.abs(along)) * width / 2 + 12 * smooth_noise(rng, shape, 70)
    return ramp(np.minimum(left_over, sides) + 5 * cloud(rng, shape, 24), -1.5, 1.5), depth


def block_means(field: Field) -> Field:
    """Mean of a map over each patch of the grid."""
    rows, columns = field.shape[0] // PATCH_SIZE, field.shape[1] // PATCH_SIZE
    means: Field = field.reshape(rows, PATCH_SIZE, columns, PATCH_SIZE).mean(axis=(1, 3))
    return means


def choose_patches(tissue: Field, n_patches: int) -> npt.NDArray[np.int64]:
    """The n_patches places with the most tissue, in reading order."""
    share = block_means(tissue)
    best = np.argsort(-share.ravel(), kind="stable")[:n_patches]
    rows, columns = np.divmod(np.sort(best), share.shape[1])
    return np.stack([rows, columns], axis=1)


def planted_nests(
    rng: np.random.Generator, shape: tuple[int, int], places: npt.NDArray[np.int64], regions: tuple[int, ...]
) -> Field:
    """A map of the planted nests: each grows from a patch over neighbouring patches until it has its size."""
    nests = np.full(shape, -1, np.float32)
    free = {(int(row), int(column)) for row, column in places}
    for size in regions:
        if not free:
            break
        taken = _grow(rng, free, size)
        free -= {(r + dr, c + dc) for r, c in taken for dr in (-1, 0, 1) for dc in (-1, 0, 1)}
        for row, column in taken:
            _add_disc(nests, (row + 0.5) * PATCH_SIZE, (column + 0.5) * PATCH_SIZE, 0.62 * PATCH_SIZE)
    return ramp(nests + np.float32(0.35) * cloud(rng, shape, 40), -0.03, 0.03)


def _grow(rng: np.random.Generator, free: set[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    start = sorted(free)[int(rng.integers(len(free)))]
    taken = [start]
    while len(taken) < size:
        edge = sorted(
            {(r + dr, c + dc) for r, c in taken for dr, dc in ((0, 1), (0, -1), (1, 0), (-1, 0))} & free - set(taken)
        )
        if not edge:
            break
        # The neighbour nearest to the start, with some chance: nests are round rather than threads.
        far = [(r - start[0]) ** 2 + (c - start[1]) ** 2 + rng.uniform(0, 2.5) for r, c in edge]
        taken.append(edge[int(np.argmin(far))])
    return taken


def _add_disc(nests: Field, centre_y: float, centre_x: float, radius: float) -> None:
    """Raise a map to a cone that is 1 in the centre, 0 at the radius, negative outside."""
    top, left = max(0, int(centre_y - 2 * radius)), max(0, int(centre_x - 2 * radius))
    view = nests[top : int(centre_y + 2 * radius), left : int(centre_x + 2 * radius)]
    y = np.arange(view.shape[0], dtype=np.float32)[:, None] + np.float32(top - centre_y)
    x = np.arange(view.shape[1], dtype=np.float32)[None, :] + np.float32(left - centre_x)
    np.maximum(view, 1 - np.sqrt(y * y + x * x) / np.float32(radius), out=view)


def draw_anatomy(rng: np.random.Generator, tissue: Field, depth: Field, planted: Field, nests: float) -> Anatomy:
    """Layers, ordinary nests and vessels around the planted nests; `nests`: how many ordinary ones, against the usual."""
    shape = tissue.shape
    width = shape[1]
    ridges = np.abs(smooth_noise(rng, (1, width), 26)) * (0.6 + 0.4 * smooth_noise(rng, (1, width), 150))
    border = 26 + 46 * ridges + 5 * smooth_noise(rng, shape, 14)
    below = depth - border
    epidermis = ramp(below, 1.5, -1.5) * ramp(depth, 6, 9)
    dermis = ramp(below, -1.5, 1.5)
    nest = np.full(shape, -1, np.float32)
    for _ in range(int(rng.poisson(nests * shape[0] * shape[1] / 42_000))):
        x = rng.uniform(0.05, 0.95) * width
        junction = float(np.argmax(dermis[:, min(int(x), width - 1)] > 0.5))
        deep = junction + (rng.uniform(-6, 14) if rng.random() < 0.5 else rng.uniform(0, 0.55) * shape[0])
        _add_disc(nest, deep, x, rng.uniform(16, 44))
    nest = ramp(nest + np.float32(0.40) * cloud(rng, shape, 36), -0.04, 0.04)
    vessels = ramp(cloud(rng, shape, 60, 2), 0.62, 0.66) * ramp(below, 20, 30)
    tissue = tissue * (1 - vessels * (1 - planted))
    return Anatomy(
        tissue=tissue,
        depth=depth,
        epidermis=epidermis * (1 - planted),
        junction=ramp(np.abs(below + 4), 6, 2) * (1 - planted),
        dermis=dermis,
        papillary=ramp(below, 70, 10),
        nest=nest * ramp(depth, 14, 20) * (1 - planted) * tissue,
        planted=planted * ramp(depth, 4, 8) * tissue,
    )
