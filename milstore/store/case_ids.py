"""Reads case ids: turns whatever a file, a name or a question calls a case into the id in the store."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from milstore.errors import DataError, StoreError
from milstore.store.names import clip, counted, matching_case_id, named, natural_key, normal_case_id

if TYPE_CHECKING:
    import pyarrow as pa

    from milstore.store.cohort import Cohort
    from milstore.store.cohort_edit import CohortEdit

_CUT = re.compile(r"[+-]?[0-9]([.,][0-9]+)?[eE]\+[0-9]{1,3}|[+-]?[0-9][.,][0-9]+[eE]-?[0-9]{1,3}")
_LEAD = re.compile(r"([^_]+)_([^_\d].*)", re.DOTALL)
"""A slice's text whose first word is followed by another: the default pattern begins a slice with its kind."""


def is_cut_number(text: str) -> bool:
    """Whether a text is a long number that a spreadsheet cut short: its last digits are lost.

    >>> is_cut_number("1,23457E+11"), is_cut_number("1e+16"), is_cut_number("12E5"), is_cut_number("TCGA-1E+1")
    (True, True, False, False)
    """
    return _CUT.fullmatch(text.strip()) is not None


class CaseIds:
    """The ids that a store holds, and how texts are read as one of them, or as a new one.

    An id that the store holds stays what it is. It remembers how each case was spelled, so that cases that are put
    together are named. One is made for a file that is read, or for a question.
    """

    def __init__(self, known: Iterable[str] = (), slices: Iterable[tuple[str, str]] = ()) -> None:
        """Take the ids that the store holds.

        Args:
            known: the ids of the store.
            slices: case and name of each slice of the store.
        """
        self._known = frozenset(known)
        self._slices = frozenset(slices)
        self._spelled: dict[str, dict[str, None]] = {}

    @classmethod
    def of(cls, cohort: "Cohort | CohortEdit") -> "CaseIds":
        """The ids of a cohort. A damaged table counts as empty: the damage is reported where the table is needed."""

        def columns(name: str, *wanted: str) -> "list[tuple[str, ...]]":
            try:
                table = cohort.table(name)
            except StoreError:
                return []
            return list(zip(*(table[column].to_pylist() for column in wanted), strict=True))

        slices = columns("slices", "case_id", "slice_name")
        return cls((case_id for (case_id,) in columns("cases", "case_id")), slices)  # type: ignore[arg-type]

    def __contains__(self, text: object) -> bool:
        return text in self._known

    @cached_property
    def _by_form(self) -> dict[str, str]:
        """Ids that an earlier version stored in another spelling, by today's spelling."""
        found: dict[str, list[str]] = {}
        for own in self._known:
            found.setdefault(normal_case_id(own), []).append(own)
        return {form: own[0] for form, own in found.items() if len(own) == 1 and form not in self._known}

    @cached_property
    def _with_underscore(self) -> frozenset[str]:
        """Known ids with an underscore, as they are spelled now."""
        return frozenset(normal_case_id(each) for each in self._known if "_" in each)

    def read(self, text: str) -> str:
        """The case id that a text means.

        >>> CaseIds({"7", "8.0"}).read("07.0"), CaseIds({"8.0"}).read("8"), CaseIds({"9"}).read("07.0")
        ('7', '8.0', '7')
        """
        text = text.strip()
        form = matching_case_id(text, self._known)
        found = form if form in self._known else self._by_form.get(form, form)
        self._spelled.setdefault(found, {})[text] = None
        return found

    def read_all(
        self, source: object, column: str, texts: Sequence[str], lines: Sequence[int] | None = None
    ) -> list[str]:
        """The id of each text of a column. Arguments and errors are those of `refuse`."""
        self.refuse(source, column, texts, lines)
        of = {text: self.read(text) for text in dict.fromkeys(texts)}
        return [of[text] for text in texts]

    def refuse(self, source: object, column: str, texts: Sequence[str], lines: Sequence[int] | None = None) -> None:
        """DataError, with the lines, if texts of a column cannot be the ids of cases, and the store holds none of them.

        Args:
            source: the file, or where it is, for the message.
            column: what holds the ids, for the message.
            texts: what stands there.
            lines: the line of each, if it has one.
        """
        wrong: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            if is_cut_number(text) and text not in self._known:
                wrong.setdefault(text, []).append(row + 1 if lines is None else lines[row])
        if not wrong:
            return
        word = "row" if lines is None else "line"
        found = [f"{clip(text)!r} ({word}{'s' if len(at) > 1 else ''} {named(at, 5)})" for text, at in wrong.items()]
        raise DataError(
            f"{source} has in {column} what cannot be the id of a case: {named(found, 5)}; a spreadsheet or a "
            "program that took it for a number cut it short, and different cases may look alike now: make the column one of "
            "texts there, and save the ids again"
        )

    def split_name(self, case: str, slice_text: str, slice_name: str) -> tuple[str, str]:
        """What the case and the slice of a file's name really are, where an id of the store goes on in the slice.

        The default pattern ends a case at its first underscore: it reads S1_A_match_1 as case S1 and slice A_match_1. Where
        the store knows S1_A, that is the case, unless the slice is known as it is.

        Args:
            case: the case, as the pattern reads it.
            slice_text: the slice, as the pattern reads it.
            slice_name: the same, as the store would name it.

        >>> CaseIds({"S1_A"}).split_name("S1", "A_match_1", "a_match_1"), CaseIds({"S2_A"}).split_name("S1", "A_m", "a_m")
        (('S1_A', 'match_1'), ('S1', 'A_m'))
        """
        if not self._with_underscore:
            return case, slice_text
        words = unicodedata.normalize("NFC", f"{case}_{slice_text}").split("_")
        for count in range(len(words) - 1, case.count("_") + 1, -1):
            known, rest = "_".join(words[:count]), "_".join(words[count:])
            if known in self._with_underscore and rest:
                return (case, slice_text) if (self.read(case), slice_name) in self._slices else (known, rest)
        return case, slice_text

    def told(self) -> list[str]:
        """The cases that several spellings were read as, in words."""
        several = [(own, list(texts)) for own, texts in self._spelled.items() if len(texts) > 1]
        if not several:
            return []
        words = [f"{clip(own)} ({_spellings(texts)})" for own, texts in several]
        return [f"spelled in several ways, and each read as one case: {named(words)}"]


