"""What strangers' scripts hand to a recording: numbers and frames of whichever library, and what is none."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import milstore
from milstore.errors import DataError, UsageError
from milstore.store import Store
from tests.recording import PATCHES_46, recorded, rows, split_store

WEIGHTS = [0.25, 0.5, 0.25]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return split_store(tmp_path_factory.mktemp("strangers") / "store")


class Lazy:
    """A frame that is still to be computed, as polars has it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    @property
    def columns(self) -> list[str]:
        return list(self.frame.columns)

    def collect(self) -> pd.DataFrame:
        return self.frame


def attended(store: Store, name: str, patches: Any, weights: Any) -> list[float]:
    with recorded(store, experiment=name) as run:
        run.attention("46", patches, weights)
    found = sorted(rows(run, "attention"), key=lambda row: row["patch_idx"])
    return [row["effective_attention"] for row in found]


def test_a_frame_of_one_column_is_one_distribution(store: Store) -> None:
    """Whatever its column is called; of two columns it is said what is missing."""
    assert attended(store, "one-column", PATCHES_46, pd.DataFrame({"attention": WEIGHTS})) == WEIGHTS
    with recorded(store, experiment="two-columns") as run, pytest.raises(DataError, match="lack slice_attention"):
        run.attention("46", PATCHES_46, pd.DataFrame({"stain_attention": WEIGHTS, "patch_attention": WEIGHTS}))


def test_frames_that_are_still_to_be_computed_and_answers_name_patches(store: Store) -> None:
    """A lazy frame is computed; what `sql` and `query` answer is taken as it is."""
    frame = pd.DataFrame(PATCHES_46, columns=["stain", "slice_idx", "patch_idx"])
    assert attended(store, "lazy", Lazy(frame), WEIGHTS) == WEIGHTS
    answer = milstore.open(store.root).sql("select * from patches where case_id = '46' order by patch_idx")
    assert attended(store, "answer", answer, WEIGHTS) == WEIGHTS


def test_whole_numbers_of_numpy_are_splits_and_seeds(store: Store) -> None:
    """A loop over `np.arange` names the same run as one over `range`; what is no whole number is refused."""
    with recorded(store, experiment="of-numpy", split=np.int64(2), seed=np.int32(3)) as run:
        assert run.run_id.startswith("of-numpy-s2-3-")
    for wrong in (True, 2.0, "2", -1):
        with pytest.raises(UsageError, match="give a whole number, 0 or more, or None"), recorded(store, seed=wrong):
            pass


def test_weights_that_have_no_names_are_refused(store: Store) -> None:
    """The model itself, or a list of arrays: the line says what to give."""
    with recorded(store, experiment="weights") as run:
        for wrong in (torch.nn.Linear(3, 2), [np.ones(3)]):
            with pytest.raises(DataError, match=r"weights come by name, .*give model.state_dict\(\)"):
                run.weights(wrong)  # type: ignore[arg-type]


def test_a_run_without_attention_says_what_scores_it_has(store: Store) -> None:
    """The line names them, and the option that asks by one of them, which answers."""
    with recorded(store, experiment="scored") as run:
        run.scores("46", PATCHES_46, {"cam": [-1.0, 2.0, 0.5], "token": [1.0, 2.0, 3.0]})
    opened = milstore.open(store.root)
    with pytest.raises(UsageError, match=r"its scores \(cam, token\) are no attention") as refused:
        opened.query("top-patches", experiment="scored")
    assert str(refused.value).endswith("are no attention: --by cam asks by one")
    answer = opened.query("top-patch-list", experiment="scored", by="cam")
    assert [row["score"] for row in answer.records()] == [2.0, 0.5, -1.0]
    with pytest.raises(UsageError, match=r"milstore query top-patches --run scored-s2-0-[^ ]* --by cam asks by one$"):
        opened.query("concentration", experiment="scored")
    with recorded(store, experiment="bare"):
        pass
    with pytest.raises(UsageError, match=r"attends \(milstore models\)$"):
        opened.query("top-patches", experiment="bare")


def test_complex_numbers_are_no_weights(store: Store, tmp_path: Path) -> None:
    """They are refused, and not halved with a warning of numpy's."""
    with recorded(store, experiment="complex") as run, warnings.catch_warnings():
        warnings.simplefilter("error")
        for wrong in (np.array(WEIGHTS, complex), torch.tensor(WEIGHTS, dtype=torch.complex64)):
            with pytest.raises(DataError, match="no array of numbers"):
                run.attention("46", PATCHES_46, wrong)
