"""Handling of Ctrl-C and SIGTERM: the first signal ends training after the current step, the second at once.

Python runs signal handlers between bytecode instructions, and waiting for a step is a single instruction. So the main
thread waits for a long step through another thread, which leaves it free to handle the second signal.
"""

import signal
import threading
import time
from types import FrameType
from typing import Any

import jax

LONG_STEP_SECONDS = 0.5  # shorter steps are waited for without a thread
_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruption:
    """A context manager that records SIGINT and SIGTERM.

    Handlers set by other code are never replaced, whether set before or inside the context. In threads other than the
    main one, which receive no signals, it does nothing.

    Attributes:
        received: The first signal received, or None.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._longest = float("inf")  # the first step compiles and may take long

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number, default in _DEFAULTS.items():
                if signal.getsignal(number) == default:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._note:  # keep a handler that a callback has set
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        elif number == signal.SIGTERM:
            raise SystemExit(128 + number)
        else:
            raise KeyboardInterrupt

    def wait(self, values: Any) -> Any:
        """Blocks until values are computed, and returns them."""
        start = time.perf_counter()
        if self._previous and self._longest > LONG_STEP_SECONDS:
            thread = threading.Thread(target=jax.block_until_ready, args=(values,), daemon=True)
            thread.start()
            thread.join()
        jax.block_until_ready(values)
        self._longest = time.perf_counter() - start
        return values
