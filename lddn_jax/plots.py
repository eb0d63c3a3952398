"""Figures. Each function draws on the axes it is given, or on new ones, and returns them; none shows a window."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lddn_jax.errors import LDDNError

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe & Ito: told apart by color-blind readers


def response(
    time: ArrayLike, measured: ArrayLike, predictions: Mapping[str, ArrayLike], *, ylabel: str = "", ax: Any = None
) -> Any:
    """Draws a measured signal and predictions of it.

    Args:
        time: `(time,)`.
        measured: `(time,)`.
        predictions: `(time,)` each, by the name that the legend shows.
        ylabel: Name and unit of the signal.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    ax.plot(time, np.asarray(measured), color="black", linewidth=1.6, label="measured")
    for (name, prediction), color in zip(predictions.items(), _cycle(), strict=False):
        ax.plot(time, np.asarray(prediction), color=color, linewidth=1.1, label=name)
    ax.set(xlabel="time", ylabel=ylabel)
    ax.legend(loc="upper right", ncols=1 + len(predictions), frameon=False)
    ax.set_ymargin(0.18)  # room for the legend
    ax.margins(x=0)
    return ax


def errors(time: ArrayLike, measured: ArrayLike, predictions: Mapping[str, ArrayLike], *, ax: Any = None) -> Any:
    """Draws measured − predicted for each prediction; arguments are those of `response`."""
    ax = _axes(ax)
    ax.axhline(0, color="black", linewidth=0.8)
    for (name, prediction), color in zip(predictions.items(), _cycle(), strict=False):
        ax.plot(time, np.asarray(measured) - np.asarray(prediction), color=color, linewidth=1.0, label=name)
    ax.set(xlabel="time", ylabel="error")
    ax.margins(x=0)
    return ax


def training_curve(history: Mapping[str, ArrayLike], *, best_epoch: int | None = None, ax: Any = None) -> Any:
    """Draws training and validation loss against epochs, on a logarithmic axis.

    Args:
        history: `Fitted.history`.
        best_epoch: `Fitted.best_epoch`, marked by a line; None for no mark.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    # A loss is that of the network before its step, a validation loss that of the network after it.
    drawn = (("loss", "training", 0, _COLORS[0]), ("validation_loss", "validation", 1, _COLORS[1]))
    for name, label, first, color in drawn:
        if name in history:
            values = np.asarray(history[name])
            ax.plot(np.arange(len(values)) + first, values, color=color, linewidth=1.1, label=label)
    if best_epoch is not None:
        ax.axvline(best_epoch, color="black", linewidth=0.8, linestyle=":", label=f"best network (epoch {best_epoch})")
    ax.set(xlabel="epoch", ylabel="loss", yscale="log")
    ax.legend(frameon=False)
    ax.margins(x=0)
    return ax


def _cycle():
    while True:
        yield from _COLORS


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise LDDNError("figures need matplotlib: pip install 'lddn_jax[plot]'.") from None
    return plt.subplots(figsize=(9, 3.5), layout="constrained")[1]
