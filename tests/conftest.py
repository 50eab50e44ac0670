"""Fixtures that several files use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from milstore.store import Store
from tests.chromium import Browser, browser
from tests.making import three_case_store

# Small tensors are slower on many threads, and the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the user's own store."""
    monkeypatch.delenv("MILSTORE_STORE", raising=False)


@pytest.fixture
def three(tmp_path: Path) -> Store:
    """The store of three cases."""
    return three_case_store(tmp_path / "three")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The group's own data beside the project, if it is there."""
    folder = Path(os.environ.get("MILSTORE_SHARED") or Path(__file__).resolve().parents[2] / "shared") / "data"
    if not folder.is_dir():
        pytest.skip("the group's own data is not on this machine")
    return folder


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, one for the session."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no Chromium on this machine")
    with browser(executable, tmp_path_factory.mktemp("chromium")) as opened:
        yield opened
