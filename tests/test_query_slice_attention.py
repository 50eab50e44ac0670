"""`slice-attention`: the slices' weights by rank in each stain."""

import pytest

from milstore.asking.ask import ask
from milstore.asking.selection import Choice
from milstore.store import Store
from tests.attending import Attended, random_store
from tests.drawing import drawn, subtitle_of


def test_a_case(three: Store) -> None:
    """Of case 10's h&e, slice 0 takes two thirds with half of the patches; sox10 has one slice, which takes all."""
    found = ask(three, "slice-attention", Choice(cases=("10",)))
    assert found.columns == [
        "run_id", "case_id", "subset", "true_class", "outcome", "stain", "stain_attention", "slice_rank", "slice_idx",
        "slice_name", "slice_attention", "even", "by_patches", "top_share", "slice_patches", "stain_slices",
        "top_slices",
    ]  # fmt: skip
    start, near = ("exp-s2-0", "10", "test", "benign", "wrong"), pytest.approx
    assert found.rows() == [
        (*start, "h&e", near(0.45), 1, 0, "match_1", near(2 / 3), 0.5, 0.5, near(2 / 3), 3, 2, 1),
        (*start, "h&e", near(0.45), 2, 1, "match_2", near(1 / 3), 0.5, 0.5, near(2 / 3), 3, 2, 1),
        (*start, "sox10", near(0.55), 1, 0, "match_1", 1.0, 1.0, 1.0, 1.0, 4, 1, 1),
    ]


@pytest.fixture(scope="module")
def attended(tmp_path_factory: pytest.TempPathFactory) -> Attended:
    """Random cases."""
    return random_store(tmp_path_factory.mktemp("random") / "store", 5, n_cases=12)


def test_as_pandas_ranks(attended: Attended) -> None:
    """Weights and ranks agree with summing and ranking effective attention in pandas."""
    found = ask(attended.store, "slice-attention").df()
    keys = ["case_id", "stain", "slice_idx"]
    sums = attended.attention.groupby(keys)["effective_attention"].sum().reset_index()
    stains = sums.groupby(["case_id", "stain"])["effective_attention"]
    sums = sums.assign(share=sums["effective_attention"] / stains.transform("sum"), place=stains.rank(ascending=False))
    merged = found.merge(sums, on=keys)
    assert len(merged) == len(found) == len(sums)
    assert merged["slice_attention"].to_numpy() == pytest.approx(merged["share"].to_numpy(), abs=1e-5)
    assert merged["slice_rank"].tolist() == merged["place"].astype(int).tolist()


def test_its_charts(attended: Attended, three: Store) -> None:
    """Each slice against the even marks for one case; all cases' top slices against the even curve for several."""
    spec = drawn(three, "slice-attention", Choice(cases=("10",)))
    assert "h&e: match_1 takes 67% (even: 50%); sox10: match_1 alone." in subtitle_of(spec)
    spec = drawn(attended.store, "slice-attention")
    assert "all slices of the stain weighed the same" in subtitle_of(spec)
