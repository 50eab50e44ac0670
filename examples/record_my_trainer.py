"""A trainer of one's own that writes its run to a milstore store: a plain torch loop, and the lines of `record`.

    python examples/record_my_trainer.py STORE [SPLIT]

The store has labels, splits and features of one encoder, such as the one that `milstore demo` makes.
"""

import sys

import torch
from torch import Tensor, nn

import milstore
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.split_numbers import choose_split_set, subsets_of
from milstore.store.write_run import told_by_store


class MyModel(nn.Module):
    """Attention over all patches of a case (Ilse et al. 2018, equation 8)."""

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(n_features, 16), nn.Tanh(), nn.Linear(16, 1))
        self.classify = nn.Linear(n_features, n_classes)

    def forward(self, feature_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (C,) and raw attention (N,)."""
        score_N = self.score(feature_ND).squeeze(1)
        return self.classify(score_N.softmax(0) @ feature_ND), score_N


def main(root: str, split: int = 1, epochs: int = 5) -> str:
    """Train on a split, record the run, and return its id."""
    store = milstore.open(root)
    cohort = read_cohort(store.store)
    packed = open_features(store.store, cohort)
    split_set, _ = choose_split_set(cohort, None)
    told, subset_of = told_by_store(cohort, split_set, split), subsets_of(cohort, split_set, split)
    bags = {
        case_id: torch.from_numpy(packed.read(case_id)).float() for case_id in subset_of if case_id in packed.case_rows
    }

    torch.manual_seed(0)
    model = MyModel(packed.n_features, len(told.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_of(case_id: str) -> Tensor:
        return nn.functional.cross_entropy(model(bags[case_id])[0], torch.tensor(told.label_of[case_id]))

    config = {"lr": 1e-3, "epochs": epochs}
    with store.record(experiment="my-trainer", split=split, config=config, encoder=packed.encoder) as run:
        for epoch in range(1, epochs + 1):
            losses = []
            for case_id in (case_id for case_id in bags if subset_of[case_id] == "train"):
                optimizer.zero_grad()
                loss = loss_of(case_id)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            with torch.no_grad():
                val = [loss_of(case_id).item() for case_id in bags if subset_of[case_id] == "val"]
            val_loss = sum(val) / len(val) if val else None
            run.epoch(epoch, train_loss=sum(losses) / len(losses), val_loss=val_loss, kept=epoch == epochs)
        for case_id, feature_ND in bags.items():
            logits_C, score_N = model(feature_ND)
            first, end = packed.case_rows[case_id]
            run.prediction(case_id, logits_C, logits=True)
            # The table of a pack says which patch each row is: nothing goes by a position.
            run.attention(case_id, packed.patches.slice(first, end - first), score_N, logits=True)
        run.weights(model.state_dict())
    return run.run_id


if __name__ == "__main__":
    run_id = main(sys.argv[1], *map(int, sys.argv[2:3]))
    print(f"next: milstore query top-patches --run {run_id} --store {sys.argv[1]}")  # noqa: T201
