"""Warnings on cases that the models do not suit: seen in training, related to such, of other classes or stains."""

from collections.abc import Sequence

from milstore.predicting.models import LoadedRun
from milstore.predicting.sources import Sources, in_words, known_cases, related_cases
from milstore.schema.columns import NEW
from milstore.store.cohort import Cohort
from milstore.store.names import named
from milstore.store.write_run import Told


def trained_on(sources: Sources, cases: Sequence[str]) -> list[str]:
    """A warning on cases that models were trained on, predicted because the user asked for it."""
    known = known_cases(sources, cases)
    words = f"{named(in_words(sources, known))}: what these say of them is no test"
    return [f"warning: models were trained or validated on {words}"] if known else []


def related(sources: Sources, cohort: Cohort, cases: Sequence[str]) -> list[str]:
    """A warning for cases of one group with cases that models were trained on."""
    found = related_cases(sources, cohort, cases)
    words = [f"{case} (with case {other}, group {group})" for case, (group, other) in found.items()]
    return [f"warning: of one group with cases that models were trained on: {named(words)}"] if words else []


def told_cases(cohort: Cohort, class_names: Sequence[str], cases: Sequence[str]) -> tuple[Told, list[str]]:
    """The labels that are stored with the predictions, and a note on labels of classes that no model knows."""
    table = cohort.table("cases")
    label_of = dict(zip(table["case_id"].to_pylist(), table["label"].to_pylist(), strict=True))
    foreign = [case for case in cases if (label_of[case] or 0) >= len(class_names)]
    notes = (
        [f"of a class that the models do not know, and so without a label here: {named(foreign)}"] if foreign else []
    )
    known: dict[str, int | None] = {case: None if case in foreign else label_of[case] for case in cases}
    return Told(classes=class_names, label_of=known, subset_of=dict.fromkeys(cases, NEW)), notes


def strange_stains(loaded: Sequence[LoadedRun], cohort: Cohort, cases: Sequence[str]) -> list[str]:
    """A warning on stains that the store did not have when the models were trained."""
    known = set(loaded[0].stains)
    if not known:
        return []
    wanted = set(cases)
    rows = cohort.table("slices").select(["case_id", "stain"]).to_pylist()
    strange = sorted({row["stain"] for row in rows if row["case_id"] in wanted} - known)
    return [f"warning: no model was trained on the stain {named(strange)}, which these cases have"] if strange else []
