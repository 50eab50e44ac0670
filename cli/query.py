"""`milstore query`: each question's file is a subcommand with typed options from its header."""

from typing import Annotated, Any

import typer

from milstore import queries
from milstore.cli.options import (
    AllOption,
    ColumnsOption,
    FormatOption,
    OutputOption,
    SafeCellsOption,
    StoreOption,
    WideOption,
)
from milstore.cli.questions import (
    QuestionGroup,
    keyword,
    make_command,
    question_options,
    show_questions,
    take_choice,
    take_parameters,
)
from milstore.store.paths import Store, default_root


def _ask(query: queries.Query, values: dict[str, Any]) -> None:
    from milstore.asking.ask import analysis_function, ask
    from milstore.cli.formatters import write_answer
    from milstore.cli.showing import View
    from milstore.cli.store_access import open_current

    choice, parameters = take_choice(values), take_parameters(values)
    store, format_, output, timeout = (values[name] for name in ("store", "format_", "output", "timeout"))
    opened = open_current(store, verify=values["verify"])
    if values["by"] is None:
        result = ask(opened, query.name, choice, parameters, timeout=timeout)
    else:
        from milstore.asking.by_name import ask_by_name

        result = ask_by_name(opened, query.name, values["by"], choice, parameters, timeout=timeout)
    view = View(columns=values["columns"], wide=values["wide"], every=values["all_"])
    report = analysis_function(query.report) if query.report else None
    write_answer(result, format_, output, report, view, safe_cells=values["safe_cells"])


class Questions(QuestionGroup):
    """The questions, answered by tables."""

    def command_of(self, query: queries.Query) -> Any:
        """The command that answers a question."""
        options = [
            *question_options(query),
            keyword("format_", FormatOption, "table"),
            keyword("output", OutputOption, None),
            keyword("safe_cells", SafeCellsOption, False),
            keyword("columns", ColumnsOption, None),
            keyword("wide", WideOption, False),
            keyword("all_", AllOption, False),
        ]
        about = f"{query.about}\n\nGives {query.grain}."
        about += "\n\nTakes a score of patches too, in place of attention: --by NAME." if query.takes_scores else ""
        return make_command(query.name, about, options, lambda **values: _ask(query, values))


app = typer.Typer(cls=Questions, rich_markup_mode=None, add_completion=False, invoke_without_command=True)


@app.callback()
def query(
    ctx: typer.Context,
    list_: Annotated[bool, typer.Option("--list", help="List the questions.")] = False,
    store: StoreOption = None,
) -> None:
    """Ask a question of the runs: each .sql file is a subcommand."""
    if list_:
        own = Store(store or default_root()).queries
        show_questions(list(queries.available(own)), own)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
