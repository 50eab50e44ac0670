"""DSMIL: the critical patch that a classifier scores highest, and the similarity of every other patch to it.

Li, Li & Eliceiri, "Dual-stream Multiple Instance Learning Network for Whole Slide Image Classification with
Self-supervised Contrastive Learning", CVPR 2021 (arXiv:2011.08939). With h_n a patch's projected features (relu of a
linear layer), the first stream classifies every patch, and the critical patch of class c is the one of its highest logit:

    s_nc = (W0 h_n + b0)_c                  m_c = argmax over n of s_nc

The second stream turns each patch into a query q_n and a value v_n, and compares all patches with the critical one:

    a_cn = exp(q_n . q_(m_c) / sqrt(length of q)) / sum of the same over all patches
    z_c  = sum over n of a_cn v_n

(the paper's equation has no root; it is what the authors' and others' programs divide by). The bag classifier sees the z
of all classes, and the logits are the mean of both streams:

    logits_c = (s_(m_c)c + (W z + b)_c) / 2

The loss is the weighed mean of the two streams' cross-entropies.

Attention means: how like each patch is to the critical patch of the class that was predicted. It is not how much of the
logits comes from the patch: half of them come from the critical patch alone, and other classes' z are seen too. The
scores `class_0`, `class_1`, ... are s_n: what the first stream says of the patch alone.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from milstore.models.interface import Bag, CaseOutput, MILModel, PatchAttention, cross_entropy
from milstore.models.layers import Dropout, Linear, Projector
from milstore.models.settings import check_settings, require


class DSMIL(MILModel):
    """The critical patch of each class, and the similarity of all others to it (Li et al. 2021)."""

    attends: ClassVar = "patches"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        hidden: int = 512
        """Width of the projected patch features."""
        query_dim: int = 128
        """Width of the queries."""
        nonlinear_query: bool = True
        """Make queries by two layers (relu between, tanh after), or by a linear one."""
        nonlinear_value: bool = False
        """Make values by a linear layer and relu, or take the projected features themselves."""
        dropout: float = 0.3
        """Share that is dropped of the projected features, and before a nonlinear value's layer, from 0 to below 1."""
        max_weight: float = 0.5
        """Share of the critical patches' cross-entropy in the loss, from 0 to 1; the bag classifier's has the rest."""

        def __post_init__(self) -> None:
            check_settings(self, at_least_1=("hidden", "query_dim"), shares=("dropout",))
            require("max_weight", self.max_weight, 0 <= self.max_weight <= 1, "from 0 to 1")

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        hidden, query_dim = config.hidden, config.query_dim
        self.max_weight = config.max_weight
        self.project = Projector(n_features, hidden, config.dropout)
        self.classify_patch = nn.Linear(hidden, n_classes)
        self.query: nn.Module = Linear(hidden, query_dim)
        if config.nonlinear_query:
            self.query = nn.Sequential(self.query, nn.ReLU(), Linear(query_dim, query_dim), nn.Tanh())
        self.value: nn.Module = nn.Identity()
        if config.nonlinear_value:
            self.value = nn.Sequential(Dropout(config.dropout), Linear(hidden, hidden), nn.ReLU())
        self.classify_bag = nn.Linear(n_classes * hidden, n_classes)

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, attention over the patches, and the first stream's score of each."""
        hidden_NH = self.project(bag.feature_ND)
        score_NC = self.classify_patch(hidden_NH)
        # A row is picked by a product, whose derivative sums in the same order each time.
        row_N = torch.arange(bag.n_patches, device=score_NC.device)
        is_critical_CN = (row_N == score_NC.detach().argmax(0)[:, None]).to(score_NC.dtype)
        max_C = (is_critical_CN * score_NC.t()).sum(1)

        query_NQ = self.query(hidden_NH)
        likeness_CN = (is_critical_CN @ query_NQ) @ query_NQ.t() / query_NQ.shape[1] ** 0.5
        log_weight_CN = likeness_CN.log_softmax(1)
        bag_C = self.classify_bag((log_weight_CN.exp() @ self.value(hidden_NH)).flatten())

        logits_C = (max_C + bag_C) / 2
        attended_N = log_weight_CN.index_select(0, logits_C.detach().argmax()[None])[0]
        scores = {f"class_{c}": score_N for c, score_N in enumerate(score_NC.unbind(1))}
        return CaseOutput(logits_C, PatchAttention(attended_N), scores, {"max_C": max_C, "bag_C": bag_C})

    def loss(self, output: CaseOutput, label: int, class_weight: Tensor) -> Tensor:
        """The two streams' cross-entropies, weighed against each other."""
        of_max, of_bag = (cross_entropy(output.aux[name], label, class_weight) for name in ("max_C", "bag_C"))
        return torch.lerp(of_bag, of_max, self.max_weight)
