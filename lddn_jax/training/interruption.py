"""Handling of Ctrl-C and SIGTERM: the first signal ends training after the current step, the second at once.

Once the training is saved, the signal takes the effect that it has on any program, so that `timeout`, a scheduler or a
loop over trainings ends too.

Python runs signal handlers between bytecode instructions, and waiting for a step is a single instruction. So the main
thread asks now and then whether a long step has ended, which leaves it free to handle the second signal. No other
thread waits: before Python 3.14, a thread that waits in XLA while the interpreter exits aborts the process.
"""

import signal
import threading
import time
from types import FrameType
from typing import Any, NoReturn

import jax

LONG_STEP_SECONDS = 0.5  # shorter steps are waited for in one instruction
POLLING_SHARE = 0.02  # of the time waited so far: the pause before asking again, so the most that is lost
_DEFAULTS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruption:
    """A context manager that records SIGINT and SIGTERM.

    Handlers set by other code are never replaced, whether set before or inside the context; those of an outer
    `Interruption` are, so that the innermost training ends first. In threads other than the
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
                handler = signal.getsignal(number)
                if handler == default or isinstance(getattr(handler, "__self__", None), Interruption):
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._note:  # keep a handler that a callback has set
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        else:
            take_effect(number)

    def wait(self, values: Any) -> Any:
        """Blocks until values are computed, and returns them."""
        start = time.perf_counter()
        if self._previous and self._longest > LONG_STEP_SECONDS:
            while not all(leaf.is_ready() for leaf in jax.tree.leaves(values)):
                time.sleep(POLLING_SHARE * (time.perf_counter() - start))
        jax.block_until_ready(values)
        self._longest = time.perf_counter() - start
        return values


def take_effect(number: int) -> NoReturn:
    """Raises what the signal raises in a program without handlers: `KeyboardInterrupt`, or for SIGTERM `SystemExit`.

    SystemExit(143) ends the process with the exit code that shells report for SIGTERM, after `finally` blocks and
    buffered output, which the default action of the system would skip.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(exit_code(number))


def exit_code(number: int) -> int:
    """Returns the exit code with which shells report a process ended by a signal: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number
