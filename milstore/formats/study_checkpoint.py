"""Reads checkpoints of the study's trainers, in all forms: weights under milstore's names, and history.

It imports torch: only who reads such a file does. Files are read by `torch.load(weights_only=True)`: what holds code is
refused. Their part `stain_attention` is over the slices of a stain, and `case_attention` over the stains of a case.

Axes, named in suffixes:  D features   E hidden   H attention   C classes
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from milstore.errors import DataError
from milstore.formats.pt_load import load
from milstore.store.names import clip, named

LARGEST = 1 << 31
LEVELS = {"patch_attention": "patch_pool", "stain_attention": "slice_pool", "case_attention": "stain_pool"}
"""Their levels, and what pools in the hierarchical model in their place."""
_CONTENT = ("attention_V.0", "attention_V", "V.0", "V", "attention.0")
_GATE = ("attention_U.0", "attention_U", "U.0", "U")
_SCORE = ("attention_w", "attention_weights", "w", "attention.3", "attention.2")
_HISTORY = ("train_losses", "train_ce_losses", "val_losses", "val_accuracies", "learning_rates")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StudyCheckpoint:
    """What a checkpoint holds."""

    path: Path
    epoch: int | None
    """After which it was written, from 1; None where it does not say."""
    history: Mapping[str, Sequence[float]]
    """A number an epoch: train_losses, val_losses, val_accuracies, learning_rates, and train_ce_losses where there are
    such."""
    state: Mapping[str, Tensor]
    """The weights, float32, by their names in `milstore.models.hierarchical`."""
    gated: bool
    n_features: int
    """D."""
    hidden: int
    """E."""
    attention_dim: int
    """H."""
    n_classes: int
    """C."""
    has_backbone: bool
    """Whether an encoder was trained, or ran along, with it: vectors that were made beforehand may be others."""


def read_checkpoint(path: Path) -> StudyCheckpoint:
    """The weights and the history of a checkpoint, or of a state dict alone.

    Raises:
        DataError: it is damaged, holds code, or is of another model.
    """
    held = load(path, LARGEST, "a checkpoint")
    if not isinstance(held, dict):
        raise DataError(f"{path} holds a {type(held).__name__}: it is no checkpoint of the study's trainers")
    state = held.get("model_state_dict", held)
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise DataError(f"{path} holds no weights by name: it is no checkpoint of the study's trainers")
    given = {name.removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    weights = {name: value for name, value in given.items() if not name.startswith("features.")}
    mapped, gated = _mapped(path, weights)
    hidden, n_features = mapped["project.linear.weight"].shape
    epoch = held.get("epoch")
    return StudyCheckpoint(
        path=path,
        epoch=epoch if isinstance(epoch, int) and epoch > 0 else None,
        history={name: _numbers(path, name, held[name]) for name in _HISTORY if name in held},
        state=mapped,
        gated=gated,
        n_features=n_features,
        hidden=hidden,
        attention_dim=mapped["patch_pool.score.weigh.weight"].shape[1],
        n_classes=mapped["classify.1.weight"].shape[0],
        has_backbone=len(weights) < len(given),
    )


def _mapped(path: Path, weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """The weights by our names, and whether attention is gated. DataError unless each of theirs has its place."""
    used: set[str] = set()

    def layer(what: str, names: Sequence[str], *, optional: bool = False) -> tuple[Tensor, Tensor] | None:
        for name in names:
            if f"{name}.weight" in weights:
                used.update((f"{name}.weight", f"{name}.bias"))
                weight = _plain(path, f"{name}.weight", weights, 2)
                # The score's bias is cancelled by the softmax, and some leave it out.
                bias = f"{name}.bias" in weights
                return weight, _plain(path, f"{name}.bias", weights, 1) if bias else weight.new_zeros(len(weight))
        if optional:
            return None
        raise DataError(
            f"{path} is no checkpoint of the study's hierarchical model: it has no {what} ({names[0]}.weight), and has "
            f"{named(weights, 4)}"
        )

    found: dict[str, Tensor] = {}
    project = layer("projection", ["patch_projector.0"])
    classify = layer("classifier", ["classifier.1", "classifier.0", "classifier"])
    assert project is not None
    assert classify is not None
    found["project.linear.weight"], found["project.linear.bias"] = project
    found["classify.1.weight"], found["classify.1.bias"] = classify
    gates = set()
    for theirs, ours in LEVELS.items():
        content = layer(f"{theirs} network", [f"{theirs}.{name}" for name in _CONTENT])
        gate = layer("gate", [f"{theirs}.{name}" for name in _GATE], optional=True)
        score = layer(f"{theirs} score", [f"{theirs}.{name}" for name in _SCORE])
        assert content is not None
        assert score is not None
        gates.add(gate is not None)
        parts = [content] if gate is None else [content, gate]
        found[f"{ours}.score.project.weight"] = torch.cat([weight for weight, _ in parts])
        found[f"{ours}.score.project.bias"] = torch.cat([bias for _, bias in parts])
        found[f"{ours}.score.weigh.weight"] = score[0]
    others = sorted(set(weights) - used)
    if others or len(gates) > 1:
        what = f"{named(others, 4)} have no place in it" if others else "some of its levels are gated and some are not"
        raise DataError(f"{path} is no checkpoint of the study's hierarchical model: {what}")
    _check_shapes(path, found, gated=gates == {True})
    return found, gates == {True}


def _plain(path: Path, name: str, weights: Mapping[str, Tensor], dimensions: int) -> Tensor:
    tensor = weights[name].detach()
    # A few bytes can claim to be a huge tensor, by strides of 0.
    whole = tensor.layout == torch.strided and tensor.numel() * tensor.element_size() <= path.stat().st_size
    if not whole or tensor.dim() != dimensions or not tensor.is_floating_point() or not tensor.isfinite().all():
        raise DataError(
            f"{path} holds in {clip(name)} no {dimensions}-dimensional array of finite numbers: create it again"
        )
    return tensor.to(torch.float32).contiguous()


def _check_shapes(path: Path, found: Mapping[str, Tensor], *, gated: bool) -> None:
    """Raises DataError if the layers do not fit each other."""
    hidden = len(found["project.linear.weight"])
    width = found["patch_pool.score.weigh.weight"].shape[1]
    wanted: dict[str, tuple[int, ...]] = {
        "project.linear.bias": (hidden,),
        "classify.1.bias": (len(found["classify.1.weight"]),),
    }
    wanted |= {"classify.1.weight": (len(found["classify.1.weight"]), hidden)}
    rows = width * (2 if gated else 1)
    for ours in LEVELS.values():
        wanted[f"{ours}.score.project.weight"] = (rows, hidden)
        wanted[f"{ours}.score.project.bias"] = (rows,)
        wanted[f"{ours}.score.weigh.weight"] = (1, width)
    wrong = next((name for name, shape in wanted.items() if tuple(found[name].shape) != shape), None)
    if wrong is not None:
        raise DataError(
            f"{path} has weights that do not fit each other: {wrong} has shape {tuple(found[wrong].shape)}, not {wanted[wrong]}"
        )


def _numbers(path: Path, name: str, values: Any) -> list[float]:
    if not isinstance(values, list) or not all(isinstance(value, int | float) for value in values):
        raise DataError(f"{path} has in {name} no list of numbers, one an epoch")
    return [float(value) for value in values]
