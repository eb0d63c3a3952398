"""Residual analysis: autocorrelation, cross-correlation with inputs, Ljung-Box and normality tests.

The residuals e = y − ŷ of a good model are white and uncorrelated with the inputs:

    ρ_ee(k) = mean of e(t) e(t−k)        ρ_ue(k) = mean of e(t) u(t−k),   u is later than e for k < 0

with e and u standardized to zero mean and unit variance. The mean is over the n_k pairs without a missing value; pairs
never span two records. Under the null hypothesis of no correlation, ρ_ee(k) has the standard deviation 1/√n_k and
ρ_ue(k) has √(c/n_k), with Bartlett's c = Σ_j ρ_uu(j) ρ_ee(j). c is 1 if either signal is white, and larger for slowly
varying signals, which correlate by chance even if they are independent.

Residuals of predictions d steps ahead are correlated at lags below d even for the true system, because the noise of
these steps was not known yet: pass `first=d`. The estimates at lags k, l ≥ d are then correlated themselves, by
Bartlett's V_kl = Σ_{|j|<d} ρ_ee(j) ρ_ee(j + k − l) with ρ_ee(j) = 0 from lag d on; V is the identity for d = 1.

Ljung & Box (1978), Biometrika 65(2); with gaps Stoffer & Toloi (1992), Statistics & Probability Letters 13(5).
Bartlett (1935), Journal of the Royal Statistical Society 98(3). Box, Jenkins & Reinsel, *Time Series Analysis*, ch. 12.
"""

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg, stats

from lddn_jax.diagnostics.lagged import channel, past, standardized
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network.signals import ArrayOrList
from lddn_jax.numerics.text_table import aligned


