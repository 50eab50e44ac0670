"""A results folder, recorded after the fact: predictions.csv, attention.csv and log.csv become a run.

    python examples/record_results_folder.py STORE FOLDER EXPERIMENT SPLIT

predictions.csv has case_id and a column for each class by its name; attention.csv has case_id, file and weight, one
distribution over each case's patches; log.csv has epoch, train_loss and val_loss.
"""

import sys
from pathlib import Path

import pandas as pd

import milstore


def main(root: str, folder: Path, experiment: str, split: int) -> str:
    """Record the folder, and return the run's id."""
    # As text: 046 is a case, not a number.
    predictions, attention = (
        pd.read_csv(folder / f"{name}.csv", dtype={"case_id": str}) for name in ("predictions", "attention")
    )
    with milstore.open(root).record(experiment=experiment, split=split, config={"folder": folder.name}) as run:
        for row in pd.read_csv(folder / "log.csv").to_dict("records"):
            run.epoch(row["epoch"], train_loss=row["train_loss"], val_loss=row["val_loss"])
        for row in predictions.to_dict("records"):
            run.prediction(row.pop("case_id"), row)
        for case_id, rows in attention.groupby("case_id"):
            run.attention(case_id, rows["file"], rows["weight"])
    return run.run_id


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))  # noqa: T201
