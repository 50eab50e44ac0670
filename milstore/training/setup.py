"""Prepares a training: classes, split, features and the experiment's name, each checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from milstore.errors import ConflictError
from milstore.models.registry import DEFAULT as DEFAULT_MODEL
from milstore.store.cohort import Cohort, select_cases
from milstore.store.encoded_patches import existing_by_slice, grid_of, of_grid, without_features
from milstore.store.features import PackedFeatures
from milstore.store.fingerprints import data_fingerprint, features_fingerprint
from milstore.store.names import check_name, named, natural_key
from milstore.store.paths import Store
from milstore.store.run_reader import PREDICTION, RECORDED
from milstore.store.run_writer import list_drafts
from milstore.store.split_numbers import check_split, split_numbers, subsets_of
from milstore.store.sql_text import execute
from milstore.store.views import connect
from milstore.training.config import TrainingConfig
from milstore.training.evaluation import SliceKey
from milstore.training.split_cases import SplitCases
from milstore.training.stored_config import default_experiment, differences, same_settings


class Place(NamedTuple):
    """A split of a split set."""

    split_set: str
    split: int

    def words(self, n_sets: int) -> str:
        """It in words, where the split sets are so many: the number alone is enough of one."""
        return str(self.split) if n_sets == 1 else f"{self.split} of {self.split_set}"


@dataclass(frozen=True)
class SplitPlan:
    """A split as it can be trained: its cases, and those that have no features or no label."""

    cases: SplitCases
    left_out: dict[str, str]
    """Subset of each case of the split that has a label but no features."""
    unlabelled: tuple[str, ...] = ()
    """Cases of the split without a label, in natural order. The run knows nothing of them."""

    def facts(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        label_of = self.cases.label_of
        cases = {case_id: [subset, label_of[case_id]] for case_id, subset in self.cases.subset_of.items()}
        return {"cases": cases, "left_out": self.left_out}

    def features_fingerprint(self, packed: PackedFeatures) -> str:
        """SHA-256 of the patches and vectors of the cases that are trained on and evaluated."""
        return features_fingerprint(self.cases.subset_of, packed.hash_of)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "SplitPlan":
        """The plan from what `facts` gave."""
        cases = SplitCases(
            {case_id: subset for case_id, (subset, _) in facts["cases"].items()},
            {case_id: label for case_id, (_, label) in facts["cases"].items()},
        )
        return cls(cases, facts["left_out"])


def stain_names(cohort: Cohort) -> list[str]:
    """The store's stains, in alphabetical order."""
    return sorted(row["stain"] for row in cohort.table("stains").to_pylist())


def pooling_of(config: TrainingConfig) -> str | None:
    """How the default model pools; None for any other."""
    return config.pooling if config.model == DEFAULT_MODEL else None


def choose_splits(cohort: Cohort, split_set: str, wanted: Iterable[int] | None) -> list[int]:
    """The splits to train, all of them if None; UsageError for one that the split set does not have."""
    if wanted is None:
        return split_numbers(cohort, split_set)
    return [check_split(cohort, split_set, split) for split in wanted]


def data_fingerprints(cohort: Cohort, packed: PackedFeatures, places: Iterable[Place]) -> dict[Place, str]:
    """The fingerprint of the data of a training on each split."""
    classes, cases, table = (cohort.table(name) for name in ("classes", "cases", "splits"))
    hash_of = cache(packed.hash_of)
    return {place: data_fingerprint(classes, cases, table, hash_of, *place) for place in places}


def plan_split(cohort: Cohort, packed: PackedFeatures, split_set: str, split: int) -> SplitPlan:
    """The cases of a split with subset and label. Those without a label are left out.

    Raises:
        ConflictError: no case has a label.
    """
    subset_of = subsets_of(cohort, split_set, split)
    cases = cohort.table("cases")
    label_of = dict(zip(cases["case_id"].to_pylist(), cases["label"].to_pylist(), strict=True))
    unlabelled = [case_id for case_id in sorted(subset_of, key=natural_key) if label_of.get(case_id) is None]
    if len(unlabelled) == len(subset_of):
        raise ConflictError(
            f"split {split} of {split_set} has no case with a label ({_cases(unlabelled)}): run milstore ingest labels"
        )
    for case_id in unlabelled:
        del subset_of[case_id]
    there = packed.case_rows
    return SplitPlan(
        cases=SplitCases(
            subset_of={case_id: subset for case_id, subset in subset_of.items() if case_id in there},
            label_of={case_id: label_of[case_id] for case_id in subset_of if case_id in there},
        ),
        left_out={case_id: subset for case_id, subset in subset_of.items() if case_id not in there},
        unlabelled=tuple(unlabelled),
    )


