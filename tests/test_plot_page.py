"""Pages need nothing outside themselves, and data in them stays data."""

import re
from pathlib import Path

import altair as alt
import pytest

from milstore import queries
from milstore.charts import scripts
from milstore.charts.drawing import Drawing
from milstore.charts.page import figure_html, page_html, script_json
from milstore.charts.save import as_html
from milstore.charts.theme import About, themed, titled
from tests.chromium import Browser
from tests.hostile import HOSTILE


def a_drawing(text: str) -> Drawing:
    """A chart whose title, axis and tooltip carry a text."""
    about = About(title=text, subtitle=text)
    points = alt.Chart(alt.Data(values=[{"x": 1, "case": text}, {"x": 2, "case": "b"}])).mark_bar()
    chart = points.encode(x="x:Q", y=alt.Y("case:N"), tooltip=["case:N"])
    return Drawing(queries.load("recall"), about, themed(chart.properties(title=titled(about))))


def test_no_character_of_a_chart_can_end_its_script() -> None:
    """Embedded JSON holds none of the characters that mean something to HTML or end a line in old JavaScript."""
    text = str(script_json({"case": "".join(HOSTILE)}))
    assert [letter for letter in "<>&\u2028\u2029" if letter in text] == []


def test_texts_of_a_page_are_escaped() -> None:
    """A title that is markup appears as text, and only the page's own scripts stand in it."""
    drawn = a_drawing(HOSTILE[0])
    page = as_html(drawn)
    assert "<script>window.hacked" not in page
    assert len(re.findall(r"<script[^>]*>", page)) == 3


def test_a_page_names_its_scripts_and_forbids_the_rest() -> None:
    """The policy allows the scripts of the page by their hashes, no eval, and no address but inlined pictures."""
    page = page_html("t", figure_html("n", "t", {}))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].replace("&#39;", "'").split(";"))
    scripts = rules.pop("script-src").split()
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert all(re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", script) for script in scripts)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_is_drawn_as_text(chromium: Browser, tmp_path: Path, text: str) -> None:
    """A chart full of a name that is a script shows it, runs nothing, asks for nothing, and is not blank."""
    page = tmp_path / "chart.html"
    page.write_text(as_html(a_drawing(text)), encoding="utf-8")
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(page)
    assert chromium.evaluate("typeof window.hacked") == "undefined"
    assert chromium.errors == []
    assert chromium.requests == [page.as_uri()]
    assert chromium.evaluate("document.querySelectorAll('figure .mark-rect path').length") == 2
    assert text.split("\u2028", maxsplit=1)[0] in chromium.evaluate("document.querySelector('figure svg').textContent")
    assert chromium.evaluate("document.querySelectorAll('img, svg[onload]').length") == 0


def test_the_policy_stops_what_gets_through(chromium: Browser, tmp_path: Path) -> None:
    """Even a script that stands in the page as markup does not run, and a picture from outside is not asked for."""
    from markupsafe import Markup

    evil = Markup('<script>window.hacked=1</script><img src="https://example.org/x.png"><b onclick="x()">b</b>')
    page = tmp_path / "evil.html"
    page.write_text(page_html("t", evil), encoding="utf-8")
    chromium.errors.clear()
    chromium.requests.clear()
    chromium.open(page)
    assert chromium.evaluate("typeof window.hacked") == "undefined"
    assert chromium.requests == [page.as_uri()]
    assert any("Content Security Policy" in error for error in chromium.errors)


def test_a_chart_loads_no_address_from_its_data(chromium: Browser, tmp_path: Path) -> None:
    """Pictures and links named in the data are not followed; an inlined picture is shown."""
    pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
    values = [{"x": 1, "url": "https://example.org/x.png"}, {"x": 2, "url": pixel}]
    chart = (
        alt.Chart(alt.Data(values=values)).mark_image(width=20, height=20).encode(x="x:Q", url="url:N", href="url:N")
    )
    page = tmp_path / "pictures.html"
    drawn = Drawing(queries.load("recall"), About(title="t", subtitle="s"), chart)
    page.write_text(as_html(drawn), encoding="utf-8")
    chromium.requests.clear()
    chromium.open(page)
    assert chromium.requests == [page.as_uri()]
    assert chromium.evaluate("document.querySelectorAll('figure image').length") == 2
    hrefs = "[...document.querySelectorAll('figure image')].map(i => i.getAttribute('href') || i.getAttribute('xlink:href'))"
    assert [url for url in chromium.evaluate(hrefs) if url and "example" in url] == []


def test_the_scripts_of_a_page_are_put_together_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is used again; what was damaged is made again; where nothing can be kept, it is made each time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    made: list[str] = []

    def bundle(_snippet: str, **_: object) -> str:
        made.append(f"script {len(made)}")
        return made[-1]

    monkeypatch.setattr(scripts.vlc, "javascript_bundle", bundle)
    assert [scripts.chart_scripts() for _ in range(2)] == ["script 0", "script 0"]
    (file,) = (tmp_path / "kept").rglob("*.js")
    for damage in (file.read_bytes()[:-1], b"", b"\xff", b"alert(1)"):
        file.write_bytes(damage)
        assert [scripts.chart_scripts() for _ in range(2)] == [made[-1]] * 2
    assert len(made) == 5
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [scripts.chart_scripts() for _ in range(2)] == ["script 5", "script 6"]
