"""Splits of slides as splits of their cases: a case whose slides lie in several subsets is torn, and refused by name."""

from collections.abc import Iterable
from dataclasses import replace

from milstore.errors import DataError
from milstore.formats.split_file import Split, SplitFiles
from milstore.store.case_ids import CaseIds
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.slides import Slides


def splits_of_cases(found: SplitFiles, slides: Slides, known: Iterable[str], source: object) -> SplitFiles:
    """What files say of slides, said of the slides' cases. Where the store has no slide of a name, a case of that name is meant.

    Args:
        found: what the files say.
        slides: the store's slides.
        known: the store's cases.
        source: the files, for messages.

    Raises:
        DataError: a slide is not known, or the slides of a case lie in several subsets of a split.
    """
    if not found.by_slide:
        return found
    cases = CaseIds(known)
    case_of: dict[str, str] = {}
    unknown: dict[str, None] = {}
    families = {"": found.splits, **found.families}
    for name in {name: None for splits in families.values() for split in splits.values() for name in split}:
        slide = slides.of_file(name)
        if slide is not None:
            case_of[name] = slide.case_id
        elif cases.read(name) in cases:
            case_of[name] = cases.read(name)
        else:
            unknown[name] = None
    if unknown:
        raise DataError(
            f"{source} names {counted(len(unknown), 'slide')} that the store does not know "
            f"({named(map(clip, sorted(unknown, key=natural_key)), 5)}): take them in first by milstore ingest slides"
        )
    read = {
        family: {
            number: _of_cases(split, case_of, f"{found.origins.get(number, source)}, split {number},")
            for number, split in splits.items()
        }
        for family, splits in families.items()
    }
    n_slides, n_cases = len(case_of), len(set(case_of.values()))
    told = f"splits of slides: {counted(n_slides, 'slide')} of {counted(n_cases, 'case')}"
    return replace(found, splits=read.pop(""), families=read, left_out=(*found.left_out, told), by_slide=False)


def _of_cases(split: Split, case_of: dict[str, str], where: str) -> Split:
    slides_in: dict[str, dict[str, list[str]]] = {}
    for name, subset in split.items():
        slides_in.setdefault(case_of[name], {}).setdefault(subset, []).append(name)
    torn = [case for case, subsets in slides_in.items() if len(subsets) > 1]
    if torn:
        case = torn[0]
        own = "; ".join(f"{named(map(clip, names))} in {subset}" for subset, names in slides_in[case].items())
        more = f" (and {len(torn) - 1} more)" if len(torn) > 1 else ""
        raise DataError(
            f"{where} tears case {clip(case)}{more} over subsets ({own}): what is learned of one slide tells of the others; "
            "split by case (milstore splits make does)"
        )
    return {case: next(iter(subsets)) for case, subsets in slides_in.items()}
