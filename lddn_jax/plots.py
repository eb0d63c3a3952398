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
        history: `Fitted.history`, or `ClosedLoop.history`, whose horizons are marked: each has losses of its own.
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
    ax.margins(x=0)
    _mark_horizons(ax, history)
    ax.legend(frameon=False)
    return ax


def evidence(history: Mapping[str, ArrayLike], *, axes: Any = None) -> Any:
    """Draws γ, α, β, E_D, E_W and the log evidence of Bayesian regularization against epochs.

    Args:
        history: `Fitted.history`, of one network; of several, `fitted.history.of(fitted.best_restart)`.
        axes: Three matplotlib axes; None for new ones, side by side.

    Returns:
        The axes.
    """
    axes = _several(3) if axes is None else axes
    for name, color in zip(("E_D", "E_W", "beta"), _cycle(), strict=False):
        axes[1].plot(np.asarray(history[name]), color=color, linewidth=1.1, label=name)
    # One α, or one of each group.
    for name in (name for name in history if name.partition(":")[0] == "alpha"):
        label = "alpha" if name == "alpha" else None
        axes[1].plot(np.asarray(history[name]), color=_COLORS[3], linewidth=0.8, label=label)
    axes[0].plot(np.asarray(history["gamma"]), color=_COLORS[0], linewidth=1.1)
    axes[2].plot(np.asarray(history["log_evidence"]), color=_COLORS[0], linewidth=1.1)
    axes[1].set(yscale="log")
    axes[1].legend(frameon=False)
    for ax, label in zip(axes, ("effective parameters γ", "", "log evidence"), strict=True):
        ax.set(xlabel="epoch", ylabel=label)
        ax.margins(x=0)
        _mark_horizons(ax, history)
    return axes


def bands(
    time: ArrayLike,
    measured: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike,
    *,
    ylabel: str = "",
    k: float = 2.0,
    ax: Any = None,
) -> Any:
    """Draws a measured signal, and a prediction of it with the band mean ± k σ.

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
    ax = _axes(ax)
    time, mean, std = (np.asarray(value, float) for value in (time, mean, std))
    ax.fill_between(time, mean - k * std, mean + k * std, color=_COLORS[0], alpha=0.25, linewidth=0, label=f"±{k:g}σ")
    ax.plot(time, mean, color=_COLORS[0], linewidth=1.1, label="predicted")
    ax.plot(time, np.asarray(measured), color="black", linewidth=0.9, label="measured")
    ax.set(xlabel="time", ylabel=ylabel)
    ax.legend(loc="upper right", ncols=3, frameon=False)
    ax.set_ymargin(0.18)  # room for the legend
    ax.margins(x=0)
    return ax


def relevance(table: Any, *, ax: Any = None) -> Any:
    """Draws for each delay of each connection how large its weights may be, and how many of them the data determine.

    Args:
        table: From `lddn_jax.relevance`.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    ax = _axes(ax)
    rows = sorted(table, key=lambda row: (row.to, row.source or "", -1 if row.delay is None else row.delay))
    places = np.arange(len(rows))
    ax.bar(places - 0.2, [row.scale for row in rows], width=0.4, color=_COLORS[0], label="prior scale 1/√(2α)")
    ax.bar(places + 0.2, [row.determined for row in rows], width=0.4, color=_COLORS[1], label="determined γ/P")
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
    ax = _axes(ax)
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    ax.plot(np.asarray(nominal), np.asarray(observed), color=_COLORS[0], marker="o", markersize=3, linewidth=1.1)
    ax.set(xlabel="nominal coverage", ylabel="observed coverage", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return ax


def _cycle():
    while True:
        yield from _COLORS


def _mark_horizons(ax: Any, history: Mapping[str, ArrayLike]) -> None:
    """Draws a line where a new horizon begins, and names each below the top of the axes."""
    if "horizon" not in history:
        return
    horizon = np.nan_to_num(np.asarray(history["horizon"], float), nan=0)  # 0 is the whole record
    starts = [0, *(np.flatnonzero(np.diff(horizon)) + 1)]
    for start in starts:
        name = "all steps" if horizon[start] == 0 else f"{horizon[start]:.0f} step{'s' if horizon[start] > 1 else ''}"
        if start:
            ax.axvline(start, color="black", linewidth=0.6, alpha=0.4)
        ax.annotate(
            name, (start, 1), (3, -3), xycoords=("data", "axes fraction"), textcoords="offset points", va="top", size=8
        )


def _axes(ax: Any) -> Any:
    return _several(1) if ax is None else ax


def _several(count: int) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise LDDNError("figures need matplotlib: pip install 'lddn_jax[plot]'.") from None
    return plt.subplots(1, count, figsize=(9, 3.5), layout="constrained")[1]
