"""Coverage and calibration of error bars: the fraction of measurements inside prediction intervals.

coverage = fraction of values with |y − ŷ| ≤ k σ
"""

from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from lddn_jax.diagnostics.metrics import known
from lddn_jax.network.signals import ArrayOrList

NOMINAL_SHARES = tuple(k / 20 for k in range(1, 20))  # nominal coverage of the intervals


def coverage(measured: ArrayOrList, predicted: ArrayOrList, std: ArrayOrList, k: float = 2.0) -> float:
    """Returns the fraction of measurements inside the band ŷ ± k σ.

    For k = 2 it is 0.954 if σ is correct and the noise is Gaussian.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape.
        std: Standard deviation σ of each prediction, the same shape.
        k: Half the width of the band, in σ.

    Raises:
        ShapeError: If shapes differ, or no value was measured.

    Example:
        >>> coverage([0.0, 0.0, 0.0, 5.0], [1.0, -1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0])
        0.75
    """
    y, y_hat = known(measured, predicted)
    sigma = known(measured, std)[1]
    return float(np.mean(np.abs(y - y_hat) <= k * sigma))


def calibration(
    measured: ArrayOrList, predicted: ArrayOrList, std: ArrayOrList, nominal: ArrayOrList = NOMINAL_SHARES
) -> tuple[Float[np.ndarray, " shares"], Float[np.ndarray, " shares"]]:
    """Returns nominal and observed coverage of central prediction intervals: a calibration curve.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape.
        std: Standard deviation σ of each prediction, the same shape.
        nominal: Nominal coverage, `(shares,)`, between 0 and 1; the interval for p is ŷ ± Φ⁻¹((1 + p)/2) σ.

    Returns:
        Nominal and observed coverage, each `(shares,)`.

    Raises:
        ShapeError: If shapes differ, or no value was measured.

    Example:
        >>> calibration([0.0, 1.0], [0.0, 0.0], [1.0, 1.0], nominal=[0.5, 0.9])[1].tolist()
        [0.5, 1.0]
    """
    shares = np.asarray(nominal, float)
    widths = [NormalDist().inv_cdf((1 + share) / 2) for share in shares]
    return shares, np.array([coverage(measured, predicted, std, k) for k in widths])
