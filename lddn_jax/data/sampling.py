"""Even sampling: delays count rows, not seconds, so rows must be evenly spaced in time.

    time[k] = time[0] + k h,    h the sampling interval

Times are often rounded, for example 0.03, 0.07, 0.10 for h = 1/30. Their steps are uneven, but each instant lies within
half a unit of the last digit of this line.
"""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from lddn_jax.errors import DataError, fix

HOUR_SECONDS = 3600.0
DAY_SECONDS = 86_400.0
MOST_DIGITS = 9


class UnevenError(DataError):
    """Sampling instants that are not evenly spaced.

    Attributes:
        index: The first instant that is not where it should be.
    """

    def __init__(self, message: str, index: int):
        self.index = index
        self.args = (message,)


def uniform_sampling(time: Shaped[ArrayLike, " time"] | Sequence[float | int], tolerance: float | int = 0.01) -> float:
    """Returns the sampling interval, after checking that samples are evenly spaced.

    Instants that were rounded to a fixed number of digits are accepted if they follow `time[0] + k h` to half a unit of
    their last digit, and this unit is shorter than h.

    Args:
        time: Sampling instants, `(time,)`, in seconds or any other unit.
        tolerance: Maximum deviation of a step from the median step, as a fraction of it.

    Returns:
        The mean step h, in the unit of `time`.

    Raises:
        DataError: If there are fewer than two samples, or an instant is missing or infinite, does not increase, or
            deviates too much; the message names the first such index.

    Example:
        >>> import numpy as np
        >>> round(uniform_sampling(np.arange(5) * 0.01), 12)
        0.01
        >>> round(uniform_sampling(np.round(np.arange(50) / 30, 2)), 3)
        0.033
    """
    time = np.asarray(time, dtype=np.float64)
    if time.ndim != 1 or len(time) < 2:
        raise DataError(f"time needs two or more instants, (time,); the shape given is {time.shape}.")
    steps = np.diff(time)
    usual = np.nanmedian(steps) if np.isfinite(steps).any() else np.nan
    unit = rounding_unit(time)
    allowed = np.inf if unit < 0.99 * usual and _is_rounded(time, unit) else tolerance * usual
    if unit < usual and np.any(np.abs(steps - usual) > 1.001 * unit):
        allowed = max(allowed, 1.001 * unit)  # name the first step that rounding does not explain
    for problem, bad in (
        ("it is missing", np.isnan(time)),
        ("it is infinite", np.isinf(time)),
        ("it is not later than the one before", np.r_[False, steps <= 0]),
        ("the step is not the usual one", np.r_[False, np.abs(steps - usual) > allowed]),
    ):
        if bad.any():
            k = int(np.argmax(bad))
            before = f" after time[{k - 1}] = {time[k - 1]:.9g}" if k else ""
            counted = fix("pass time=False", "pass --no-time")
            resampled = fix(
                "Sort them, or resample each column: np.interp(np.arange(time[0], time[-1], step), time, column); or "
                f"count rows without their times: {counted}",
                f"Sort and resample the rows, cut the file there, or count rows without their times: {counted}",
            )
            raise UnevenError(
                f"time[{k}] = {time[k]:.9g}{before}: {problem} (usual step {usual:g}). Delays count samples, so these "
                f"must be evenly spaced.{_about(time, k, usual)} {resampled}.",
                k,
            )
    return float((time[-1] - time[0]) / (len(time) - 1))


def rounding_unit(time: Float[np.ndarray, " time"]) -> float:
    """Returns the unit of the last decimal digit of rounded instants; 0 if they have more than nine digits."""
    finite = time[np.isfinite(time)]
    for digits in range(MOST_DIGITS + 1):
        scaled = finite * 10.0**digits
        if np.all(np.abs(scaled - np.rint(scaled)) < 1e-3):
            return 10.0**-digits
    return 0.0


def _is_rounded(time: Float[np.ndarray, " time"], unit: float) -> bool:
    """Whether instants follow a line to half a unit of their last digit."""
    if not np.isfinite(time).all():
        return False
    k = np.arange(len(time)) - (len(time) - 1) / 2
    h = float(k @ (time - time.mean()) / (k @ k))
    away = time - h * k
    half = (away.max() - away.min()) / 2
    return bool(0 < unit < h and half <= 0.55 * unit and np.abs(np.diff(time) - h).max() < 1.001 * unit)


def _about(time: Float[np.ndarray, " time"], k: int, usual: float) -> str:
    """A likely cause of the uneven step before sample k."""
    if not k or not usual > 0:
        return ""
    step = time[k] - time[k - 1]
    shift = step - usual
    ratio = step / usual
    if not (1 <= usual <= HOUR_SECONDS and abs(abs(shift) - HOUR_SECONDS) <= 0.01 * usual):
        whole = np.isfinite(ratio) and ratio > 1.5 and abs(ratio - round(ratio)) < 0.01
        days = ", as on weekends and holidays" if usual == DAY_SECONDS else ""
        return f" {round(ratio) - 1} instant(s) are missing{days}." if whole else ""
    change = (
        "is missing, as when local time changes to summer time"
        if shift > 0
        else ("occurs twice, as when local time changes back from summer time")
    )
    return f" An hour {change}; if so, the rows are even and only their times are not: give times in UTC, or none."
