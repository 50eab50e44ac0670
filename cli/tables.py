"""Tables for people: every column with decimals of its own, words wrapped, and no number broken over lines."""

import math
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from milstore.asking.cells import cell

GAP = "  "
"""What stands between two columns."""
_MOST_DECIMALS = 6
_WHOLE = 1e15
"""Numbers up to it are written whole rather than as powers of ten."""
_RULE = "─"


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether a column holds numbers, and nothing else but gaps."""
    return all(isinstance(value, int | float) or value is None for value in values)


def column_texts(values: Sequence[Any]) -> list[str]:
    """The texts of a column: all of its numbers with the same decimals, enough for three digits of the largest.

    What is not 0 never reads as 0.

    >>> column_texts([0.5, 0.0401, None]), column_texts([1.5, 12.25]), column_texts([3.0, 250000.0])
    (['0.500', '0.040', '–'], ['1.50', '12.25'], ['3', '250000'])
    >>> column_texts([0.9, 1e-7]), column_texts([2e-7]), column_texts([1, 46]), column_texts(["46", True])
    (['0.900', '<0.001'], ['2.00e-07'], ['1', '46'], ['46', 'yes'])
    """
    numbers = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if not numbers:
        return [cell(value) for value in values]
    largest = max(map(abs, numbers))
    if 0 < largest < 10.0 ** (1 - _MOST_DECIMALS) or largest >= _WHOLE:
        return [f"{value:.2e}" if isinstance(value, float) else cell(value) for value in values]
    decimals = 0 if all(number.is_integer() for number in numbers) else _decimals(largest)
    return [_fixed(value, decimals) if isinstance(value, float) else cell(value) for value in values]


def _decimals(largest: float) -> int:
    """Decimals for numbers of which this is the largest: four digits from 1 on, three below."""
    power = math.floor(math.log10(largest))
    return min(_MOST_DECIMALS, max(0, 3 - power) if power >= 0 else 2 - power)


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    if value and not text.strip("-0."):
        smallest = f"{10.0**-decimals:.{decimals}f}"
        return f"<{smallest}" if value > 0 else f">-{smallest}"
    return text


class Column(NamedTuple):
    """A column of texts."""

    head: str
    texts: list[str]
    right: bool
    """Whether it stands to the right, as numbers do."""
    whole: bool
    """Whether its texts are never broken: numbers, and short names of runs."""


def table(columns: Sequence[Column], width: int | None) -> str:
    """A table as lines.

    Args:
        columns: the columns, with as many texts in each.
        width: letters that a line may have; None for a file or a pipe, where nothing is wrapped.

    Returns:
        The table. Where it cannot be as narrow as it must be, it comes in several parts below one another, each with the
        first column, so that no line is longer than the width; only a word that is longer by itself is folded.
    """
    if width is None:
        return _lines(columns, [max(map(length, (column.head, *column.texts))) for column in columns])
    parts: list[str] = []
    left = list(columns)
    while left:
        count, taken, widths = _part([columns[0]] if parts else [], left, width)
        parts.append(_lines(taken, widths))
        left = left[count:]
    return "\n".join(parts)


def _part(key: Sequence[Column], left: Sequence[Column], width: int) -> tuple[int, list[Column], list[int]]:
    """How many of the columns that are left the next part takes, which columns it then has, and the width of each."""
    for count in range(len(left), 0, -1):
        taken = [*key, *left[:count]]
        widths = _fit(taken, width)
        if widths is not None:
            return count, taken, widths
    # Not even one fits beside the first, or by itself: its words are folded.
    return 1, [left[0]], [width]


def _fit(columns: Sequence[Column], width: int) -> list[int] | None:
    """Widths with which columns fit into a line; None if there are none."""
    room = width - len(GAP) * (len(columns) - 1)
    longest = [max(map(length, column.texts), default=0) for column in columns]
    wish = [max(length(column.head), cells) for column, cells in zip(columns, longest, strict=True)]
    if sum(wish) <= room:
        return wish
    narrow = [max(map(length, _head_words(column.head))) for column in columns]
    widths = [max(pair) for pair in zip(narrow, longest, strict=True)]
    least = [
        widths[i]
        if column.whole
        else max(narrow[i], *(length(word) for text in column.texts for word in ["", *text.split()]))
        for i, column in enumerate(columns)
    ]
    if sum(least) > room:
        return None
    # The widest text gives way first.
    while sum(widths) > room:
        give = max((i for i in range(len(widths)) if widths[i] > least[i]), key=lambda i: widths[i])
        widths[give] -= 1
    # What is left over goes to the names of the columns.
    for i, wanted in enumerate(wish):
        widths[i] += max(0, min(wanted - widths[i], room - sum(widths)))
    return widths


def _head_words(head: str) -> list[str]:
    """The parts into which the name of a column may be broken: none of them is a letter or two.

    >>> _head_words("slice_effective_attention"), _head_words("mean over splits")
    (['slice_', 'effective_', 'attention'], ['mean', 'over', 'splits'])
    >>> _head_words("p_true"), _head_words("case_id"), _head_words("n_epochs_left")
    (['p_true'], ['case_id'], ['n_epochs_', 'left'])
    """
    parts: list[str] = []
    for part in head.replace("_", "_ ").split():
        short = len(part.rstrip("_")) < 3 or (parts and len(parts[-1].rstrip("_")) < 3)
        if parts and short and parts[-1].endswith("_"):
            parts[-1] += part
        else:
            parts.append(part)
    return parts or [""]


def _lines(columns: Sequence[Column], widths: Sequence[int]) -> str:
    heads = [_head_lines(column.head, width) for column, width in zip(columns, widths, strict=True)]
    top = max(map(len, heads), default=0)
    rows = [[[""] * (top - len(lines)) + lines for lines in heads]]
    rows += [
        [wrapped(text, width) for text, width in zip(texts, widths, strict=True)]
        for texts in zip(*(column.texts for column in columns), strict=True)
    ]
    written = []
    for row in rows:
        for n in range(max(map(len, row), default=0)):
            line = [
                _pad(lines[n] if n < len(lines) else "", width, to_right=column.right)
                for lines, width, column in zip(row, widths, columns, strict=True)
            ]
            written.append(GAP.join(line).rstrip())
        if row is rows[0]:
            written.append(_RULE * (sum(widths) + len(GAP) * (len(widths) - 1)))
    return "\n".join(written) + "\n"


def _head_lines(head: str, width: int) -> list[str]:
    if length(head) <= width:
        return [head]
    lines = [""]
    for word in _head_words(head):
        gap = "" if not lines[-1] or lines[-1].endswith("_") else " "
        if length(lines[-1] + gap + word) <= width or not lines[-1]:
            lines[-1] += gap + word
        else:
            lines.append(word)
    return [part for line in lines for part in _folded(line, width)]


def wrapped(text: str, width: int) -> list[str]:
    """A text as lines of at most that width, broken between words; a longer word is folded.

    >>> wrapped("trained on split 2 only", 12), wrapped("abcdefgh ij", 5)
    (['trained on', 'split 2 only'], ['abcde', 'fgh', 'ij'])
    """
    if length(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split():
        if lines and length(f"{lines[-1]} {word}") <= width and length(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines += _folded(word, width)
    return lines or [""]


def _folded(word: str, width: int) -> list[str]:
    lines = [""]
    for letter in word:
        if lines[-1] and length(lines[-1] + letter) > width:
            lines.append("")
        lines[-1] += letter
    return lines


def _pad(text: str, width: int, *, to_right: bool) -> str:
    space = " " * (width - length(text))
    return space + text if to_right else text + space


def length(text: str) -> int:
    """How many columns of a terminal a text takes: two for a letter of Chinese, none for an accent that stands apart.

    >>> length("case"), length("病例"), length("e\\u0301")
    (4, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
