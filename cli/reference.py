"""Writes docs/cli.md and docs/queries.md, which are kept in git: `python -m milstore.cli.reference [--check]`."""

import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from milstore import queries
from milstore.charts import charted
from milstore.cli.lazy import LazyGroup, load_entry
from milstore.cli.main import COMMANDS, app
from milstore.cli.questions import QuestionGroup

WIDTH = 100
DOCS = Path("docs")

_CLI = """# The commands

Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 a check found something, 2 an error (one line),
75 a training that was interrupted and can be continued. `--quiet` and `--debug` may stand anywhere on the line.
Written by `python -m milstore.cli.reference`.
"""

_QUERIES = """# The questions

Each is a file in `queries/` and a command `milstore query NAME`; where a picture is shown, it is a chart too, `milstore plot
NAME`. `milstore report` asks most of them. Every one takes `--run`, `--experiment`, `--split`, `--seed`, `--subset` and `--case`.
With `--by site`, the name of an attribute of cases, it is asked of each group of cases that has one value. A run may have *scores* of
patches, signed numbers that are no attention ([models.md](models.md), [record.md](record.md)): the questions below that say so go by one
in place of attention with `--by class_token`. Of a name that is both, `--by attribute:NAME` and `--by score:NAME` say which is
meant. Cases whose run lacks the score are left out, and named.
Written by `python -m milstore.cli.reference`.
"""


def cli_page() -> str:
    """The help of every command, as it is printed."""
    root = get_command(app)
    blocks = [_CLI, *_command("milstore", root, None)]
    for name, entry in COMMANDS.items():
        blocks += _command(name, load_entry(name, entry), root.make_context("milstore", [], resilient_parsing=True))
    return "\n".join(blocks)


def _command(name: str, command: Any, parent: Any) -> list[str]:
    if isinstance(command, QuestionGroup):
        # There is no store: the pages are of milstore's questions, whatever a store that lies here asks besides.
        command.take_of(DOCS)
    context = command.make_context(name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    blocks = [f"## {context.command_path}\n\n```\n{text}\n```\n"]
    # The questions have a page of their own.
    if parent is not None and hasattr(command, "commands") and not isinstance(command, QuestionGroup):
        for child in command.list_commands(context):
            own = load_entry(child, command.entries[child]) if isinstance(command, LazyGroup) else None
            blocks += _command(child, own or command.get_command(context, child), context)
    return blocks


def queries_page() -> str:
    """The questions with what their headers say."""
    names = queries.available()
    index = ["| question | answers |", "|---|---|"]
    index += [f"| [{name}](#{name}) | {queries.load(name).title} |" for name in names]
    return "\n".join([_QUERIES, *index, "", *(_question(queries.load(name)) for name in names)])


def _question(query: queries.Query) -> str:
    lines = [f"## {query.name}", "", query.about, "", f"Gives {query.grain}."]
    if query.parameters:
        lines += ["", "| option | type | default | |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(_parameter(parameter))} |" for parameter in query.parameters]
    if query.takes_scores:
        asked = queries.by_score(query.name)
        lines += ["", f"By a score, `--by NAME`: {asked.about} Gives {asked.grain}."]
    if query.name in charted():
        lines += ["", f"![{query.title}](gallery/{query.name}.png)"]
    return "\n".join([*lines, ""])


def _parameter(parameter: queries.Parameter) -> list[str]:
    if parameter.default is queries.loader.REQUIRED:
        default = "required"
    elif parameter.default is None:
        default = ""
    else:
        default = f"{parameter.default:g}" if isinstance(parameter.default, float) else str(parameter.default).lower()
    bounds = ["" if bound is None else f"{bound:g}" for bound in (parameter.low, parameter.high)]
    limits = f" ({' to '.join(bound or '…' for bound in bounds)})" if any(bounds) else ""
    return [
        f"`--{parameter.name.replace('_', '-')}`",
        parameter.kind,
        default,
        parameter.help.replace("|", "\\|") + limits,
    ]


def pages() -> dict[Path, str]:
    """Every page that is written here, by its file."""
    return {DOCS / "cli.md": cli_page(), DOCS / "queries.md": queries_page()}


def main() -> int:
    """Write the pages; with --check, only say whether they are as they should be. Returns 1 if they are not."""
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            sys.stderr.write(f"{path} is not what the code says: run python -m milstore.cli.reference\n")
        return 1 if stale else 0
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
