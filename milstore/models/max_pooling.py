"""Max pooling: the most extreme patch decides, value by value or class by class.

With h_n a patch's projected features (relu of a linear layer) and a linear classifier s(h) = W h + b,

    of embeddings:  logits_c = s_c(z), where z_d = max over n of h_nd
    of instances:   logits_c = max over n of s_c(h_n)

(the two kinds of pooling as in Ilse, Tomczak & Welling, ICML 2018, section 2.2).

There is no attention: of embeddings, every value may come from another patch; of instances, every class. The scores
`class_0`, `class_1`, ... are s(h_n): what the classifier says of the patch alone. Of instances, the highest of them is the
case's logit.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from milstore.models.interface import Bag, CaseOutput, MILModel
from milstore.models.layers import Projector
from milstore.models.settings import check_settings


class MaxPooling(MILModel):
    """The maximum of the patches' vectors, or of their logits: no attention."""

    attends: ClassVar = "none"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        of: Literal["embeddings", "instances"] = "embeddings"
        """The maximum of each of the vectors' values (embeddings), or of each class's logit (instances)."""
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
        # Of several that are highest alike, each gets its part of the gradient, whatever order they stand in.
        logits_C = self.classify(hidden_NH.amax(0)) if self.of == "embeddings" else score_NC.amax(0)
        scores = {f"class_{c}": score_N for c, score_N in enumerate(score_NC.unbind(1))}
        return CaseOutput(logits_C, scores=scores)
