"""`milstore demo`."""

import shlex
from typing import Annotated

import typer

from milstore.cli.options import StoreOption
from milstore.cli.output import say
from milstore.cli.progress import telling
from milstore.store.paths import default_root


def command(
    store: StoreOption = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Processes (default: one a processor).", show_default=False)
    ] = None,
) -> None:
    """Build the bundled demo cohort in the store.

    86 cases with the ids, classes and splits of a published study of multi-stain attention models, and drawn tissue in
    which nests of atypical cells are planted. It takes about a minute; a demo that is there is left as it is.
    """
    from milstore.demo.cohort import build_demo

    with telling() as progress:
        report = build_demo(store or default_root(), jobs=jobs, progress=progress)
    for line in report.lines():
        say(line)
    flag = f" --store {shlex.quote(str(store))}" if store else ""
    say("next:")
    say(f"  milstore train --split 2{flag}")
    say(f"  milstore query top-patches --case 46{flag}")
    say(f"  milstore query planted{flag}")
    say(
        f'  duckdb {shlex.quote(str(report.root / "milstore.duckdb"))} "select class_name, count(*) from cases group by all"'
    )
