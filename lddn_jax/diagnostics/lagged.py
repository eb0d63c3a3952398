"""Lagged copies of a scalar signal, for correlation estimates."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import ArrayOrList
from lddn_jax.simulation.delays import cut


def channel(what: str, signal: ArrayOrList) -> Float[np.ndarray, "records time"]:
    """Returns a scalar signal as `(records, time)` in float64; NaN where missing.

    Args:
        what: Name of the signal in error messages.
        signal: `(time,)`, or `(*batch, time, 1)`.

    Raises:
        ShapeError: If the signal has several elements.
        DataError: If fewer than two values are not NaN, or one is infinite.
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
        raise DataError(f"{what} has fewer than two values that are not NaN; at least two are needed.")
    return values


def channels(signals: Mapping[str, ArrayOrList]) -> dict[str, Float[np.ndarray, "*batch time 1"]]:
    """Splits signals into elements `(*batch, time, 1)`, named "y", or "y[0]", "y[1]" … if there are several."""
    arrays = {name: np.asarray(signal, float) for name, signal in signals.items()}
    return {
        label: signal[..., k : k + 1]
        for name, signal in arrays.items()
        for k, label in enumerate(element_names(name, signal.shape[-1]))
    }


def element_names(name: str, size: int) -> list[str]:
    """Returns the names of the elements of a signal: "y", or "y[0]", "y[1]" … if there are several."""
    return [name] if size == 1 else [f"{name}[{k}]" for k in range(size)]


def past(values: Float[np.ndarray, "records time"], longest: int) -> Float[np.ndarray, "records time {longest}+1"]:
    """Returns `(records, time, longest + 1)`: the value d steps back at index d; NaN before the start of a record."""
    records, steps = values.shape
    line = np.concatenate([np.full((records, longest), np.nan), values], axis=1)
    return cut(line[..., None], range(longest, longest + steps), longest, 1)[..., ::-1, 0]


def standardized(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Returns z-scores: the mean subtracted, then divided by the standard deviation; zeros if values are constant."""
    if np.nanmin(values) == np.nanmax(values):  # the mean of equal values may differ from them by rounding
        return np.where(np.isnan(values), values, 0.0)
    deviation = values - np.nanmean(values)
    return deviation / np.sqrt(np.nanmean(deviation**2))
