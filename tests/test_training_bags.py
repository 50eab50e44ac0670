"""Bags: each patch keeps its name, its slice and its features."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.store.cohort import read_cohort
from milstore.store.cohort_edit import edit_cohort
from milstore.store.features import open_features
from milstore.training.bags import Float32Rows, coordinates, feature_moments, make_bag
from milstore.training.data_loading import open_bags
from tests.training_cohort import LABELS, bag, bags, features, places, tiny_store


def identities(held: object) -> list[tuple[str, int, int]]:
    return [(*held.slices[g], int(p)) for g, p in zip(held.slice_N, held.patch_idx_N, strict=True)]  # type: ignore[attr-defined]


def test_a_bag_knows_its_patches_whatever_their_order() -> None:
    """Rows of several slices that stand mixed are told apart by name, and brought into canonical order."""
    given_ND = torch.tensor([[25.0], [6], [7], [4]])
    numbers = np.array([5, 6, 7, 4])
    held = make_bag("1", ["sox10", "h&e", "sox10", "sox10"], np.array([2, 0, 0, 2]), numbers, given_ND)
    assert held.slices == (("h&e", 0), ("sox10", 0), ("sox10", 2))
    assert identities(held) == [("h&e", 0, 6), ("sox10", 0, 7), ("sox10", 2, 4), ("sox10", 2, 5)]
    assert held.feature_ND.tolist() == [[6.0], [7], [4], [25]]


def test_a_model_is_given_a_row_a_patch_and_what_it_lies_in() -> None:
    """What a model sees of a bag has the bag's own rows and no other, stains by name, and no coordinates where none are."""
    held = make_bag("1", ["sox10", "h&e", "sox10"], np.array([2, 0, 0]), np.array([5, 6, 7]), torch.zeros(3, 2))
    seen = held.seen(torch.ones(3, 2))
    assert (seen.n_patches, seen.n_slices, seen.n_stains, seen.stains) == (3, 3, 2, ("h&e", "sox10"))
    assert seen.feature_ND.tolist() == [[1.0, 1.0]] * 3
    assert (seen.slice_N.tolist(), seen.stain_G.tolist()) == ([0, 1, 2], [0, 1, 1])
    assert seen.slice_GN.tolist() == [[True, False, False], [False, True, False], [False, False, True]]
    assert seen.stain_SG.tolist() == [[True, False, False], [False, True, True]]
    assert bool(seen.xy_N2.isnan().all())


def test_the_packed_store_gives_the_same_bags(tmp_path: Path) -> None:
    """What was packed under a patch's identity is read under it."""
    store = tiny_store(tmp_path)
    packed = open_features(store, read_cohort(store), None)
    for held in open_bags(packed, LABELS, torch.device("cpu")).in_order(["11", "3"]):
        expected = dict(zip(places(held.case_id), features(held.case_id).tolist(), strict=True))
        assert dict(zip(identities(held), held.feature_ND.tolist(), strict=True)) == expected
        assert held.feature_ND.dtype == torch.float16


def test_a_model_is_given_where_patches_lie(tmp_path: Path) -> None:
    """Each patch comes with its own left and upper edge, whatever the order of the rows, and NaN where one is unknown."""
    store = tiny_store(tmp_path)
    with edit_cohort(store) as edit:
        rows = edit.table("patches").to_pylist()
        for row in rows:
            known = row["patch_idx"] % 3 != 0
            row |= {"x": 10 * row["slice_idx"] + row["patch_idx"] if known else None, "y": 100 + row["patch_idx"]}
        edit.replace("patches", pa.Table.from_pylist(rows[::-1], edit.table("patches").schema))
    cohort = read_cohort(store)
    packed = open_features(store, cohort, None)
    xy = coordinates(cohort, packed)
    unknown = 0
    for held in open_bags(packed, LABELS, torch.device("cpu"), xy=xy).in_order(LABELS):
        for (_, slice_idx, patch_idx), (x, y) in zip(identities(held), held.xy_N2.tolist(), strict=True):
            if patch_idx % 3 == 0:
                unknown += 1
                assert math.isnan(x) and math.isnan(y)
            else:
                assert (x, y) == (10 * slice_idx + patch_idx, 100 + patch_idx)
    assert 0 < unknown < packed.patches.num_rows


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    most=st.integers(1, 6),
    seed=st.integers(0, 5),
    mixed=st.booleans(),
)
def test_a_cap_keeps_each_slice_at_most_so_large(sizes: list[int], most: int, seed: int, mixed: bool) -> None:
    """A capped bag holds min(size, cap) patches of every slice, each with its own features."""
    slices = np.repeat(np.arange(len(sizes)), sizes)
    if mixed:
        slices = np.random.default_rng(9).permutation(slices)
    numbers = np.arange(len(slices))
    held = make_bag("1", ["h&e"] * len(slices), slices, numbers, torch.from_numpy(numbers[:, None] * 1.0))
    capped = held.capped(most, np.random.default_rng(seed))
    assert np.bincount(capped.slice_N, minlength=len(sizes)).tolist() == [min(size, most) for size in sizes]
    assert capped.feature_ND[:, 0].tolist() == capped.patch_idx_N.tolist()
    assert set(identities(capped)) <= set(identities(held))
    assert capped.slice_of_N.tolist() == capped.slice_N.tolist()
    assert len(capped.xy_N2) == capped.n_patches


def test_a_cap_draws_every_patch_equally_often() -> None:
    """No patch is favoured by its place."""
    held = make_bag("1", ["h&e"] * 6, np.array([0, 0, 0, 0, 1, 1]), np.arange(6), torch.zeros(6, 1))
    drawn = np.concatenate([held.capped(2, np.random.default_rng(seed)).patch_idx_N for seed in range(2000)])
    assert np.bincount(drawn).tolist() == pytest.approx([1000, 1000, 1000, 1000, 2000, 2000], abs=100)


def test_moments_are_those_of_all_patches_of_the_cases() -> None:
    """Mean and deviation weigh every patch alike; a constant feature has deviation 1."""
    mean_D, deviation_D = feature_moments(bags(), ["1", "4"])
    together = np.concatenate([features("1"), features("4")]).astype(np.float64)
    np.testing.assert_allclose(mean_D, together.mean(0))
    np.testing.assert_allclose(deviation_D, together.std(0))
    constant = make_bag("1", ["h&e"] * 3, np.zeros(3, int), np.arange(3), torch.full((3, 1), 0.1))
    _, deviation_D = feature_moments(type(bags())([constant]), ["1"])
    assert deviation_D.tolist() == [1.0]


def test_float32_rows_reuse_one_buffer() -> None:
    """Conversion is exact, and a smaller case uses the larger one's memory."""
    convert, large, small = Float32Rows(), bag("7").feature_ND, bag("3").feature_ND
    addresses = set()
    for feature_ND in (large.clone().fill_(torch.nan), large, small):
        converted_ND = convert(feature_ND)
        assert converted_ND.dtype == torch.float32
        torch.testing.assert_close(converted_ND, feature_ND.float(), rtol=0, atol=0, equal_nan=True)
        addresses.add(converted_ND.data_ptr())
    assert len(addresses) == 1


def test_float32_features_pass_through() -> None:
    """Features that are float32 are not copied."""
    feature_ND = torch.zeros(3, 2)
    assert Float32Rows()(feature_ND) is feature_ND
