"""What several rooms need is written in one place: cells of tables, small TOML files, the number of processors."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import milstore
from milstore import workers
from milstore.asking.cells import cell
from milstore.cli import output
from milstore.errors import DataError, UsageError
from milstore.ingest import runs
from milstore.launching import local
from milstore.processors import processors
from milstore.report import answers
from milstore.store import Store
from milstore.store.settings import read_settings
from milstore.training import config_reading, provenance


@pytest.mark.parametrize(
    ("value", "text", "report"),
    [
        (None, "–", "–"),
        (True, "yes", "yes"),
        (0.123456, "0.1235", "0.123"),
        (1234.56, "1235", "1235"),
        (98765.4, "98765", "98765"),
        (2e20, "2e+20", "2e+20"),
        (12345678, "12345678", "12345678"),
        (datetime(2026, 1, 2, 3, 4, 5, 678901), "2026-01-02 03:04:05", "2026-01-02 03:04:05"),
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), "2026-01-02 03:04:05+00:00", "2026-01-02 03:04:05+00:00"),
        ([1, "a", None], "[1, 'a', None]", "[1, 'a', None]"),
        (float("nan"), "nan", "–"),
        (b"\x00a", "\\x00a", "\\x00a"),
    ],
)
def test_a_value_looks_the_same_in_every_table(value: Any, text: str, report: str) -> None:
    """The terminal and a notebook write a value alike; the report takes three digits, and leaves out what is undefined."""
    assert (cell(value), output.cell(value), answers.cell(value)) == (text, text, report)


def test_a_notebook_shows_what_the_terminal_shows(three: Store) -> None:
    """Truth is yes or no, and a time ends with its second, in a notebook too."""
    html = milstore.open(three.root).sql("select true as a, timestamp '2026-01-02 03:04:05.678' as b")._repr_html_()
    assert "<tr><td>yes</td><td>2026-01-02 03:04:05</td></tr>" in html


def test_the_terminal_gets_nothing_that_steers_it() -> None:
    """Control characters go out of a cell before it is printed."""
    assert output.cell("a\x1b[31mb\nc") == "a[31mb c"


READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "settings of a store": (read_settings, ""),
    "settings of a training": (lambda path: config_reading.read_config(path, {}), "--config "),
    "settings of a run": (runs.read_config, ""),
}
"""What reads TOML, and what stands before its messages."""
BAD: dict[str, tuple[bytes, str]] = {
    "no TOML": (b"a = ", "is not readable as TOML (Invalid value"),
    "no UTF-8": (b"\xff\xfe\x00", "is not readable as TOML ('utf-8' codec can't decode"),
    "without end": (b"a = " + b"[" * 100_000, "is not readable as TOML (it is nested too deeply): repair or remove it"),
    "too large": (b"#" * ((1 << 20) + 1), "is larger than 1048576 bytes: that is not a"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("fault", BAD)
def test_toml_is_refused_in_one_way(reader: str, fault: str, tmp_path: Path) -> None:
    """A file that is no TOML is named in one line, with what is wrong and what to do, whoever reads it."""
    read, before = READERS[reader]
    content, said = BAD[fault]
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises((DataError, UsageError)) as refused:
        read(path)
    message = str(refused.value)
    assert message.startswith(f"{before}{path} ")
    assert said in message
    assert "\n" not in message


def test_a_run_whose_settings_json_lacks_is_refused(tmp_path: Path) -> None:
    """Dates and NaN cannot be kept with a run: the file is named."""
    path = tmp_path / "x.toml"
    path.write_text("day = 2026-01-01\n")
    with pytest.raises(DataError, match="holds dates or times"):
        runs.read_config(path)
    path.write_text("lr = nan\n")
    with pytest.raises(DataError, match="holds a number that a configuration cannot"):
        runs.read_config(path)
    with pytest.raises(DataError, match="does not exist: name a configuration"):
        runs.read_config(tmp_path / "absent.toml")


def test_everybody_counts_the_same_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ingest, launching and training compute with the processors given to this process, not with all of the machine."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(provenance.torch, "get_num_threads", lambda: 64)
    assert processors() == 3
    assert (local.threads_each(1), local.threads_each(2), local.threads_each(9)) == (3, 1, 1)
    assert (provenance.usable_threads(), workers.Crew(None).jobs) == (3, 3)


ONCE = ("sched_getaffinity", "cpu_count(", "tomllib.load")
"""What stands in one module of the package."""


@pytest.mark.parametrize("what", ONCE)
def test_it_stands_in_one_module(what: str) -> None:
    """No other module counts processors or reads TOML by itself."""
    root = Path(milstore.__file__).parent
    assert len([path for path in root.rglob("*.py") if what in path.read_text(encoding="utf-8")]) == 1
