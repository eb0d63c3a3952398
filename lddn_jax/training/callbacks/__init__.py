"""Callbacks for `fit(..., callbacks=[...])`: checkpoints, logs, progress, early stopping, time limit and signals.

A callback is a function of a `TrainingState`, called after each step, or an object with any of these methods:

    on_start(state)                  before the first step
    on_step(state) -> bool | None    after each step; True ends training
    on_end(state)                    after the last step, also after an error
    on_signal(signal) -> bool | None after on_end, if Ctrl-C or SIGTERM ended training; True lets `fit` return

An optional attribute `stop_reason`, a `lddn_jax.StopReason`, is the reason reported if `on_step` returns True. A
callback reads `state.epoch`, `state.last` (a dict of numbers), `state.net`, `state.best_net` and `state.history`.
"""

from lddn_jax.training.callbacks.early_stopping import EarlyStopping, StopOnDivergence
from lddn_jax.training.callbacks.logs import CSVLog, JSONLinesLog
from lddn_jax.training.callbacks.periodic_checkpoint import Checkpoint
from lddn_jax.training.callbacks.progress import Progress
from lddn_jax.training.callbacks.signal_return import ReturnOnSignal
from lddn_jax.training.callbacks.time_limit import TimeLimit

__all__ = [
    "CSVLog",
    "Checkpoint",
    "EarlyStopping",
    "JSONLinesLog",
    "Progress",
    "ReturnOnSignal",
    "StopOnDivergence",
    "TimeLimit",
]
