"""Converts results per slide, as other tools write them, to results per case.

A tool's module reads its files, and then calls, in this order:

- `slides_named`: the store's slides that its files name;
- `figures_of_slides`: a case's probability is the mean over its slides. A tool whose figures are of cases makes
  `CaseFigures` itself;
- `attention_of_slides`: rows go to the store's patches by their places on level 0, give or take a pixel, and slides share
  a case's attention in proportion to their patches;
- `store_tool_runs` (in `milstore.ingest.tool_runs`): all runs of the folder are checked, and then written.

Legend: N patches of a slide, C classes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.ingest.member_positions import rows_in
from milstore.schema.arrow import empty
from milstore.store.attention import TOLERANCE
from milstore.store.attention_levels import levels_of_distribution
from milstore.store.cohort import Cohort
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.patch_index import PLACE
from milstore.store.slides import Slide, Slides

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_SLICE = list(PLACE[:3])
_NEAR = [(dx, dy) for dx in (0, -1, 1) for dy in (0, -1, 1)]
"""What places may differ by and still be the same: tools round differently. The same one comes first."""


def slides_named(path: Path, slides: Slides, names: Iterable[str]) -> dict[str, Slide]:
    """The store's slide of each name that a file has, or of a path: by its stem.

    Raises:
        DataError: the store has no such slide, or two names are of one.
    """
    found = {name: slides.of_file(name) for name in names}
    unknown = [clip(name) for name, slide in found.items() if slide is None]
    if unknown:
        raise DataError(
            f"{path} names {counted(len(unknown), 'slide')} that the store does not have ({named(unknown)}): say of which "
            "case each is by milstore ingest slides"
        )
    there = {name: slide for name, slide in found.items() if slide is not None}
    ids = [slide.slide_id for slide in there.values()]
    double = sorted({slide for slide in ids if ids.count(slide) > 1}) if len(set(ids)) < len(ids) else []
    if double:
        raise DataError(f"{path} has slide {named(map(clip, double))} more than once: keep one")
    return there


# --- predictions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseFigures:
    """A model's predictions of cases."""

    path: Path
    """The file that says it, for messages."""
    probability_of: Mapping[str, Floats]
    """By case: (C,), of each class in the order of the store's labels."""
    true_label_of: Mapping[str, int] = field(default_factory=dict)
    """By case: the store's label of its true class, where the file says one."""
    slides_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By case: the slides that the figures are of; without any where the tool's own figures are of cases."""


def figures_of_slides(
    path: Path,
    slides: Mapping[str, Slide],
    probability_of: Mapping[str, Sequence[float]],
    true_label_of: Mapping[str, int],
) -> CaseFigures:
    """Probabilities of slides as probabilities of their cases: the mean over the slides.

    Args:
        path: the file that says them, for messages.
        slides: the store's slide of each name that the file has, from `slides_named`.
        probability_of: by the file's names: of each class, in the order of the store's labels.
        true_label_of: by the file's names: the store's label, where the file says one.

    Raises:
        DataError: probabilities are none or do not sum to 1, or slides of one case have different true classes.
    """
    of_case: dict[str, list[str]] = {}
    for name, slide in slides.items():
        of_case.setdefault(slide.case_id, []).append(name)
        values = np.asarray(probability_of[name], np.float64)
        # NaN compares as false.
        if not (values.min() >= 0 and abs(values.sum() - 1) <= TOLERANCE):
            raise DataError(f"{path} has probabilities of slide {clip(name)} that are not from 0 to 1 and sum to 1")
    labels: dict[str, int] = {}
    for case, names in of_case.items():
        said = {true_label_of[name]: name for name in names if name in true_label_of}
        if len(said) > 1:
            words = named(f"{clip(name)} of class {label}" for label, name in sorted(said.items()))
            raise DataError(f"{path} has slides of case {clip(case)} in different classes ({words}): a case has one")
        labels.update((case, label) for label in said)
    return CaseFigures(
        path=path,
        probability_of={
            case: np.mean([np.asarray(probability_of[name], np.float64) for name in names], axis=0)
            for case, names in of_case.items()
        },
        true_label_of=labels,
        slides_of={case: [slides[name].slide_id for name in names] for case, names in of_case.items()},
    )


