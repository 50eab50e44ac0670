"""A store whose runs have scores of patches, for the tests of questions by a score."""

from pathlib import Path

import milstore
from milstore.store import Store
from tests.making import THREE_PATCHES, MadeOnce, three_case_store

CAM = {"2": (-1, -2, -3, -4, -1, -2), "10": (-5, -1, -1, 2, 2, 2, -0.5, 0, 1, -9), "46": (-2, -1, -3)}
"""By case, in the order of `THREE_PATCHES`: of case 2 an h&e and a melan patch share the highest, which is negative."""
ORDER = ("2", "10", "46")


def patches_of(case: str) -> list[tuple[str, int, int]]:
    """Stain, slice_idx and patch_idx of a case's patches."""
    return [patch[1:] for patch in THREE_PATCHES if patch[0] == case]


@MadeOnce
def scored_store(folder: Path) -> Store:
    """The three cases with the runs `exp` of attention, and recorded ones.

    `rec`, a run a split (2, 10 and 46 in test): the score `rest` of all cases, 0 everywhere, and `cam` but for the run of case 46.
    `both`, of split 2: attention, even over the patches, and `cam`. `bare`, of split 2: neither.
    """
    store = three_case_store.anew(folder)
    opened = milstore.open(folder)
    for split, tested in enumerate(ORDER, start=1):
        with opened.record(experiment="rec", split=split) as run:
            for case in ORDER:
                run.prediction(case, (0.3, 0.7))
                scores = {"rest": [0.0] * len(CAM[case])} | ({} if tested == "46" else {"cam": CAM[case]})
                run.scores(case, patches_of(case), scores)
    for experiment in ("both", "bare"):
        with opened.record(experiment=experiment, split=2) as run:
            for case in ORDER:
                run.prediction(case, (0.3, 0.7))
            if experiment == "both":
                run.attention("10", patches_of("10"), [0.1] * 10)
                run.scores("10", patches_of("10"), {"cam": CAM["10"]})
    return store
