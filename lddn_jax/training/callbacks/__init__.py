"""What can happen while a network trains; pass any of these, or your own, to `fit(..., callbacks=[...])`.

A callback is a function of a `TrainingState`, or an object with some of the three methods

    on_start(state)                  before the first step
    on_step(state) -> bool | None    after each step; True ends training
    on_end(state)                    after the last step, also where an error ended it

and perhaps an attribute `stop_reason`, why training ends where its `on_step` returns True: a `lddn_jax.StopReason`,
perhaps of its own. It reads `state.epoch`, `state.last` (a dictionary of numbers), `state.net`, `state.best_net`,
`state.history`.
"""

from lddn_jax.training.callbacks.early_stopping import EarlyStopping, StopOnDivergence
from lddn_jax.training.callbacks.logs import CSVLog, JSONLinesLog
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.callbacks.progress import Progress
from lddn_jax.training.callbacks.time_limit import TimeLimit

__all__ = ["CSVLog", "Checkpoint", "EarlyStopping", "JSONLinesLog", "Progress", "StopOnDivergence", "TimeLimit"]
