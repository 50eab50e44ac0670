"""What every chart is held to, as far as a specification and its drawing tell: each check gives what is wrong, in words."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

from milstore.charts.save import as_svg
from milstore.charts.theme import CLASS_COLOURS, READABLE, STAIN_COLOURS, About
from milstore.charts.wording import OUTCOME

PARTS = ("layer", "concat", "hconcat", "vconcat", "spec")
LEAST_LETTERS = 8.5
"""Pixels of the smallest letters where the chart is as wide as a column of a page."""
RANGES = {
    "pearson": (-1, 1), "spearman": (-1, 1), "rho": (-1, 1), "error": (0, 1), "p_true": (0, 1), "probability": (0, 1),
    "share": (0, 1), "value": (-1, 1), "true_positive_rate": (0, 1), "false_positive_rate": (0, 1), "auc": (0, 1),
}  # fmt: skip
"""What a column of this name can be; a scale may go a tenth beyond, for marks at its end."""
MARKS = ("point", "circle", "square", "bar", "tick")
SCALES = {"log": "log", "symlog": "log", "sqrt": "square-root", "pow": "power"}
Unit = tuple[list[str], dict[str, Any], dict[str, Any]]
"""Headings above a mark, the mark, and its encoding."""


def units(spec: dict[str, Any], heads: tuple[str, ...] = (), inherited: dict[str, Any] | None = None) -> Iterator[Unit]:
    """Everything that is drawn; headings and encodings reach down."""
    heads = (*heads, *texts(spec.get("title")))
    encoding = {**(inherited or {}), **spec.get("encoding", {})}
    if "mark" in spec:
        mark = spec["mark"] if isinstance(spec["mark"], dict) else {"type": spec["mark"]}
        yield list(heads), mark, encoding
    for name in PARTS:
        parts = spec.get(name, [])
        for part in parts if isinstance(parts, list) else [parts]:
            yield from units(part, heads, encoding)


def texts(title: Any) -> list[str]:
    """The lines of a title and of what stands below it."""
    if isinstance(title, dict):
        return [line for name in ("text", "subtitle") for line in texts(title.get(name))]
    return [str(line) for line in title] if isinstance(title, list) else [title] if title else []


def problems(spec: dict[str, Any], about: About) -> list[str]:
    """Every point of the list that a chart does not meet."""
    checks = (answer, legends, class_colours, readable, undefined, whiskers, scales, wording)
    return [problem for check in checks for problem in check(spec, about)]


def answer(spec: dict[str, Any], about: About) -> Iterator[str]:
    """Under the question stands the answer, computed; then the run or experiment is named."""
    lines = texts(spec["title"].get("subtitle"))
    under = " ".join(lines)
    place = under.find(about.subtitle)
    if place < 0:
        yield f"the run is not named: {about.subtitle}"
    elif not re.search(r"\d|undefined|\b[Nn]o\b|\b[Oo]ne\b", under[:place]):
        yield f"no answer stands before the run: {under[:60]!r}"


def legends(spec: dict[str, Any], about: About) -> Iterator[str]:
    """Each colour and shape that stands for something is in a legend, or its names are written at an axis or as words."""
    written = {
        of["field"]
        for _, _, encoding in units(spec)
        for channel, of in encoding.items()
        if isinstance(of, dict) and "field" in of and channel in ("x", "y", "text", "row", "column", "facet")
    }
    shown: dict[tuple[str, str], bool] = {}
    for heads, _, encoding in units(spec):
        for channel in ("color", "fill", "stroke", "shape", "strokeDash"):
            of = encoding.get(channel)
            of = of.get("condition", {}) if isinstance(of, dict) and "field" not in of else of
            if isinstance(of, dict) and "field" in of:
                key = (channel, of["field"])
                named = of["field"] in written or any(of["field"] in head for head in heads)
                shown[key] = shown.get(key, False) or of.get("legend", {}) is not None or named
    yield from (f"{channel} of {field} is in no legend" for (channel, field), there in shown.items() if not there)


def class_colours(spec: dict[str, Any], about: About) -> Iterator[str]:
    """The colours of classes and stains stand for these alone; where one is set outright, a heading names its class or stain."""
    owners = {colour.lower(): name for colour, name in zip(CLASS_COLOURS, about.class_names, strict=False)}
    owners |= {STAIN_COLOURS[stain].lower(): stain for stain in about.stains if stain in STAIN_COLOURS}
    for heads, mark, encoding in units(spec):
        for channel in ("color", "fill", "stroke"):
            of = encoding.get(channel) or {}
            of = of if "field" in of else of.get("condition", of)
            for one in of if isinstance(of, list) else [of]:
                named = {str(value).lower() for value in [*(one.get("scale") or {}).get("domain", [])]}
                taken = {str(colour).lower() for colour in (one.get("scale") or {}).get("range", [])} & set(owners)
                wrong = sorted(owners[colour] for colour in taken if owners[colour].lower() not in named)
                if wrong:
                    yield f"{channel} of {one.get('field')} is in the colour of {', '.join(wrong)}"
        for colour in (mark.get("color"), mark.get("fill"), (encoding.get("color") or {}).get("value")):
            owner = owners.get(str(colour).lower())
            if owner and not any(owner in head for head in heads):
                yield f"a {mark['type']} is in the colour of {owner}, which no heading names"


def readable(spec: dict[str, Any], about: About) -> Iterator[str]:
    """In a column of 600 pixels the smallest letters have 8.5 pixels or more."""
    drawn = ET.fromstring(as_svg(spec))
    width = float(drawn.get("width", "0").removesuffix("px"))
    sizes = [
        float(size[1])
        for node in drawn.iter("{http://www.w3.org/2000/svg}text")
        if "".join(node.itertext()).strip() and (size := re.match(r"([\d.]+)px", node.get("font-size", "")))
    ]
    smallest = min(sizes) * min(1, READABLE / width)
    if smallest < LEAST_LETTERS:
        yield f"letters of {smallest:.1f} px at {READABLE} px (it is {width:.0f} px wide, its smallest are {min(sizes):g} px)"


def undefined(spec: dict[str, Any], about: About) -> Iterator[str]:
    """What is undefined is not drawn at some number, and no scale makes room for it."""
    for _, mark, encoding in units(spec):
        for channel in ("x", "y"):
            of = encoding.get(channel) or {}
            if mark["type"] in MARKS and isinstance(of.get("datum"), int | float):
                yield f"a {mark['type']} is drawn at {channel} = {of['datum']}, whatever its value"
            domain = (of.get("scale") or {}).get("domain") or []
            if of.get("field") in RANGES and len(domain) == 2:
                low, high = RANGES[of["field"]]
                if domain[0] < low - 0.1 or domain[1] > high + 0.1:
                    yield f"the scale of {of['field']} is {domain}: it can be {low} to {high}"


def whiskers(spec: dict[str, Any], about: About) -> Iterator[str]:
    """An interval stands at a dot: a bar with a line through it is read as two things."""
    for parts in layers(spec):
        kinds = [(part.get("mark") or {}, part.get("encoding") or {}) for part in parts]
        types = [mark.get("type") if isinstance(mark, dict) else mark for mark, _ in kinds]
        lines = any(kind == "rule" and ("x2" in of or "y2" in of) for kind, (_, of) in zip(types, kinds, strict=True))
        if lines and "bar" in types and "point" not in types:
            yield "a bar has a line through it: a dot with whiskers says it"


def layers(spec: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """The marks that are drawn over one another."""
    if "layer" in spec:
        yield spec["layer"]
    for name in PARTS:
        parts = spec.get(name, [])
        for part in parts if isinstance(parts, list) else [parts]:
            yield from layers(part)


def scales(spec: dict[str, Any], about: About) -> Iterator[str]:
    """A scale that is not even says so at its axis."""
    for _, _, encoding in units(spec):
        for channel in ("x", "y"):
            of = encoding.get(channel) or {}
            kind = SCALES.get((of.get("scale") or {}).get("type", ""))
            said = " ".join(texts(of.get("title"))).lower()
            if kind and "title" in of and of["title"] is not None and kind not in said:
                yield f"the {channel} axis of {of.get('field')} does not say that it is a {kind} scale: {said!r}"


def wording(spec: dict[str, Any], about: About) -> Iterator[str]:
    """A case is called right or called wrong, a product has a multiplication sign, and the legend is headed alike."""
    for text in sorted({text for text in said(spec) if not text.startswith("data:")}):
        if re.search(r"\b(in)?correct(ly)?\b|\bmisclassif|\bcalled (?!right|wrong)\w", text):
            yield f"other words for called right or wrong: {text!r}"
        if re.search(r"(?<![\w.])x ?\d|\d ?x(?!\w)", text):
            yield f"an x that means ×: {text!r}"
    for _, _, encoding in units(spec):
        of = encoding.get("shape") or {}
        if of.get("field") == "outcome" and of.get("title") != OUTCOME:
            yield f"outcomes are headed by {of.get('title')!r}, not {OUTCOME!r}"


def said(spec: dict[str, Any]) -> Iterator[str]:
    """Every text that a reader sees: headings, axes, legends, tooltips, and words that are drawn."""
    drawn: set[str] = set()
    for heads, mark, encoding in units(spec):
        yield from heads
        for of in encoding.values():
            for one in of if isinstance(of, list) else [of]:
                if isinstance(one, dict):
                    yield from texts(one.get("title"))
        text = encoding.get("text") or {}
        if mark["type"] == "text" and "field" in text:
            drawn.add(text["field"])
    for rows in spec.get("datasets", {}).values():
        for row in rows:
            yield from (str(row[field]) for field in drawn if isinstance(row.get(field), str))
