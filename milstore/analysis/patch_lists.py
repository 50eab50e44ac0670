"""Notes on lists of patches and slices that end among equal weights."""

from milstore.analysis.ties import Columns, cut_note, of_columns, of_rows


def told(column: Columns) -> list[str]:
    """Of `top-patch-list` and `patch-gallery`: how many of a case's patches tie with one that is not listed."""
    tied = of_rows(column("case_id"), column("tied"))
    return cut_note(tied, "patches listed", "Which of these are listed is decided by their names.")


def told_of_top(column: Columns) -> list[str]:
    """Of `level-correlation`: how many of the top patches tie with one left out."""
    tied = of_columns(column, "tied_patches", "n_patches")
    return cut_note(tied, "top patches", "Which of these are correlated is decided by their names.")


def told_of_map(column: Columns) -> list[str]:
    """Of `slice-map`: how many of the outlined patches tie with one that is not."""
    rows = zip(column("case_id"), column("tied"), column("outlined"), strict=True)
    outlined = [(case_id, tied) for case_id, tied, is_outlined in rows if is_outlined]
    found = of_rows([case_id for case_id, _ in outlined], [tied for _, tied in outlined])
    return cut_note(found, "outlined patches", "Which of these are outlined is decided by their names.")


def told_of_slices(column: Columns) -> list[str]:
    """Of `selected-slices`: how many of the slices tie with one that is not listed."""
    tied = column("tied")
    if not any(tied):
        return []
    listed = f"{sum(map(bool, tied))} of {len(tied)} slices"
    return [f"{listed} tie with one that is not listed: the order of cases and names decides"]
