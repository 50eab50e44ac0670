"""TransMIL: patches look at each other, and a token that looks at all of them is classified.

Shao, Bian, Chen, Wang, Zhang, Ji & Zhang, "TransMIL: Transformer based Correlated Multiple Instance Learning for Whole
Slide Image Classification", NeurIPS 2021 (arXiv:2106.00908). With h_n a patch's projected features (relu of a linear
layer), in canonical order:

1. Squaring: the first patches are appended again until there are E x E of them, E = ceil(sqrt(N)). A learnt class token
   is put before them: X.
2. X + attention(norm(X)).
3. PPEG: the E x E patches are laid out as an image, and three depthwise convolutions of it (7, 5 and 3 wide) are added to
   it; the class token stays as it is.
4. X + attention(norm(X)) again, with other weights.
5. Logits: a linear layer of the class token, normalised.

Attention is Nystrom's approximation of softmax(Q K' / sqrt(length)) V for each head (Xiong et al., "Nystromformer", AAAI
2021, arXiv:2102.03902). With Q~ and K~ the means of m runs of neighbouring rows (landmarks),

    softmax(Q K~') x pinv(softmax(Q~ K~')) x softmax(Q~ K') x V, plus a depthwise convolution of V along the rows

where the pseudo-inverse of a matrix A is iterated from Z = A' / (largest row sum x largest column sum) by
Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4. The runs differ by one row at most, so that no rows of zeros are put
before the patches. With no more rows than landmarks, attention is computed exactly.

There is no attention over patches that could be told: rows of the approximation may be negative, and patches have looked
at each other before. The score `class_token` is the last layer's row of the class token, its mean over the heads (a patch
that was appended again has the sum of both): what the class token takes from each patch, of either sign.

The order of the patches matters, as the convolutions go by it.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from milstore.models.interface import Bag, CaseOutput, MILModel
from milstore.models.layers import Dropout, Linear, Projector
from milstore.models.settings import check_settings, require

# Axes besides those of all models:  L rows (the class token and E x E patches)   B heads   R landmarks   F numbers a head


class TransMIL(MILModel):
    """A transformer over the patches; scores of its class token, no attention (Shao et al. 2021)."""

    attends: ClassVar = "none"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """The model's settings."""

        hidden: int = 512
        """Width of the projected patch features and of the transformer; a multiple of heads."""
        heads: int = 8
        """Heads of each attention layer."""
        landmarks: int = 256
        """Means of neighbouring rows that stand for all rows."""
        pinv_iterations: int = 6
        """Iterations towards the pseudo-inverse."""
        residual_kernel: int = 33
        """Rows that the convolution of the values spans, an odd number; 0 for none."""
        dropout: float = 0.1
        """Share of what each attention layer gives that is dropped, from 0 to below 1."""

        def __post_init__(self) -> None:
            check_settings(self, at_least_1=("hidden", "heads", "landmarks", "pinv_iterations"), shares=("dropout",))
            kernel = self.residual_kernel
            require("residual_kernel", kernel, kernel == 0 or (kernel > 0 and kernel % 2 == 1), "that is odd, or 0")
            require("hidden", self.hidden, self.hidden % self.heads == 0, f"that {self.heads} heads divide")

    def __init__(self, config: Config, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.project = Projector(n_features, config.hidden, dropout=0.0)
        self.class_token_1H = nn.Parameter(torch.randn(1, config.hidden) * 0.02)
        self.first = _Layer(config)
        self.place = _PPEG(config.hidden)
        self.second = _Layer(config)
        self.norm = nn.LayerNorm(config.hidden)
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, bag: Bag) -> CaseOutput:
        """Logits, and the class token's attention to each patch, as scores."""
        hidden_NH = self.project(bag.feature_ND)
        edge = math.isqrt(bag.n_patches - 1) + 1
        n_again = edge * edge - bag.n_patches
        value_LH = torch.cat([self.class_token_1H, hidden_NH, hidden_NH[:n_again]])
        value_LH = self.place(self.first(value_LH).value_LH, edge)
        last = self.second(value_LH)
        logits_C = self.classify(self.norm(last.value_LH[0]))
        first_N, again = last.first_row_L[1:].split([bag.n_patches, n_again])
        score_N = first_N + nn.functional.pad(again, (0, bag.n_patches - n_again))
        return CaseOutput(logits_C, scores={"class_token": score_N})


