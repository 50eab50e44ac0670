"""Notes on stains and slices that share the highest weight."""

from collections.abc import Collection

from milstore.analysis.ties import Columns
from milstore.store.names import named, natural_key


def told(column: Columns) -> list[str]:
    """Of `stain-attention`: in which cases no stain leads."""
    rows: list[tuple[str, bool]] = list(zip(column("case_id"), column("tied"), strict=True))
    return _without(
        {case for case, tied in rows if tied},
        {case for case, _ in rows},
        "the highest stains weigh the same: none leads",
    )


def told_of_slices(column: Columns) -> list[str]:
    """Of `slice-attention`: in which cases a stain has no top slice."""
    rows: list[tuple[str, int]] = list(zip(column("case_id"), column("top_slices"), strict=True))
    return _without(
        {case for case, top in rows if top > 1},
        {case for case, _ in rows},
        "the highest slices of a stain weigh the same: the number of a slice decides which is first",
    )


def _without(tied: Collection[str], cases: Collection[str], words: str) -> list[str]:
    if not tied:
        return []
    where = f"in {len(tied)} of {len(cases)} cases" if len(cases) > 1 else "in this case"
    order: list[str] = sorted(tied, key=natural_key)
    return [f"{where} {words} ({named(order)})"]
