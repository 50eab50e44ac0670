"""Many at once in one store: nobody waits for a lock, sees half a run, or loses anything."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import duckdb
import pytest

from milstore.store import Store
from milstore.store.catalog import refresh
from milstore.store.cohort import read_cohort
from milstore.store.doctor import check
from milstore.store.run_reader import run_ids
from tests.crossing import WHOLE
from tests.crowd import CORRECTIONS, RUNS_EACH, STOP, hold, ingest, read, train
from tests.forking import fork
from tests.making import three_case_store
from tests.test_layout import ROOT

pytestmark = pytest.mark.database

TRAINERS, READERS = (8, 4) if WHOLE else (3, 1)


def test_a_crowd_loses_nothing(three: Store) -> None:
    """Trainers, readers, one shell that holds the database and one ingest: no error, no half-seen run, no loss.

    By `make torture` they are eight trainers and four readers, with more runs and corrections each.
    """
    folder = three.root.parent
    staying = [fork(folder, partial(read, three, i)) for i in range(READERS)] + [fork(folder, partial(hold, three, 0))]
    ending = [fork(folder, partial(train, three, i)) for i in range(TRAINERS)] + [
        fork(folder, partial(ingest, three, 0))
    ]
    codes = [child.wait() for child in ending]
    (folder / STOP).touch()
    codes += [child.wait() for child in staying]
    assert [child.text() for child in [*ending, *staying]] == [""] * len(codes)
    assert codes == [0] * len(codes)
    assert len(run_ids(three)) == 3 + TRAINERS * RUNS_EACH
    assert f"high-grade {CORRECTIONS - 1}" in read_cohort(three).table("classes")["class_name"].to_pylist()
    refresh(three)
    assert check(three, young=0) == []
    with closing(duckdb.connect(str(three.database), read_only=True)) as con:
        assert con.sql("select count(*) > 0 from my_notes").fetchall() == [(True,)]
        assert con.sql("select class_name from classes where label = 1").fetchall() == [
            (f"high-grade {CORRECTIONS - 1}",)
        ]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user gets to, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_group_shares_a_store(open_folder: Path) -> None:
    """As an ordinary user of the group: committed runs cannot be changed or removed, and new runs can be committed."""
    if os.geteuid() != 0:
        pytest.skip("trying as another user needs root")
    three = three_case_store(open_folder / "three")
    # The ordinary user may not get to this checkout, and questions are read when they are asked.
    for package in ("milstore", "tests"):
        shutil.copytree(ROOT / package, open_folder / package)
    program = (
        # Everything is imported before, for the ordinary user may not be able to read the interpreter's libraries.
        "import os, sys; from pathlib import Path; from milstore.store import open_store; from tests.crowd import *\n"
        "store = open_store(Path(sys.argv[1])); train(store, 0)\n"
        "ask(store, 'top-patches', Choice(run='crowd-0-0')).rows()\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); os.umask(0o002)\n"
        "folder = store.run_folder('exp-s1-0')\n"
        "for change in (lambda: (folder / 'run.json').write_text('x'), lambda: (folder / 'new').write_text('x'),\n"
        "               lambda: (folder / 'run.json').unlink()):\n"
        "    try: change(); raise SystemExit('a committed run was changed')\n"
        "    except PermissionError: pass\n"
        "train(store, 1); made = store.run_folder('crowd-1-0')\n"
        "for change in (lambda: (made / 'run.json').write_text('x'), lambda: (made / 'run.json').unlink()):\n"
        "    try: change(); raise SystemExit('an own committed run was changed by accident')\n"
        "    except PermissionError: pass\n"
        "assert ask(store, 'top-patches', Choice(run='crowd-1-0')).rows()\n"
    )
    for path in [three.root, *three.root.rglob("*")]:
        if "run_id=exp" not in str(path):
            path.chmod(0o777 if path.is_dir() else 0o666)
    done = subprocess.run(
        [sys.executable, "-c", program, str(three.root)], cwd=open_folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
