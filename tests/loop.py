"""The part of the tests for the loop of work, `pytest --loop`: the quickest, as many as half a minute of work holds.

`python -m tests.loop [REPORT …]` measures them, or reads reports that `pytest --junitxml` wrote, and lists in
tests/left_out.txt the functions that do not fit. A test that it does not know takes part.
"""

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

LEFT_OUT = Path(__file__).with_name("left_out.txt")
SECONDS = 30.0
"""Of one processor, of which the tests use two. To import all tests, and to make what they share, takes as long again."""
SHARING = (
    "charts_width",
    "doctor_advice",
    "ingest_run_readings",
    "prediction_answers",
    "report_layout",
    "report_page",
    "wheel",
)
"""Files of tests that share what takes seconds to make, which one of them pays for: all are left out."""


def left_out() -> set[str]:
    """The functions that the loop of work leaves out, by the beginning of their node ids."""
    return set(LEFT_OUT.read_text(encoding="utf-8").split())


def function(node_id: str) -> str:
    """The function that a test calls, whatever it is given.

    >>> function("tests/test_a.py::test_b[1-2]")
    'tests/test_a.py::test_b'
    """
    return node_id.partition("[")[0]


def seconds(reports: Iterable[Path]) -> dict[str, float]:
    """How long each function took, with all that it was given: of several reports the quickest of each test."""
    tests: dict[str, float] = {}
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            test = f"{case.attrib['classname'].replace('.', '/')}.py::{case.attrib['name']}"
            took = float(case.attrib["time"])
            tests[test] = min(took, tests.get(test, took))
    functions: defaultdict[str, float] = defaultdict(float)
    for test, took in tests.items():
        functions[function(test)] += took
    return functions


def shares(name: str) -> bool:
    """Whether a function shares something dear with others of its file."""
    return name.startswith(tuple(f"tests/test_{file}.py::" for file in SHARING))


def too_long(functions: Mapping[str, float], most: float) -> list[str]:
    """The functions that do not fit into so many seconds, where the quickest come first, and those that share.

    >>> too_long({"a": 3.0, "b": 1.0, "c": 2.0, "d": 9.0}, most=3.5)
    ['a', 'd']
    """
    taken, longer = 0.0, []
    for name in sorted(functions, key=lambda name: (functions[name], name)):
        taken += 0.0 if shares(name) else functions[name]
        if taken > most or shares(name):
            longer.append(name)
    return sorted(longer)


def _measured(folder: Path) -> Path:
    report = folder / "report.xml"
    words = [sys.executable, "-m", "pytest", "--numprocesses", "2", f"--junitxml={report}"]
    if code := subprocess.run(words, cwd=LEFT_OUT.parents[1], check=False).returncode:
        sys.exit(code)
    return report


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        reports = [Path(report) for report in sys.argv[1:]] or [_measured(Path(folder))]
        longer = too_long(seconds(reports), SECONDS)
    LEFT_OUT.write_text("".join(f"{name}\n" for name in longer), encoding="utf-8")
