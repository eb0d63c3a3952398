"""An end to training after some time."""

import time

from lddn_jax.checks import check_positive
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.training_state import TrainingState


class TimeLimit:
    """Ends training ("time") after the step in which the time runs out.

    Args:
        seconds: Counted from the first time that training starts with this object, compilation included: all horizons
            of `fit_closed_loop` together have so much time.

    Raises:
        LDDNError: If `seconds` is not a positive number.

    Example:
        >>> limit = TimeLimit(3600)
    """

    stop_reason = StopReason.TIME

    def __init__(self, seconds: float | int):
        check_positive("seconds", seconds, int | float)
        self._seconds = seconds
        self._end: float | None = None

    def on_start(self, state: TrainingState) -> None:
        """Starts the clock, unless it is running."""
        if self._end is None:
            self._end = time.monotonic() + self._seconds

    def on_step(self, state: TrainingState) -> bool:
        """Whether the time is up."""
        return self._end is not None and time.monotonic() >= self._end
