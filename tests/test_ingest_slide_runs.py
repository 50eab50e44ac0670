"""Figures of slides become figures of cases, and attention of slides goes to patches by their places."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from milstore.errors import DataError, UsageError
from milstore.ingest.slide_runs import (
    SlideAttention,
    attention_of_slides,
    figures_of_slides,
    slides_named,
    softmax,
)
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.slides import Slides
from tests.sliding import EDGE, PLACES, slide_store

FILE = Path("fold_0.csv")
LEVELS = ("stain_attention", "slice_attention", "patch_attention", "effective_attention")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return slide_store(tmp_path / "store")


def looked(slide: str, weights: list[float], **others: object) -> SlideAttention:
    """Attention on all patches of a slide, in their order."""
    return SlideAttention(
        path=Path(f"{slide}.h5"), weights=np.array(weights), xy=np.array(PLACES[slide][: len(weights)]), **others
    )  # type: ignore[arg-type]


def test_a_case_has_the_mean_of_its_slides(store: Store) -> None:
    """A case's probability is the mean over its slides, its label the one that they agree on."""
    slides = slides_named(FILE, Slides(read_cohort(store)), ["A_he.tif", "A_sox", "B_he"])
    figures = figures_of_slides(
        FILE, slides, {"A_he.tif": (0.4, 0.6), "A_sox": (0.2, 0.8), "B_he": (0.9, 0.1)}, {"A_he.tif": 1, "A_sox": 1}
    )
    assert {case: values.round(6).tolist() for case, values in figures.probability_of.items()} == {
        "A": [0.3, 0.7],
        "B": [0.9, 0.1],
    }
    assert figures.true_label_of == {"A": 1}
    assert figures.slides_of == {"A": ["A_he", "A_sox"], "B": ["B_he"]}


def test_slides_that_contradict_or_are_unknown_are_refused_by_name(store: Store) -> None:
    """A slide of no case, one that stands twice, slides of one case in two classes, and no probabilities are refused."""
    known = Slides(read_cohort(store))
    with pytest.raises(DataError, match=r"names 1 slide that the store does not have \(Z_he\)"):
        slides_named(FILE, known, ["A_he", "Z_he"])
    with pytest.raises(DataError, match="slide A_he more than once"):
        slides_named(FILE, known, ["A_he", "A_he.svs"])
    both = slides_named(FILE, known, ["A_he", "A_sox"])
    chances = {"A_he": (0.4, 0.6), "A_sox": (0.2, 0.8)}
    with pytest.raises(DataError, match=r"case A in different classes \(A_sox of class 0, A_he of class 1\)"):
        figures_of_slides(FILE, both, chances, {"A_he": 1, "A_sox": 0})
    for bad in ((0.4, float("nan")), (0.4, 0.5), (-0.1, 1.1)):
        with pytest.raises(DataError, match="probabilities of slide A_sox"):
            figures_of_slides(FILE, both, {**chances, "A_sox": bad}, {})


def test_slides_share_attention_by_their_patches(store: Store) -> None:
    """Case A has three patches on H&E and one on sox10: the stains get 3/4 and 1/4, and each patch its slide's share."""
    cohort = read_cohort(store)
    slides = slides_named(FILE, Slides(cohort), ["A_he", "A_sox"])
    figures = figures_of_slides(FILE, slides, {"A_he": (0.4, 0.6), "A_sox": (0.2, 0.8)}, {})
    # A pixel beside the store's places, in another order.
    moved = SlideAttention(
        path=Path("A_he.h5"), weights=np.array([0.5, 0.3, 0.2]), xy=np.array([(1, 255), (0, 0), (257, -1)])
    )
    found = attention_of_slides(cohort, figures, {"A_he": moved, "A_sox": looked("A_sox", [1.0])})
    rows = {
        (row["stain"], row["patch_idx"]): [round(row[level], 6) for level in LEVELS] for row in found.table.to_pylist()
    }
    assert rows == {
        ("h&e", 2): [0.75, 1.0, 0.5, 0.375],
        ("h&e", 0): [0.75, 1.0, 0.3, 0.225],
        ("h&e", 1): [0.75, 1.0, 0.2, 0.15],
        ("sox10", 0): [0.25, 1.0, 1.0, 0.25],
    }
    assert found.without == []


def test_a_case_with_a_slide_without_attention_has_none(store: Store) -> None:
    """The share of a slide that nobody knows cannot be made up: its case is named as one without attention."""
    cohort = read_cohort(store)
    slides = slides_named(FILE, Slides(cohort), ["A_he", "A_sox", "B_he"])
    figures = figures_of_slides(FILE, slides, dict.fromkeys(slides, (0.4, 0.6)), {})
    found = attention_of_slides(
        cohort, figures, {"A_he": looked("A_he", [0.2, 0.2, 0.6]), "B_he": looked("B_he", [0.9, 0.1])}
    )
    assert found.without == ["A"]
    assert found.table.select(["case_id", "patch_idx"]).to_pylist() == [
        {"case_id": "B", "patch_idx": 0},
        {"case_id": "B", "patch_idx": 1},
    ]


