"""`milstore ingest slides`: which slide is of which case and stain."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.options import KeepOption, StoreOption, kept
from milstore.cli.output import say
from milstore.cli.store_access import open_current


def slides(
    source: Annotated[
        Path,
        typer.Argument(
            help="CSV file with a row a slide: slide_id, case_id, stain, and where known slice_name, block, mpp, "
            "magnification, width, height, vendor, path, label. With --tcga also a folder of slides.",
            show_default=False,
        ),
    ],
    slide_column: Annotated[
        str | None,
        typer.Option(
            "--slide-column", help="The column with the slide (default: slide_id, filename …).", show_default=False
        ),
    ] = None,
    case_column: Annotated[
        str | None,
        typer.Option(
            "--case-column", help="The column with the case (default: case_id, patient …).", show_default=False
        ),
    ] = None,
    stain_column: Annotated[
        str | None,
        typer.Option("--stain-column", help="The column with the stain (default: stain).", show_default=False),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option("--label-column", help="The column with the case's label (default: label).", show_default=False),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="What the table's other columns are called here, such as um=mpp,scan=path.",
            show_default=False,
        ),
    ] = None,
    stain: Annotated[
        str | None,
        typer.Option(
            "--stain",
            help="The stain of all slides, where no column says it (default: the store's only one).",
            show_default=False,
        ),
    ] = None,
    new_cases: Annotated[
        bool,
        typer.Option(
            "--new-cases", help="Make cases without a label that the store does not know, though others have labels."
        ),
    ] = False,
    tcga: Annotated[
        bool, typer.Option("--tcga", help="The case is the first part of the slide's barcode: TCGA-XX-YYYY.")
    ] = False,
    label_map: Annotated[
        str | None,
        typer.Option("--map", help="Class of each label, such as 1=benign,3=high-grade.", show_default=False),
    ] = None,
    keep: KeepOption = None,
    missing: Annotated[
        str | None,
        typer.Option("--missing", help="Marks of an unknown value, such as NA,None.", show_default=False),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Correct what the store says otherwise.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is understood, and write nothing.")] = False,
    store: StoreOption = None,
) -> None:
    """Ingest slides with their case and stain: afterwards a file whose stem is a slide's id belongs to it."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.label_map import parse_map
    from milstore.ingest.slide_columns import parse_columns
    from milstore.ingest.slide_table import ingest_slides
    from milstore.store.paths import open_store

    asked = {"slide_id": slide_column, "case_id": case_column, "stain": stain_column, "label": label_column}
    report = ingest_slides(
        open_store(store) if dry_run else open_current(store),
        source,
        columns=parse_columns(columns) | {name: column for name, column in asked.items() if column is not None},
        stain=stain,
        tcga=tcga,
        new_cases=new_cases,
        keep=kept(keep),
        label_map=None if label_map is None else parse_map(label_map),
        missing=parse_missing(missing),
        replace=replace,
        dry_run=dry_run,
    )
    for line in report.lines():
        say(line)
