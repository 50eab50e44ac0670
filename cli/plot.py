"""`milstore plot`: the chart of each question, with the options of the question."""

from pathlib import Path
from typing import Annotated, Any

import typer

from milstore import queries
from milstore.charts import charted
from milstore.cli.options import StoreOption
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

FileOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write; .html, .svg, .pdf, .png or .json says how (default: NAME.html).",
        show_default=False,
    ),
]

ChartOption = Annotated[
    Path | None,
    typer.Option(
        "--chart",
        help="Draw by the function chart(frame, about) of this Python file, which is executed.",
        show_default=False,
    ),
]


def _plot(query: queries.Query, values: dict[str, Any]) -> None:
    from milstore.charts.own import load_chart
    from milstore.charts.render import drawing
    from milstore.charts.save import check_suffix, save
    from milstore.cli.output import say
    from milstore.cli.store_access import open_current

    choice, parameters = take_choice(values), take_parameters(values)
    store, output, own, timeout = (values.pop(name) for name in ("store", "output", "chart", "timeout"))
    path = output or Path(f"{query.name}.html")
    check_suffix(path)
    chart = load_chart(own) if own else None
    opened = open_current(store, verify=values.pop("verify"))
    drawn = drawing(opened, query.name, choice, parameters, chart=chart, by=values["by"], timeout=timeout)
    for note in drawn.about.notes:
        say(f"note: {note}")
    save(drawn, path)
    say(f"wrote {path}")


class Charts(QuestionGroup):
    """The questions, answered by charts."""

    def names(self, folder: Path) -> list[str]:
        """Names of the questions that have a chart."""
        return list(charted())

    def command_of(self, query: queries.Query) -> Any:
        """The command that draws a question's answer."""
        options = [*question_options(query), keyword("output", FileOption, None), keyword("chart", ChartOption, None)]
        about = f"{query.about}\n\nDraws what milstore query {query.name} tells."
        return make_command(query.name, about, options, lambda **values: _plot(query, values))


app = typer.Typer(cls=Charts, rich_markup_mode=None, add_completion=False, invoke_without_command=True)


@app.callback()
def plot(
    ctx: typer.Context,
    list_: Annotated[bool, typer.Option("--list", help="List the questions that have a chart.")] = False,
    store: StoreOption = None,
) -> None:
    """Draw the answer to a question, as a page, a picture or Vega-Lite."""
    if list_:
        own = Store(store or default_root()).queries
        show_questions(list(charted()), own)
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
