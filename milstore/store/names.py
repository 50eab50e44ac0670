"""Identifiers: case ids, names of experiments and split sets, and their natural order."""

import re
import unicodedata
from collections.abc import Callable, Container, Iterable
from difflib import get_close_matches
from functools import cache
from typing import Any

from milstore.errors import UsageError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_WHOLE = re.compile(r"([0-9]+)\.0+")
_SHOWN = 10


def normal_case_id(text: str) -> str:
    """A case id as the store keeps it, however a file or a person spells it.

    Its letters are composed (Unicode's NFC), for some systems write the accents of file names apart. An id that is all
    digits has no zeros in front, and no `.0` behind, which programs write that take ids for numbers.

    >>> normal_case_id("052"), normal_case_id(" 000 "), normal_case_id("TCGA-0A"), normal_case_id("07.0")
    ('52', '0', 'TCGA-0A', '7')
    """
    text = text.strip()
    if not text.isascii():
        return unicodedata.normalize("NFC", text)
    if whole := _WHOLE.fullmatch(text):
        text = whole[1]
    return (text.lstrip("0") or "0") if text.isdigit() else text


def matching_case_id(text: str, known: Container[str]) -> str:
    """A case id as the store has it, where that holds some spelling of it; else as it keeps new ones.

    `milstore.store.case_ids.CaseIds` also finds those that only another spelling of a known id leads to.

    >>> matching_case_id("07.0", {"7"}), matching_case_id("7.0", {"7", "7.0"}), matching_case_id("7.0", {"8"})
    ('7', '7.0', '7')
    """
    text = text.strip()
    return text if text in known else normal_case_id(text)


def check_name(text: str, what: str) -> str:
    """The name itself if it fits `[a-z0-9][a-z0-9_.-]{0,63}`; such names are safe as folders. Else UsageError."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"{what} {clip(text)!r} does not fit: use 1 to 64 of a-z, 0-9, '_', '.', '-', a letter or digit first"
        )
    return text


def natural_key(text: str) -> Any:
    """Sort key under which 2 comes before 10, and equal-looking ids still have one order."""
    return _natural()(text), text


@cache
def _natural() -> Callable[[str], Any]:
    # Making the key function takes ten times as long as calling it.
    from natsort import natsort_keygen

    return natsort_keygen()


def clip(text: str, length: int = 80) -> str:
    """The text, cut so that it fits into a message's one line."""
    return text if len(text) <= length else text[: length - 1] + "…"


def named(items: Iterable[object], shown: int = _SHOWN) -> str:
    """The first few items, and how many more there are.

    >>> named(["a", "b", "c"], shown=2)
    'a, b and 1 more'
    """
    texts = [clip(str(item)) for item in items]
    more = len(texts) - shown
    return ", ".join(texts[:shown]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, one: str, many: str = "") -> str:
    """A number and its noun.

    >>> counted(1, "case"), counted(2, "case"), counted(0, "patch", "patches")
    ('1 case', '2 cases', '0 patches')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that offers the known names nearest to `word`, or all of them if none is near."""
    known = sorted(known)
    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return f"there is {named(known)}" if known else "there is none"
