"""The text that the study printed of a case's top patches."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from milstore.analysis.ties import Columns, cut_note, of_columns

Row = Mapping[str, Any]


def told(column: Columns) -> list[str]:
    """How many of a case's top patches tie with one left out."""
    tied = of_columns(column, "case_tied_patches", "case_top_patches")
    return cut_note(
        tied,
        "top patches",
        "Names decide which of these are counted; lift shares their places among all that are equal.",
    )


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
        *([f"  # top patches that tie with one left out: {tied}"] if (tied := first["case_tied_patches"]) else []),
        *([f"  Lowest score of a top patch: {first['case_cut_score']:.6g}"] if "case_cut_score" in first else []),
        "  Top-patch counts by stain:",
        *(f"    {stain}: {count}" for stain, count in by_stain.items()),
        "  Top-patch counts by (stain, slice_idx):",
        *(f"    ({row['stain']}, slice {row['slice_idx']}): {row['top_patches']}" for row in touched),
    ]
    return "\n".join(lines)