# --- attention ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SlideAttention:
    """A model's attention on a slide, for every patch that it saw there."""

    path: Path
    """The file that says it, for messages."""
    weights: Floats
    """(N,), not negative; they sum to 1."""
    xy: npt.NDArray[np.number]
    """(N, 2): x and y of each patch in pixels of level 0."""
    centred: bool = False
    """Whether these are the patches' centres and not their upper left corners."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseAttention:
    """Attention of cases."""

    table: pa.Table
    """The table `attention` without rank and n_patches."""
    without: Sequence[str] = ()
    """Predicted cases that have none, since a slide of theirs has none."""


def softmax(score_N: npt.NDArray[np.floating]) -> Floats:
    """Scores (N,) before the softmax as weights that sum to 1, in float64."""
    values = np.asarray(score_N, np.float64)
    weights = np.exp(values - values.max())
    return np.asarray(weights / weights.sum())


def attention_of_slides(
    cohort: Cohort, figures: CaseFigures, attention: Mapping[str, SlideAttention], encoded: pa.Table | None = None
) -> CaseAttention:
    """Attention within slides as attention of their cases: slides share it in proportion to their patches.

    So stain attention, and slice attention within a stain, are by patches. A case of which a slide has no attention has none,
    since nobody knows the share of that slide's patches.

    Args:
        cohort: the store's cohort.
        figures: what the model said, by case, of which slides.
        attention: by slide.
        encoded: the patches (case_id, stain, slice_idx, patch_idx) with features of the encoder that is named; None for all
            patches of the store.

    Raises:
        DataError: a weight is negative or NaN, they do not sum to 1, or a place is that of no patch of its slide.
        UsageError: the places are those of patches of several grids, and no encoder says which are meant.
    """
    cases = [case for case, own in figures.slides_of.items() if own and set(own) <= attention.keys()]
    without = sorted(set(figures.probability_of) - set(cases), key=natural_key)
    if not cases:
        return CaseAttention(table=empty("attention").drop_columns(["rank", "n_patches"]), without=without)
    wanted = [slide for case in cases for slide in figures.slides_of[case]]
    ground = SlidePatches(cohort, wanted, encoded)
    found = []
    for case in cases:
        own = figures.slides_of[case]
        rows = [ground.place(slide, attention[slide]) for slide in own]
        n_patches = sum(map(len, rows))
        shares = [_weights(attention[slide]) * (len(row) / n_patches) for slide, row in zip(own, rows, strict=True)]
        found.append(_levels(ground.table.take(pa.array(np.concatenate(rows))), np.concatenate(shares)))
    return CaseAttention(table=pa.concat_tables(found), without=without)


def _weights(attention: SlideAttention) -> Floats:
    weight_N = np.asarray(attention.weights, np.float64)
    if not (len(weight_N) and weight_N.min() >= 0 and abs(weight_N.sum() - 1) <= TOLERANCE):
        raise DataError(f"{attention.path} has attention that is not from 0 to 1 and sums to 1: create it again")
    return np.asarray(weight_N / weight_N.sum())


def _levels(places: pa.Table, effective_N: Floats) -> pa.Table:
    """The rows of one case's attention, of its patches and what each has of the case."""
    slices = places.select(_SLICE).group_by(_SLICE, use_threads=False).aggregate([])
    stains = slices["stain"].combine_chunks().dictionary_encode()
    slice_N = rows_in(places, slices, _SLICE)
    with np.errstate(divide="ignore"):
        levels = levels_of_distribution(np.log(effective_N), slice_N, np.asarray(stains.indices, np.int64))
    stain_G = np.asarray(stains.indices, np.int64)
    columns = {
        "stain_attention": levels.stain_S[stain_G][slice_N],
        "slice_attention": levels.slice_G[slice_N],
        "patch_attention": levels.patch_N,
        "effective_attention": levels.effective_N,
    }
    for name, values in columns.items():
        places = places.append_column(name, pa.array(values.astype(np.float32)))
    return places


