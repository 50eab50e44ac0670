"""What the drawing is made of: smooth noise, lattices of cells, and cells stamped on a canvas.

All in numpy, float32, vectorised over the whole slice. No matrix product is used: its last bits depend on the
number of threads, and the same seed must give the same bytes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
"""A (height, width) map over a slice."""

_CHUNK = 512
"""Cells that are stamped at once; bounds the memory of a stamp."""


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], size: float, stretch: float = 1.0) -> Field:
    """Noise without edges: random values on a grid, joined by smoothstep (value noise).

    shape: (height, width) in pixels. size: distance of the grid's points along y, in pixels; along x it is
    size * stretch. Values are in -1..1.
    """
    height, width = shape
    step_y, step_x = size, size * stretch
    grid = rng.uniform(-1, 1, (int(height / step_y) + 3, int(width / step_x) + 3)).astype(np.float32)
    row, weight_row = _places(height, step_y, rng.random())
    column, weight_column = _places(width, step_x, rng.random())
    rows = grid[row] + (grid[row + 1] - grid[row]) * weight_row[:, None]
    field: Field = np.diff(rows, axis=1).take(column, axis=1)
    field *= weight_column
    field += rows.take(column, axis=1)
    return field


def _places(length: int, step: float, offset: float) -> tuple[npt.NDArray[np.int64], Field]:
    """For each pixel the grid point before it, and how far it is towards the next (smoothstep)."""
    place = np.arange(length, dtype=np.float64) / step + offset
    before = place.astype(np.int64)
    part = (place - before).astype(np.float32)
    return before, part * part * (3 - 2 * part)


def cloud(rng: np.random.Generator, shape: tuple[int, int], size: float, octaves: int = 3) -> Field:
    """Noise of several sizes, each half as large and half as strong as the one before; values about -1..1."""
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += smooth_noise(rng, shape, size / 2**octave) / 2**octave
    total /= np.float32(2 - 2.0 ** (1 - octaves))
    return total


def ramp(values: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, straight between; with low > high it falls instead."""
    risen: Field = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return risen


