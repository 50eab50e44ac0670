"""`milstore ingest`: slides, labels, groups, patches, regions, features and splits into the store."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli import ingest_regions
from milstore.cli.ingest_slides import slides
from milstore.cli.options import KeepOption, StoreOption, kept
from milstore.cli.output import say, show_table
from milstore.cli.progress import telling
from milstore.cli.store_access import open_current

app = typer.Typer(
    help="Take slides, labels, groups, patches, regions, features, splits and runs into the store. A second time changes nothing.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

ReplaceOption = Annotated[bool, typer.Option("--replace", help="Correct what the store says otherwise.")]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes (default: one a processor).", show_default=False)
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Name of the format, as milstore ingest formats lists them; or ./file.py:Class for your own, which is run "
        "(default: by the content).",
        show_default=False,
    ),
]
MapOption = Annotated[
    str | None,
    typer.Option(
        "--map",
        help="Class of each label, such as 1=benign,3=high-grade. Classes are numbered in this order, and rows with "
        "another label are left out. Without it each label is a class.",
        show_default=False,
    ),
]
MissingOption = Annotated[
    str | None,
    typer.Option(
        "--missing",
        help="Marks of an unknown value, such as NA,None; an empty cell is one too. A case with an unknown label stays, "
        "without one; a row without a case is left out.",
        show_default=False,
    ),
]


def _tell(lines: list[str]) -> None:
    for line in lines:
        say(line)


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
            help="The column with what cases have in common that belong together, such as the patient.",
            show_default=False,
        ),
    ] = None,
    replace: ReplaceOption = False,
    store: StoreOption = None,
) -> None:
    """Take labels in. Cases that the store does not know are made."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.labels import ingest_labels, parse_map

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
    _tell(report.lines())


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
        bool, typer.Option("--replace", help="The folder is the whole truth: correct the store, remove what it lacks.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is read of five names, and write nothing.")
    ] = False,
    jobs: JobsOption = None,
    store: StoreOption = None,
) -> None:
    """Take patch images in. What each is of is read from its name, by the pattern in milstore.toml."""
    from milstore.ingest.patch_preview import preview_patches
    from milstore.ingest.patches import ingest_patches
    from milstore.store.paths import open_store

    if dry_run:
        # Not open_current, which brings milstore.duckdb up to date.
        preview = preview_patches(open_store(store), folder, follow_links=follow_links, format=format)
        show_table(preview.columns, preview.rows)
        _tell(preview.lines())
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
    _tell(report.lines())


@app.command()
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
    """Take feature vectors in: all of an encoder's at once."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.features import ingest_features
    from milstore.ingest.labels import parse_map
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
    _tell(report.lines())


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
    """Take groups of related cases in, such as those of one patient: every later split and check knows them."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.groups import ingest_groups

    report = ingest_groups(open_current(store), file, missing=parse_missing(missing), replace=replace)
    _tell(report.lines())


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
        typer.Option("--val-share", help="Test folds, STAMP, slideflow: share of what is not in test that validates."),
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
    """Take train/val/test splits in, each by its own number. The cases must be known."""
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
    _tell(report.lines())


