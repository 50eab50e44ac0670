"""Objects that were drawn on slides, read from GeoJSON; and which points lie in them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from milstore.errors import DataError
from milstore.formats import geojson
from milstore.formats.geojson import inside, read_drawing
from tests.slide_store import annotation, feature, rectangle, write

SQUARE = rectangle(0, 0, 10, 10)


def read(path: Path) -> list[tuple[Any, ...]]:
    """Name, kind, number of polygons and measurements of each object of a file."""
    return [(each.name, each.kind, len(each.polygons), dict(each.measurements)) for each in read_drawing(path).objects]


def test_a_file_of_qupath(tmp_path: Path) -> None:
    """Class by name or names, kinds, several polygons, measurements as an object."""
    several = {"type": "MultiPolygon", "coordinates": [[SQUARE], [rectangle(20, 0, 30, 10)]]}
    classes = {"names": ["Stroma", "Positive"], "color": [1, 2, 3]}
    path = write(
        tmp_path / "S.geojson",
        annotation("Tumor", SQUARE, rectangle(2, 2, 4, 4)),
        feature(several, objectType="annotation", classification=classes),
        feature(
            [SQUARE], objectType="detection", measurements={"Attention": 0.5, "rank": 3, "odd": "x", "nan": math.nan}
        ),
        feature([SQUARE], objectType="tile", classification={"name": "Other"}),
        annotation(None, SQUARE),
    )
    assert read(path) == [
        ("Tumor", "annotation", 1, {}),
        ("Stroma: Positive", "annotation", 2, {}),
        (None, "detection", 1, {"Attention": 0.5, "rank": 3.0}),
        ("Other", "tile", 1, {}),
        (None, "annotation", 1, {}),
    ]
    drawing = read_drawing(path)
    assert drawing.by_qupath
    assert [len(ring) for ring in drawing.objects[0].polygons[0]] == [4, 4]
    assert drawing.objects[1].extent == (0, 0, 30, 10)


def test_a_file_of_before_0_4(tmp_path: Path) -> None:
    """A bare list; measurements as a list of names and values; the kind in the place of the id; a class as a text."""
    old = {
        **feature([SQUARE], measurements=[{"name": "Attention", "value": 0.5}, {"name": "none"}]),
        "id": "PathDetectionObject",
    }
    path = write(tmp_path / "S.geojson", old, feature([SQUARE], classification="Tumor"), bare=True)
    assert read(path) == [(None, "detection", 1, {"Attention": 0.5}), ("Tumor", "annotation", 1, {})]
    assert read_drawing(path).by_qupath


def test_files_of_trident_and_lazyslide(tmp_path: Path) -> None:
    """A piece of tissue is called by its number, a tile by its class; nothing says that QuPath wrote them."""
    path = write(
        tmp_path / "S.geojson",
        feature([SQUARE], tissue_id=0),
        feature([SQUARE], tissue_id=1, classification={"name": "T"}),
    )
    assert read(path) == [("tissue 0", "annotation", 1, {}), ("T", "annotation", 1, {})]
    assert not read_drawing(path).by_qupath
    assert read(write(tmp_path / "empty.geojson")) == []


def test_one_feature_alone(tmp_path: Path) -> None:
    """It need not be in a list."""
    (tmp_path / "S.geojson").write_text(json.dumps(annotation("Tumor", SQUARE)))
    assert read(tmp_path / "S.geojson") == [("Tumor", "annotation", 1, {})]


def test_what_encloses_nothing_is_counted(tmp_path: Path) -> None:
    """Points, lines, no geometry and a ring of two corners; an open ring is closed, and counted."""
    point = {"type": "Point", "coordinates": [1, 2]}
    line = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    mixed = {"type": "GeometryCollection", "geometries": [point, {"type": "Polygon", "coordinates": [SQUARE]}]}
    path = write(
        tmp_path / "S.geojson",
        *(feature(geometry, classification={"name": "A"}) for geometry in (point, line, None, mixed)),
        annotation("A", [[0, 0], [1, 1], [0, 0]]),
        annotation("B", SQUARE[:-1], [[2, 2], [2, 2]]),
    )
    drawing = read_drawing(path)
    assert [(each.name, [len(ring) for ring in each.polygons[0]]) for each in drawing.objects] == [
        ("A", [4]),
        ("B", [4]),
    ]
    assert (drawing.without_area, drawing.unclosed) == (4, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is damaged, or no GeoJSON"),
        ('{"type": "FeatureCollection", "features": [', "is damaged, or no GeoJSON"),
        ("\x00\xff", "is damaged, or no GeoJSON"),
        ("[" * 100 + "]" * 100, "is damaged, or no GeoJSON (it is nested deeper than 64 levels)"),
        ('{"a": ' + "9" * 5000 + "}", "is damaged, or no GeoJSON"),
        ('{"type": "FeatureCollection"}', "has no list of features"),
        ('"text"', "has no list of features"),
        ("[1]", "object 1 is no feature"),
        (json.dumps([feature([SQUARE]), feature([[[0, 0], [math.nan, 1], [1, 1]]])]), "object 2 has coordinates that are NaN"),
        (json.dumps([feature([[[0, 0], [math.inf, 1], [1, 1]]])]), "object 1 has coordinates that are NaN, infinite"),
        (json.dumps([feature([[[0, 0], [1e12, 1], [1, 1]]])]), "beyond any slide"),
        (json.dumps([feature([[[0, 0], ["x", 1], [1, 1]]])]), "object 1 has coordinates that are no numbers"),
        (json.dumps([feature([[[0, 0], [1], [1, 1]]])]), "object 1 has coordinates that are no numbers"),
        (json.dumps([feature([[[0, 0], [None, 2], [1, 1]]])]), "object 1 has coordinates that are no numbers"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1' + "0" * 400 + ", 1], [1, 1]]]}}]", "are no numbers"),
        (json.dumps([feature({"type": "Polygon", "coordinates": 3})]), "object 1 has coordinates that are no list"),
        (json.dumps([{**feature(None), "geometry": 3}]), "object 1 has a geometry that is none"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Each names the file, and the object where it is one."""
    path = tmp_path / "S.geojson"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError) as refused:
        read_drawing(path)
    assert str(refused.value).startswith(str(path))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what makes it smaller."""
    monkeypatch.setattr(geojson, "LARGEST", 100)
    path = write(tmp_path / "S.geojson", annotation("Tumor", SQUARE))
    with pytest.raises(DataError, match="more than the 100 that are read: export the annotations alone"):
        read_drawing(path)
    with pytest.raises(DataError, match="it is a folder, not a file"):
        read_drawing(tmp_path)


def test_holes_and_islands_in_them() -> None:
    """In a hole is outside, in an island of the hole inside; of two polygons a point may be in either."""
    rings = tuple(np.array(rectangle(i, i, 20 - i, 20 - i)[:-1], float) for i in (0, 4, 8))
    far = (np.array(rectangle(30, 0, 40, 10)[:-1], float),)
    points = np.array([[2, 2], [6, 6], [10, 10], [2, 10], [35, 5], [25, 5]], float)
    assert inside([rings, far], points).tolist() == [True, False, True, True, True, False]
    assert inside([], points).tolist() == [False] * 6
    assert inside([rings], points[:0]).tolist() == []


def test_a_point_on_an_edge_that_two_regions_share_is_in_one_alone() -> None:
    """So patches whose centres lie on the border between two annotations are not counted twice, nor lost."""
    left, right = (
        np.array(ring, float) for ring in ([[0, 0], [7, 0], [4, 9], [0, 9]], [[7, 0], [20, 0], [20, 9], [4, 9]])
    )
    along = np.linspace(0, 1, 64)[1:-1, None]
    points = np.array([7.0, 0.0]) + along * np.array([-3.0, 9.0])
    counts = inside([(left,)], points).astype(int) + inside([(right,)], points)
    assert set(counts.tolist()) == {1}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), corners=st.integers(3, 40))
def test_as_scikit_image_finds(seed: int, corners: int) -> None:
    """Any ring, crossing itself or not, and points that lie on no edge."""
    rng = np.random.default_rng(seed)
    ring, points = rng.uniform(0, 100, (corners, 2)), rng.uniform(-10, 110, (200, 2))
    assert inside([(ring,)], points).tolist() == points_in_poly(points, ring).tolist()


def test_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many points and edges are looked at in parts, with the same answer."""
    rng = np.random.default_rng(5)
    ring, points = rng.uniform(0, 100, (30, 2)), rng.uniform(0, 100, (500, 2))
    whole = inside([(ring,)], points)
    monkeypatch.setattr(geojson, "_AT_ONCE", 7)
    assert inside([(ring,)], points).tolist() == whole.tolist()


