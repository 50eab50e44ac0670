"""A model of torchmil's (Apache-2.0, `pip install torchmil`), wrapped: patches look at each other, then are pooled.

    milstore models ./examples/torchmil_model.py:TransformerABMIL

torchmil's models give one logit for two classes. Here the last layer is replaced, so that there is one a class. Where
that cannot be done, read two classes from the one logit: `torch.stack([torch.zeros_like(logit), logit])`.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torchmil.models import TransformerABMIL as Theirs

from milstore.models import Bag, CaseOutput, MILModel, PatchAttention


class TransformerABMIL(MILModel):
    """torchmil's TransformerABMIL: a transformer over the patches, then attention pooling."""

    attends: ClassVar = "patches"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """What is passed on."""

        hidden: int = 128
        """Width of the projected patch features and of the transformer; a multiple of heads."""
        layers: int = 1
        """Layers of the transformer."""
        heads: int = 4
        """Heads of each layer."""
        attention_dim: int = 64
        """Width of the attention network that pools."""
        dropout: float = 0.0
        """Share that is dropped in the transformer, from 0 to below 1."""

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.theirs = Theirs(
            in_shape=(n_features,),
            pool_att_dim=config.attention_dim,
            feat_ext=nn.Sequential(nn.Linear(n_features, config.hidden), nn.ReLU()),
            transf_att_dim=config.hidden,
            transf_n_layers=config.layers,
            transf_n_heads=config.heads,
            transf_dropout=config.dropout,
        )
        self.theirs.last_layer = nn.Linear(config.hidden, n_classes)

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and attention over the patches: they put a batch of one before everything, and give raw scores."""
        logits_1C, score_1N = self.theirs(bag.feature_ND[None], return_att=True)
        return CaseOutput(logits_1C[0], PatchAttention(score_1N[0].log_softmax(0)))
