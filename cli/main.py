"""The program `milstore`: finds the command, runs it, and turns errors into one line and an exit code."""

import atexit
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from milstore._version import __version__
from milstore.asking.watchdog import leaving
from milstore.cli.guarded import in_child
from milstore.cli.lazy import Entry, LazyGroup
from milstore.cli.output import fail, heard, refuse, report, reset_quiet, set_quiet
from milstore.cli.terminal import use_plain_signs
from milstore.errors import MilstoreError, UsageError, is_ctrl_c

COMMANDS = {
    "demo": Entry("demo", "Build the bundled demo cohort in the store."),
    "init": Entry("init", "Make an empty store."),
    "info": Entry("info", "Show what is in the store."),
    "doctor": Entry("doctor", "Check every promise the store makes, and say how to repair what is broken."),
    "ingest": Entry(
        "ingest",
        "Ingest slides, labels, groups, patches, regions, features, splits and runs. Repeating a command changes nothing.",
    ),
    "tile": Entry("tile", "Cut slides into patches on their tissue. Their places are stored, and no image is written."),
    "encode": Entry("encode", "Compute features of the patches with an encoder, from images or slides."),
    "splits": Entry("splits", "Make, show, check and delete train/val/test splits."),
    "train": Entry("train", "Train a model on one split, or on all, and store the run."),
    "predict": Entry("predict", "Predict new cases by a trained experiment: by each of its models, and by their mean."),
    "models": Entry("models", "List the models, or a model's settings with their help and defaults."),
    "query": Entry("query", "Ask a question of the runs: each .sql file is a subcommand."),
    "plot": Entry("plot", "Draw the answer to a question, as a page, a picture or Vega-Lite."),
    "report": Entry("report", "Write everything about an experiment or a run as one page."),
    "export": Entry("export", "Write features, attention and places as files that other tools read."),
    "sql": Entry("sql", "Run one SQL statement, read-only."),
    "shell": Entry("shell", "Run SQL statements one after another, read-only."),
    "runs": Entry("runs", "List, follow, show, compare and delete runs."),
}

_CTRL_C = 130


class Root(LazyGroup):
    """The group of all commands."""

    entries = COMMANDS


app = typer.Typer(cls=Root, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"milstore {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error came from (anywhere on the line).")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but data and errors (anywhere).")] = False,
) -> None:
    """Train attention models on pathology slides, and ask what they looked at."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns (or, as a script, exits with) 0, 1 for a failed check, 2 for an error, 75 for a
    training that was interrupted and can be continued.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end] or bool(os.environ.get("MILSTORE_DEBUG"))
    use_plain_signs()
    reset_quiet()
    set_quiet(any(word in ("--quiet", "-q") for word in words[:end]))
    words = [word for i, word in enumerate(words) if i >= end or word not in ("--debug", "--quiet", "-q")]
    # Not where somebody calls this as a function: it must not return twice.
    code = in_child(words) if arguments is None else None
    if code is None:
        try:
            with heard():
                code = _run(words, debug=debug)
        finally:
            # Who calls this as a function goes on, and did not ask for silence.
            reset_quiet()
    if arguments is None:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """Exit with a code: threads that must end are waited for, and exit functions are called; nothing else is cleaned up."""
    atexit.register(_end, code)
    sys.exit(code)


def _end(code: int) -> None:
    """End the process at once, as the first of the exit functions and after the others.

    The usual way takes every library down piece by piece. For DuckDB that takes as long as answering a question; and a
    thread of Arrow that only now lets go of numbers of NumPy finds no interpreter any more, and aborts the process
    ("terminate called without an active exception"), though all was done.
    """
    atexit.unregister(_end)
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


def _end_stuck(message: str) -> None:
    """End the program at once, from any thread. Questions write nothing that could be left half-written."""
    fail(message)
    sys.stderr.flush()
    os._exit(UsageError.exit_code)


def _unexpected(error: Exception, *, debug: bool) -> int:
    """Say what an error without a name of milstore's was. Returns the exit code."""
    if is_ctrl_c(error):
        report("stopped")
        return _CTRL_C
    if debug:
        traceback.print_exc()
    if isinstance(error, MemoryError):
        fail("there is not enough memory for this: narrow the question, or write a part of it at a time")
    else:
        fail(f"{type(error).__name__}: {error} - this is a fault of milstore; --debug shows where")
    return UsageError.exit_code


def _unheard(closed: BaseException) -> int:
    """The reader of a pipe, such as head, has closed it: discard the remaining output, and exit with 0.

    Typer makes an exit of it, if it meets it first; any other exit goes on.
    """
    if isinstance(closed, SystemExit) and not isinstance(closed.__context__, BrokenPipeError):
        raise closed
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _run(words: list[str], *, debug: bool) -> int:
    try:
        with leaving(_end_stuck):
            outcome = app(args=words, prog_name="milstore", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
    except MilstoreError as error:
        if debug:
            traceback.print_exc()
        refuse(error)
        return error.exit_code
    except typer.Exit as leave:
        code = leave.exit_code
    except typer.TyperException as error:
        # An option or argument that does not fit: typer's own words, in our one line.
        show = getattr(error, "format_message", None)
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        message = show() if show is not None else str(error)
        if message:
            fail(message + hint)
        return int(getattr(error, "exit_code", 2))
    except (typer.Abort, KeyboardInterrupt):
        report("stopped")
        return _CTRL_C
    except (BrokenPipeError, SystemExit) as closed:
        return _unheard(closed)
    except OSError as error:
        if debug:
            traceback.print_exc()
        fail(f"{error.filename or 'the disk'}: {error.strerror or error}")
        return 2
    except Exception as error:
        return _unexpected(error, debug=debug)
    if code == _CTRL_C:
        # What typer makes of Ctrl-C, raised or returned, without a word.
        report("stopped")
    return code
