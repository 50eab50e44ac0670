"""A disk that is really full."""

from pathlib import Path

import pytest

from tests.forking import done, fork
from tests.full_disk import fill_the_disk, with_disk
from tests.trainings import SHORT


def test_a_full_disk_is_called_a_full_disk(tmp_path: Path) -> None:
    """In a training whose checkpoint or epoch finds no room: exit 2 and one line; with room, the same command ends in the twin's bits.

    `make torture` fills it at five steps of a longer training.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    tried = fork(tmp_path, with_disk(disk, lambda: None))
    if tried.wait():
        pytest.skip(f"no disk of its own can be mounted here: {tried.text()}")
    done(tmp_path, with_disk(disk, lambda: fill_the_disk(disk, 1, SHORT) and None))
    assert list(disk.iterdir()) == []
