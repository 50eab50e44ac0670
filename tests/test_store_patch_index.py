"""Patches in the order of their identity, and the fingerprint of them: as slow and plain Python has them."""

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milstore.store.patch_index import PLACE, by_slice, places, places_fingerprint, starts, unknown_rows

Patch = tuple[str, str, int, int]
PATCHES = st.lists(
    st.tuples(
        st.sampled_from(["c1", "c10", "c2", "ö"]), st.sampled_from(["h&e", "sox10"]), st.integers(0, 2), st.integers(0, 9)
    ),
    max_size=40,
)  # fmt: skip


def _table(patches: list[Patch]) -> pa.Table:
    types = (pa.string(), pa.string(), pa.int32(), pa.int32())
    return pa.table({name: pa.array([p[i] for p in patches], types[i]) for i, name in enumerate(PLACE)})


def _key(patch: Patch) -> tuple[Any, ...]:
    return (patch[0].encode(), patch[1].encode(), *patch[2:])


def _plain_fingerprint(patches: list[Patch]) -> str:
    ordered = sorted(patches, key=_key)
    columns = ("\0".join(str(patch[column]) for patch in ordered) for column in range(4))
    return hashlib.sha256("".join(f"{column}\n" for column in columns).encode()).hexdigest()


@given(PATCHES)
def test_places_follow_the_identity(patches: list[Patch]) -> None:
    """Rows in any order get the order of case and stain (by bytes), slice and patch; it is said where each begins."""
    known = places(_table(patches))
    rows = known.rows(np.arange(len(patches)))
    ordered = [patches[row] for row in rows]
    assert ordered == sorted(patches, key=_key)

    def begin(columns: int) -> list[int]:
        keys = [patch[:columns] for patch in ordered]
        return [place for place, key in enumerate(keys) if place == 0 or key != keys[place - 1]]

    assert known.cases.tolist() == begin(1)
    assert known.stains.tolist() == begin(2)
    assert known.slices.tolist() == begin(3)
    assert starts(known.patches).tolist() == begin(4)
    assert known.has_doubles() == (len(set(patches)) < len(patches))


@given(PATCHES)
def test_a_fingerprint_is_of_the_patches_alone(patches: list[Patch]) -> None:
    """It is the SHA-256 of the columns' texts in the order of the patches, whatever the order of the rows."""
    assert places_fingerprint(_table(patches)) == _plain_fingerprint(patches)


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(range(100), id="each number once"),
        pytest.param(range(95, 130), id="of two and three digits"),
        pytest.param([7] * 64 + [8], id="long runs of one number"),
        pytest.param([0, 5, 1_000_000, 2**31 - 1], id="far apart"),
        pytest.param([3], id="one patch"),
    ],
)
def test_a_fingerprint_is_the_same_by_each_of_its_ways(numbers: Any) -> None:
    """Numbers that are few, far apart, or mostly the same are hashed in other ways to one and the same value."""
    patches = [("c1", "h&e", number, 4) for number in numbers]
    assert places_fingerprint(_table(patches)) == _plain_fingerprint(patches)
    patches = [("c1", "h&e", 1, number) for number in numbers]
    assert places_fingerprint(_table(patches)) == _plain_fingerprint(patches)


def test_a_slice_that_lost_one_patch_is_seen() -> None:
    """Of a slice with as many patches as before the one that another took the place of is found, and it alone."""
    asked = [("c1", "h&e", 0, index) for index in range(4)]
    there = [("c1", "h&e", 0, index) for index in (0, 1, 3, 4)]
    assert unknown_rows(_table(asked), places(_table(asked)), by_slice(_table(there))).tolist() == [2]
