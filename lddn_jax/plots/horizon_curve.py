"""Plot of the prediction error against the horizon."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Shaped

from lddn_jax.plots.axes import axes_or_new, colors, literal


def horizon_profile(
    horizons: Shaped[ArrayLike, " horizons"] | Sequence[int],
    rmse: Mapping[str, Shaped[ArrayLike, " horizons"] | Sequence[float | int]]
    | Shaped[ArrayLike, " horizons"]
    | Sequence[float | int],
    *,
    ylabel: str = "RMSE",
    ax: Any = None,
) -> Any:
    """Plots the prediction error against the horizon, one line per output.

    Args:
        horizons: Numbers of steps ahead, `(horizons,)`.
        rmse: Errors `(horizons,)` by output, or one array; NaN and ∞ are not drawn.
        ylabel: Name and unit of the error.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    lines = rmse if isinstance(rmse, Mapping) else {"": rmse}
    horizons = np.asarray(horizons)
    for (name, values), color in zip(lines.items(), colors(), strict=False):
        values = np.asarray(values, float)
        shown = np.where(np.isfinite(values), values, np.nan)
        marker = "o" if len(horizons) <= 30 else None
        ax.plot(horizons, shown, color=color, linewidth=1.3, marker=marker, markersize=3.5, label=literal(name))
    wide = horizons.size > 1 and horizons.min() > 0 and horizons.max() >= 20 * horizons.min()
    ax.set(xlabel="horizon in steps", ylabel=literal(ylabel), xscale="log" if wide else "linear")
    if wide:
        ax.xaxis.set_major_formatter("{x:g}")  # 100 instead of 10²
    ax.set_ylim(bottom=0)
    if any(lines):
        ax.legend(frameon=False)
    return ax
