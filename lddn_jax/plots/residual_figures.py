"""Residual plots: correlations, error histogram, and regression of predicted on measured values."""

from typing import Any

import numpy as np

from lddn_jax.checks import check_positive, expect
from lddn_jax.diagnostics.metrics import LARGEST_SQUARED, known
from lddn_jax.diagnostics.residuals import Correlation
from lddn_jax.errors import ShapeError
from lddn_jax.network.signals import ArrayOrList
from lddn_jax.numerics.text_table import digits, ratio_digits
from lddn_jax.plots.axes import COLORS, axes_or_new, legend, near, shortened, whole_numbers
from lddn_jax.plots.line_checks import numbers

DRAWN_MARGIN = 0.06  # beside the points of a regression, in ranges of all values
FAR_QUARTILES = 8.0  # distances between quartiles, beyond which an error is not drawn in a histogram


def residual_correlations(correlation: Correlation, *, title: str = "", ax: Any = None) -> Any:
    """Plots correlations against lags, with 95 % and 99 % confidence bounds.

    Args:
        correlation: From `lddn_jax.diagnostics.autocorrelation` or `cross_correlation`.
        title: Title of the axes.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes. Lags outside the 99 % bound are drawn in a second color.
    """
    fix = "the result of lddn.diagnostics.autocorrelation(residuals)"
    expect(Correlation, "correlation", correlation, "residual_correlations(correlation)", fix)
    ax = axes_or_new(ax)
    lags, values = correlation.lags, correlation.values
    outside = np.isin(lags, correlation.outside(0.99))
    for level, alpha in ((0.99, 0.12), (0.95, 0.2)):
        bound = np.where(np.isfinite(correlation.std), correlation.bound(level), np.nan)
        edges = np.array([lags[0] - 0.5, *lags, lags[-1] + 0.5])
        wide = np.array([bound[0], *bound, bound[-1]])
        name = f"{100 * level:.0f} % by chance"
        ax.fill_between(edges, -wide, wide, color="gray", alpha=alpha, linewidth=0, label=name)
    ax.axhline(0, color="black", linewidth=0.8)
    for chosen, color in ((~outside, COLORS[0]), (outside, COLORS[1])):
        ax.vlines(lags[chosen], 0, values[chosen], color=color, linewidth=1.6)
        ax.plot(lags[chosen], values[chosen], color=color, marker="o", markersize=3.5, linestyle="none")
    heights = np.array([*np.abs(values), *np.where(np.isfinite(correlation.std), correlation.bound(0.99), np.nan)])
    reach = 1.15 * max(heights[np.isfinite(heights)], default=1.0) or 1.0
    ax.set(xlabel="lag in samples", ylabel="correlation", title=shortened(title, 60), ylim=(-reach, reach))
    whole_numbers(ax.xaxis)
    ax.set_xlim(lags[0] - 0.5, lags[-1] + 0.5)
    legend(ax, loc="upper right", ncols=2)
    return ax


def error_histogram(errors: ArrayOrList, *, xlabel: str = "error", bins: int | None = None, ax: Any = None) -> Any:
    """Plots a histogram of errors, with the Gaussian of the same mean and standard deviation.

    Errors that are far from all others are counted in the legend, and not drawn.

    Args:
        errors: Any shape; NaN is ignored.
        xlabel: Name and unit.
        bins: Number of bars; None for a number that suits the data.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.

    Raises:
        ShapeError: If no error is finite.
    """
    values = numbers("errors", errors)
    if bins is not None:
        check_positive("bins", bins)
    values = values[~np.isnan(values)]
    usable = values[np.abs(values) < LARGEST_SQUARED]
    if not usable.size:
        raise ShapeError("error_histogram: there is no finite error to draw.")
    ax = axes_or_new(ax)
    quartiles = np.quantile(usable, [0.25, 0.75])
    reach = FAR_QUARTILES * np.ptp(quartiles) or np.inf
    shown = usable[(usable >= quartiles[0] - reach) & (usable <= quartiles[1] + reach)]
    beyond = f", {values.size - shown.size} of them outside" if shown.size < values.size else ""
    edges = _edges(shown, bins)
    counted = f"{values.size} error{'s' if values.size > 1 else ''}{beyond}"
    ax.hist(shown, edges, color=COLORS[0], alpha=0.6, edgecolor="white", linewidth=0.4, label=counted)
    mean, std = float(np.mean(shown)), float(np.std(shown))
    if _differ(shown):
        x = np.linspace(edges[0], edges[-1], 200)
        share = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi)) * (edges[1] - edges[0])
        gaussian = f"Gaussian {mean:.2g} ± {std:.2g}".replace("-", "−")
        ax.plot(x, shown.size * share, color=COLORS[1], linewidth=1.4, label=gaussian)
    if edges[0] <= 0 <= edges[-1]:
        ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel=shortened(xlabel, 60), ylabel="number of steps")
    whole_numbers(ax.yaxis)
    ax.locator_params(axis="x", nbins=6)
    ax.set_ymargin(0.3)  # room for the legend
    legend(ax, loc="upper right")
    return ax


