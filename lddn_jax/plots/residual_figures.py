"""Residual plots: correlations, error histogram, and regression of predicted on measured values."""

from typing import Any

import numpy as np

from lddn_jax.diagnostics.metrics import known
from lddn_jax.diagnostics.residuals import Correlation
from lddn_jax.errors import ShapeError
from lddn_jax.network.signals import ArrayOrList
from lddn_jax.plots.axes import COLORS, axes_or_new, literal


def residual_correlations(correlation: Correlation, *, title: str = "", ax: Any = None) -> Any:
    """Plots correlations against lags, with 95 % and 99 % confidence bounds.

    Args:
        correlation: From `lddn_jax.diagnostics.autocorrelation` or `cross_correlation`.
        title: Title of the axes.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes. Lags outside the 99 % bound are drawn in a second color.
    """
    ax = axes_or_new(ax)
    lags, values = correlation.lags, correlation.values
    outside = np.isin(lags, correlation.outside(0.99))
    for level, alpha in ((0.99, 0.12), (0.95, 0.2)):
        bound = np.where(np.isfinite(correlation.std), correlation.bound(level), np.nan)
        edges = np.array([lags[0] - 0.5, *lags, lags[-1] + 0.5])
        wide = np.array([bound[0], *bound, bound[-1]])
        label = f"{100 * level:.0f} %"
        ax.fill_between(edges, -wide, wide, color="gray", alpha=alpha, linewidth=0, label=label)
    ax.axhline(0, color="black", linewidth=0.8)
    for chosen, color in ((~outside, COLORS[0]), (outside, COLORS[1])):
        ax.vlines(lags[chosen], 0, values[chosen], color=color, linewidth=1.6)
        ax.plot(lags[chosen], values[chosen], color=color, marker="o", markersize=3.5, linestyle="none")
    reach = 1.15 * np.nanmax(
        [*np.abs(values), *np.where(np.isfinite(correlation.std), correlation.bound(0.99), np.nan)]
    )
    ax.set(xlabel="lag in samples", ylabel="correlation", title=literal(title), ylim=(-reach, reach))
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlim(lags[0] - 0.5, lags[-1] + 0.5)
    ax.legend(loc="upper right", ncols=2, frameon=False)
    return ax


def error_histogram(errors: ArrayOrList, *, xlabel: str = "error", bins: int = 40, ax: Any = None) -> Any:
    """Plots a histogram of errors, with the Gaussian of the same mean and standard deviation.

    Args:
        errors: Any shape; values that are not finite are ignored.
        xlabel: Name and unit.
        bins: Number of bars.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.

    Raises:
        ShapeError: If no error is finite.
    """
    ax = axes_or_new(ax)
    values = np.asarray(errors, float)
    values = values[np.isfinite(values)]
    if not values.size:
        raise ShapeError("error_histogram: there is no finite error to draw.")
    _, edges, _ = ax.hist(values, bins, color=COLORS[0], alpha=0.6, label=f"{values.size} errors")
    mean, std = float(np.mean(values)), float(np.std(values))
    if std > 0:
        x = np.linspace(edges[0], edges[-1], 200)
        share = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi)) * (edges[1] - edges[0])
        ax.plot(
            x,
            values.size * share,
            color=COLORS[1],
            linewidth=1.4,
            label=f"Gaussian {mean:.2g} ± {std:.2g}".replace("-", "−"),
        )
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel=literal(xlabel), ylabel="count")
    ax.set_ymargin(0.3)  # room for the legend
    ax.legend(loc="upper right", frameon=False)
    return ax


def regression(measured: ArrayOrList, predicted: ArrayOrList, *, name: str = "", ax: Any = None) -> Any:
    """Plots predicted against measured values, with the regression line and the line predicted = measured.

    Args:
        measured: Any shape; NaN where missing.
        predicted: The same shape; values that are not finite are ignored.
        name: Name of the output, with its unit.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes, with the correlation coefficient R in the legend.

    Raises:
        ShapeError: If shapes differ, no value was measured, or no prediction is finite.
    """
    ax = axes_or_new(ax)
    y, y_hat = known(measured, predicted)
    finite = np.isfinite(y_hat)
    if not finite.any():
        raise ShapeError("regression: there is no finite prediction to draw.")
    y, y_hat = y[finite].astype(float), y_hat[finite].astype(float)
    # Thousands of dots are rasterized, to keep vector graphics small.
    ax.plot(y, y_hat, ".", markersize=3, alpha=0.4, color=COLORS[0], rasterized=y.size > 2000, label="data")
    ends = np.array([min(y.min(), y_hat.min()), max(y.max(), y_hat.max())])
    ax.plot(ends, ends, color="black", linewidth=0.8, label="predicted = measured")
    if np.ptp(y) > 0 and np.ptp(y_hat) > 0:
        slope, start = np.polyfit(y, y_hat, 1)
        R = np.corrcoef(y, y_hat)[0, 1]
        label = f"{slope:.3f} x {'−' if start < 0 else '+'} {abs(start):.2g},  R = {R:.4f}"
        ax.plot(ends, slope * ends + start, color=COLORS[1], linewidth=1.4, linestyle="--", label=label)
    ax.set(xlabel=literal(f"measured {name}".strip()), ylabel=literal(f"predicted {name}".strip()), aspect="equal")
    ax.legend(loc="upper left", frameon=False, fontsize="small")
    ax.set_ymargin(0.12)
    return ax
