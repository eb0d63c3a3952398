"""Plots of measured and predicted signals, prediction errors and error bands."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lddn_jax.plots.axes import COLORS, SHADES, Line, axes_or_new, colors, literal


def response(
    time: Line,
    measured: Line | None,
    predictions: Mapping[str, Line],
    *,
    ylabel: str = "",
    splits: Mapping[str, tuple[float | int, float | int]] | None = None,
    ax: Any = None,
) -> Any:
    """Plots a measured signal and its predictions.

    Args:
        time: `(time,)`.
        measured: `(time,)`; None if nothing was measured.
        predictions: Predictions `(time,)` by name, which is shown in the legend.
        ylabel: Name and unit of the signal.
        splits: Parts of the record to shade and label, as start and end in the units of `time`, such as
            `{"train": (0, 24), "test": (24, 40)}`.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    for k, (name, (start, stop)) in enumerate((splits or {}).items()):
        ax.axvspan(start, stop, color=SHADES[k % len(SHADES)], alpha=0.13, linewidth=0)
        ax.annotate(
            literal(name),
            (start, 0),
            (4, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            size="small",
        )
    if measured is not None:
        ax.plot(time, np.asarray(measured), color="black", linewidth=1.6, label="measured")
    for (name, prediction), color in zip(predictions.items(), colors(), strict=False):
        ax.plot(time, np.asarray(prediction), color=color, linewidth=1.1, label=literal(name))
    ax.set(xlabel="time", ylabel=literal(ylabel))
    ax.legend(loc="upper right", ncols=1 + len(predictions), frameon=False)
    ax.set_ymargin(0.18)  # room for the legend
    ax.margins(x=0)
    return ax


def errors(time: Line, measured: Line, predictions: Mapping[str, Line], *, ax: Any = None) -> Any:
    """Plots the error measured − predicted of each prediction. Arguments as in `response`."""
    ax = axes_or_new(ax)
    ax.axhline(0, color="black", linewidth=0.8)
    for (name, prediction), color in zip(predictions.items(), colors(), strict=False):
        ax.plot(time, np.asarray(measured) - np.asarray(prediction), color=color, linewidth=1.0, label=literal(name))
    ax.set(xlabel="time", ylabel="error")
    ax.margins(x=0)
    return ax


def bands(
    time: Line,
    measured: Line,
    mean: Line,
    std: Line,
    *,
    ylabel: str = "",
    k: float = 2.0,
    ax: Any = None,
) -> Any:
    """Plots a measured signal and a prediction with the error band mean ± k σ.

    Args:
        time: `(time,)`.
        measured: `(time,)`.
        mean: `(time,)`.
        std: σ, `(time,)`.
        ylabel: Name and unit of the signal.
        k: Half the width of the band, in σ.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax)
    time, mean, std = (np.asarray(value, float) for value in (time, mean, std))
    ax.fill_between(time, mean - k * std, mean + k * std, color=COLORS[0], alpha=0.25, linewidth=0, label=f"±{k:g}σ")
    ax.plot(time, mean, color=COLORS[0], linewidth=1.1, label="predicted")
    ax.plot(time, np.asarray(measured), color="black", linewidth=0.9, label="measured")
    ax.set(xlabel="time", ylabel=literal(ylabel))
    ax.legend(loc="upper right", ncols=3, frameon=False)
    ax.set_ymargin(0.18)  # room for the legend
    ax.margins(x=0)
    return ax
