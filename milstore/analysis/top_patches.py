"""The text that the study printed of a case's top patches."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

Row = Mapping[str, Any]


def report(rows: Iterable[Row]) -> str:
    """The rows of the query `top-patches` as a text, a paragraph a case."""
    cases = groupby(rows, key=lambda row: (row["run_id"], row["case_id"]))
    return "\n\n".join(_case(list(of_case)) for _, of_case in cases) + "\n"


def _case(rows: list[Row]) -> str:
    first = rows[0]
    touched = [row for row in rows if row["top_patches"]]
    by_stain = {row["stain"]: row["stain_top_patches"] for row in touched}
    lines = [
        f"Case {first['case_id']}:",
        f"  True label: {first['true_label']}",
        f"  Pred label: {first['pred_label']}",
        f"  # total patches: {first['case_patches']}",
        f"  # top patches (per-case): {first['case_top_patches']}",
        f"  # total slices: {len(rows)}",
        f"  slice ratio: {len(touched) / len(rows):.4f}",
        "  Top-patch counts by stain:",
        *(f"    {stain}: {count}" for stain, count in by_stain.items()),
        "  Top-patch counts by (stain, slice_idx):",
        *(f"    ({row['stain']}, slice {row['slice_idx']}): {row['top_patches']}" for row in touched),
    ]
    return "\n".join(lines)