@dataclass(frozen=True)
class Correlation:
    """Correlation by lag, with its standard deviation under the null hypothesis of no correlation.

    Attributes:
        lags: `(lags,)` in samples.
        values: ρ, `(lags,)`; NaN where every pair has a missing value.
        std: Standard deviation of ρ under the null hypothesis, `(lags,)`.
    """

    lags: Int[np.ndarray, " lags"]
    values: Float[np.ndarray, " lags"]
    std: Float[np.ndarray, " lags"]

    def bound(self, level: float = 0.95) -> Float[np.ndarray, " lags"]:
        """Returns the confidence bounds `(lags,)` on |ρ| at `level`, under the null hypothesis of no correlation."""
        return NormalDist().inv_cdf((1 + level) / 2) * self.std

    def outside(self, level: float = 0.99) -> tuple[int, ...]:
        """Returns the lags with |ρ| above the confidence bound; expect a fraction 1 − `level` of them by chance."""
        return tuple(int(k) for k in self.lags[np.abs(self.values) > self.bound(level)])

    def strongest(self) -> int | None:
        """Returns the lag with the largest |ρ| relative to its standard deviation; None if all values are NaN."""
        ratios = np.abs(self.values) / self.std
        return None if np.isnan(ratios).all() else int(self.lags[np.nanargmax(ratios)])

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`; None for values that are not finite."""
        return {
            "lags": self.lags.tolist(),
            "values": [float(v) if np.isfinite(v) else None for v in self.values],
            "bound_95": [float(b) if np.isfinite(b) else None for b in self.bound(0.95)],
            "bound_99": [float(b) if np.isfinite(b) else None for b in self.bound(0.99)],
        }

    def __str__(self):
        rows: list[tuple[str, ...]] = [("lag", "correlation", "95 %", "99 %", "")]
        for k, value, b95, b99 in zip(self.lags, self.values, self.bound(0.95), self.bound(0.99), strict=True):
            mark = "**" if abs(value) > b99 else "*" if abs(value) > b95 else ""
            rows.append((str(k), *(f"{number:.4f}" for number in (value, b95, b99)), mark))
        return "\n".join(aligned(rows, ">>>><"))


@dataclass(frozen=True)
class HypothesisTest:
    """Result of a statistical test.

    Attributes:
        null: The null hypothesis.
        statistic: The test statistic.
        p_value: Probability of a statistic at least this large under the null hypothesis; reject it if p is small.
        degrees: Degrees of freedom of the χ² distribution of the statistic.
    """

    null: str
    statistic: float
    p_value: float
    degrees: int

    def to_dict(self) -> dict[str, Any]:
        """Returns a dict of plain Python values for `json.dump`."""
        return asdict(self)

    def __str__(self):
        return (
            f"{self.null}: statistic {self.statistic:.4g} on {self.degrees} degrees of freedom, p = {self.p_value:.3g}"
        )


def autocorrelation(residuals: ArrayOrList, lags: int = 20, *, first: int = 1) -> Correlation:
    """Returns the autocorrelation of residuals, ρ_ee(k) for k = `first` … `lags`.

    Args:
        residuals: `(time,)` or `(*batch, time, 1)`; NaN where missing.
        lags: The largest lag, in samples.
        first: The smallest lag; d for residuals of predictions d steps ahead.

    Raises:
        ShapeError: If there are several elements, or the record is not longer than `lags`.
        DataError: If fewer than two values are not NaN.

    Example:
        >>> import numpy as np
        >>> found = autocorrelation(np.tile([1.0, -1.0], 50), lags=2)
        >>> found.values.round(6).tolist(), found.outside(0.99)
        ([-1.0, 1.0], (1, 2))
    """
    e = standardized(channel("residuals", residuals))
    values, count = _mean_products(e, e, _checked_lags(lags, e, first))
    return Correlation(np.arange(first, lags + 1), values[first:], _std(_bartlett(values[:first])[0], count[first:]))


def cross_correlation(inputs: ArrayOrList, residuals: ArrayOrList, lags: int = 20) -> Correlation:
    """Returns the cross-correlation of residuals with an input, ρ_ue(k) for k = −`lags` … `lags`.

    Correlation at k ≥ 0, where the input precedes the residual by k samples, is an effect of the input that the model
    misses. Correlation at k < 0, where the residual precedes the input, indicates feedback from output to input, as by
    a controller.

    Args:
        inputs: One input, the same shape as the residuals.
        residuals: `(time,)` or `(*batch, time, 1)`; NaN where missing.
        lags: The largest lag, in samples.

    Raises:
        ShapeError: If shapes differ, there are several elements, or the record is not longer than `lags`.
        DataError: If fewer than two values are not NaN.

    Example:
        >>> import numpy as np
        >>> u = np.random.default_rng(0).normal(size=200)
        >>> cross_correlation(u, np.roll(u, 3), lags=5).outside(0.999)
        (3,)
    """
    u, e = standardized(channel("input", inputs)), standardized(channel("residuals", residuals))
    if u.shape != e.shape:
        raise ShapeError(
            f"input has shape {np.shape(inputs)} and residuals {np.shape(residuals)}; both must be the same."
        )
    ahead, counts_ahead = _mean_products(e, u, _checked_lags(lags, e))
    behind, counts_behind = _mean_products(u, e, lags)
    # Bartlett's sum must cover the lags at which slow signals are still autocorrelated.
    far = min(max(lags, min(int(2 * np.sqrt(e.shape[1])), 200)), e.shape[1] - 1)
    own = [np.nan_to_num(_mean_products(signal, signal, far)[0][1:]) for signal in (u, e)]
    c = max(1.0, float(1 + 2 * np.sum(own[0] * own[1])))
    values, count = (np.concatenate([b[:0:-1], a]) for a, b in ((ahead, behind), (counts_ahead, counts_behind)))
    return Correlation(np.arange(-lags, lags + 1), values, _std(c, count))


def ljung_box(residuals: ArrayOrList, lags: int = 20, fitted: int = 0, *, first: int = 1) -> HypothesisTest:
    """Ljung-Box test for white residuals, over lags `first` … `lags`.

        Q = (N + 2) / N Σ_k n_k ρ_ee(k)²  ~  χ² with as many degrees of freedom as lags, less `fitted`

    Without missing values this is the usual N (N + 2) Σ_k r_k² / (N − k). From a lag d > 1 on, Q has the mean tr V and
    the variance 2 tr V², with Bartlett's V; it is scaled to a χ² of that mean and variance, so that there are fewer
    degrees of freedom than lags (Satterthwaite's approximation).

    Args:
        residuals: `(time,)` or `(*batch, time, 1)`; NaN where missing.
        lags: The largest lag, in samples.
        fitted: Degrees of freedom lost because the model was fitted to the same data: p + q for an ARMA(p, q) model.
            No such number is known for networks; use 0 on data not used in training.
        first: The smallest lag; d for residuals of predictions d steps ahead, which need not be white below.

    Raises:
        ShapeError: As in `autocorrelation`.
        DataError: As in `autocorrelation`, and if `fitted` leaves no degree of freedom.

    Example:
        >>> import numpy as np
        >>> ljung_box(np.tile([1.0, -1.0], 50), lags=5).p_value < 1e-6
        True

    Ljung & Box (1978), eq. 1.2; Stoffer & Toloi (1992).
    """
    e = standardized(channel("residuals", residuals))
    values, count = _mean_products(e, e, _checked_lags(lags, e, first))
    if not 0 <= fitted < lags - first + 1:
        raise DataError(f"ljung_box: fitted={fitted} of lags={lags} leave no degree of freedom; pass more lags.")
    known = count[first:] > 0
    N, degrees = count[0], int(np.sum(known)) - fitted
    if degrees < 1:
        raise DataError("ljung_box: missing values leave no pair of residuals at any lag; pass a longer record.")
    Q = (N + 2) / N * np.sum(count[first:][known] * values[first:][known] ** 2)
    V = linalg.toeplitz(_bartlett(values[:first], lags - first + 1))[np.ix_(known, known)]
    mean, half_variance = np.trace(V), np.sum(V**2)  # of Q under the null hypothesis
    Q, exact = float(Q * mean / half_variance), max(float(mean**2 / half_variance) - fitted, 1e-3)
    return HypothesisTest("residuals are white", Q, float(stats.chi2.sf(Q, exact)), max(round(exact), 1))


def normality(residuals: ArrayOrList) -> HypothesisTest:
    """D'Agostino-Pearson test for Gaussian residuals, by skewness and kurtosis.

    The test assumes independent residuals; for autocorrelated ones it over-rejects.

    Args:
        residuals: `(time,)` or `(*batch, time, 1)`; NaN where missing.

    Raises:
        DataError: If fewer than 20 residuals are not NaN, or all are equal.

    Example:
        >>> import numpy as np
        >>> normality(np.random.default_rng(0).exponential(size=500)).p_value < 1e-6
        True

    D'Agostino & Pearson (1973), Biometrika 60(3).
    """
    e = channel("residuals", residuals)
    e = e[~np.isnan(e)]
    if len(e) < 20 or np.ptp(e) == 0:
        raise DataError(f"normality: {len(e)} residuals, {len(np.unique(e))} of them different; 20 and 2 are needed.")
    found = stats.normaltest(e)
    return HypothesisTest("residuals are Gaussian", float(found.statistic), float(found.pvalue), 2)


def _mean_products(
    now: Float[np.ndarray, "records time"], before: Float[np.ndarray, "records time"], lags: int
) -> tuple[Float[np.ndarray, " {lags}+1"], Float[np.ndarray, " {lags}+1"]]:
    """Mean of now(t) before(t−k) for k = 0 … lags over all pairs without a missing value, and the number of pairs."""
    earlier = past(before, lags)
    count = np.einsum("bt,btk->k", (~np.isnan(now)).astype(float), (~np.isnan(earlier)).astype(float))
    total = np.einsum("bt,btk->k", np.nan_to_num(now), np.nan_to_num(earlier))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), count


def _bartlett(rho: Float[np.ndarray, " below"], lags: int = 1) -> Float[np.ndarray, " {lags}"]:
    """Bartlett's covariance of two correlation estimates, by the distance of their lags, 0 … lags − 1.

    Args:
        rho: ρ_ee(j) for j = 0 … d − 1, the lags at which the residuals are correlated.
        lags: Number of distances.
    """
    both = np.nan_to_num(np.concatenate([rho[:0:-1], rho]))
    products = np.convolve(both, both)[2 * len(rho) - 2 :]
    return np.append(products, np.zeros(max(lags - len(products), 0)))[:lags]


def _std(c: float, count: Float[np.ndarray, " lags"]) -> Float[np.ndarray, " lags"]:
    return np.where(count > 0, np.sqrt(c / np.maximum(count, 1)), np.inf)


def _checked_lags(lags: int, e: Float[np.ndarray, "records time"], first: int = 1) -> int:
    if not 1 <= lags < e.shape[1]:
        raise ShapeError(f"lags={lags} of a record of {e.shape[1]} steps; needed is 1 to {e.shape[1] - 1}.")
    if not 1 <= first <= lags:
        raise ShapeError(f"first={first} of lags={lags}; the smallest lag is between 1 and {lags}.")
    return lags
