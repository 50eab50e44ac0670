"""How fast patches are read from a slide, as ratios to openslide alone on the same tiles, in the same run.

    python -m benchmarks.slides [FOLDER] [--rounds 5] [--side 46]

A slide of side x side tiles is drawn. Both read by as many threads as there are processors, each with a handle of its own.
With --page the rows are put into docs/performance.md.
"""

import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from time import perf_counter

import numpy as np
import openslide

from benchmarks.drawn_slide import TILE, draw_slide
from benchmarks.page import Row
from benchmarks.slide_timing import time_on_slide
from milstore.pixels.patch_source import PatchPlace, patch_pixels
from milstore.processors import processors

NOTES = """Each tile is read once, in the order of the rows. "Bare" is openslide's `read_region`, made RGB and an array, by a
pool of threads. A tile that is twice as wide on the slide is scaled by us, which bare reading does not do."""


def read_bare(places: list[PatchPlace]) -> int:
    """Every tile by openslide; how many bytes these are."""
    mine = local()

    def read(place: PatchPlace) -> int:
        if not hasattr(mine, "slide"):
            mine.slide = openslide.OpenSlide(place.slide)
        return np.asarray(
            mine.slide.read_region((place.x, place.y), 0, (place.width, place.height)).convert("RGB")
        ).nbytes

    with ThreadPoolExecutor(processors()) as threads:
        return sum(threads.map(read, places, chunksize=16))


def read_ours(places: list[PatchPlace]) -> int:
    """Every tile as `encode` reads it; how many bytes these are."""
    return sum(pixels.nbytes for pixels in patch_pixels(places))


def seconds(work: Callable[[list[PatchPlace]], int], places: list[PatchPlace]) -> float:
    started = perf_counter()
    assert work(places) > 0
    return perf_counter() - started


def places_of(slide: Path, side: int, edge: int) -> list[PatchPlace]:
    """Tiles of so many pixels of the slide, all over it."""
    starts = range(0, side * TILE - edge + 1, edge)
    return [PatchPlace(slide=slide, x=x, y=y, width=edge, height=edge, edge=TILE) for y in starts for x in starts]


def rows_of(folder: Path, side: int, rounds: int) -> Iterator[Row]:
    """The rows, each once all of its rounds are over."""
    slide = folder / f"drawn-{side}.tif"
    draw_slide(slide, side)
    for edge, words, wanted in ((TILE, "as they are", 0.8), (2 * TILE, f"scaled to {TILE} by us alone", None)):
        places = places_of(slide, side, edge)
        ours, bare = [], []
        for number in range(-1, rounds):
            # In turns, so that neither always follows the other.
            order = (read_ours, read_bare) if number % 2 else (read_bare, read_ours)
            took = {work: seconds(work, places) for work in order}
            if number >= 0:
                ours.append(took[read_ours])
                bare.append(took[read_bare])
        share = statistics.median(other / one for one, other in zip(ours, bare, strict=True))
        yield Row(
            f"reading {len(places):,} tiles of {edge} pixels, {words}: the speed over openslide's bare",
            f"{share:.2f} ×",
            "" if wanted is None else f"≥ {wanted} ×",
            None if wanted is None else share >= wanted,
            f"{statistics.median(ours):.2f} against {statistics.median(bare):.2f}",
        )


def main(words: list[str] | None = None) -> None:
    time_on_slide(
        words,
        doc=__doc__,
        name="Slides",
        rows_of=rows_of,
        rounds=5,
        packages=("openslide-python", "openslide-bin", "pillow"),
        how="",
        notes=NOTES,
    )


if __name__ == "__main__":
    main()
