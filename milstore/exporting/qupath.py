"""Patches as QuPath's tiles, coloured by attention: GeoJSON that QuPath opens over the slide, a file a slide.

A tile has an `objectType`, a classification with its colour, and measurements as an object of names and numbers. Coordinates
are pixels of level 0, counted from where QuPath counts (see `milstore.pixels.slide_bounds`).
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from pathlib import Path
from typing import Any, Literal

from milstore.asking.selection import Choice
from milstore.errors import ConflictError, UsageError
from milstore.exporting.attended_patches import attended_patches
from milstore.pixels.slide_bounds import Begin, begin_of
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.io import write_text
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.slice_files import safe_stem, slice_stem
from milstore.store.slides import Slide, Slides

Colour = Literal["rank", "times-even"]
COLOURS: tuple[Colour, ...] = ("rank", "times-even")
_RAMP = ((253, 231, 37), (122, 209, 81), (34, 168, 132), (42, 120, 142), (65, 68, 135), (68, 1, 84))
"""From the most attended down: six steps of viridis, which the colour-blind can tell apart."""
_TOPS = (1, 5, 10, 25, 50)
"""Percent of the case's patches at which a step of rank ends; below are the others."""
_TIMES = (10.0, 5.0, 2.0, 1.0, 0.5)
"""Times the even share at which a step begins; below are the others."""
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "milstore:patch")
_HEAD = '{"type": "FeatureCollection", "milstore": '
"""How a file of an export begins: only such a file is replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QupathOptions:
    """How tiles are written."""

    colour: Colour = "rank"
    """By rank within the case, or by how many times the even share of the case's attention a patch has."""
    top: float | None = None
    """Only the most attended patches of each case, in percent; None: all."""
    begin: Begin | None = None
    """Where QuPath's pixel (0, 0) lies on level 0; None: as the slide's file says."""


@dataclass(kw_only=True, slots=True)
class QupathReport:
    """What `export_qupath` wrote."""

    folder: Path
    title: str
    notes: list[str]
    tiles: dict[str, int] = field(default_factory=dict)
    """By the file's name."""
    of_slices: list[str] = field(default_factory=list)
    """Files whose pixels are those of a slice."""
    without_place: int = 0
    begun: list[str] = field(default_factory=list)
    """Slides from whose bounds is counted."""
    unknown_begin: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report, as lines of text."""
        total = sum(self.tiles.values())
        lines = [
            *(f"note: {note}" for note in self.notes),
            f"wrote {counted(len(self.tiles), 'file')} to {self.folder} ({named(self.tiles, 5)}): {counted(total, 'tile')}",
            f"from {self.title}",
        ]
        if self.begun:
            lines.append(f"counted from OpenSlide's bounds, as QuPath does: {named(self.begun)}")
        if self.unknown_begin:
            lines.append(
                f"in pixels of level 0: {named(self.unknown_begin)}, whose file cannot be opened; if OpenSlide has bounds for it, "
                "QuPath counts from these: say --offset X,Y"
            )
        if self.of_slices:
            lines.append(
                f"in pixels of the slice, on no slide: {named(self.of_slices)}; they fit an image of the slice at the size of its patches"
            )
        if self.without_place:
            lines.append(f"left out: {counted(self.without_place, 'patch', 'patches')} whose place is not known")
        return lines


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """The slide, or slice, that a file is about."""

    stem: str
    slide: Slide | None


def export_qupath(
    store: Store, folder: str | Path, choice: Choice, options: QupathOptions | None = None
) -> QupathReport:
    """Write the patches of cases as tiles of QuPath, a file a slide; a slice on no slide has a file of its own.

    Args:
        store: the store.
        folder: where the files go; it is made. Files of an earlier export are replaced.
        choice: which run or experiment answers, and for which cases.
        options: how tiles are written.

    Raises:
        UsageError: an option does not fit, several runs answer for a case, or no patch has a place.
        ConflictError: a file of another origin would be replaced. Then nothing is written.
        OSError: the folder cannot be written.
    """
    options = options or QupathOptions()
    if options.colour not in COLOURS:
        raise UsageError(f"there is no colour {options.colour!r}: use {' or '.join(COLOURS)}")
    if options.top is not None and not 0 < options.top <= 100:
        raise UsageError(f"--top is {options.top:g}: give a share in percent, above 0 and up to 100")
    found = attended_patches(store, choice, {"pct": 100.0 if options.top is None else options.top})
    report = QupathReport(folder=Path(folder), title=found.title, notes=found.notes)
    by_target = _targets(store, found.rows, report)
    if options.top is not None and by_target:
        # A slide without such a patch gets a file too: one of an earlier export would be taken for this one's.
        for target in _targets(store, _slices_of(store, found.rows), report):
            by_target.setdefault(target, [])
    if not by_target:
        raise UsageError(
            f"of {counted(len(found.rows), 'patch', 'patches')} none has a place on its slide: milstore ingest patches --coordinates, "
            "or features with coordinates, gives it"
        )
    if options.begin is not None and len(by_target) > 1:
        raise UsageError(
            f"--offset is of one slide, and {len(by_target)} would be written: give one --case with one slide"
        )
    texts = {}
    for target, rows in sorted(by_target.items(), key=lambda each: natural_key(each[0].stem)):
        begin = options.begin or (Begin() if target.slide is None else begin_of(target.slide, store.root))
        name = f"{target.stem}.geojson"
        report.tiles[name] = len(rows)
        report.of_slices += [] if target.slide else [name]
        report.unknown_begin += [] if begin.known else [target.stem]
        report.begun += [target.stem] if (begin.x, begin.y) != (0, 0) and options.begin is None else []
        texts[report.folder / name] = _text(rows, begin, options, target)
    foreign = [path for path in texts if path.exists() and not _is_ours(path)]
    if foreign:
        raise ConflictError(
            f"{foreign[0]} is no earlier export of milstore, and is not replaced: choose another folder by -o"
        )
    report.folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_text(path, text)
    return report


def _slices_of(store: Store, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The slices of the cases of some rows, each as the row of a patch of it."""
    cases = {row["case_id"] for row in rows}
    unit = {(row["case_id"], row["stain"], row["slice_idx"]): row["unit"] for row in rows}
    usual = next(iter(unit.values()))
    place = {"x": 0, "y": 0, "width": 0, "height": 0}
    return [
        {**row, **place, "unit": unit.get((row["case_id"], row["stain"], row["slice_idx"]), usual)}
        for row in read_cohort(store).table("slices").to_pylist()
        if row["case_id"] in cases
    ]


