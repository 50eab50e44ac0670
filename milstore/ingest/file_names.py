"""Many file names read at once: identities as columns, and a reason for each name that does not fit."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.store.case_ids import CaseIds, fused, is_cut_number
from milstore.store.names import clip, named
from milstore.store.pattern import DEFAULT_PATTERN, LONGEST_NAME, PLACES, canonical_slice
from milstore.store.settings import Settings

_LARGEST = 2**31 - 1
Mask = npt.NDArray[np.bool_]
NO_FIT = "it does not fit the pattern"

_COPIED = r"( \([0-9]{1,3}\)| - (?i:copy|kopie|copie|copia)( \([0-9]+\))?| (?i:copy|kopie)( [0-9]+)?)"
"""What browsers and file managers add to the name of a copy."""


@dataclass(frozen=True, slots=True)
class ReadNames:
    """What a folder's names say."""

    table: pa.Table
    """case_id, stain, slice_name, patch_idx, x, y, width, height, file: a row a name that fits. patch_idx is null where a
    name says the place of a patch and no number."""
    unread: list[tuple[str, str]]
    """File and reason of each name that does not fit."""
    notes: tuple[str, ...] = ()
    """Cases that several spellings, or perhaps several cases, were read as, in words."""


def read_names(
    settings: Settings,
    files: Sequence[str],
    stems: Sequence[str],
    ids: CaseIds | None = None,
    *,
    whole_slices: bool = False,
) -> ReadNames:
    """Read the names of files, given with their stems.

    With `whole_slices` a name must leave out the patch, and patch_idx is null. `ids` are those of the store: a case of it is
    found by another spelling too, and one with an underscore is read whole (see `CaseIds.split_name`). A copy that a browser
    or a file manager made of a file that is there too does not fit, and neither does a name whose stain is unknown and which
    names no patch: what stands there is no stain.

    Raises:
        DataError: a name fits, but its stain is not of this store.
    """
    pattern = settings.name_pattern
    encodable, paths = _texts(files)
    subjects = (
        [pattern.subject(file, stem) for file, stem in zip(files, stems, strict=True)] if pattern.paths else stems
    )
    if not encodable.all():
        subjects = [subject for subject, kept in zip(subjects, encodable, strict=True) if kept]
    unread = (
        []
        if encodable.all()
        else [
            (ascii(file)[1:-1], "it is not valid UTF-8 or too long")
            for file, kept in zip(files, encodable, strict=True)
            if not kept
        ]
    )
    matched = pattern.match(pa.array(subjects, pa.string()), whole_slices=whole_slices)
    reader = _Reader(matched, paths, unread)
    _leave_out_copies(reader)
    reader.leave_out(np.asarray(matched.is_null()), NO_FIT)
    cases, slices, notes = _cases_and_slices(
        reader, ids or CaseIds(), settings, numbered="slice_number" in pattern.groups
    )
    columns: dict[str, pa.Array] = {
        "case_id": cases,
        "stain": reader.group("stain"),
        "slice_name": slices,
    }
    for column in columns.values():
        reader.leave_out(np.asarray(pc.equal(column, "")), "it leaves the case, the slice or the stain empty")
    by_place = reader.both("x", "y") if {"x", "y"} <= set(pattern.groups) else np.zeros(len(paths), bool)
    identified = by_place | np.asarray(pc.not_equal(reader.group("patch"), "")) | whole_slices
    _check_stains(reader, settings, identified)
    columns["stain"] = reader.mapped(columns["stain"], settings.stain_of)
    if whole_slices:
        reader.leave_out(np.asarray(pc.not_equal(reader.group("patch"), "")), "it names a patch, not a slice")
        columns["patch_idx"] = pa.nulls(len(paths), pa.int32())
    else:
        reader.leave_out(~identified, "it names no patch")
        columns["patch_idx"] = reader.numbers("patch")
    for name in PLACES:
        columns[name] = reader.numbers(name) if name in pattern.groups else pa.nulls(len(paths), pa.int32())
    columns["file"] = paths
    return ReadNames(pa.table(columns).filter(pa.array(reader.fits)), reader.unread, notes)


def _cases_and_slices(
    reader: "_Reader", ids: CaseIds, settings: Settings, *, numbered: bool
) -> tuple[pa.Array, pa.Array, tuple[str, ...]]:
    """The case and the name of the slice of each name, and what is to be told of them."""
    pairs = pc.binary_join_element_wise(reader.group("case"), _slice_texts(reader, numbered=numbered), "\0")
    coded = pairs.dictionary_encode()
    different = [_parts(text) for text in coded.dictionary.to_pylist()]
    if settings.pattern == DEFAULT_PATTERN:
        # A pattern of the group's own says where a case ends.
        different = [
            (*ids.split_name(case, text, canonical_slice(text, number)), number) for case, text, number in different
        ]
        notes = fused((ids.read(case), text) for case, text, _ in different)
    else:
        notes = []
    cut = pa.array([is_cut_number(case) and case not in ids for case, _, _ in different], pa.bool_())
    reader.leave_out(np.asarray(cut.take(coded.indices)), "its case is a number that was cut short, as 1.23e+11 is")
    cases = pa.array([ids.read(case) for case, _, _ in different], pa.string())
    names = pa.array([canonical_slice(text, number) for _, text, number in different], pa.string())
    return cases.take(coded.indices), names.take(coded.indices), (*notes, *ids.told())


