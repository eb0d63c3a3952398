"""The exceptions of the package.

Every message names what was given, where (layer, connection, record, time), what was needed, and the fix in code. Each
error is also a `ValueError`, so code that catches the built-in exception keeps working.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_FIXES_ARE_FLAGS: ContextVar[bool] = ContextVar("fixes are flags", default=False)


def fix(code: str, flag: str) -> str:
    """Returns the fix that an error shows: code in Python, a flag on the command line.

    Args:
        code: The fix as Python code.
        flag: The same fix as a flag of the command line.

    Example:
        >>> fix('missing="mask"', "--missing mask")
        'missing="mask"'
        >>> with fixes_as_flags():
        ...     fix('missing="mask"', "--missing mask")
        '--missing mask'
    """
    return flag if _FIXES_ARE_FLAGS.get() else code


@contextlib.contextmanager
def fixes_as_flags() -> Iterator[None]:
    """Within this context, which is that of the command line, `fix` returns flags."""
    token = _FIXES_ARE_FLAGS.set(True)
    try:
        yield
    finally:
        _FIXES_ARE_FLAGS.reset(token)


class LDDNError(ValueError):
    """Base class of all errors that `lddn_jax` raises."""


class TopologyError(LDDNError):
    """A declaration that does not describe a network that can run."""


class ShapeError(LDDNError):
    """An array whose name, shape or dtype does not match the network."""


class DataError(LDDNError):
    """A record or table with missing, invalid or inconsistent data."""


class PrecisionError(LDDNError):
    """A dtype that JAX is not configured for, or that is not precise enough for the computation."""


class NumericalError(LDDNError):
    """A computation that became NaN or infinite."""


class CheckpointError(LDDNError):
    """A saved file that is damaged, was not written by this package, or belongs to another run."""


class NotRecordedError(DataError, KeyError):
    """A name that is not in a history; also a `KeyError`, as a mapping's `in` and `get` require."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError shows its message in quotes
