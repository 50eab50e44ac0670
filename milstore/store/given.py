"""What another trainer has recorded of a run so far: one file per call in the unfinished run's folder, each written atomically.

What is given again takes the place of what was given before, and a kill between two calls loses nothing.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from milstore.store.io import write_json, write_parquet, write_whole
from milstore.store.plain import check_plain, read_object, unreadable
from milstore.store.run_draft import RunDraft
from milstore.store.run_reader import WEIGHTS

_FORM = b"milstore.attention"
"""Key of what kind of attention a file holds, in its schema."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The run's prediction of a case."""

    case_id: str
    subset: str
    probabilities: list[float]
    """Of each class, in the order of the labels."""


class Given:
    """The files of a recording, in its unfinished run's folder."""

    def __init__(self, draft: RunDraft) -> None:
        """Of an unfinished run; to store something, this process must hold its lease."""
        self._draft = draft

    def put_prediction(self, said: Prediction) -> None:
        """Store the prediction of a case.

        All `put_…` raise StoreError if the disk refuses or the run was taken over.
        """
        content = {"case_id": said.case_id, "subset": said.subset, "probabilities": said.probabilities}
        with self._draft.writing(f"the prediction of case {said.case_id}"):
            write_json(self._path("prediction", said.case_id, suffix="json"), content)

    def put_attention(self, case_id: str, rows: pa.Table, form: str) -> None:
        """Store the rows of a case's attention; `form` is levels or patches (one distribution over the case)."""
        marked = rows.replace_schema_metadata({_FORM: form.encode()})
        with self._draft.writing(f"the attention of case {case_id}"):
            write_whole(self._path("attention", case_id), partial(write_parquet, marked))

    def put_scores(self, case_id: str, name: str, rows: pa.Table) -> None:
        """Store the rows of one score of a case."""
        with self._draft.writing(f"the scores of case {case_id}"):
            write_whole(self._path("scores", case_id, name), partial(write_parquet, rows))

    def put_weights(self, writer: Callable[[Path], None]) -> None:
        """Store the weights, which `writer` writes to a path."""
        with self._draft.writing("the weights"):
            write_whole(self._draft.folder / WEIGHTS, writer)

    @property
    def weights(self) -> Path | None:
        """The file of weights; None if none were given."""
        path = self._draft.folder / WEIGHTS
        return path if path.is_file() else None

    def predictions(self) -> list[Prediction]:
        """The predictions, one per case."""
        found = [_prediction(path) for path in self._files("prediction")]
        return sorted(found, key=lambda said: said.case_id)

    def attention(self) -> tuple[list[pa.Table], set[str]]:
        """The rows of each case's attention, and which forms they have."""
        tables = [_read(path) for path in self._files("attention")]
        forms = {(table.schema.metadata or {}).get(_FORM, b"levels").decode() for table in tables}
        return [table.replace_schema_metadata(None) for table in tables], forms

    def scores(self) -> list[pa.Table]:
        """The rows of each score of each case."""
        return [_read(path) for path in self._files("scores")]

    def check(self) -> None:
        """StoreError if a file cannot be read."""
        self.predictions()
        self.attention()
        self.scores()

    def _files(self, kind: str) -> Iterator[Path]:
        return iter(sorted(self._draft.folder.glob(f"{kind}-*")))

    def _path(self, kind: str, *words: str, suffix: str = "parquet") -> Path:
        # A case may be called as no file can.
        name = hashlib.sha256("\0".join(words).encode()).hexdigest()[:24]
        return self._draft.folder / f"{kind}-{name}.{suffix}"


def _prediction(path: Path) -> Prediction:
    try:
        return Prediction(**read_object(path))
    except (OSError, ValueError, TypeError) as error:
        raise unreadable(path, error) from error


def _read(path: Path) -> pa.Table:
    try:
        # Not read_table, which imports pandas.
        check_plain(path)
        with pq.ParquetFile(path) as file:
            return file.read()
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from error
