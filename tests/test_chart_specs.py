"""Charts show what they say: which colour stands for which class, which field lies on which channel, which words head which panel."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from milstore import queries
from milstore.analysis.correlation import sentence
from milstore.asking.selection import Choice
from milstore.charts import charted, error_scatter, patch_gallery, slice_attention, stain_attention, top_patches
from milstore.charts.render import drawing
from milstore.charts.theme import CLASS_COLOURS, About
from milstore.store import Store
from tests.drawing import drawn

ABOUT = About(title="t", subtitle="s", class_names=["benign", "high-grade"], stains=["h&e", "melan", "sox10"])


def nodes(spec: Any) -> Iterator[dict[str, Any]]:
    """Every object of a specification."""
    if isinstance(spec, dict):
        yield spec
        for value in spec.values():
            yield from nodes(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from nodes(value)


def marks(spec: Any, kind: str, data: Any = None) -> list[dict[str, Any]]:
    """The marks of a kind, with their encodings, and the name of the data that they draw, which a parent may give."""
    if isinstance(spec, list):
        return [mark for part in spec for mark in marks(part, kind, data)]
    if not isinstance(spec, dict):
        return []
    data = spec.get("data", data)
    own = [{**spec, "data": data}] if isinstance(spec.get("mark"), dict) and spec["mark"].get("type") == kind else []
    return own + [mark for name, part in spec.items() if name != "datasets" for mark in marks(part, kind, data)]


def datum(spec: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a mark draws."""
    rows: list[dict[str, Any]] = spec["datasets"][node["data"]["name"]]
    return rows


