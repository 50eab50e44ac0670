"""Write what is derived from the tables and kept in git: `python -m milstore.schema.generate [--check]`."""

import json
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Table
from sqlalchemy.schema import CreateTable

from milstore.schema.columns import GROUPS, RULES
from milstore.schema.tables import tables

_TITLES = {
    "cohort": "The cohort",
    "features": "Features",
    "run": "Runs",
}
_VIEWS = {
    "out_of_fold": "One row per experiment, seed and case: its prediction by the run that held it in test.",
    "predictions_named": (
        "predictions in words: with true_class, pred_class and outcome (right or wrong), which are null where there is no "
        "label, and case_order."
    ),
    "case_probabilities": (
        "One row per run and case: lists of labels, class_names and probabilities, in the order of the labels, and margin, "
        "half the difference of the two largest probabilities."
    ),
    "case_coverage": (
        "One row per run and case of which a patch was evaluated: patches and slices that were, and missing_stains, those "
        "of the store that the case lacks, as a text."
    ),
    "slice_weights": (
        "One row per run, case, stain and slice: stain_attention, slice_attention, their product "
        "slice_effective_attention, slice_patches, and n_patches of the case."
    ),
}
_MACROS = {
    "natural_order(name)": "A text to sort names by in natural order, match_2 before match_10.",
    "top_count(n, pct)": "How many of a case's n patches are its top pct percent: greatest(1, floor(n * pct / 100)).",
    "same_to_six_digits(one, other)": "Whether two numbers, such as attention or scores, are the same to six digits.",
    "slice_fits(stain, slice_name, slice_idx, asked_stain, asked_slice)": (
        "Whether a slice is of the asked stain and has the asked slice_name or slice_idx; null asks for all."
    ),
}
_TABLE_MACROS = {
    "slices_asked(case, stain, slice)": (
        "The rows of slice_weights of a case's slices, with slice_name and case_slices: of all, of those of a stain, or of "
        "those of a slice_name or slice_idx (null for what is not asked). An error names the case's slices where none fits. "
        "Ask it as a table: from slices_asked('46', null, 'match_1')."
    ),
    "scores_ranked(name)": (
        "The patches that have a score of this name, one row per run and patch: score, rank (1 is the highest of the run and "
        "case; among equals the order of stain, slice_idx and patch_idx), and n_patches of the case that have it. Ask it as a "
        "table: from scores_ranked('class_token')."
    ),
    "slices_scored(name, case, stain, slice)": (
        "A case's slices whose patches have a score of this name, as slices_asked gives those with attention: slice_name, "
        "slice_patches, highest_score, mean_score, lowest_score and case_slices."
    ),
}


def duckdb_type(sql_type: str) -> str:
    """DuckDB's name of a generic SQL type.

    >>> duckdb_type("DATETIME")
    'TIMESTAMP'
    """
    return {"DATETIME": "TIMESTAMP"}.get(sql_type, sql_type)


def columns_json() -> str:
    """Tables by group, and their columns with types; then the rules of each table."""
    content: dict[str, dict[str, Any]] = {
        group: {t.name: {c.name: duckdb_type(str(c.type)) for c in t.columns} for t in tables(group)}
        for group in GROUPS
    }
    content[RULES] = {t.name: _rules(t) for group in GROUPS for t in tables(group)}
    return json.dumps(content, indent=1) + "\n"


def _rules(table: Table) -> dict[str, Any]:
    """Which columns are never null, which are the key, and which refer to which columns of another table."""
    references = [
        {
            "columns": [key.parent.name for key in constraint.elements],
            "table": constraint.referred_table.name,
            "targets": [key.column.name for key in constraint.elements],
        }
        for constraint in table.foreign_key_constraints
    ]
    return {
        "required": [c.name for c in table.columns if not c.nullable],
        "key": [c.name for c in table.primary_key],
        "references": sorted(references, key=lambda reference: reference["columns"]),
    }


