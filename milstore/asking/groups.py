"""Groups of cases by an attribute that the cohort keeps: by site, by scanner, by quarters of age."""

from collections.abc import Collection

import numpy as np

from milstore.asking.run_choice import Group
from milstore.errors import UsageError
from milstore.store.cohort import read_cohort
from milstore.store.names import clip, counted, natural_key, nearest
from milstore.store.paths import Store

MOST = 20
"""Groups that anybody can compare. An attribute with more values that are numbers is cut into quarters."""


def groups_of(store: Store, by: str) -> list[Group]:
    """The groups that an attribute makes of a cohort's cases, in the natural order of its values, the unknown last.

    An attribute with more than 20 values, all numbers, makes four groups at its quartiles (each border belongs to the lower
    group; Hyndman and Fan 1996, definition 1), each named by its own least and greatest value.

    Raises:
        UsageError: there is no such attribute, or it has too many values.
    """
    cohort = read_cohort(store)
    rows = cohort.table("case_attributes").to_pylist()
    names = {row["name"] for row in rows}
    if by not in names:
        raise no_such_attribute(by, names)
    value_of = {row["case_id"]: row["value"] for row in rows if row["name"] == by}
    values = sorted(set(value_of.values()), key=natural_key)
    if len(values) > MOST:
        value_of = _quarters(by, value_of)
        values = list(
            dict.fromkeys(value_of[case] for case in sorted(value_of, key=lambda case: _lower(value_of[case])))
        )
    groups = [Group(by, value, tuple(case for case, own in value_of.items() if own == value)) for value in values]
    unknown = tuple(case for case in cohort.table("cases")["case_id"].to_pylist() if case not in value_of)
    return groups + ([Group(by, None, unknown)] if unknown else [])


def attribute_names(store: Store) -> set[str]:
    """Names of the attributes that the store keeps of its cases."""
    return set(read_cohort(store).table("case_attributes")["name"].to_pylist())


def no_such_attribute(by: str, names: Collection[str]) -> UsageError:
    """What is said of an attribute that is none of those that the store keeps."""
    advice = nearest(by, names) if names else "keep some by milstore ingest labels TABLE --keep COLUMN"
    return UsageError(f"--by {clip(by)!r}: the store keeps no such attribute of its cases; {advice}")


def _quarters(by: str, value_of: dict[str, str]) -> dict[str, str]:
    """The range of values that each case's falls into."""
    try:
        numbers = np.array([float(value) for value in value_of.values()])
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        count = counted(len(set(value_of.values())), "value")
        raise UsageError(
            f"--by {clip(by)!r}: it has {count}, which are too many to compare, and no numbers to cut in four"
        )
    borders = np.quantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf")
    quarter = np.searchsorted(borders, numbers)
    ranges = {
        part: f"{numbers[quarter == part].min():g} to {numbers[quarter == part].max():g}"
        for part in set(quarter.tolist())
    }
    return {case: ranges[part] for case, part in zip(value_of, quarter.tolist(), strict=True)}


def _lower(text: str) -> float:
    return float(text.split(" to ", maxsplit=1)[0])
