"""Suggests a template when no file name fits the pattern, by trying candidates.

Names are cut at what sets their pieces off (`_`, `-`, a blank, a folder), and each piece gets a meaning: the stain by its
names, the patch by its number, the case by its place. What comes of it is tried on all names, and offered only if it reads
nearly all of them, each as a patch of its own.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from milstore.errors import MilstoreError
from milstore.ingest.file_names import read_names
from milstore.store.names import clip, natural_key
from milstore.store.settings import Settings

_SAMPLE = 400
_ENOUGH = 0.8
"""Share of the names that a template must read, and share that must look alike."""
_DEEPEST = 3
_MOST_STAINS = 12
_SEPARATORS = ("_", "-", " ", "_-", "_ ", "_- ", "_-. ")
_CASE_WORDS = frozenset({"case", "patient", "pat", "subject", "slide", "id"})
_KNOWN_STAINS = frozenset(
    {"he", "h&e", "hes", "ihc", "pas", "masson", "trichrome", "giemsa", "ki67", "ki-67", "mib1", "cd3", "cd4", "cd8"}
    | {
        "cd20",
        "cd31",
        "cd34",
        "cd45",
        "cd56",
        "cd68",
        "cd163",
        "er",
        "pr",
        "her2",
        "pdl1",
        "pd-l1",
        "p16",
        "p53",
        "p63",
    }
    | {
        "ck",
        "ck5",
        "ck7",
        "ck20",
        "panck",
        "melan",
        "melana",
        "sox10",
        "s100",
        "hmb45",
        "foxp3",
        "gfap",
        "prame",
        "phh3",
    }
)
_NUMBERED = re.compile(r"([^\W\d]*[_-]?)[0-9]+")
_TILE = re.compile(r"\[[^\[\]]*x=\d+,y=\d+,w=\d+,h=\d+[^\[\]]*\]")
"""What QuPath writes behind the name of an image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """A template that would read the names."""

    pattern: str
    stains: tuple[str, ...] = ()
    """Stains that the names speak of and the settings do not."""
    one_stain: bool = False
    """Whether the names say no stain, so that the settings must have but one."""
    read: int
    """Names that it reads."""
    total: int
    example: str
    """What it reads of one of them, in words."""

    def lines(self, where: str) -> list[str]:
        """What to write into the settings at `where`, as lines to paste."""
        of = "all" if self.read == self.total else str(self.read)
        lines = [
            f"a pattern guessed from the names, which reads {of} of {self.total}:",
            f"  pattern = '{self.pattern}'",
            f"By it {self.example}. Put it under [patches] in {where}",
        ]
        if self.stains:
            lines.append("and under [stains]:")
            lines += [f'  "{stain}" = ["{stain}"]' for stain in self.stains]
        if self.one_stain:
            lines.append("and leave one stain under [stains], that of all images: the names say none")
        return lines


@dataclass(frozen=True, slots=True)
class _Column:
    """A piece that all names have."""

    values: tuple[str, ...]
    after: str
    """What stands behind it; nothing behind the last."""

    @property
    def varies(self) -> bool:
        return len(set(self.values)) > 1

    @property
    def word(self) -> str:
        return self.values[0]

    def prefix(self) -> str | None:
        """What stands before the number in nearly all values, where they end in one; None where that differs."""
        matches = (_NUMBERED.fullmatch(value) for value in self.values)
        found, count = Counter(match[1] if match else None for match in matches).most_common(1)[0]
        return found if count >= _ENOUGH * len(self.values) else None

    def numbers(self, prefix: str) -> list[int]:
        """The numbers behind a prefix."""
        ends = [value[len(prefix) :] for value in self.values if value.startswith(prefix)]
        return [int(end) for end in ends if end.isascii() and end.isdigit()]


