"""How good a prediction is, as numbers: pure functions of measured and predicted values.

    RMSE = √( Σ (y − ŷ)² / N )        R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)²        coverage = share of |y − ŷ| ≤ k σ

Measured values that are NaN are don't-cares.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from lddn_jax.errors import ShapeError

NOMINAL = tuple(k / 20 for k in range(1, 20))  # shares that intervals should hold


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
    y, y_hat = _known(measured, predicted)
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
    y, y_hat = _known(measured, predicted)
    error, spread = np.sum((y - y_hat) ** 2), np.sum((y - np.mean(y)) ** 2)
    if spread == 0:
        return 1.0 if error == 0 else float("-inf")
    return float(1 - error / spread)


def coverage(measured: ArrayLike, predicted: ArrayLike, std: ArrayLike, k: float = 2.0) -> float:
    """Returns the share of measurements inside of the band ŷ ± k σ: 0.954 for k = 2 if σ is right and noise Gaussian.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape.
        std: The standard deviation σ of each, the same shape.
        k: Half the width of the band, in σ.

    Raises:
        ShapeError: If shapes differ, or nothing was measured.

    Example:
        >>> coverage([0.0, 0.0, 0.0, 5.0], [1.0, -1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0])
        0.75
    """
    y, y_hat = _known(measured, predicted)
    sigma = _known(measured, std)[1]
    return float(np.mean(np.abs(y - y_hat) <= k * sigma))


def calibration(
    measured: ArrayLike, predicted: ArrayLike, std: ArrayLike, nominal: ArrayLike = NOMINAL
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which share of measurements central intervals of some nominal shares really hold.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape.
        std: The standard deviation σ of each, the same shape.
        nominal: Shares between 0 and 1; the interval of share p is ŷ ± Φ⁻¹((1 + p)/2) σ.

    Returns:
        The nominal and the observed shares.

    Raises:
        ShapeError: If shapes differ, or nothing was measured.

    Example:
        >>> calibration([0.0, 1.0], [0.0, 0.0], [1.0, 1.0], nominal=[0.5, 0.9])[1].tolist()
        [0.5, 1.0]
    """
    shares = np.asarray(nominal, float)
    widths = [NormalDist().inv_cdf((1 + share) / 2) for share in shares]
    return shares, np.array([coverage(measured, predicted, std, k) for k in widths])


def _known(measured: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    y, y_hat = np.asarray(measured), np.asarray(predicted)
    if y.shape != y_hat.shape:
        raise ShapeError(f"measured has shape {y.shape} and predicted {y_hat.shape}; both must be the same.")
    known = ~np.isnan(y)
    if not known.any():
        raise ShapeError("there is no measured value to compare with; all are NaN or the record is empty.")
    return y[known], y_hat[known]
