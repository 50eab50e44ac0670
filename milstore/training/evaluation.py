"""Evaluation: what a trained model says of every case, as the tables that a run commits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from milstore.analysis.learning import Learning, judge
from milstore.schema.arrow import arrow_schema
from milstore.training.bags import Bag, BagSource, Float32Rows
from milstore.training.loop import SplitCases, Training
from milstore.training.model import AttentionMIL, effective_attention

Floats = npt.NDArray[np.float64]
SliceKey = tuple[str, str, int]
"""(case_id, stain, slice_idx)"""


@dataclass(frozen=True)
class CaseResult:
    """What the model says of one case, and the weight that it gave to each patch."""

    bag: Bag
    """Without its features: the results of all cases are held at once."""
    probability_C: Floats
    attention: dict[str, Floats]
    """stain_attention, slice_attention, patch_attention and effective_attention of each patch, shape (N,)."""

    @property
    def pred_label(self) -> int:
        """The class of the highest probability; the lowest number where several are highest."""
        return int(self.probability_C.argmax())


def evaluate(model: AttentionMIL, bags: BagSource, case_ids: Iterable[str], device: torch.device) -> list[CaseResult]:
    """Run the model over cases, all patches of each, in the order given; nothing is dropped."""
    model.eval()
    float32 = Float32Rows()
    return [_evaluate_case(model, bag, float32, device) for bag in bags.in_order(case_ids)]


@torch.no_grad()
def _evaluate_case(model: AttentionMIL, stored: Bag, float32: Float32Rows, device: torch.device) -> CaseResult:
    bag = stored.to(device)
    output = model(float32(bag.feature_ND), bag.slice_GN, bag.stain_SG)
    attention = output.attention
    stain_G = stored.stain_SG.cpu().numpy().argmax(0)
    return CaseResult(
        bag=stored.without_features(),
        probability_C=output.logits_C.double().softmax(0).cpu().numpy(),
        attention={
            "stain_attention": attention.log_stain_S.double().exp().cpu().numpy()[stain_G][stored.slice_N],
            "slice_attention": attention.log_slice_G.double().exp().cpu().numpy()[stored.slice_N],
            "patch_attention": attention.log_patch_N.double().exp().cpu().numpy(),
            "effective_attention": effective_attention(attention, bag.slice_GN, bag.stain_SG).cpu().numpy(),
        },
    )


def judge_training(training: Training, results: list[CaseResult]) -> Learning:
    """Whether a training learned anything, from its course and what the weights that it kept say of every case."""
    cases, model = training.cases, training.model
    val = [result for result in results if cases.subset_of[result.bag.case_id] == "val"]
    train = [cases.label_of[case_id] for case_id in cases.of("train")]
    return judge(
        train_losses=[row["train_loss"] for row in training.history],
        mean_class_weight=sum(training.class_weight[label] for label in train) / len(train),
        train_classes=len(set(train)),
        val_probabilities=[result.probability_C.tolist() for result in val],
        val_classes=len({cases.label_of[result.bag.case_id] for result in val}),
        dead_units=dead_units(model, training.bags, cases.of("train"), training.device),
        kept_epoch=training.best_epoch,
    )


@torch.no_grad()
def dead_units(model: AttentionMIL, bags: BagSource, case_ids: Iterable[str], device: torch.device) -> float:
    """Share of the projector's units that are 0 on every patch of some cases, 0 to 1: no gradient revives them."""
    model.eval()
    float32, alive_H = Float32Rows(), None
    for bag in bags.in_order(case_ids):
        feature_ND = float32(bag.feature_ND.to(device))
        of_case_H = (model.project(model.standardise(feature_ND)) > 0).any(0)
        alive_H = of_case_H if alive_H is None else alive_H | of_case_H
        if bool(alive_H.all()):
            break
    return 0.0 if alive_H is None else 1 - float(alive_H.double().mean())


def prediction_tables(results: list[CaseResult], cases: SplitCases) -> tuple[pa.Table, pa.Table]:
    """The tables `predictions` and `probabilities`."""
    predictions: list[dict[str, Any]] = []
    probabilities: list[dict[str, Any]] = []
    for result in results:
        case_id = result.bag.case_id
        true_label = cases.label_of[case_id]
        p_true = float(result.probability_C[true_label])
        predictions.append(
            {
                "case_id": case_id,
                "subset": cases.subset_of[case_id],
                "true_label": true_label,
                "pred_label": result.pred_label,
                "p_true": p_true,
                "error": 1 - p_true,
            }
        )
        probabilities += [
            {"case_id": case_id, "label": label, "probability": float(probability)}
            for label, probability in enumerate(result.probability_C)
        ]
    return (
        pa.Table.from_pylist(predictions, arrow_schema("predictions")),
        pa.Table.from_pylist(probabilities, arrow_schema("probabilities")),
    )


def attention_table(results: list[CaseResult]) -> pa.Table:
    """The table `attention`, still without rank and n_patches: the store puts them in."""
    sizes = [result.bag.n_patches for result in results]
    slices = [key for result in results for key in result.bag.slices]
    first_slice = np.cumsum([0, *(len(result.bag.slices) for result in results[:-1])])
    slice_of_row = np.concatenate(
        [first + result.bag.slice_N for first, result in zip(first_slice, results, strict=True)]
    )
    stains = pa.array([stain for stain, _ in slices], pa.string())
    columns: dict[str, Any] = {
        "case_id": pa.array([result.bag.case_id for result in results], pa.string()).take(
            pa.array(np.repeat(np.arange(len(results)), sizes))
        ),
        "stain": stains.take(pa.array(slice_of_row)),
        "slice_idx": np.array([slice_idx for _, slice_idx in slices], np.int32)[slice_of_row],
        "patch_idx": np.concatenate([result.bag.patch_idx_N for result in results]).astype(np.int32),
    }
    for name in ("stain_attention", "slice_attention", "patch_attention", "effective_attention"):
        columns[name] = np.concatenate([result.attention[name] for result in results]).astype(np.float32)
    return pa.table(columns)


def coverage_table(
    existing: Mapping[SliceKey, int], results: list[CaseResult], subset_of: Mapping[str, str], most_per_slice: int
) -> pa.Table:
    """The table `coverage`: a row a slice of the split's cases, slices without any feature included.

    Args:
        existing: patches that the cohort has of each slice of the split's cases.
        results: what was evaluated.
        subset_of: subset of each case of the split, those that were left out included.
        most_per_slice: the cap on training patches a slice; 0 for none.
    """
    evaluated = {
        (result.bag.case_id, *key): int(count)
        for result in results
        for key, count in zip(result.bag.slices, np.bincount(result.bag.slice_N), strict=True)
    }
    rows = []
    for case_id, stain, slice_idx in sorted(evaluated.keys() | existing.keys()):
        count = evaluated.get((case_id, stain, slice_idx), 0)
        subset = subset_of[case_id]
        trained = min(count, most_per_slice) if most_per_slice else count
        rows.append(
            {
                "case_id": case_id,
                "stain": stain,
                "slice_idx": slice_idx,
                "subset": subset,
                "existing": existing.get((case_id, stain, slice_idx), count),
                "with_feature": count,
                "trained": trained if subset == "train" else 0,
                "evaluated": count,
            }
        )
    return pa.Table.from_pylist(rows, arrow_schema("coverage"))
