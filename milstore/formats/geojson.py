"""Objects drawn on slides, from GeoJSON: as QuPath writes it, and as TRIDENT and LazySlide write tissue and tiles.

Coordinates are pixels of the slide at full resolution, x before y, as the file has them: QuPath counts from where OpenSlide
says that the scanned part begins (its bounds), others from the corner of level 0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from milstore.errors import DataError
from milstore.store.names import clip
from milstore.store.plain import NotPlain, check_kind, parse_json

LARGEST = 1 << 28
"""Bytes that a file may have: its objects take some ten times as much memory."""
ANNOTATION = "annotation"
"""The kind of an object that somebody drew, or of which its file says nothing."""
_OLD_KINDS = {f"Path{kind.capitalize()}Object": kind for kind in (ANNOTATION, "detection", "tile", "cell")}
"""What QuPath before 0.3 wrote in the place of an id."""
_FAR = 1e9
"""Pixels beyond which no slide reaches."""

Ring = npt.NDArray[np.float64]
"""(N, 2): the corners of an outline, x before y; the last is joined to the first."""
Polygon = tuple[Ring, ...]
"""An outline and the holes in it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawnObject:
    """An object of a file that encloses an area."""

    name: str | None
    """Its class (the names of a class with several are joined by `: `, as QuPath shows them), `tissue 0` for a piece of tissue;
    None if it has no class."""
    kind: str
    """annotation, detection, tile or cell."""
    polygons: tuple[Polygon, ...]
    measurements: Mapping[str, float]
    """Finite numbers alone."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Least x and y, most x and y."""
        corners = np.concatenate([polygon[0] for polygon in self.polygons])
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        return float(left), float(top), float(right), float(bottom)


@dataclass(kw_only=True, slots=True)
class Drawing:
    """What a file holds."""

    objects: list[DrawnObject] = field(default_factory=list)
    by_qupath: bool = False
    """Whether an object says its kind as QuPath does."""
    without_area: int = 0
    """Points, lines and what else encloses nothing: left out."""
    unclosed: int = 0
    """Outlines whose last corner is not the first: closed."""


def read_drawing(path: Path) -> Drawing:
    """The objects of a GeoJSON file: a collection, a bare list of features, or one feature.

    Raises:
        DataError: it cannot be read, is too large or too deep, is no GeoJSON, or has coordinates that are no numbers, NaN or
            infinite; the object is named by its number from 1.
    """
    found = Drawing()
    for number, feature in enumerate(_features(path, _read(path)), 1):
        where = f"{clip(str(path), 300)}, object {number}"
        if not isinstance(feature, dict):
            raise DataError(f"{where} is no feature of GeoJSON: export the objects from QuPath again")
        _take(found, feature, where)
    return found


def _read(path: Path) -> Any:
    shown = clip(str(path), 300)
    try:
        size = check_kind(path).st_size
        if size > LARGEST:
            raise DataError(
                f"{shown} has {size} bytes, more than the {LARGEST} that are read: export the annotations alone, without detections"
            )
        return parse_json(path.read_bytes())
    except NotPlain as error:
        raise DataError(f"{shown} cannot be read ({error}): give the file itself") from error
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        reason = clip(" ".join(str(error).split()), 160)
        raise DataError(f"{shown} is damaged, or no GeoJSON ({reason}): export it again") from error


def _features(path: Path, content: Any) -> Sequence[Any]:
    if isinstance(content, dict) and content.get("type") == "Feature":
        return [content]
    found = content.get("features") if isinstance(content, dict) else content
    if not isinstance(found, list):
        raise DataError(f"{clip(str(path), 300)} has no list of features: give GeoJSON, as QuPath exports it")
    return found


def _take(found: Drawing, feature: Mapping[str, Any], where: str) -> None:
    said = feature.get("properties")
    said = said if isinstance(said, dict) else {}
    kind = said.get("objectType") or _OLD_KINDS.get(str(feature.get("id")))
    found.by_qupath = found.by_qupath or isinstance(kind, str)
    polygons = []
    for rings in _polygons(feature.get("geometry"), where):
        outlines = [_ring(ring, where) for ring in rings]
        kept = [(ring, closed) for ring, closed in outlines if len(np.unique(ring, axis=0)) > 2]
        # A hole in nothing is none.
        if kept and kept[0][0] is outlines[0][0]:
            polygons.append(tuple(ring for ring, _ in kept))
            found.unclosed += sum(not closed for _, closed in kept)
    if not polygons:
        found.without_area += 1
        return
    found.objects.append(
        DrawnObject(
            name=_name(said),
            kind=kind if isinstance(kind, str) else ANNOTATION,
            polygons=tuple(polygons),
            measurements=_measurements(said.get("measurements")),
        )
    )


