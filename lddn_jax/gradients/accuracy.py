"""Accuracy classes of gradient methods, which determine how `check_gradients` compares a method.

A method declares its class by the property `accuracy`:

    Exact()                  agrees with every other exact method up to rounding, block by block; the default
    Approximate(1e-3)        agrees with exact methods up to a given relative difference, block by block
    Truncated()              truncated on purpose: its deviation is reported, and it must be finite
    Random(draws=64)         drawn with a PRNG key, its mean exact: the mean of many draws is compared

An unbiased estimate g_k of a gradient g, drawn K times, has the mean ḡ, whose standard error in norm is

    s = sqrt( Σ_k ‖g_k − ḡ‖² / (K (K − 1)) )

and ‖ḡ − g‖ is expected to be about s, whatever the number of parameters. The check passes if ‖ḡ − g‖ ≤ 5 s.
"""

from dataclasses import dataclass

from lddn_jax.errors import LDDNError

STANDARD_ERRORS = 5.0  # allowed deviation of the mean of random gradients


@dataclass(frozen=True)
class Exact:
    """The method agrees with every other exact method up to rounding, block by block."""


@dataclass(frozen=True)
class Truncated:
    """The gradient is truncated on purpose: its deviation is reported, and it must be finite."""


@dataclass(frozen=True)
class Approximate:
    """The method agrees with exact methods up to a relative difference of its own, block by block.

    Args:
        tolerance: The largest difference, relative to the largest element of its block.
        float32: The tolerance for float32 networks; None: same as `tolerance`.

    Raises:
        LDDNError: If a tolerance is not a positive number.

    Example:
        >>> Approximate(1e-3).allowed("float64")
        0.001
    """

    tolerance: float
    float32: float | None = None

    def __post_init__(self):
        for given in self.tolerance, self.tolerance if self.float32 is None else self.float32:
            if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
                raise LDDNError(f"the tolerance of an approximate method is {given!r}; write Approximate(1e-3).")

    def allowed(self, dtype: str) -> float:
        """Returns the tolerance for networks of the given dtype."""
        return float(self.tolerance if dtype != "float32" or self.float32 is None else self.float32)


@dataclass(frozen=True)
class Random:
    """The gradient is drawn with a PRNG key, and its mean over all keys is the exact gradient.

    Such a method has a field `key`. `fit` passes a new key at every step, mini-batch and restart, and
    `check_gradients` compares the mean of `draws` gradients.

    Args:
        draws: Number of gradients whose mean is compared; at least 2.

    Raises:
        LDDNError: If it is not a whole number of at least 2.
    """

    draws: int = 64

    def __post_init__(self):
        if isinstance(self.draws, bool) or not isinstance(self.draws, int) or self.draws < 2:
            raise LDDNError(f"Random(draws={self.draws!r}): a whole number of draws is needed, 2 or more.")


ACCURACIES = (Exact, Approximate, Truncated, Random)
Accuracy = Exact | Approximate | Truncated | Random