def _targets(store: Store, rows: Sequence[dict[str, Any]], report: QupathReport) -> dict[_Target, list[dict[str, Any]]]:
    """The rows that have a place, by what their file is about. UsageError if two things have a file of one name."""
    slides = Slides(read_cohort(store))
    of_slice = {(slide.case_id, slide.stain, slide.slice_name): slide for slide in slides.values()}
    found: dict[_Target, list[dict[str, Any]]] = {}
    for row in rows:
        if None in (row["x"], row["y"], row["width"], row["height"]):
            report.without_place += 1
            continue
        key = (row["case_id"], row["stain"], str(row["slice_name"] or row["slice_idx"]))
        slide = slides.get(row["slide_id"] or "") or of_slice.get(key)
        on_level0 = row["unit"] == "level0" and slide is not None
        target = _Target(
            stem=safe_stem(slide.slide_id) if on_level0 and slide else slice_stem(key),
            slide=slide if on_level0 else None,
        )
        found.setdefault(target, []).append(row)
    stems = [target.stem.lower() for target in found]
    for target in found:
        if stems.count(target.stem.lower()) > 1:
            raise UsageError(
                f"several slides would be written to {clip(target.stem)}.geojson: export one case at a time"
            )
    return found


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(len(_HEAD)) == _HEAD


def _text(rows: Sequence[Mapping[str, Any]], begin: Begin, options: QupathOptions, target: _Target) -> str:
    cases: set[str] = {row["case_id"] for row in rows}
    said = {
        "runs": sorted({row["run_id"] for row in rows}),
        "cases": sorted(cases, key=natural_key),
        "top": options.top,
        "unit": "level0" if target.slide else "slice",
        "begin": [begin.x, begin.y],
        "colour": options.colour,
    }
    features = ",\n".join(json.dumps(feature, ensure_ascii=False) for feature in _features(rows, begin, options.colour))
    return f'{_HEAD}{json.dumps(said, ensure_ascii=False)}, "features": [\n{features}\n]}}\n'


def _features(rows: Sequence[Mapping[str, Any]], begin: Begin, colour: Colour) -> Iterator[dict[str, Any]]:
    """A tile a patch. Its id stays the same in every export of the run."""
    for row in rows:
        left, top = row["x"] - begin.x, row["y"] - begin.y
        right, bottom = left + row["width"], top + row["height"]
        patch = (row["run_id"], row["case_id"], row["stain"], row["slice_idx"], row["patch_idx"])
        name, rgb = classification(row, colour)
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(_IDS, json.dumps(patch))),
            "geometry": {
                "type": "Polygon",
                "coordinates": [[[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]],
            },
            "properties": {
                "objectType": "tile",
                "name": f"patch {row['patch_idx']}",
                "classification": {"name": name, "color": list(rgb)},
                "measurements": {
                    "effective attention": row["effective_attention"],
                    "stain attention": row["stain_attention"],
                    "slice attention": row["slice_attention"],
                    "patch attention": row["patch_attention"],
                    "times the even share": row["times_even"],
                    "rank": row["rank"],
                },
            },
        }


def classification(row: Mapping[str, Any], colour: Colour) -> tuple[str, tuple[int, int, int]]:
    """The class of a patch and its colour (red, green, blue; 0 to 255).

    Args:
        row: with `rank` and `n_patches`, or `times_even`.
        colour: what it goes by.

    >>> classification({"rank": 2, "n_patches": 40}, "rank")
    ('attention top 5%', (122, 209, 81))
    >>> classification({"times_even": 0.2}, "times-even")
    ('attention below 0.5 times even', (68, 1, 84))
    """
    if colour == "rank":
        for percent, rgb in zip(_TOPS, _RAMP, strict=False):
            if row["rank"] <= max(1, floor(row["n_patches"] * percent / 100)):
                return f"attention top {percent}%", rgb
        return "attention lower half", _RAMP[-1]
    bounds = [None, *_TIMES]
    for upper, lower, rgb in zip(bounds, _TIMES, _RAMP, strict=False):
        if row["times_even"] >= lower:
            words = f"{lower:g} times even or more" if upper is None else f"{lower:g} to {upper:g} times even"
            return f"attention {words}", rgb
    return f"attention below {_TIMES[-1]:g} times even", _RAMP[-1]
