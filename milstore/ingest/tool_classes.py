"""Maps the class names that a tool uses to the store's labels."""

from collections.abc import Sequence
from pathlib import Path

from milstore.errors import DataError
from milstore.store.cohort import Cohort
from milstore.store.names import clip, named


def labels_of_classes(cohort: Cohort, names: Sequence[str], path: Path) -> dict[str, int]:
    """The store's label of each class that a tool names: by the class's name here, or by how the label file called it.

    Args:
        cohort: the store's cohort.
        names: the classes.
        path: the file that names them, for messages.

    Raises:
        DataError: a class is none of the store's, two are one, or the store has others.
    """
    classes = {str(row["class_name"]): int(row["label"]) for row in cohort.table("classes").to_pylist()}
    if not classes:
        raise DataError(
            f"{path} has the classes {named(map(clip, names))}, and the store none: ingest the labels first"
        )
    by_source = _by_source(cohort)
    plain = {name.casefold(): label for name, label in classes.items()}
    found = {name: classes.get(name, plain.get(name.casefold(), by_source.get(name))) for name in names}
    unknown = [name for name, label in found.items() if label is None]
    known = {name: label for name, label in found.items() if label is not None}
    if unknown or sorted(known.values()) != sorted(classes.values()):
        theirs, ours = named(map(clip, names)), named(map(clip, classes))
        raise DataError(
            f"{path} tells the classes {theirs} apart, and the store {ours}: ingest the labels it was trained on"
        )
    return known


def _by_source(cohort: Cohort) -> dict[str, int]:
    """The label of each text of the label file that stands for one class."""
    found: dict[str, set[int]] = {}
    for row in cohort.table("cases").to_pylist():
        if row["label"] is not None and row["source_label"] is not None:
            found.setdefault(str(row["source_label"]), set()).add(int(row["label"]))
    return {text: labels.pop() for text, labels in found.items() if len(labels) == 1}
