"""A run of the study's trainers with its weights: the whole attention, and predictions of the cases of all subsets.

Predictions of the cases that the run predicted stay its own. Those of other cases are the weights', where these give
what the run predicted; else they may be of another epoch, or their vectors of another encoder, and are left out.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError
from milstore.formats.study_checkpoint import read_checkpoint
from milstore.ingest.study_attention import Looked, Said, StudyRunAt, check_classes
from milstore.ingest.study_compare import compare_with_tables
from milstore.ingest.study_epochs import evaluated_epoch
from milstore.ingest.study_weights import evaluate_weights, model_facts, seen_rows, weights_writer
from milstore.store.configuration import sorted_json
from milstore.store.features import open_features
from milstore.store.names import counted, named, natural_key
from milstore.store.predicted import prediction_tables
from milstore.store.write_run import Told

if TYPE_CHECKING:
    from milstore.formats.study_checkpoint import StudyCheckpoint

Floats = npt.NDArray[np.float64]
SAME = 1e-4
"""Difference of a probability up to which weights give what the run predicted: rounding gives 1e-6."""


def weigh(
    run: StudyRunAt,
    predictions: pa.Table,
    probabilities: pa.Table,
    told: Told,
    subset_of: Mapping[str, str],
    label_in_store: Sequence[int],
) -> Said:
    """The run with the attention of the weights that the user gives.

    Args:
        run: the run's folder and the store.
        predictions: its own, as a table of the store.
        probabilities: its own, likewise.
        told: labels and classes.
        subset_of: subset of each case of its split.
        label_in_store: the store's label of each class of the trainer's.

    Raises:
        ConflictError: the store has no features.
        DataError: the file is damaged, holds code, is of another model or for other features; or no case that the run
            predicted has features.
    """
    path = run.options.weights
    assert path is not None
    checkpoint = read_checkpoint(path)
    check_classes(path, checkpoint, len(told.classes))
    features = run.features or open_features(run.store, run.cohort, run.options.encoder)
    cases = sorted(({*subset_of} | {*run.cases}) & features.case_rows.keys(), key=natural_key)
    if not set(cases) & set(run.cases):
        raise DataError(f"encoder {features.encoder} has no features of the cases of {run.folder.predictions}")
    seen, is_capped = run.seen(run.ground(cases, features))
    evaluated = evaluate_weights(checkpoint, features, seen_rows(features, seen))
    own = _own_chances(predictions, probabilities)
    given = {case: _in_store(chances, label_in_store) for case, chances in evaluated.chances_of.items()}
    off = {case: float(np.abs(given[case] - own[case]).max()) for case in own if case in given}
    worst = max(off, key=lambda case: off[case])
    agrees = off[worst] <= SAME
    others = [case for case in given if case not in own and told.label_of.get(case) is not None] if agrees else []
    why = [
        f"attention: of every patch{' that the caps of the run left' if is_capped else ''} with features of "
        f"{features.encoder}, by {path.name}" + (f" (epoch {checkpoint.epoch})" if checkpoint.epoch else ""),
        _agreement(off, worst, others) if agrees else _disagreement(run, checkpoint, off, worst, seen),
        *compare_with_tables(run, evaluated),
    ]
    lacking = sorted(set(own) - set(given), key=natural_key)
    why += [f"without attention, for want of features: {named(lacking)}"] if lacking else []
    kept = pa.array([*own, *others], pa.string())
    table = evaluated.attention.filter(pc.is_in(evaluated.attention["case_id"].cast(pa.string()), kept))
    tables = _with_others(predictions, probabilities, given, others, told, subset_of)
    return Said(
        predictions=tables[0],
        probabilities=tables[1],
        looked=Looked(
            table=table,
            why=tuple(why),
            read={"weights": path.name, "patches": "weights", "slices": "weights"},
            encoder=features.encoder,
        ),
        facts=model_facts(checkpoint),
        weights=weights_writer(checkpoint, list(label_in_store), _kept_with_weights(run, checkpoint, told)),
    )


def _own_chances(predictions: pa.Table, probabilities: pa.Table) -> dict[str, Floats]:
    found: dict[str, list[float]] = {case: [] for case in predictions["case_id"].to_pylist()}
    for case, chance in zip(
        probabilities["case_id"].to_pylist(), probabilities["probability"].to_pylist(), strict=True
    ):
        found[case].append(chance)
    return {case: np.array(chances) for case, chances in found.items()}


def _in_store(chances: Floats, label_in_store: Sequence[int]) -> Floats:
    found = np.empty_like(chances)
    found[list(label_in_store)] = chances
    return found


def _agreement(off: Mapping[str, float], worst: str, others: Sequence[str]) -> str:
    more = f"; those of {counted(len(others), 'case')} of other subsets are the weights'" if others else ""
    return f"predictions: the run's own, which the weights give to {off[worst]:.0e}{more}"


def _disagreement(
    run: StudyRunAt, checkpoint: "StudyCheckpoint", off: Mapping[str, float], worst: str, seen: pa.Table
) -> str:
    """That the weights do not give what the run predicted, by how much, and why that may be."""
    reasons = []
    epoch = evaluated_epoch(run.folder)
    if checkpoint.epoch is not None and epoch is not None and checkpoint.epoch != epoch:
        reasons.append(f"these weights are of epoch {checkpoint.epoch}, and its predictions of epoch {epoch}")
    if other := run.other_counts(seen):
        reasons.append(f"the run saw {other}")
    if checkpoint.has_backbone:
        reasons.append("its encoder changed while it trained, and vectors of another epoch are others")
    words = f" ({'; '.join(reasons)})" if reasons else ""
    return (
        f"weights and predictions disagree, by up to {off[worst]:.3g} in a probability (case {worst}){words}: predictions are "
        "the run's own, attention is the weights', and cases that the run did not predict are left out"
    )


def _with_others(
    predictions: pa.Table,
    probabilities: pa.Table,
    given: Mapping[str, Floats],
    others: Sequence[str],
    told: Told,
    subset_of: Mapping[str, str],
) -> tuple[pa.Table, pa.Table]:
    """The run's own predictions, and those of the weights of other cases."""
    if not others:
        return predictions, probabilities
    further = prediction_tables(
        others, [subset_of[case] for case in others], [told.label_of[case] for case in others],
        np.stack([given[case] for case in others]),
    )  # fmt: skip
    both = ((predictions, further[0]), (probabilities, further[1]))
    first, second = (pa.concat_tables([one, other.cast(one.schema)]) for one, other in both)
    return first, second


def _kept_with_weights(run: StudyRunAt, checkpoint: "StudyCheckpoint", told: Told) -> dict[str, Any]:
    """What is written beside weights, as a training writes it."""
    facts = model_facts(checkpoint)
    return {
        "class_names": list(told.classes),
        "stains": list(run.store.settings.stains),
        "model": facts["model"],
        "model_code": facts["model_code"],
        "attention": "levels",
        "n_features": checkpoint.n_features,
        "config": sorted_json({"trainer": "study", "epoch": checkpoint.epoch}),
    }
