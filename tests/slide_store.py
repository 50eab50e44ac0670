"""A store of drawn slides, with patches in pixels of level 0, runs and files about the slides; small enough to hold in the head.

Slide S1_HE of case 1 (1024 x 768 pixels, patches of 256) and S2_HE of case 2 (512 x 512, patches of 256):

    S1_HE    0   1   2   3        S2_HE    0   1
             4   5   6   7                 2   3
             8   9  10  11
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from milstore.ingest.cohort_update import put_patches
from milstore.store import Store, create_store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.content_hash import with_case_order
from tests.making import MadeOnce, levels, make_run, make_splits

EDGE = 256
SLIDES: dict[str, dict[str, Any]] = {
    "S1_HE": {"case_id": "1", "stain": "h&e", "mpp": 0.5, "width": 1024, "height": 768},
    "S2_HE": {"case_id": "2", "stain": "h&e", "mpp": 0.5, "width": 512, "height": 512},
    "S3_HE": {"case_id": "2", "stain": "h&e", "mpp": 0.5, "width": 512, "height": 512},
}
"""S3_HE has no patches."""


@MadeOnce
def slide_store(folder: Path, **of_slide: Any) -> Store:
    """The store; `of_slide` are further columns of the table of slides."""
    store = create_store(folder)
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": ["benign", "high-grade"]}))
        cases = {
            "case_id": ["1", "2"],
            "label": [0, 1],
            "class_name": ["benign", "high-grade"],
            "source_label": ["0", "1"],
        }
        edit.replace("cases", with_case_order(pa.table(cases)))
        rows = [{"slide_id": slide_id, **slide, **of_slide} for slide_id, slide in SLIDES.items()]
        edit.replace("slides", pa.Table.from_pylist(rows))
    add_patches(store, [patch for slide_id in ("S1_HE", "S2_HE") for patch in grid(slide_id)])
    return store


def grid(slide_id: str, edge: int = EDGE) -> list[dict[str, Any]]:
    """The patches of a slide, by (y, x)."""
    slide = SLIDES[slide_id]
    return [
        {"case_id": slide["case_id"], "stain": slide["stain"], "slice_name": slide_id, "x": x, "y": y, "width": edge, "height": edge}
        for y in range(0, slide["height"], edge)
        for x in range(0, slide["width"], edge)
    ]  # fmt: skip


def add_patches(store: Store, rows: Sequence[Mapping[str, Any]], *, whole: bool = False) -> list[str]:
    """Put patches in level-0 pixels into a store; what is told of it."""
    kinds = {"case_id": pa.string(), "stain": pa.string(), "slice_name": pa.string(), "patch_idx": pa.int32(), "file": pa.string(),
             **dict.fromkeys(("x", "y", "width", "height"), pa.int32()), "unit": pa.string(), "grid": pa.string()}  # fmt: skip
    table = pa.Table.from_pylist([{"unit": "level0", **row} for row in rows], pa.schema(kinds.items()))
    with edit_cohort(store) as edit:
        put_patches(store, edit, table, None, replace=whole, whole=whole)
    return edit.notes


WEIGHTS = {
    **{("1", "h&e", 0, i): float(weight) for i, weight in enumerate((1, 1, 1, 1, 1, 20, 4, 1, 1, 1, 1, 1))},
    **{("2", "h&e", 0, i): float(weight) for i, weight in enumerate((1, 5, 2, 2))},
}
"""Effective attention: of case 1 in 34ths, of case 2 in tenths."""


def add_run(store: Store) -> None:
    """A run that tested both cases."""
    make_splits(store, "one", [{"test": ["1", "2"]}])
    chances = {"1": (0.8, 0.2), "2": (0.4, 0.6)}
    subsets = {"1": "test", "2": "test"}
    make_run(store, "exp-s1-0", subsets, {"1": 0, "2": 1}, chances, levels(WEIGHTS), split_set="one")


@MadeOnce
def attended_slides(folder: Path) -> Store:
    """The store with a run; the slides' maker is one whose slides have no bounds."""
    store = slide_store.anew(folder, vendor="aperio")
    add_run(store)
    return store


def rectangle(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """A closed ring."""
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(geometry: Sequence[Any] | Mapping[str, Any] | None, **properties: Any) -> dict[str, Any]:
    """A feature; a list of rings is a polygon."""
    drawn = (
        geometry if geometry is None or isinstance(geometry, Mapping) else {"type": "Polygon", "coordinates": geometry}
    )
    return {"type": "Feature", "id": "a", "geometry": drawn, "properties": properties}


def annotation(name: str | None, *rings: list[list[float]]) -> dict[str, Any]:
    """An annotation as QuPath writes it."""
    of_class = {} if name is None else {"classification": {"name": name, "color": [200, 0, 0]}}
    return feature(list(rings), objectType="annotation", **of_class)


def write(path: Path, *features: Mapping[str, Any], bare: bool = False) -> Path:
    """A file of GeoJSON: a collection, or a bare list of features."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: Any = list(features) if bare else {"type": "FeatureCollection", "features": list(features)}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