@app.command()
def run(
    predictions: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet: case_id, p_0, p_1, … (or prob_ and the class) and perhaps subset, true_label, "
            "predicted_label. With --from: the run's folder, as the tool wrote it.",
            show_default=False,
        ),
    ],
    attention: Annotated[
        Path | None,
        typer.Option(
            "--attention",
            help="CSV or Parquet: case_id, stain, slice_idx or slice_name, patch_idx, stain_attention, slice_attention, "
            "patch_attention. Instead of the indices: file, patch_path or patch (names of files), or x, y. Without it the "
            "run has no attention.",
            show_default=False,
        ),
    ] = None,
    tool: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="The tool that wrote the folder: study; or clam, stamp or slideflow (a run a fold). Splits and all that the folder says are then "
            "its own, and need no option.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="With --from: a checkpoint of the run. It is evaluated on the store's features, and all of its attention "
            "is stored.",
            show_default=False,
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", help="With --from: the run's log (default: the one beside the folder).", show_default=False
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            "--experiment",
            help="Name of the runs that share this configuration. Needed without --from.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        int | None,
        typer.Option(
            "--split",
            help="Number of the split, as milstore splits show has it. Needed without --from.",
            show_default=False,
        ),
    ] = None,
    split_set: Annotated[
        str | None, typer.Option("--split-set", help="Needed where there are several.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of the training (default: 0, or the run's own).", show_default=False),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Name of what made the features.", show_default=False)
    ] = None,
    pooling: Annotated[str, typer.Option("--pooling", help="hierarchical, size-corrected or flat.")] = "hierarchical",
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with the configuration.", show_default=False)
    ] = None,
    code_version: Annotated[
        str | None, typer.Option("--code-version", help="What trained it.", show_default=False)
    ] = None,
    patches_by: Annotated[
        str | None,
        typer.Option(
            "--patches-by",
            help="What patch_idx is: number (the one in the file's name), or text-position or natural-position, from 0, "
            "among the slice's file names (patch_1, patch_14, patch_3, or patch_1, patch_3, patch_14). With --encoder "
            "only patches with its features count. Needed wherever it is not certain.",
            show_default=False,
        ),
    ] = None,
    slices_by: Annotated[
        str | None,
        typer.Option(
            "--slices-by",
            help="The same of slice_idx, among the names of the slices of the case's stain.",
            show_default=False,
        ),
    ] = None,
    top_pct: Annotated[
        float | None,
        typer.Option(
            "--top-pct",
            help="The attention is of each case's most attended patches alone, of this share of them in percent.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="What the tables' columns are called here, such as patient=case_id,risk=p_1.",
            show_default=False,
        ),
    ] = None,
    labels_of_run: Annotated[
        bool,
        typer.Option(
            "--labels-of-run",
            help="Keep the run's own labels where the store has others. Every answer then says so.",
        ),
    ] = False,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="With --from clam: the class of each number, such as 0=benign,1=high-grade, where it is not the store's order.",
            show_default=False,
        ),
    ] = None,
    heat_maps_of: Annotated[
        int | None,
        typer.Option(
            "--heat-maps-of",
            help="With --from clam: the fold whose model made the heat maps (default: the one that gave the same "
            "probabilities).",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    store: StoreOption = None,
) -> None:
    """Take a run in that was trained elsewhere: its predictions and its attention."""
    from milstore.ingest.importers import FolderOptions, ingest_run_folder, parse_classes
    from milstore.ingest.runs import check_words, ingest_run, parse_columns, read_config

    further = {} if config is None else read_config(config)
    check_words(
        tool,
        needed={"--experiment": experiment, "--split": split},
        of_tables={
            "--attention": attention, "--patches-by": patches_by, "--slices-by": slices_by, "--top-pct": top_pct,
            "--columns": columns, "--format": format, "--pooling": None if pooling == "hierarchical" else pooling,
        },
        of_folders={
            "--weights": weights, "--log": log, "--classes": classes, "--heat-maps-of": heat_maps_of,
        },
    )  # fmt: skip
    opened = open_current(store)
    if tool is not None:
        options = FolderOptions(
            experiment=experiment,
            split_set=split_set,
            split=split,
            seed=seed,
            encoder=encoder,
            weights=weights,
            log=log,
            code_version=code_version,
            config=further,
            labels_of_run=labels_of_run,
            classes=None if classes is None else parse_classes(classes),
            heat_maps_of=heat_maps_of,
        )
        _tell(ingest_run_folder(opened, predictions, tool, options).lines())
        return
    report = ingest_run(
        opened,
        predictions,
        attention,
        experiment=experiment or "",
        split=split or 0,
        split_set=split_set,
        seed=seed or 0,
        encoder=encoder,
        pooling=pooling,
        config=further,
        code_version=code_version,
        patches_by=patches_by,
        format=format,
        slices_by=slices_by,
        columns=parse_columns(columns),
        top_pct=top_pct,
        labels_of_run=labels_of_run,
    )
    _tell(report.lines())


@app.command()
def formats() -> None:
    """List the formats of files that can be read."""
    from milstore.formats.registry import FORMATS
    from milstore.pixels.registry import PIXELS

    of = {"patches": PIXELS, "features": FORMATS["features"], "features --bag-column": FORMATS["tables"]}
    of |= {"labels": FORMATS["labels"], "splits": FORMATS["splits"], "run": FORMATS["runs"]}
    rows = [[kind, *row] for kind, formats in of.items() for row in formats.listed()]
    show_table(["ingest", "Format", "Files", "What it is"], rows)
