"""Fingerprints of the data that a run was trained on: the cases of its own split, and nothing else.

A cohort grows, and a run of before is still of the same data: other cases, slides without features, groups and
attributes are no part of these fingerprints.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa

HashOf = Callable[[str], str | None]
"""SHA-256 of a case's patches and vectors; None for a case without."""


def features_fingerprint(case_ids: Iterable[str], hash_of: HashOf) -> str:
    """SHA-256 over the patches and vectors of some cases, in whatever order they are given."""
    return _hash([[case_id, hash_of(case_id)] for case_id in sorted(case_ids)])


def features_of_split(label_of: Mapping[str, int | None], subset_of: Mapping[str, str] | None, hash_of: HashOf) -> str:
    """SHA-256 over the features that a training on a split can use: those of its cases with label and features.

    Args:
        label_of: label of each case, None for one without.
        subset_of: subset of each case of the split; None for all cases.
        hash_of: of the encoder's features.
    """
    cases = label_of.keys() if subset_of is None else label_of.keys() & subset_of.keys()
    return features_fingerprint(
        (case_id for case_id in cases if label_of[case_id] is not None and hash_of(case_id) is not None), hash_of
    )


def data_fingerprint(
    classes: pa.Table, cases: pa.Table, splits: pa.Table, hash_of: HashOf, split_set: str, split: int
) -> str:
    """SHA-256 over all data of a training on a split: the classes, and each case's subset, label, patches and vectors.

    Args:
        classes: the store's table.
        cases: the store's table.
        splits: the store's table.
        hash_of: of the encoder's features.
        split_set: the split set.
        split: number of the split.
    """
    label_of = dict(zip(cases["case_id"].to_pylist(), cases["label"].to_pylist(), strict=True))
    names = sorted(zip(classes["label"].to_pylist(), classes["class_name"].to_pylist(), strict=True))
    of_split = sorted(
        (row["case_id"], row["subset"])
        for row in splits.to_pylist()
        if (row["split_set"], row["split"]) == (split_set, split)
    )
    rows = [[case_id, subset, label_of.get(case_id), hash_of(case_id)] for case_id, subset in of_split]
    return _hash([names, rows])


def _hash(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
