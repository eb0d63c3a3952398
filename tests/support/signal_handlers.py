"""The signal handlers of an ordinary program; a process that runs tests may have its own."""

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def ordinary_handlers() -> Iterator[None]:
    """Within this context Ctrl-C and SIGTERM have the handlers that Python starts with."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
