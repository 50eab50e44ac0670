"""Evaluation: a trained model's predictions and attention for every case, as the tables of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from milstore.analysis.learning import Learning, judge
from milstore.models.attention import levels
from milstore.models.layers import Projector
from milstore.schema.arrow import arrow_schema
from milstore.store import predicted
from milstore.training.bags import Bag, BagSource, Float32Rows, Ints
from milstore.training.loop import Training
from milstore.training.objective import Standardised, check_numbers
from milstore.training.split_cases import SplitCases

Floats = npt.NDArray[np.float64]
SliceKey = tuple[str, str, int]
"""(case_id, stain, slice_idx)"""


@dataclass(frozen=True)
class CaseResult:
    """The model's prediction of one case, and its attention to each patch."""

    bag: Bag
    """Without its features: the results of all cases are held at once."""
    probability_C: Floats
    attention: dict[str, Floats] | None
    """stain_attention, slice_attention, patch_attention and effective_attention of each patch, shape (N,); None of a
    model without attention."""
    scores: dict[str, Floats]
    """Signed numbers of each patch that are not attention, by name, shape (N,)."""

    @property
    def pred_label(self) -> int:
        """The class of the highest probability; the lowest number where several are highest."""
        return int(self.probability_C.argmax())


def evaluate(model: Standardised, bags: BagSource, case_ids: Iterable[str], device: torch.device) -> list[CaseResult]:
    """Run the model over cases, all patches of each, in the order given, in float32; nothing is dropped.

    Raises:
        DataError: a model gives attention that is no number, or none at all to a case.
    """
    model.eval()
    float32 = Float32Rows()
    return [_evaluate_case(model, bag, float32, device) for bag in bags.in_order(case_ids)]


@torch.no_grad()
def _evaluate_case(model: Standardised, stored: Bag, float32: Float32Rows, device: torch.device) -> CaseResult:
    bag = stored.to(device)
    seen = bag.seen(float32(bag.feature_ND))
    output = model(seen)
    check_numbers(output, model.inner, seen, stored.case_id)
    attention = None
    if output.attention is not None:
        found = levels(output.attention, seen)
        stain_G = seen.stain_G.cpu().numpy()
        attention = {
            "stain_attention": found.stain_S[stain_G][stored.slice_N],
            "slice_attention": found.slice_G[stored.slice_N],
            "patch_attention": found.patch_N,
            "effective_attention": found.effective_N,
        }
    return CaseResult(
        bag=stored.without_features(),
        probability_C=output.logits_C.double().softmax(0).cpu().numpy(),
        attention=attention,
        scores={name: score_N.double().cpu().numpy() for name, score_N in output.scores.items()},
    )


def judge_training(training: Training, results: list[CaseResult]) -> Learning:
    """Whether a training learned anything, judged by its epochs and by the evaluation of the weights that were kept."""
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
def dead_units(model: Standardised, bags: BagSource, case_ids: Iterable[str], device: torch.device) -> float | None:
    """Share of the projector's units that are 0 on every patch of some cases, 0 to 1: no gradient revives them.

    None of a model that has no layer `milstore.models.layers.Projector`, where it is not known which units could die.
    """
    projectors = [layer for layer in model.modules() if isinstance(layer, Projector)]
    if not projectors:
        return None
    model.eval()
    alive: dict[nn.Module, Tensor] = {}

    def look(layer: nn.Module, _: object, value_NH: Tensor) -> None:
        of_case_H = (value_NH > 0).any(0)
        alive[layer] = of_case_H | alive[layer] if layer in alive else of_case_H

    hooks = [layer.register_forward_hook(look) for layer in projectors]
    try:
        float32 = Float32Rows()
        for stored in bags.in_order(case_ids):
            bag = stored.to(device)
            model(bag.seen(float32(bag.feature_ND)))
            if all(bool(alive_H.all()) for alive_H in alive.values()):
                break
    finally:
        for hook in hooks:
            hook.remove()
    return 1 - float(torch.cat(list(alive.values())).double().mean()) if alive else 0.0


def prediction_tables(results: list[CaseResult], cases: SplitCases) -> tuple[pa.Table, pa.Table]:
    """The tables `predictions` and `probabilities`."""
    case_ids = [result.bag.case_id for result in results]
    return predicted.prediction_tables(
        case_ids,
        [cases.subset_of[case_id] for case_id in case_ids],
        [cases.label_of[case_id] for case_id in case_ids],
        np.array([result.probability_C for result in results]),
    )


def attention_table(results: list[CaseResult]) -> pa.Table:
    """The table `attention`, still without rank and n_patches: the store puts them in.

    Without rows where there is none.
    """
    attended = [(result.bag, result.attention) for result in results if result.attention is not None]
    columns = _places([bag for bag, _ in attended])
    for name in ("stain_attention", "slice_attention", "patch_attention", "effective_attention"):
        parts = [attention[name].astype(np.float32) for _, attention in attended]
        columns[name] = np.concatenate(parts) if parts else np.empty(0, np.float32)
    return pa.table(columns)


def score_table(results: list[CaseResult]) -> pa.Table:
    """The table `scores`, what patches got that is not attention: case_id, stain, slice_idx, patch_idx, name and value
    (of any sign).

    A row a patch and score, case by case; without rows where the model has none.
    """
    scored = [(result.bag, name, value_N) for result in results for name, value_N in result.scores.items()]
    columns = _places([bag for bag, _, _ in scored])
    names = pa.array([name for _, name, _ in scored], pa.string())
    columns["name"] = names.take(pa.array(np.repeat(np.arange(len(scored)), [bag.n_patches for bag, _, _ in scored])))
    parts = [value_N.astype(np.float32) for _, _, value_N in scored]
    columns["value"] = np.concatenate(parts) if parts else np.empty(0, np.float32)
    return pa.table(columns)


def _places(bags: list[Bag]) -> dict[str, Any]:
    """case_id, stain, slice_idx and patch_idx of every patch of some bags, one after another."""
    slices = [key for bag in bags for key in bag.slices]
    first_slice = np.cumsum([0, *(len(bag.slices) for bag in bags)])
    slice_of_row = _joined([first + bag.slice_N for first, bag in zip(first_slice, bags, strict=False)])
    case_of_row = _joined([np.full(bag.n_patches, i) for i, bag in enumerate(bags)])
    return {
        "case_id": pa.array([bag.case_id for bag in bags], pa.string()).take(pa.array(case_of_row)),
        "stain": pa.array([stain for stain, _ in slices], pa.string()).take(pa.array(slice_of_row)),
        "slice_idx": np.array([slice_idx for _, slice_idx in slices], np.int32)[slice_of_row],
        "patch_idx": _joined([bag.patch_idx_N for bag in bags]).astype(np.int32),
    }


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


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
                # A patch with a feature may lie on another grid than most.
                "existing": max(existing.get((case_id, stain, slice_idx), 0), count),
                "with_feature": count,
                "trained": trained if subset == "train" else 0,
                "evaluated": count,
            }
        )
    return pa.Table.from_pylist(rows, arrow_schema("coverage"))
