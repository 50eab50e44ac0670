"""Charts without what Altair does again and again: copies of charts in charts, and a list of all its classes.

Altair copies the parts of a layered or joined chart whenever one is made, down to the ground: the copy of a part makes
that part again, which copies its own parts. So the time grows by a factor with each level; in a chart of four levels it
was three quarters of all. The copies keep the selections (parameters) of parts apart, so where there are none, the parts
are copied at their surface alone.

And it lists all its classes again for each channel that is a text, `x="error:Q"`, or a value, `x=alt.value(0)`, to find the
class that the channel's name tells already: a quarter of a chart's time.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

import altair as alt
from altair.utils import core

_COPYING = {
    "_combine_subchart_data": ("data", "subcharts"),
    "_combine_subchart_params": ("params", "subcharts"),
    "_remove_duplicate_params": ("layer",),
}
"""What copies parts, in Altair's module of charts, with its parameters. They are private: another version may lack them."""
_CHANNELS, _WRAP = "_ChannelCache", "_wrap_in_channel"
"""Altair's table of channels, and what makes one of them, of `self`, `obj` and `encoding`. Private as well."""


@contextmanager
def quick() -> Iterator[None]:
    """In this block, charts of charts without selections are made without copying all that is in them, and channels by name.

    A version of Altair that works in another way is left as it is.

    >>> dots = alt.Chart(alt.Data(values=[{"a": 1}])).mark_point().encode(x="a:Q")
    >>> usual = ((dots + dots) | dots).to_dict()
    >>> with quick():
    ...     ((dots + dots) | dots).to_dict() == usual
    True
    """
    module: Any = sys.modules[alt.LayerChart.__module__]
    channels: Any = getattr(core, _CHANNELS, None)
    known = {(module, name): parameters for name, parameters in _COPYING.items()}
    known[channels, _WRAP] = ("self", "obj", "encoding")
    if any(_parameters(*place) != parameters for place, parameters in known.items()):
        yield
        return
    usual = {name: getattr(module, name) for name in _COPYING}
    lift, combine, once = usual.values()

    def quick_lift(data: Any, parts: Sequence[Any]) -> Any:
        if not parts or not _are_plain(parts):
            return lift(data, parts)
        # Data that all parts share are said once, above them. Altair's own way also names each part by its data.
        above = parts[0].data if data is alt.Undefined else data
        same = all(part.data is above or (part.data is alt.Undefined and data is not alt.Undefined) for part in parts)
        if above is alt.Undefined or not same:
            return data, parts
        parts = [_at_surface(part) for part in parts]
        for part in parts:
            part.data = alt.Undefined
        return above, parts

    def quick_combine(params: Any, parts: Sequence[Any]) -> Any:
        if params in (alt.Undefined, []) and _are_plain(parts):
            return alt.Undefined, [_at_surface(part) for part in parts]
        return combine(params, parts)

    def quick_once(parts: Sequence[Any]) -> Any:
        return [_at_surface(part) for part in parts] if _are_plain(parts) else once(parts)

    wrap = getattr(channels, _WRAP)

    def quick_wrap(self: Any, obj: Any, encoding: str) -> Any:
        named = self.name_to_channel.get(encoding, {})
        if isinstance(obj, str) and "field" in named:
            return named["field"](obj)
        if (
            "value" in named
            and isinstance(obj, dict)
            and obj.keys() == {"value"}
            and not isinstance(obj["value"], dict)
        ):
            return named["value"](obj["value"])
        return wrap(self, obj, encoding)

    try:
        vars(module).update(zip(_COPYING, (quick_lift, quick_combine, quick_once), strict=True))
        setattr(channels, _WRAP, quick_wrap)
        yield
    finally:
        vars(module).update(usual)
        setattr(channels, _WRAP, wrap)


def _parameters(module: Any, name: str) -> tuple[str, ...] | None:
    function = getattr(module, name, None)
    return tuple(signature(function).parameters) if callable(function) else None


def _are_plain(parts: Sequence[Any]) -> bool:
    """Whether no part has a selection, nor a name, which Altair makes for a selection and changes where it stands twice."""
    every = [*parts, *(layer for part in parts if isinstance(part, alt.LayerChart) for layer in part.layer)]
    return all(part._get(key) is alt.Undefined for part in every for key in ("params", "name"))


def _at_surface(part: Any) -> Any:
    """The part itself, apart from one whose properties, or lists of parts, are changed later."""
    copy = object.__new__(type(part))
    object.__setattr__(copy, "_args", part._args)
    properties = {key: list(value) if isinstance(value, list) else value for key, value in part._kwds.items()}
    object.__setattr__(copy, "_kwds", properties)
    return copy
