"""Extrapolation check: signals outside the range of the training data.

outside at t:   x(t) < min x − margin (max x − min x)   or   x(t) > max x + margin (max x − min x)
"""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import ArrayOrList, by_name

Range: TypeAlias = tuple[Float[np.ndarray, " size"], Float[np.ndarray, " size"]]  # smallest and largest value


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
    for name, (low, high) in by_name("range", ranges, signals).items():
        signal = np.asarray(signals[name], float)
        if signal.ndim < 2 or signal.shape[-1] != len(low):
            raise ShapeError(
                f"signal {name!r} has shape {signal.shape}, but its range has {len(low)} elements; needed is "
                f"(*batch, time, {len(low)})."
            )
        reach = margin * (high - low)
        there = (signal < low - reach) | (signal > high + reach)
        steps = np.flatnonzero(there.any(axis=(*range(signal.ndim - 2), signal.ndim - 1)))
        found[name] = int(steps[0]) if steps.size else None
    return {name: found[name] for name in signals}