class _Layered(NamedTuple):
    """What an attention layer gives."""

    value_LH: Tensor
    first_row_L: Tensor
    """What the first row takes from each row, its mean over the heads."""


class _Layer(nn.Module):
    """X + attention(norm(X))."""

    def __init__(self, config: TransMIL.Config) -> None:
        super().__init__()
        self.heads, self.landmarks, self.iterations = config.heads, config.landmarks, config.pinv_iterations
        self.norm = nn.LayerNorm(config.hidden)
        self.query_key_value = Linear(config.hidden, 3 * config.hidden, bias=False)
        self.residual = (
            nn.Conv2d(
                config.heads,
                config.heads,
                (config.residual_kernel, 1),
                padding=(config.residual_kernel // 2, 0),
                groups=config.heads,
                bias=False,
            )
            if config.residual_kernel
            else None
        )
        self.out = nn.Sequential(Linear(config.hidden, config.hidden), Dropout(config.dropout))

    def forward(self, value_LH: Tensor) -> _Layered:
        n_rows = len(value_LH)
        three = self.query_key_value(self.norm(value_LH)).view(n_rows, 3, self.heads, -1)
        query_BLF, key_BLF, value_BLF = three.permute(1, 2, 0, 3)
        query_BLF = query_BLF * query_BLF.shape[-1] ** -0.5
        if n_rows <= self.landmarks:
            weight_BLL = (query_BLF @ key_BLF.mT).softmax(-1)
            taken_BLF, first_BL = weight_BLL @ value_BLF, weight_BLL[:, 0]
        else:
            run_RL = _runs(value_LH, self.landmarks)
            query_BRF, key_BRF = run_RL @ query_BLF, run_RL @ key_BLF
            to_landmarks_BLR = (query_BLF @ key_BRF.mT).softmax(-1) @ pseudo_inverse(
                (query_BRF @ key_BRF.mT).softmax(-1), self.iterations
            )
            of_landmarks_BRL = (query_BRF @ key_BLF.mT).softmax(-1)
            taken_BLF = to_landmarks_BLR @ (of_landmarks_BRL @ value_BLF)
            first_BL = (to_landmarks_BLR[:, :1] @ of_landmarks_BRL)[:, 0]
        if self.residual is not None:
            taken_BLF = taken_BLF + self.residual(value_BLF[None])[0]
        out_LH = self.out(taken_BLF.transpose(0, 1).flatten(1))
        return _Layered(value_LH + out_LH, first_BL.mean(0))


class _PPEG(nn.Module):
    """Adds three depthwise convolutions of the patches, laid out as an image, to them."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(hidden, hidden, width, padding=width // 2, groups=hidden) for width in (7, 5, 3)]
        )

    def forward(self, value_LH: Tensor, edge: int) -> Tensor:
        class_token_1H, patch_H = value_LH[:1], value_LH[1:]
        image_HEE = patch_H.t().reshape(1, -1, edge, edge)
        image_HEE = image_HEE + sum(convolution(image_HEE) for convolution in self.convolutions)
        return torch.cat([class_token_1H, image_HEE.flatten(2)[0].t()])


def pseudo_inverse(matrix_BRR: Tensor, iterations: int) -> Tensor:
    """The Moore-Penrose pseudo-inverse of each matrix of positive numbers, iterated (Xiong et al. 2021, equation 14)."""
    largest_B11 = matrix_BRR.sum(-1).amax(-1) * matrix_BRR.sum(-2).amax(-1)
    inverse_BRR = matrix_BRR.mT / largest_B11[..., None, None]
    eye_RR = torch.eye(matrix_BRR.shape[-1], dtype=matrix_BRR.dtype, device=matrix_BRR.device)
    for _ in range(iterations):
        product_BRR = matrix_BRR @ inverse_BRR
        inner_BRR = 15 * eye_RR - product_BRR @ (7 * eye_RR - product_BRR)
        inverse_BRR = inverse_BRR @ (13 * eye_RR - product_BRR @ inner_BRR) / 4
    return inverse_BRR


def _runs(value_LH: Tensor, landmarks: int) -> Tensor:
    """The matrix (R, L) that takes the mean of each of R runs of neighbouring rows, as equal in length as can be."""
    row_L = torch.arange(len(value_LH), device=value_LH.device)
    member_RL = row_L * landmarks // len(value_LH) == row_L[:landmarks, None]
    return member_RL.to(value_LH.dtype) / member_RL.sum(1, keepdim=True)
