"""A store whose case ids would run as scripts if anything took them for markup."""

from pathlib import Path

from milstore.store import Store
from tests.making import Patch, levels, make_run, make_splits, make_store

HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=2>",
    "\"'><svg onload=window.hacked=3>\u2028\u2029&lt;",
)
"""Case ids that would run as scripts if anything took them for markup."""


def hostile_store(folder: Path) -> Store:
    """Three cases with hostile ids, each with two patches a stain; all are called high-grade, so that two are wrong."""
    labels = dict(zip(HOSTILE, (0, 0, 1), strict=True))
    patches: list[Patch] = [(case, stain, 0, i) for case in HOSTILE for stain in ("h&e", "melan") for i in range(2)]
    store = make_store(folder, labels, patches)
    make_splits(store, "one", [{"test": list(HOSTILE)}])
    weights = {patch: float(i % 4 + 1) for i, patch in enumerate(patches)}
    chances = dict.fromkeys(HOSTILE, (0.2, 0.8))
    make_run(store, "exp-s1-0", dict.fromkeys(HOSTILE, "test"), labels, chances, levels(weights), split_set="one")
    return store
