"""An end to training after some time."""

import time

from lddn_jax.training.base import check_positive
from lddn_jax.training.outcome import StopReason
from lddn_jax.training.training_state import TrainingState


class TimeLimit:
    """Ends training ("time") after the step in which the time runs out.

    Args:
        seconds: Counted from the start of this call of `fit`, compilation included.

    Raises:
        LDDNError: If `seconds` is not a positive number.

    Example:
        >>> limit = TimeLimit(3600)
    """

    reason = StopReason.TIME

    def __init__(self, seconds: float | int):
        check_positive("seconds", seconds, (int, float))
        self._seconds = seconds
        self._end = float("inf")

    def on_start(self, state: TrainingState) -> None:
        """Starts the clock."""
        self._end = time.monotonic() + self._seconds

    def on_step(self, state: TrainingState) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end
