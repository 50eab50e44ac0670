"""How far a file's name fits the pattern, for the message on one that does not."""

import re
from collections.abc import Sequence

from milstore.store.names import clip
from milstore.store.pattern import NamePattern
from milstore.store.template import ANY, NUMBERS, Part, expression_of

_SHOWN = 60


def how_far(pattern: NamePattern, subject: str) -> str:
    """Where a name stops matching the pattern, as text.

    Args:
        pattern: the store's pattern.
        subject: what `pattern.subject` gives of a file.
    """
    try:
        subject.encode()
    except UnicodeEncodeError:
        return "it is not valid UTF-8"
    return _of_template(pattern, subject) if pattern.parts else _of_expression(pattern, subject)


def _of_template(pattern: NamePattern, subject: str) -> str:
    levels = sum(part.text.count("/") for part in pattern.parts if not part.is_field)
    there = subject.count("/")
    if there < levels:
        return f"it lies in {_folders(there)}, and the pattern has {_folders(levels)}"
    # Of a longer path the end is read.
    subject = subject.split("/", there - levels)[-1]
    parts = _finer(pattern.parts)
    for count in range(len(parts), 0, -1):
        found = _begins(expression_of(parts[:count], None), subject)
        if found is None:
            continue
        rest = subject[len(found) :]
        if count == len(parts):
            return f"{_fits(found)}, where the pattern ends and the name goes on with {_quoted(rest)}"
        if parts[count - 1].is_field and parts[count - 1].text not in NUMBERS:
            # A text goes on up to what stands behind it, which is what is missing.
            found = _begins(expression_of(parts[: count - 1], None), subject) or ""
        wanted = _wanted(parts[count], parts[:count], rest)
        return f"{_fits(found)}, {wanted}" if found else wanted.removeprefix("and ")
    return f"{_fits('')}, {_wanted(parts[0], (), subject)}"


def _finer(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The pieces, with texts cut behind each folder."""
    return tuple(
        Part(text, is_field=part.is_field)
        for part in parts
        for text in ([part.text] if part.is_field else re.findall(r"[^/]*/|[^/]+", part.text))
    )


def _fits(found: str) -> str:
    return f"it fits as far as {_quoted(found)}" if found else "it does not begin as the pattern does"


def _wanted(part: Part, before: tuple[Part, ...], rest: str) -> str:
    if not part.is_field and before and before[-1].is_field and before[-1].text != ANY:
        return f"and no {_quoted(part.text)} comes after {before[-1].shown()}"
    if part.is_field and part.text in NUMBERS:
        return f"where {part.shown()} needs a number and {_quoted(rest) if rest else 'nothing'} stands"
    what = part.shown() if part.is_field else _quoted(part.text)
    return f"where {what} should stand and {_quoted(rest) if rest else 'nothing'} does"


def _of_expression(pattern: NamePattern, subject: str) -> str:
    """By the longest beginning of the expression that fits a beginning of the name."""
    text = pattern.expression
    for end in range(len(text), 0, -1):
        begun = text[:end]
        depth = _open_groups(begun)
        if depth is None:
            continue
        found = _begins(begun + ")" * depth, subject)
        if found == subject:
            return f"it fits as far as {_quoted(found)}, where it ends and the pattern goes on"
        if found:
            return f"{_fits(found)}, and goes on with {_quoted(subject[len(found) :])}"
    return _fits("")


def _open_groups(begun: str) -> int | None:
    """How many groups are open at the end of a piece of an expression; None within a set or after a backslash."""
    depth, escaped, in_set = 0, False, False
    for letter in begun:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif in_set:
            in_set = letter != "]"
        elif letter == "[":
            in_set = True
        elif letter in "()":
            depth += 1 if letter == "(" else -1
    return None if escaped or in_set or depth < 0 else depth


def _begins(expression: str, subject: str) -> str | None:
    """The beginning of a text that an expression fits; None if it fits none, or is not whole."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flags = "" if expression.startswith("(?") and expression[2:3] in "ismU" else "(?is)"
    if not flags:
        head, _, expression = expression.partition(")")
        flags = f"{head})"
    try:
        found = pc.extract_regex(pa.array([subject]), rf"{flags}\A(?P<begun>(?:{expression}))")[0].as_py()
    except (pa.ArrowInvalid, UnicodeError):
        return None
    return None if found is None else str(found["begun"])


def _quoted(text: str) -> str:
    return repr(clip(text, _SHOWN))


def _folders(count: int) -> str:
    return {0: "no folder", 1: "1 folder"}.get(count, f"{count} folders")
