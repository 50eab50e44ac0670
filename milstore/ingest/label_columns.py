"""Finds the columns of a table of labels, or reports everything that the user must specify, with the command to use.

Nothing is taken in by a guess: labels that come from the wrong column are wrong results.
"""

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from milstore.errors import MilstoreError, UsageError
from milstore.formats.csv_table import TextTable
from milstore.formats.missing_marks import Marks, lines_of, plain
from milstore.store import Store
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import read_cohort
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.paths import store_option

CASE, LABEL = "case_id", "label"
"""The columns that are read where nobody names others."""
_CASE_WORDS = ("caseid", "case", "patientid", "patient", "bagid", "bag", "slideid", "slide", "subjectid", "subject", "sampleid", "sample", "id")  # fmt: skip
_LABEL_WORDS = ("label", "class", "diagnosis", "outcome", "target", "grade", "status", "response", "group", "y")
_MOST_CLASSES = 10


@dataclass(frozen=True, slots=True)
class _Guess:
    """The column that it may be."""

    column: str | None
    """The one that it plainly is; None where that is not plain."""
    others: tuple[str, ...] = ()
    """Those that it may be, where it is not plain."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The user's options, by name."""

    case_column: str | None
    label_column: str | None
    label_map: Mapping[str, str] | None
    missing: tuple[str, ...] | None
    attributes: tuple[str, ...]
    group_column: str | None
    format: str | None
    replace: bool

    def words(self, missing: tuple[str, ...]) -> list[str]:
        """The options beside the columns of case and label, as they are typed, with more marks of missing values."""
        label_map = self.label_map
        marks = missing if self.missing is None else (*self.missing, *missing)
        return [
            *([] if label_map is None else ["--map", ",".join(f"{label}={name}" for label, name in label_map.items())]),
            *(["--missing", ",".join(filter(None, marks))] if marks or self.missing is not None else []),
            *(word for name in self.attributes for word in ("--attribute", name)),
            *([] if self.group_column is None else ["--group-column", self.group_column]),
            *([] if self.format is None else ["--format", self.format]),
            *(["--replace"] if self.replace else []),
        ]


def columns_of_labels(store: Store, table: TextTable, asked: Asked) -> tuple[str, str]:
    """The columns of the case and of the label: those that were named, else case_id and label.

    Args:
        store: the store, for the line to use.
        table: the file.
        asked: what the user said.

    Raises:
        UsageError: one is neither named nor there. All that is missing is said, and the line to use is its note.
    """
    case = asked.case_column or (CASE if CASE in table.columns else None)
    label = asked.label_column or (LABEL if LABEL in table.columns else None)
    if case is not None and label is not None:
        return case, label
    of_case = _Guess(case) if case is not None else _case_of(table, _cases_of(store), {label})
    taken = {of_case.column, *(() if of_case.column else of_case.others)}
    of_label = _Guess(label) if label is not None else _label_of(table, taken)
    said = [
        *([] if case else [f"which one has the case ({_told(of_case, '--case-column')})"]),
        *([] if label else [f"which one has the label ({_told(of_label, '--label-column')})"]),
    ]
    options = [
        *([] if case == CASE else ["--case-column", of_case.column or "COLUMN"]),
        *([] if label == LABEL else ["--label-column", of_label.column or "COLUMN"]),
    ]
    needs = _of_labels(table, of_label.column, asked)
    said += needs.said
    options += needs.options
    error = UsageError(
        f"{table.path} has the columns {named(table.columns)}, and it is not said {'; '.join(said)}: use the line below"
    )
    line = shlex.join(["milstore", "ingest", "labels", str(table.path), *options, *asked.words(needs.missing)])
    for text in (f"  {line}{store_option(store)}", *needs.hints):
        error.add_note(text)
    raise error


def _told(guess: _Guess, option: str) -> str:
    if guess.column is not None:
        return f"{option}; plainly {clip(guess.column)}"
    return f"{option}; perhaps {named(guess.others)}" if guess.others else option


