"""ACMIL: several attention branches that must look at different patches, with the most attended ones hidden at times.

Zhang, Li, Sun, Zheng, Zhu & Yang, "Attention-Challenging Multiple Instance Learning for Whole Slide Image
Classification", ECCV 2024 (arXiv:2311.07125). With h_n a patch's projected features (relu of a linear layer) and a gated
attention network that M branches share up to its last layer,

    a_mn    = exp(w_m . (tanh(V h_n) * sigmoid(U h_n))) / sum of the same over all patches
    z_m     = sum over n of a_mn h_n               logits of branch m  = W_m z_m + b_m
    a_n     = mean over m of a_mn
    z       = sum over n of a_n h_n                logits of the case  = W z + b

In training, stochastic top-K instance masking hides patches: of the K patches with the highest score of each branch, each
is taken out of its softmax by chance, so that the others get what it had. One patch at least is always left.

    loss = cross-entropy of the case + mean over m of the branches' cross-entropies + diversity
    diversity = 2 / (M (M - 1)) x sum over pairs of branches of the cosine between their attention, with nothing hidden

Attention means: how much of the case's vector comes from each patch, the mean over the branches, with nothing hidden.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from milstore.models.interface import Bag, CaseOutput, MILModel, PatchAttention, cross_entropy
from milstore.models.layers import AttentionScore, Projector
from milstore.models.settings import check_settings, require

# Axes besides those of all models:  B branches


class ACMIL(MILModel):
    """Several attention branches that must differ, with top patches hidden at times (Zhang et al. 2024)."""

    attends: ClassVar = "patches"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        branches: int = 5
        """Attention branches (M)."""
        hidden: int = 512
        """Width of the projected patch features."""
        attention_dim: int = 128
        """Width of the attention network."""
        gated: bool = True
        """Gate the attention network, or not."""
        dropout: float = 0.3
        """Share of the projected features that is dropped in training, from 0 to below 1."""
        masked_top: int = 10
        """Patches of the highest score that may be hidden in each branch (K); 0 for none."""
        mask_share: float = 0.6
        """Chance of each of them to be hidden in training, from 0 to 1."""
        branch_weight: float = 1.0
        """Weight of the branches' own cross-entropies in the loss, 0 or more."""
        diversity_weight: float = 1.0
        """Weight of the likeness of the branches' attention in the loss, 0 or more."""

        def __post_init__(self) -> None:
            check_settings(self, at_least_1=("branches", "hidden", "attention_dim"), shares=("dropout",))
            require("mask_share", self.mask_share, 0 <= self.mask_share <= 1, "from 0 to 1")
            for name in ("masked_top", "branch_weight", "diversity_weight"):
                require(name, getattr(self, name), getattr(self, name) >= 0, "of 0 or more")

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.config = config
        self.project = Projector(n_features, config.hidden, config.dropout)
        self.score = AttentionScore(config.hidden, config.attention_dim, gated=config.gated, heads=config.branches)
        self.classify_branch = nn.ModuleList([nn.Linear(config.hidden, n_classes) for _ in range(config.branches)])
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and attention over the patches."""
        hidden_NH = self.project(bag.feature_ND)
        score_BN = self.score(hidden_NH).t()
        log_weight_BN = score_BN.log_softmax(1)
        seen_BN = self._hide(score_BN).softmax(1) if self.training else log_weight_BN.exp()
        branch_BH = seen_BN @ hidden_NH
        # The classifier of the mean attention's vector, which is the mean of the branches' vectors.
        logits_C = self.classify(branch_BH.mean(0))
        logits_BC = torch.stack(
            [classify(case_H) for classify, case_H in zip(self.classify_branch, branch_BH.unbind(), strict=True)]
        )
        attention = PatchAttention(log_weight_BN.logsumexp(0) - math.log(len(log_weight_BN)))
        return CaseOutput(logits_C, attention, aux={"logits_BC": logits_BC, "weight_BN": log_weight_BN.exp()})

    def loss(self, output: CaseOutput, label: int, class_weight: Tensor) -> Tensor:
        """The case's cross-entropy, the branches' own, and how alike their attention is."""
        logits_BC = output.aux["logits_BC"]
        of_branches = torch.stack([cross_entropy(logits_C, label, class_weight) for logits_C in logits_BC]).mean()
        return (
            cross_entropy(output.logits_C, label, class_weight)
            + self.config.branch_weight * of_branches
            + self.config.diversity_weight * likeness(output.aux["weight_BN"])
        )

    def _hide(self, score_BN: Tensor) -> Tensor:
        """The scores, -inf where a patch is hidden from a branch."""
        n_top = min(self.config.masked_top, score_BN.shape[1] - 1)
        if not n_top:
            return score_BN
        top_BK = score_BN.detach().argsort(dim=1, descending=True, stable=True)[:, :n_top]
        hidden_BK = torch.rand(top_BK.shape, device=score_BN.device) < self.config.mask_share
        hidden_BN = torch.zeros_like(score_BN, dtype=torch.bool).scatter(1, top_BK, hidden_BK)
        return score_BN.masked_fill(hidden_BN, -torch.inf)


def likeness(weight_BN: Tensor) -> Tensor:
    """Mean cosine between the attention of two branches, 0 to 1; 0 of a single one."""
    n_branches = len(weight_BN)
    if n_branches == 1:
        return weight_BN.new_zeros(())
    unit_BN = nn.functional.normalize(weight_BN, dim=1, eps=torch.finfo(weight_BN.dtype).tiny)
    cosine_BB = unit_BN @ unit_BN.t()
    return (cosine_BB.sum() - cosine_BB.diagonal().sum()) / (n_branches * (n_branches - 1))
