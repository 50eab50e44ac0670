"""Groups of related cases, such as those of one patient, as the store holds them: no split may tear one apart."""

from collections.abc import Mapping

import pyarrow as pa

from milstore.store.names import counted, named, natural_key

GroupOf = Mapping[str, str | None]
"""Group of each case; None, or no entry, for a case that stands for itself."""


def stored_groups(case_groups: pa.Table) -> dict[str, str]:
    """The group of each case that has one, from the table `case_groups`."""
    return dict(zip(case_groups["case_id"].to_pylist(), case_groups["group_id"].to_pylist(), strict=True))


def torn_groups(subset_of: Mapping[str, str], group_of: GroupOf) -> list[str]:
    """The groups of which a split has cases in several subsets, in natural order."""
    found: dict[str, set[str]] = {}
    for case, subset in subset_of.items():
        group = group_of.get(case)
        if group is not None:
            found.setdefault(group, set()).add(subset)
    return sorted((group for group, subsets in found.items() if len(subsets) > 1), key=natural_key)


def torn_lines(splits: Mapping[int, Mapping[str, str]], group_of: GroupOf) -> list[str]:
    """A line for each split that tears groups apart."""
    torn = {number: torn_groups(subsets, group_of) for number, subsets in splits.items()}
    return [
        f"split {number} tears {counted(len(groups), 'group')} apart: {named(groups)}"
        for number, groups in torn.items()
        if groups
    ]
