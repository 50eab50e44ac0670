"""ABMIL: one attention pool over all patches of the case.

Ilse, Tomczak & Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018 (arXiv:1802.04712). With h_n a
patch's projected features (relu of a linear layer),

    a_n    = exp(w . (tanh(V h_n) * sigmoid(U h_n))) / sum of the same over all patches      (equation 9; gated)
    a_n    = exp(w . tanh(V h_n)) / sum of the same over all patches                         (equation 8; not gated)
    z      = sum of a_n h_n                                                                  (equation 7)
    logits = W z + b

Attention means: how much of the case's vector comes from each patch. Slices and stains play no part in it; their
attention is the sum of their patches'.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from milstore.models.interface import Bag, CaseOutput, MILModel, PatchAttention
from milstore.models.layers import AttentionPool, Dropout, Projector
from milstore.models.settings import check_settings


class ABMIL(MILModel):
    """Attention over all patches of the case, whatever slice they lie in (Ilse et al. 2018)."""

    attends: ClassVar = "patches"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        hidden: int = 512
        """Width of the projected patch features."""
        attention_dim: int = 128
        """Width of the attention network."""
        gated: bool = True
        """Gate the attention network (equation 9), or not (equation 8)."""
        dropout: float = 0.3
        """Share of the projected features that is dropped in training, from 0 to below 1."""
        attention_dropout: float = 0.0
        """Share that is dropped inside the attention network, before its last layer."""
        classifier_dropout: float = 0.0
        """Share of the case's vector that is dropped before the classifier."""

        def __post_init__(self) -> None:
            shares = ("dropout", "attention_dropout", "classifier_dropout")
            check_settings(self, at_least_1=("hidden", "attention_dim"), shares=shares)

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.project = Projector(n_features, config.hidden, config.dropout)
        self.pool = AttentionPool(
            config.hidden, config.attention_dim, gated=config.gated, dropout=config.attention_dropout
        )
        self.classify = nn.Sequential(Dropout(config.classifier_dropout), nn.Linear(config.hidden, n_classes))

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and attention over the patches."""
        pooled = self.pool(self.project(bag.feature_ND), bag.case_1N)
        return CaseOutput(self.classify(pooled.mean_KH).squeeze(0), PatchAttention(pooled.log_weight_M))
