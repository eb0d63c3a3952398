"""Scores of a prediction: RMSE, MAE, NRMSE, R² and fit in percent.

    e = y − ŷ        weighted mean over the N measured values with weights w; ȳ is the mean of y

    RMSE = √mean(e²)                 MAE = mean(|e|)
    NRMSE = RMSE / √mean((y − ȳ)²)   R² = 1 − NRMSE²        fit = 100 (1 − NRMSE)

These are the definitions of the `nonlinear_benchmarks` package and of MATLAB's `compare` (its fit is in percent).
Measurements that are NaN or have weight 0 are ignored. A prediction that is NaN, infinite or too large to be squared
has an infinite error.

Schoukens & Ljung (2019), "Nonlinear System Identification: A User-Oriented Road Map", IEEE Control Systems 39(6).
"""

import numpy as np
from jaxtyping import Float, Shaped

from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import ArrayOrList

LARGEST_SQUARED = 1e150  # squares of larger values may overflow


def rmse(measured: ArrayOrList, predicted: ArrayOrList, weights: ArrayOrList | None = None) -> float:
    """Returns the root mean squared error √mean(e²), in the units of the measurement.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape.
        weights: Weight of each value, broadcast to that shape; 0 to ignore a value. None for equal weights.

    Raises:
        ShapeError: If shapes differ, or no value was measured.
        DataError: If a weight is negative or NaN.

    Example:
        >>> rmse([0.0, 0.0], [3.0, 3.0])
        3.0
    """
    error, _, w = _errors(measured, predicted, weights)
    return _rms(error, w)


def mae(measured: ArrayOrList, predicted: ArrayOrList, weights: ArrayOrList | None = None) -> float:
    """Returns the mean absolute error mean(|e|), in the units of the measurement. Arguments as in `rmse`.

    Example:
        >>> mae([0.0, 0.0], [1.0, -3.0])
        2.0
    """
    error, _, w = _errors(measured, predicted, weights)
    size = np.abs(error)
    largest = np.max(size)
    return float(largest * np.average(size / largest, weights=w)) if 0 < largest < np.inf else float(largest)


def nrmse(measured: ArrayOrList, predicted: ArrayOrList, weights: ArrayOrList | None = None) -> float:
    """Returns the RMSE divided by the standard deviation of the measurement. Arguments as in `rmse`.

    For a constant measurement, whose deviation is 0, NRMSE is 0 if the prediction is exact and ∞ otherwise.

    Example:
        >>> nrmse([0.0, 2.0], [0.5, 1.5])
        0.5
    """
    error, y, w = _errors(measured, predicted, weights)
    if np.all(y == y[0]):  # not spread == 0: the mean of equal values may differ from them by rounding
        return 0.0 if not error.any() else float("inf")
    scale = np.max(np.abs(y))  # without it, squares of 1e155 overflow and those of 1e-200 vanish
    y, error = y / scale, _rms(error, w)
    with np.errstate(over="ignore"):  # of an error that is larger by more than a float can say
        return float(np.divide(error, scale) / _rms(y - np.average(y, weights=w), w))


def r2(measured: ArrayOrList, predicted: ArrayOrList, weights: ArrayOrList | None = None) -> float:
    """Returns the coefficient of determination R² = 1 − NRMSE². Arguments as in `rmse`.

    R² is 1 for a perfect prediction and 0 for one no better than the mean. For a constant measurement, it is 1 if the
    prediction is exact and −∞ otherwise.

    Example:
        >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
        1.0
    """
    relative = nrmse(measured, predicted, weights)
    return 1 - relative**2 if relative < LARGEST_SQUARED else float("-inf")


def fit_index(measured: ArrayOrList, predicted: ArrayOrList, weights: ArrayOrList | None = None) -> float:
    """Returns the fit 100 (1 − NRMSE) in percent. Arguments as in `rmse`.

    Example:
        >>> fit_index([0.0, 2.0], [0.5, 1.5])
        50.0
    """
    return 100 * (1 - nrmse(measured, predicted, weights))


def known(
    measured: ArrayOrList, predicted: ArrayOrList
) -> tuple[Shaped[np.ndarray, " values"], Shaped[np.ndarray, " values"]]:
    """Measured and predicted values as flat arrays, without those whose measurement is NaN."""
    y, y_hat = np.asarray(measured), np.asarray(predicted)
    if y.shape != y_hat.shape:
        raise ShapeError(f"measured has shape {y.shape} and predicted {y_hat.shape}; both must be the same.")
    there = ~np.isnan(y)
    if not there.any():
        raise ShapeError("there is no measured value to compare with; all are NaN or the record is empty.")
    return y[there], y_hat[there]


def _rms(values: Float[np.ndarray, " values"], w: Float[np.ndarray, " values"]) -> float:
    """The root mean square, also of values whose squares overflow or vanish."""
    largest = np.max(np.abs(values))
    if largest == 0 or not np.isfinite(largest):
        return float(largest)
    return float(largest * np.sqrt(np.average((values / largest) ** 2, weights=w)))


def _errors(
    measured: ArrayOrList, predicted: ArrayOrList, weights: ArrayOrList | None
) -> tuple[Float[np.ndarray, " values"], Float[np.ndarray, " values"], Float[np.ndarray, " values"]]:
    """Errors e, measurements y and weights w as flat float64 arrays, without values that are NaN or have weight 0."""
    y, y_hat = known(measured, predicted)
    w = np.ones(y.shape)
    if weights is not None:
        there = ~np.isnan(np.asarray(measured))
        try:
            w = np.broadcast_to(np.asarray(weights, float), there.shape)[there]
        except ValueError:
            raise ShapeError(
                f"weights have shape {np.shape(weights)}; they must broadcast to {there.shape}, that of measured."
            ) from None
        if not (w >= 0).all():
            raise DataError("weights are negative or NaN; pass 0 to ignore a value.")
        if not w.any():
            raise ShapeError("there is no measured value to compare with; every weight is 0.")
    counts = w > 0  # 0 · ∞ is not 0
    y, y_hat, w = (values[counts].astype(float) for values in (y, y_hat, w))
    finite = np.abs(y_hat) < LARGEST_SQUARED  # False for NaN
    return np.where(finite, y - np.where(finite, y_hat, 0.0), np.inf), y, w
