"""`milstore ingest`: slides, labels, groups, patches, regions, features and splits into the store."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli import ingest_regions
from milstore.cli.ingest_features import features
from milstore.cli.ingest_options import FormatOption, JobsOption, MapOption, MissingOption, ReplaceOption, tell
from milstore.cli.ingest_run import run
from milstore.cli.ingest_slides import slides
from milstore.cli.options import KeepOption, StoreOption, kept
from milstore.cli.output import show_table
from milstore.cli.progress import telling
from milstore.cli.store_access import open_current

app = typer.Typer(
    help="Ingest slides, labels, groups, patches, regions, features, splits and runs. Repeating a command changes nothing.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.command()
def labels(
    file: Annotated[Path, typer.Argument(help="CSV file with a row a case.", show_default=False)],
    case_column: Annotated[
        str | None,
        typer.Option("--case-column", help="The column with the case (default: case_id).", show_default=False),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option("--label-column", help="The column with the label (default: label).", show_default=False),
    ] = None,
    label_map: MapOption = None,
    missing: MissingOption = None,
    format: FormatOption = None,
    keep: KeepOption = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            help="One such column, whatever its name; may be given several times.",
            show_default=False,
        ),
    ] = None,
    group_column: Annotated[
        str | None,
        typer.Option(
            "--group-column",
            help="The column with the group of each case, such as the patient.",
            show_default=False,
        ),
    ] = None,
    replace: ReplaceOption = False,
    store: StoreOption = None,
) -> None:
    """Ingest labels. Cases that the store does not know are created."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.label_map import parse_map
    from milstore.ingest.labels import ingest_labels

    report = ingest_labels(
        open_current(store),
        file,
        case_column=case_column,
        label_column=label_column,
        label_map=None if label_map is None else parse_map(label_map),
        missing=parse_missing(missing),
        format=format,
        attributes=[*kept(keep), *(attribute or ())],
        group_column=group_column,
        replace=replace,
    )
    tell(report.lines())


app.command()(slides)


@app.command()
def patches(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the images, one a patch; sub-folders too.", show_default=False)
    ],
    names_only: Annotated[bool, typer.Option("--names-only", help="Do not open the images for their sizes.")] = False,
    coordinates: Annotated[
        Path | None,
        typer.Option("--coordinates", help="CSV file with file,x,y and perhaps width,height.", show_default=False),
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links that lead out of the folder.")
    ] = False,
    format: FormatOption = None,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="The folder is complete: correct the store by it, and remove what it lacks."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is read of five names, and write nothing.")
    ] = False,
    jobs: JobsOption = None,
    store: StoreOption = None,
) -> None:
    """Ingest patch images. Each is identified by its file name, through the pattern in milstore.toml."""
    from milstore.ingest.patch_preview import preview_patches
    from milstore.ingest.patches import ingest_patches
    from milstore.store.paths import open_store

    if dry_run:
        # Not open_current, which brings milstore.duckdb up to date.
        preview = preview_patches(open_store(store), folder, follow_links=follow_links, format=format)
        show_table(preview.columns, preview.rows)
        tell(preview.lines())
        return
    opened = open_current(store)
    with telling() as progress:
        report = ingest_patches(
            opened,
            folder,
            names_only=names_only,
            coordinates=coordinates,
            follow_links=follow_links,
            format=format,
            replace=replace,
            jobs=jobs,
            progress=progress,
        )
    tell(report.lines())


app.command()(features)


@app.command()
def groups(
    file: Annotated[
        Path, typer.Argument(help="CSV file with the columns case_id and group, or patient.", show_default=False)
    ],
    missing: Annotated[
        str | None,
        typer.Option(
            "--missing",
            help="Marks, such as NA,None: a case without a group stands for itself, a row without a case is left out.",
            show_default=False,
        ),
    ] = None,
    replace: ReplaceOption = False,
    store: StoreOption = None,
) -> None:
    """Ingest groups of related cases, such as those of one patient: every later split and check uses them."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.groups import ingest_groups

    report = ingest_groups(open_current(store), file, missing=parse_missing(missing), replace=replace)
    tell(report.lines())


app.command("regions")(ingest_regions.command)


@app.command()
def splits(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="One file a split with its number in its name: .npz (train_cases, val_cases, test_cases), CSV with "
            "case_id,subset, or CLAM's splits_0.csv; or the folder that they lie in. Or one file of all: CSV "
            "with split,case_id,subset, or test folds: repeat,fold,bag_id; or splits.json of STAMP or slideflow.",
            show_default=False,
        ),
    ],
    split_set: Annotated[
        str | None, typer.Option("--split-set", help="Name (default: from the files' names).", show_default=False)
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Test folds, STAMP, slideflow: seed of the validation subsets.")
    ] = 0,
    val_share: Annotated[
        float,
        typer.Option(
            "--val-share", help="Test folds, STAMP, slideflow: share of the cases outside test that validates."
        ),
    ] = 0.2,
    missing: Annotated[
        str | None,
        typer.Option(
            "--missing",
            help="Tables: marks, such as NA,None, of rows without a case, split or subset.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    replace: ReplaceOption = False,
    store: StoreOption = None,
) -> None:
    """Ingest train/val/test splits, each under its own number. The cases must be known."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.splits import ingest_splits

    report = ingest_splits(
        open_current(store),
        files,
        split_set=split_set,
        seed=seed,
        val_share=val_share,
        missing=parse_missing(missing),
        format=format,
        replace=replace,
    )
    tell(report.lines())


app.command()(run)


@app.command()
def formats() -> None:
    """List the formats of files that can be read."""
    from milstore.formats.registry import FORMATS
    from milstore.pixels.registry import PIXELS

    of = {"patches": PIXELS, "features": FORMATS["features"], "features --bag-column": FORMATS["tables"]}
    of |= {"labels": FORMATS["labels"], "splits": FORMATS["splits"], "run": FORMATS["runs"]}
    rows = [[kind, *row] for kind, formats in of.items() for row in formats.listed()]
    show_table(["ingest", "Format", "Files", "What it is"], rows)
