"""Every model on the demo, trained as `milstore train --split all` does: recalls and AUC, and seconds an epoch.

    python -m benchmarks.demo_models [STORE] [--models abmil,dsmil] [--rounds 3] [--page]

STORE is a demo store (made where it is missing) and keeps what is trained from one time to the next: an experiment a
model, named demo-MODEL. Nothing is chosen for a model: all train by the defaults of `milstore train` and their own, with
one seed. Cases are counted once, over the five splits, and every rate has its 95% interval, as in `milstore query
experiments`. Afterwards the epochs of split 1 are timed, the models in turns on one thread, without the validation cases.
With --page the table is put into docs/models.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import milstore
from benchmarks import commands
from benchmarks.page import PAGE, machine, put_on_page
from benchmarks.rounds import in_rounds
from benchmarks.trainings import CPU, steps, training
from milstore.models import available
from milstore.store import open_store
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.training.config import TrainingConfig
from milstore.training.data_loading import open_bags
from milstore.training.provenance import repeatable_arithmetic
from milstore.training.setup import plan_split, stain_names

PREFIX = "demo-"
HEAD = "| model | recall of benign | recall of high-grade | AUC | seconds an epoch |\n|---|---|---|---|---:|"
NOTES = """\
Counts are of cases that are called right, and in brackets are 95% intervals, as `milstore query experiments` gives them: of
86 cases they are wide and overlap, so that this table ranks no model above another. All train by the defaults, with one seed. The
demo's tissue is drawn, with nests of atypical cells planted in the high-grade cases: how well a model does here says nothing of
how well it does on slides."""


def train_all(store: Path, names: Sequence[str]) -> None:
    """The five splits of each model. Runs that are finished are not trained again."""
    commands.run_program(commands.milstore("demo", "--store", str(store)))
    for name in names:
        print(f"training {name}", file=sys.stderr, flush=True)
        options = ["--model", name, "--experiment", PREFIX + name, "--threads", "1", "--quiet", "--store", str(store)]
        commands.run_program(commands.milstore("train", "--split", "all", *options))


def rates(store: Path) -> dict[str, dict[str, Mapping[str, Any]]]:
    """What `milstore query experiments` says of each model: its rows by class, the AUC's by "AUC"."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in milstore.open(store).query("experiments", like=f"{PREFIX}*").df().to_dict("records"):
        what = row["true_class"] if row["measure"] == "recall" else row["measure"]
        found.setdefault(row["experiment"].removeprefix(PREFIX), {})[what] = row
    return found


def epoch_seconds(store: Path, names: Sequence[str], rounds: int) -> dict[str, float]:
    """Median seconds of the steps of an epoch of split 1, on one thread."""
    opened = open_store(store)
    cohort = read_cohort(opened)
    packed = open_features(opened, cohort)
    cases = plan_split(cohort, packed, "study", 1).cases
    bags = open_bags(packed, cases.all, CPU)
    with repeatable_arithmetic(1):
        contenders = {}
        for name in names:
            config = TrainingConfig(model=name, epochs=10**6, patience=10**6)
            contenders[name] = steps(training(bags, cases, config=config, stains=stain_names(cohort)))
        timed = in_rounds(contenders, rounds)
    return {name: timed.seconds(name) for name in names}


def rows(
    names: Sequence[str], found: Mapping[str, Mapping[str, Mapping[str, Any]]], seconds: Mapping[str, float]
) -> Iterator[str]:
    """A line of the table a model."""
    for name in names:
        of = found[name]
        recalls = " | ".join(_recall(of[each]) for each in ("benign", "high-grade"))
        yield f"| {name} | {recalls} | {_rate(of['AUC'])} | {seconds[name]:.2f} |"


def _recall(row: Mapping[str, Any]) -> str:
    return f"{row['right']:.0f} of {row['cases']:.0f}, {_rate(row)}"


def _rate(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def main(words: list[str] | None = None) -> None:
    """Train what is missing, ask, time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "store", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "milstore-benchmarks" / "demo-models"
    )
    parser.add_argument("--models", type=lambda text: text.split(","), default=available(), help="names (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs that are timed of each (default: 3)")
    parser.add_argument("--page", action="store_true", help="put the table into docs/models.md")
    options = parser.parse_args(words)
    train_all(options.store, options.models)
    seconds = epoch_seconds(options.store, options.models, options.rounds)
    lines = [
        f"{machine('torch')}; one thread; medians of {options.rounds} epochs.",
        "",
        HEAD,
        *rows(options.models, rates(options.store), seconds),
        "",
        NOTES,
    ]
    print("\n".join(lines))
    if options.page:
        put_on_page("Demo", "\n".join(lines), PAGE.with_name("models.md"))


if __name__ == "__main__":
    main()