def patch_counts(cohort: Cohort, encoder: str, case_ids: Iterable[str]) -> dict[SliceKey, int]:
    """Patches that the cohort has of each slice of some cases, on the encoder's grid where it has one."""
    wanted = set(case_ids)
    return {key: count for key, count in existing_by_slice(cohort, encoder).items() if key[0] in wanted}


def missing_features(cohort: Cohort, packed: PackedFeatures, plans: Iterable[SplitPlan]) -> list[str]:
    """One sentence for each kind of omission: cases without label or features, patches without features."""
    plans = list(plans)
    left_out = sorted({case_id for plan in plans for case_id in plan.left_out}, key=natural_key)
    trained = {case_id for plan in plans for case_id in plan.cases.subset_of}
    with_feature = sum(end - first for case_id, (first, end) in packed.case_rows.items() if case_id in trained)
    wanted = select_cases(of_grid(cohort.table("patches"), grid_of(cohort, packed.encoder)), sorted(trained))
    existing = with_feature + without_features(wanted, packed.patches).num_rows
    unlabelled = sorted({case_id for plan in plans for case_id in plan.unlabelled}, key=natural_key)
    notes = []
    if unlabelled:
        notes.append(f"warning: without a label, so left out: {_cases(unlabelled)}")
    if left_out:
        notes.append(f"warning: without {packed.encoder} features, so left out: {_cases(left_out)}")
    if existing > with_feature:
        notes.append(
            f"warning: {existing - with_feature} of {existing} patches have no {packed.encoder} feature "
            "and are left out"
        )
    return notes


def _cases(case_ids: list[str]) -> str:
    return f"{len(case_ids)} case{'s' if len(case_ids) > 1 else ''}, {named(case_ids)}"


def experiment_name(store: Store, wanted: str | None, config_json: str, split_set: str) -> str:
    """The experiment's name: the one wanted, else that of an experiment of this configuration, else the configuration's own.

    Of several experiments of the configuration, the newest with a run of the split set goes on, else the newest.

    Raises:
        UsageError: a name that does not fit.
        ConflictError: the name stands for another configuration; what differs is named.
    """
    if wanted is None and (found := _of_configuration(store, config_json, split_set)):
        return found
    name = check_name(wanted or default_experiment(config_json), "experiment")
    for other in known_runs(store, name):
        if other["kind"] == PREDICTION:
            raise ConflictError(f"{name} is the name of a prediction of new cases: choose another --experiment")
        if other["kind"] == RECORDED:
            raise ConflictError(
                f"experiment {name} holds what another trainer recorded (run {other['run_id']}): choose another --experiment"
            )
        if not same_settings(other["config"], config_json):
            what = "; ".join(differences(other["config"], config_json))
            raise ConflictError(
                f"experiment {name} stands for another configuration ({what}): choose another --experiment"
            )
    return name


def _of_configuration(store: Store, config_json: str, split_set: str) -> str | None:
    """The experiment that trainings of a configuration belong to already; None if there is none."""
    known = known_runs(store, None)
    same = {text: same_settings(text, config_json) for text in {run["config"] for run in known}}
    found = [run for run in known if same[run["config"]]]
    newest = max(found, key=lambda run: (run["split_set"] == split_set, str(run["started_at"])), default=None)
    return None if newest is None else str(newest["experiment"])


_KNOWN = (
    "experiment",
    "split_set",
    "split",
    "seed",
    "config",
    "started_at",
    "cohort_fingerprint",
    "data_fingerprint",
    "kind",
)


def known_runs(store: Store, experiment: str | None) -> list[dict[str, Any]]:
    """Each training of an experiment (None: of all), unfinished ones included: run_id, finished, what it was trained on and how."""
    where = "where kind = 'training'" if experiment is None else "where experiment = $experiment"
    # What 0.1 did not know of its runs was written down when the store was brought to this version.
    chosen = ", ".join(
        "coalesce(runs.data_fingerprint, earlier_runs.data_fingerprint) as data_fingerprint"
        if name == "data_fingerprint"
        else name
        for name in _KNOWN
    )
    query = f"select run_id, {chosen}, true as finished from runs left join earlier_runs using (run_id) {where} order by all"
    values = {} if experiment is None else {"experiment": experiment}
    with connect(store, {"runs", "earlier_runs"}) as con:
        finished: list[dict[str, Any]] = execute(con, query, values).to_arrow_table().to_pylist()
    there = {run["run_id"] for run in finished}
    unfinished = [
        {**{key: draft.facts.get(key) for key in _KNOWN}, "run_id": draft.run_id, "finished": False}
        for draft in list_drafts(store)
        if draft.run_id not in there
        and (draft.facts.get("experiment") == experiment or (experiment is None and "config" in draft.facts))
    ]
    return finished + unfinished
