"""How `version-1-trained` was made: by milstore 0.1.0, and by nothing later. `milstore.duckdb` was left out.

Two experiments: `whole` with both splits, `half` with one split and another that was killed in its second epoch.
"""

import csv
import platform
from pathlib import Path

import numpy as np

platform.node = lambda: "node1"
from milstore import __version__  # noqa: E402
from milstore.ingest.features import ingest_features  # noqa: E402
from milstore.ingest.labels import ingest_labels  # noqa: E402
from milstore.ingest.splits import ingest_splits  # noqa: E402
from milstore.store import create_store  # noqa: E402
from milstore.training import train, train_all  # noqa: E402
from milstore.training.config import TrainingConfig  # noqa: E402
from milstore.training.progress import Watcher  # noqa: E402


class Stops(Watcher):
    """Ends the training, as a kill would, in the second epoch."""

    ended = 0

    def epoch(self, row, *, best):
        self.ended += 1

    def case(self):
        if self.ended:
            raise KeyboardInterrupt


if __name__ == "__main__":
    assert __version__ == "0.1.0"
    here = Path(__file__).parent
    rng = np.random.default_rng(7)
    vectors = here / "in" / "vectors"
    vectors.mkdir(parents=True, exist_ok=True)
    labels = {str(case): case % 2 for case in range(1, 9)}
    for case, label in labels.items():
        for stain, slices in (("h&e", ("match_1", "match_14", "match_3")), ("melan", ("match_1",))):
            for name in slices if case != "8" else slices[:1]:
                for patch in range(1, 4):
                    vector = rng.normal(label, 1, 4).astype(np.float16)
                    np.save(vectors / f"case_{case}_{name}_{stain}_patch{patch * 3}.npy", vector)
    with (here / "in" / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("Case", "Class"), *((case, ("benign", "high-grade")[label]) for case, label in labels.items())]
        )
    with (here / "in" / "splits.csv").open("w", newline="") as file:
        rows = [("split", "case_id", "subset")]
        for split in (1, 2):
            test = ("1", "2", "3", "4") if split == 1 else ("5", "6", "7", "8")
            rest = [case for case in labels if case not in test]
            rows += [(split, case, "test") for case in test] + [(split, case, "val") for case in rest[:2]]
            rows += [(split, case, "train") for case in rest[2:]]
        csv.writer(file).writerows(rows)
    store = create_store(here / "store")
    ingest_labels(store, here / "in" / "labels.csv", case_column="Case", label_column="Class")
    ingest_features(store, vectors, encoder="tiny", create_patches=True)
    ingest_splits(store, [here / "in" / "splits.csv"], split_set="two")
    config = TrainingConfig(hidden=6, attention_dim=3, epochs=2, min_epochs=1)
    train_all(store, config, experiment="whole", threads=1)
    train(
        store,
        TrainingConfig(hidden=6, attention_dim=3, epochs=2, min_epochs=1, pooling="flat", lr=0.01),
        1,
        experiment="half",
        threads=1,
        seed=3,
    )

    try:
        train(
            store,
            TrainingConfig(hidden=6, attention_dim=3, epochs=2, min_epochs=1, pooling="flat", lr=0.01),
            2,
            experiment="half",
            threads=1,
            seed=3,
            watcher=Stops(),
        )
    except BaseException as error:
        assert isinstance(error, KeyboardInterrupt), error
