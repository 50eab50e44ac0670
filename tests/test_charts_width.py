"""The page of a chart follows the page's width: plots become wider or narrower, and letters stay readable."""

from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import pytest
from markupsafe import Markup

from milstore import queries
from milstore.asking.selection import Choice
from milstore.charts import charted
from milstore.charts.drawing import Drawing
from milstore.charts.page import figure_html, page_html
from milstore.charts.save import as_html
from milstore.charts.theme import About, themed, titled
from tests.chromium import Browser
from tests.crossing import crossed
from tests.drawing import of_three

MEASURED = """[...document.querySelectorAll('figure.chart')].map(figure => {
  const svg = figure.querySelector('svg');
  const { paddingLeft, paddingRight } = getComputedStyle(figure);
  const shown = svg.getBoundingClientRect().width;
  const scale = shown / svg.width.baseVal.value;
  const letters = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim())
    .map(t => parseFloat(getComputedStyle(t).fontSize) * scale);
  return {
    name: figure.dataset.name, page: document.documentElement.scrollWidth,
    room: figure.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight),
    shown, smallest: Math.min(...letters), state: figure.dataset.state,
  };
})"""
"""Of each figure: width of the page's content, of the figure's inside, of what is drawn in it, and its smallest letters, in pixels."""
PHONE, TABLET, DESK = WIDTHS = 390, 800, 1440
CURVES = "loss-curves"
"""A chart of plots alone."""
LOOKED_AT = crossed(charted(), WIDTHS, besides=[(CURVES, width) for width in WIDTHS])


def drawing_of(name: str) -> Drawing:
    return of_three(name, Choice(cases=("10",)) if queries.load(name).wants_case else Choice())


def page_of(name: str, folder: Path) -> Path:
    path = folder / f"{name}.html"
    path.write_text(as_html(drawing_of(name)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def measured(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], dict[str, Any]]:
    """What was measured of a chart at a width. All charts of a width stand on one page."""
    found = {}
    for width in WIDTHS:
        figures = [(name, drawing_of(name)) for name, at in LOOKED_AT if at == width]
        body = Markup("").join(figure_html(name, each.about.title, each.spec) for name, each in figures)
        page = tmp_path_factory.mktemp("width") / "charts.html"
        page.write_text(page_html("charts", Markup('<main class="alone">{}</main>').format(body)), encoding="utf-8")
        of_width = chromium.open(page, width=width).evaluate(MEASURED)
        found |= {(each["name"], width): each for each in of_width}
    return found


@pytest.mark.parametrize(("name", "width"), LOOKED_AT)
def test_a_chart_follows_the_page(measured: dict[tuple[str, int], dict[str, Any]], name: str, width: int) -> None:
    """On a tablet and a desk it fits its place; on a phone it fits, or what is a table scrolls in it; letters stay readable.

    Each chart at one of the widths; `make torture` looks at each at all of them.
    """
    found = measured[name, width]
    assert found["state"] == "drawn"
    assert found["page"] == width, "the page itself never scrolls sideways"
    if width != PHONE:
        assert found["shown"] <= found["room"] + 1
    assert found["smallest"] >= 7


@pytest.mark.parametrize("width", WIDTHS)
def test_plots_use_the_room_that_there_is(measured: dict[tuple[str, int], dict[str, Any]], width: int) -> None:
    """Curves and dots take at least nine tenths of a phone's, a tablet's and a desk's width, at the same size of letters."""
    found = measured[CURVES, width]
    assert 0.9 * found["room"] <= found["shown"] <= found["room"] + 1
    assert found["smallest"] >= 10


def test_a_page_that_is_made_narrower_is_drawn_anew(chromium: Browser, tmp_path: Path) -> None:
    """Turning a tablet, or opening a side bar, needs no reload."""
    chromium.open(page_of("recall", tmp_path), width=1200)
    (wide,) = chromium.evaluate(MEASURED)
    chromium.resize(600)
    chromium.wait_for(f"document.querySelector('figure svg').getBoundingClientRect().width < {0.7 * wide['shown']}")
    (narrow,) = chromium.evaluate(MEASURED)
    assert narrow["shown"] <= narrow["room"] + 1
    assert narrow["smallest"] >= 10


def test_letters_are_light_in_the_dark_and_values_keep_their_colours(chromium: Browser, tmp_path: Path) -> None:
    """In the dark there is no white card: the ground is dark, titles light, and benign is as blue as ever."""
    page = page_of("recall", tmp_path)
    looks = """(() => {
      const figure = document.querySelector('figure.chart');
      const title = [...figure.querySelectorAll('text')].find(t => t.textContent.startsWith('How many'));
      const dot = figure.querySelector('path[fill="#0072B2"]');
      return [getComputedStyle(figure).backgroundColor, getComputedStyle(title).fill, getComputedStyle(dot).fill];
    })()"""
    light = chromium.open(page).evaluate(looks)
    dark = chromium.open(page, dark=True).evaluate(looks)
    assert light == ["rgb(255, 255, 255)", "rgb(0, 0, 0)", "rgb(0, 114, 178)"]
    assert dark == ["rgb(25, 29, 36)", "rgb(232, 235, 240)", "rgb(0, 114, 178)"]


def test_words_beside_a_plot_stay_beside_it(chromium: Browser, tmp_path: Path) -> None:
    """Words at a pixel of the plot move with its end as it becomes wider."""
    rows = pd.DataFrame({"x": [0.0, 1.0], "words": ["", "beside"]})
    base = alt.Chart(rows).encode(y=alt.Y("words:N", axis=None))
    layers = (base.mark_point().encode(x="x:Q"), base.mark_text(align="left").encode(x=alt.value(205), text="words:N"))
    about = About(title="t", subtitle="s")
    chart = themed(alt.layer(*layers).properties(width=200, title=titled(about)))
    path = tmp_path / "beside.html"
    path.write_text(as_html(Drawing(queries.load("recall"), about, chart)), encoding="utf-8")
    places = """(() => {
      const at = (node) => node.getBoundingClientRect();
      const words = [...document.querySelectorAll('text')].find(t => t.textContent === 'beside');
      const points = [...document.querySelectorAll('.mark-symbol path')].map(p => at(p).right);
      return [at(words).left, Math.max(...points)];
    })()"""
    for width in (TABLET, DESK):
        words, end = chromium.open(path, width=width).evaluate(places)
        assert words > end - 5