def _spellings(texts: list[str]) -> str:
    composed = {unicodedata.normalize("NFC", text) for text in texts}
    if len(composed) < len(texts):
        return "with accents composed, and apart"
    return named(map(repr, texts), 4)


def asked_cases(known: Iterable[str], asked: Iterable[str]) -> tuple[str, ...]:
    """The cases that somebody asks for, each once, as the store that knows some has them."""
    ids = CaseIds(known)
    return tuple(dict.fromkeys(ids.read(text) for text in asked))


def fused(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """A line of text on cases whose ids look like several ids joined together in file names.

    Their slices differ in a first word that stands before the usual one, such as A_match_1 and B_match_1 of case S1.

    Args:
        pairs: case and text of the slice of each file's name.
    """
    leads: dict[tuple[str, str], dict[str, None]] = {}
    for case, text in pairs:
        if parts := _LEAD.fullmatch(text):
            leads.setdefault((case, parts[2].lower()), {})[parts[1]] = None
    several = {case: (list(words), rest) for (case, rest), words in leads.items() if len(words) > 1}
    if not several:
        return []
    several = dict(sorted(several.items(), key=lambda item: natural_key(item[0])))
    case, (words, rest) = next(iter(several.items()))
    words = sorted(words, key=natural_key)
    ids = " and ".join(f"{clip(case)}_{clip(word)}" for word in words[:2])
    return [
        f"{counted(len(several), 'case')} may be several ({named(several)}): {ids} are read as slices "
        f"{clip(words[0])}_{clip(rest)} and {clip(words[1])}_{clip(rest)} of case {clip(case)}, for a case ends at the first "
        "'_'; if these are cases, ingest their labels first, into a new store (ids of a store are read whole), or set the "
        "pattern under [patches] in milstore.toml"
    ]


def whole_number_texts(values: "pa.Array") -> "pa.Array":
    """Numbers as the texts of ids: 1.0 is 1, and 123457000000.0 is 123457000000.

    What is no whole number, or so large that its last digits may be lost (2^53 as float64), is written as a number is.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    exact = {16: 2**11, 32: 2**24, 64: 2**53}[values.type.bit_width]
    wide = pc.cast(values, pa.float64())
    small = pc.and_(pc.equal(wide, pc.floor(wide)), pc.less(pc.abs(wide), float(exact)))
    whole = pc.cast(pc.if_else(small, wide, None), pa.int64())
    return pc.coalesce(pc.cast(whole, pa.string()), pc.cast(values, pa.string()))
