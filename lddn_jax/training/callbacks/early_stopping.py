"""Early stopping when progress stalls or the loss diverges."""

import math

import numpy as np

from lddn_jax.checks import check_positive
from lddn_jax.errors import LDDNError
from lddn_jax.training.history import Row
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.training_state import TrainingState


class EarlyStopping:
    """Stops training ("no_progress") when a monitored quantity has stopped decreasing.

    For early stopping on the validation loss, which also returns the best network, use
    `fit(..., validation=..., max_fail=...)`. With restarts, the smallest value over the networks is monitored.

    Args:
        monitor: Name of a column of the history: "loss", "validation_loss", "gradient_norm" …
        patience: Number of epochs without improvement after which training stops.
        min_delta: Minimum decrease that counts as an improvement.

    Raises:
        LDDNError: If `patience` or `min_delta` is invalid; at the first step, if the history has no such column.

    Example:
        >>> stopping = EarlyStopping("loss", patience=50, min_delta=1e-6)
    """

    stop_reason = StopReason.NO_PROGRESS

    def __init__(self, monitor: str = "loss", patience: int = 10, min_delta: float | int = 0.0):
        check_positive("patience", patience)
        if not min_delta >= 0:
            raise LDDNError(f"min_delta={min_delta!r} must not be negative.")
        self._monitor, self._patience, self._min_delta = monitor, patience, min_delta
        self._best, self._at = math.inf, 0

    def on_start(self, state: TrainingState) -> None:
        """Resets the best value, then restores it from the history if a run is resumed."""
        self._best, self._at = math.inf, 0
        for epoch, row in enumerate(state.rows[: state.epoch]):
            self._note(row, epoch + 1)

    def on_step(self, state: TrainingState) -> bool:
        """Returns True after `patience` epochs without improvement."""
        if not state.epoch:
            return False
        self._note(state.rows[state.epoch - 1], state.epoch)
        return state.epoch - self._at >= self._patience

    def _note(self, row: Row, epoch: int) -> None:
        if self._monitor not in row:
            raise LDDNError(f"EarlyStopping: {self._monitor!r} is not recorded; monitor one of {list(row)}.")
        value = row[self._monitor]
        if isinstance(value, np.ndarray):
            value = float(np.min(value, initial=math.inf, where=~np.isnan(value)))
        if value < self._best - self._min_delta or (self._best == math.inf and value < math.inf):
            self._best, self._at = value, epoch


class StopOnDivergence:
    """Stops training ("diverged") when the loss is far above its minimum so far; `fit` returns the best network.

    Args:
        factor: Stop if loss > factor × smallest loss so far.

    Raises:
        LDDNError: If the factor is not larger than 1.

    Example:
        >>> guard = StopOnDivergence(1e4)
    """

    stop_reason = StopReason.DIVERGED

    def __init__(self, factor: float | int = 1e6):
        if not factor > 1:
            raise LDDNError(f"factor={factor!r}, relative to the smallest loss, must be larger than 1.")
        self._factor = factor

    def on_step(self, state: TrainingState) -> bool:
        """Returns True if the losses of all networks in training exceed the limit."""
        if not state.epoch:
            return False
        loss, lowest = state.rows[state.epoch - 1]["loss"], state.lowest.values
        if isinstance(loss, np.ndarray):
            return bool(np.nanmin(loss) > self._factor * lowest.min())
        return bool(loss > self._factor * lowest[0])
