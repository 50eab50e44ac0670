"""`milstore shell`."""

import sys
from collections.abc import Iterator

from milstore.asking.time_limit import DEFAULT_TIMEOUT
from milstore.cli.options import AllOption, FormatOption, StoreOption, TimeoutOption, VerifyOption
from milstore.cli.output import fail, refuse, say
from milstore.errors import MilstoreError

PROMPT, GOES_ON = "milstore> ", "     ...> "
LEAVE = ("exit", "quit", ".exit", ".quit")


def command(
    format_: FormatOption = "table",
    every: AllOption = False,
    store: StoreOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    verify: VerifyOption = True,
) -> None:
    """Run SQL statements one after another, read-only.

    Like milstore sql, but at a prompt; a statement ends with a semicolon at the end of a line. The line .tables lists the tables, and
    .schema runs the columns of one. Statements may also come from a pipe or a file, and then the first one that fails ends it. Leave with exit, or Ctrl-D.
    """
    from milstore.asking.ask import ask_sql
    from milstore.asking.described import answer_dot
    from milstore.cli.formatters import write_answer
    from milstore.cli.showing import View
    from milstore.cli.store_access import open_current

    opened = open_current(store, verify=verify)
    at_prompt = sys.stdin.isatty()
    if at_prompt:
        # Imported for what it does: the arrow keys, and the lines typed before.
        import readline  # noqa: F401

        say("SQL that reads; .tables lists the tables, .schema runs the columns of one. Leave with exit, or Ctrl-D.")
    for statement in statements(at_prompt=at_prompt):
        try:
            dotted = is_dotted(statement)
            answer = answer_dot(opened, statement) if dotted else ask_sql(opened, statement, timeout=timeout)
            write_answer(answer, format_, None, view=View(every=every or dotted))
        except MilstoreError as error:
            if not at_prompt:
                raise
            refuse(error)
        except KeyboardInterrupt:
            if not at_prompt:
                raise
            fail("stopped")


def is_dotted(statement: str) -> bool:
    """Whether it is a line for the shell, such as `.tables`: no statement of SQL begins with a dot and a letter."""
    return statement.lstrip().startswith(".") and statement.lstrip()[1:2].isalpha()


def statements(*, at_prompt: bool) -> Iterator[str]:
    """What stands on standard input up to each semicolon at the end of a line, and what is left at its end.

    A line for the shell itself, such as `.tables`, needs no semicolon.
    """
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
        if not any(each.strip() for each in lines) and is_dotted(line):
            yield line.strip().rstrip(";")
            continue
        lines.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines.clear()
