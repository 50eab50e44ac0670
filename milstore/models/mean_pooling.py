"""Mean pooling: the mean of the patches' vectors or of their logits.

With h_n a patch's projected features (relu of a linear layer) and a linear classifier s(h) = W h + b,

    of embeddings:  logits = s(mean over n of h_n)
    of instances:   p      = mean over n of softmax(s(h_n)), and the logits are log p

(the two kinds of pooling as in Ilse, Tomczak & Welling, ICML 2018, section 2.2).

There is no attention: no patch was weighed. The scores `class_0`, `class_1`, ... are s(h_n): what the classifier says of
the patch alone. Of embeddings, their mean over the patches is the case's logit (a class activation map).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from milstore.models.interface import Bag, CaseOutput, MILModel
from milstore.models.layers import Projector
from milstore.models.settings import check_settings


class MeanPooling(MILModel):
    """The mean of the patches' vectors, or of their logits: no attention."""

    attends: ClassVar = "none"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        of: Literal["embeddings", "instances"] = "embeddings"
        """The mean of the patches' vectors (embeddings), or of the probabilities that each alone gives (instances)."""
        hidden: int = 512
        """Width of the projected patch features."""
        dropout: float = 0.3
        """Share of the projected features that is dropped in training, from 0 to below 1."""

        def __post_init__(self) -> None:
            check_settings(self, at_least_1=("hidden",), shares=("dropout",))

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.of = config.of
        self.project = Projector(n_features, config.hidden, config.dropout)
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and the classifier's scores of each patch."""
        hidden_NH = self.project(bag.feature_ND)
        score_NC = self.classify(hidden_NH)
        if self.of == "embeddings":
            logits_C = self.classify(hidden_NH.mean(0))
        else:
            logits_C = score_NC.log_softmax(1).logsumexp(0) - math.log(bag.n_patches)
        scores = {f"class_{c}": score_N for c, score_N in enumerate(score_NC.unbind(1))}
        return CaseOutput(logits_C, scores=scores)
