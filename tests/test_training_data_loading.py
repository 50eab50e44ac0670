"""Features read ahead from the disk: bounded memory, and the numbers that they have in memory."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from milstore.errors import StoreError, UsageError
from milstore.store import Store
from milstore.store.cohort import read_cohort
from milstore.store.features import VECTORS, PackedFeatures, open_features
from milstore.training import experiment as experiment_module
from milstore.training import train, train_all
from milstore.training.bags import BagsInMemory, name_bags
from milstore.training.data_loading import BagsReadAhead, open_bags
from milstore.training.memory import memory_text, parse_memory
from milstore.training.progress import Watcher
from tests.test_training_runs import Killed, Strike, assert_same_numbers, die
from tests.training_cohort import LABELS, SMALL, features, tiny_store
from tests.trainings import twin_of

CPU = torch.device("cpu")
LARGEST = max(len(features(case_id)) for case_id in LABELS)
ROW = 6 * 2
WORKING = LARGEST * 6 * 4 * 2
"""Bytes of the largest case as float32, with the rows that fill it up."""
LEAST = 2 * LARGEST * ROW + WORKING


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return tiny_store(tmp_path / "store")


@pytest.fixture
def packed(store: Store) -> PackedFeatures:
    return open_features(store, read_cohort(store), None)


def test_a_limit_changes_no_bit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that reads its features anew each epoch commits what one in memory commits."""
    in_memory = train(store, SMALL, 1, threads=1)
    opened = []
    whole = experiment_module.open_bags
    monkeypatch.setattr(experiment_module, "open_bags", lambda *args: opened.append(whole(*args)) or opened[-1])
    read_ahead = train(store, SMALL, 1, threads=1, memory=str(LEAST), fresh=True)
    assert [type(each) for each in opened] == [BagsReadAhead]
    assert_same_numbers(in_memory, read_ahead)


def test_an_interrupted_run_may_go_on_with_less_memory(store: Store) -> None:
    """The limit is no part of a run: one that began in memory goes on from the disk, to the same numbers."""
    twin = twin_of(SMALL)
    with pytest.raises(Killed):
        train(store, SMALL, 1, threads=1, fresh=True, watcher=Strike(8, die))
    assert_same_numbers(train(store, SMALL, 1, memory=str(LEAST)), twin)


