"""A value as people read it, in every table that is for people: of the terminal, of a notebook and of the report."""

import math
from datetime import datetime
from typing import Any

ABSENT = "–"
"""How a missing value is written."""
_WHOLE = 1e15
"""Numbers up to it are whole to the last digit, and are written so rather than as powers of ten."""


def cell(value: Any, digits: int = 4) -> str:
    """A value as people read it: times to the second, whole numbers whole, what is nested by the texts of its parts.

    Args:
        value: a value of an answer.
        digits: significant digits of a number that is not whole; more only to the left of the point.

    >>> cell(0.123456), cell(1234.5), cell(98765.4), cell(0.123456, digits=3), cell(1234.5, digits=3)
    ('0.1235', '1234', '98765', '0.123', '1234')
    >>> cell(1.5), cell(3e-7), cell(2e20), cell(float("nan")), cell(None), cell(True), cell(98765)
    ('1.5', '3e-07', '2e+20', 'nan', '–', 'yes', '98765')
    >>> cell(datetime(2026, 1, 2, 3, 4, 5, 678901)), cell([0.5, None])
    ('2026-01-02 03:04:05', '[0.5, None]')
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        large = math.isfinite(value) and 10**digits <= abs(value) < _WHOLE
        return f"{value:.0f}" if large else f"{value:.{digits}g}"
    if isinstance(value, datetime):
        return str(value.replace(microsecond=0))
    from milstore.asking.fetching import as_text

    return as_text(value)
