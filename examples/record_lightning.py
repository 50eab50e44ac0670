"""A callback for Lightning that records a run: ten lines, for a module that keeps what it said of each case.

The module fills `module.said` at its end: case -> (probabilities, patches, weights), as `run.prediction` and
`run.attention` take them. Lightning is no dependency of milstore; without it the callback is a plain class with the same
methods.

    with milstore.open("data").record(experiment="lit-abmil", split=2, config=dict(module.hparams)) as run:
        Trainer(callbacks=[RecordRun(run)]).fit(module, ...)
"""

from typing import Any

from milstore.recording.recording import Recording

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    Callback = object


class RecordRun(Callback):  # type: ignore[misc]
    """Gives a recording each epoch's losses, and at the end what the module said."""

    def __init__(self, run: Recording) -> None:
        self.run = run

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Called by Lightning after each epoch, with the metrics that the module logged."""
        logged = {name: trainer.callback_metrics.get(name) for name in ("train_loss", "val_loss")}
        self.run.epoch(trainer.current_epoch + 1, **logged)

    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """Called by Lightning when the training is over."""
        for case_id, (probabilities, patches, weights) in module.said.items():
            self.run.prediction(case_id, probabilities)
            self.run.attention(case_id, patches, weights)
        self.run.weights(module.state_dict())