def _edges(values: Any, bins: int | None) -> Any:
    """Edges of the bars: by Freedman and Diaconis or Sturges, 5 to 60 bars, and one for equal values."""
    size = float(np.max(np.abs(values)))
    if not _differ(values):
        middle, half = float(np.mean(values)), 0.5 * (size or 1.0)
        return np.linspace(middle - half, middle + half, 6 if bins is None else bins + 1)
    if bins is None:
        bins = int(np.clip(len(np.histogram_bin_edges(values / size, "auto")) - 1, 5, 60))
    return np.linspace(values.min(), values.max(), bins + 1)


def _differ(values: Any) -> bool:
    """Whether values differ by more than rounding."""
    return bool(np.ptp(values) > 100 * np.finfo(float).eps * np.max(np.abs(values)))


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
    y, y_hat = known(numbers("measured", measured), numbers("predicted", predicted))
    finite = np.isfinite(y_hat)
    if not finite.any():
        raise ShapeError("regression: there is no finite prediction to draw.")
    y, y_hat = y[finite].astype(float), y_hat[finite].astype(float)
    cut = ~near(y, y_hat)
    if cut.all():
        raise ShapeError("regression: all predictions are far outside of the range of the measurement.")
    y, y_hat = y[~cut], y_hat[~cut]
    ax = axes_or_new(ax)
    points = f"{y.size} steps" + (f", {cut.sum()} more outside" if cut.any() else "")
    # Thousands of dots are rasterized, to keep vector graphics small.
    ax.plot(y, y_hat, ".", markersize=3, alpha=0.4, color=COLORS[0], rasterized=y.size > 2000, label=points)
    ends = np.array([y.min(), y.max()])  # lines say nothing beyond what was measured
    ax.plot(ends, ends, color="black", linewidth=0.8, label="predicted = measured")
    if np.ptp(y) > 0 and np.ptp(y_hat) > 0:
        # About the means, since an offset may be far larger than the range.
        slope = float(np.mean((y - y.mean()) * (y_hat - y_hat.mean())) / np.var(y))
        R = float(np.corrcoef(y, y_hat)[0, 1])
        fitted = y_hat.mean() + slope * (ends - y.mean())
        found = f"slope {digits(slope)}, R = {ratio_digits(R)}"
        ax.plot(ends, fitted, color=COLORS[1], linewidth=1.4, linestyle="--", label=found)
    low, high = min(y.min(), y_hat.min()), max(y.max(), y_hat.max())
    margin = DRAWN_MARGIN * ((high - low) or abs(high) or 1.0)
    both = (low - margin, high + margin)  # of both axes, so that predicted = measured is the diagonal of a square
    ax.set(xlabel=shortened(f"measured {name}".strip()), ylabel=shortened(f"predicted {name}".strip()))
    ax.set(xlim=both, ylim=both, box_aspect=1)
    for axis in "x", "y":
        ax.locator_params(axis=axis, nbins=5)
    legend(ax, loc="upper left", fontsize="small")
    return ax
