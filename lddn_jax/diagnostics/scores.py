"""How good a prediction is, as a number.

RMSE = √( Σ (y − ŷ)² / N )        R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)²
"""

import numpy as np
from numpy.typing import ArrayLike

from lddn_jax.errors import ShapeError


def rmse(measured: ArrayLike, predicted: ArrayLike) -> float:
    """Returns the root mean squared error, in the units of the measurement.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape.

    Raises:
        ShapeError: If shapes differ, or nothing was measured.

    Example:
        >>> rmse([0.0, 0.0], [3.0, 3.0])
        3.0
    """
    y, y_hat = known(measured, predicted)
    return float(np.sqrt(np.mean((y - y_hat) ** 2)))


def r2(measured: ArrayLike, predicted: ArrayLike) -> float:
    """Returns the coefficient of determination: 1 for a perfect prediction, 0 for one no better than the mean.

    A constant measurement has nothing to explain: R² is 1 if it is predicted exactly, and −∞ otherwise.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape.

    Raises:
        ShapeError: If shapes differ, or nothing was measured.

    Example:
        >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
        1.0
    """
    y, y_hat = known(measured, predicted)
    error, spread = np.sum((y - y_hat) ** 2), np.sum((y - np.mean(y)) ** 2)
    if spread == 0:
        return 1.0 if error == 0 else float("-inf")
    return float(1 - error / spread)


def known(measured: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Measured and predicted values where something was measured, in one line."""
    y, y_hat = np.asarray(measured), np.asarray(predicted)
    if y.shape != y_hat.shape:
        raise ShapeError(f"measured has shape {y.shape} and predicted {y_hat.shape}; both must be the same.")
    there = ~np.isnan(y)
    if not there.any():
        raise ShapeError("there is no measured value to compare with; all are NaN or the record is empty.")
    return y[there], y_hat[there]
