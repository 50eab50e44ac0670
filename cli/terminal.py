"""Replaces characters that a terminal's encoding lacks, such as Latin-1, by plain ones."""

import codecs
import io
import sys

_HANDLER = "milstore-plain"
_PLAIN = {
    **dict.fromkeys("─━–—‐‑−", "-"), **dict.fromkeys("│┃", "|"), **dict.fromkeys("┌┐└┘├┤┬┴┼╴╶╷╵╭╮╰╯", "+"),
    **dict.fromkeys("‘’", "'"), **dict.fromkeys("“”", '"'), **dict.fromkeys("█▉▊▋▌▍▎▏■●•", "*"),
    "…": "...", "·": "-", "×": "x", "±": "+-", "≤": "<=", "≥": ">=", "≠": "!=", "→": "->", "←": "<-", "✓": "ok", "ρ": "rho",
    "\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ", "\N{ZERO WIDTH SPACE}": "",
}  # fmt: skip
"""What lines and signs of milstore's own look like.

A letter that is lacking is a question mark: no other letter is it.
"""


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


def use_plain_signs() -> None:
    """From now on stdout and stderr write a plain sign for what their encoding lacks, where they would fail."""
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not _writes_all(stream):
            stream.reconfigure(errors=_HANDLER)


def _writes_all(stream: io.TextIOWrapper) -> bool:
    try:
        return codecs.lookup(stream.encoding).name.startswith("utf")
    except LookupError:
        return True


def lacking(text: str) -> str:
    """The first letter of a text that stdout cannot write; nothing if it can write them all."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError as error:
        return text[error.start]
    except LookupError:
        return ""
    return ""
