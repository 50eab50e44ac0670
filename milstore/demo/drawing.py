"""Slices of drawn skin, stained: H&E, or Melan-A or SOX10 in brown (DAB) on blue haematoxylin.

A slice is drawn whole, as a map of each dye's concentration, and then seen through Beer-Lambert: light falls by
10^(-optical density), with the dyes' colours from Ruifrok & Johnston 2001 (doi 10.1016/S0142-694X(01)00199-1); so
neighbouring patches join without a seam. About one pixel is one micrometre: a nucleus of a naevus cell is 7 px wide.

From the surface down: horn, epidermis with rete ridges, dermis with collagen, vessels and lymphocytes. Nests of
melanocytes lie at the junction and in the dermis. Where a nest is planted its cells are atypical by `atypia` (0 to 1):
larger, darker, uneven, crowded nuclei with nucleoli, and patchy brown.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from milstore.demo.fields import Cells, Field, cloud, lattice, make_cells, ramp, smooth_noise, stamp
from milstore.demo.section import (
    PATCH_SIZE,
    Anatomy,
    block_means,
    choose_patches,
    draw_anatomy,
    draw_outline,
    patch_grid,
    planted_nests,
)

STAINS = ("h&e", "melan", "sox10")
"""The stains that can be drawn."""

DYE_COLOURS = {
    "haematoxylin": (0.65, 0.70, 0.29),
    "eosin": (0.15, 0.86, 0.49),
    "dab": (0.27, 0.57, 0.78),
}
"""Optical density of one unit of dye in red, green and blue: Ruifrok & Johnston's, save that their eosin is a magenta
that few scanners show; this one lies between theirs and Macenko's (2009)."""

MIN_COVER = 0.25
"""A patch counts as planted where planted nests cover at least this share of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlicePlan:
    """What to draw."""

    stain: str
    """h&e, melan or sox10."""
    n_patches: int
    """Patches to cut, at least 1."""
    atypia: float = 0.0
    """How atypical the planted cells are, 0 (like the others) to 1."""
    cells: float = 1.0
    """How many ordinary nests there are, against the usual."""
    regions: tuple[int, ...] = ()
    """Planted nests, each by the number of patches that it should cover."""
    seed: tuple[int, ...] = (0,)
    """Seed of all that is drawn by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnSlice:
    """A drawn slice and the places of its patches."""

    pixels: npt.NDArray[np.uint8]
    """(height, width, 3), RGB."""
    places: npt.NDArray[np.int64]
    """(n_patches, 2): row and column on the patch grid, in reading order."""
    numbers: npt.NDArray[np.int64]
    """(n_patches,): the place counted over the whole grid in reading order, so that empty glass leaves gaps."""
    planted: npt.NDArray[np.bool_]
    """(n_patches,): whether planted nests cover at least MIN_COVER of the patch."""

    def patches(self) -> Iterator[npt.NDArray[np.uint8]]:
        """The patches' pixels, each (PATCH_SIZE, PATCH_SIZE, 3), in the order of `places`."""
        for row, column in self.places * PATCH_SIZE:
            yield self.pixels[row : row + PATCH_SIZE, column : column + PATCH_SIZE]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Population:
    keratinocytes: Cells
    stroma: Cells
    lymphocytes: Cells
    melanocytes: Cells
    atypical: Cells


def draw_slice(plan: SlicePlan) -> DrawnSlice:
    """Draw a slice: the same plan gives the same bytes."""
    if plan.stain not in STAINS:
        raise ValueError(f"stain {plan.stain!r} cannot be drawn ({', '.join(STAINS)})")
    rng = np.random.default_rng(plan.seed)
    rows, columns = patch_grid(plan.n_patches)
    shape = (rows * PATCH_SIZE, columns * PATCH_SIZE)
    tissue, depth = draw_outline(rng, shape)
    places = choose_patches(tissue, plan.n_patches)
    planted = planted_nests(rng, shape, places, plan.regions)
    anatomy = draw_anatomy(rng, tissue, depth, planted, plan.cells)
    population = _populate(rng, anatomy, plan.atypia)
    dyes = _stain(rng, plan.stain, anatomy, population, plan.atypia)
    covered = block_means(anatomy.planted)[places[:, 0], places[:, 1]]
    return DrawnSlice(
        pixels=_develop(rng, dyes),
        places=places,
        numbers=places[:, 0] * columns + places[:, 1],
        planted=covered >= MIN_COVER,
    )


