"""The schema is defined once, and everything derived from it is up to date."""

from milstore.schema.arrow import arrow_schema
from milstore.schema.columns import columns
from milstore.schema.generate import GROUPS, outputs
from milstore.schema.tables import METADATA, tables
from tests.test_layout import ROOT


def test_generated_files_are_up_to_date() -> None:
    """columns.json, the DDL, the comments and docs/schema.md are what the tables say."""
    for path, text in outputs(ROOT).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run make docs"


def test_everything_has_a_comment() -> None:
    """Every table and every column says what it means."""
    for table in METADATA.sorted_tables:
        assert table.comment, table.name
        for column in table.columns:
            assert column.comment, f"{table.name}.{column.name}"


def test_every_table_has_a_group_and_an_arrow_schema() -> None:
    """The groups hold every table, and a table's file has its columns, run_id left to the folder's name."""
    grouped = {table.name for group in GROUPS for table in tables(group)}
    assert grouped == set(METADATA.tables)
    for group in GROUPS:
        for name, of in columns(group).items():
            expected = [c for c in of if not (group == "run" and c == "run_id")]
            assert arrow_schema(name).names == expected
