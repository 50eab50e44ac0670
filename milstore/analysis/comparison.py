"""What two runs have in common."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from statistics import median
from typing import Any

import pyarrow as pa

from milstore.errors import UsageError

MEASURES = ("spearman", "jaccard", "cosine", "js_divergence", "kl_divergence")


def comparable(table: pa.Table, a: str | None, b: str | None, **_asked: Any) -> pa.Table:
    """The rows of `compare-runs` as they are. UsageError if there is no pair of runs, or none over the same patches."""
    if table.num_rows == 0 and a is None:
        raise UsageError("there are no two runs here that predicted the same case: name two by --a and --b")
    if table.num_rows == 0:
        raise UsageError(f"runs {a} and {b} predicted no case in common")
    if not any(table["same_patches"].to_pylist()):
        whose = "the runs here" if a is None else f"runs {a} and {b}"
        raise UsageError(
            f"{whose} have no case over the same patches: attention can be compared over the same patches only"
        )
    return table


def report(rows: Iterable[Mapping[str, Any]]) -> str:
    """A paragraph for each pair of runs: the medians over its cases."""
    pairs = groupby(rows, key=lambda row: (row["run_a"], row["run_b"]))
    return "\n".join(_pair(run_a, run_b, list(of_pair)) for (run_a, run_b), of_pair in pairs)


def _pair(run_a: str, run_b: str, rows: list[Mapping[str, Any]]) -> str:
    same = [row for row in rows if row["same_patches"]]
    lines = [
        f"{run_a} and {run_b}: {len(same)} of {len(rows)} shared cases are over the same patches; medians over these"
    ]
    for name in MEASURES:
        values = [row[name] for row in same if row[name] is not None]
        lines.append(f"  {name}: {median(values):.3f}" if values else f"  {name}: undefined")
    lines.append(f"  |p_true_difference|: {median(abs(row['p_true_difference']) for row in rows):.3f}")
    return "\n".join(lines) + "\n"
