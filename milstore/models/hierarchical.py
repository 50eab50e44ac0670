"""The default model: attention pools patches into slices, slices into stains and stains into the case.

With h a patch's projected features (relu of a linear layer), one pool a level (Ilse, Tomczak & Welling,
"Attention-based Deep Multiple Instance Learning", ICML 2018, arXiv:1802.04712, equations 8 and 9) does

    score_m  = w . (tanh(V h_m) * sigmoid(U h_m))          without the gate  w . tanh(V h_m)
    a_m      = exp(score_m) / sum of exp(score) over the members of m's group
    h_group  = sum of a_m h_m over the group

first with patches in their slice, then with slices in their stain, then with stains in the case; a linear layer makes
the logits of the case's h. Each level has its own w, V and U.

The attention of the three levels means: how much of a slice's vector comes from each patch, of a stain's from each
slice, of the case's from each stain. Their product is how much of the case's vector comes from each patch.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from milstore.models.interface import Bag, CaseOutput, LevelAttention, MILModel
from milstore.models.layers import AttentionPool, Dropout, Projector, pool, segment_logsumexp
from milstore.models.settings import check_settings


class Hierarchical(MILModel):
    """Attention at three levels: patches into slices, slices into stains, stains into the case."""

    attends: ClassVar = "levels"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        pooling: Literal["hierarchical", "size-corrected", "flat"] = "hierarchical"
        """How attention is made: hierarchical (a softmax a level), size-corrected (a level's score plus the log of the
        patches beneath it) or flat (one softmax over the case)."""
        hidden: int = 512
        """Width of the projected patch features."""
        attention_dim: int = 128
        """Width of the attention networks."""
        gated: bool = True
        """Gate the attention networks (Ilse et al. 2018, equation 9), or not (equation 8)."""
        dropout: float = 0.3
        """Share of the projected features that is dropped in training, from 0 to below 1."""
        attention_dropout: float = 0.0
        """Share that is dropped inside each attention network, before its last layer."""
        classifier_dropout: float = 0.0
        """Share of the case's vector that is dropped before the classifier."""

        def __post_init__(self) -> None:
            check_settings(self, at_least_1=("hidden", "attention_dim"), shares=_SHARES)

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.project = Projector(n_features, config.hidden, config.dropout)
        self.patch_pool = _pool(config)
        if config.pooling != "flat":
            self.slice_pool = _pool(config)
            self.stain_pool = _pool(config)
        self.classify = nn.Sequential(Dropout(config.classifier_dropout), nn.Linear(config.hidden, n_classes))

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and attention at three levels.

        With flat pooling the two upper levels have no weights of their own: the score of a slice is the log-sum-exp of
        its patches' scores, that of a stain the log-sum-exp of its slices', and the product of the three softmaxes is
        one softmax over the case, of which slice and stain attention are the marginals.
        """
        patches = self.patch_pool(self.project(bag.feature_ND), bag.slice_GN)
        if self.pooling == "flat":
            slices = pool(segment_logsumexp(patches.score_M, bag.slice_GN), patches.mean_KH, bag.stain_SG)
            stains = pool(segment_logsumexp(slices.score_M, bag.stain_SG), slices.mean_KH, bag.case_1S)
        else:
            log_size_G = log_size_S = None
            if self.pooling == "size-corrected":
                # Equal scores then give every patch of the case the same effective attention, not every slice.
                size_G = bag.slice_GN.sum(1)
                log_size_G, log_size_S = size_G.log(), (bag.stain_SG * size_G).sum(1).log()
            slices = self.slice_pool(patches.mean_KH, bag.stain_SG, log_size_G)
            stains = self.stain_pool(slices.mean_KH, bag.case_1S, log_size_S)
        attention = LevelAttention(stains.log_weight_M, slices.log_weight_M, patches.log_weight_M)
        return CaseOutput(self.classify(stains.mean_KH).squeeze(0), attention)


_SHARES = ("dropout", "attention_dropout", "classifier_dropout")


def _pool(config: Hierarchical.Config) -> AttentionPool:
    return AttentionPool(config.hidden, config.attention_dim, gated=config.gated, dropout=config.attention_dropout)
