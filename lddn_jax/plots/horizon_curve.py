"""Plot of the prediction error against the horizon."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Shaped

from lddn_jax.errors import LDDNError
from lddn_jax.plots.axes import axes_or_new, legend, shortened, styles, whole_numbers
from lddn_jax.plots.line_checks import check_lines

STEEP = 200.0  # ratio of errors that a linear axis does not show


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
    lines = rmse if isinstance(rmse, Mapping) else {"": rmse}
    if hasattr(horizons, "horizons"):
        raise LDDNError("horizon_profile: pass the parts of a profile: horizon_profile(found.horizons, found.rmse).")
    check_lines(
        horizons, {f"rmse of {name!r}" if name else "rmse": values for name, values in lines.items()}, axis="horizons"
    )
    ax = axes_or_new(ax)
    horizons = np.asarray(horizons)
    drawn = np.concatenate([np.asarray(values, float) for values in lines.values()] + [np.zeros(0)])
    drawn = drawn[np.isfinite(drawn)]
    for (name, values), style in zip(lines.items(), styles(), strict=False):
        values = np.asarray(values, float)
        shown = np.where(np.isfinite(values), values, np.nan)
        if not np.isfinite(shown).any():
            continue  # a legend names only what is drawn
        marker = {"marker": "o", "markersize": 3.5} if len(horizons) <= 30 else {}
        ax.plot(horizons, shown, linewidth=1.3, label=shortened(name) or "_", **style, **marker)
    wide = horizons.size > 1 and horizons.min() > 0 and horizons.max() >= 20 * horizons.min()
    ax.set(xlabel="horizon in steps", ylabel=shortened(ylabel), xscale="log" if wide else "linear")
    if wide:
        ax.xaxis.set_major_formatter("{x:g}")  # 100 instead of 10²
    else:
        whole_numbers(ax.xaxis)
    positive = drawn[drawn > 0]
    if positive.size and positive.max() > STEEP * positive.min():  # outputs of other units, or errors that grow
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    legend(ax)
    return ax