def catalog_sql(names: set[str]) -> str:
    """DDL of tables that milstore.duckdb holds, with their keys and comments."""
    parts = ["-- Generated from milstore.schema.tables: do not edit."]
    for table in (table for table in tables("cohort") if table.name in names):
        ddl = str(CreateTable(table, if_not_exists=True)).strip().replace("DATETIME", "TIMESTAMP").replace("\t", "    ")
        parts.append("\n".join(line.rstrip() for line in ddl.splitlines()) + ";")
        parts += comments(table, "table")
    return "\n\n".join(parts) + "\n"


def view_comments_sql() -> str:
    """Comments on the views of milstore.duckdb."""
    parts = ["-- Generated from milstore.schema.tables: do not edit."]
    for group in ("features", "run"):
        for table in tables(group):
            parts += comments(table, "view")
    parts += [f"comment on view {view} is {_literal(text)};" for view, text in _VIEWS.items()]
    parts += [f"comment on macro {_name(macro)} is {_literal(text)};" for macro, text in _MACROS.items()]
    parts += [f"comment on macro table {_name(macro)} is {_literal(text)};" for macro, text in _TABLE_MACROS.items()]
    return "\n".join(parts) + "\n"


def _name(call: str) -> str:
    return call.partition("(")[0]


def comments(table: Table, kind: str) -> list[str]:
    """`comment on` statements of a table or view and its columns."""
    made = [f"comment on {kind} {table.name} is {_literal(str(table.comment))};"]
    made += [f'comment on column {table.name}."{c.name}" is {_literal(str(c.comment))};' for c in table.columns]
    return made


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def schema_page() -> str:
    """docs/schema.md: every table and column."""
    lines = [
        "# The tables of a store",
        "",
        "Generated from `schema/tables.py` by `make docs`; a test holds the two together.",
        "In `milstore.duckdb` the cohort's tables have the keys named here; the others are views over Parquet files.",
    ]
    for group in GROUPS:
        lines += ["", f"## {_TITLES[group]}"]
        for table in tables(group):
            lines += [
                "",
                f"### `{table.name}`",
                "",
                str(table.comment),
                "",
                "| column | type | key | meaning |",
                "|---|---|---|---|",
            ]
            lines += [_row(table, column.name) for column in table.columns]
    lines += ["", "## Views over these", ""]
    lines += [f"- `{view}`: {text}" for view, text in _VIEWS.items()]
    lines += ["", "## Macros", ""]
    lines += [f"- `{macro}`: {text}" for macro, text in (_MACROS | _TABLE_MACROS).items()]
    return "\n".join(lines) + "\n"


def _row(table: Table, name: str) -> str:
    column = table.columns[name]
    keys = ["primary"] if column.primary_key else []
    keys += [f"→ `{key.target_fullname}`" for key in column.foreign_keys]
    meaning = str(column.comment).replace("|", "\\|")
    return f"| `{name}` | {duckdb_type(str(column.type)).lower()} | {' '.join(keys)} | {meaning} |"


def outputs(root: Path) -> dict[Path, str]:
    """Every generated file below the repository's root, and what it should hold."""
    others = {table.name for table in tables("cohort")} - {"patches"}
    return {
        root / "schema" / "columns.json": columns_json(),
        root / "schema" / "catalog.sql": catalog_sql(others),
        # Apart, because a very large patch table is a view instead.
        root / "schema" / "catalog_patches.sql": catalog_sql({"patches"}),
        root / "schema" / "view_comments.sql": view_comments_sql(),
        root / "docs" / "schema.md": schema_page(),
    }


def main() -> int:
    """Write the files, or with --check only tell which differ (exit code 1)."""
    stale = 0
    for path, text in outputs(Path(__file__).resolve().parents[1]).items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if "--check" in sys.argv:
            sys.stderr.write(f"{path} differs from schema/tables.py: run make docs\n")
        else:
            path.write_text(text, encoding="utf-8")
            sys.stderr.write(f"wrote {path}\n")
    return int(stale > 0 and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
