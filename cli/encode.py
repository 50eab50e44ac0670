"""`milstore encode`."""

from typing import Annotated

import typer

from milstore.cli.options import StoreOption
from milstore.cli.output import say
from milstore.cli.progress import telling


def command(
    store: StoreOption = None,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            help="hed, which is built in; ./file.py:Class for your own, which is run; or one that an installed package offers.",
        ),
    ] = "hed",
    format: Annotated[
        str | None,
        typer.Option("--format", help="Format of the images (default: by their content).", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Processes (default: one a processor).", show_default=False)
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Read images that links in the patch folder lead to.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Compute again what the store has.")] = False,
) -> None:
    """Compute features from the patch images with an encoder.

    hed is a baseline that needs no download: colour deconvolution (haematoxylin, eosin, DAB) and texture statistics.
    Features of a deep encoder, computed elsewhere, come in by milstore ingest features.
    """
    from milstore.encoders.encode import encode_patches
    from milstore.store import open_store

    opened = open_store(store)
    with telling() as progress:
        report = encode_patches(
            opened, encoder, follow_links=follow_links, replace=replace, format=format, jobs=jobs, progress=progress
        )
    for line in report.lines():
        say(line)
