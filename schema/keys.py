"""The columns and keys that tables share, and the collection that all tables are in."""

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, Integer, MetaData, String

METADATA = MetaData()


def case_key() -> Column[str]:
    """The column `case_id` as part of a table's key."""
    return Column("case_id", String, ForeignKey("cases.case_id"), primary_key=True, comment="the case")


def place_columns() -> list[Column[str] | Column[int]]:
    """The columns that identify a patch, for tables that do not carry them as keys."""
    return [
        Column("case_id", String, nullable=False, comment="the case"),
        Column("stain", String, nullable=False, comment="the stain"),
        Column(
            "slice_idx",
            Integer,
            nullable=False,
            comment="the slice: its number within case and stain, given once",
        ),
        Column(
            "patch_idx",
            Integer,
            nullable=False,
            comment="the patch: its number within the slice, given once, never a position",
        ),
    ]


def slice_key() -> ForeignKeyConstraint:
    """The rule that case, stain and slice are those of a row of `slices`."""
    return ForeignKeyConstraint(
        ["case_id", "stain", "slice_idx"], ["slices.case_id", "slices.stain", "slices.slice_idx"]
    )


def run_key() -> Column[str]:
    """The column `run_id` as part of a table's key."""
    return Column(
        "run_id", String, primary_key=True, comment="the run; in the files it is the folder's name, not a column"
    )