def _populate(rng: np.random.Generator, anatomy: Anatomy, atypia: float) -> _Population:
    shape = anatomy.tissue.shape
    quiet = (1 - anatomy.nest) * (1 - anatomy.planted) * anatomy.tissue
    keratin: Field = np.maximum(anatomy.epidermis * 0.95, anatomy.junction) * quiet
    # How much inflamed differs from slice to slice, in both classes: dark crowded nuclei alone prove nothing.
    inflamed: Field = ramp(cloud(rng, shape, 90, 2), rng.uniform(0.35, 0.75), 0.8) * anatomy.dermis * quiet
    fibres = 0.6 * smooth_noise(rng, shape, 80, 2)
    stroma_places = lattice(rng, anatomy.dermis * quiet * (0.16 + 0.10 * anatomy.papillary), 11, 0.5)
    turn = fibres[stroma_places[0].astype(np.int64), stroma_places[1].astype(np.int64)]
    # Naevus cells, too, are larger in some slices than in others.
    size = 3.4 * float(np.exp(0.09 * rng.standard_normal()))
    large = 3.5 + 2.7 * atypia
    return _Population(
        keratinocytes=make_cells(
            rng, lattice(rng, keratin, 10.0, 0.22), radius=3.7, spread=0.10, roundness=0.75, dark=0.80, hollow=0.35
        ),
        stroma=make_cells(
            rng, stroma_places, radius=5.2, spread=0.18, roundness=0.32, dark=0.95, hollow=0.05, angle=turn
        ),
        lymphocytes=make_cells(
            rng, lattice(rng, 0.85 * inflamed, 7.5, 0.35), radius=2.7, spread=0.06, roundness=0.92, dark=1.35, hollow=0
        ),
        melanocytes=make_cells(
            rng,
            lattice(rng, anatomy.nest * 0.97, size * 2.7, 0.24),
            radius=size,
            spread=0.08,
            roundness=0.88,
            dark=0.85,
        ),
        atypical=make_cells(
            rng,
            lattice(rng, anatomy.planted * 0.95, large * (2.75 - 0.55 * atypia), 0.16 + 0.22 * atypia),
            radius=large,
            spread=0.08 + 0.24 * atypia,
            roundness=0.88 - 0.13 * atypia,
            dark=0.88 + 0.30 * atypia,
            ragged=0.03 + 0.07 * atypia,
            hollow=0.2 + 0.3 * atypia,
            nucleolus=0.9 * atypia,
        ),
    )


def _ground(rng: np.random.Generator, anatomy: Anatomy) -> Field:
    """What lies between the cells, about 0 to 1: collagen in wavy bundles, a dense epidermis, flaking horn."""
    shape = anatomy.tissue.shape
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    x = np.arange(shape[1], dtype=np.float32)[None, :]
    bend = 34 * smooth_noise(rng, shape, 80, 1.3) + 9 * smooth_noise(rng, shape, 26, 2)
    coarse = np.sin((y + 0.35 * x * np.float32(rng.uniform(-1, 1)) + bend) * np.float32(0.42))
    fine = smooth_noise(rng, shape, 3.2, 4)
    patchy = cloud(rng, shape, 50, 2)
    bundles = ramp(coarse * 0.55 + fine * 0.45 + 0.5 * patchy + 0.62, 0, 0.8)
    collagen = bundles * (0.62 + 0.22 * fine + 0.25 * patchy)
    papillary = 0.48 + 0.16 * fine + 0.10 * patchy
    dermis = collagen + (papillary - collagen) * anatomy.papillary
    epidermis = 0.58 + 0.10 * fine + 0.06 * patchy
    horn = ramp(anatomy.depth, 9, 6) * (0.35 + 0.65 * ramp(np.sin(anatomy.depth * 1.1 + bend), -0.5, 0.5))
    between = dermis * anatomy.dermis + epidermis * anatomy.epidermis + 0.8 * horn
    nests = np.maximum(anatomy.nest, anatomy.planted)
    return np.clip((between + (0.36 + 0.07 * fine - between) * nests) * anatomy.tissue, 0, 1.2)


