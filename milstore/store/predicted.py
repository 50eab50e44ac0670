"""What a run said of each case, as the tables `predictions` and `probabilities`.

Legend: N cases, C classes.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from milstore.schema.arrow import arrow_schema


def prediction_tables(
    case_ids: Sequence[str],
    subsets: Sequence[str],
    labels: Sequence[int | None],
    probability_NC: npt.NDArray[np.float64],
) -> tuple[pa.Table, pa.Table]:
    """The tables `predictions` and `probabilities`.

    Args:
        case_ids: the cases.
        subsets: where each is in the run's split.
        labels: the label of each that the run was told, None for a case without one: p_true and error are null then.
        probability_NC: the probability of each class, from 0 to 1, in the order of the labels.
    """
    p_true = [None if label is None else float(p_C[label]) for label, p_C in zip(labels, probability_NC, strict=True)]
    n_cases, n_classes = len(case_ids), probability_NC.shape[-1] if len(case_ids) else 0
    predictions = pa.table(
        {
            "case_id": list(case_ids),
            "subset": list(subsets),
            "true_label": pa.array(labels, pa.int32()),
            # The lowest number where several are highest.
            "pred_label": pa.array(probability_NC.argmax(axis=1) if n_cases else [], pa.int32()),
            "p_true": pa.array(p_true, pa.float64()),
            "error": pa.array([None if p is None else 1 - p for p in p_true], pa.float64()),
        },
        arrow_schema("predictions"),
    )
    probabilities = pa.table(
        {
            "case_id": pa.array(np.repeat(np.array(case_ids, object), n_classes), pa.string()),
            "label": pa.array(np.tile(np.arange(n_classes), n_cases), pa.int32()),
            "probability": probability_NC.ravel(),
        },
        arrow_schema("probabilities"),
    )
    return predictions, probabilities
