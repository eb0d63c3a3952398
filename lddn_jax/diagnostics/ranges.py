"""Extrapolation check: signals outside the range of the training data.

outside at t:   x(t) < min x − margin (max x − min x)   or   x(t) > max x + margin (max x − min x)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import ArrayOrList, by_name
from lddn_jax.numerics.text_table import digits

MARGIN_OF_TRAINING_RANGE = 0.1  # fraction of the training range by which a signal may exceed it
LEAST_COUNT_FOR_SHARE = 100  # values of which a share in percent is said
ROUNDING = 1e-6  # relative tolerance of a signal that had one value in training

Range: TypeAlias = tuple[Float[np.ndarray, " size"], Float[np.ndarray, " size"]]  # smallest and largest value


@dataclass(frozen=True)
class Excursion:
    """A signal outside of its training range, returned by `excursions`; `print` says so in a sentence.

    Attributes:
        name: Name of the signal.
        low: Smallest value in training.
        high: Largest value in training.
        first: The first step outside, over all sequences.
        count: Number of values outside.
        total: Number of values.
        furthest: The value that is furthest outside.
    """

    name: str
    low: float
    high: float
    first: int
    count: int
    total: int
    furthest: float

    @property
    def beyond(self) -> float:
        """How far outside the furthest value is, as a fraction of the width of the training range."""
        distance = max(self.low - self.furthest, self.furthest - self.high)
        return distance / (self.high - self.low) if self.high > self.low else np.inf

    def about(self, what: str) -> str:
        """Returns a sentence about the signal under the name of `what`, such as "The input u"."""
        width = self.high - self.low
        low, high, far = (digits(x, width) for x in (self.low, self.high, self.furthest))
        share = f" ({_percent(self.count / self.total)})" if self.total >= LEAST_COUNT_FOR_SHARE else ""
        where = f"at {self.count} of {self.total} steps{share}, first at step {self.first}"
        if width == 0:
            return f"{what} was {low} all through training, so its effect is not known; it differs {where} ({far})."
        return (
            f"{what} leaves the training range [{low}, {high}] {where}, and reaches {far}, {_percent(self.beyond)} of "
            "its width beyond it: the network extrapolates there."
        )

    def __str__(self):
        return self.about(self.name)


def excursions(
    signals: Mapping[str, ArrayOrList], ranges: Mapping[str, Range], margin: float | int = MARGIN_OF_TRAINING_RANGE
) -> dict[str, Excursion]:
    """Returns how often and how far signals leave their ranges; only signals that do so.

    Args:
        signals: `(*batch, time, size)` by name; NaN is ignored. A signal without a range is ignored.
        ranges: From `training_range`.
        margin: Tolerance on each side, as a fraction of the width of the range.

    Raises:
        ShapeError: If sizes differ.

    Example:
        >>> import numpy as np
        >>> found = excursions({"u": np.array([[1.0], [4.0]])}, {"u": (np.array([0.0]), np.array([3.0]))})["u"]
        >>> print(str(found).partition(":")[0])
        u leaves the training range [0, 3] at 1 of 2 steps, first at step 1, and reaches 4, 33 % of its width beyond it
    """
    known = {name: signal for name, signal in signals.items() if name in ranges}
    found = {}
    for name, there in _outside(known, {name: ranges[name] for name in known}, margin).items():
        steps = np.flatnonzero(there.any(axis=(*range(there.ndim - 2), there.ndim - 1)))
        if not steps.size:
            continue
        signal, (low, high) = np.asarray(signals[name], float), ranges[name]
        beyond = np.where(there, np.maximum(low - signal, signal - high), -np.inf)
        place = np.unravel_index(np.argmax(beyond), beyond.shape)
        element = place[-1]
        found[name] = Excursion(
            name=name,
            low=float(low[element]),
            high=float(high[element]),
            first=int(steps[0]),
            count=int(np.sum(there[..., element])),
            total=int(np.sum(~np.isnan(signal[..., element]))),
            furthest=float(signal[place]),
        )
    return found


def _percent(share: float) -> str:
    """A share in percent with two digits, or without decimals from 10 % on."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def training_range(signals: Mapping[str, ArrayOrList]) -> dict[str, Range]:
    """Returns the smallest and largest value of each element of each signal.

    Args:
        signals: `(*batch, time, size)` by name; NaN where missing.

    Returns:
        `(min, max)` by name, each `(size,)`.

    Raises:
        DataError: If all values of an element are NaN.

    Example:
        >>> import numpy as np
        >>> low, high = training_range({"u": np.array([[1.0], [3.0], [2.0]])})["u"]
        >>> low.tolist(), high.tolist()
        ([1.0], [3.0])
    """
    ranges = {}
    for name, signal in signals.items():
        lines = np.asarray(signal, float)
        lines = lines.reshape(-1, lines.shape[-1])
        if np.isnan(lines).all(axis=0).any():
            raise DataError(f"signal {name!r} has an element whose values are all NaN, so it has no range. Omit it.")
        ranges[name] = (np.nanmin(lines, axis=0), np.nanmax(lines, axis=0))
    return ranges


def first_outside(
    signals: Mapping[str, ArrayOrList], ranges: Mapping[str, Range], margin: float | int = 0.0
) -> dict[str, int | None]:
    """Returns the first step, over all sequences, at which each signal leaves its range; None if it never does.

    Infinite values are outside the range; NaN is ignored, since a diverging run becomes infinite before it becomes NaN.

    Args:
        signals: `(*batch, time, size)` by name.
        ranges: From `training_range`, for the same names.
        margin: Tolerance on each side, as a fraction of the width of the range.

    Returns:
        The step by signal name, or None.

    Raises:
        ShapeError: If names or sizes differ.

    Example:
        >>> import numpy as np
        >>> first_outside({"u": np.array([[1.0], [4.0]])}, {"u": (np.array([0.0]), np.array([3.0]))})
        {'u': 1}
    """
    found: dict[str, int | None] = {}
    for name, there in _outside(signals, ranges, margin).items():
        steps = np.flatnonzero(there.any(axis=(*range(there.ndim - 2), there.ndim - 1)))
        found[name] = int(steps[0]) if steps.size else None
    return {name: found[name] for name in signals}


def _outside(
    signals: Mapping[str, ArrayOrList], ranges: Mapping[str, Range], margin: float | int
) -> dict[str, Bool[np.ndarray, "... time size"]]:
    """Which values of each signal are outside of its range."""
    found = {}
    for name, (low, high) in by_name("range", ranges, signals).items():
        signal = np.asarray(signals[name], float)
        if signal.ndim < 2 or signal.shape[-1] != len(low):
            raise ShapeError(
                f"signal {name!r} has shape {signal.shape}, but its range has {len(low)} elements; needed is "
                f"(*batch, time, {len(low)})."
            )
        reach = np.where(high > low, margin * (high - low), ROUNDING * np.abs(high) * (margin > 0))
        found[name] = (signal < low - reach) | (signal > high + reach)
    return found
