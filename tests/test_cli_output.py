"""Tables for people."""

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from milstore.cli.output import make_table, plain_table

values = (
    st.none() | st.integers() | st.booleans() | st.floats(allow_nan=False) | st.text(st.characters(max_codepoint=127))
)
tables = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=width, max_size=width),
        st.lists(st.lists(values, min_size=width, max_size=width), max_size=4),
    )
)


@given(table=tables)
def test_a_plain_table_is_what_rich_would_write(table: tuple[list[str], list[list[Any]]]) -> None:
    """The table that is written without rich, because importing it takes long, has the very letters of rich's."""
    columns, rows = table
    stream = io.StringIO()
    Console(file=stream, width=100_000, highlight=False, markup=False, emoji=False).print(make_table(columns, rows))
    assert plain_table(columns, rows) in (stream.getvalue(), None)


def test_the_usual_table_is_plain() -> None:
    """Identifiers, numbers and what is absent need no rich."""
    assert plain_table(["case", "n"], [["46", 1.5], ["TCGA", None]]) == (
        "            \n case     n \n ────────── \n 46     1.5 \n TCGA     – \n            \n"
    )


def test_letters_of_unknown_width_are_left_to_rich() -> None:
    """A case in Chinese takes two columns a letter, which rich knows."""
    assert plain_table(["case"], [["病例"]]) is None
