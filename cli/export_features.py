"""`milstore export features`."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.options import CaseOption, StoreOption
from milstore.cli.output import say
from milstore.cli.progress import telling
from milstore.errors import UsageError


def command(
    folder: Annotated[Path, typer.Argument(help="The folder to write to.", show_default=False)],
    tool: Annotated[str, typer.Option("--to", help="The tool whose layout is written: trident.")] = "trident",
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", help="The encoder (default: the only one).", show_default=False),
    ] = None,
    case: CaseOption = None,
    all_: Annotated[bool, typer.Option("--all", help="All cases that have features.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write over files that are there.")] = False,
    store: StoreOption = None,
) -> None:
    """Write features and coordinates of slides as other tools lay them out.

    trident: <mag>x_<px>px_<overlap>px_overlap/features_<encoder>/<slide>.h5 with features and coords, and
    patches/<slide>_patches.h5 with coords alone. CLAM reads the first, where its folder is called h5_files.
    """
    from milstore.exporting.trident import export_trident
    from milstore.store import open_store

    if tool != "trident":
        raise UsageError(f"there is no layout {tool!r}: --to trident is written, which CLAM reads too")
    if bool(case) == all_:
        raise UsageError("say which cases: --case, which may be given several times, or --all")
    with telling() as progress:
        report = export_trident(
            open_store(store), folder, encoder=encoder, cases=case or (), replace=replace, progress=progress
        )
    for line in report.lines():
        say(line)
