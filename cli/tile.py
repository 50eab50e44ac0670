"""`milstore tile`."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.options import StoreOption
from milstore.cli.output import say
from milstore.cli.progress import telling


def command(
    slides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Slides: files, folders of files, or ids (default: all whose file the store knows).",
            show_default=False,
        ),
    ] = None,
    mpp: Annotated[float, typer.Option("--mpp", help="Micrometres a pixel of the patches.")] = 0.5,
    patch: Annotated[int, typer.Option("--patch", help="Edge of a patch in its own pixels.")] = 256,
    overlap: Annotated[int, typer.Option("--overlap", help="Pixels that neighbours share.")] = 0,
    slices: Annotated[
        str, typer.Option("--slices", help="slide: each slide is a slice; tissue: each piece of its tissue is one.")
    ] = "slide",
    slide_mpp: Annotated[
        float | None,
        typer.Option(
            "--slide-mpp",
            help="Micrometres a pixel of level 0 of those slides of which neither file nor table says it.",
            show_default=False,
        ),
    ] = None,
    saturation: Annotated[
        float,
        typer.Option("--saturation", help="Saturation from which a pixel is tissue: lower keeps paler tissue."),
    ] = 0.06,
    tissue_share: Annotated[float, typer.Option("--tissue-share", help="Share of a patch that must be tissue.")] = 0.25,
    smallest: Annotated[
        float, typer.Option("--smallest", help="Leave out pieces of tissue smaller than this, in square millimetres.")
    ] = 0.02,
    keep_ink: Annotated[bool, typer.Option("--keep-ink", help="Keep what looks like ink of a pen.")] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            help="Write the patches' images below this folder, too; else none is written.",
            show_default=False,
        ),
    ] = None,
    jpeg: Annotated[bool, typer.Option("--jpeg", help="Write them as JPEG, not as PNG.")] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", help="Folder of the pictures to check by (default: tiles in the store).", show_default=False
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove patches of these slides that these settings do not give.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Processes (default: one a processor).", show_default=False)
    ] = None,
    store: StoreOption = None,
) -> None:
    """Cut slides into patches on their tissue. Their places are stored, and no image is written.

    A slide that was cut before with the same settings is not cut again. A slide that cannot be cut is named, the others go
    in, and the exit code is 1.
    """
    from milstore.ingest.tiles import tile_slides
    from milstore.pixels.tiling import TileSettings
    from milstore.pixels.tissue import TissueSettings
    from milstore.store import open_store

    tissue = TissueSettings(saturation=saturation, smallest=smallest, keep_ink=keep_ink)
    settings = TileSettings(mpp=mpp, patch=patch, overlap=overlap, share=tissue_share, tissue=tissue)
    opened = open_store(store)
    with telling() as progress:
        report = tile_slides(
            opened,
            slides or (),
            settings,
            slices=slices,
            slide_mpp=slide_mpp,
            write=write,
            as_jpeg=jpeg,
            pictures=pictures,
            replace=replace,
            jobs=jobs,
            progress=progress,
        )
    for line in report.lines():
        say(line)
    if report.failed:
        raise typer.Exit(1)
