"""Signs that a record holds less than it seems to: interpolated samples, or too few of them to assess a model.

Linear interpolation makes x(t) − 2 x(t−1) + x(t−2) = 0 except at the values in between which it was made, and cubic
splines make the fourth difference zero. Noise, and any system that is excited, leave neither of them at zero.

Neighboring samples of a slow signal say the same. With the autocorrelation ρ(k) of n samples they count as

    n_eff = n / (1 + 2 Σ_k ρ(k))        summed until ρ(k) + ρ(k+1) is no longer positive

independent values, and the relative error of a RMSE is about 1/√(2 n_eff). Bayley & Hammersley (1946), Supplement to
the Journal of the Royal Statistical Society 8(2); the sum ends as in Geyer (1992), Statistical Science 7(4).
"""

import numpy as np
from jaxtyping import Float

from lddn_jax.data.extremes import suspicious_values, times
from lddn_jax.diagnostics.lagged import channel, standardized
from lddn_jax.network.signals import ArrayOrList
from lddn_jax.numerics.text_table import digits

LEAST_MOVING_STEPS = 30  # fewest steps at which a signal changes, to recognize interpolation
INTERPOLATED_SHARE = 0.7  # of these steps that must be on a line or cubic
CLEAR_OF_ROUNDING = 20.0  # factor by which the rest must exceed rounding
FINE_RESOLUTION = 3e-4  # of the range of a signal, to tell lines from curves
LEAST_STEPS = 40  # of a test part, for scores and tests to say something
LEAST_INDEPENDENT = 10  # independent values of a test part, for scores to say something


def interpolated(signal: ArrayOrList) -> int | None:
    """Returns between how many values the samples of a signal are interpolated, by lines or cubic splines, or None.

    Args:
        signal: `(time,)` or `(*batch, time, 1)`; NaN where missing.

    Returns:
        The approximate number of values, or None if the samples are not interpolated.

    Raises:
        ShapeError: If the signal has several elements.
        DataError: If fewer than two values are not NaN.

    Example:
        >>> import numpy as np
        >>> hours = np.random.default_rng(0).normal(size=10)
        >>> interpolated(np.interp(np.linspace(0, 9, 1000), np.arange(10), hours))
        10
        >>> interpolated(np.sin(0.01 * np.arange(1000))) is None
        True
    """
    records = channel("signal", signal)
    scale = float(np.nanmax(np.abs(records)))
    for order in 2, 4:
        differences = np.diff(records, order, axis=-1)
        steps = np.abs(np.diff(records, axis=-1))
        rounding = 2.0**order * (4 * np.finfo(float).eps * scale + _resolution(records, order))
        if steps.shape[-1] < order:
            return None
        # A signal that stands still is on a line, too, but that is no sign of interpolation.
        moving = np.lib.stride_tricks.sliding_window_view(steps, order, axis=-1).min(axis=-1) > rounding / 2.0**order
        rest = np.abs(differences) > rounding
        if np.sum(moving) < LEAST_MOVING_STEPS or np.mean(~rest[moving]) < INTERPOLATED_SHARE or not rest.any():
            continue
        if np.median(np.abs(differences[rest])) > CLEAR_OF_ROUNDING * rounding:
            between = np.diff(rest.astype(int), axis=-1, prepend=0) == 1  # a group of such steps at each value
            return int(np.sum(between)) + 2 * len(records)
    return None


def about_interpolation(name: str, signal: ArrayOrList) -> str | None:
    """Warns of an interpolated signal."""
    values = interpolated(signal)
    if values is None:
        return None
    samples = int(np.sum(~np.isnan(np.asarray(signal, float))))
    return (
        f"{name} seems to be interpolated: its {samples} samples lie on lines or curves between about {values} values. "
        "A model then learns the interpolation, and scores one step ahead say little about the system. Use the samples "
        "as they were measured."
    )