def guess_pattern(settings: Settings, files: Sequence[str], stems: Sequence[str]) -> Guess | None:
    """The template that reads most of the names; None if there is none that reads nearly all.

    Args:
        settings: the store's; its stains are looked for in the names.
        files: paths below the folder, with `/`.
        stems: their names without the ending.
    """
    pairs = sorted(zip(files, stems, strict=True))
    sample = pairs[:: max(1, len(pairs) // _SAMPLE)]
    subjects = [f"{file.rpartition('/')[0]}/{stem}".lstrip("/") for file, stem in sample]
    candidates = dict(_candidates(settings, subjects))
    found = [_tried(settings, template, stains, sample) for template, stains in candidates.items()]
    for guess in sorted(filter(None, found), key=_cost):
        whole = guess if sample == pairs else _tried(settings, guess.pattern, guess.stains, pairs)
        if whole is not None:
            return whole
    return None


def _cost(guess: Guess) -> tuple[bool, int, int]:
    """The least is the best: a stain that is said, many names read, little that is skipped; else what is tried first."""
    return guess.one_stain, -guess.read, guess.pattern.count("*")


def _in_words(row: Mapping[str, Any], *, stain: bool) -> str:
    """What is read of a name, such as `A7/HE/12.png is case A7, stain h&e, slice 1, patch 12`."""
    place = f"x {row['x']}, y {row['y']}"
    number = place if row["patch_idx"] is None else f"patch {row['patch_idx']}"
    slice_name = f"slice {clip(row['slice_name'])}"
    words = [f"case {clip(row['case_id'])}", *([f"stain {row['stain']}"] if stain else [])]
    return f"{clip(row['file'])} is {', '.join([*words, slice_name, number])}"


def _tried(
    settings: Settings, template: str, stains: tuple[str, ...], pairs: Sequence[tuple[str, str]]
) -> Guess | None:
    one_stain = "{stain}" not in template
    several = one_stain and len(settings.stains) > 1
    names = {**settings.stains, **{stain: (stain,) for stain in stains}}
    first = next(iter(settings.stains))
    try:
        own = replace(settings, pattern=template, stains={first: settings.stains[first]} if one_stain else names)
        table = read_names(own, [file for file, _ in pairs], [stem for _, stem in pairs]).table
    except MilstoreError:
        return None
    identity = ["case_id", "stain", "slice_name", "patch_idx", "x", "y"]
    apart = table.group_by(identity).aggregate([]).num_rows
    if apart < table.num_rows or table.num_rows < _ENOUGH * len(pairs):
        return None
    return Guess(
        pattern=template,
        stains=stains,
        one_stain=several,
        read=table.num_rows,
        total=len(pairs),
        example=_in_words(table.slice(0, 1).to_pylist()[0], stain=not several),
    )


def _candidates(settings: Settings, sample: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if sum(bool(_TILE.search(name)) for name in sample) >= _ENOUGH * len(sample):
        yield "{case} [*x={x},y={y},w={width},h={height}*]", ()
        return
    for depth in range(_DEEPEST + 1):
        ends = ["/".join(name.split("/")[-depth - 1 :]) for name in sample if name.count("/") >= depth]
        if len(ends) < _ENOUGH * len(sample):
            return
        for separators in _SEPARATORS:
            columns = _columns(ends, separators)
            if columns:
                yield from _templates(settings, columns)


def _columns(names: Sequence[str], separators: str) -> list[_Column]:
    """The pieces of the names, between folders and these separators; nothing if the names are not alike."""
    cut = [re.split(rf"(/|[{re.escape(separators)}]+)", name) for name in names]
    signature, count = Counter(tuple(each[1::2]) for each in cut).most_common(1)[0]
    alike = [each[::2] for each in cut if tuple(each[1::2]) == signature]
    if count < _ENOUGH * len(names) or any(not value for each in alike for value in each):
        return []
    return [_Column(values, after) for values, after in zip(zip(*alike, strict=True), (*signature, ""), strict=True)]


def _templates(settings: Settings, columns: Sequence[_Column]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Templates of names that are cut into these columns, with the stains that they need."""
    stain, stains = _stain_column(settings, columns)
    rest = [i for i in range(len(columns)) if i != stain]
    meaning: dict[int, str] = {} if stain is None else {stain: "{stain}"}
    placed = _place_columns(columns, rest)
    meaning |= placed
    rest = [i for i in rest if i not in meaning]
    patch = next((i for i in reversed(rest) if columns[i].varies and columns[i].prefix() is not None), None)
    if patch is None and not placed:
        patch = next((i for i in reversed(rest) if columns[i].prefix() is not None), None)
    if patch is not None:
        meaning[patch] = f"{columns[patch].prefix()}{{patch}}"
    elif not placed:
        return
    rest = [i for i in rest if i not in meaning]
    # Of one case alone the names vary in nothing that says it: an id has a number in it, which a mere word has not.
    case = next((i for i in rest if columns[i].varies or _is_id(columns[i].word)), None)
    if case is None:
        return
    prefix = columns[case].prefix()
    of_case = prefix if prefix and prefix.rstrip("_-").lower() in _CASE_WORDS else ""
    meaning[case] = f"{of_case}{{case}}"
    others = [i for i in rest if i != case and columns[i].varies]
    repeated = {i for i in others if columns[i].values in (columns[case].values, columns[stain or 0].values)}
    meaning |= dict.fromkeys(repeated, "*")
    yield _written(columns, meaning, [i for i in others if i not in repeated]), stains


def _is_id(word: str) -> bool:
    return any(letter.isdigit() for letter in word)


def _written(columns: Sequence[_Column], meaning: dict[int, str], slices: Sequence[int]) -> str:
    """The template: what is neither given a meaning nor the first run of `slices` stands as it is, or as `*` if it varies."""
    run = [
        i for n, i in enumerate(slices) if i - slices[0] == n and all("/" not in columns[k].after for k in slices[:n])
    ]
    text = ""
    for i, column in enumerate(columns):
        if i in meaning:
            text += meaning[i]
        elif i in run:
            text += "{slice}" if i == run[0] else ""
        else:
            text += "*" if column.varies else column.word
        text += "" if i in run[:-1] else column.after
    return text


def _stain_column(settings: Settings, columns: Sequence[_Column]) -> tuple[int | None, tuple[str, ...]]:
    """The column whose values are stains, and those of them that the settings lack."""

    def share(i: int, known: Iterable[str] = ()) -> float:
        values = columns[i].values
        return sum(settings.stain_of(value) is not None or value.lower() in known for value in values) / len(values)

    for known in ((), _KNOWN_STAINS):
        best = max(range(len(columns)), key=lambda i: share(i, known))
        if share(best, known):
            unknown = {value.lower() for value in columns[best].values if settings.stain_of(value) is None}
            if len(unknown) <= _MOST_STAINS and not any(value.isdigit() for value in unknown):
                return best, tuple(sorted(unknown, key=natural_key))
    return None, ()


def _place_columns(columns: Sequence[_Column], rest: Sequence[int]) -> dict[int, str]:
    """The columns of x and y: called so, or two numbers in a row that go in wide steps."""
    for i, k in pairwise(rest):
        one, other = columns[i].prefix(), columns[k].prefix()
        if one is None or other is None or k != i + 1:
            continue
        called = (one.lower()[-1:], other.lower()[-1:]) == ("x", "y")
        if called or (not one and not other and all(_in_steps(columns[n].numbers("")) for n in (i, k))):
            return {i: f"{one}{{x}}", k: f"{other}{{y}}"}
    pairs = [i for i in rest if columns[i].word.lower() in ("x", "y") and not columns[i].varies and i + 1 in rest]
    if [columns[i].word.lower() for i in pairs] == ["x", "y"] and all(columns[i + 1].prefix() == "" for i in pairs):
        return {pairs[0] + 1: "{x}", pairs[1] + 1: "{y}"}
    return {}


def _in_steps(numbers: Sequence[int]) -> bool:
    return len(set(numbers)) > 1 and math.gcd(*numbers) >= 16
