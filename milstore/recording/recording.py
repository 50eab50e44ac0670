"""A run that another trainer writes, call by call: each call is stored at once, and the run is committed at the end."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from milstore.errors import DataError, UsageError, in_a_line
from milstore.recording.attention import attention_rows
from milstore.recording.commit import commit
from milstore.recording.patches import CasePatches, StorePatches
from milstore.recording.values import Floats, columns_of, floats, weights_writer
from milstore.schema.columns import SUBSETS, columns, required
from milstore.store.attention import TOLERANCE
from milstore.store.case_ids import CaseIds
from milstore.store.cohort import Cohort
from milstore.store.given import Given, Prediction
from milstore.store.lease import Hold
from milstore.store.names import check_name, clip, counted, named
from milstore.store.patch_index import PLACE
from milstore.store.run_draft import RunDraft
from milstore.store.training_lease import TrainingLease
from milstore.store.write_run import Told, other_subset, unknown_case


class Recording:
    """What `record` returns: enter it by `with`, record the run's results, and it is committed when the block ends.

    Each call is kept before it returns, so that a kill loses nothing; what is given again takes the place of what was
    given before. An exception in the block leaves the run unfinished, and the same `record` goes on with it.
    """

    def __init__(
        self, cohort: Cohort, told: Told, lease: TrainingLease | None, claim: Callable[[], tuple[RunDraft, str]]
    ) -> None:
        """`told` and `lease` come from `record`; `claim` takes the unfinished run over for this process, while the lease is held."""
        self._cohort, self._told, self._lease, self._claim = cohort, told, lease, claim
        self._patches = StorePatches(cohort, cohort.store.settings)
        self._draft: RunDraft | None = None
        self._hold: Hold | None = None
        self._held = ExitStack()
        self.folder: Path | None = None
        """The run's folder, once it is finished."""

    @property
    def run_id(self) -> str:
        """The run's id. UsageError before the block is entered."""
        if self._draft is None:
            raise UsageError("a recording begins with its block: with store.record(…) as run:")
        return self._draft.run_id

    def __enter__(self) -> Self:
        """Begin the run, or continue the unfinished one.

        Raises:
            ConflictError: another process records the run.
            StoreError: the disk refuses.
        """
        if self._draft is not None:
            raise UsageError("this recording has begun already: call record(…) again")
        with ExitStack() as stack:
            if self._lease is not None:
                stack.enter_context(self._lease)
            self._draft, token = self._claim()
            self._hold = stack.enter_context(Hold(self._draft.folder, token))
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit the run; after an exception leave it unfinished, with what was recorded."""
        draft, _ = self._open()
        try:
            if error is None:
                if self._lease is not None and self._lease.lost:
                    draft.check_own()
                    self._lease.check()
                self.folder = commit(draft)
            else:
                draft.record_error(in_a_line(error))
        except Exception as failed:
            draft.record_error(in_a_line(failed))
            raise
        finally:
            self._hold = None
            self._held.__exit__(kind, error, trace)

    def epoch(self, epoch: int, *, kept: bool = False, **values: Any) -> None:
        """Record the row of an epoch: any columns of the table `epochs`; train_loss is required.

        Args:
            epoch: its number, from 1; given again, it takes the place of what was given before, and later ones stay.
            kept: that it is the epoch whose weights predicted.
            **values: numbers; what is left out is unknown.

        Raises:
            UsageError: a word is no column, or train_loss is missing.
            DataError: a value is no finite number.
            StoreError: the disk refuses, or another process has taken the run over.
        """
        draft, _ = self._open()
        known = [name for name in columns("run")["epochs"] if name not in ("run_id", "epoch")]
        unknown = [name for name in values if name not in known]
        if unknown:
            raise UsageError(f"an epoch has no {named(unknown)}: it has {named(known)}")
        if isinstance(epoch, bool) or int(epoch) != epoch or epoch < 1:
            raise UsageError(f"epoch {epoch!r}: epochs are numbered from 1")
        row = {name: None if values.get(name) is None else self._number(values[name], epoch, name) for name in known}
        missing = [name for name in known if name in required("epochs") and row[name] is None]
        if missing:
            raise UsageError(f"epoch {epoch} lacks {named(missing)}")
        draft.put_epoch({"epoch": int(epoch), **row})
        if kept:
            self._draft = draft.update_facts(best_epoch=int(epoch))

    @staticmethod
    def _number(value: Any, epoch: int, name: str) -> float:
        found = floats(value, f"{name} of epoch {epoch}")
        if found.size != 1 or not np.isfinite(found).all():
            raise DataError(f"{name} of epoch {epoch} is no finite number")
        return float(found.reshape(()))

    def prediction(
        self, case: str | int, probabilities: Any, *, subset: str | None = None, logits: bool = False
    ) -> None:
        """Record the prediction of a case. Its label comes from the store; a case may have none.

        Args:
            case: its id.
            probabilities: by class name, or an array, tensor or list in the order of the store's labels.
            subset: train, val or test. Needed without a split; where the split says it, it must agree.
            logits: whether these are raw scores, of which the softmax is meant.

        Raises:
            DataError: the store has no such case or class, the subset is another, or the numbers do not sum to 1.
            UsageError: the run has no split, and no subset is given.
            StoreError: as for `epoch`.
        """
        draft, _ = self._open()
        case_id = self._case(case)
        subset = self._subset(case_id, subset)
        chances = self._chances(case_id, probabilities, logits=logits)
        Given(draft).put_prediction(Prediction(case_id, subset, chances.tolist()))

    def attention(self, case: str | int, patches: Any, weights: Any, *, logits: bool = False) -> None:
        """Record the attention of a case. It may be left out for a case.

        Args:
            case: its id.
            patches: rows of (stain, slice_idx or slice_name, patch_idx), as tuples or as a frame with these columns;
                file names, as a list or as a column `file`; or a frame with stain, slice, x and y. A patch_idx is always
                the store's number.
            weights: (N,) one distribution over these patches, or (N, 3) or a frame with stain_attention,
                slice_attention and patch_attention, a row a patch; of numpy, torch or a list.
            logits: whether these are raw scores, of which the softmax is meant: over the case, or within each parent.

        Raises:
            DataError: the store has no such case or patch, or the weights do not sum to 1.
            StoreError: as for `epoch`.
        """
        draft, _ = self._open()
        of_case = self._patches_of(case)
        rows, form = attention_rows(of_case, of_case.find(patches), weights, logits=logits)
        Given(draft).put_attention(of_case.case_id, rows, form)

    def scores(self, case: str | int, patches: Any, values: Any) -> None:
        """Record numbers for a case's patches that are not attention, such as class activations.

        Args:
            case: its id.
            patches: as for `attention`.
            values: by name, one number of any sign for each patch.

        Raises:
            DataError: the store has no such case or patch, or there is not one finite number a patch.
            UsageError: a name does not fit.
            StoreError: as for `epoch`.
        """
        draft, _ = self._open()
        of_case = self._patches_of(case)
        rows = of_case.find(patches)
        named_values = columns_of(values)
        if not named_values:
            raise DataError('scores come by name: {"class_activation": values}')
        place = of_case.table.select(list(PLACE)).take(pa.array(rows))
        for name in named_values:
            check_name(name, "score")
            what = f"score {name} of case {clip(of_case.case_id)}"
            value_N = floats(values[name], what).reshape(-1)
            if len(value_N) != len(rows) or not np.isfinite(value_N).all():
                raise DataError(
                    f"{what}: give one finite number for each of the {counted(len(rows), 'patch', 'patches')}"
                )
            table = place.append_column("name", pa.array([name] * len(rows))).append_column("value", pa.array(value_N))
            Given(draft).put_scores(of_case.case_id, name, table)

    def weights(self, state: Mapping[str, Any]) -> None:
        """Store the model's weights with the run, as safetensors.

        Args:
            state: arrays of numpy or tensors of torch by name, such as `model.state_dict()`.

        Raises:
            DataError: a value is neither.
            StoreError: as for `epoch`.
        """
        draft, _ = self._open()
        Given(draft).put_weights(weights_writer(state))

    def _open(self) -> tuple[RunDraft, Hold]:
        if self._draft is None or self._hold is None:
            raise UsageError("a recording takes what is given within its block: with store.record(…) as run:")
        return self._draft, self._hold

    def _case(self, case: str | int) -> str:
        text = str(case)
        case_id = text if text in self._told.label_of else CaseIds(self._told.label_of).read(text)
        if case_id not in self._told.label_of:
            raise DataError(unknown_case(case_id))
        return case_id

    def _patches_of(self, case: str | int) -> CasePatches:
        return self._patches.of(self._case(case))

    def _subset(self, case_id: str, said: str | None) -> str:
        if self._told.subset_of is not None:
            known = self._told.subset_of.get(case_id)
            if known is None or said not in (None, known):
                raise DataError(other_subset(case_id, str(said), known))
            return known
        if said not in SUBSETS:
            raise UsageError(
                f"this run has no split: say the subset of case {clip(case_id)} (subset= {', '.join(SUBSETS)})"
            )
        return said

    def _chances(self, case_id: str, given: Any, *, logits: bool) -> Floats:
        classes, what = list(self._told.classes), f"the prediction of case {clip(case_id)}"
        if isinstance(given, Mapping):
            wrong = sorted({str(name) for name in given} ^ set(classes))
            if wrong:
                raise DataError(
                    f"{what} must name each class of the store once ({named(classes)}): not so {named(wrong)}"
                )
            given = [given[name] for name in classes]
        chances = floats(given, what)
        if chances.size != len(classes):
            raise DataError(
                f"{what} has {counted(chances.size, 'number')}, and the store {counted(len(classes), 'class', 'classes')} "
                f"({named(classes)})"
            )
        chances = chances.reshape(-1)
        if logits:
            if not np.isfinite(chances).all():
                raise DataError(f"{what} holds a logit that is no finite number")
            chances = np.exp(chances - chances.max())
            return np.asarray(chances / chances.sum(), np.float64)
        if not (chances >= 0).all() or abs(float(chances.sum()) - 1) > TOLERANCE:
            raise DataError(
                f"{what}: the probabilities are not numbers from 0 to 1 that sum to 1 (they sum to "
                f"{float(chances.sum()):.6g}): give logits=True for raw scores"
            )
        return chances