@dataclass(frozen=True, kw_only=True, slots=True)
class Cells:
    """Cells of one kind, one entry a cell; lengths in pixels, angles in radians."""

    y: Field
    x: Field
    radius: Field
    """Half the longer axis of the nucleus."""
    roundness: Field
    """Shorter axis over longer axis."""
    angle: Field
    dark: Field
    """How much dye the nucleus takes up."""
    ragged: Field
    """How far the outline departs from an ellipse, as a share of the radius."""
    hollow: Field
    """How pale the middle is against the rim (vesicular chromatin), 0 to 1."""
    nucleolus: Field
    """How much darker a spot in the nucleus is."""

    def __len__(self) -> int:
        return len(self.y)

    def some(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> "Cells":
        """The cells that `which` picks: a mask or indices."""
        return Cells(**{name: getattr(self, name)[which] for name in self.__slots__})


def lattice(rng: np.random.Generator, inside: Field, spacing: float, jitter: float) -> tuple[Field, Field]:
    """Places of cells, (y, x) in pixels: a hexagonal lattice, each point moved by chance, kept where `inside` says.

    inside: the chance, 0 to 1, that a point is kept. jitter: the largest move, as a share of the spacing.
    """
    height, width = inside.shape
    row_step = spacing * 0.866
    y, x = np.meshgrid(np.arange(0, height, row_step), np.arange(0, width, spacing), indexing="ij")
    x = x + (np.arange(len(x)) % 2)[:, None] * spacing / 2
    y = (y + rng.uniform(-jitter, jitter, y.shape) * spacing).ravel()
    x = (x + rng.uniform(-jitter, jitter, x.shape) * spacing).ravel()
    chance = rng.random(y.size)
    within = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x, chance = y[within], x[within], chance[within]
    kept = chance < inside[y.astype(np.int64), x.astype(np.int64)]
    return y[kept].astype(np.float32), x[kept].astype(np.float32)


def make_cells(
    rng: np.random.Generator,
    places: tuple[Field, Field],
    *,
    radius: float,
    spread: float,
    roundness: float,
    dark: float,
    ragged: float = 0.03,
    hollow: float = 0.2,
    nucleolus: float = 0.0,
    angle: Field | None = None,
) -> Cells:
    """Cells at these places, drawn around the given means; `spread` is the relative deviation of size and darkness."""
    y, x = places
    count = len(y)

    def around(mean: float, deviation: float) -> Field:
        return (mean * np.exp(deviation * rng.standard_normal(count))).astype(np.float32)

    turned = rng.uniform(0, np.pi, count).astype(np.float32)
    return Cells(
        y=y,
        x=x,
        radius=np.minimum(around(radius, spread), np.float32(radius * 2.2)),
        roundness=np.clip(roundness + 0.10 * rng.standard_normal(count), 0.25, 1).astype(np.float32),
        angle=turned if angle is None else angle + np.float32(0.25) * (turned - np.float32(np.pi / 2)),
        dark=around(dark, 0.08 + spread / 2),
        ragged=np.full(count, ragged, np.float32),
        hollow=np.full(count, hollow, np.float32),
        nucleolus=around(nucleolus, 0.4) if nucleolus else np.zeros(count, np.float32),
    )


def stamp(canvas: Field, cells: Cells, rng: np.random.Generator, grown: float = 1.0, plain: bool = False) -> None:
    """Draw cells on a canvas of dye; where they overlap the darker one counts.

    grown: factor on the radius (cytoplasm is a grown nucleus). plain: an even disc, fading at the edge.
    """
    if not len(cells):
        return
    order = np.argsort(cells.radius, kind="stable")
    for start in range(0, len(order), _CHUNK):
        part = order[start : start + _CHUNK]
        _stamp_chunk(canvas, cells.some(part), rng, grown, plain)


def _stamp_chunk(canvas: Field, cells: Cells, rng: np.random.Generator, grown: float, plain: bool) -> None:
    height, width = canvas.shape
    radius = (cells.radius * np.float32(grown))[:, None, None]
    reach = int(np.ceil(float(radius.max()) * 1.2)) + 1
    window = np.arange(-reach, reach + 1)
    centre_y, centre_x = np.rint(cells.y).astype(np.int64), np.rint(cells.x).astype(np.int64)
    dy = (window[None, :, None] - (cells.y - centre_y)[:, None, None]).astype(np.float32)
    dx = (window[None, None, :] - (cells.x - centre_x)[:, None, None]).astype(np.float32)
    cos, sin = np.cos(cells.angle)[:, None, None], np.sin(cells.angle)[:, None, None]
    along = (dx * cos + dy * sin) / radius
    across = (dy * cos - dx * sin) / (radius * cells.roundness[:, None, None])
    distance = np.sqrt(along * along + across * across) + np.float32(1e-6)
    distance /= _outline(along / distance, across / distance, cells.ragged[:, None, None], rng)
    soft = np.float32(0.35) if plain else 1.4 / radius
    value = np.clip((1 - distance) / soft + np.float32(0.5), 0, 1)
    if not plain:
        value *= 1 - cells.hollow[:, None, None] * np.clip(1 - distance * distance, 0, 1)
        if cells.nucleolus.any():
            value += _nucleoli(along, across, cells, rng) * (distance < 1)
    value *= cells.dark[:, None, None]
    rows = centre_y[:, None, None] + window[None, :, None]
    columns = centre_x[:, None, None] + window[None, None, :]
    seen = (value > 0.01) & (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    np.maximum.at(canvas.reshape(-1), (rows * width + columns)[seen], value[seen])


def _outline(cos: Field, sin: Field, ragged: Field, rng: np.random.Generator) -> Field:
    """Radius of a ragged outline by direction: the second and third harmonic, with a phase for each cell."""
    second, third = rng.uniform(0, 2 * np.pi, (2, len(ragged), 1, 1)).astype(np.float32)
    cos2, sin2 = 2 * cos * cos - 1, 2 * cos * sin
    cos3, sin3 = cos2 * cos - sin2 * sin, sin2 * cos + cos2 * sin
    wave = cos2 * np.cos(second) - sin2 * np.sin(second) + cos3 * np.cos(third) - sin3 * np.sin(third)
    radius: Field = 1 + ragged * wave
    return radius


def _nucleoli(along: Field, across: Field, cells: Cells, rng: np.random.Generator) -> Field:
    place_along, place_across = rng.uniform(-0.35, 0.35, (2, len(cells), 1, 1)).astype(np.float32)
    squared = (along - place_along) ** 2 + (across - place_across) ** 2
    darker: Field = cells.nucleolus[:, None, None] * np.exp(-squared / np.float32(2 * 0.2**2))
    return darker
