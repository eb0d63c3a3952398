"""Ctrl-C and SIGTERM: the first ends training after the step in hand, the second at once.

Signals reach Python between two of its instructions, and a step is one long instruction. So a step that may be long is
waited for in another thread, which leaves the main thread free to hear the second signal.
"""

import signal
import threading
import time
from types import FrameType
from typing import Any

import jax

LONG_STEP_SECONDS = 0.5  # seconds: a step that is shorter is simply waited for
_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruption:
    """A context in which signals are noted.

    Handlers that somebody else has set are left alone, before and inside of the context, and so are threads other than
    the main one, which hear no signals.

    Attributes:
        received: The signal that came, or None.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._longest = float("inf")  # nothing is known of the first step, which compiles

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number, default in _DEFAULTS.items():
                if signal.getsignal(number) == default:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._note:  # a callback may have set another one, to stay
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        elif number == signal.SIGTERM:
            raise SystemExit(128 + number)
        else:
            raise KeyboardInterrupt

    def wait(self, values: Any) -> Any:
        """Returns values once they are computed."""
        start = time.perf_counter()
        if self._previous and self._longest > LONG_STEP_SECONDS:
            thread = threading.Thread(target=jax.block_until_ready, args=(values,), daemon=True)
            thread.start()
            thread.join()
        jax.block_until_ready(values)
        self._longest = time.perf_counter() - start
        return values
