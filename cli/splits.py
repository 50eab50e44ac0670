"""`milstore splits`: make, show, check and delete train/val/test splits."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.options import StoreOption
from milstore.cli.output import printable, say, show_table
from milstore.cli.store_access import open_current
from milstore.errors import UsageError

app = typer.Typer(
    help="Make, show, check and delete train/val/test splits.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

SplitSetOption = Annotated[
    str | None,
    typer.Option(
        "--split-set", help="The split set (default: all), a pattern, or fox for fox-r1, fox-r2 …", show_default=False
    ),
]
GroupOption = Annotated[
    Path | None,
    typer.Option(
        "--group-by",
        help="CSV file with the columns case_id and group: cases of one group, such as a patient, stay together. It must "
        "name every case. Default: the groups of the store (milstore ingest groups).",
        show_default=False,
    ),
]
MissingOption = Annotated[
    str | None,
    typer.Option(
        "--missing",
        help="Marks, such as NA,None, in the group file: a case without a group stands for itself, a row without a case "
        "is left out.",
        show_default=False,
    ),
]


@app.command()
def make(
    store: StoreOption = None,
    folds: Annotated[int, typer.Option("--folds", help="Number of splits.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="The same seed draws the same splits.")] = 0,
    group_by: GroupOption = None,
    ungrouped: Annotated[
        bool, typer.Option("--ungrouped", help="Draw as if the store had no groups of cases.")
    ] = False,
    missing: MissingOption = None,
    split_set: Annotated[
        str | None, typer.Option("--split-set", help="Name (default: from folds and seed).", show_default=False)
    ] = None,
    val_share: Annotated[
        float, typer.Option("--val-share", help="Share of what is not in test that validates, or 0 for none.")
    ] = 0.2,
    replace: Annotated[bool, typer.Option("--replace", help="In the place of other splits of this name.")] = False,
) -> None:
    """Draw a split set, stratified by class, with each labelled case in exactly one test set."""
    from milstore.formats.missing_marks import parse_missing
    from milstore.ingest.splits import make_splits

    report = make_splits(
        open_current(store),
        folds=folds,
        seed=seed,
        group_by=group_by,
        ungrouped=ungrouped,
        split_set=split_set,
        val_share=val_share,
        missing=parse_missing(missing),
        replace=replace,
    )
    for line in report.lines():
        say(line)


@app.command()
def show(store: StoreOption = None, split_set: SplitSetOption = None) -> None:
    """Show how many cases of each class are in each subset, and the test cases."""
    from milstore.analysis.splits import balance, split_sets
    from milstore.store.cohort import read_cohort
    from milstore.store.names import named

    cohort = read_cohort(open_current(store))
    for name in split_sets(cohort, split_set):
        splits = balance(cohort, name)
        numbers = [each.split for each in splits]
        of = len(splits) if numbers == list(range(1, len(splits) + 1)) else named(numbers)
        for each in splits:
            show_table(
                ["Subset", *(class_name.title() for class_name in each.classes)],
                [[subset, *counts] for subset, counts in each.counts.items()],
                title=f"{name}, split {each.split} of {of}",
            )
            typer.echo("Test cases: " + " ".join(printable(case) for case in each.test_cases) + "\n")


@app.command()
def check(
    store: StoreOption = None,
    split_set: SplitSetOption = None,
    group_by: GroupOption = None,
    missing: MissingOption = None,
    overlapping: Annotated[
        bool,
        typer.Option(
            "--overlapping", help="Each test set was drawn on its own: they may share cases, and leave some out."
        ),
    ] = False,
) -> None:
    """Look for leaks and gaps: cases or groups in two subsets, classes, labels or features that are missing.

    Exits with 1 if something is broken.
    """
    from milstore.analysis.splits import check_splits, split_cases
    from milstore.formats.group_file import read_groups
    from milstore.formats.missing_marks import Marks, parse_missing
    from milstore.store.cohort import read_cohort

    opened = open_current(store)
    groups = None
    if group_by is not None:
        cohort = read_cohort(opened)
        known = set(cohort.table("cases")["case_id"].to_pylist())
        groups = read_groups(group_by, known, Marks.of(parse_missing(missing)))
        cases = split_cases(cohort, split_set)
        groups.check_cover(cases)
        for line in groups.lines(cases):
            say(line)
    checks = check_splits(opened, split_set, None if groups is None else groups.group_of, overlapping=overlapping)
    marks = {"kept": "ok", "note": "note", "broken": "BROKEN"}
    for each in checks:
        for finding in each.findings:
            typer.echo(f"{each.split_set}: {marks[finding.kind]}: {printable(finding.text)}")
    if not all(each.is_sound for each in checks):
        raise typer.Exit(1)


@app.command()
def delete(
    split_sets: Annotated[
        list[str],
        typer.Argument(
            metavar="SPLIT_SET...",
            help="Names of split sets; a pattern such as 'fox-r*', or fox for fox-r1, fox-r2 and so on.",
        ),
    ],
    keep_runs: Annotated[
        bool,
        typer.Option("--keep-runs", help="Also those of which there are runs: these stay, with the subsets they saw."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Delete split sets for good: says what goes, and asks first. Refused while there are runs of them."""
    from milstore.ingest.split_removal import delete_splits, removable_splits

    opened = open_current(store)
    for each in removable_splits(opened, split_sets):
        say(each.line())
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing is deleted unasked: add --yes")
        if not typer.confirm("Delete for good?", err=True):
            say("nothing is deleted")
            return
    for each in delete_splits(opened, split_sets, keep_runs=keep_runs):
        say(f"deleted {each.split_set}")
