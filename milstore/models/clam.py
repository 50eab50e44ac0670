"""CLAM: attention pools, and a classifier of single patches that learns from the patches most and least attended.

Lu, Williamson, Chen, Chen, Barbieri & Mahmood, "Data-efficient and weakly supervised computational pathology on
whole-slide images", Nature Biomedical Engineering 2021 (arXiv:2004.09666). With h_n a patch's projected features (relu
of a linear layer) and a gated attention network that all branches share up to its last layer,

    a_mn    = exp(w_m . (tanh(V h_n) * sigmoid(U h_n))) / sum of the same over all patches
    z_m     = sum over n of a_mn h_n

CLAM-SB has one branch and logits W z + b. CLAM-MB has a branch a class, and the logit of class m is w'_m . z_m + b_m.

Instances: each class m has a layer of two outputs u_m(h) = (not evidence of m, evidence of m). Of the branch of the
case's own class, the B patches with the highest attention are told to be evidence of the class, the B with the lowest
not to be; where classes exclude each other, the B highest of each other class's branch are told not to be evidence of
that class (in CLAM-SB all classes share the one branch). These pseudo-labels y are learnt by the smooth SVM loss
(Berrada, Zisserman & Kumar, ICLR 2018, with margin 1 and temperature 1), which for two outputs is

    l(u, y) = log(1 + exp(1 + u_other - u_y))

and the loss is (1 - c) x cross-entropy of the case + c x the mean over the classes taught of the mean l of their patches.
Which patches are chosen has no gradient. In a bag of fewer than 2 B patches, its upper half and its lower half are taken,
so that no patch is told both.

Attention means: of CLAM-SB, how much of the case's vector comes from each patch. Of CLAM-MB, the same of the branch of
the class that was predicted: what the model looked at for the call that it made.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from milstore.models.interface import Bag, CaseOutput, MILModel, PatchAttention, cross_entropy
from milstore.models.layers import AttentionScore, Projector
from milstore.models.settings import check_settings, require


class ClamSB(MILModel):
    """CLAM with one attention branch, and patches that learn from attention (Lu et al. 2021)."""

    attends: ClassVar = "patches"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        hidden: int = 512
        """Width of the projected patch features."""
        attention_dim: int = 256
        """Width of the attention network."""
        gated: bool = True
        """Gate the attention network, or not."""
        dropout: float = 0.25
        """Share that is dropped of the projected features and inside the attention network, from 0 to below 1."""
        k_sample: int = 8
        """Patches of the highest, and of the lowest attention that teach the classifier of single patches (B)."""
        instance_weight: float = 0.3
        """Share of the patches' loss in the whole (c), from 0 to 1; the case's has the rest."""
        instance_loss: Literal["svm", "cross-entropy"] = "svm"
        """Loss of a patch: the smooth SVM loss, or cross-entropy."""
        exclusive: bool = True
        """Whether classes exclude each other: then the patches most attended are told not to be of the other classes."""

        def __post_init__(self) -> None:
            check_settings(self, at_least_1=("hidden", "attention_dim", "k_sample"), shares=("dropout",))
            require("instance_weight", self.instance_weight, 0 <= self.instance_weight <= 1, "from 0 to 1")

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.config, self.n_classes = config, n_classes
        self.project = Projector(n_features, config.hidden, config.dropout)
        self.score = AttentionScore(
            config.hidden,
            config.attention_dim,
            gated=config.gated,
            dropout=config.dropout,
            heads=self._n_branches(n_classes),
        )
        self.classify = nn.Linear(config.hidden, n_classes)
        self.instances = nn.ModuleList([nn.Linear(config.hidden, 2) for _ in range(n_classes)])

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and attention over the patches."""
        hidden_NH = self.project(bag.feature_ND)
        # B branches: one, or one a class.
        log_weight_BN = self.score(hidden_NH).t().log_softmax(1)
        logits_C = self._logits(log_weight_BN.exp() @ hidden_NH)
        attention = PatchAttention(self._attended(log_weight_BN, logits_C))
        return CaseOutput(logits_C, attention, aux={"hidden_NH": hidden_NH, "log_weight_BN": log_weight_BN})

    def loss(self, output: CaseOutput, label: int, class_weight: Tensor) -> Tensor:
        """The case's loss and its patches', weighed against each other."""
        share = self.config.instance_weight
        case = (1 - share) * cross_entropy(output.logits_C, label, class_weight)
        return case + share * self.instance_loss(output, label) if share else case

    def instance_loss(self, output: CaseOutput, label: int) -> Tensor:
        """The instance loss, a scalar: the mean over the trained classes of the mean loss of their patches."""
        hidden_NH, log_weight_BN = output.aux["hidden_NH"], output.aux["log_weight_BN"].detach()
        taught = [
            self._loss_of(self.instances[c](hidden_NH[rows]), evidence)
            for c, rows, evidence in self._pseudo_labels(log_weight_BN, label)
        ]
        return torch.stack(taught).mean()

    def _pseudo_labels(self, log_weight_BN: Tensor, label: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """For each trained class: the class, its patches, and their pseudo-label: 1 for evidence of the class."""
        n_patches = log_weight_BN.shape[1]
        n_top = min(self.config.k_sample, -(-n_patches // 2))
        n_bottom = min(self.config.k_sample, n_patches // 2)
        for c in range(self.n_classes):
            if c != label and not self.config.exclusive:
                continue
            branch = c if len(log_weight_BN) > 1 else 0
            order_N = log_weight_BN[branch].argsort(descending=True, stable=True)
            rows = order_N[:n_top]
            evidence = torch.full_like(rows, int(c == label))
            if c == label:
                rows = torch.cat([rows, order_N[n_patches - n_bottom :]])
                evidence = torch.cat([evidence, evidence.new_zeros(n_bottom)])
            yield c, rows, evidence

    def _loss_of(self, output_M2: Tensor, evidence_M: Tensor) -> Tensor:
        if self.config.instance_loss == "cross-entropy":
            return nn.functional.cross_entropy(output_M2, evidence_M)
        more_M = output_M2[:, 1] - output_M2[:, 0]
        return nn.functional.softplus(1 - torch.where(evidence_M == 1, more_M, -more_M)).mean()

    @staticmethod
    def _n_branches(n_classes: int) -> int:  # noqa: ARG004 - the other CLAM asks
        return 1

    def _logits(self, case_BH: Tensor) -> Tensor:
        logits_C: Tensor = self.classify(case_BH[0])
        return logits_C

    def _attended(self, log_weight_BN: Tensor, logits_C: Tensor) -> Tensor:
        """The branch that attention is taken of."""
        return log_weight_BN[0]


class ClamMB(ClamSB):
    """CLAM with an attention branch a class; attention is that of the class predicted (Lu et al. 2021)."""

    attends: ClassVar = "patches"

    @staticmethod
    def _n_branches(n_classes: int) -> int:
        return n_classes

    def _logits(self, case_BH: Tensor) -> Tensor:
        # Class m's own weights times its own branch.
        return (self.classify.weight * case_BH).sum(1) + self.classify.bias

    def _attended(self, log_weight_BN: Tensor, logits_C: Tensor) -> Tensor:
        # Picked by a product of masks, as an index would wait for a GPU.
        return log_weight_BN.index_select(0, logits_C.detach().argmax()[None])[0]
