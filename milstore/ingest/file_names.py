"""Many file names read at once: identities as columns, and a reason for each name that does not fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.store.case_ids import CaseIds, fused, is_cut_number
from milstore.store.names import clip
from milstore.store.pattern import DEFAULT_PATTERN, LONGEST_NAME, PLACES, canonical_slice, compile_pattern
from milstore.store.settings import Settings

_LARGEST = 2**31 - 1
Mask = npt.NDArray[np.bool_]


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
    found by another spelling too, and one with an underscore is read whole (see `CaseIds.split_name`).

    Raises:
        DataError: a name fits, but its stain is not of this store.
    """
    pattern = compile_pattern(settings.pattern)
    encodable, paths = _texts(files)
    kept_stems = [stem for stem, kept in zip(stems, encodable, strict=True) if kept] if not encodable.all() else stems
    unread = (
        []
        if encodable.all()
        else [
            (ascii(file)[1:-1], "it is not valid UTF-8 or too long")
            for file, kept in zip(files, encodable, strict=True)
            if not kept
        ]
    )
    matched = pattern.match(pa.array(kept_stems, pa.string()))
    reader = _Reader(matched, paths, unread)
    reader.leave_out(np.asarray(matched.is_null()), "it does not fit the pattern")
    _check_stains(reader, settings)
    ids = ids or CaseIds()
    cases, slices, notes = _cases_and_slices(reader, ids, settings, numbered="slice_number" in pattern.groups)
    columns: dict[str, pa.Array] = {
        "case_id": cases,
        "stain": reader.mapped(reader.group("stain"), settings.stain_of),
        "slice_name": slices,
    }
    for column in columns.values():
        reader.leave_out(
            np.asarray(pc.equal(pc.fill_null(column, ""), "")), "it leaves the case, the slice or the stain empty"
        )
    if whole_slices:
        reader.leave_out(np.asarray(pc.not_equal(reader.group("patch"), "")), "it names a patch, not a slice")
        columns["patch_idx"] = pa.nulls(len(paths), pa.int32())
    else:
        placed = reader.both("x", "y") if {"x", "y"} <= set(pattern.groups) else np.zeros(len(paths), bool)
        reader.leave_out(np.asarray(pc.equal(reader.group("patch"), "")) & ~placed, "it names no patch")
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
    """The names that still fit, as more and more is asked of them."""

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


def _check_stains(reader: _Reader, settings: Settings) -> None:
    stains = reader.group("stain")
    unknown = [text for text in pc.unique(stains).to_pylist() if text and settings.stain_of(text) is None]
    if unknown:
        file = reader.paths[pc.index(stains, unknown[0]).as_py()].as_py()
        raise DataError(
            f"stain {clip(unknown[0])!r} in {clip(file, 200)} is not in this store ({', '.join(settings.stains)}): "
            "add an alias under [stains] in milstore.toml"
        )
