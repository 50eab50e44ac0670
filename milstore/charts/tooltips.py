"""What a chart tells of the mark under the pointer: each column under one name and with the same digits in every chart."""

import altair as alt

from milstore.charts.wording import OUTCOME

_KNOWN: dict[str, tuple[str | None, str | None]] = {
    "case_id:N": ("case", None),
    "run_id:N": ("run", None),
    "true_class:N": ("true class", None),
    "pred_class:N": ("predicted class", None),
    "outcome:N": (OUTCOME, None),
    "p_true:Q": ("probability of the true class", ".3f"),
    "error:Q": (None, ".3f"),
    "share:Q": (None, ".1%"),
    "slice_idx:Q": ("slice", None),
    "slice_name:N": ("slice's name", None),
    "patch_idx:Q": ("patch", None),
    "rank:Q": ("rank in the case", None),
    "n_patches:Q": ("patches", None),
    "slice_patches:Q": ("patches of the slice", None),
    "stain_patches:Q": ("patches of the stain", None),
    "stain_slices:Q": ("slices of the stain", None),
    "case_slices:Q": ("slices of the case", None),
    "top_patches:Q": ("top patches", None),
    "stain_top_patches:Q": ("top patches of the stain", None),
    "case_top_patches:Q": ("top patches of the case", None),
    "stain_attention:Q": ("stain attention", ".3g"),
    "slice_attention:Q": ("slice attention", ".3g"),
    "patch_attention:Q": ("patch attention", ".3g"),
    "effective_attention:Q": ("effective attention", ".3g"),
    "slice_effective_attention:Q": ("attention of the slice", ".3g"),
    "score:Q": (None, ".3g"),
    "highest_score:Q": ("highest score", ".3g"),
    "mean_score:Q": ("mean score", ".3g"),
    "lowest_score:Q": ("lowest score", ".3g"),
    "times_even:Q": ("times the even share", ".3g"),
    "lift:Q": ("times the even spread", ".2f"),
    "stain_lift:Q": ("times the even spread", ".2f"),
    "effective_patches:Q": ("effective patches", ".1f"),
    "x:Q": ("x (pixels)", None),
    "y:Q": ("y (pixels)", None),
}
"""Column with its type -> how people call it, where that is not its own name, and the digits of its numbers."""

CASE = ("case_id:N", "true_class:N", "outcome:N", "error:Q")
"""A case, what it is, and how a run called it."""
CALLED = ("true_class:N", "outcome:N", "error:Q")
"""The same of a case that was named already."""
ORIGIN = ("subset:N", "run_id:N")
"""Where an answer came from."""
SLICE = ("case_id:N", "stain:N", "slice_idx:Q", "slice_name:N", "slice_patches:Q")
"""A slice, and its size."""
_OF_PATCH = ("case_id:N", "stain:N", "slice_idx:Q", "slice_name:N", "patch_idx:Q", "rank:Q")
PATCH = (*_OF_PATCH, "effective_attention:Q")
"""A patch, and what attention made of it."""
SCORED = (*_OF_PATCH, "score:Q")
"""A patch, and its score."""
PLACE = ("x:Q", "y:Q")
"""Where a patch lies on its slice."""


def told(*columns: str | alt.Tooltip) -> list[alt.Tooltip]:
    """The lines of a tooltip.

    Args:
        columns: columns with their types, such as `case_id:N`; an `alt.Tooltip` for what one chart alone has.

    >>> [line.to_dict() for line in told("case_id:N", "error:Q", "split:Q")][:2]
    [{'field': 'case_id', 'title': 'case', 'type': 'nominal'}, {'field': 'error', 'format': '.3f', 'type': 'quantitative'}]
    """
    return [column if isinstance(column, alt.Tooltip) else _line(column) for column in columns]


def _line(column: str) -> alt.Tooltip:
    title, digits = _KNOWN.get(column, (None, None))
    line = alt.Tooltip(column)
    # Without a title of its own a line is headed by the column's name.
    line = line if title is None else line.title(title)
    return line if digits is None else line.format(digits)
