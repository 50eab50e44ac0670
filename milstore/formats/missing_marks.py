"""Marks of missing values that programs write into tables, such as NA."""

import re
import unicodedata
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from milstore.errors import DataError
from milstore.store.names import clip, named

WORDS = frozenset(
    {"", "na", "nan", "-nan", "none", "null", "nil", "nat", "n/a", "n.a.", "#n/a", "#na", "#n/an/a", "<na>", "(null)"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan", "#null!", "#value!", "#ref!", "#name?", "#div/0!", "#num!"}
)
"""As `plain` makes them: what pandas, R, SQL and spreadsheets write."""
_WHOLE = re.compile(r"([0-9]+)\.0+")


def plain(text: str) -> str:
    """A text normalised for comparison: case, blanks, and `.0` after a whole number are ignored.

    >>> plain(" N / A "), plain("High Grade"), plain("3.0")
    ('n/a', 'highgrade', '3')
    """
    text = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


@dataclass(frozen=True, slots=True)
class Marks:
    """Which texts of a table stand for a missing value."""

    said: frozenset[str] | None = None
    """Those that the user named, made plain, and the empty one; None where the user said nothing."""

    @classmethod
    def of(cls, words: Iterable[str] | None) -> "Marks":
        """The marks that somebody names; capitals and blanks do not matter, and an empty cell is always one of them."""
        return cls(None if words is None else frozenset({"", *(plain(word) for word in words)}))

    def mean_missing(self, text: str) -> bool:
        """Whether the user said that this text stands for a missing value."""
        return self.said is not None and plain(text) in self.said

    def are_doubtful(self, text: str) -> bool:
        """Whether this text looks like a missing value that the user has not declared."""
        return plain(text) in WORDS and not self.mean_missing(text)

    def refuse(
        self,
        path: Path,
        column: str,
        texts: Iterable[str],
        lines: Iterable[int],
        advice: str,
        known: Container[str] = frozenset(),
    ) -> None:
        """Raises DataError if there is a doubtful text, naming each with its lines.

        `advice` says what to do, with `{option}` where `--missing` and its words belong. What is `known`, such as a case
        of the store that is really called NA, is not doubtful.
        """
        found: dict[str, list[int]] = {}
        for text, line in zip(texts, lines, strict=True):
            if self.are_doubtful(text) and text not in known:
                found.setdefault(text, []).append(line)
        if found:
            words = [f"{repr(clip(text)) if text else 'nothing'} ({lines_of(where)})" for text, where in found.items()]
            raise DataError(
                f"{path} has in column {clip(column)} what stands for a missing value: {named(words)}; "
                + advice.format(option=f"--missing '{','.join(filter(None, found))}'")
            )


UNSAID = Marks()
"""Where the user can say nothing."""


def lines_of(lines: Sequence[int]) -> str:
    """Some lines of a file, in words.

    >>> lines_of([4]), lines_of([4, 5, 6, 7])
    ('line 4', 'lines 4, 5, 6 and 1 more')
    """
    return f"line{'s' if len(lines) > 1 else ''} {named(lines, shown=3)}"


def parse_missing(text: str | None) -> tuple[str, ...] | None:
    """Read `--missing NA,None` into ("NA", "None"); None if it was not given."""
    return None if text is None else tuple(word for part in text.split(",") if (word := part.strip()))


def refuse_alike(path: Path, column: str, rows: Iterable[tuple[str, int]], advice: str) -> None:
    """Raises DataError if two texts differ only in case, blanks or a `.0`, such as Benign and benign.

    `rows` are the texts with their lines.
    """
    spelled: dict[str, dict[str, int]] = {}
    for text, line in rows:
        spelled.setdefault(plain(text), {}).setdefault(text, line)
    for first in spelled.values():
        if len(first) > 1:
            words = [f"{clip(text)!r} (line {line})" for text, line in first.items()]
            raise DataError(
                f"{path} spells one thing in several ways in column {clip(column)}: {named(words)}; {advice}"
            )
