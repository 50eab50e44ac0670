"""Which fold's model made each of CLAM's heat maps: found by the model's probabilities, since a map does not say it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from milstore.errors import DataError
from milstore.formats.clam_run import ClamFolder, Fold, HeatMap, read_heat_map_table
from milstore.formats.missing_marks import plain
from milstore.ingest.slide_runs import CaseFigures
from milstore.store.names import clip, counted, named
from milstore.store.slides import Slide, Slides

SAME = 1e-4
"""How far two probabilities may be apart and still be what one model said: they are written in another precision."""


@dataclass(frozen=True, kw_only=True)
class FoldAtStore:
    """A fold, with its slides as the store knows them."""

    number: int
    fold: Fold
    slides: Mapping[str, Slide]
    """The store's slide of each name in its file."""
    figures: CaseFigures
    maps: dict[str, HeatMap] = field(default_factory=dict)
    """By slide of the store: the heat map that is of this fold's model."""


def give_maps(
    folder: ClamFolder, read: Sequence[FoldAtStore], slides: Slides, names: Sequence[str], heat_maps_of: int | None
) -> list[str]:
    """Assign each heat map to its fold. Also returns notes on those left out.

    Args:
        folder: what lies there.
        read: the folds.
        slides: the store's.
        names: the store's names of CLAM's classes, by CLAM's numbers.
        heat_maps_of: the fold that the user names, if any.

    Raises:
        DataError: two maps are of one slide and fold.
    """
    if not folder.heat_maps:
        return ["no heat maps (heatmaps/heatmap_raw_results/…_blockmap.h5): the runs have no attention"]
    said = {code: _by_slide(read_heat_map_table(path), slides) for code, path in folder.tables.items()}
    others: dict[str, list[str]] = {}
    n_given, n_other = 0, 0
    for each in folder.heat_maps:
        slide = slides.of_file(each.slide)
        chances = said.get(each.code, {}).get(slide.slide_id) if slide is not None else None
        fits = [one for one in read if slide is not None and _predicted(one, slide) is not None]
        if slide is None:
            others.setdefault("of slides that the store does not have", []).append(each.slide)
            continue
        if heat_maps_of is not None:
            fits = [one for one in fits if one.number == heat_maps_of]
            n_other += sum(chances is not None and not _same(one, slide, chances, names) for one in fits)
            why = f"of slides that fold {heat_maps_of} did not hold out"
        elif not fits:
            why = "of slides that no fold held out, which its model may have trained on"
        elif chances is None:
            fits, why = [], "whose model's probabilities are not in heatmaps/results (--heat-maps-of K says its fold)"
        else:
            fits = [one for one in fits if _same(one, slide, chances, names)]
            why = "by the model of another fold, which may have trained on the slide"
        if len(fits) > 1:
            fits, why = (
                [],
                f"that may be of several folds ({named(one.number for one in fits)}; --heat-maps-of K says it)",
            )
        if not fits:
            others.setdefault(why, []).append(each.slide)
            continue
        before = fits[0].maps.setdefault(slide.slide_id, each)
        if before is not each:
            raise DataError(
                f"{before.path} and {each.path} are both of slide {clip(each.slide)} and fold {fits[0].number}: keep one"
            )
        n_given += 1
    lines = [f"heat maps: {n_given} of {len(folder.heat_maps)} are of a fold's own model"]
    lines += [
        f"left out: {counted(len(own), 'heat map')} {why} ({named(map(clip, own))})" for why, own in others.items()
    ]
    if n_other:
        lines.append(
            f"by --heat-maps-of {heat_maps_of}, though {counted(n_other, 'heat map')} came with other probabilities than "
            "that fold's"
        )
    return lines


def _by_slide(said: Mapping[str, Mapping[str, float]], slides: Slides) -> dict[str, Mapping[str, float]]:
    found = {name: slides.of_file(name) for name in said}
    return {slide.slide_id: said[name] for name, slide in found.items() if slide is not None}


def _predicted(read: FoldAtStore, slide: Slide) -> tuple[float, ...] | None:
    """A fold's prediction of a slide."""
    name = next((name for name, own in read.slides.items() if own.slide_id == slide.slide_id), None)
    return None if name is None else read.fold.probability_of[name]


def _same(read: FoldAtStore, slide: Slide, chances: Mapping[str, float], names: Sequence[str]) -> bool:
    """Whether a fold's model gave a slide these probabilities, by the names of classes where these are the store's."""
    said = _predicted(read, slide)
    assert said is not None
    by_name = {plain(name): value for name, value in chances.items()}
    if by_name.keys() == {plain(name) for name in names}:
        other = [by_name[plain(name)] for name in names]
    else:
        said, other = tuple(sorted(said)), sorted(chances.values())
    return len(said) == len(other) and all(abs(a - b) <= SAME for a, b in zip(said, other, strict=True))
