"""Messages on files whose names do not fit the pattern: how far they fit, and a pattern that would."""

from collections.abc import Iterable, Sequence

from milstore.errors import DataError
from milstore.ingest.file_discovery import Found
from milstore.ingest.file_names import NO_FIT
from milstore.ingest.pattern_guess import guess_pattern
from milstore.store import Store
from milstore.store.name_fit import how_far
from milstore.store.names import clip, counted
from milstore.store.paths import SETTINGS_FILE
from milstore.store.pattern import DEFAULT_PATTERN, DEFAULT_READS, NamePattern

SHOWN = 3
"""Names that are shown of those that were left out."""

Unread = Sequence[tuple[str, str]]
"""File and reason of each."""


def explained(pattern: NamePattern, unread: Iterable[tuple[str, str]], shown: int = SHOWN) -> list[str]:
    """The first few files with their reasons; of one that does not fit the pattern, how far it got."""
    return [f"{clip(file, 200)}: {_reason(pattern, file, reason)}" for file, reason in sorted(unread)[:shown]]


def _reason(pattern: NamePattern, file: str, reason: str) -> str:
    if reason != NO_FIT:
        return reason
    name = file.rpartition("/")[2]
    return how_far(pattern, pattern.subject(file, name.rpartition(".")[0] or name))


def pattern_line(pattern: NamePattern) -> str:
    """The pattern, for messages."""
    if pattern.text == DEFAULT_PATTERN:
        return f"the default pattern, which reads {DEFAULT_READS} ('{pattern.text}')"
    return f"the pattern '{clip(pattern.text, 200)}' in {SETTINGS_FILE}"


def none_is_read(store: Store, what: str, found: Found, unread: Unread) -> DataError:
    """The error where no name is read, with a pattern that would do as notes to paste.

    Args:
        store: the store.
        what: begins the message, such as `none of the 3 images in tiles has a name that says what it is`.
        found: the files.
        unread: file and reason of each.
    """
    settings = store.settings
    pattern = settings.name_pattern
    # One that is no copy of another tells most.
    unfit = [each for each in unread if each[1] == NO_FIT] or unread
    error = DataError(
        f"{what}, such as {explained(pattern, unfit, 1)[0]}; set a pattern that fits under [patches] in {SETTINGS_FILE}, "
        f"in place of {pattern_line(pattern)}"
    )
    guess = guess_pattern(settings, found.files, found.stems)
    for line in [] if guess is None else guess.lines(str(store.root / SETTINGS_FILE)):
        error.add_note(line)
    return error


def left_out(pattern: NamePattern, skipped: Unread, what: str, listed: str = "") -> list[str]:
    """The files that were left out for their names, counted and some named, as lines; none if there is none.

    Args:
        pattern: the store's pattern.
        skipped: file and reason of each.
        what: the noun, such as `image`.
        listed: the file that lists all.
    """
    if not skipped:
        return []
    lines = [f"left out: {counted(len(skipped), what)} with a name that does not say what is on it, such as"]
    lines += [f"  {clip(text, 300)}" for text in explained(pattern, skipped)]
    if any(reason == NO_FIT for _, reason in skipped):
        lines.append(f"  by {pattern_line(pattern)}")
    return [*lines, *([f"  all are listed in {listed}"] if listed else [])]
