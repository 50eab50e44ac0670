"""Named presets, and how the settings of earlier versions are interpreted."""

from collections.abc import Mapping
from typing import Any

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "study": {
        "model": "hierarchical",
        "pooling": "hierarchical",
        "hidden": 512,
        "attention_dim": 128,
        "gated": False,
        "dropout": 0.3,
        "attention_dropout": 0.3,
        "classifier_dropout": 0.3,
        "standardise": "none",
        "clip": 0.0,
        "epochs": 30,
        "min_epochs": 10,
        "patience": 8,
        "min_delta": 1e-3,
        "keep": "best",
        "evaluate_epoch": 0,
        "optimiser": "adam",
        "lr": 3e-4,
        "weight_decay": 2e-4,
        "plateau_factor": 0.3,
        "plateau_patience": 3,
        "min_lr": 1e-6,
        "cases_per_step": 1,
        "precision": "float32",
        "allow_nondeterministic": False,
        "class_weights": "2.5,1",
        "max_patches_per_slice": 800,
        "max_slices_per_stain": 0,
        "stain_entropy": 0.0,
        "slice_entropy": 0.0,
        "patch_entropy": 0.0,
    },
}
"""Named settings, each of every field, so that one stays what it is when a default changes.

`study`: the settings of the
multi-stain study of melanocytic lesions that the default model comes from; its class weights are of two classes, the
benign one first."""

WHEN_ABSENT: Mapping[str, Any] = {
    "attention_dropout": 0.0,
    "classifier_dropout": 0.0,
    "standardise": "none",
    "clip": 0.0,
    "min_delta": 0.0,
    "keep": "best",
    "optimiser": "adamw",
    "min_lr": 0.0,
    "model": "hierarchical",
    "settings": {},
    "model_sha256": {},
    "cases_per_step": 1,
    "precision": "float32",
    "allow_nondeterministic": False,
    "evaluate_epoch": 0,
    "max_slices_per_stain": 0,
}
"""What a stored configuration did that lacks a field: what every training did before there was the field. A new field
gets its line here; what a later default is does not matter."""

HASHED_IF_USED = ("evaluate_epoch", "max_slices_per_stain")
"""Fields that came after the rule by which configurations are hashed: what does not use them keeps its hash."""

SINCE_0_2 = ("cases_per_step", "precision", "allow_nondeterministic", *HASHED_IF_USED)
"""Fields that a stored configuration leaves out where they do what was done before there were they."""
