"""Notes on the answer of `regions`."""

from milstore.analysis.ties import Columns
from milstore.store.names import counted


def told(column: Columns) -> list[str]:
    """Of `regions`: cases without a region, patches in several, and attention that lies on slices without any."""
    cases = list(column("case_id"))
    if not cases:
        return ["no slice of these cases has an annotated region: milstore ingest regions takes them in"]
    lines = []
    if without := column("other_cases")[0]:
        lines.append(f"without an annotated region, and not in this answer: {counted(without, 'case')}")
    keys = list(zip(column("run_id"), cases, strict=True))
    in_several = dict(zip(keys, column("in_several"), strict=True))
    if several := sum(in_several.values()):
        lines.append(f"{counted(several, 'patch', 'patches')} in several regions: counted in each")
    attention = dict(zip(keys, column("annotated_attention"), strict=True))
    partly = [value for value in attention.values() if value < 1 - 1e-4]
    if partly:
        lines.append(
            f"in {counted(len(partly), 'case')} attention lies on slices without a region too: shares are of the annotated slices "
            f"alone, which hold {min(partly):.0%} of a case's attention or more"
        )
    return lines
