"""Numbers of splits: always those in their names."""

import re
from collections.abc import Sequence

from milstore.errors import DataError
from milstore.store.names import clip, named, natural_key

_DIGITS = re.compile(r"([0-9]+)")
_MOST_DIGITS = 9
COUNTED = "counted from 1 in the order of their names, which hold no number"


def numbers_in(names: Sequence[str]) -> dict[str, int] | None:
    """The number of each name: the one thing in which they differ, else the digits at their ends; None if there is none.

    >>> numbers_in(["fold0_of_3", "fold2_of_3"]), numbers_in(["data_05"]), numbers_in(["cv5-final"])
    ({'fold0_of_3': 0, 'fold2_of_3': 2}, {'data_05': 5}, None)

    Raises:
        DataError: some names have a number and others none, or it is not clear which.
    """
    if len(names) > 1 and (found := _differing(names)):
        return found
    ends = {name: digits for name in names if len(digits := re.split(r"[^0-9]", name)[-1])}
    if len(ends) == len(names) and all(len(digits) <= _MOST_DIGITS for digits in ends.values()):
        return {name: int(digits) for name, digits in ends.items()}
    if len(names) == 1 or not any(_DIGITS.search(name) for name in names):
        return None
    raise DataError(
        f"which number belongs to which split cannot be told from {named(map(clip, names))}: "
        "let the names differ in one number, such as fold_1, fold_2, fold_3"
    )


def counted_from_1(names: Sequence[str]) -> dict[str, int]:
    """Numbers for names that have none, in natural order."""
    return {name: number for number, name in enumerate(sorted(names, key=natural_key), start=1)}


def _differing(names: Sequence[str]) -> dict[str, int] | None:
    """The numbers in which names differ that are the same but for one number; None for other names."""
    parts = [_DIGITS.split(name) for name in names]
    if len({tuple(each[::2]) for each in parts}) > 1:
        return None
    digits = [each[1::2] for each in parts]
    places = [i for i in range(len(digits[0])) if len({each[i].lstrip("0") for each in digits}) > 1]
    if len(places) != 1 or any(len(each[places[0]]) > _MOST_DIGITS for each in digits):
        return None
    return {name: int(each[places[0]]) for name, each in zip(names, digits, strict=True)}
