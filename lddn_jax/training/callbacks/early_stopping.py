"""An end to training that leads nowhere."""

import math

import numpy as np

from lddn_jax.checks import check_positive
from lddn_jax.errors import LDDNError
from lddn_jax.training.history import Row
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.training_state import TrainingState


class EarlyStopping:
    """Ends training ("no_progress") once a recorded number has not become smaller for some epochs.

    `fit(..., validation=..., max_fail=...)` does this for the validation loss, and returns the best network; this is
    for anything else in the history. With several networks the smallest number of them counts.

    Args:
        monitor: A name of the history: "loss", "validation_loss", "gradient_norm" …
        patience: Epochs without an improvement after which training ends.
        min_delta: What counts as an improvement: at least so much less, in units of the number.

    Raises:
        LDDNError: If a number makes no sense; at the first step, if nothing of that name is recorded.

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
        """Looks at what was recorded before, where a run goes on."""
        self._best, self._at = math.inf, 0
        for epoch, row in enumerate(state.rows[: state.epoch]):
            self._note(row, epoch + 1)

    def on_step(self, state: TrainingState) -> bool:
        """Whether patience is at its end."""
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
    """Ends training ("diverged") once the loss is far larger than it has been; the best network before is returned.

    Args:
        factor: Times the smallest loss so far.

    Raises:
        LDDNError: If the factor is not larger than 1.

    Example:
        >>> guard = StopOnDivergence(1e4)
    """

    stop_reason = StopReason.DIVERGED

    def __init__(self, factor: float | int = 1e6):
        if not factor > 1:
            raise LDDNError(f"factor={factor!r}, times the smallest loss, must be larger than 1.")
        self._factor = factor

    def on_step(self, state: TrainingState) -> bool:
        """Whether every network that goes on has a loss that large."""
        if not state.epoch:
            return False
        loss, lowest = state.rows[state.epoch - 1]["loss"], state.lowest.values
        if isinstance(loss, np.ndarray):
            return bool(np.nanmin(loss) > self._factor * lowest.min())
        return bool(loss > self._factor * lowest[0])
