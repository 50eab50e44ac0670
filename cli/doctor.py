"""`milstore doctor`."""

from typing import Annotated

import typer

from milstore.cli.options import StoreOption
from milstore.cli.output import say, show_table


def command(
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove leftovers of dead writers, and nothing else.")
    ] = False,
    formerly: Annotated[bool, typer.Option("--mend", hidden=True, help="What --repair was called.")] = False,
    older_than: Annotated[
        float,
        typer.Option("--older-than", min=0, help="Minutes for which unowned files are taken for work in progress."),
    ] = 60.0,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Bring a store of an earlier version to this one.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """Check every promise the store makes, and say how to repair what is broken.

    Exit code 1 if something is damaged or left over.
    """
    from milstore.asking.wall import describe, standing
    from milstore.store import doctor, open_store
    from milstore.store.cohort_edit import migrate as migrate_store
    from milstore.store.findings import DAMAGE, LEFTOVER

    if formerly:
        say("--mend is called --repair now")
    opened = open_store(store)
    if migrate:
        done = migrate_store(opened)
        say("\n".join(f"migrated from {step}" for step in done) or "the store is of this version already")
    findings = doctor.check(opened, young=older_than * 60)
    if repair or formerly:
        for finding in doctor.repair(opened, findings):
            say(f"removed {finding.where}: {finding.what}")
        findings = doctor.check(opened, young=older_than * 60)
    if findings:
        show_table(["", "where", "what", "repair"], [(f.kind, f.where, f.what, f.repair) for f in findings])
    say(f"SQL that others wrote runs {describe(standing())}")
    bad = [finding for finding in findings if finding.kind in (DAMAGE, LEFTOVER)]
    say(f"{len(bad)} findings need attention" if bad else "the store keeps its promises")
    raise typer.Exit(1 if bad else 0)
