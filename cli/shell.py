"""`milstore shell`."""

import sys
from collections.abc import Iterator

from milstore.asking.time_limit import DEFAULT_TIMEOUT
from milstore.cli.options import FormatOption, StoreOption, TimeoutOption
from milstore.cli.output import fail, say
from milstore.errors import MilstoreError

PROMPT, GOES_ON = "milstore> ", "     ...> "
LEAVE = ("exit", "quit", ".exit", ".quit")


def command(
    format_: FormatOption = "table",
    store: StoreOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Ask SQL statement after statement, read-only.

    Like milstore sql, but at a prompt; a statement ends with a semicolon at the end of a line. Statements may also come from a pipe or a file, and then the first one that
    fails ends it. Leave with exit, or Ctrl-D.
    """
    from milstore.asking.ask import ask_sql
    from milstore.cli.formatters import write_answer
    from milstore.cli.store_access import open_current

    opened = open_current(store)
    at_prompt = sys.stdin.isatty()
    if at_prompt:
        # Imported for what it does: the arrow keys, and the lines typed before.
        import readline  # noqa: F401

        say("SQL that reads; every table of docs/schema.md is there. Leave with exit, or Ctrl-D.")
    for statement in statements(at_prompt=at_prompt):
        try:
            write_answer(ask_sql(opened, statement, timeout=timeout), format_, None)
        except MilstoreError as error:
            if not at_prompt:
                raise
            fail(str(error))
        except KeyboardInterrupt:
            if not at_prompt:
                raise
            fail("stopped")


def statements(*, at_prompt: bool) -> Iterator[str]:
    """What stands on standard input up to each semicolon at the end of a line, and what is left at its end."""
    lines: list[str] = []
    # No prompt among the answers in a file.
    shown = at_prompt and sys.stdout.isatty()
    while True:
        try:
            line = input((GOES_ON if lines else PROMPT) if shown else "")
        except EOFError:
            if at_prompt:
                say("")
            if any(each.strip() for each in lines):
                yield "\n".join(lines)
            return
        except KeyboardInterrupt:
            if not at_prompt:
                raise
            # As in other shells, Ctrl-C forgets the statement that was begun.
            say("")
            lines.clear()
            continue
        if not any(each.strip() for each in lines) and line.strip().rstrip(";").lower() in LEAVE:
            return
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines.clear()