@dataclass(frozen=True, slots=True)
class _Needs:
    """What the labels of a column need."""

    options: list[str] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    """Marks of missing values that nobody named."""
    said: list[str] = field(default_factory=list)
    """Why."""
    hints: list[str] = field(default_factory=list)
    """What else to know of them."""


def _of_labels(table: TextTable, column: str | None, asked: Asked) -> _Needs:
    if asked.label_map is not None or column is None or column not in table.columns:
        return _Needs()
    marks = Marks.of(asked.missing)
    lines: dict[str, list[int]] = {}
    for text, line in zip(table.column(column), table.lines, strict=True):
        lines.setdefault(text, []).append(line)
    doubtful = {text: where for text, where in lines.items() if marks.are_doubtful(text)}
    needs = _Needs(missing=tuple(doubtful))
    if doubtful:
        words = [f"{repr(clip(text)) if text else 'nothing'} ({lines_of(where)})" for text, where in doubtful.items()]
        needs.said.append(f"whether {named(words, 3)} is an unknown label (--missing)")
    own = sorted((text for text in lines if text not in doubtful and not marks.mean_missing(text)), key=natural_key)
    if len(own) <= _MOST_CLASSES and not any(set(",=") & set(text) for text in own):
        _of_spellings(own, needs)
    return needs


def _of_spellings(own: Sequence[str], needs: _Needs) -> None:
    """What the user must decide about labels that differ only in case and blanks; for other labels, the resulting classes."""
    spelled: dict[str, list[str]] = {}
    for text in own:
        spelled.setdefault(plain(text), []).append(text)
    if len(spelled) < len(own):
        alike = [texts for texts in spelled.values() if len(texts) > 1]
        needs.said.append(f"whether {named(map(repr, alike[0]), 4)} are one class (--map)")
        joined = ",".join(f"{text}={texts[0]}" for texts in spelled.values() for text in texts)
        needs.options.extend(["--map", joined])
    else:
        example = shlex.quote(",".join(f"{text}=NAME" for text in own))
        needs.hints.append(f"By it there are {counted(len(own), 'class', 'classes')}: {named(own)}.")
        needs.hints.append(f"To name or to join them, add --map {example}")


def _case_of(table: TextTable, known: Collection[str], taken: Collection[str | None]) -> _Guess:
    """The column with the cases: by the store's cases, else by its name, else the only one that names each row apart."""
    names = [name for name in table.columns if name and name not in taken]
    of_store = [name for name in names if _share_known(table.column(name), known) > 0.5]
    if len(of_store) == 1:
        return _Guess(of_store[0])
    by_name = _by_words(of_store or names, _CASE_WORDS)
    if by_name is not None:
        return _Guess(by_name)
    apart = [name for name in names if len(set(table.column(name))) == len(table) and len(table) > 1]
    return _Guess(apart[0]) if len(apart) == 1 else _Guess(None, tuple(of_store or apart))


def _label_of(table: TextTable, taken: Collection[str | None]) -> _Guess:
    """The column with the labels: by its name, else the only one with a few values that each come back."""
    few = [
        name
        for name in table.columns
        if name and name not in taken and 2 <= len(set(filter(None, table.column(name)))) <= _MOST_CLASSES
    ]
    by_name = _by_words(few, _LABEL_WORDS)
    if by_name is not None:
        return _Guess(by_name)
    repeated = [name for name in few if min(Counter(table.column(name)).values()) > 1]
    return _Guess(repeated[0]) if len(repeated) == 1 else _Guess(None, tuple(repeated or few))


def _cases_of(store: Store) -> set[str]:
    """The cases that the store knows; none where its table is damaged, which is told elsewhere."""
    with suppress(MilstoreError):
        return set(read_cohort(store).table("cases")["case_id"].to_pylist())
    return set()


def _by_words(names: Sequence[str], words: Sequence[str]) -> str | None:
    """The only name that is one of the words, ignoring case and separators; None if none or several are."""
    found = [name for name in names if "".join(filter(str.isalnum, name.casefold())) in words]
    return found[0] if len(found) == 1 else None


def _share_known(texts: Sequence[str], known: Collection[str]) -> float:
    ids = CaseIds(known)
    return sum(ids.read(text) in ids for text in texts) / max(1, len(texts))
