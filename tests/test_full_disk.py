"""A disk that is really full."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOUNT = 'mount -t tmpfs -o size=6m none "$0"'


def with_disk(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command with a disk of six megabytes in a folder, which others do not see."""
    line = [shutil.which("unshare") or "unshare", "-m", "sh", "-c", f'{MOUNT} && exec "$@"', str(folder), *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_full_disk_is_called_a_full_disk(tmp_path: Path) -> None:
    """In a training whose checkpoint or epoch finds no room: exit 2 and one line; with room, the same command ends in the twin's bits."""
    if shutil.which("unshare") is None or with_disk(tmp_path, "true").returncode:
        pytest.skip("no disk of its own can be mounted here")
    done = with_disk(tmp_path, sys.executable, "-m", "tests.full_disk", str(tmp_path), "1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fillings"] == 1
