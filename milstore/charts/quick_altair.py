"""Charts of charts without Altair's copies.

Altair copies all parts of a layered or joined chart whenever one is made, and copies them to the ground: a copy of a
part makes its own parts anew, which copies theirs. So the time grows by a factor with each level, and was three quarters
of what a chart of four levels took. The copies keep selections (parameters) of parts apart; a chart without selections
needs none of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import altair as alt
from altair.vegalite.v6 import api

_LIFTED = ("_combine_subchart_params", "_remove_duplicate_params")
"""What copies, if this version of Altair has it."""


@contextmanager
def quick() -> Iterator[None]:
    """In this block, what is made of charts without selections shares its parts with them.

    >>> dots = alt.Chart(alt.Data(values=[{"a": 1}])).mark_point().encode(x="a:Q")
    >>> usual = ((dots + dots) | dots).to_dict()
    >>> with quick():
    ...     ((dots + dots) | dots).to_dict() == usual
    True
    """
    usual = {name: getattr(api, name) for name in _LIFTED if hasattr(api, name)}
    if "_combine_subchart_params" in usual:
        combine = usual["_combine_subchart_params"]
        api._combine_subchart_params = lambda params, parts: (  # type: ignore[assignment]
            (api.Undefined if _none(params) else params, _apart(parts)) if _plain(params, parts) else combine(params, parts)
        )
    try:
        yield
    finally:
        for name, function in usual.items():
            setattr(api, name, function)
