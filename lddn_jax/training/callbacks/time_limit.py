"""Time limit for training."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from lddn_jax.checks import check_positive
from lddn_jax.training.stop_reason import StopReason
from lddn_jax.training.training_state import TrainingState


class TimeLimit:
    """Stops training ("time") after the first step that ends past the time limit.

    Args:
        seconds: Time limit of a run, including compilation. The clock starts anew with each call of `fit`, and runs on
            over all horizons of `fit_closed_loop` and all stages of `identify`.

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
        self._shared = 0  # depth of the runs that consist of several calls of `fit`

    @contextlib.contextmanager
    def over_several(self) -> Iterator[None]:
        """Lets the clock run on over all calls of `fit` within the context."""
        if not self._shared:
            self._end = None
        self._shared += 1
        try:
            yield
        finally:
            self._shared -= 1

    def on_start(self, state: TrainingState) -> None:
        """Starts the clock, unless it runs on from an earlier stage of the same run."""
        if self._end is None or not self._shared:
            self._end = time.monotonic() + self._seconds

    def on_step(self, state: TrainingState) -> bool:
        """Returns True once the time limit is reached."""
        return self._end is not None and time.monotonic() >= self._end


@contextlib.contextmanager
def one_run(callbacks: Sequence[Any]) -> Iterator[None]:
    """Treats all calls of `fit` within the context as one run, for the time limits among the callbacks."""
    with contextlib.ExitStack() as stack:
        for callback in callbacks if isinstance(callbacks, (list, tuple)) else ():
            if isinstance(callback, TimeLimit):
                stack.enter_context(callback.over_several())
        yield