def test_centres_land_on_the_same_patches(store: Store) -> None:
    """Places that are centres are those of the patches that lie half their edge to the left and above."""
    cohort = read_cohort(store)
    slides = slides_named(FILE, Slides(cohort), ["B_he"])
    figures = figures_of_slides(FILE, slides, {"B_he": (0.5, 0.5)}, {})
    centres = SlideAttention(
        path=FILE, weights=np.array([0.9, 0.1]), xy=np.array(PLACES["B_he"]) + EDGE // 2, centred=True
    )
    table = attention_of_slides(cohort, figures, {"B_he": centres}).table
    assert dict(
        zip(table["patch_idx"].to_pylist(), table["patch_attention"].to_pylist(), strict=True)
    ) == pytest.approx({0: 0.9, 1: 0.1})


@pytest.mark.parametrize(
    ("xy", "weights", "said"),
    [
        ([(10, 20), (300, 20)], [0.5, 0.5], r"1 of its 2 places are no patch of slide B_he .*\(such as x 300, y 20\)"),
        ([(10, 20), (11, 20)], [0.5, 0.5], "two rows at one patch of slide B_he"),
        ([(10, 20), (266, 20)], [0.5, 0.6], "sums to 1"),
        ([(10, 20), (266, 20)], [1.5, -0.5], "sums to 1"),
        ([(10, 20), (266, 20)], [0.5, float("nan")], "sums to 1"),
    ],
)
def test_attention_of_another_grid_or_without_sense_is_refused(
    store: Store, xy: list[tuple[int, int]], weights: list[float], said: str
) -> None:
    """Rows at no patch, two at one patch, and weights that are none are refused by the file's name."""
    cohort = read_cohort(store)
    figures = figures_of_slides(FILE, slides_named(FILE, Slides(cohort), ["B_he"]), {"B_he": (0.5, 0.5)}, {})
    attention = SlideAttention(path=Path("B_he.h5"), weights=np.array(weights), xy=np.array(xy))
    with pytest.raises(DataError, match=f"B_he.h5.*{said}"):
        attention_of_slides(cohort, figures, {"B_he": attention})


def test_patches_of_two_grids_are_told_apart_by_their_number_or_the_encoder(store: Store) -> None:
    """Where two grids have patches at all places, the one with as many patches is meant; else the encoder must say it."""
    with edit_cohort(store) as edit:
        edit.replace(
            "grids", pa.table({"grid": ["128px-0.5mpp", "256px-0.5mpp"], "edge": [128, 256], "mpp": [0.5, 0.5]})
        )
        finer = [
            {
                "case_id": "B", "stain": "h&e", "slice_idx": 0, "patch_idx": 2 + i, "x": x, "y": 20, "width": 128,
                "height": 128, "unit": "level0", "grid": "128px-0.5mpp",
            }
            for i, x in enumerate((10, 138, 266))
        ]  # fmt: skip
        table = edit.table("patches")
        edit.replace("patches", pa.concat_tables([table, pa.Table.from_pylist(finer, table.schema)]))
    cohort = read_cohort(store)
    figures = figures_of_slides(FILE, slides_named(FILE, Slides(cohort), ["B_he"]), {"B_he": (0.5, 0.5)}, {})
    both = SlideAttention(path=FILE, weights=np.array([0.9, 0.1]), xy=np.array([(10, 20), (266, 20)]))
    assert attention_of_slides(cohort, figures, {"B_he": both}).table["patch_idx"].to_pylist() == [0, 1]
    one = SlideAttention(path=FILE, weights=np.array([1.0]), xy=np.array([(266, 20)]))
    with pytest.raises(UsageError, match=r"several grids \(128px-0.5mpp, 256px-0.5mpp\): say by --encoder"):
        attention_of_slides(cohort, figures, {"B_he": one})
    encoded = pa.table(
        {
            "case_id": ["B"],
            "stain": ["h&e"],
            "slice_idx": pa.array([0], pa.int32()),
            "patch_idx": pa.array([4], pa.int32()),
        }
    )
    assert attention_of_slides(cohort, figures, {"B_he": one}, encoded).table["patch_idx"].to_pylist() == [4]


def test_the_softmax_is_that_of_the_scores() -> None:
    """exp(0), exp(ln 3) and exp(-1000): 1/4, 3/4 and nothing, however large the scores are."""
    assert softmax(np.array([800.0, 800.0 + np.log(3), -200.0], np.float64)).tolist() == pytest.approx(
        [0.25, 0.75, 0.0]
    )