class SlidePatches:
    """The store's patches of slides, found by their places on level 0."""

    def __init__(self, cohort: Cohort, slide_ids: Collection[str], encoded: pa.Table | None = None) -> None:
        """Look the slides' patches up: all of the store's, or those among `encoded`."""
        slides = Slides(cohort)
        cases = pa.array(sorted({slides[slide].case_id for slide in slide_ids}), pa.string())
        slices, patches = cohort.table("slices"), cohort.table("patches")
        slices = slices.filter(pc.is_in(slices["case_id"], cases))
        patches = patches.filter(pc.is_in(patches["case_id"], cases))
        self._in_pixels_of_slices = bool(pc.any(pc.equal(patches["unit"], "slice")).as_py())
        patches = patches.filter(pc.and_(pc.equal(patches["unit"], "level0"), patches["x"].is_valid()))
        if encoded is not None:
            patches = patches.filter(pa.array(rows_in(patches, encoded, PLACE) >= 0))
        self._of_encoder = encoded is not None
        number = {slide: i for i, slide in enumerate(slide_ids)}
        slide_of_slice = np.array([number.get(each or "", -1) for each in _slides_of_slices(slices, slides)], np.int64)
        slide_N = slide_of_slice[rows_in(patches, slices, _SLICE)] if patches.num_rows else np.empty(0, np.int64)
        self._rows = {slide: np.flatnonzero(slide_N == i) for slide, i in number.items()}
        self._at = {name: np.asarray(patches[name].fill_null(0), np.int64) for name in ("x", "y", "width", "height")}
        self._grid = patches["grid"].fill_null("").to_numpy()
        self.table: pa.Table = patches.select(list(PLACE))
        """case_id, stain, slice_idx and patch_idx of these patches."""

    def place(self, slide_id: str, attention: SlideAttention) -> Ints:
        """The row of `table` of each row of a slide's attention.

        Raises:
            DataError: one lies at no patch of the slide, or two at one.
            UsageError: all lie at patches of several grids.
        """
        rows, path = self._rows[slide_id], attention.path
        if not len(rows):
            raise DataError(f"{path}: the store has no patches of slide {clip(slide_id)}{self._why_none()}")
        found = {
            grid: self._placed(rows[self._grid[rows] == grid], attention) for grid in sorted(set(self._grid[rows]))
        }
        whole = {grid: each for grid, each in found.items() if (each >= 0).all()}
        if not whole:
            whole = self._of_all_grids(rows, attention)
        if not whole:
            best = max(found.values(), key=lambda each: int((each >= 0).sum()))
            x, y = np.rint(attention.xy[int(np.argmin(best))]).astype(int).tolist()
            raise DataError(
                f"{path}: {int((best < 0).sum())} of its {counted(len(best), 'place')} are no patch of slide "
                f"{clip(slide_id)} in the store (such as x {x}, y {y}): it was made on another grid; take in the features "
                "that it was made from (milstore ingest features), or leave this file out of the folder"
            )
        same = {grid: each for grid, each in whole.items() if len(each) == (self._grid[rows] == grid).sum()}
        chosen = same or whole
        if len(chosen) > 1:
            raise UsageError(
                f"{path}: its places are patches of several grids ({named(chosen)}): say by --encoder which features it is of"
            )
        (placed,) = chosen.values()
        if len(np.unique(placed)) < len(placed):
            raise DataError(f"{path} has two rows at one patch of slide {clip(slide_id)}: create it again")
        return placed

    def _of_all_grids(self, rows: Ints, attention: SlideAttention) -> dict[str, Ints]:
        """The row of each place among all patches of a slide; nothing where one has none.

        A patch that two tools cut at one place stands under the grid of the first. UsageError if places are those of several.
        """
        placed = self._placed(rows, attention)
        if (placed < 0).any():
            return {}
        keys = _keys(np.stack([self._at["x"][rows], self._at["y"][rows]], axis=1))
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        several = rows[counts[inverse] > 1]
        if not attention.centred and np.isin(placed, several).any():
            raise UsageError(
                f"{attention.path}: at some of its places there are patches of several sizes: say by --encoder which features it "
                "is of"
            )
        return {"": placed}

    def _why_none(self) -> str:
        if self._of_encoder:
            return " with features of this encoder: name the one that it was trained on, or take these features in"
        if self._in_pixels_of_slices:
            return " in pixels of level 0, only in pixels of its slices: take the tool's features in first"
        return ": take the tool's features in first (milstore ingest features)"

    def _placed(self, rows: Ints, attention: SlideAttention) -> Ints:
        """The row of each place among some patches, the nearest by a pixel; -1 where there is none."""
        corner = np.stack([self._at["x"][rows], self._at["y"][rows]], axis=1)
        if attention.centred:
            corner = corner + np.stack([self._at["width"][rows], self._at["height"][rows]], axis=1) // 2
        keys = _keys(corner)
        order = np.argsort(keys, kind="stable")
        wanted = np.rint(np.asarray(attention.xy, np.float64)).astype(np.int64)
        placed = np.full(len(wanted), -1, np.int64)
        for step in _NEAR:
            asked = _keys(wanted + np.array(step))
            at = np.minimum(np.searchsorted(keys, asked, sorter=order), len(keys) - 1)
            hit = (placed < 0) & (keys[order[at]] == asked)
            placed[hit] = rows[order[at[hit]]]
        return placed


def _keys(xy_N2: Ints) -> Ints:
    """A number a place."""
    return np.asarray((xy_N2[:, 1] << 32) + xy_N2[:, 0])


def _slides_of_slices(slices: pa.Table, slides: Slides) -> list[str | None]:
    """The slide of each slice: the one that it names, or whose slice it is."""
    by_name = {(slide.case_id, slide.stain, slide.slice_name): slide.slide_id for slide in slides.values()}
    rows: list[dict[str, Any]] = slices.select(["case_id", "stain", "slice_name", "slide_id"]).to_pylist()
    return [row["slide_id"] or by_name.get((row["case_id"], row["stain"], row["slice_name"])) for row in rows]
