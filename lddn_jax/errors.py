"""The exceptions of the package.

Every message names what was given, where (layer, connection, record, time), what was needed, and the fix in code. Each
error is also a `ValueError`, so code that catches the built-in exception keeps working.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

SHOWN_CHARACTERS = 100  # of an argument in an error message
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


def shown(given: object) -> str:
    r"""Returns `repr(given)` for an error message: of bounded length and without control characters.

    Paths are shown without quotes, and up to twice the length.

    Example:
        >>> print(shown("a\0b"), shown(10**400), len(shown("x" * 1000)))
        'a\x00b' a whole number of 401 digits 100
    """
    if isinstance(given, int) and abs(given) >= 10**SHOWN_CHARACTERS:
        digits = int(given.bit_length() * math.log10(2)) + 1  # Python writes out no number of more than 4,300 digits
        return f"a whole number of {digits} digits"
    path = isinstance(given, os.PathLike)
    try:
        text = _printable(str(given)) if path else repr(given)
    except Exception as error:  # of any class's own __repr__
        text = f"<{type(given).__name__}, which cannot be shown: {type(error).__name__}>"
    longest = SHOWN_CHARACTERS * (1 + path)
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[: longest - 1 - half]}…{text[-half:]}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Returns names separated by commas: the first ones, and how many more there are.

    Example:
        >>> listed("abcdef", most=4)
        'a, b, c, d and 2 more'
    """
    first = ", ".join(shown(name)[1:-1] for name in names[:most])
    return first + (f" and {len(names) - most} more" if len(names) > most else "")


def _printable(text: str) -> str:
    """Returns a text in which control characters and lone surrogates are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
