"""A slide of so many tiles, drawn in a second: a few tiles of stained noise, encoded once and laid side by side."""

import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from scipy import ndimage

from milstore.store import Store, create_store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.content_hash import with_case_order

TILE = 256
GRID = {"grid": f"{TILE}px-0.5mpp", "tool": "milstore", "edge": TILE, "mpp": 0.5, "overlap": 0}
_KINDS = 16


def draw_slide(path: Path, side: int) -> None:
    """A TIFF of side x side tiles of JPEG, as scanners write them, at half a micrometre a pixel.

    Written by hand, as tifffile encodes no JPEG without a further package: the tiles, then what they are.
    """
    tiles = [_tile(number) for number in range(_KINDS)]
    chosen = [tiles[(number * 7 + number // side) % _KINDS] for number in range(side * side)]
    offsets = np.cumsum([8, *map(len, chosen)])[:-1].tolist()
    with path.open("wb") as stream:
        stream.write(b"II*\0\0\0\0\0")
        stream.writelines(chosen)
        after = stream.tell() + stream.tell() % 2
        stream.seek(after)
        arrays = [
            struct.pack("<3H", 8, 8, 8) + b"\0\0",
            struct.pack("<4I", 20_000, 1, 20_000, 1),
            struct.pack(f"<{len(offsets)}I", *offsets),
            struct.pack(f"<{len(chosen)}I", *map(len, chosen)),
        ]
        at = np.cumsum([after, *map(len, arrays)]).tolist()
        stream.writelines(arrays)
        edge, many = side * TILE, len(chosen)
        entries = [
            (256, 4, 1, edge), (257, 4, 1, edge), (258, 3, 3, at[0]), (259, 3, 1, 7), (262, 3, 1, 6), (277, 3, 1, 3),
            (282, 5, 1, at[1]), (283, 5, 1, at[1] + 8), (284, 3, 1, 1), (296, 3, 1, 3), (322, 4, 1, TILE), (323, 4, 1, TILE),
            (324, 4, many, at[2]), (325, 4, many, at[3]), (530, 3, 2, 2 | 2 << 16),
        ]  # fmt: skip
        stream.write(struct.pack("<H", len(entries)))
        stream.writelines(struct.pack("<HHII", *entry) for entry in entries)
        stream.write(struct.pack("<I", 0))
        stream.seek(4)
        stream.write(struct.pack("<I", at[4]))


def store_of(folder: Path, slide: Path, side: int) -> Store:
    """A store in which every tile of the slide is a patch, and every row of tiles a slice."""
    store = create_store(folder)
    place = {"case_id": "A", "stain": "h&e"}
    facts = {"slide_id": slide.stem, "case_id": "A", "stain": "h&e", "path": str(slide), "mpp": 0.5}
    patches = [
        {**place, "slice_idx": row, "patch_idx": column, "x": column * TILE, "y": row * TILE, "width": TILE}
        | {"height": TILE, "unit": "level0", "grid": GRID["grid"]}
        for row in range(side)
        for column in range(side)
    ]
    rows = {
        "classes": [{"label": 0, "class_name": "benign"}],
        "grids": [GRID],
        "slides": [facts],
        "slices": [
            {**place, "slice_idx": row, "slice_name": f"{row}", "n_patches": side, "slide_id": slide.stem}
            for row in range(side)
        ],
        "patches": patches,
    }
    with edit_cohort(store) as edit:
        cases = [{"case_id": "A", "label": 0, "class_name": "benign", "source_label": "0"}]
        edit.replace("cases", with_case_order(pa.Table.from_pylist(cases)))
        for name, table in rows.items():
            edit.replace(name, pa.Table.from_pylist(table))
    return store


def _tile(seed: int) -> bytes:
    draw = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(draw.normal(size=(TILE, TILE, 3)), (2, 2, 0))
    pixels = np.clip(np.array([200, 150, 190]) + smooth * 300, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=85, subsampling=2)
    return stream.getvalue()
