"""The errors that a user can meet. Each message is one line: what is wrong, where, and what to do.

Lines to type or to paste are notes of the error (`add_note`), which the command line prints below it.
"""


class MilstoreError(Exception):
    """Something the user can correct. The command line prints the message and exits with `exit_code`."""

    exit_code = 2


def in_a_line(error: BaseException) -> str:
    """What an error says, in one line; one that is no user's to correct with its kind."""
    text = " ".join(str(error).split())
    return text if isinstance(error, MilstoreError) else f"{type(error).__name__}: {text}"


class UsageError(MilstoreError):
    """An option, a name or a parameter that does not fit."""


class DataError(MilstoreError):
    """A file or a value that cannot be taken in."""


class ConflictError(MilstoreError):
    """Input that contradicts what the store holds."""


class StoreError(MilstoreError):
    """No store, an empty one, one of a newer version, or a damaged one."""


class Interrupted(MilstoreError):  # noqa: N818 - being interrupted is an outcome, not a fault
    """A training that was stopped and can be continued."""

    exit_code = 75
    signal: int | None = None
    """Number of the signal that asked for it, if one did."""


def is_ctrl_c(error: BaseException) -> bool:
    """Whether an error is what DuckDB makes of Ctrl-C while it is at work."""
    return isinstance(error, RuntimeError) and str(error) == "Query interrupted"
