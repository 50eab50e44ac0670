"""Splits of tools without a validation subset: it is drawn from the training cases."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from milstore.formats.split_file import Split
from milstore.ingest.split_sampling import Pool, draw_validation, pool_of, seed_of
from milstore.store.names import clip, counted, named, natural_key


@dataclass(frozen=True, slots=True)
class Drawn:
    """Splits with a validation subset."""

    splits: dict[int, Split]
    told: tuple[str, ...]
    """What could not be drawn, in words."""


def with_drawn_validation(
    splits: Mapping[int, Split],
    labels: Mapping[str, int | None],
    group_of: Mapping[str, str],
    *,
    seed: int,
    val_share: float,
) -> Drawn:
    """The splits, with a share of each training subset moved to validation: stratified, test cases unchanged.

    Cases without a label train, and so do those of a class that has one case (or group) there: they cannot do both.

    Args:
        splits: subset (train or test) of each case, by the number of the split.
        labels: class of each case of the store.
        group_of: the store's groups; cases of one group stay together.
        seed: the same seed draws the same, on every machine.
        val_share: share of train; 0 for no validation subset.

    Raises:
        UsageError: `val_share` or `seed` cannot be.
    """
    found: dict[int, Split] = {}
    alone: dict[int, list[str]] = {}
    for number, split in splits.items():
        rest = {
            case: label
            for case, subset in split.items()
            if subset == "train" and (label := labels.get(case)) is not None
        }
        groups = group_of if rest.keys() & group_of.keys() else None
        pool, lone = _drawable(pool_of(rest, groups))
        drawn = draw_validation(pool, seed=seed_of(seed, "", number), val_share=val_share) if pool.cases else {}
        found[number] = {case: drawn.get(case, subset) for case, subset in split.items()}
        if lone and val_share:
            alone[number] = lone
    told = [
        f"split {number}: {counted(len(cases), 'case')} of a class with too few to train and to validate only train "
        f"({named(map(clip, sorted(cases, key=natural_key)))})"
        for number, cases in alone.items()
    ]
    return Drawn(found, tuple(told))


def _drawable(pool: Pool) -> tuple[Pool, list[str]]:
    """The cases among which validation can be drawn, and the others: what is left of each class is two units or more."""
    kept = list(range(len(pool.cases)))
    while True:
        units = pool.cases if pool.groups is None else pool.groups
        of_label: dict[int, set[str]] = {}
        for i in kept:
            of_label.setdefault(pool.labels[i], set()).add(units[i])
        lone = {unit for own in of_label.values() if len(own) < 2 for unit in own}
        if not lone:
            return pool.of(kept), _others(pool, kept)
        kept = [i for i in kept if units[i] not in lone]


def _others(pool: Pool, kept: Collection[int]) -> list[str]:
    inside = set(kept)
    return [case for i, case in enumerate(pool.cases) if i not in inside]
