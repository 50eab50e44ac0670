"""The shapes of the tensors that a `.pt` file says it holds: read off its pickle, which is not run. Imports no torch."""

import io
import pickletools
from typing import Any

_OLD = b"\x80\x02\x8a\n"
"""How files begin that torch wrote before its files were zip files."""
_BEFORE = 3
"""Pickles that come first in these."""


def tensor_shapes(pickled: bytes) -> list[tuple[int, ...]]:
    """The shapes of plain tensors, in the order in which they stand; those before what cannot be understood.

    Args:
        pickled: what `milstore.formats.pt_vector.pickled` gave.
    """
    stream, shapes = io.BytesIO(pickled), []
    try:
        for _ in range(1 + (_BEFORE if pickled.startswith(_OLD) else 0)):
            shapes = _shapes(stream)
    except Exception:  # noqa: S110 - pickletools raises what it meets
        pass
    return shapes


def is_matrix(pickled: bytes, *, one_row: bool = False) -> bool:
    """Whether a `.pt` file is one tensor (N, D) or (1, N, D) that is no vector; or one of a single row, where that may be."""
    shapes = tensor_shapes(pickled)
    if len(shapes) != 1 or b"ctorch._utils\n_rebuild" not in pickled:
        return False
    shape = shapes[0][1:] if len(shapes[0]) == 3 and shapes[0][0] == 1 else shapes[0]
    return len(shape) == 2 and shape[1] > 0 and (one_row or 1 not in shape)


def _shapes(stream: io.BytesIO) -> list[tuple[int, ...]]:
    """The shapes in the next pickle: the first tuple of numbers after each storage."""
    shapes: list[tuple[int, ...]] = []
    stack: list[Any] = []
    waiting = False
    try:
        for opcode, value, _ in pickletools.genops(stream):
            name = opcode.name
            if name == "BINPERSID":
                waiting, stack = True, []
            elif name == "MARK":
                stack.append(None)
            elif name in ("BININT", "BININT1", "BININT2", "LONG1"):
                stack.append(value)
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "EMPTY_TUPLE") and waiting:
                shapes.append(_taken(stack, name))
                waiting = False
    except ValueError:
        # The pickle is cut off, or goes on in a way that is not known.
        return shapes
    return shapes


def _taken(stack: list[Any], name: str) -> tuple[int, ...]:
    if name == "EMPTY_TUPLE":
        return ()
    if name == "TUPLE":
        last = len(stack) - 1 - stack[::-1].index(None)
        return tuple(stack[last + 1 :])
    return tuple(stack[-int(name[-1]) :])