def _texts(files: Sequence[str]) -> tuple[Mask, pa.Array]:
    """Which names are text that can be stored, and those as an Arrow array."""
    try:
        paths = pa.array(files, pa.string())
        encodable = np.ones(len(files), dtype=bool)
    except UnicodeEncodeError:
        encodable = np.array([_is_text(file) for file in files], dtype=bool)
        paths = pa.array([file for file, kept in zip(files, encodable, strict=True) if kept], pa.string())
    if len(paths) and pc.max(pc.binary_length(paths)).as_py() > LONGEST_NAME:
        short = np.asarray(pc.less_equal(pc.binary_length(paths), LONGEST_NAME))
        encodable[encodable] = short
        paths = paths.filter(pa.array(short))
    return encodable, paths


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Reader:
    """The names that still fit, as further conditions are applied."""

    def __init__(self, matched: pa.StructArray, paths: pa.Array, unread: list[tuple[str, str]]) -> None:
        self._matched = matched
        self.paths = paths
        self.unread = unread
        self.fits: Mask = np.ones(len(paths), dtype=bool)

    def group(self, name: str) -> pa.Array:
        return pc.fill_null(pc.struct_field(self._matched, name), "")

    def both(self, *names: str) -> Mask:
        """Where none of these groups is empty."""
        given = [np.asarray(pc.not_equal(self.group(name), "")) for name in names]
        said: Mask = np.logical_and.reduce(given)
        return said

    def leave_out(self, where: Mask, reason: str) -> None:
        where = where & self.fits
        if where.any():
            self.unread += [(file, reason) for file in self.paths.filter(pa.array(where)).to_pylist()]
            self.fits &= ~where

    def mapped(self, texts: pa.Array, change: Callable[[str], str | None]) -> pa.Array:
        """The texts changed by a function, which is called once for each different text."""
        coded = texts.dictionary_encode()
        changed = pa.array([change(text) for text in coded.dictionary.to_pylist()], pa.string())
        return changed.take(coded.indices)

    def numbers(self, name: str) -> pa.Array:
        """A group as numbers: null where it is empty."""
        texts = self.group(name)
        digits = pc.utf8_ltrim(texts, characters="0")
        plausible = pc.and_(pc.match_substring_regex(texts, r"\A[0-9]+\z"), pc.less_equal(pc.utf8_length(digits), 10))
        numbers = pc.cast(pc.if_else(plausible, texts, None), pa.int64())
        numbers = pc.if_else(pc.less_equal(numbers, _LARGEST), numbers, None)
        wrong = pc.and_(pc.not_equal(texts, ""), numbers.is_null())
        self.leave_out(np.asarray(wrong), f"its {name} is not a number below {_LARGEST + 1}")
        return pc.cast(numbers, pa.int32())


def _parts(pair: str) -> tuple[str, str, str]:
    """Case, slice and number, which NULs part."""
    case, _, rest = pair.partition("\0")
    text, _, number = rest.rpartition("\0")
    return case, text, number


def _slice_texts(reader: _Reader, *, numbered: bool) -> pa.Array:
    """The slice group, and after a NUL the number group, which many patterns do not have."""
    numbers = reader.group("slice_number") if numbered else pa.scalar("")
    return pc.binary_join_element_wise(reader.group("slice"), numbers, "\0")


def _leave_out_copies(reader: _Reader) -> None:
    """Leave out copies of files that are there too, such as `patch9 (1).png` and `patch9 - Copy.png` beside `patch9.png`."""
    suspects = np.asarray(pc.match_substring_regex(reader.paths, _COPIED + r"(\.[^./]*)?\z"))
    if not suspects.any():
        return
    there = set(reader.paths.to_pylist())
    for row in np.flatnonzero(suspects).tolist():
        name = reader.paths[row].as_py()
        original = re.sub(_COPIED + r"(?=(\.[^./]*)?\Z)", "", name)
        if original in there:
            only = np.zeros(len(suspects), bool)
            only[row] = True
            reader.leave_out(only, f"it is a copy of {clip(original.rpartition('/')[2], 200)}")


def _check_stains(reader: _Reader, settings: Settings, identified: Mask) -> None:
    """Refuse names with a stain that the store does not have; those whose patch cannot be read either are left out."""
    stains = reader.group("stain")
    unknown: dict[str, str] = {}
    for text in pc.unique(stains).to_pylist():
        if not text or settings.stain_of(text) is not None:
            continue
        own = np.asarray(pc.equal(stains, text))
        if re.search(_COPIED + r"\Z", text):
            reader.leave_out(own, "it is named like a copy, and what it would be one of is not there")
        reader.leave_out(own & ~identified, f"its stain {clip(text)!r} is not in this store")
        own = own & reader.fits
        if own.any():
            unknown.setdefault(text, reader.paths[int(np.argmax(own))].as_py())
    if unknown:
        raise _unknown_stains(settings, unknown)


def _unknown_stains(settings: Settings, file_of: dict[str, str]) -> DataError:
    """The error about stains that the store does not have, given a file of each."""
    (text, file), *others = file_of.items()
    more = f" (nor are {named(map(repr, dict(others)), 5)} of other files)" if others else ""
    word = json.dumps(clip(text.lower(), 30), ensure_ascii=False)
    return DataError(
        f"stain {clip(text)!r} in {clip(file, 200)} is not in this store ({', '.join(settings.stains)}){more}: "
        f"add an alias under [stains] in milstore.toml, or a stain of its own by the line {word} = [{word}]"
    )