def test_all_splits_share_one_reading(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--split all` reads each case's features once, however many splits it trains."""
    read: list[str] = []
    whole = PackedFeatures.read
    monkeypatch.setattr(
        PackedFeatures, "read", lambda self, case_id, into=None: read.append(case_id) or whole(self, case_id, into)
    )
    assert len(train_all(store, SMALL, threads=1)) == 2
    assert sorted(read) == sorted(LABELS)


@settings(max_examples=25, deadline=None)
@given(order=st.lists(st.sampled_from(sorted(LABELS)), max_size=20), rooms=st.integers(2, 9), stop=st.integers(0, 20))
def test_any_order_with_any_room(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], rooms: int, stop: int
) -> None:
    """Cases come in the order asked for, each with its own features while it is in use, also after an early stop.

    No room is lost by one.
    """
    folder = tmp_path_factory.getbasetemp() / "any-order"
    store = Store(folder) if folder.exists() else tiny_store(folder)
    packed = open_features(store, read_cohort(store), None)
    memory = rooms * LARGEST * ROW + WORKING
    source = BagsReadAhead(packed, name_bags(packed, LABELS), memory=memory)
    for wanted in (order[:stop], order):
        kept = [id(room) for room in source._spare]
        got = source.in_order(order)
        for case_id, bag in zip(wanted, got, strict=False):
            assert bag.case_id == case_id
            assert torch.equal(bag.feature_ND, torch.from_numpy(features(case_id)))
        got.close()  # type: ignore[attr-defined]
        made = [id(room) for room in source._spare]
        assert set(kept) <= set(made) and len(made) == len(set(made)) <= rooms


def test_two_readings_at_a_time_do_not_disturb_each_other(packed: PackedFeatures) -> None:
    """A reading that begins while another goes on takes room of its own."""
    source = BagsReadAhead(packed, name_bags(packed, LABELS), memory=LEAST)
    for one, other in zip(source.in_order(LABELS), source.in_order(reversed(list(LABELS))), strict=True):
        assert torch.equal(one.feature_ND, torch.from_numpy(features(one.case_id)))
        assert torch.equal(other.feature_ND, torch.from_numpy(features(other.case_id)))


def test_features_that_fit_stay_in_memory(packed: PackedFeatures) -> None:
    """Only what is above the limit is read anew."""
    whole = packed.patches.num_rows * ROW + WORKING
    assert isinstance(open_bags(packed, LABELS, CPU), BagsInMemory)
    assert isinstance(open_bags(packed, LABELS, CPU, whole), BagsInMemory)
    assert isinstance(open_bags(packed, LABELS, CPU, whole - 1), BagsReadAhead)


def test_too_little_memory_is_refused_with_what_is_needed(packed: PackedFeatures) -> None:
    """The least that would do is named."""
    assert isinstance(open_bags(packed, LABELS, CPU, LEAST), BagsReadAhead)
    message = (
        f"--memory: {LEAST - 1:,} bytes do not hold two cases as large as the largest ({LARGEST} patches): "
        "give at least 1MB"
    )
    with pytest.raises(UsageError, match=re.escape(message)):
        open_bags(packed, LABELS, CPU, LEAST - 1)


def test_a_file_that_breaks_off_is_an_error_of_the_store(store: Store, packed: PackedFeatures) -> None:
    """What the reading thread meets is raised where the bag is asked for."""
    source = open_bags(packed, LABELS, CPU, LEAST)
    path = packed.folder / VECTORS
    assert packed.packs[0]._start
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 1)
    with pytest.raises(StoreError, match=r"vectors\.npy is truncated: run milstore doctor"):
        list(source.in_order(sorted(LABELS)))


def test_a_reading_that_nobody_ends_does_not_keep_the_process(store: Store) -> None:
    """A program ends while a reading is under way, as it does after an error in a step."""
    code = (
        "import sys; from pathlib import Path; from milstore.store import Store; from tests.training_cohort import LABELS; "
        "from milstore.store.cohort import read_cohort; from milstore.store.features import open_features; "
        f"from milstore.training.bags import name_bags; from milstore.training.data_loading import BagsReadAhead; LEAST = {LEAST}; "
        "store = Store(Path(sys.argv[1])); packed = open_features(store, read_cohort(store), None); "
        "bags = BagsReadAhead(packed, name_bags(packed, LABELS), memory=LEAST).in_order(list(LABELS) * 3); next(bags)"
    )
    command = [sys.executable, "-c", code, str(store.root)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1], timeout=60)


def test_the_thread_ends_with_the_reading(packed: PackedFeatures) -> None:
    """Nothing goes on in the background once a reading was given up."""
    import threading

    before = threading.active_count()
    got = BagsReadAhead(packed, name_bags(packed, LABELS), memory=LEAST).in_order(LABELS)
    next(got)
    assert threading.active_count() == before + 1
    got.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("text", ["", "much", "1 XB", "-1GB", "0", "1e9", "GB", "nan"])
def test_what_is_no_size_is_refused(store: Store, text: str) -> None:
    """A limit that cannot be read is refused before anything is trained."""
    with pytest.raises(UsageError, match=f"--memory '{text}': give a size above 0, such as 1GB or 512MiB"):
        train(store, SMALL, 1, memory=text, watcher=Watcher())


@given(megabytes=st.integers(1, 10**9))
def test_sizes_are_read_as_they_are_written(megabytes: int) -> None:
    """What an error offers can be given back."""
    assert parse_memory(memory_text(megabytes * 10**6)) == megabytes * 10**6
