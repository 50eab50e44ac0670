"""Pages that need nothing outside themselves, in which data stays data.

Three walls stand between a case's name and a script. Text goes through Jinja's escaping; a chart's JSON carries none
of the characters that could end it; and the page's content policy runs only the scripts whose hash it names.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from milstore._version import __version__
from milstore.charts.scripts import chart_scripts

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}

FIGURE = """\
<figure class="chart" data-name="{{ name }}" role="group" aria-label="{{ title }}">
<div class="drawing"></div>
<script type="application/json">{{ spec }}</script>
</figure>"""

FOLD = """\
<details class="sql"><summary>SQL of <code>{{ name }}</code></summary>
{% if command %}<p>Asked again by <code>{{ command }}</code></p>{% endif %}
<pre>{{ sql }}</pre></details>"""


def environment(package: str) -> Environment:
    """Templates of a package, with escaping for all and an error for a name that is not given."""
    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _environment() -> Environment:
    return environment("milstore.charts")


def script_json(content: Any) -> Markup:
    """Content as JSON that can stand inside a `<script>` element, whatever its texts say.

    >>> str(script_json({"case": "</script><b>&"}))
    '{"case":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e\\\\u0026"}'
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter, escape in _UNSAFE.items():
        text = text.replace(letter, escape)
    return Markup(text)  # noqa: S704 - made safe above


def resource(package: str, name: str) -> str:
    """A file that lies beside a package's modules."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def figure_html(name: str, title: str, spec: Mapping[str, Any]) -> Markup:
    """A chart, to be drawn when the page is opened."""
    return Markup(  # noqa: S704 - rendered with escaping
        _environment().from_string(FIGURE).render(name=name, title=title, spec=script_json(spec))
    )


def fold_html(name: str, sql: str, command: str = "") -> Markup:
    """A question's SQL behind a fold, with the command line that asks it again."""
    text = _environment().from_string(FOLD).render(name=name, sql=sql.strip(), command=command)
    return Markup(text)  # noqa: S704 - rendered with escaping


def page_html(title: str, body: Markup, *, style: str = "", scripts: Sequence[str] = ()) -> str:
    """A whole page.

    Args:
        title: its title, any text.
        body: its content: markup that has been escaped already.
        style: CSS after that of all pages.
        scripts: scripts that run before the charts are drawn, and can listen for `drawn` on their figures.
    """
    drawing = resource("milstore.charts", "fitting.js") + resource("milstore.charts", "embed.js")
    charts = [chart_scripts(), *scripts, drawing]
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            body=body,
            version=__version__,
            style=Markup(resource("milstore.charts", "page.css") + style),  # noqa: S704 - our own
            scripts=[_checked(script) for script in charts],
            policy=_policy(charts),
        )
    )


def _policy(scripts: Sequence[str]) -> str:
    """What the page may do: run these scripts, style itself, show pictures that it holds. Nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _checked(script: str) -> Markup:
    lowered = script.lower()
    if "</script" in lowered or "<!--" in lowered or "\r" in script:
        raise ValueError("a script of the page holds what would end it, or what browsers change")
    return Markup(script)  # noqa: S704 - our own, checked above