ONE_CASE = {"patch-gallery", "patch-profile", "slice-map", "attention-distribution"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", charted())
def test_a_class_has_one_colour_everywhere(three: Store, name: str) -> None:
    """Wherever a chart colours by class, benign is blue and high-grade vermilion, in the order of their numbers."""
    choice = Choice(cases=("10",)) if queries.load(name).wants_case else Choice()
    spec = drawing(three, name, choice).spec
    coloured = [
        node["color"]["scale"]
        for node in nodes(spec)
        if isinstance(node.get("color"), dict) and node["color"].get("field") == "true_class"
    ]
    for scale in coloured:
        assert (scale["domain"], scale["range"]) == (["benign", "high-grade"], ["#0072B2", "#D55E00"])
    by_stain = [
        node["color"]["scale"]
        for node in nodes(spec)
        if isinstance(node.get("color"), dict) and node["color"].get("field") == "stain"
    ]
    for scale in by_stain:
        colours = dict(zip(scale["domain"], scale["range"], strict=True))
        assert colours == {"h&e": "#B3559B", "melan": "#8C5A2B", "sox10": "#1B9E9E"}
    shapes = [
        node["shape"]["scale"]
        for node in nodes(spec)
        if isinstance(node.get("shape"), dict) and node["shape"].get("field") == "outcome"
    ]
    for scale in shapes:
        assert (scale["domain"], scale["range"]) == (["right", "wrong"], ["circle", "cross"])


def test_some_chart_colours_by_class() -> None:
    """The palette begins with the colours of the two classes of the study."""
    assert CLASS_COLOURS[:2] == ("#0072B2", "#D55E00")


def test_every_panel_is_headed_by_its_own_rho() -> None:
    """Panels of a scatter against the error: each shows its own points and has its own correlation above it."""
    rows = [
        {"panel": panel, "x": x, "error": error, "rho": rho, "p_value": 0.01, "n": 4, "n_cases": 4, "true_class": "benign",
         "outcome": "right", "case_id": str(x), "subset": "test", "run_id": "r"}
        for panel, rho in (("left", 0.8), ("right", -0.4))
        for x, error in ((1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4))
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    import altair as alt

    spec = error_scatter.panels(frame, ABOUT, panel="panel", x=alt.X("x:Q"), tooltip=[], columns=2, width=100).to_dict()
    heads = {
        part["title"]["text"]: (part["title"]["subtitle"], part["transform"][0]["filter"]["equal"])
        for part in spec["concat"]
    }
    words = {name: sentence(frame[frame["panel"] == name].iloc[0].to_dict()) for name in ("left", "right")}
    assert words["left"] != words["right"]
    assert heads == {name: (words[name], name) for name in ("left", "right")}
    for part in spec["concat"]:
        assert (part["encoding"]["x"]["field"], part["encoding"]["y"]["field"]) == ("x", "error")
        assert part["encoding"]["y"]["scale"]["domain"] == [0, 1]


def stains_frame() -> pd.DataFrame:
    """Five benign cases with weights 0.1, 0.2, 0.3, 0.4 and 0.9 of h&e."""
    weights = [0.1, 0.2, 0.3, 0.4, 0.9]
    return pd.DataFrame(
        {
            "run_id": "r", "case_id": [str(i) for i in range(5)], "subset": "test", "true_class": "benign",
            "outcome": "right", "error": 0.1, "stain": "h&e", "stain_attention": weights, "even": 1.0, "leads": True,
            "stain_slices": 1, "stain_patches": 3, "leads_in_class": 5, "cases_in_class": 5,
        }
    )  # fmt: skip


def test_the_line_of_a_box_is_the_median() -> None:
    """The bar of `stain-attention` reaches from quartile to quartile, and its line lies at the median."""
    spec = stain_attention.chart(stains_frame(), ABOUT).to_dict()
    (line,) = [rule for rule in marks(spec, "rule") if "x2" in rule["encoding"]]
    (bar,) = marks(spec, "rect")
    (box,) = datum(spec, line)
    assert box[line["encoding"]["y"]["field"]] == pytest.approx(0.3)
    assert box[bar["encoding"]["y"]["field"]] == pytest.approx(0.2)
    assert box[bar["encoding"]["y2"]["field"]] == pytest.approx(0.4)


def test_the_lift_of_the_top_slice_counts_its_weight() -> None:
    """The words above a stain say the median of the top slice's weight times the number of slices."""
    rows = []
    for case, slices, top in (("1", 2, 0.9), ("2", 4, 0.5), ("3", 5, 0.5)):
        for rank in range(1, slices + 1):
            weight = top if rank == 1 else (1 - top) / (slices - 1)
            rows.append(
                {"run_id": "r", "case_id": case, "subset": "test", "true_class": "benign", "outcome": "right",
                 "stain": "h&e", "stain_attention": 1.0, "slice_rank": rank, "slice_idx": rank, "slice_name": f"match_{rank}",
                 "slice_attention": weight, "even": 1 / slices, "by_patches": 1 / slices, "top_share": top,
                 "slice_patches": 3, "stain_slices": slices}
            )  # fmt: skip
    spec = slice_attention.chart(pd.DataFrame(rows), ABOUT).to_dict()
    # 0.9 x 2 = 1.8, 0.5 x 4 = 2.0, 0.5 x 5 = 2.5
    words = [node["subtitle"] for node in nodes(spec) if node.get("text") == "h&e" and "subtitle" in node]
    assert words == [["median 2.0 times the even weight", "(3 of 3 with 2 or more slices)"]]


def test_the_even_mark_counts_the_top_patches() -> None:
    """The tick of `top-patches` stands at the number of top patches that an even spread would put there."""
    frame = pd.DataFrame(
        {
            "run_id": "r", "case_id": "1", "subset": "test", "true_label": 0, "pred_label": 0, "stain": ["h&e", "melan"],
            "slice_idx": 0, "slice_name": "match_1", "top_patches": [3, 1], "slice_patches": [30, 10], "lift": [1.0, 1.0],
            "stain_top_patches": [3, 1], "stain_patches": [30, 10], "stain_lift": [1.0, 1.0], "case_top_patches": 4,
            "case_patches": 40,
        }
    )  # fmt: skip
    spec = top_patches.chart(frame, ABOUT).to_dict()
    ticks = marks(spec, "tick")
    assert len(ticks) == 2
    for tick in ticks:
        assert tick["encoding"]["x"]["field"] == "even"
        assert [row["even"] for row in datum(spec, tick)] == [3.0, 1.0]
    bars = marks(spec, "bar")
    assert [bar["encoding"]["x"]["field"] for bar in bars] == ["count", "count"]
    assert [[row["count"] for row in datum(spec, bar)] for bar in bars] == [[3, 1], [3, 1]]


def test_roc_lies_on_its_axes(three: Store) -> None:
    """False positives lie on x, true positives on y, both from 0 to 1."""
    spec = drawn(three, "roc")
    (line,) = [mark for mark in marks(spec, "line") if mark["encoding"]["x"].get("field") == "false_positive_rate"]
    assert line["encoding"]["y"]["field"] == "true_positive_rate"
    for channel in ("x", "y"):
        assert line["encoding"][channel]["scale"]["domain"] == [0, 1]


def test_loss_curves_name_their_subsets(three: Store) -> None:
    """Training and validation loss have a colour each, and the epoch lies on x."""
    spec = drawn(three, "loss-curves")
    lines = [line for line in marks(spec, "line") if "color" in line.get("encoding", {})]
    assert lines
    for line in lines:
        assert line["encoding"]["x"]["field"] == "epoch"
        scale = line["encoding"]["color"]["scale"]
        assert len(set(scale["range"])) == len(scale["domain"]) == 2


def test_times_even_is_the_weight_times_the_patches(three: Store) -> None:
    """Below a patch in the gallery stands its effective attention times the case's patches, not the number of patches."""
    spec = drawing(three, "patch-gallery", Choice(cases=("10",))).spec
    texts = {str(value) for node in nodes(spec["datasets"]) for value in node.values() if isinstance(value, str)}
    # Case 10: ten of forty parts in one of ten patches are 2.5 times the even share; one part is 0.25 times.
    assert any("×2.5" in text for text in texts), sorted(texts)[:20]
    assert any("×0.25" in text for text in texts)
    assert patch_gallery.times_even(2.5) == "×2.5"
    assert np.isclose(10 / 40 * 10, 2.5)
