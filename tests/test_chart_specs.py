"""Charts show what they say: which colour stands for which class, which field lies on which channel, which words head which panel."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from milstore import queries
from milstore.asking.selection import Choice
from milstore.charts import charted, error_scatter, patch_gallery, slice_attention, stain_attention, top_patches
from milstore.charts.render import drawing
from milstore.charts.theme import CLASS_COLOURS, About
from milstore.store import Store
from tests.drawing import drawn, of_three

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


@pytest.mark.parametrize("name", charted())
def test_a_class_has_one_colour_everywhere(name: str) -> None:
    """Wherever a chart colours by class, benign is blue and high-grade vermilion, in the order of their numbers."""
    choice = Choice(cases=("10",)) if queries.load(name).wants_case else Choice()
    spec = of_three(name, choice).spec
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


def test_every_panel_has_its_own_rho() -> None:
    """Panels of a scatter against the error: each shows its own points, and its own correlation stands in the lines above."""
    rows = [
        {"panel": panel, "x": x, "error": error, "rho": rho, "rho_low": rho - 0.1, "rho_high": rho + 0.1, "p_value": 0.01,
         "n": 4, "n_cases": 4, "pooled_rho": None, "pooled_low": None, "pooled_high": None, "true_class": "benign",
         "outcome": "right", "case_id": str(x), "subset": "test", "run_id": "r"}
        for panel, rho in (("left", 0.8), ("right", -0.4))
        for x, error in ((1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4))
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    import altair as alt

    parts = [error_scatter.Panel(name=str(n), rows=of, x=alt.X("x:Q")) for n, of in frame.groupby("panel", sort=False)]
    spec = error_scatter.panels(parts, ABOUT, answer=parts[0], tooltip=[], columns=2, width=100).to_dict()
    (dots,) = marks(spec["vconcat"][0], "point")
    assert [(row["panel"], row["rho"], row["low"], row["high"]) for row in datum(spec, dots)] == [
        ("left", 0.8, pytest.approx(0.7), pytest.approx(0.9)), ("right", -0.4, pytest.approx(-0.5), pytest.approx(-0.3)),
    ]  # fmt: skip
    assert spec["title"]["subtitle"][0] == "Left: benign ρ = 0.80 (95% interval 0.70 to 0.90)."
    scatters = spec["vconcat"][1]["concat"]
    assert [part["title"]["text"] for part in scatters] == ["left", "right"]
    for part in scatters:
        (points,) = marks(part, "point")
        assert (points["encoding"]["x"]["field"], points["encoding"]["y"]["field"]) == ("x", "error")
        assert points["encoding"]["y"]["scale"]["domain"] == [0, 1]


def stains_frame() -> pd.DataFrame:
    """Five benign cases with weights 0.1, 0.2, 0.3, 0.4 and 0.9 of h&e."""
    weights = [0.1, 0.2, 0.3, 0.4, 0.9]
    return pd.DataFrame(
        {
            "run_id": "r", "case_id": [str(i) for i in range(5)], "subset": "test", "true_class": "benign",
            "outcome": "right", "error": 0.1, "stain": "h&e", "stain_attention": weights, "even": 1.0, "leads": True,
            "tied": False, "stain_slices": 1, "stain_patches": 3, "leads_in_class": 5, "cases_in_class": 5, "tied_in_class": 0,
        }
    )  # fmt: skip


def test_the_dot_of_a_whisker_is_the_median() -> None:
    """The whisker of `stain-attention` reaches from quartile to quartile, and its dot lies at the median."""
    spec = stain_attention.chart(stains_frame(), ABOUT).to_dict()
    (whisker,) = [rule for rule in marks(spec, "rule") if "y2" in rule["encoding"]]
    (middle,) = [mark for mark in marks(spec, "point") if mark["encoding"].get("y", {}).get("field") == "middle"]
    (box,) = datum(spec, whisker)
    assert box[middle["encoding"]["y"]["field"]] == pytest.approx(0.3)
    assert box[whisker["encoding"]["y"]["field"]] == pytest.approx(0.2)
    assert box[whisker["encoding"]["y2"]["field"]] == pytest.approx(0.4)


def test_the_lift_of_the_top_slice_counts_its_weight() -> None:
    """The answer says by class the median of the top slice's weight times the number of slices."""
    rows = []
    for case, slices, top in (("1", 2, 0.9), ("2", 4, 0.5), ("3", 5, 0.5)):
        for rank in range(1, slices + 1):
            weight = top if rank == 1 else (1 - top) / (slices - 1)
            rows.append(
                {"run_id": "r", "case_id": case, "subset": "test", "true_class": "benign", "outcome": "right",
                 "stain": "h&e", "stain_attention": 1.0, "slice_rank": rank, "slice_idx": rank, "slice_name": f"match_{rank}",
                 "slice_attention": weight, "even": 1 / slices, "by_patches": 1 / slices, "top_share": top,
                 "slice_patches": 3, "stain_slices": slices, "top_slices": 1}
            )  # fmt: skip
    spec = slice_attention.chart(pd.DataFrame(rows), ABOUT).to_dict()
    # 0.9 x 2 = 1.8, 0.5 x 4 = 2.0, 0.5 x 5 = 2.5
    assert " ".join(spec["title"]["subtitle"]).startswith(
        "benign: the top slice of a stain has 2.0 times the even weight (median of 3 stains with two slices or more; "
        "quartiles 1.9 to 2.2)."
    )


def test_the_even_mark_counts_the_top_patches() -> None:
    """The tick of `top-patches` stands at the number of top patches that an even spread would put there."""
    frame = pd.DataFrame(
        {
            "run_id": "r", "case_id": "1", "subset": "test", "true_label": 0, "pred_label": 0, "stain": ["h&e", "melan"],
            "slice_idx": 0, "slice_name": "match_1", "top_patches": [3, 1], "slice_patches": [30, 10], "lift": [1.0, 1.0],
            "stain_top_patches": [3, 1], "stain_patches": [30, 10], "stain_lift": [1.0, 1.0], "case_top_patches": 4,
            "case_patches": 40, "top_attention": [0.5, 0.1], "stain_top_attention": [0.5, 0.1], "case_top_attention": 0.6,
            "tied_patches": 0, "case_tied_patches": 0,
        }
    )  # fmt: skip
    spec = top_patches.chart(frame, ABOUT).to_dict()
    ticks = marks(spec, "tick")
    assert len(ticks) == 2
    for tick in ticks:
        assert tick["encoding"]["x"]["field"] == "even"
        assert [row["even"] for row in datum(spec, tick)] == [3.0, 1.0]
    bars = marks(spec, "bar")
    assert [bar["encoding"]["x"]["field"] for bar in bars] == ["count", "held"] * 2
    assert [[row["count"] for row in datum(spec, bar)] for bar in bars] == [[3, 1]] * 4
    assert [[row["held"] for row in datum(spec, bar)] for bar in bars] == [[0.5, 0.1]] * 4


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
