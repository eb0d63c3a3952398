"""One element of a signal, beside its own past: what correlations are sums over."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import ArrayOrList
from lddn_jax.simulation.delays import cut


def channel(what: str, signal: ArrayOrList) -> Float[np.ndarray, "records time"]:
    """Returns one element of a signal as `(records, time)` in float64; NaN where missing.

    Args:
        what: How an error calls it.
        signal: `(time,)`, or `(*batch, time, 1)`.

    Raises:
        ShapeError: If it has several elements.
        DataError: If fewer than two values are known, or one is infinite.
    """
    values = np.asarray(signal, float)
    if values.ndim < 1 or (values.ndim > 1 and values.shape[-1] != 1):
        raise ShapeError(
            f"{what} has shape {values.shape}; needed is one element, (time,) or (*batch, time, 1). "
            "Choose one of several: signal[..., 0:1]."
        )
    values = values[None] if values.ndim == 1 else values.reshape(-1, values.shape[-2])
    if np.isinf(values).any():
        raise DataError(
            f"{what} is infinite at step {int(np.argwhere(np.isinf(values))[0, 1])}; cut the record before."
        )
    if np.sum(~np.isnan(values)) < 2:
        raise DataError(f"{what} has fewer than two values that are not NaN; nothing can be said of them.")
    return values


def channels(signals: Mapping[str, ArrayOrList]) -> dict[str, Float[np.ndarray, "*batch time 1"]]:
    """Returns signals by element, `(*batch, time, 1)`, called "y", or "y[0]", "y[1]" … where there are several."""
    arrays = {name: np.asarray(signal, float) for name, signal in signals.items()}
    return {
        name if signal.shape[-1] == 1 else f"{name}[{k}]": signal[..., k : k + 1]
        for name, signal in arrays.items()
        for k in range(signal.shape[-1])
    }


def past(values: Float[np.ndarray, "records time"], longest: int) -> Float[np.ndarray, "records time {longest}+1"]:
    """Returns `(records, time, longest + 1)`: at place d the value d steps back, NaN before the record."""
    records, steps = values.shape
    line = np.concatenate([np.full((records, longest), np.nan), values], axis=1)
    return cut(line[..., None], range(longest, longest + steps), longest, 1)[..., ::-1, 0]


def standardized(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Returns values less their mean and divided by their standard deviation; zeros if they are constant."""
    if np.nanmin(values) == np.nanmax(values):  # whose mean may differ from them in the last digit
        return np.where(np.isnan(values), values, 0.0)
    deviation = values - np.nanmean(values)
    return deviation / np.sqrt(np.nanmean(deviation**2))
