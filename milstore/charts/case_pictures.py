"""Small pictures of the patches that a case's attention goes to, for charts whose question is what the cases look like."""

import pandas as pd

from milstore.asking.ask import ask
from milstore.asking.selection import ALL, Choice
from milstore.charts.theme import About
from milstore.errors import UsageError
from milstore.pixels.pictures import PatchFolder, data_uri

SHOWN = 3
"""Pictures a case."""
SIDE = 40
"""Pixels of a picture in the chart."""
MOST_CASES = 20
"""Cases that are shown with pictures: more make a file that is too large for a mail."""
_PIXELS = 96
COLUMNS = tuple(f"top_{place}" for place in range(1, SHOWN + 1))
"""Columns of the pictures, from the most attended patch down."""


def with_pictures(frame: pd.DataFrame, about: About) -> pd.DataFrame:
    """With a data URI of each of the most attended patches of the first cases, null where there is no picture.

    Args:
        frame: has run_id and case_id.
        about: what the chart says of where it came from; without a store there are no pictures.

    Returns:
        The rows with the columns `COLUMNS`; as they were where no picture can be shown at all.
    """
    if about.store is None:
        return frame
    pictures: dict[tuple[str, str, int], str] = {}
    folder = PatchFolder.of(about.store)
    for run_id, rows in frame.head(MOST_CASES).groupby("run_id", sort=False):
        choice = Choice(run=str(run_id), subset=ALL, cases=tuple(rows["case_id"]))
        try:
            patches = ask(about.store, "top-patch-list", choice, {"n": SHOWN}).df()
        except UsageError:
            # A run without attention has no patches that stand out.
            continue
        for patch, picture in zip(patches.to_dict("records"), folder.read_all(patches, _PIXELS), strict=True):
            if picture.image is not None:
                pictures[patch["run_id"], patch["case_id"], patch["rank"]] = data_uri(picture.image)
    if not pictures:
        return frame
    keys = list(zip(frame["run_id"], frame["case_id"], strict=True))
    frame = frame.copy()
    for place, name in enumerate(COLUMNS, start=1):
        frame[name] = pd.Series([pictures.get((*key, place)) for key in keys], index=frame.index, dtype=object)
    return frame