def _stain(
    rng: np.random.Generator, stain: str, anatomy: Anatomy, population: _Population, atypia: float
) -> dict[str, Field]:
    """Concentration of each dye over the slice."""
    shape = anatomy.tissue.shape
    ground = _ground(rng, anatomy)
    nuclei = np.zeros(shape, np.float32)
    for cells in (population.stroma, population.keratinocytes, population.lymphocytes):
        stamp(nuclei, cells, rng)
    brown = np.zeros(shape, np.float32)
    if stain == "sox10":
        stamp(brown, _positive(rng, population.melanocytes, 0.97, 0.08), rng)
        stamp(brown, _positive(rng, population.atypical, 0.97 - 0.25 * atypia, 0.10 + 0.35 * atypia), rng)
        brown *= 1.3
    stamp(nuclei, population.melanocytes, rng)
    stamp(nuclei, population.atypical, rng)
    if stain == "melan":
        stamp(brown, _positive(rng, population.melanocytes, 0.95, 0.12), rng, grown=1.55, plain=True)
        stamp(
            brown,
            _positive(rng, population.atypical, 0.95 - 0.30 * atypia, 0.15 + 0.35 * atypia),
            rng,
            1.45,
            plain=True,
        )
        brown *= 0.95 * (1 - 0.75 * np.clip(nuclei, 0, 1))
    grain = 1 + 0.16 * smooth_noise(rng, shape, 1.6)
    nuclei *= grain
    epithelium = 0.12 * anatomy.epidermis + 0.07 * np.maximum(anatomy.nest, anatomy.planted)
    if stain == "h&e":
        return {
            "haematoxylin": 1.05 * nuclei + epithelium * anatomy.tissue,
            "eosin": 0.62 * ground * (1 - 0.45 * np.clip(nuclei, 0, 1)),
        }
    return {
        "haematoxylin": 0.72 * nuclei * (1 - 0.85 * np.clip(brown, 0, 1))
        + 0.10 * ground
        + 0.6 * epithelium * anatomy.tissue,
        "dab": 0.95 * brown * grain + 0.035 * ground,
    }


def _positive(rng: np.random.Generator, cells: Cells, share: float, spread: float) -> Cells:
    """The cells that the antibody marks, each about as strongly."""
    marked = cells.some(rng.random(len(cells)) < share)
    strength = np.exp(spread * rng.standard_normal(len(marked))).astype(np.float32)
    return Cells(**{name: getattr(marked, name) for name in Cells.__slots__ if name != "dark"}, dark=strength)


def _develop(rng: np.random.Generator, dyes: dict[str, Field]) -> npt.NDArray[np.uint8]:
    """What the scanner sees: (height, width, 3), RGB. Each slice takes up a little more or less of each dye."""
    shape = next(iter(dyes.values())).shape
    density = np.array([0.030, 0.032, 0.026], np.float32)[:, None, None] + 0.006 * smooth_noise(rng, shape, 200)
    for dye, amount in dyes.items():
        strength = float(np.exp(0.14 * rng.standard_normal()))
        colour = np.array(DYE_COLOURS[dye]) * np.exp(0.05 * rng.standard_normal(3))
        for channel in range(3):
            density[channel] += amount * np.float32(strength * colour[channel])
    density += 0.007 * _scanner_noise(rng, shape)
    light = 255 * np.exp(-np.maximum(density, 0)) + np.float32(0.5)
    return np.stack([channel.astype(np.uint8) for channel in light], axis=-1)


def _scanner_noise(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Noise of deviation 1 in each pixel; a tile of it, repeated, is ten times as fast and looks the same."""
    tile = rng.standard_normal((128, 128), dtype=np.float32)
    return np.tile(tile, (-(-shape[0] // 128), -(-shape[1] // 128)))[: shape[0], : shape[1]]