def _polygons(geometry: Any, where: str) -> Iterator[Sequence[Any]]:
    """The rings of each polygon; none of what encloses nothing."""
    if geometry is None:
        return
    if not isinstance(geometry, dict):
        raise DataError(f"{where} has a geometry that is none: export it again")
    kind, inner = geometry.get("type"), geometry.get("coordinates")
    if kind == "GeometryCollection":
        for each in _list(geometry.get("geometries"), where):
            yield from _polygons(each, where)
    elif kind == "Polygon":
        yield _list(inner, where)
    elif kind == "MultiPolygon":
        for each in _list(inner, where):
            yield _list(each, where)


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, list):
        raise DataError(f"{where} has coordinates that are no list: export it again")
    return value


def _ring(positions: Any, where: str) -> tuple[Ring, bool]:
    """An outline without the corner that closes it, and whether there was one."""
    try:
        ring = np.array([(float(x), float(y)) for x, y, *_ in _list(positions, where)], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where} has coordinates that are no numbers: export it again") from None
    if not (np.isfinite(ring).all() and (np.abs(ring) < _FAR).all()):
        raise DataError(
            f"{where} has coordinates that are NaN, infinite or beyond any slide: draw it again, or remove it"
        )
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        return ring[:-1], True
    return ring, False


def _name(said: Mapping[str, Any]) -> str | None:
    of_class = said.get("classification")
    if isinstance(of_class, dict):
        names = of_class.get("names")
        of_class = ": ".join(map(str, names)) if isinstance(names, list) else of_class.get("name")
    if isinstance(of_class, str) and of_class.strip():
        return of_class.strip()
    tissue = said.get("tissue_id")
    return None if tissue is None else f"tissue {tissue}"


def _measurements(said: Any) -> dict[str, float]:
    """Measurements, from an object of names and numbers or, as before QuPath 0.4, from a list of these."""
    if isinstance(said, list):
        said = {each["name"]: each.get("value") for each in said if isinstance(each, dict) and "name" in each}
    if not isinstance(said, dict):
        return {}
    # Among the numbers of Python are true and false.
    numbers = {str(name): value for name, value in said.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if abs(value) < math.inf}


def inside(polygons: Sequence[Polygon], points_N2: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points (N, 2) lie in one of the polygons at least: (N,).

    A point is in a polygon if a ray from it crosses the rings an odd number of times, so holes are outside and an island in a
    hole is inside. Of two polygons that share an edge, a point on the edge is in one alone.
    """
    found_N = np.zeros(len(points_N2), bool)
    order_N = np.argsort(points_N2[:, 1], kind="stable")
    for rings in polygons:
        crossings_N = sum(_crossings(ring, points_N2[order_N]) for ring in rings)
        found_N[order_N] |= crossings_N % 2 == 1
    return found_N


_AT_ONCE = 1 << 20
"""Pairs of an edge and a point that are looked at together."""


def _crossings(ring_E2: Ring, points_N2: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many of a ring's edges each point has to its right, at its height; the points ascend in y."""
    count_N = np.zeros(len(points_N2), np.int64)
    ends_E2 = np.roll(ring_E2, -1, axis=0)
    # Each edge from its lower end, so that it gives the same answer from both of its sides.
    swapped_E1 = (ring_E2[:, 1] > ends_E2[:, 1])[:, None]
    low_E2, high_E2 = np.where(swapped_E1, ends_E2, ring_E2), np.where(swapped_E1, ring_E2, ends_E2)
    # An edge has its lower end and not its upper, so that a corner is crossed once; level edges are never crossed.
    first_E = np.searchsorted(points_N2[:, 1], low_E2[:, 1])
    size_E = np.searchsorted(points_N2[:, 1], high_E2[:, 1]) - first_E
    some = np.flatnonzero(size_E)
    for edges in np.split(some, np.flatnonzero(np.diff(np.cumsum(size_E[some]) // _AT_ONCE)) + 1):
        edge_P = np.repeat(edges, size_E[edges])
        begins = np.cumsum(size_E[edges]) - size_E[edges]
        point_P = np.arange(len(edge_P)) + np.repeat(first_E[edges] - begins, size_E[edges])
        (x, y), (x0, y0), (x1, y1) = points_N2[point_P].T, low_E2[edge_P].T, high_E2[edge_P].T
        count_N += np.bincount(point_P[(x - x0) * (y1 - y0) < (y - y0) * (x1 - x0)], minlength=len(count_N))
    return count_N
