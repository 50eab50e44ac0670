"""Cases that are incomplete: with a label but no patch, or with patches but no label."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from milstore.store.names import clip, counted, named, natural_key, normal_case_id

if TYPE_CHECKING:
    from milstore.store.cohort import Cohort
    from milstore.store.cohort_edit import CohortEdit

_OTHER = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Gaps:
    """What is missing of which cases, each in natural order."""

    without_patches: tuple[str, ...]
    """Cases without any patch."""
    without_label: tuple[str, ...]
    alike: dict[str, tuple[str, ...]]
    """A case that has patches and no label: cases that have a label and no patch, and whose ids look like its own."""

    def lines(self) -> list[str]:
        """These as lines of text; none where nothing is missing."""
        found = []
        if self.without_patches:
            found.append(f"without any patch: {_cases(self.without_patches)}")
        if self.without_label:
            found.append(f"without a label: {_cases(self.without_label)}")
        return [*found, *self.alike_lines()]

    def alike_lines(self) -> list[str]:
        """The ids that look alike, in words."""
        if not self.alike:
            return []
        words = [f"{clip(case)} and {', '.join(map(clip, own[:3]))}" for case, own in self.alike.items()]
        return [
            f"ids that look alike, the first with patches and no label, the others with a label and no patch: {named(words)}"
        ]


def gaps_of(cohort: "Cohort | CohortEdit") -> Gaps:
    """What is missing of the cases of a cohort."""
    cases, slices = cohort.table("cases"), cohort.table("slices")
    label_of = dict(zip(cases["case_id"].to_pylist(), cases["label"].to_pylist(), strict=True))
    return gaps(label_of, set(slices["case_id"].to_pylist()))


def gaps(label_of: Mapping[str, int | None], with_patches: set[str]) -> Gaps:
    """What is missing of some cases.

    A store without any patch, or without any label, is one that is being filled: then nothing is missing of that kind.

    Args:
        label_of: label of each case, None for one without.
        with_patches: the cases that have patches.
    """
    labelled = {case for case, label in label_of.items() if label is not None}
    without_patches = label_of.keys() - with_patches if with_patches else set()
    without_label = label_of.keys() - labelled if labelled else set()
    return Gaps(
        _in_order(without_patches),
        _in_order(without_label),
        _alike(_in_order(without_label & with_patches), _in_order(without_patches & labelled)),
    )


def _alike(one: Collection[str], other: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The ids of `other` that look like each of `one`: the same but for marks and capitals, or going on after an underscore."""
    by_form: dict[str, list[str]] = {}
    for case in other:
        forms = {_form(case)}
        parts = case.split("_")
        forms |= {_form("_".join(parts[:i])) for i in range(1, len(parts))}
        for form in forms:
            by_form.setdefault(form, []).append(case)
    return {case: tuple(by_form[form]) for case in one if (form := _form(case)) in by_form}


def _form(case: str) -> str:
    return _OTHER.sub("", normal_case_id(case).casefold())


def _in_order(cases: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(cases, key=natural_key))


def _cases(cases: Collection[str]) -> str:
    return f"{counted(len(cases), 'case')} ({named(cases)})"
