"""`milstore predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from milstore.cli import completing
from milstore.cli.options import AllOption, CaseOption, FormatOption, OutputOption, StoreOption
from milstore.cli.output import say
from milstore.cli.progress import telling

if TYPE_CHECKING:
    from milstore.predicting.calls import PredictReport


def command(
    experiment: Annotated[
        str,
        typer.Argument(
            help="The experiment whose finished runs answer.",
            autocompletion=completing.experiments,
            show_default=False,
        ),
    ],
    case: CaseOption = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Folder of features of new cases, of the encoder that the runs name, as milstore ingest features reads them.",
            show_default=False,
        ),
    ] = None,
    slides: Annotated[
        Path | None,
        typer.Option(
            "--slides",
            help="Slides of new cases: a slides table with their files, or a folder whose names the pattern reads. They are cut "
            "as the models' patches were, and encoded by the encoder that the runs name.",
            show_default=False,
        ),
    ] = None,
    cohort: Annotated[
        Path | None,
        typer.Option(
            "--cohort",
            help="Table of an external cohort, a case and its label a row: its labels go in, and its cases are predicted.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the prediction, by which it is asked (default: EXPERIMENT-new).", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="./file.py:Class of the runs' model, where it is your own.", show_default=False),
    ] = None,
    also_trained_on: Annotated[
        bool,
        typer.Option("--also-trained-on", help="Also predict cases that a model was trained or validated on."),
    ] = False,
    case_column: Annotated[
        str | None,
        typer.Option("--case-column", help="The cohort's column with the case (default: case_id).", show_default=False),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option("--label-column", help="The cohort's column with the label (default: label).", show_default=False),
    ] = None,
    label_map: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Class of each label of the cohort or the slides table, as for milstore ingest labels.",
            show_default=False,
        ),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option("--missing", help="Marks of an unknown label there.", show_default=False),
    ] = None,
    stain: Annotated[
        str | None, typer.Option("--stain", help="The stain of all slides, where nothing says it.", show_default=False)
    ] = None,
    tcga: Annotated[bool, typer.Option("--tcga", help="The slides' names are barcodes of TCGA.")] = False,
    slide_mpp: Annotated[
        float | None,
        typer.Option(
            "--slide-mpp",
            help="Micrometres a pixel of level 0 of slides of which neither file nor table says it.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", help="./file.py:Class of the runs' encoder, where it is your own.", show_default=False
        ),
    ] = None,
    encoder_folder: Annotated[
        Path | None,
        typer.Option("--encoder-folder", help="The folder of the runs' encoder, where it is one.", show_default=False),
    ] = None,
    features_format: Annotated[
        str | None,
        typer.Option("--features-format", help="Format of the features (default: by content).", show_default=False),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to compute with; default: the CPUs there are.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    memory: Annotated[
        str | None, typer.Option(help="Most that features may take, such as 1GB. Default: no limit.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Processes that read files (default: one a processor).")
    ] = None,
    every: AllOption = False,
    format_: FormatOption = "table",
    output: OutputOption = None,
    store: StoreOption = None,
) -> None:
    """Predict new cases by a trained experiment: by each of its models, and by their mean.

    Each finished run answers with its own weights and its own standardisation. What they say is stored under a name, as
    runs of kind prediction, and answers where --prediction NAME asks for it: recall, roc, confusion and the report with
    intervals, beside the internal test of the experiment. The same name again computes what is missing, and no case twice.
    No case is in a split by it, and no run becomes stale. A model of your own (--model) is executed.
    """
    from milstore.cli.store_access import open_current
    from milstore.errors import UsageError
    from milstore.ingest.label_map import parse_map
    from milstore.predicting.arrival import Given, Labels
    from milstore.predicting.predict import predict
    from milstore.predicting.slides_given import SlidesGiven

    if cohort is None and (case_column is not None or label_column is not None):
        raise UsageError("--case-column and --label-column speak of --cohort: name its table")
    if cohort is None and slides is None and (label_map is not None or missing is not None):
        raise UsageError("--map and --missing speak of --cohort or of a slides table: name one")
    if features is None and features_format is not None:
        raise UsageError("--features-format speaks of --features: name their folder")
    if slides is None and (tcga or any(each is not None for each in (stain, slide_mpp, encoder, encoder_folder))):
        raise UsageError("--stain, --tcga, --slide-mpp, --encoder and --encoder-folder speak of --slides: name them")
    classes = None if label_map is None else parse_map(label_map)
    marks = None if missing is None else missing.split(",")
    labels = None
    if cohort is not None:
        labels = Labels(
            file=cohort, case_column=case_column, label_column=label_column, label_map=classes, missing=marks
        )
    of_slides = None
    if slides is not None:
        of_slides = SlidesGiven(
            path=slides,
            stain=stain,
            tcga=tcga,
            slide_mpp=slide_mpp,
            label_map=classes if cohort is None else None,
            missing=marks if cohort is None else None,
            encoder=encoder,
            encoder_folder=encoder_folder,
        )
    given = Given(
        cases=tuple(case or ()),
        features=features,
        slides=of_slides,
        labels=labels,
        format=features_format,
        jobs=jobs,
    )
    opened = open_current(store)
    with telling() as progress:
        report = predict(
            opened,
            experiment,
            given=given,
            name=name,
            model=model,
            also_trained_on=also_trained_on,
            threads=threads,
            device=device,
            memory=memory,
            progress=progress,
        )
    _show(report, format_, output, every=every, store=opened)


def _show(report: "PredictReport", format_: str, output: Path | None, *, every: bool, store: Any) -> None:
    """The calls as a table, and what to ask next."""
    from milstore.asking.given_rows import answer_of
    from milstore.cli.formatters import write_answer
    from milstore.cli.showing import View
    from milstore.predicting.calls import CALL_COLUMNS
    from milstore.store.names import counted
    from milstore.store.paths import store_option

    for note in report.notes:
        say(note)
    write_answer(
        answer_of(list(CALL_COLUMNS), [call.row() for call in report.calls]), format_, output, view=View(every=every)
    )
    models = counted(report.models, "model")
    said = "nothing was computed again" if not report.computed else f"run {report.run_id}"
    say(
        f"prediction {report.name}: {counted(len(report.calls), 'case')}, mean of {models} of {report.experiment}; {said}"
    )
    labelled = any(call.true_class is not None for call in report.calls)
    question = (
        "recall" if labelled else f"top-patches --case {report.calls[0].case_id}" if report.attends else "deviation"
    )
    say(f"next: milstore query {question} --prediction {report.name}{store_option(store)}")
