"""Fixtures that several files use."""

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from milstore.store import Store, open_store
from tests.chromium import Browser, browser
from tests.crossing import WHOLE
from tests.keeping import Kept
from tests.loop import function, left_out
from tests.making import three_case_store
from tests.putting_off import bring_up_to_date, put_off

if TYPE_CHECKING:
    from milstore.report.building import Report
    from tests.broken import Place

# Whoever runs the tests may ignore some signals: nohup does SIGHUP, a shell in the background SIGINT. Children inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Small tensors are slower on many threads, and the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--loop`."""
    parser.addoption("--loop", action="store_true", help="the part for the loop of work: see tests/loop.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --loop, the quickest tests alone."""
    if config.getoption("--loop"):
        without = left_out()
        kept = [item for item in items if function(item.nodeid) not in without]
        config.hook.pytest_deselected(items=[item for item in items if function(item.nodeid) in without])
        items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """milstore.duckdb is made for the tests of it; before their fixtures, which may hold a store."""
    put_off(not WHOLE and item.get_closest_marker("database") is None)


@pytest.fixture(autouse=True)
def _no_store_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test touches the user's own store, nor what was remembered of one."""
    monkeypatch.delenv("MILSTORE_STORE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def three(tmp_path: Path) -> Store:
    """The store of three cases."""
    return three_case_store(tmp_path / "three")


@pytest.fixture(scope="session")
def three_report(tmp_path_factory: pytest.TempPathFactory) -> "tuple[Report, Path]":
    """The report of the store of three cases, and its page: made once, to be looked at."""
    # Here, as it imports Altair, which most files of tests do without.
    from milstore.report.writing import write_report

    folder = tmp_path_factory.mktemp("report")
    return write_report(three_case_store(folder / "store"), folder / "report.html"), folder / "report.html"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has been given a file of every kind: made once, to be copied or left as it is."""
    # Here, as it imports torch, which most files of tests do without.
    from tests.broken import whole_store

    store = whole_store(tmp_path_factory.mktemp("whole"))
    bring_up_to_date(store)
    return store.root


@pytest.fixture
def place(whole: Path, tmp_path: Path, warm_processes: None) -> "Place":
    """That store, which nothing that is refused may change, and a folder of the test's own."""
    from tests.broken import Place

    return Place(tmp_path, open_store(whole))


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


@pytest.fixture(scope="session")
def _kept() -> Iterator[dict[int, ProcessPoolExecutor]]:
    """Processes that have imported what they need, by how many there are."""
    kept: dict[int, ProcessPoolExecutor] = {}
    yield kept
    for pool in kept.values():
        pool.shutdown()


@pytest.fixture
def warm_processes(_kept: dict[int, ProcessPoolExecutor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that read files are kept from one test to the next: torch takes them two seconds to import."""
    monkeypatch.setattr("milstore.workers.ProcessPoolExecutor", partial(Kept, _kept))
