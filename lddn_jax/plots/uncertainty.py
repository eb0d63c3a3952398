"""Plots for Bayesian regularization: relevance of delays, calibration of error bars, comparison by evidence."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Shaped

from lddn_jax.checks import called
from lddn_jax.errors import LDDNError
from lddn_jax.plots.axes import COLORS, axes_or_new, legend, new_axes, shortened
from lddn_jax.plots.line_checks import check_lines

MOST_DELAYS = 40  # shown in one figure


def relevance(table: Any, *, ax: Any = None) -> Any:
    """Plots the prior scale and the fraction of well-determined weights for each delay of each connection.

    If there are more than 40, those with the largest prior scale are shown.

    Args:
        table: From `lddn_jax.relevance`, or some of its rows; they are sorted by connection and delay.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    every = list(table) if isinstance(table, Iterable) else []
    if not every or not all(hasattr(row, "scale") for row in every):
        raise LDDNError(f"table is {called(table)}, but relevance takes a table of delays: lddn.relevance(posterior).")
    every = [row for row in every if np.isfinite(row.scale)]  # what has no prior has no scale to compare
    largest = sorted(range(len(every)), key=lambda k: -every[k].scale)[:MOST_DELAYS]
    rows = sorted(
        (every[k] for k in largest),
        key=lambda row: (row.to, row.source or "", -1 if row.delay is None else row.delay),
    )
    places = np.arange(len(rows))
    ax.bar(places - 0.2, [row.scale for row in rows], width=0.4, color=COLORS[0], label="prior scale 1/√(2α)")
    ax.bar(places + 0.2, [row.determined for row in rows], width=0.4, color=COLORS[1], label="determined γ/P")
    ax.set_xticks(places, [shortened(row.name) for row in rows], rotation=60, ha="right", rotation_mode="anchor")
    if len(rows) < len(every):
        ax.set_xlabel(f"the {len(rows)} of {len(every)} delays with the largest prior scale")
    legend(ax, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax


def calibration(
    nominal: Shaped[ArrayLike, " shares"] | Sequence[float | int],
    observed: Shaped[ArrayLike, " shares"] | Sequence[float | int],
    *,
    ax: Any = None,
) -> Any:
    """Plots observed against nominal coverage of prediction intervals (calibration curve).

    Args:
        nominal: Nominal coverage, `(shares,)`, from `lddn_jax.diagnostics.calibration`.
        observed: Observed coverage, `(shares,)`, from the same call.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    check_lines(nominal, {"observed": observed}, axis="nominal")
    ax = axes_or_new(ax)
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    ax.plot(np.asarray(nominal), np.asarray(observed), color=COLORS[0], marker="o", markersize=3, linewidth=1.1)
    ax.set(xlabel="nominal coverage", ylabel="observed coverage", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return ax


def comparison(found: Any, *, axes: Any = None) -> Any:
    """Plots the log evidence of candidates, and their errors on training and held-out data.

    Args:
        found: From `lddn_jax.compare`.
        axes: Two matplotlib axes that share y; None for new ones, side by side.

    Returns:
        The axes.
    """
    if not hasattr(found, "candidates"):
        raise LDDNError(f"found is {called(found)}, but comparison takes the result of lddn.compare(topologies, data).")
    axes = new_axes(2) if axes is None else axes
    rows, best = found.to_dict(), found.best.name
    places = np.arange(len(rows))
    evidence = np.array([row["log_evidence"] for row in rows], float)  # NaN where it is not finite
    # Only differences of the log evidence are meaningful.
    known = evidence[np.isfinite(evidence)]
    least, most = (known.min(), known.max()) if known.size else (0.0, 0.0)
    axes[0].hlines(places, least - most, evidence - most, color=COLORS[0], linewidth=1.0)
    axes[0].plot(evidence - most, places, "o", color=COLORS[0])
    axes[0].plot(0, rows.index(next(row for row in rows if row["name"] == best)), "o", color=COLORS[2], markersize=10)
    axes[0].set_yticks(places, [shortened(row["name"]) for row in rows])
    axes[0].invert_yaxis()
    axes[0].set(xlabel="log evidence, relative to the largest")
    for name, label, color in (("train_rmse", "training", COLORS[0]), ("held_out_rmse", "held out", COLORS[1])):
        if rows[0][name] is not None:
            axes[1].plot([row[name] for row in rows], places, "o", color=color, label=label)
    axes[1].set(xlabel="RMSE")
    axes[1].set_xlim(left=0)
    for ax in axes:
        ax.locator_params(axis="x", nbins=4)
    legend(axes[1], loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return axes
