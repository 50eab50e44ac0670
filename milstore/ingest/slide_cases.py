"""Texts that are slides' ids, read as the cases that the slides are of: in labels, splits and what other tools wrote."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from milstore.errors import DataError
from milstore.formats.csv_table import TextTable
from milstore.store.case_ids import CaseIds
from milstore.store.names import clip, counted, named, natural_key
from milstore.store.slides import Slide, Slides


def slide_of(slides: Slides, text: str) -> Slide | None:
    """The slide that a text names: by its id, or by the name or path of a file of it; None if it is none.

    Where an id holds a dot, as TCGA's do before the UUID, what stands before is enough if no other slide begins so.
    """
    text = text.strip()
    if (found := slides.of_file(text)) is not None:
        return found
    begin = [slide_id for slide_id in slides if slide_id.startswith(f"{text}.")] if text else []
    return slides[begin[0]] if len(begin) == 1 else None


def case_of(slides: Slides, text: str) -> str | None:
    """The case of the slide that a text names; None if it names none."""
    slide = slide_of(slides, text)
    return None if slide is None else slide.case_id


def needed_cases(slides: Slides, texts: Iterable[str], where: str) -> dict[str, str]:
    """The case of each text, all of which must be slides. DataError, naming them, if some are none."""
    found = {text: case_of(slides, text) for text in dict.fromkeys(texts)}
    unknown = [text for text, case_id in found.items() if case_id is None]
    if unknown:
        raise DataError(
            f"{where} names {counted(len(unknown), 'slide')} that the store does not know ({named(unknown, 5)}): take "
            "them in first by milstore ingest slides"
        )
    return {text: case_id for text, case_id in found.items() if case_id is not None}


def subsets_of_cases(slides: Slides, subset_of: Mapping[str, str], where: str) -> dict[str, str]:
    """The subset of each case, from those of slides.

    Args:
        slides: the store's slides.
        subset_of: train, val or test of each slide, by its id or its file's name.
        where: the split, for messages.

    Raises:
        DataError: a slide is not known, or the slides of a case lie in several subsets.
    """
    cases = needed_cases(slides, subset_of, where)
    found: dict[str, str] = {}
    first: dict[str, str] = {}
    for text, subset in subset_of.items():
        case_id = cases[text]
        if found.setdefault(case_id, subset) != subset:
            raise DataError(
                f"{where} tears case {clip(case_id)} apart: slide {clip(first[case_id])} is in {found[case_id]} and "
                f"{clip(text)} in {subset}; what is learnt from one would be known of the other: put both into one"
            )
        first.setdefault(case_id, text)
    return found


def are_slides(slides: Slides, ids: CaseIds, texts: Iterable[str]) -> bool:
    """Whether a column holds ids of slides, and not of cases: all that are something are slides, and some are no case."""
    own = [text for text in dict.fromkeys(texts) if text.strip()]
    by_case = sum(ids.read(text) in ids for text in own)
    return bool(own and len(slides)) and by_case < len(own) and all(slide_of(slides, text) is not None for text in own)


def by_slides(table: TextTable, column: str, slides: Slides, known: Sequence[str]) -> tuple[TextTable, list[str]]:
    """A table whose column of cases may hold slides, with the slides' cases in their place; and that in words."""
    texts = table.column(column)
    if not are_slides(slides, CaseIds(known), texts):
        return table, []
    case_ids = [case_of(slides, text) or "" for text in texts]
    told = (
        f"{clip(column)} holds slides: {counted(len(set(texts) - {''}), 'slide')} of "
        f"{counted(len(set(case_ids) - {''}), 'case')}"
    )
    return replace(table, columns={**table.columns, column: case_ids}), [told]


def without_patches(slides: Slides, with_patches: Iterable[str]) -> list[str]:
    """Slides of which no slice has a patch, in natural order."""
    return sorted(set(slides) - set(with_patches), key=natural_key)
