"""Grids that patches were cut on: what is compared is the patch at the encoder's input, since its size at level 0 differs by slide."""

from dataclasses import dataclass
from typing import Any

_CLOSE = 0.02
"""Resolutions that differ by less than this share are one: scanners write 0.2498 for 0.25."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """How patches were cut."""

    edge: int
    """Edge of a patch at the encoder's input, in pixels."""
    mpp: float | None = None
    """Micrometres a pixel at the encoder's input; None if unknown."""
    overlap: int = 0
    """Pixels that neighbours share at the encoder's input."""
    tool: str | None = None
    """What cut them first."""

    @property
    def name(self) -> str:
        """Its name in the table `grids`, such as 256px-0.5mpp or 256px-0.5mpp-32overlap."""
        parts = [f"{self.edge}px"]
        parts += [] if self.mpp is None else [f"{round_mpp(self.mpp):g}mpp"]
        parts += [f"{self.overlap}overlap"] if self.overlap else []
        return "-".join(parts)

    def row(self) -> dict[str, Any]:
        """Its row of the table `grids`."""
        mpp = None if self.mpp is None else round_mpp(self.mpp)
        return {"grid": self.name, "tool": self.tool, "edge": self.edge, "mpp": mpp, "overlap": self.overlap}

    def edge_on(self, mpp_level0: float) -> int | None:
        """Edge of a patch in pixels of level 0 of a slide of this resolution; None where the grid's is unknown."""
        return None if self.mpp is None else round(self.edge * self.mpp / mpp_level0)


def round_mpp(mpp: float) -> float:
    """A resolution to two significant places, where that changes it by less than two in a hundred: 0.4992 is 0.5."""
    short = float(f"{mpp:.2g}")
    return short if abs(short - mpp) <= _CLOSE * mpp else float(f"{mpp:.3g}")
