"""Charts are made without Altair's copies and lists of classes, and are what they are with them."""

import sys
from contextlib import nullcontext
from typing import Any

import altair as alt
import pandas as pd
import pytest
from altair.utils import core, schemapi

from milstore import queries
from milstore.asking.selection import Choice
from milstore.charts import charted, drawing, render
from milstore.charts.quick_altair import quick
from milstore.store import Store
from tests.crossing import WHOLE

DOTS = alt.Chart(alt.Data(values=[{"a": 1, "b": 2}])).mark_point().encode(x="a:Q")


@pytest.mark.parametrize("name", charted() if WHOLE else ("top-patches", "entropy"))
def test_a_chart_is_what_altair_makes(three: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last key; `make torture` compares every chart."""
    choice = Choice(cases=("46",)) if queries.load(name).wants_case else Choice()
    found = render.drawing(three, name, choice).spec
    for module, each in ((render, "quick"), (drawing, "quick"), (drawing, "quick_rows")):
        monkeypatch.setattr(module, each, nullcontext)
    assert found == render.drawing(three, name, choice).spec


@pytest.mark.parametrize(
    "written", ["a:Q", ["a:Q", "mean(b):Q"], alt.value(3), alt.value("red"), alt.value(None)], ids=str
)
def test_a_channel_is_what_altair_makes(written: Any) -> None:
    """Each channel that is written as texts or as a value is of the class, and says what it would otherwise."""
    cache: Any = core._ChannelCache.from_cache()  # type: ignore[no-untyped-call]
    channels = [
        name for name, kinds in cache.name_to_channel.items() if "value" in kinds or not isinstance(written, dict)
    ]
    assert len(channels) >= 20
    with schemapi.debug_mode(False):
        usual = core.infer_encoding_types((), dict.fromkeys(channels, written))
        with quick():
            found = core.infer_encoding_types((), dict.fromkeys(channels, written))
    assert said(found) == said(usual)


def said(channels: dict[str, Any]) -> dict[str, Any]:
    """The class of each channel, and what it says."""
    parts = {name: each if isinstance(each, list) else [each] for name, each in channels.items()}
    data = {"data": pd.DataFrame({"a": [1], "b": [2]})}
    return {
        name: [(type(part), part.to_dict(validate=False, context=dict(data))) for part in of_channel]
        for name, of_channel in parts.items()
    }


@pytest.mark.filterwarnings("ignore:Automatically deduplicated")
def test_selections_stay_apart() -> None:
    """A chart with selections, as a group's own may have, gets what Altair does with them."""

    def joined() -> dict[str, Any]:
        chosen = DOTS.add_params(alt.selection_interval(name="chosen"))
        found: dict[str, Any] = ((chosen + DOTS) | (DOTS + chosen.encode(y="b:Q")) & chosen).to_dict()
        return found

    usual = joined()
    with quick():
        assert joined() == usual
    assert [param["name"] for param in usual["params"]] == ["chosen"]


def test_a_part_that_is_changed_later_leaves_the_whole_alone() -> None:
    """A chart is no longer in the hands of who has its parts."""
    with quick():
        part = DOTS + DOTS
        whole = part | DOTS
        part.title = "changed"
        part += DOTS
        assert "title" not in whole.to_dict()["hconcat"][0]
        assert len(whole.to_dict()["hconcat"][0]["layer"]) == 2


def test_altair_is_as_it_was_afterwards() -> None:
    """Who uses Altair beside milstore has it as it is."""
    api: Any = sys.modules[alt.LayerChart.__module__]
    before = dict(vars(api)), dict(vars(core._ChannelCache))
    with pytest.raises(ZeroDivisionError), quick():
        assert vars(api) != before[0]
        assert vars(core._ChannelCache) != before[1]
        1 / 0  # noqa: B018
    assert (vars(api), vars(core._ChannelCache)) == before


@pytest.mark.parametrize("another", [None, lambda params, subcharts, name: (params, subcharts)])
@pytest.mark.parametrize("name", ["_combine_subchart_params", "_wrap_in_channel", "_ChannelCache"])
def test_another_altair_is_left_alone(another: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that lacks what is put in place of, or gives it something else."""
    api: Any = sys.modules[alt.LayerChart.__module__]
    channels: Any = core._ChannelCache
    places = {"_wrap_in_channel": channels, "_ChannelCache": core}
    monkeypatch.setattr(places.get(name, api), name, another)
    before = dict(vars(api)), dict(vars(channels))
    with quick():
        assert (vars(api), vars(channels)) == before
