"""Templates of file names, for people who write no regular expressions: `{case}_{stain}_{slice}_{patch}`.

A field in braces stands for what varies, `*` for anything, `/` for a folder, and the rest for itself, capitals aside. A
field takes as little as it can, but never a `/`; `{stain}` is one of the names that the store's stains have, so that
`S1_A_he_12` is read as case S1_A by `{case}_{stain}_{patch}`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from milstore.errors import DataError
from milstore.store.names import clip

IDENTITY = ("case", "stain", "slice")
NUMBERS = ("patch", "x", "y", "width", "height")
ANY = "*"
ONE_SLICE = "1"
"""Name of the slice where a template has none: there is one of each stain."""

_FIELD = re.compile(r"\{([A-Za-z_]+)\}|(\*)")
_GROUP = re.compile(r"\(\?P?<")
_ENDING = re.compile(
    r"\.(?:png|jpe?g|tiff?|bmp|webp|npy|npz|pt|h5|hdf5|parquet)$", re.IGNORECASE
)  # of what is taken in: names are read without it


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a template."""

    text: str
    """The name of a field, `*`, or what stands for itself."""
    is_field: bool

    def shown(self) -> str:
        """The piece as it is written in the template."""
        return f"{{{self.text}}}" if self.is_field and self.text != ANY else self.text


def is_template(text: str) -> bool:
    """Whether a pattern is a template, and no regular expression.

    >>> is_template("{case}/{patch}"), is_template("(?P<case>a{3})(?P<patch>[0-9]+)")
    (True, False)
    """
    return not _GROUP.search(text) and any(match[1] for match in _FIELD.finditer(text))


def parse_template(text: str, where: str) -> tuple[Part, ...]:
    """The pieces of a template, its ending (.png) left out. `where` begins the message of an error.

    Raises:
        DataError: a field that there is not, twice, or that is missing; or a brace that stands alone.
    """
    text = text.strip().replace("\\", "/").removeprefix("./").lstrip("/")
    text = _ENDING.sub("", text).removesuffix(".*")
    parts: list[Part] = []
    end = 0
    for match in _FIELD.finditer(text):
        if match.start() > end:
            parts.append(Part(text[end : match.start()], is_field=False))
        parts.append(Part((match[1] or match[2]).lower(), is_field=True))
        end = match.end()
    if end < len(text):
        parts.append(Part(text[end:], is_field=False))
    _check(parts, where)
    return tuple(parts)


def _check(parts: Sequence[Part], where: str) -> None:
    known = [*IDENTITY, *NUMBERS]
    fields = [part.text for part in parts if part.is_field and part.text != ANY]
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise DataError(
            f"{where} has {{{clip(unknown[0])}}}, which means nothing: known are "
            f"{', '.join(f'{{{name}}}' for name in known)}, and * for anything else"
        )
    double = sorted({name for name in fields if fields.count(name) > 1})
    if double:
        raise DataError(f"{where} has {{{double[0]}}} twice: keep one, and put * where it stands again")
    alone = next((part.text for part in parts if not part.is_field and set("{}") & set(part.text)), None)
    if alone is not None:
        raise DataError(f"{where} has a brace without a field in {clip(alone)!r}: write fields as {{case}}")
    if "case" not in fields:
        raise DataError(f"{where} has no {{case}}: say where the case stands in a name")
    if "patch" not in fields and not {"x", "y"} <= set(fields):
        raise DataError(f"{where} has no {{patch}}, nor {{x}} and {{y}}: say which patch of its slice a file is")


def expression_of(parts: Sequence[Part], stains: Iterable[str] | None) -> str:
    """The regular expression of pieces; `stains` are the names that a stain may have, None for any."""
    return "".join(_expression(part, stains) for part in parts)


def _expression(part: Part, stains: Iterable[str] | None) -> str:
    if not part.is_field:
        return re.escape(part.text)
    if part.text == ANY:
        return "[^/]*?"
    if part.text in NUMBERS:
        return rf"(?P<{part.text}>[0-9]+)"
    if part.text == "stain" and stains is not None:
        # The longest first, as the first that fits is taken.
        return f"(?P<stain>{'|'.join(re.escape(name) for name in sorted(stains, key=len, reverse=True))})"
    return f"(?P<{part.text}>[^/]+?)"


def of_slices(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The pieces that name a whole slice: those of the patch are left out, with what sets them off.

    >>> "".join(part.shown() for part in of_slices(parse_template("a{case}_{stain}_p{patch}.png", "")))
    'a{case}_{stain}'
    """
    kept: list[Part] = []
    drop_next = False
    for part in parts:
        named = any(each.is_field and each.text in IDENTITY for each in kept)
        if part.is_field and part.text in NUMBERS:
            if kept and not kept[-1].is_field:
                kept.pop()
            drop_next = not named
        elif drop_next and not part.is_field:
            drop_next = False
        else:
            kept.append(part)
    while kept and not (kept[-1].is_field and kept[-1].text in IDENTITY):
        kept.pop()
    return tuple(kept)


def marks_patches(parts: Sequence[Part]) -> bool:
    """Whether a letter stands before the patch's number, as in `_patch{patch}`: then no name of a slice looks like one."""
    for before, part in pairwise(parts):
        if part.is_field and part.text in NUMBERS:
            return not before.is_field and bool(re.search(r"[^\W\d_]", before.text))
    return False
