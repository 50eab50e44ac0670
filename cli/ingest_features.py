"""`milstore ingest features`."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.ingest_options import FormatOption, JobsOption, MapOption, MissingOption, ReplaceOption, tell
from milstore.cli.options import StoreOption
from milstore.cli.progress import telling
from milstore.cli.store_access import open_current


def features(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder of .pt or .npy files, one a patch; of .npz, .h5 or .parquet files, one a slice; or a table.",
            show_default=False,
        ),
    ],
    encoder: Annotated[str, typer.Option("--encoder", help="Name of what made the features.", show_default=False)],
    bag_column: Annotated[
        str | None, typer.Option("--bag-column", help="A table: the column with the bag.", show_default=False)
    ] = None,
    index_column: Annotated[
        str | None,
        typer.Option("--index-column", help="A table: the column with the instance's number.", show_default=False),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option("--label-column", help="A table: the column with the bag's label.", show_default=False)
    ] = None,
    label_map: MapOption = None,
    missing: MissingOption = None,
    stain: Annotated[
        str | None,
        typer.Option(
            "--stain",
            help="A table: the stain of all bags (default: all, where milstore.toml is as it was made, else its first).",
            show_default=False,
        ),
    ] = None,
    feature_column: Annotated[
        list[str] | None,
        typer.Option(
            "--feature-column",
            help="A table: a column to take as a feature, though it is constant within each bag and tells the classes apart; "
            "may be given several times.",
            show_default=False,
        ),
    ] = None,
    create_patches: Annotated[
        bool,
        typer.Option(
            "--create-patches",
            help="Make patches that the store does not know, from the names. Those of slides that it knows are made anyway.",
        ),
    ] = False,
    slide_mpp: Annotated[
        float | None,
        typer.Option(
            "--slide-mpp",
            help="Micrometres a pixel at full resolution of slides of which the store knows no resolution.",
            show_default=False,
        ),
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option(
            "--mixed",
            help="Take patches of several sizes or resolutions under one encoder: a model may learn the scanner by them.",
        ),
    ] = False,
    companion: Annotated[
        Path | None,
        typer.Option(
            "--companion",
            help="Folder of CLAM's patches/, which say how large a patch is (default: the one beside the features).",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    replace: ReplaceOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is understood, and write nothing.")] = False,
    jobs: JobsOption = None,
    store: StoreOption = None,
) -> None:
    """Ingest feature vectors: all of an encoder's at once."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.features import ingest_features
    from milstore.ingest.label_map import parse_map
    from milstore.store.paths import open_store

    # Not open_current, which brings milstore.duckdb up to date.
    opened = open_store(store) if dry_run else open_current(store)
    with telling() as progress:
        report = ingest_features(
            opened,
            path,
            encoder=encoder,
            bag_column=bag_column,
            index_column=index_column,
            label_column=label_column,
            label_map=None if label_map is None else parse_map(label_map),
            missing=parse_missing(missing),
            stain=stain,
            feature_columns=tuple(feature_column or ()),
            create_patches=create_patches,
            slide_mpp=slide_mpp,
            mixed=mixed,
            companion=companion,
            dry_run=dry_run,
            format=format,
            replace=replace,
            jobs=jobs,
            progress=progress,
        )
    tell(report.lines())
