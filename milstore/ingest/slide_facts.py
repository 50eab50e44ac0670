"""Completes the table of slides: sizes from files, and the resolution that the user gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from milstore.schema.arrow import arrow_schema
from milstore.store.cohort_edit import CohortEdit
from milstore.store.slides import Slide


def put_slide_facts(
    edit: CohortEdit, said: Sequence[tuple[Slide | None, tuple[int, int] | None]], slide_mpp: float | None
) -> None:
    """Fill in what is unknown of slides: width and height from their files, and the resolution that the user gave."""
    facts: dict[str, Mapping[str, Any]] = {}
    for slide, size in said:
        if slide is not None:
            known = {} if size is None else {"width": size[0], "height": size[1]}
            facts[slide.slide_id] = known | ({} if slide_mpp is None else {"mpp": slide_mpp})
    rows = edit.table("slides").to_pylist()
    new = [
        {**row, **{key: value for key, value in facts.get(row["slide_id"], {}).items() if row[key] is None}}
        for row in rows
    ]
    if new != rows:
        edit.replace("slides", pa.Table.from_pylist(new, arrow_schema("slides")))
