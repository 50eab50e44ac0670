"""slideflow's splits: one JSON file with a list of plans, each with the slides of its folds, or of two parts.

What slideflow calls validation is what a model of its own did not train on, and what it is judged by: here it is the test.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from milstore.errors import DataError
from milstore.formats.interface import first_bytes
from milstore.formats.json_file import read_json
from milstore.formats.split_columns import one_file
from milstore.formats.split_file import Split, SplitFiles, SplitReading, put_case
from milstore.store.names import clip, named

_FOLD = re.compile(r"k-?fold-?(\d{1,9})")
_PARTS = {"training": "train", "validation": "test"}


class SlideflowSplits:
    """slideflow's splits.json: the slides of each fold, which is the test of its split; validation is drawn from the rest."""

    endings = ("json",)

    def recognises(self, path: Path) -> bool:
        """A JSON file with a list of plans, each with a `strategy`."""
        head = first_bytes(path, 1 << 16).lstrip(b"\xef\xbb\xbf \r\n\t")
        return head.startswith(b"[") and b'"strategy"' in head

    def read(self, files: Sequence[Path], reading: SplitReading) -> SplitFiles:
        """The subset of each slide: a split a fold by the fold's number. Of several plans, each is a split set of its own."""
        path = one_file(files)
        plans = [_plan(path, place, each) for place, each in enumerate(_list(path), start=1)]
        numbered = "numbered as slideflow's folds are"
        if len(plans) == 1:
            return SplitFiles(splits=plans[0][1], numbered=numbered, draws_validation=True, by_slide=True)
        told = [f"plan {place}: {strategy}" for place, (strategy, _) in enumerate(plans, start=1)]
        return SplitFiles(
            families={str(place): splits for place, (_, splits) in enumerate(plans, start=1)},
            numbered=numbered,
            left_out=(f"{path.name} has {len(plans)} plans, each a split set ({named(told, shown=20)})",),
            draws_validation=True,
            by_slide=True,
        )


def _list(path: Path) -> list[Any]:
    held = read_json(path, "slideflow's splits")
    if not isinstance(held, list) or not held:
        raise DataError(f"{path} holds no list of plans: name slideflow's splits.json")
    return held


def _plan(path: Path, place: int, plan: Any) -> tuple[str, dict[int, Split]]:
    """What a plan calls itself, and its splits: the subset of each slide, by the number of the split."""
    where = f"{path}, plan {place},"
    parts = plan.get("tfrecords") if isinstance(plan, dict) else None
    fits = isinstance(parts, dict) and parts and all(_are_texts(slides) for slides in parts.values())
    if not fits or not isinstance(parts, dict):
        raise DataError(f"{where} has no 'tfrecords' with the slides of its folds: name slideflow's splits.json")
    strategy = clip(str(plan.get("strategy")), 40)
    folds = {name: match for name in parts if (match := _FOLD.fullmatch(name))}
    if len(folds) == len(parts) and len(folds) > 1:
        numbers = {name: int(match[1]) for name, match in folds.items()}
        if double := [number for number, count in Counter(numbers.values()).items() if count > 1]:
            raise DataError(f"{where} has fold {named(double)} more than once: keep one")
        return f"{strategy}, {len(folds)} folds", _folds(where, {numbers[name]: own for name, own in parts.items()})
    if set(parts) == set(_PARTS):
        split: Split = {}
        for name, subset in _PARTS.items():
            for slide in parts[name]:
                put_case(split, slide, subset, where, "slide")
        return strategy, {1: split}
    raise DataError(
        f"{where} has the parts {named(map(clip, parts))}: it needs k-fold-1, k-fold-2, …, or training and validation"
    )


def _folds(where: str, slides_of: Mapping[int, Sequence[str]]) -> dict[int, Split]:
    fold_of: dict[str, int] = {}
    for number, slides in sorted(slides_of.items()):
        for slide in slides:
            if fold_of.setdefault(slide, number) != number:
                raise DataError(f"{where} has slide {clip(slide)} in folds {fold_of[slide]} and {number}: keep one")
    return {
        number: {slide: "test" if fold == number else "train" for slide, fold in fold_of.items()}
        for number in sorted(slides_of)
    }


def _are_texts(slides: Any) -> bool:
    return isinstance(slides, list) and all(isinstance(slide, str) for slide in slides)
