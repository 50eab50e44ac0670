"""A store as notebooks use it: `milstore.open("data").query("top-patches", case="46").df()`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milstore import queries
from milstore.asking.ask import ask, ask_sql
from milstore.asking.result import Result
from milstore.asking.selection import Choice
from milstore.errors import UsageError
from milstore.store.paths import Store, open_store

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from milstore.charts.own import Draw
    from milstore.recording.recording import Recording

_RUNS = """
select run_id, experiment, split_set, split, seed, pooling, best_epoch, n_epochs, seconds, finished_at
from runs
order by finished_at, run_id
"""


@dataclass(frozen=True, slots=True)
class OpenStore:
    """A store, and what can be asked of it. It holds no connection and no lock: any number may be open at once.

    Every question takes, beside its own parameters, the words that say which run answers: `run`, `experiment`, `split`,
    `seed`, `subset`, `prediction` and `case` (one case, or several in a list), as the options of `milstore query` do.
    """

    store: Store

    def questions(self) -> dict[str, str]:
        """The questions that can be asked, by name, with what they answer."""
        folder = self.store.queries
        return {name: queries.load(name, folder).title for name in queries.available(folder)}

    def query(
        self,
        name: str,
        *,
        case: str | int | Sequence[str | int] | None = None,
        run: str | None = None,
        experiment: str | None = None,
        split: int | None = None,
        seed: int | None = None,
        subset: str | None = None,
        by: str | None = None,
        prediction: str | None = None,
        **values: Any,
    ) -> Result:
        """Ask a question by its name; with `by`, of each group of cases that has one value of this attribute, or by this
        score of patches in place of attention.

        Returns:
            Its rows: `.arrow()`, `.df()` (pandas), `.pl()` (polars), `.rows()` (tuples) or `.records()` (dictionaries).

        Raises:
            UsageError: the question, run, experiment, case or parameter does not exist or does not fit.
            StoreError: the store holds no finished run.
        """
        choice = _choice(case, run, experiment, split, seed, subset, prediction)
        if by is None:
            return ask(self.store, name, choice, values)
        from milstore.asking.by_name import ask_by_name

        return ask_by_name(self.store, name, by, choice, values)

    def plot(
        self,
        name: str,
        *,
        case: str | int | Sequence[str | int] | None = None,
        run: str | None = None,
        experiment: str | None = None,
        split: int | None = None,
        seed: int | None = None,
        subset: str | None = None,
        by: str | None = None,
        prediction: str | None = None,
        chart: "Draw | None" = None,
        **values: Any,
    ) -> Any:
        """The chart of a question, as an Altair chart: its own, or what the function `chart(frame, about)` draws.

        With `by` it is drawn for each group of cases that has one value of this attribute, one below the other, or by this
        score of patches in place of attention.

        Errors are those of `query`; UsageError too if it has no chart, or yours cannot be drawn.
        """
        from milstore.charts.render import plot

        choice = _choice(case, run, experiment, split, seed, subset, prediction)
        return plot(self.store, name, choice, values, chart=chart, by=by)

    def sql(self, text: str) -> Result:
        """Ask one SQL statement that reads. UsageError for one that is wrong or does more."""
        return ask_sql(self.store, text)

    def engine(self) -> "Engine":
        """An SQLAlchemy engine on the store, for `pandas.read_sql` and other tools: it can read, and takes no lock."""
        from milstore.store.engine import make_engine

        return make_engine(self.store)

    def runs(self) -> Result:
        """The finished runs, oldest first."""
        return ask_sql(self.store, _RUNS)

    def record(
        self,
        *,
        experiment: str,
        split: int | None = None,
        seed: int | None = 0,
        config: Mapping[str, Any] | None = None,
        split_set: str | None = None,
        encoder: str | None = None,
        model: str | None = None,
        fresh: bool = False,
    ) -> "Recording":
        """Write a run from a trainer of one's own: `with store.record(experiment=…, split=2) as run:`.

        In the block, `run.epoch`, `run.prediction`, `run.attention`, `run.scores` and `run.weights` take what the trainer
        has. Each call is kept at once, and the run is finished when the block ends. After an exception or a kill the same
        call goes on with it: what is given again takes the place of what was given before.

        Args:
            experiment: name of the runs that share this configuration.
            split: number of the split, as the split set has it; None for a run without splits, whose predictions name
                their subset.
            seed: seed of the training, 0 or more; None if it has none.
            config: the configuration, as JSON could hold it.
            split_set: may be left out while the store has only one.
            encoder: name of what made the features.
            model: what the model is called.
            fresh: begin another run, whatever is there.

        Raises:
            UsageError: a name or number that does not fit, or that the store does not have.
            ConflictError: the store has no classes or no splits, the experiment stands for another configuration, or
                the run is finished.
        """
        from milstore.recording.begin import record

        return record(
            self.store,
            experiment=experiment,
            split=split,
            seed=seed,
            config=config,
            split_set=split_set,
            encoder=encoder,
            model=model,
            fresh=fresh,
        )

    def report(
        self,
        path: str | Path,
        *,
        case: str | int | Sequence[str | int] | None = None,
        run: str | None = None,
        experiment: str | None = None,
        split: int | None = None,
        seed: int | None = None,
        subset: str | None = None,
        prediction: str | None = None,
    ) -> Path:
        """Write the report of a run or an experiment, as a page or (for a file ending in .md) as markdown.

        Args:
            path: the file.
            case: a case or several, which it shows one by one in place of those that were called wrong.
            run: the run that answers, or a part of its id.
            experiment: the experiment that answers.
            split: the split whose run answers.
            seed: the seed, where the experiment has several.
            subset: train, val, test or all; test unless said.
            prediction: the prediction of new cases that answers, in place of run and experiment.

        Raises:
            UsageError: the run, experiment, seed, subset or case does not exist.
            DataError: the file cannot be written.
            StoreError: the store holds no finished run.
        """
        from milstore.report.writing import write_report

        write_report(self.store, Path(path), _choice(case, run, experiment, split, seed, subset, prediction))
        return Path(path)


def _choice(
    case: str | int | Sequence[str | int] | None,
    run: str | None,
    experiment: str | None,
    split: int | None,
    seed: int | None,
    subset: str | None,
    prediction: str | None,
) -> Choice:
    if case is None:
        cases: Sequence[str | int] = ()
    else:
        cases = [case] if isinstance(case, str | int) else case
    if not all(isinstance(one, str | int) for one in cases):
        raise UsageError("case is the id of a case, or a list of ids")
    return Choice(
        run=run,
        experiment=experiment,
        split=split,
        seed=seed,
        subset=subset,
        prediction=prediction,
        cases=tuple(str(one) for one in cases),
    )


def open_notebook(path: str | Path | None = None, *, verify: bool = True) -> OpenStore:
    """Open the store in a folder (default: MILSTORE_STORE, else ./data). StoreError if there is none.

    `verify` compares files with what was stored when they are read first.
    """
    return OpenStore(open_store(path, verify=verify))
