"""`milstore sql`."""

from typing import Annotated

import typer

from milstore.cli.options import FormatOption, OutputOption, StoreOption, TimeoutOption
from milstore.store.limit import DEFAULT_TIMEOUT


def command(
    statement: Annotated[str, typer.Argument(help="One statement that reads, such as: select * from runs")],
    format_: FormatOption = "table",
    output: OutputOption = None,
    store: StoreOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Ask one SQL statement, read-only.

    Every table of docs/schema.md is there. Nothing can be written, and no file but the store's can be read.
    """
    from milstore.asking import ask_sql
    from milstore.cli.answers import write_answer
    from milstore.cli.opening import open_current

    write_answer(ask_sql(open_current(store), statement, timeout=timeout), format_, output)
