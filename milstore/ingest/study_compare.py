"""Compares the tables of a run of the study's trainers with what its weights give.

Differences are reported, not refused.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from milstore.errors import DataError, UsageError
from milstore.formats.study_folder import BY_POSITION, StudyTable
from milstore.ingest.member_positions import TEXT, rows_in
from milstore.ingest.patch_placing import Reading, place_rows
from milstore.ingest.study_attention import StudyRunAt, on_patches
from milstore.ingest.study_tables import match_by_value, read_study_attention, slices_by_file
from milstore.ingest.study_weights import Evaluated
from milstore.store.attention import LEVELS_OF_ROW
from milstore.store.names import counted
from milstore.store.patch_index import PLACE

SAME_TABLE = 1e-4
"""Relative difference of a weight up to which a table is of the weights that are given: rounding gives 1e-6."""


def compare_with_tables(run: StudyRunAt, evaluated: Evaluated) -> list[str]:
    """How far the run's tables are from what weights give, in words."""
    return [f"{table.path.name}: {_compared(run, table, evaluated)}" for table in run.folder.tables]


def _compared(run: StudyRunAt, table: StudyTable, evaluated: Evaluated) -> str:
    try:
        off, missing, rows = (_off_slices if table.kind == "slices" else _off_rows)(run, table, evaluated)
    except (DataError, UsageError) as error:
        # The attention is the weights'; a table that cannot be read is no reason to have none.
        return f"not compared with these weights ({error})"
    what = counted(rows, "row")
    if missing:
        return f"{what}, of which {missing} have the weights of no patch by these weights"
    how = f"are these to {off:.0e} of each" if off <= SAME_TABLE else f"differ from these by up to {off:.2g} of each"
    return f"{what}, whose weights {how}"


def _off_slices(run: StudyRunAt, table: StudyTable, evaluated: Evaluated) -> tuple[float, int, int]:
    attention, _ = slices_by_file(
        table.path, run.ground(run.cases, None), run.store.settings, run.known_cases, run.folder.stains_of
    )
    return _off(attention, evaluated.attention, ["effective_attention"])


def _off_rows(run: StudyRunAt, table: StudyTable, evaluated: Evaluated) -> tuple[float, int, int]:
    rows = read_study_attention(table.path, run.store.settings, run.known_cases)
    # Of cases without features there is nothing to compare.
    rows = rows.filter(pc.is_in(rows["case_id"], pc.unique(evaluated.attention["case_id"]).cast(pa.string())))
    if run.folder.form != BY_POSITION:
        matched = match_by_value(rows, evaluated.attention)
        return matched.difference, matched.missing, rows.num_rows
    ground = run.ground(run.cases, run.features)
    reading = Reading(patches_by=TEXT, slices_by=TEXT)
    found, _ = place_rows(table.path, rows.select(list(PLACE)), ground, reading, whole=False)
    return _off(on_patches(ground, found, rows), evaluated.attention, LEVELS_OF_ROW)


def _off(told: pa.Table, evaluated: pa.Table, names: Sequence[str]) -> tuple[float, int, int]:
    """The largest relative difference, how many rows have no partner, and how many rows there are."""
    found = rows_in(told, evaluated.cast(evaluated.schema), PLACE)
    there = found >= 0
    worst = 0.0
    for name in names:
        one = np.asarray(told[name], np.float64)[there]
        other = np.asarray(evaluated[name], np.float64)[found[there]]
        worst = max(worst, float(np.max(np.abs(one / np.maximum(other, 1e-30) - 1), initial=0.0)))
    return worst, int((~there).sum()), told.num_rows
