"""Writes the drawn patches of a slice as image files: the part of the demo that runs in processes of its own."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from milstore.demo.drawing import draw_slice
from milstore.demo.plan import PlannedSlice
from milstore.demo.section import PATCH_SIZE


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceTask:
    """A slice to draw, for one process."""

    folder: Path
    case_id: str
    label: int
    planned: PlannedSlice


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceFiles:
    """Where the patches of a slice are."""

    places: list[tuple[str, int, int]]
    """File below images/, x and y in pixels."""
    planted: list[tuple[str, str, int, int]]
    """case_id, stain, slice_idx, patch_idx of the planted patches."""


def write_slice(task: SliceTask) -> SliceFiles:
    """Draw a slice and write its patches, unless its folder is there."""
    from PIL import Image

    planned = task.planned
    drawn = draw_slice(planned.drawing)
    names = [f"{planned.stem}{number}.png" for number in drawn.numbers.tolist()]
    folder = task.folder / planned.stem.removesuffix("_patch")
    if not folder.is_dir():
        # Written aside and renamed: a folder that is there is whole.
        aside = task.folder / f".{folder.name}.tmp"
        aside.mkdir(parents=True)
        for name, pixels in zip(names, drawn.patches(), strict=True):
            stream = BytesIO()
            Image.fromarray(pixels).save(stream, "png", compress_level=1)
            # One write a file: Pillow's own many small ones take three times as long.
            (aside / name).write_bytes(stream.getvalue())
        aside.rename(folder)
    below = f"{task.folder.name}/{folder.name}"
    # Benign cases hold a few suspicious cells, too: those are to mislead, and no truth to be found.
    numbers = drawn.numbers[drawn.planted].tolist() if task.label else []
    corners = (drawn.places * PATCH_SIZE).tolist()
    return SliceFiles(
        places=[(f"{below}/{name}", x, y) for name, (y, x) in zip(names, corners, strict=True)],
        planted=[(task.case_id, planned.drawing.stain, planned.slice_idx, number) for number in numbers],
    )
