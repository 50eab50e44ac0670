"""`milstore export slide-vectors`."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.output import say


def command(
    folder: Annotated[
        Path, typer.Argument(help="Folder with an .h5 a slide, such as slide_features_titan.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The Parquet file to write.", show_default=False)],
) -> None:
    """Write a folder of slide-level vectors, as TRIDENT makes them, as one table.

    A row a slide: slide, and vector as a list of numbers. Such vectors are no features of patches, so no store takes them.
    """
    from milstore.formats.slide_vectors import slide_vectors
    from milstore.store.io import write_parquet
    from milstore.store.names import counted

    table = slide_vectors(folder)
    write_parquet(table, output)
    width = len(table["vector"][0])
    say(f"{folder}: {counted(table.num_rows, 'slide')}, {width} numbers each")
    say(f"wrote {output}")
