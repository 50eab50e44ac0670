"""Whatever write fails, the store is wholly as before or wholly as after."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_layout import ROOT


def test_faults_at_writes_lose_nothing(tmp_path: Path) -> None:
    """A full disk, a broken disk and a kill lose nothing, one after another at the operations of ingest, features and commit.

    The doctor finds no damage, repairing removes leftovers alone, and the work can be done again. Here at every thirteenth
    operation one of the three; `make torture` tries all at each.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", str(tmp_path), "13"], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-2]) >= 12, done.stdout


def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    """On a small file system that is really full, a commit is refused in one line, and succeeds once there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs more rights than this user has")
    try:
        program = (
            "import sys; from pathlib import Path; from tests.faults import *; from milstore.errors import MilstoreError\n"
            "root = Path(sys.argv[1]); store = three_case_store(root / 'store'); before = state(store)\n"
            "free = os.statvfs(root); (root / 'ballast').write_bytes(b'x' * (free.f_bavail * free.f_frsize))\n"
            "for work in SCENARIOS.values():\n"
            "    try: work(store); raise SystemExit('the full disk was not noticed')\n"
            "    except MilstoreError as error: print(error)\n"
            "    assert state(open_store(store.root)) == before\n"
            "(root / 'ballast').unlink(); found = doctor.check(store, young=0)\n"
            "assert not [f for f in found if f.kind == DAMAGE], found\n"
            "doctor.repair(store, found)\n"
            "for draft in list_drafts(store): shutil.rmtree(draft.folder)\n"
            "for work in SCENARIOS.values(): work(store)\n"
            "assert 'new' in run_ids(store)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(disk)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        assert len(done.stdout.splitlines()) == 3
    finally:
        subprocess.run(["umount", str(disk)], check=False)
