"""`milstore sql`."""

from typing import Annotated

import typer

from milstore.asking.time_limit import DEFAULT_TIMEOUT
from milstore.cli.options import (
    AllOption,
    FormatOption,
    OutputOption,
    SafeCellsOption,
    StoreOption,
    TimeoutOption,
    VerifyOption,
)


def command(
    statement: Annotated[str, typer.Argument(help="One statement that reads, such as: select * from runs")],
    format_: FormatOption = "table",
    output: OutputOption = None,
    safe_cells: SafeCellsOption = False,
    every: AllOption = False,
    store: StoreOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    verify: VerifyOption = True,
) -> None:
    """Run one SQL statement, read-only.

    Every table of docs/schema.md is there. Nothing can be written, and no file but the store's can be read.
    """
    from milstore.asking.ask import ask_sql
    from milstore.cli.formatters import write_answer
    from milstore.cli.showing import View
    from milstore.cli.store_access import open_current

    result = ask_sql(open_current(store, verify=verify), statement, timeout=timeout)
    write_answer(result, format_, output, view=View(every=every), safe_cells=safe_cells)
