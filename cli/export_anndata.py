"""`milstore export anndata`."""

from pathlib import Path
from typing import Annotated

import typer

from milstore.cli.options import (
    CaseOption,
    ExperimentOption,
    RunOption,
    SeedOption,
    SplitOption,
    StoreOption,
    SubsetOption,
)
from milstore.cli.output import say
from milstore.errors import UsageError


def command(
    output: Annotated[Path, typer.Option("--output", "-o", help="The .h5ad file to write.", show_default=False)],
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="The encoder (default: the only one).", show_default=False)
    ] = None,
    case: CaseOption = None,
    all_: Annotated[bool, typer.Option("--all", help="All cases that have features.")] = False,
    run: RunOption = None,
    experiment: ExperimentOption = None,
    split: SplitOption = None,
    seed: SeedOption = None,
    subset: SubsetOption = None,
    attention: Annotated[
        bool, typer.Option("--attention/--no-attention", help="Put in the attention of the run that answers.")
    ] = True,
    store: StoreOption = None,
) -> None:
    """Write patches with features and attention as AnnData (.h5ad).

    X holds the features, obs what is known of each patch and its attention, obsm["spatial"] the centres of the patches.
    """
    from milstore.asking.selection import Choice
    from milstore.exporting.anndata import export_anndata
    from milstore.store import open_store

    if bool(case) == all_:
        raise UsageError("say which cases: --case, which may be given several times, or --all")
    cases = tuple(case or ())
    choice = Choice(run=run, experiment=experiment, split=split, seed=seed, subset=subset, cases=cases)
    for line in export_anndata(
        open_store(store), output, encoder=encoder, cases=cases, choice=choice if attention else None
    ):
        say(line)
