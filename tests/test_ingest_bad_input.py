"""Bad input: one clear line, exit 2, and a store that is as it was. What can happen to any file: `test_broken_files.py`."""

import pytest

from tests.bad_arrays import ARRAYS
from tests.bad_inputs import COMMANDS, TEXTS
from tests.broken import Place, judged

CASES = {**COMMANDS, **TEXTS, **ARRAYS}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_changes_nothing(place: Place, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, one line that says what, where and what to do, no traceback, and not a byte of the store changed."""
    bad = CASES[name]
    place = place.copy() if bad.copies else place
    assert bad.says in judged(place, bad.make(place), capsys)


def test_no_kind_of_bad_input_is_named_twice() -> None:
    """Each name stands for one kind."""
    assert len(CASES) == len(COMMANDS) + len(TEXTS) + len(ARRAYS)
