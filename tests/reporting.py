"""Reports for tests: what a test does not look at is not asked, for a whole report takes six seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from milstore.report import work
from milstore.report.plan import CLOSING, OPENING


@contextmanager
def brief(*anchors: str, charts: bool = True, processes: bool = False) -> Iterator[None]:
    """In this block a report asks the first question of these chapters alone; without any, all that it always asks.

    Args:
        anchors: of chapters.
        charts: whether charts are drawn; else there is a table in the place of each.
        processes: whether it may ask in processes of their own.
    """

    def here(answerer: Any, pieces: Any, jobs: int | None) -> Any:
        return begin(answerer, pieces, jobs if processes else 1)

    begin = work.begin
    with pytest.MonkeyPatch.context() as patch:
        if anchors:
            for name, whole in (("plan.OPENING", OPENING), ("building.CLOSING", CLOSING)):
                few = tuple(replace(each, asked=each.asked[:1]) for each in whole if each.anchor in anchors)
                patch.setattr(f"milstore.report.{name}", few)
        if not charts:
            patch.setattr("milstore.report.answers.charted", lambda: ())
        patch.setattr("milstore.report.building.begin", here)
        yield
