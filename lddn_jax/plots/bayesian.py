"""What Bayesian regularization says of delays, and whether its error bars are right."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lddn_jax.plots.axes import COLORS, axes_or_new


def relevance(table: Any, *, ax: Any = None) -> Any:
    """Draws for each delay of each connection how large its weights may be, and how many of them the data determine.

    Args:
        table: From `lddn_jax.relevance`.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    rows = sorted(table, key=lambda row: (row.to, row.source or "", -1 if row.delay is None else row.delay))
    places = np.arange(len(rows))
    ax.bar(places - 0.2, [row.scale for row in rows], width=0.4, color=COLORS[0], label="prior scale 1/√(2α)")
    ax.bar(places + 0.2, [row.determined for row in rows], width=0.4, color=COLORS[1], label="determined γ/P")
    ax.set_xticks(places, [row.name for row in rows], rotation=60, ha="right")
    ax.legend(frameon=False)
    return ax


def calibration(nominal: ArrayLike, observed: ArrayLike, *, ax: Any = None) -> Any:
    """Draws which share of measurements intervals hold against the share that they should hold.

    Args:
        nominal: From `lddn_jax.diagnostics.calibration`, as `observed`.
        observed: Likewise.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    ax.plot(np.asarray(nominal), np.asarray(observed), color=COLORS[0], marker="o", markersize=3, linewidth=1.1)
    ax.set(xlabel="nominal coverage", ylabel="observed coverage", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return ax
