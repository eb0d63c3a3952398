"""Time limit for training."""

import time

from lddn_jax.checks import check_positive
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.training_state import TrainingState


class TimeLimit:
    """Stops training ("time") after the first step that ends past the time limit.

    Args:
        seconds: Time limit, including compilation. The clock starts when training first starts with this object, so the
            limit applies to all horizons of `fit_closed_loop` together.

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
        """Returns True once the time limit is reached."""
        return self._end is not None and time.monotonic() >= self._end
