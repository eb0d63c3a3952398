"""What can go wrong, by kind.

Every message says what was given, where (layer, connection, record, time), what was needed, and the
fix in code. Each error is also a `ValueError`, so code that expects the builtin keeps working.
"""


class LDDNError(ValueError):
    """Any error that `lddn_jax` raises on purpose."""


class TopologyError(LDDNError):
    """A declaration that describes no network that could run."""


class ShapeError(LDDNError):
    """An array whose name, shape or dtype does not fit the network it is given to."""


class DataError(LDDNError):
    """A record or table that cannot be used as it is."""


class PrecisionError(LDDNError):
    """A dtype that JAX is not configured to compute in, or too coarse for what was asked."""


class NumericalError(LDDNError):
    """A computation that left the finite numbers."""


class CheckpointError(LDDNError):
    """A saved file that is damaged, foreign, or of another run."""


class NotRecordedError(DataError, KeyError):
    """A name that a history does not hold; a `KeyError` as well, which `in` and `get` of a mapping rely on."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError shows its message in quotes
