"""Slides for tests, made by hand: three cases on two stains, one case with two slides, patches of 256 pixels of level 0.

Case A has an H&E slide of three patches and a sox10 slide of one; case B an H&E slide of two; case C one of two.
"""

from pathlib import Path

import pyarrow as pa

from milstore.store import Store, create_store
from milstore.store.cohort_edit import edit_cohort
from milstore.store.content_hash import with_case_order
from tests.making import MadeOnce

CLASSES = ("benign", "high-grade")
LABELS = {"A": 1, "B": 0, "C": 0}
SLIDES = {"A_he": ("A", "h&e"), "A_sox": ("A", "sox10"), "B_he": ("B", "h&e"), "C_he": ("C", "h&e")}
"""Case and stain of each slide."""
PLACES = {
    "A_he": ((0, 0), (256, 0), (0, 256)),
    "A_sox": ((512, 512),),
    "B_he": ((10, 20), (266, 20)),
    "C_he": ((0, 0), (256, 256)),
}
"""x and y of the patches of each slide, in the order of their numbers."""
EDGE = 256


@MadeOnce
def slide_store(folder: Path) -> Store:
    """The three cases with their slides and patches, without features, splits and runs."""
    store = create_store(folder)
    with edit_cohort(store) as edit:
        edit.replace("classes", pa.table({"label": [0, 1], "class_name": list(CLASSES)}))
        rows = [
            {"case_id": case, "label": label, "class_name": CLASSES[label], "source_label": CLASSES[label]}
            for case, label in LABELS.items()
        ]
        edit.replace("cases", with_case_order(pa.Table.from_pylist(rows)))
        slides = [{"slide_id": s, "case_id": case, "stain": stain, "mpp": 0.5} for s, (case, stain) in SLIDES.items()]
        edit.replace("slides", pa.Table.from_pylist(slides))
        edit.replace("grids", pa.table({"grid": ["256px-0.5mpp"], "edge": [EDGE], "mpp": [0.5]}))
        slices = [
            {
                "case_id": case, "stain": stain, "slice_idx": 0, "slice_name": slide,
                "n_patches": len(PLACES[slide]), "slide_id": slide,
            }
            for slide, (case, stain) in SLIDES.items()
        ]  # fmt: skip
        edit.replace("slices", pa.Table.from_pylist(slices))
        patches = [
            {
                "case_id": case, "stain": stain, "slice_idx": 0, "patch_idx": i, "x": x, "y": y, "width": EDGE,
                "height": EDGE, "unit": "level0", "grid": "256px-0.5mpp",
            }
            for slide, (case, stain) in SLIDES.items()
            for i, (x, y) in enumerate(PLACES[slide])
        ]  # fmt: skip
        edit.replace("patches", pa.Table.from_pylist(patches))
    return store
