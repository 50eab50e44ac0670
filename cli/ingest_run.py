"""`milstore ingest run`."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.ingest_options import FormatOption, tell
from milstore.cli.options import StoreOption
from milstore.cli.store_access import open_current


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
    """Ingest a run that was trained elsewhere: its predictions and its attention."""
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
        tell(ingest_run_folder(opened, predictions, tool, options).lines())
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
    tell(report.lines())
