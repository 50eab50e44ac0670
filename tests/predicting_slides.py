"""Drawn slides of a few cases, and a cohort that was cut, encoded and trained from such."""

from pathlib import Path

import numpy as np
from PIL import Image

from milstore.encoders.encode import encode_patches
from milstore.ingest.labels import ingest_labels
from milstore.ingest.slide_table import ingest_slides
from milstore.ingest.tiles import tile_slides
from milstore.pixels.tiling import TileSettings
from milstore.store import Store, create_store
from milstore.training.config import TrainingConfig
from milstore.training.experiment import train_all
from tests.making import MadeOnce, make_splits

EDGE = 160
MPP = 4.0
PATCH = 60


def draw_slide(path: Path, seed: int, *, high_grade: bool = False, white: bool = False) -> Path:
    """A slide of 160 x 160 pixels: a square of stained tissue on glass, darker where it is high-grade."""
    rng = np.random.default_rng(seed)
    pixels = np.full((EDGE, EDGE, 3), 245, np.uint8)
    if not white:
        colour = (120, 60, 140) if high_grade else (215, 140, 190)
        pixels[20:140, 20:140] = np.clip(np.array(colour) + rng.integers(-25, 25, (120, 120, 3)), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, resolution=10_000 / MPP, resolution_unit=3)
    return path


def slides_table(path: Path, rows: list[tuple[str, str, Path]]) -> Path:
    """A slides table: slide, case and file, all of one stain."""
    lines = [f"{slide},{case},h&e,{file}\n" for slide, case, file in rows]
    path.write_text(f"slide_id,case_id,stain,path\n{''.join(lines)}")
    return path


@MadeOnce
def slides_store(folder: Path) -> Store:
    """Six cases of one drawn slide each, cut into patches of 60 px at 4 µm, encoded by hed, and experiment `drawn`."""
    store = create_store(folder)
    drawn = folder.parent / f"{folder.name}-slides"
    labels = {f"p{i}": i % 2 for i in range(1, 7)}
    rows = [
        (f"{case}_he", case, draw_slide(drawn / f"{case}_he.tif", i, high_grade=bool(label)))
        for i, (case, label) in enumerate(labels.items())
    ]
    ingest_slides(store, slides_table(folder.parent / f"{folder.name}-slides.csv", rows))
    table = folder.parent / f"{folder.name}-labels.csv"
    table.write_text(
        "case_id,label\n" + "".join(f"{case},{('benign', 'high-grade')[y]}\n" for case, y in labels.items())
    )
    ingest_labels(store, table)
    tile_slides(store, settings=TileSettings(mpp=MPP, patch=PATCH), jobs=1)
    encode_patches(store, "hed", jobs=1)
    make_splits(store, "tiny", [{"train": ["p1", "p2"], "val": ["p3", "p4"], "test": ["p5", "p6"]}])
    config = TrainingConfig(hidden=8, attention_dim=4, epochs=2, min_epochs=1)
    train_all(store, config, experiment="drawn", threads=1)
    return store
