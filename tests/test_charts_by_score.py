"""Charts of questions by a score."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from milstore.asking.selection import Choice
from milstore.charts.quick_altair import quick
from milstore.charts.quick_rows import quick_rows
from milstore.charts.render import drawing
from milstore.cli.main import main
from milstore.errors import UsageError
from milstore.store import Store
from tests.scoring import scored_store
from tests.test_asking_by_score import BY_SCORE, OF_A_CASE


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return scored_store(tmp_path_factory.mktemp("scored") / "store")


def spec_of(store: Store, name: str, cases: tuple[str, ...] = ("10",), **values: Any) -> dict[str, Any]:
    """The chart of case 10, or of others, by the score `cam`, as Vega-Lite that was compared with its schema: drawn once."""
    return _spec_of(store, name, cases, tuple(values.items()))


@cache
def _spec_of(store: Store, name: str, cases: tuple[str, ...], values: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    drawn = drawing(store, name, Choice(experiment="rec", cases=cases), dict(values), by="cam")
    with quick(), quick_rows():
        found: dict[str, Any] = drawn.chart.to_dict()
    return found


def every(spec: Any, key: str) -> list[Any]:
    """What stands behind a key, anywhere in a chart but among its data."""
    if isinstance(spec, list):
        return [found for part in spec for found in every(part, key)]
    if not isinstance(spec, dict):
        return []
    own = [spec[key]] if key in spec else []
    return own + [found for name, part in spec.items() if name != "datasets" for found in every(part, key)]


@pytest.mark.parametrize("name", BY_SCORE)
def test_a_chart_names_the_score_and_speaks_of_no_attention(store: Store, name: str) -> None:
    """Title, subtitle and an axis, legend or note name it; there is no share, and `no attention` is all that is said of that."""
    for cases in (("10",),) if name in OF_A_CASE else (("10",), ()):
        spec = spec_of(store, name, cases)
        title = spec["title"]
        heading = " ".join(title["text"] if isinstance(title["text"], list) else [title["text"]])
        assert "score cam" in heading
        assert "experiment rec, seed 0, test subsets, by score cam" in title["subtitle"]
        text = json.dumps({key: part for key, part in spec.items() if key != "datasets"})
        if name == "patch-gallery":
            assert "highest cam" in text
        else:
            assert [words for words in every(spec, "title") if isinstance(words, str) and "score cam" in words]
        assert "attention" not in text.replace("no attention", "")
        assert "even share" not in text
        assert not [
            column for rows in spec["datasets"].values() for row in rows for column in row if "attention" in column
        ]


def test_bars_go_both_ways_from_0(store: Store) -> None:
    """The axis of the list holds 0, though all listed are below it, and each bar ends there."""
    spec = spec_of(store, "top-patch-list", end="bottom", n=3)
    rows = [row for data in spec["datasets"].values() for row in data if "score" in row]
    assert {(row["score"], row["zero"]) for row in rows} == {(-9.0, 0.0), (-5.0, 0.0), (-1.0, 0.0)}
    (low, high) = next(found["domain"] for found in every(spec, "scale") if found.get("domain", [1])[0] in (-9.45,))
    assert low == pytest.approx(-9.45)
    assert high >= 0


def test_the_colours_of_the_map_part_at_0(store: Store) -> None:
    """As far below as above, 0 pale in between; by rank from pale to dark."""
    spec = spec_of(store, "slice-map")
    scales = [found["scale"] for found in every(spec, "color") if isinstance(found, dict) and "scale" in found]
    assert scales
    assert all(scale["domain"] == [-9.0, 0.0, 9.0] and len(scale["range"]) == 3 for scale in scales)
    opacities = [found["scale"] for found in every(spec, "fillOpacity") if isinstance(found, dict)]
    assert {(*scale["domain"], *scale["range"]) for scale in opacities} == {(-9.0, 0.0, 9.0, 0.9, 0.12, 0.9)}
    by_rank = spec_of(store, "slice-map", scale="rank")
    scales = [found["scale"] for found in every(by_rank, "color") if isinstance(found, dict) and "scale" in found]
    assert {(*scale["domain"],) for scale in scales} == {(0, 1)}


def test_answers_in_the_titles(store: Store) -> None:
    """Each says its answer in a sentence with the right numbers."""
    said = {name: " ".join(spec_of(store, name)["title"]["subtitle"]) for name in BY_SCORE}
    assert "no patch stands out by cam: all of the top 1 tie with one left out" in said["top-patches"]
    assert "the 8 patches of the highest cam, of 10, have -1 to 2 (h&e 5, sox10 3)" in said["top-patch-list"]
    assert "cam of its 10 patches: the 8 highest have -1 to 2 and the 2 lowest have -9 to -5" in said["patch-gallery"]
    assert "h&e · match_2: cam is 2, 2 on average; above 0 for 3 of 3 patches." in said["patch-profile"]
    assert "The 3 slices of the highest cam have patches up to -1 to 2 (h&e 2, sox10 1)" in said["selected-slices"]
    assert "cam is -9 to 2, above 0 for 4 of 10 patches; the highest lie in h&e · match_2: 1." in said["slice-map"]
    whole = spec_of(store, "top-patches", pct=30)
    assert "the top 3 of 10 patches have a cam of 2; they lie in 1 of 3 slices: h&e 3, sox10 0." in " ".join(
        whole["title"]["subtitle"]
    )


def test_the_command_draws_it_and_refuses_others(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`milstore plot … --by cam` writes the chart and tells whose cases lack it; a question that takes none is refused."""
    words = ["--experiment", "rec", "--by", "cam", "--store", str(store.root)]
    assert main(["plot", "selected-slices", *words, "-o", str(tmp_path / "slices.json")]) == 0
    assert "has no score cam of 1 case (46): not in this answer" in capsys.readouterr().err
    assert "score cam" in (tmp_path / "slices.json").read_text(encoding="utf-8")
    assert main(["plot", "entropy", *words, "-o", str(tmp_path / "none.json")]) == 2
    assert "--by 'cam': entropy cannot go by a score of patches" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()
    with pytest.raises(UsageError, match="is no attribute of cases"):
        drawing(store, "selected-slices", Choice(experiment="rec"), by="cm")
