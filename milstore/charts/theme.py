"""One look for all charts: colours, fonts, titles. Colour-blind safe, and readable in print.

Classes and stains have one colour each, everywhere. The palette is Okabe & Ito's (2008), and the stains' colours follow
what one sees down the microscope: H&E pink-violet, Melan-A brown, SOX10 teal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from milstore.charts.wording import OUTCOME, RIGHT, WRONG
from milstore.store.paths import Store

__all__ = ["About", "class_colour", "outcome_shape", "stain_colour", "themed", "titled"]
"""What a chart of a group's own may rely on."""

CLASS_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#000000")
"""By the number of the class: benign blue, high-grade vermilion, then the rest of the palette."""
STAIN_COLOURS = {"h&e": "#B3559B", "melan": "#8C5A2B", "sox10": "#1B9E9E"}
"""Of the default stains; others take what follows."""
OTHER_STAIN_COLOURS = ("#56B4E9", "#E69F00", "#0072B2", "#D55E00", "#999999", "#F0E442")
RIGHT_SHAPE, WRONG_SHAPE = "circle", "cross"
"""Correct and wrong predictions are told apart by shape as well as by words."""
NEUTRAL = "#6B7280"
"""Reference lines, even spread, thresholds."""
ACCENT = "#111827"
WIDTH = 480
"""Plot width in pixels that, with its axes, stays within `READABLE`."""
READABLE = 600
"""Pixels of a column of a page or of half a slide: at this width a chart must be read without a magnifier."""
SMALLEST = 10
"""Pixels of the smallest text."""
INK = "#111111"
"""Text on a coloured cell: dark wherever the page is, unlike `ACCENT`, which is light on a dark page."""
FONT = "Helvetica, Arial, sans-serif"


@dataclass(frozen=True, kw_only=True)
class About:
    """What a chart says of where it came from, and what it was asked with."""

    title: str
    """The question."""
    subtitle: str
    """The run or experiment, its splits and subset; with it, a chart never loses the run it was drawn from."""
    notes: Sequence[str] = ()
    """Caveats that belong into the chart, such as `2 of 5 splits`."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The question's parameters."""
    class_names: Sequence[str] = ()
    """Names of the classes, by number."""
    stains: Sequence[str] = ()
    """The stains, in their order."""
    store: Store | None = None
    """The store that answered; for `prepare` alone."""
    cases: Sequence[str] = ()
    """The cases that were asked for; none means all. A chart that draws the whole cohort lets them stand out."""
    own: Sequence[Mapping[str, Any]] = ()
    """The answer for those cases alone, where the chart draws the whole cohort."""
    calls: Sequence[Mapping[str, Any]] = ()
    """How cases were called, a row of `deviation` each, for a chart that says `NEEDS_CALLS`."""


def titled(about: About) -> alt.TitleParams:
    """Title and subtitle of a chart. Subtitles are broken so that they fit into the width."""
    return alt.TitleParams(
        about.title, subtitle=[line for text in (about.subtitle, *about.notes) for line in wrapped(text)]
    )


def wrapped(text: str, width: int = 100) -> list[str]:
    """The text in lines of at most `width` letters; long names are broken too."""
    import textwrap

    return textwrap.wrap(text, width) or [""]


def class_colour(about: About, title: str = "true class") -> alt.Color:
    """Colour by the column `true_class`, the class's name."""
    names = list(about.class_names)
    scale = alt.Scale(domain=names, range=[CLASS_COLOURS[i % len(CLASS_COLOURS)] for i in range(len(names))])
    return alt.Color("true_class:N", scale=scale, title=title, sort=names)


def stain_colours(stains: Sequence[str]) -> list[str]:
    """The colour of each stain."""
    others = iter(OTHER_STAIN_COLOURS * (1 + len(stains) // len(OTHER_STAIN_COLOURS)))
    return [STAIN_COLOURS.get(stain) or next(others) for stain in stains]


def stain_colour(about: About, field_name: str = "stain") -> alt.Color:
    """Colour by stain."""
    stains = list(about.stains)
    return alt.Color(
        f"{field_name}:N", scale=alt.Scale(domain=stains, range=stain_colours(stains)), title="stain", sort=stains
    )


def outcome_shape(field_name: str = "outcome") -> alt.Shape:
    """Shape by outcome: a column of `right` and `wrong`."""
    scale = alt.Scale(domain=[RIGHT, WRONG], range=[RIGHT_SHAPE, WRONG_SHAPE])
    return alt.Shape(f"{field_name}:N", scale=scale, title=OUTCOME)


CONFIG = alt.Config(
    font=FONT,
    background="white",
    title=alt.TitleConfig(anchor="start", fontSize=14, subtitleFontSize=11, subtitleColor="#4B5563", offset=12),
    axis=alt.AxisConfig(
        labelFontSize=11, titleFontSize=12, titleFontWeight="normal", gridColor="#E5E7EB", labelLimit=200
    ),
    # Below: beside the plot a legend takes a third of a narrow page.
    legend=alt.LegendConfig(
        orient="bottom", labelFontSize=11, titleFontSize=11, titleFontWeight="normal", labelLimit=200
    ),
    header=alt.HeaderConfig(labelFontSize=12, titleFontSize=12),
    view=alt.ViewConfig(stroke=None),
)


def themed(chart: Any, *, least: float | None = None) -> Any:
    """The chart in milstore's look. For the outermost chart alone: Altair takes a configuration there only.

    Args:
        chart: the chart.
        least: how much narrower its plots may be drawn on a narrow page, as a factor; for those with words in cells.
    """
    # Set, not by properties() or configure_…(): each of these copies the whole chart, and a report draws sixty.
    chart.config = CONFIG
    if least is not None:
        chart.usermeta = {"least": least}
    return chart
