"""The predictions of cases for display: the predicted class, and the range between the models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from milstore.predicting.storing import chances_of
from milstore.store.names import natural_key
from milstore.store.paths import Store
from milstore.store.prediction_runs import members
from milstore.store.verified import verified_run
from milstore.store.write_run import Told


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """The models' prediction of a case."""

    case_id: str
    pred_class: str
    """The class of the highest mean probability."""
    probability: float
    """Its mean probability, 0 to 1."""
    lowest: float
    """The lowest probability that a model gives to it."""
    highest: float
    agreeing: int
    """How many models call it so."""
    models: int
    true_class: str | None
    """Its class as the store has it; None without a label."""

    def row(self) -> tuple[Any, ...]:
        """The prediction as a row of a table with the columns CALL_COLUMNS."""
        agree = f"{self.agreeing} of {self.models}"
        return self.case_id, self.pred_class, self.probability, self.lowest, self.highest, agree, self.true_class


CALL_COLUMNS = ("case_id", "pred_class", "probability", "lowest", "highest", "models_agree", "true_class")


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictReport:
    """What `predict` did, and what the models say."""

    name: str
    experiment: str
    run_id: str
    """The run that answers: the mean of the models."""
    computed: int
    """How many times a model was asked about a case; 0 where the store had everything."""
    models: int
    attends: bool
    """Whether the models have attention."""
    calls: tuple[Call, ...]
    """The cases that were asked about, in natural order."""
    notes: tuple[str, ...]


def calls_of(store: Store, run_id: str, told: Told, cases: Sequence[str]) -> tuple[Call, ...]:
    """The predictions of a mean, with the range of its models."""
    runs = members(store, run_id)
    model_of = {run: str(verified_run(store, run)["source_run_id"]) for run in runs}
    each = chances_of(store, runs)
    mean = chances_of(store, [run_id])[run_id]
    found = []
    for case in sorted(cases, key=natural_key):
        if case not in mean:
            continue
        label = int(mean[case].argmax())
        own = {model_of[run]: chances[case] for run, chances in each.items() if case in chances}
        given = [float(p_C[label]) for p_C in own.values()]
        true = told.label_of[case]
        found.append(
            Call(
                case_id=case,
                pred_class=told.classes[label],
                probability=float(mean[case][label]),
                lowest=min(given),
                highest=max(given),
                agreeing=sum(int(np.argmax(p_C)) == label for p_C in own.values()),
                models=len(given),
                true_class=None if true is None else told.classes[true],
            )
        )
    return tuple(found)
