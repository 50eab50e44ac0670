"""Whole processes: milstore's commands, and the bare program that asks the same."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from milstore import queries
from milstore.asking.selection import Choice, select
from milstore.schema.columns import MACROS, view_text
from milstore.store import Store
from milstore.store.derived_views import mentions
from milstore.store.sql_text import literal, value, with_variables
from milstore.store.views import cohort_views, rows_of_runs
from milstore.store.views import connect as lens_connect

COHORT = ("cases", "stains", "slices")
RUN = ("attention", "coverage", "predictions")


def python(program: str) -> list[str]:
    """The command line of a program's text."""
    return [sys.executable, "-c", program]


def milstore(*words: str) -> list[str]:
    """The command line of a command, by the script that was installed beside this interpreter."""
    return [str(Path(sys.executable).with_name("milstore")), *words]


def run_program(words: Sequence[str]) -> str:
    """What it printed. Ends this program if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)[:200]} failed: {done.stderr[-500:]}")
    return done.stdout


def bare_program(store: Store, case: str, name: str = "top-patches") -> str:
    """A program that runs the SQL of `top-patches` for one case, over the files that hold the answer and no other.

    It is told what milstore has to find out: the run that answers, and how many patches its cases have at most.
    """
    query = queries.load(name)
    con = lens_connect(store)
    selected = select(con, store, Choice(cases=(case,)))
    rows = con.execute("select run_id, case_id, subset from selection").fetchall()
    largest = con.execute("select getvariable('largest_case')").fetchall()[0][0]
    bound = {**query.bind({}), "largest_case": largest}
    known = {line.split()[4].strip('"'): line for line in cohort_views(store, store.manifest())}
    listed = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    setup = [
        *(known[table] for table in COHORT if mentions(query.sql, table)),
        *(view_text(macro) for macro in MACROS if mentions(query.sql, macro)),
        *(
            f"create view {table} as select * from {rows_of_runs(store, selected.answering, table)} where case_id = {literal(case)};"
            for table in RUN
        ),
        f"create table selection as select * from (values {listed}) as rows(run_id, case_id, subset);",
        *(f"set variable {variable} = {value(of)};" for variable, of in bound.items()),
    ]
    asked = with_variables(query.sql, query.bind({}))
    return (
        f"import duckdb\ncon = duckdb.connect()\ncon.execute({' '.join(setup)!r})\n"
        f"for row in con.execute({asked!r}).fetchall():\n    print(*row, sep='\\t')"
    )
