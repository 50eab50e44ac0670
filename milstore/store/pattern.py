"""How a patch's file name is read: one template or regular expression, bounded in length and in time.

The expression runs in RE2, through Arrow: its time grows with the length of the name and never explodes, whatever a
milstore.toml holds, and a million names take a second. RE2 knows no look-around and no back-references.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from milstore.errors import DataError
from milstore.store.names import clip, normal_case_id
from milstore.store.template import (
    ANY,
    ONE_SLICE,
    Part,
    expression_of,
    is_template,
    marks_patches,
    of_slices,
    parse_template,
)

DEFAULT_PATTERN = (
    r"(?is)case[_-]?(?P<case>[^_]+)"
    r"_(?P<slice>[^_\d].*?)"
    r"_(?P<stain>[^_\d][^_]*)"
    r"(?:_patch_?(?P<patch>\d+)(?:_x(?P<x>\d+)_y(?P<y>\d+))?)?"
)
"""Reads `case_052_match_1_h&e_patch164`, and `case_052_match_1_h&e` where a file holds a whole slice."""
DEFAULT_READS = "case_052_match_1_he_patch164.png"
"""A name that it reads."""

REQUIRED = ("case", "slice", "stain", "patch")
PLACES = ("x", "y", "width", "height")
OPTIONAL = ("slice_number", *PLACES)
LONGEST_PATTERN = 1000
LONGEST_NAME = 4096
_LARGEST = 2**31 - 1

_GROUP = re.compile(r"\(\?P?<(\w+)>")
_NUMBERED = re.compile(r"(.*?)[_\s-]*0*(\d+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamePattern:
    """A checked pattern."""

    text: str
    """As it stands in the settings."""
    groups: tuple[str, ...]
    expression: str
    """The regular expression, without its ends."""
    paths: bool = False
    """Whether it reads folders: then it is matched with the end of a file's path, else with its name."""
    parts: tuple[Part, ...] = ()
    """Of a template: its pieces; nothing of a regular expression."""
    only_stain: str | None = None
    """Of a template without a stain: the store's only one."""
    stains: tuple[str, ...] = ()
    """Of a template: the names that a stain may have."""

    def subject(self, file: str, stem: str) -> str:
        """What of a file is matched: its name without the ending, with its folders where they are read."""
        folder = file.rpartition("/")[0]
        return f"{folder}/{stem}" if self.paths and folder else stem

    def match(self, subjects: Any, *, whole_slices: bool = False) -> Any:
        """The named groups of each subject, as an Arrow struct array: null where the pattern does not fit.

        A group that takes no part in the match is an empty text. Of a template all of REQUIRED are there; a name whose
        stain is none of the store's fits too. With `whole_slices` the name leaves out the patch.
        """
        import pyarrow.compute as pc

        if not self.parts:
            return pc.extract_regex(subjects, self._anchored(self.expression))
        parts = of_slices(self.parts) if whole_slices else self.parts
        strict = self._extracted(subjects, expression_of(parts, self.stains))
        found = {name: pc.struct_field(strict, name) for name in strict.type.names}
        if self.stains and "stain" in self.groups and strict.null_count:
            loose = self._extracted(subjects, expression_of(parts, None))
            found = {name: pc.coalesce(column, pc.struct_field(loose, name)) for name, column in found.items()}
        return self._completed(found, subjects, whole_slices=whole_slices)

    def _anchored(self, expression: str) -> str:
        return _anchored(f"(?:.*/)?(?:{expression})" if self.paths else expression)

    def _extracted(self, subjects: Any, expression: str) -> Any:
        import pyarrow.compute as pc

        return pc.extract_regex(subjects, self._anchored(f"(?is){expression}"))

    def _completed(self, found: dict[str, Any], subjects: Any, *, whole_slices: bool) -> Any:
        """The groups of a template, with those that it leaves out."""
        import pyarrow as pa
        import pyarrow.compute as pc

        missed = found["case"].is_null()
        constant = {"slice": ONE_SLICE, "stain": self.only_stain or "", "patch": ""}
        whole = {name: found.get(name) for name in (*REQUIRED, *self.groups)}
        if whole_slices and marks_patches(self.parts):
            patches = self._extracted(subjects, expression_of(self.parts, None))
            whole["patch"] = pc.fill_null(pc.struct_field(patches, "patch" if "patch" in self.groups else "x"), "")
        columns = {
            name: pa.repeat(constant.get(name, ""), len(subjects)) if column is None else pc.fill_null(column, "")
            for name, column in whole.items()
        }
        return pa.StructArray.from_arrays(list(columns.values()), list(columns), mask=missed)


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceName:
    """What the name of a file says that holds a whole slice."""

    case_id: str
    stain: str
    slice_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchName:
    """What a patch's file name says. Coordinates and sizes, in pixels, are None unless the pattern has such groups."""

    case_id: str
    stain: str
    slice_name: str
    patch_idx: int
    x: int | None = None
    y: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a name was not read."""

    reason: str
    stain: str | None = None
    """The stain that the store does not know, where that is the reason."""


def _anchored(text: str) -> str:
    return rf"\A(?:{text})\z"


WHERE = "the pattern under [patches] in milstore.toml"


@cache
def compile_pattern(text: str, stains: tuple[tuple[str, tuple[str, ...]], ...] = ()) -> NamePattern:
    """Check a pattern from a milstore.toml.

    Args:
        text: a template (see `milstore.store.template`) or a regular expression with named groups.
        stains: each stain of the store with its names; a template takes them for {stain}.

    Raises:
        DataError: it is too long, is no template and no regular expression that RE2 takes, or its groups are not those
            that are needed.
    """
    if len(text) > LONGEST_PATTERN:
        raise DataError(f"{WHERE} is longer than {LONGEST_PATTERN} characters: shorten it")
    return _from_template(text, stains) if is_template(text) else _from_expression(text)


def _from_template(text: str, stains: tuple[tuple[str, tuple[str, ...]], ...]) -> NamePattern:
    parts = parse_template(text, WHERE)
    groups = tuple(part.text for part in parts if part.is_field and part.text != ANY)
    names = tuple(dict.fromkeys(name for stain, aliases in stains for name in (stain, *aliases)))
    if "stain" not in groups and len(stains) > 1:
        raise DataError(
            f"{WHERE} has no {{stain}}, and the store has {len(stains)} ({clip(', '.join(stain for stain, _ in stains))}): "
            "leave the one that all images have under [stains], or say where it stands in a name"
        )
    return NamePattern(
        text=text,
        groups=groups,
        expression=expression_of(parts, names or None),
        paths=any("/" in part.text for part in parts),
        parts=parts,
        only_stain=stains[0][0] if "stain" not in groups and stains else None,
        stains=names,
    )


def _from_expression(text: str) -> NamePattern:
    import pyarrow as pa

    groups = tuple(_GROUP.findall(text))
    missing = [group for group in REQUIRED if group not in groups]
    if missing:
        raise DataError(
            f"{WHERE} has no group {', '.join(missing)}: write it as (?P<{missing[0]}>…), "
            "or a template such as {case}_{stain}_{slice}_{patch}"
        )
    unknown = [group for group in groups if group not in (*REQUIRED, *OPTIONAL)]
    if unknown:
        raise DataError(
            f"{WHERE} has a group {clip(unknown[0])} that means nothing: "
            f"known are {', '.join((*REQUIRED, *OPTIONAL))}, and (?:…) groups without a name"
        )
    if len(set(groups)) != len(groups):
        raise DataError(f"{WHERE} has a group twice: {', '.join(sorted({g for g in groups if groups.count(g) > 1}))}")
    pattern = NamePattern(text=text, groups=groups, expression=text, paths="/" in text)
    try:
        fields = pattern.match(pa.array([""], pa.string())).type
    except (pa.ArrowInvalid, UnicodeError) as error:
        reason = clip(str(error).replace("\n", " "), 160)
        raise DataError(f"{WHERE} is not a regular expression of RE2 ({reason}): correct it") from error
    if {field.name for field in fields} != set(groups):
        raise DataError(f"{WHERE} must name its groups plainly, as in (?P<case>…)")
    return pattern


def canonical_slice(text: str, number: str = "") -> str:
    """The one name of a slice, however its files spell it: lower case, its number set off by `_` and without zeros.

    >>> canonical_slice("Unmatched02"), canonical_slice("left"), canonical_slice("match", "3")
    ('unmatched_2', 'left', 'match_3')
    """
    text = text.lower().strip("_- ")
    if number.isascii() and number.isdigit():
        text = f"{text}_{number}"
    numbered = _NUMBERED.fullmatch(text)
    if numbered is None or not numbered[2].isascii():
        return text
    word, digits = numbered[1], numbered[2]
    return f"{word}_{digits}" if word else digits


def parse_name(pattern: NamePattern, stain_of: Callable[[str], str | None], stem: str) -> PatchName | Unread:
    """Read one patch's file name, given without its extension. `stain_of` turns a stain's alias into its name.

    >>> settings = {"he": "h&e"}
    >>> parse_name(compile_pattern(DEFAULT_PATTERN), settings.get, "case_052_match_1_he_patch164").patch_idx
    164
    """
    groups = _groups(pattern, stem)
    if isinstance(groups, Unread):
        return groups
    placed = {"x", "y"} <= set(pattern.groups) and bool(groups["x"] and groups["y"])
    place = _place(groups, stain_of)
    if isinstance(place, Unread):
        # A name that says no patch has no stain either: what stands there is something else.
        return place if groups["patch"] or placed else Unread(place.reason)
    if not groups["patch"]:
        return Unread("it names no patch")
    numbers: dict[str, int | None] = {}
    for name in ("patch", *PLACES):
        text = groups.get(name, "")
        numbers[name] = _number(text) if text else None
        if text and numbers[name] is None:
            return Unread(f"its {name} is not a number below 2147483648")
    patch_idx = numbers.pop("patch")
    assert patch_idx is not None
    return PatchName(
        case_id=place.case_id, stain=place.stain, slice_name=place.slice_name, patch_idx=patch_idx, **numbers
    )


def parse_slice_name(pattern: NamePattern, stain_of: Callable[[str], str | None], stem: str) -> SliceName | Unread:
    """Read the name of a file that holds a whole slice: the same pattern, its patch part left out of the name."""
    groups = _groups(pattern, stem, whole_slices=True)
    if isinstance(groups, Unread):
        return groups
    if groups["patch"]:
        return Unread("it names a patch, not a slice")
    return _place(groups, stain_of)


def _groups(pattern: NamePattern, stem: str, *, whole_slices: bool = False) -> dict[str, str] | Unread:
    import pyarrow as pa

    if len(stem) > LONGEST_NAME:
        return Unread(f"it is longer than {LONGEST_NAME} characters")
    try:
        groups: dict[str, str] | None = pattern.match(pa.array([stem], pa.string()), whole_slices=whole_slices)[
            0
        ].as_py()
    except UnicodeError:
        return Unread("it is not valid UTF-8")
    return Unread("it does not fit the pattern") if groups is None else groups


def _place(groups: dict[str, str], stain_of: Callable[[str], str | None]) -> SliceName | Unread:
    case_id = normal_case_id(groups["case"])
    slice_name = canonical_slice(groups["slice"], groups.get("slice_number", ""))
    if not case_id or not slice_name or not groups["stain"]:
        return Unread("it leaves the case, the slice or the stain empty")
    stain = stain_of(groups["stain"])
    if stain is None:
        return Unread(f"its stain {clip(groups['stain'])!r} is not in this store", groups["stain"])
    return SliceName(case_id=case_id, stain=stain, slice_name=slice_name)


def _number(text: str) -> int | None:
    # The length first: turning a million digits into a number takes long.
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > 10:
        return None
    return number if (number := int(text)) <= _LARGEST else None
