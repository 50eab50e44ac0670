"""Translates slides' ids to the slides' cases, in labels, splits and files of other tools."""

from collections.abc import Iterable
from dataclasses import replace

from milstore.formats.csv_table import TextTable
from milstore.store.case_ids import CaseIds
from milstore.store.cohort_edit import CohortEdit
from milstore.store.names import clip, counted, natural_key
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


def are_slides(slides: Slides, ids: CaseIds, texts: Iterable[str]) -> bool:
    """Whether a column holds ids of slides, and not of cases: all that are something are slides, and some are no case."""
    own = [text for text in dict.fromkeys(texts) if text.strip()]
    by_case = sum(ids.read(text) in ids for text in own)
    return bool(own and len(slides)) and by_case < len(own) and all(slide_of(slides, text) is not None for text in own)


def by_slides(table: TextTable, column: str, edit: CohortEdit) -> tuple[TextTable, list[str]]:
    """A table whose column of cases may hold slides, with the slides' cases in their place; and that in words."""
    slides, texts = Slides(edit), table.column(column)
    if not len(slides) or not are_slides(slides, CaseIds.of(edit), texts):
        return table, []
    case_ids = [case_of(slides, text) or "" for text in texts]
    n_slides, n_cases = len({text for text in texts if text}), len(set(filter(None, case_ids)))
    told = f"{clip(column)} holds slides: {counted(n_slides, 'slide')} of {counted(n_cases, 'case')}"
    return replace(table, columns={**table.columns, column: case_ids}), [told]


def without_patches(slides: Slides, with_patches: Iterable[str]) -> list[str]:
    """Slides of which no slice has a patch, in natural order."""
    return sorted(set(slides) - set(with_patches), key=natural_key)
