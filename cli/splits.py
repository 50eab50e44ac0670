"""`milstore splits`: make, show and check train/val/test splits."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.opening import open_current
from milstore.cli.options import StoreOption
from milstore.cli.output import printable, say, show_table

app = typer.Typer(
    help="Make, show and check train/val/test splits.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

SplitSetOption = Annotated[
    str | None, typer.Option("--split-set", help="The split set (default: all).", show_default=False)
]
GroupOption = Annotated[
    Path | None,
    typer.Option(
        "--group-by",
        help="CSV file with the columns case_id and group: cases of one group, such as a patient, stay together.",
        show_default=False,
    ),
]


@app.command()
def make(
    store: StoreOption = None,
    folds: Annotated[int, typer.Option("--folds", help="Number of splits.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same splits.")] = 0,
    group_by: GroupOption = None,
    split_set: Annotated[
        str | None, typer.Option("--split-set", help="Name (default: from folds and seed).", show_default=False)
    ] = None,
    val_share: Annotated[float, typer.Option("--val-share", help="Share of what is not in test that validates.")] = 0.2,
    replace: Annotated[bool, typer.Option("--replace", help="In the place of other splits of this name.")] = False,
) -> None:
    """Draw a split set, stratified by class, with each labelled case in exactly one test set."""
    from milstore.ingest.splits import make_splits

    report = make_splits(
        open_current(store),
        folds=folds,
        seed=seed,
        group_by=group_by,
        split_set=split_set,
        val_share=val_share,
        replace=replace,
    )
    for line in report.lines():
        say(line)


@app.command()
def show(store: StoreOption = None, split_set: SplitSetOption = None) -> None:
    """Show how many cases of each class are in each subset, and the test cases."""
    from milstore.analysis.splits import balance, split_sets
    from milstore.store.cohort import read_cohort

    cohort = read_cohort(open_current(store))
    for name in split_sets(cohort, split_set):
        splits = balance(cohort, name)
        for each in splits:
            show_table(
                ["Subset", *(class_name.title() for class_name in each.classes)],
                [[subset, *counts] for subset, counts in each.counts.items()],
                title=f"{name}, split {each.split} of {len(splits)}",
            )
            typer.echo("Test cases: " + " ".join(printable(case) for case in each.test_cases) + "\n")


@app.command()
def check(
    store: StoreOption = None,
    split_set: SplitSetOption = None,
    group_by: GroupOption = None,
) -> None:
    """Look for leaks and gaps: cases or groups in two subsets, classes, labels or features that are missing.

    Exits with 1 if something is broken.
    """
    from milstore.analysis.splits import check_splits
    from milstore.ingest.splits import read_groups

    groups = None if group_by is None else read_groups(group_by)
    checks = check_splits(open_current(store), split_set, groups)
    marks = {"kept": "ok", "note": "note", "broken": "BROKEN"}
    for each in checks:
        for finding in each.findings:
            typer.echo(f"{each.split_set}: {marks[finding.kind]}: {printable(finding.text)}")
    if not all(each.is_sound for each in checks):
        raise typer.Exit(1)
