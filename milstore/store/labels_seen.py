"""Which labels runs were told, beside those that the store has now: labels may be corrected, and runs keep what they saw."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from milstore.store.cohort import Cohort
from milstore.store.findings import NOTE, Finding
from milstore.store.names import counted, named, natural_key
from milstore.store.paths import RUN_FOLDER, Store
from milstore.store.plain import check_plain
from milstore.store.run_reader import run_ids


def check_labels(store: Store, cohort: Cohort) -> Iterator[Finding]:
    """A note for each finished run that saw another label of a case than the store has now."""
    cases = cohort.table("cases")
    label_of = dict(zip(cases["case_id"].to_pylist(), cases["label"].to_pylist(), strict=True))
    for run_id in run_ids(store):
        try:
            path = store.run_folder(run_id) / "predictions.parquet"
            check_plain(path, store.root)
            with pq.ParquetFile(path) as file:
                seen = file.read(columns=["case_id", "true_label"])
            pairs = list(zip(seen["case_id"].to_pylist(), seen["true_label"].to_pylist(), strict=True))
        except (OSError, KeyError, pa.ArrowException):
            # Damaged, which is said elsewhere.
            continue
        # In a damaged file a case may be anything.
        other: list[str] = [
            case for case, label in pairs if isinstance(case, str) and case in label_of and label_of[case] != label
        ]
        if other:
            cases_text = (
                f"{counted(len(other), 'case')} ({named(sorted(other, key=lambda case: natural_key(str(case))))})"
            )
            yield Finding(
                kind=NOTE,
                where=f"{store.runs.name}/{RUN_FOLDER}{run_id}",
                what=f"saw other labels than the store has now, of {cases_text}",
                repair="nothing is broken: train that split again if the labels were corrected, and a prediction takes those "
                "of now by the same milstore predict command",
            )
