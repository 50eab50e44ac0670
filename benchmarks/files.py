"""The rival of asking: one file a run, as it is commonly kept, and the same answer from many of them by pandas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from milstore.store import Store

COLUMNS = ("case_id", "stain", "effective_attention")
TYPES = {"case_id": np.int64, "stain": "category", "effective_attention": np.float32}


def write_files(store: Store, runs: Sequence[str], folder: Path, kind: str) -> dict[str, Path]:
    """The attention of some runs as `.npz` or `.csv` files, without the ranks; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {run: folder / f"{run}.{kind}" for run in runs}
    for run, path in files.items():
        if path.exists():
            continue
        table = pq.read_table(store.run_folder(run) / "attention.parquet", partitioning=None)
        table = table.drop_columns(["rank", "n_patches"])
        table = table.set_column(0, "case_id", pc.cast(table["case_id"], "int64"))
        if kind == "csv":
            pyarrow.csv.write_csv(table, path)
        else:
            arrays = {name: table[name].to_numpy() for name in table.column_names}
            np.savez(path, **{**arrays, "stain": arrays["stain"].astype(str)})
    return files


@dataclass(frozen=True)
class Rival:
    """Counts the top 5% of each case's patches by run and stain."""

    files: dict[str, Path]
    """The file of each run."""
    case: str | None
    """The one case that counts; None for all."""

    @property
    def runs(self) -> set[str]:
        return set(self.files)

    def answer(self) -> "pd.Series[int]":
        """The counts."""
        return pd.concat({run: self._of_run(path) for run, path in self.files.items()})

    def _of_run(self, path: Path) -> "pd.Series[int]":
        frame = self._read_npz(path) if path.suffix == ".npz" else self._read_csv(path)
        weights = frame.groupby("case_id")["effective_attention"]
        most = (weights.transform("size") * 5 // 100).clip(lower=1)
        top = frame[weights.rank(method="first", ascending=False) <= most]
        return top["stain"].value_counts()

    def _read_csv(self, path: Path) -> pd.DataFrame:
        frame = pd.read_csv(path, usecols=list(COLUMNS), dtype=TYPES)
        return frame if self.case is None else frame[frame["case_id"] == int(self.case)]

    def _read_npz(self, path: Path) -> pd.DataFrame:
        with np.load(path) as arrays:
            found = {name: arrays[name] for name in COLUMNS}
        if self.case is not None:
            of_case = found["case_id"] == int(self.case)
            found = {name: values[of_case] for name, values in found.items()}
        return pd.DataFrame(found)


def answer_of_rival(rival: Rival) -> dict[tuple[str, str], int]:
    """Its answer by run and stain, without what it counts zero times."""
    return {(str(run), str(stain)): int(n) for (run, stain), n in rival.answer().items() if n}
