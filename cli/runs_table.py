"""The list of runs as a table for people, and as rows for programs."""

import sys
from collections.abc import Callable
from dataclasses import astuple, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from milstore.asking.cells import ABSENT
from milstore.asking.given_rows import answer_of
from milstore.cli.formatters import write_answer
from milstore.cli.output import say, show_table, write_lines
from milstore.cli.showing import FIRST_ROWS, View
from milstore.launching.listing import Listed, Listing
from milstore.launching.states import RunState
from milstore.store.run_reader import PREDICTION

_SAID_ONCE = ("experiment", "split_set", "seed", "model")
"""What stands above the table where it is the same of all runs."""


def write(listing: Listing, format_: str, output: Path | None, *, every: bool) -> None:
    """Print or write everything that is known of the runs, a row each."""
    names = [*(field.name for field in fields(RunState)), "recall", "auc"]
    rows = [
        (*astuple(run.state), _recall(listing, run, words=True) or None, run.result.auc if run.result else None)
        for run in listing.runs
    ]
    write_answer(answer_of(names, rows), format_, output, view=View(wide=True, every=every))


def show(listing: Listing, *, every: bool, newest_last: bool) -> None:
    """Print a table that fits a terminal of 80 letters."""
    runs = listing.runs
    same = _said_once(listing)
    write_lines([", ".join(same.values())] if same else [])
    columns = [(head, tell) for head, tell in _columns(listing) if head not in same]
    shown = runs
    if not every and sys.stdout.isatty() and len(runs) > FIRST_ROWS:
        # The newest are those that one looks for.
        shown = runs[-FIRST_ROWS:] if newest_last else runs[:FIRST_ROWS]
    show_table([head for head, _ in columns], [[tell(run) for _, tell in columns] for run in shown])
    if len(shown) < len(runs):
        say(f"{len(runs) - len(shown)} more: --all")


def _said_once(listing: Listing) -> dict[str, str]:
    """What all runs have in common, as text; and which of them lack it."""
    found = {}
    for name in _SAID_ONCE:
        values = {getattr(run.state, name) for run in listing.runs}
        known = values - {None}
        if len(listing.runs) > 1 and len(known) == 1:
            where = " where it is known" if None in values else ""
            found[name] = f"{name.replace('_', ' ')} {known.pop()}{where}"
    return found


def _columns(listing: Listing) -> list[tuple[str, Callable[[Listed], Any]]]:
    today = datetime.now().astimezone()
    several_sets = len({run.state.split_set for run in listing.runs}) > 1
    columns: list[tuple[str, Callable[[Listed], Any]]] = [
        ("run", lambda run: run.name),
        ("experiment", lambda run: run.state.experiment),
        *([("split set", lambda run: run.state.split_set or "")] if several_sets else []),
        ("split", lambda run: run.state.split),
        ("seed", lambda run: run.state.seed),
        ("model", lambda run: run.state.model or ABSENT),
        ("best epoch", lambda run: run.state.best_epoch),
        (f"recall {', '.join(listing.classes)}".strip(), lambda run: _recall(listing, run) or ABSENT),
        ("AUC", lambda run: run.result.auc if run.result else None),
        ("when", lambda run: _day(run.when, today)),
        ("state", lambda run: _state(run.state)),
    ]
    return columns


def _recall(listing: Listing, run: Listed, *, words: bool = False) -> str:
    """Counts of each class, such as `4/6, 11/12`; with words `benign 4 of 6, high-grade 11 of 12`."""
    counts = listing.counts(run)
    if not any(cases for _, cases in counts):
        return ""
    if words:
        return ", ".join(f"{name} {n} of {of}" for name, (n, of) in zip(listing.classes, counts, strict=True))
    return ", ".join(f"{n}/{of}" for n, of in counts)


def _day(time: datetime | None, today: datetime) -> str:
    """A time in few letters: of today the hour, of this year the day, else the month. In the clock of this machine.

    >>> from datetime import timezone
    >>> now = datetime(2026, 3, 4, 12, tzinfo=timezone.utc)
    >>> [_day(now.replace(**each), now) for each in ({"hour": 9}, {"day": 1}, {"year": 2024})], _day(None, now)
    (['09:00', '1 Mar', 'Mar 2024'], '–')
    """
    if time is None:
        return ABSENT
    local = time.astimezone(today.tzinfo)
    if local.date() == today.date():
        return f"{local:%H:%M}"
    return f"{local.day} {local:%b}" if local.year == today.year else f"{local:%b %Y}"


def _state(row: RunState) -> str:
    """How far a run is."""
    if row.state == "done" and row.kind == PREDICTION:
        model = (row.source_run_id or "").rpartition("-")[2]
        return f"prediction by {model}" if model else f"prediction: {row.note or 'mean of its models'}"
    if row.state == "done":
        # What is done and has a note learned nothing: nobody is to read its numbers as a result.
        return f"done: {row.note}" if row.note else "done"
    if not row.epoch and row.state != "running":
        return row.state
    return f"{row.state}, epoch {epochs(row)}" + (f", {left} left" if (left := duration(row.eta_seconds)) else "")


def epochs(row: RunState) -> str:
    """The epochs that have ended, such as `3 of 200`."""
    # Another trainer does not say how many there will be.
    return str(row.epoch) if row.state == "done" or not row.epochs else f"{row.epoch} of {row.epochs}"


def duration(seconds: float | None) -> str:
    """A time as people say it.

    >>> [duration(seconds) for seconds in (None, 59.6, 150, 7260)]
    ['', '60 s', '2 min', '2 h 1 min']
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds) // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
