"""`milstore encode`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from milstore.cli.launching import check_launcher, read_slurm, slurm_options, take_slurm
from milstore.cli.options import StoreOption
from milstore.cli.output import say
from milstore.cli.progress import telling
from milstore.errors import UsageError

if TYPE_CHECKING:
    from milstore.encoders.encoder_folder import EncoderFolder
    from milstore.encoders.encoding_plan import FolderOptions
    from milstore.store import Store


def _with_slurm(function: Callable[..., None]) -> Callable[..., None]:
    """Give the command the options of SLURM in the place of its `**slurm`."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    further = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in slurm_options()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
    function.__annotations__ = {each.name: each.annotation for each in (*own, *further)}
    return function


@_with_slurm
def command(
    *,
    store: StoreOption = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="hed, which is built in; ./file.py:Class for your own, which is run; or one that an installed package "
            "offers. [default: hed]",
            show_default=False,
        ),
    ] = None,
    encoder_folder: Annotated[
        Path | None,
        typer.Option(
            "--encoder-folder",
            help="A folder with encoder.toml and a network: model.onnx, or a model of transformers in safetensors.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the features of a folder [default: as encoder.toml says].", show_default=False
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option("--grid", help="Grid of the patches, where there are several.", show_default=False)
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="Format of the images (default: by their content).", show_default=False),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", min=1, help="Patches that a network is given at once. [default: 32]", show_default=False
        ),
    ] = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="The network computes in half precision, which makes another encoder.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option("--device", help="Of a network: auto, cpu or cuda. [default: auto]", show_default=False),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Threads of a network (default: one a processor).", show_default=False),
    ] = None,
    launcher: Annotated[
        str,
        typer.Option(
            "--launcher",
            help="Who runs a network: none (this process), local (processes of this machine, side by side) or slurm (jobs).",
        ),
    ] = "none",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Processes of hed or your own (default: one a processor); with a launcher, its jobs (default: 2).",
            show_default=False,
        ),
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Read images that links in the patch folder lead to.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Compute again what the store has.")] = False,
    **slurm: Any,
) -> None:
    """Compute features of the patches with an encoder, from images or slides.

    hed is a baseline that needs no download: colour deconvolution (haematoxylin, eosin, DAB) and texture statistics.
    A deep encoder is a folder (docs/encoders.md); what is killed goes on where it was by the same command. Features that were
    computed elsewhere come in by milstore ingest features.
    """
    from milstore.store import open_store

    opened = open_store(store)
    chosen = take_slurm(slurm)
    if encoder_folder is None:
        of_folder = {"--name": name, "--batch": batch, "--fp16": fp16, "--device": device, "--threads": threads}
        given = [flag for flag, value in {**of_folder, "--launcher": launcher != "none" or chosen}.items() if value]
        if given:
            raise UsageError(f"{given[0]} goes with --encoder-folder")
        from milstore.encoders.encode import encode_patches

        with telling(speed="patches/s") as progress:
            report = encode_patches(
                opened,
                encoder or "hed",
                grid=grid,
                follow_links=follow_links,
                replace=replace,
                format=format,
                jobs=jobs,
                progress=progress,
            )
    elif encoder is not None:
        raise UsageError("--encoder and --encoder-folder: give one of them")
    else:
        from milstore.encoders.encode_folder import encode_by_folder
        from milstore.encoders.encoder_folder import read_encoder_folder
        from milstore.encoders.encoding_plan import BATCH, FolderOptions

        check_launcher(launcher, jobs, chosen)
        folder = read_encoder_folder(encoder_folder, name=name, fp16=fp16)
        options = FolderOptions(
            grid=grid,
            format=format,
            batch=batch or BATCH,
            threads=threads,
            device=device or "auto",
            follow_links=follow_links,
            replace=replace,
        )
        if launcher == "slurm":
            submit(opened, folder, options, jobs, chosen)
            return
        with telling(speed="patches/s") as progress:
            if launcher == "local":
                from milstore.launching.encoding import JOBS, encode_side_by_side

                report = encode_side_by_side(opened, folder, options, jobs or JOBS, progress=progress)
            else:
                report = encode_by_folder(opened, folder, options, progress=progress)
    for line in report.lines():
        say(line)


def submit(store: "Store", folder: "EncoderFolder", options: "FolderOptions", jobs: int | None, slurm: Any) -> None:
    """Submit the jobs, and say how to follow them."""
    from milstore.launching.encoding import JOBS, submit_encoding

    submitted = submit_encoding(store, folder, options, read_slurm(slurm, None), jobs or JOBS)
    if submitted is None:
        say(f"every patch has features of {folder.name}: nothing to do")
        return
    launch, ids = submitted
    say(f"{folder.name}: submitted to SLURM as {', '.join(ids)}; the last that ends puts the features into the store")
    say(f"logs:   {launch}")
    say(f"stop:   scancel {ids[0].partition('_')[0]} (what was computed stays: the same command goes on)")