def about_codes(name: str, line: Float[np.ndarray, " time"]) -> str | None:
    """Warns of isolated extreme values, such as −200 for a failed measurement."""
    found = [f"{value:g} ({times(count)})" for value, count in suspicious_values(line).items()]
    if not found:
        return None
    return (
        f"{name} has isolated extreme values: {', '.join(found)}. They probably mean that nothing was "
        "measured: mark them as missing, or the model learns them."
    )


def about_length(part: str, steps: int) -> str | None:
    """Warns of a part of a record that is too short to assess a model on."""
    if steps >= LEAST_STEPS:
        return None
    return (
        f"The {part} has only {steps} steps, so its scores are uncertain, and residuals are not tested (that needs "
        f"{LEAST_STEPS} steps): use a longer record, or a larger share of it for testing."
    )


def independent_values(signal: ArrayOrList) -> float:
    """Returns how many independent values the samples of a signal count as; 0 for a constant signal.

    Args:
        signal: `(time,)` or `(*batch, time, 1)`; NaN where missing.

    Raises:
        ShapeError: If the signal has several elements.
        DataError: If fewer than two values are not NaN.

    Example:
        >>> import numpy as np
        >>> slow = np.sin(2 * np.pi * np.arange(200) / 100)  # two periods
        >>> round(independent_values(slow)), round(independent_values(np.random.default_rng(0).normal(size=200)))
        (6, 144)
    """
    records = channel("signal", signal)
    known = ~np.isnan(records)
    count = float(known.sum())
    if np.nanmin(records) == np.nanmax(records):
        return 0.0
    e = np.where(known, standardized(records), 0.0)
    padded = 2 * e.shape[1]

    def by_lag(x: Float[np.ndarray, "records time"]) -> Float[np.ndarray, " lags"]:
        return np.fft.irfft(np.abs(np.fft.rfft(x, padded)) ** 2, padded).sum(axis=0)[: e.shape[1]]

    rho = by_lag(e) / max(by_lag(known.astype(float))[0], 1.0)
    pairs = rho[1 : 1 + 2 * ((len(rho) - 1) // 2)].reshape(-1, 2).sum(axis=1)
    ended = np.flatnonzero(pairs <= 0)
    total = float(pairs[: ended[0] if ended.size else None].sum())
    return min(count, count / (1 + 2 * total))


def about_independence(name: str, measured: ArrayOrList, part: str) -> str | None:
    """Warns of an output that moves so slowly that the part holds too few independent values to assess a model on."""
    values = np.asarray(measured, float)
    steps = int(np.sum(~np.isnan(values)))
    if steps < 2 or np.nanmin(values) == np.nanmax(values):
        return None
    count = independent_values(values)
    if count >= LEAST_INDEPENDENT:
        return None
    few = max(1, round(count))
    return (
        f"{name} moves so slowly that the {steps} steps of the {part} say as much as about {few} independent "
        f"value{'s' if few > 1 else ''}: the RMSE is uncertain by about {100 / np.sqrt(2 * few):.0f} %, and by more if "
        "another record shows other movements. Test on a longer record before comparing models by these scores."
    )


def about_constant(name: str, measured: ArrayOrList, part: str) -> str | None:
    """Warns of an output that stands still, so that its scores say nothing."""
    values = np.asarray(measured, float)
    values = values[~np.isnan(values)]
    if not values.size or np.ptp(values):
        return None
    return (
        f"The measured {name} is {digits(values[0])} all through the {part}, so R² and fit are undefined, and "
        "repeating the last measurement is exact: assess the model where the output moves."
    )


def _resolution(records: np.ndarray, order: int) -> float:
    """The last decimal of numbers that were rounded for a file, ∞ if too coarse to tell lines from curves."""
    values = records[~np.isnan(records)]
    spread = float(np.ptp(values))
    for decimals in range(10):
        step = 10.0**-decimals
        if np.allclose(values, np.round(values, decimals), rtol=0, atol=1e-6 * min(step, spread)):
            return step if order == 2 and step < FINE_RESOLUTION * spread else np.inf
    return 0.0
