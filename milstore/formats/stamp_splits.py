"""STAMP's splits: one JSON file with the patients of each split that trained, and of its test. None of them validate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from milstore.errors import DataError
from milstore.formats.interface import first_bytes
from milstore.formats.json_file import read_json_object
from milstore.formats.split_columns import one_file
from milstore.formats.split_file import Split, SplitFiles, SplitReading, put_case
from milstore.store.names import clip

_PARTS = {"train_patients": "train", "test_patients": "test"}


class StampSplits:
    """STAMP's splits.json: train_patients and test_patients of each split; validation is drawn from train."""

    endings = ("json",)

    def recognises(self, path: Path) -> bool:
        """A JSON file that speaks of `train_patients` or `test_patients` near its beginning."""
        head = first_bytes(path, 4096).lstrip(b"\xef\xbb\xbf \r\n\t")
        return (
            head.startswith(b"{")
            and b'"splits"' in head
            and (b'"train_patients"' in head or b'"test_patients"' in head)
        )

    def read(self, files: Sequence[Path], reading: SplitReading) -> SplitFiles:
        """The cases that train and are tested in each split, counted from 0 as STAMP's folders are."""
        path = one_file(files)
        held = read_json_object(path, "STAMP's splits").get("splits")
        if not isinstance(held, list) or not held:
            raise DataError(f"{path} has no list 'splits' of splits: name STAMP's splits.json")
        return SplitFiles(
            splits={number: _split(path, number, each, reading) for number, each in enumerate(held)},
            origins={number: f"split-{number}" for number in range(len(held))},
            numbered="counted from 0 in the file's order, as STAMP's folders split-0, split-1, … are",
            draws_validation=True,
        )


def _split(path: Path, number: int, held: Any, reading: SplitReading) -> Split:
    where = f"{path}, split {number},"
    if not isinstance(held, dict) or not all(isinstance(held.get(name), list) for name in _PARTS):
        raise DataError(f"{where} has no {' and '.join(_PARTS)}: name STAMP's splits.json")
    split: Split = {}
    for name, subset in _PARTS.items():
        texts = [str(each) for each in held[name]]
        reading.refuse(path, f"{name} of split {number}", texts)
        for text in texts:
            if reading.no_case(text):
                raise DataError(f"{where} has {clip(text)!r} in {name}, which names no case: drop it")
            put_case(split, reading.case_id(text), subset, where)
    return split
