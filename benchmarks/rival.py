"""The rival of the timings: the same model as it is commonly written, a module a level and a loop over the slices.

It has the same layers, widths, loss, optimiser and one step a case. It is fed either by a DataLoader of two workers from
one .pt file a patch (`PatchFiles`), or from slices that lie in memory as float32, so that nothing is left to convert.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from milstore.training.bags import Bag
from milstore.training.config import TrainingConfig

Slices = list[tuple[str, Tensor]]
"""Stain and features (N, D) of each slice of a case."""
SliceFiles = list[tuple[str, str, list[str]]]
"""Case, stain and the files of the patches of each slice."""


class GatedPool(nn.Module):
    """Gated attention over the rows of a matrix (Ilse et al. 2018, equation 9): their weighted mean and the weights."""

    def __init__(self, hidden: int, attention_dim: int) -> None:
        super().__init__()
        self.content = nn.Sequential(nn.Linear(hidden, attention_dim), nn.Tanh())
        self.gate = nn.Sequential(nn.Linear(hidden, attention_dim), nn.Sigmoid())
        self.weigh = nn.Linear(attention_dim, 1, bias=False)

    def forward(self, value_MH: Tensor) -> tuple[Tensor, Tensor]:
        weight_M = self.weigh(self.content(value_MH) * self.gate(value_MH)).squeeze(1).softmax(0)
        return weight_M @ value_MH, weight_M


class SliceBySlice(nn.Module):
    """Projector and three attention pools, a slice after the other."""

    def __init__(self, n_features: int, n_classes: int, config: TrainingConfig) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.Linear(n_features, config.hidden), nn.ReLU(), nn.Dropout(config.dropout))
        self.patches = GatedPool(config.hidden, config.attention_dim)
        self.slices = GatedPool(config.hidden, config.attention_dim)
        self.stains = GatedPool(config.hidden, config.attention_dim)
        self.classify = nn.Linear(config.hidden, n_classes)

    def forward(self, slices: Slices) -> Tensor:
        """Logits (C,) of a case."""
        of_stain: dict[str, list[Tensor]] = {}
        for stain, feature_ND in slices:
            pooled_H, _ = self.patches(self.project(feature_ND))
            of_stain.setdefault(stain, []).append(pooled_H)
        stain_SH = torch.stack([self.slices(torch.stack(pooled))[0] for pooled in of_stain.values()])
        logits_C: Tensor = self.classify(self.stains(stain_SH)[0])
        return logits_C


class Rival:
    """The model in training."""

    def __init__(self, n_features: int, config: TrainingConfig, label_of: Mapping[str, int]) -> None:
        torch.manual_seed(0)
        self.model = SliceBySlice(n_features, 2, config)
        self.label_of = label_of
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay)

    def epoch(self, cases: Iterable[tuple[str, Slices]]) -> float:
        """One step a case; the sum of the losses."""
        self.model.train()
        total = 0.0
        for case_id, slices in cases:
            logits_C = self.model(slices)
            loss = nn.functional.cross_entropy(logits_C[None], torch.tensor([self.label_of[case_id]]))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total


class PatchFiles(Dataset[tuple[str, str, Tensor]]):
    """One .pt file a patch; an item is a slice."""

    def __init__(self, slices: SliceFiles) -> None:
        self.slices = slices

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> tuple[str, str, Tensor]:
        case_id, stain, files = self.slices[index]
        return case_id, stain, torch.stack([torch.load(file, weights_only=True) for file in files])


def from_files(slices: SliceFiles) -> Iterator[tuple[str, Slices]]:
    """Case by case, read by two workers, which start again each epoch as they do by default."""
    loader = DataLoader(PatchFiles(slices), batch_size=None, shuffle=False, num_workers=2)
    held, current = [], slices[0][0]
    for case_id, stain, feature_ND in loader:
        if case_id != current:
            yield current, held
            held, current = [], case_id
        held.append((stain, feature_ND.float()))
    yield current, held


def in_slices(bag: Bag) -> Slices:
    """A case's slices in memory, as float32."""
    return [
        (stain, bag.feature_ND[torch.from_numpy(bag.slice_N == g)].float()) for g, (stain, _) in enumerate(bag.slices)
    ]


def write_patch_files(bags: Iterable[Bag], folder: Path) -> SliceFiles:
    """Each patch as a file, in a folder a slice; what is there already is taken as it is. The files of each slice."""
    slices = []
    for bag in bags:
        for g, (stain, slice_idx) in enumerate(bag.slices):
            place = folder / f"{bag.case_id}_{stain}_{slice_idx}"
            rows = (bag.slice_N == g).nonzero()[0]
            files = [place / f"{bag.patch_idx_N[row]}.pt" for row in rows]
            if not files[-1].exists():
                place.mkdir(parents=True, exist_ok=True)
                for row, file in zip(rows, files, strict=True):
                    torch.save(bag.feature_ND[row].clone(), file)
            slices.append((bag.case_id, stain, [str(file) for file in files]))
    return slices
