"""A slide cut into patches: a grid at one resolution, of which the patches on tissue are kept. No image is written."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError, UsageError
from milstore.pixels.slide import open_slide
from milstore.pixels.tissue import Places, Tissue, TissueSettings, find_tissue
from milstore.store.grids import Grid
from milstore.store.names import clip

TOOL = "milstore"
"""What the grid's row says of who cut it."""
_MOST = 1 << 22
"""Places of a grid; more is a mistake in the resolution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TileSettings:
    """How slides are cut."""

    mpp: float = 0.5
    """Micrometres a pixel of the patches, as the encoder sees them."""
    patch: int = 256
    """Edge of a patch in its own pixels."""
    overlap: int = 0
    """Pixels that neighbours share."""
    share: float = 0.25
    """Share of a patch that must be tissue."""
    tissue: TissueSettings = field(default_factory=TissueSettings)
    """What counts as tissue."""

    def __post_init__(self) -> None:
        """Raises UsageError if a setting is out of range."""
        if not 0.01 <= self.mpp <= 100:
            raise UsageError(f"--mpp {self.mpp:g} is no resolution of a slide: give micrometres a pixel, such as 0.5")
        if not 8 <= self.patch <= 4096:
            raise UsageError(f"--patch {self.patch} is no edge of a patch: give 8 to 4096 pixels")
        if not 0 <= self.overlap < self.patch:
            raise UsageError(f"--overlap {self.overlap} does not fit patches of {self.patch} pixels: give fewer pixels")
        if not 0 < self.share <= 1:
            raise UsageError(f"a share of {self.share:g} of a patch cannot be tissue: give more than 0, and 1 at most")

    @property
    def grid(self) -> Grid:
        """The grid, as the store names it."""
        return Grid(edge=self.patch, mpp=self.mpp, overlap=self.overlap, tool=TOOL)

    @property
    def identity(self) -> str:
        """A text that identifies the settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tiled:
    """A slide, cut."""

    places: Places
    """(N, 4): x, y, width and height of the patches on tissue in pixels of level 0, by (y, x)."""
    shares: npt.NDArray[np.float64]
    """(N,): how much of each is tissue."""
    pieces: npt.NDArray[np.int64]
    """(N,): the piece of tissue that each lies on, from 0."""
    tissue: Tissue
    width: int
    """Of level 0, in pixels."""
    height: int
    file_mpp: float | None
    """What the slide's file says."""
    mpp: float
    """What it was cut by."""
    magnification: float | None
    vendor: str | None


def tile_slide(
    path: str | Path, settings: TileSettings, *, mpp: float | None = None, otherwise: float | None = None
) -> Tiled:
    """Cut a slide into patches.

    Args:
        path: the slide's file.
        settings: how.
        mpp: micrometres a pixel of level 0, as is known from elsewhere; it goes before what the file says.
        otherwise: the same, where neither that nor the file says it.

    Raises:
        DataError: the slide cannot be read, or nothing says its resolution.
        UsageError: it needs openslide, which is not installed.
    """
    slide = open_slide(path)
    try:
        known = mpp or slide.mpp or otherwise
        if known is None:
            raise DataError(
                f"{clip(str(path), 300)} does not say its resolution: give it in the slides table, or by --slide-mpp"
            )
        tissue = find_tissue(slide, known, settings.tissue)
    finally:
        slide.close()
    places = grid_places(slide.width, slide.height, known, settings.grid)
    shares = tissue.shares(places)
    kept = shares >= settings.share
    return Tiled(
        places=places[kept], shares=shares[kept], pieces=tissue.pieces(places[kept]), tissue=tissue, width=slide.width,
        height=slide.height, file_mpp=slide.mpp, mpp=known, magnification=slide.magnification, vendor=slide.vendor,
    )  # fmt: skip


def grid_places(width: int, height: int, mpp: float, grid: Grid) -> Places:
    """Every place of a grid on a slide: x, y, width and height (N, 4) in pixels of level 0, by (y, x), from (0, 0) on.

    A step that is no whole number of pixels is rounded where it ends, so that nothing adds up. Patches at the right and
    lower edge may reach beyond the slide.

    Args:
        width, height: of level 0, in pixels.
        mpp: micrometres a pixel of level 0.
        grid: the grid; its resolution is known.

    Raises:
        UsageError: patches would be smaller than a pixel, or too many.
    """
    edge, step = grid.edge_on(mpp), (grid.edge - grid.overlap) * (grid.mpp or mpp) / mpp
    if not edge or step < 1 or (width / step) * (height / step) > _MOST:
        raise UsageError(
            f"patches of {grid.edge} pixels at {grid.mpp:g} µm a pixel do not fit a slide of {width} x {height} pixels at {mpp:g}"
        )
    x = np.rint(np.arange(0, width, step)).astype(np.int64)
    y = np.rint(np.arange(0, height, step)).astype(np.int64)
    y_N, x_N = (each.ravel() for each in np.meshgrid(y[y < height], x[x < width], indexing="ij"))
    return np.stack([x_N, y_N, np.full_like(x_N, edge), np.full_like(x_N, edge)], axis=1)
