"""Plans a launch and checks it before anything is submitted, so that no job fails an hour later."""

from collections.abc import Iterable
from typing import Any

from milstore.errors import UsageError
from milstore.launching.records import Launch, begin_launch
from milstore.store.cohort import read_cohort
from milstore.store.features import open_features
from milstore.store.paths import Store
from milstore.store.split_numbers import choose_split_set
from milstore.store.write_run import class_names
from milstore.training import TrainingConfig, resumption, setup
from milstore.training.experiment import CHECKPOINT_MINUTES, check_numbers, tell_migration
from milstore.training.model_choice import absolute, choose_model
from milstore.training.progress import Watcher
from milstore.training.stored_config import canonical_json

DEVICES = ("auto", "cpu", "cuda")


def plan_launch(
    store: Store,
    config: TrainingConfig,
    splits: Iterable[int] | None = None,
    *,
    launcher: str,
    split_set: str | None = None,
    encoder: str | None = None,
    seed: int = 0,
    experiment: str | None = None,
    fresh: bool = False,
    watcher: Watcher | None = None,
    **options: Any,
) -> Launch | None:
    """Check a training as `milstore.training.train_all` would, and write its plan. None if every split is finished.

    Args:
        store: the store.
        config: how to train.
        splits: numbers of the splits, as the split set has them; None for all that have no finished run on the same data.
        launcher: who will train: slurm or local.
        split_set: as for `train_all`, and so on.
        encoder: see split_set.
        seed: see split_set.
        experiment: see split_set.
        fresh: see split_set.
        watcher: hears what should be known.
        options: what else `train_all` is told, such as threads and device; plain JSON values.

    Raises:
        UsageError: an option that does not fit the store.
        ConflictError: the store lacks something, or the experiment stands for another configuration.
        StoreError: the launch cannot be written.
    """
    check_numbers(seed, options.get("threads"), options.get("checkpoint_minutes", CHECKPOINT_MINUTES))
    device = options.get("device", "auto")
    if device not in DEVICES:
        # Whether the node has it, only the node can tell.
        raise UsageError(f"--device {device!r}: give {', '.join(DEVICES)}")
    watcher = watcher or Watcher()
    tell_migration(store, watcher)
    chosen_model = choose_model(config)
    config = chosen_model.config
    cohort = read_cohort(store)
    class_names(cohort)
    packed = open_features(store, cohort, encoder)
    split_set, _ = choose_split_set(cohort, split_set)
    chosen = setup.choose_splits(cohort, split_set, splits)
    config_json = canonical_json(config, encoder=packed.encoder)
    experiment = setup.experiment_name(store, experiment, config_json, split_set)
    if splits is None and not fresh:
        known = [run for run in setup.known_runs(store, experiment) if run["seed"] == seed]
        data = setup.data_fingerprints(cohort, packed, [setup.Place(split_set, split) for split in chosen])
        chosen = [place.split for place in resumption.without_finished(known, data, watcher)]
    if not chosen:
        return None
    plans = [setup.plan_split(cohort, packed, split_set, split) for split in chosen]
    for note in setup.missing_features(cohort, packed, plans):
        watcher.note(note)
    facts = {
        "launcher": launcher,
        "experiment": experiment,
        "split_set": split_set,
        "encoder": packed.encoder,
        "seed": seed,
        "splits": chosen,
        "pooling": setup.pooling_of(config),
        "model": absolute(config.model),
        "epochs": config.epochs,
        "config": config_json,
        "options": {name: value for name, value in {"fresh": fresh, **options}.items() if value is not None},
    }
    return begin_launch(store, facts)