@pytest.mark.shared
def test_files_as_the_tools_write_them(shared_data: Path) -> None:
    """Those of QuPath, of before 0.4 too, of TRIDENT and of LazySlide."""
    folder = shared_data / "interop"
    kinds = {
        "qupath/S23-0118_B2_HE.geojson": {"annotation": 2, "detection": 12, "tile": 12},
        "qupath/S23-0150_B1_HE_before-0.4.geojson": {"annotation": 2, "detection": 6, "tile": 6},
        "trident/contours_geojson/S23-0118_B2_HE.geojson": {"annotation": 3},
        "lazyslide/S23-0104_A1_HE_tiles.geojson": {"annotation": 18},
    }
    for name, counts in kinds.items():
        drawing = read_drawing(folder / name)
        found = [each.kind for each in drawing.objects]
        assert {kind: found.count(kind) for kind in set(found)} == counts
        assert drawing.by_qupath == name.startswith("qupath")
        assert (drawing.without_area, drawing.unclosed) == (0, 0)
    old = read_drawing(folder / "qupath/S23-0150_B1_HE_before-0.4.geojson").objects
    assert [each.name for each in old[:2]] == ["Tumor", "Stroma: Positive"]
    assert old[2].measurements == {"Attention": 0.835499, "p(high-grade)": 0.73597}
