"""A model of one's own: attention that a case's best patches share, and nobody else gets.

    milstore models ./examples/add_a_model.py:TopPatches

The file may lie anywhere, and may import modules from its own folder. docs/models.md says what each part means.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from milstore.errors import UsageError
from milstore.models import Bag, CaseOutput, MILModel, PatchAttention


class TopPatches(MILModel):
    """Attention over the best patches of the case alone."""

    # One distribution over the case's patches: milstore makes stain, slice and patch attention of it.
    attends: ClassVar = "patches"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Every field has a default, and a line of help under it: `milstore models` shows them."""

        hidden: int = 128
        """Width of the projected patch features."""
        top: int = 20
        """Patches that share the attention."""

        def __post_init__(self) -> None:
            if self.hidden < 1 or self.top < 1:
                raise UsageError(f"hidden {self.hidden} and top {self.top}: give at least 1 for both")

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.top = config.top
        self.project = nn.Linear(n_features, config.hidden)
        self.score = nn.Linear(config.hidden, 1)
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and attention over the patches. N patches, H hidden, C classes."""
        hidden_NH = self.project(bag.feature_ND).relu()
        score_N = self.score(hidden_NH).squeeze(1)
        # Below the best, attention is 0: the logarithm is -inf. A slice without any spreads its own evenly.
        lowest = score_N.detach().topk(min(self.top, bag.n_patches)).values[-1]
        log_weight_N = torch.where(score_N >= lowest, score_N, -torch.inf).log_softmax(0)
        logits_C = self.classify(log_weight_N.exp() @ hidden_NH)
        return CaseOutput(logits_C, PatchAttention(log_weight_N))
