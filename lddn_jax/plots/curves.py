"""Training curves: loss, trainer state and evidence against epochs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lddn_jax.plots.axes import COLORS, Recorded, axes_or_new, legend, literal, new_axes, styles, whole_numbers
from lddn_jax.plots.line_checks import check_history


def training_curve(history: Mapping[str, Recorded], *, best_epoch: int | None = None, ax: Any = None) -> Any:
    """Plots training and validation loss against epochs on a logarithmic axis.

    Args:
        history: `Fitted.history`, or `ClosedLoop.history`, whose horizons are marked, as their losses differ.
        best_epoch: `Fitted.best_epoch`, marked by a line; None for no mark.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    check_history("training_curve", history, ("loss", "validation_loss"))
    ax = axes_or_new(ax)
    # The loss is computed before the step of an epoch, the validation loss after it.
    drawn = (("loss", "training", 0, COLORS[0]), ("validation_loss", "validation", 1, COLORS[1]))
    for name, label, first, color in drawn:
        if name in history:
            _plot(ax, history[name], first, label, {"color": color})
    if best_epoch is not None:
        ax.axvline(best_epoch, color="black", linewidth=0.8, linestyle=":", label=f"best network (epoch {best_epoch})")
    ax.set(xlabel="epoch", ylabel="loss", yscale=_scale(history.get("loss", [])))
    _finish(ax, history)
    legend(ax)
    return ax


STATE_LABELS = {"gradient_norm": "gradient norm", "mu": "damping μ", "gamma": "effective\nparameters γ"}
LINEAR_STATES = ("gamma",)
CLOSE_STAGES = 0.15  # share of the epochs of a training stage, below which its name is written upwards


def training_state(history: Mapping[str, Recorded], *, axes: Any = None) -> Any:
    """Plots gradient norm, damping μ and effective number of parameters γ against epochs, if they were recorded.

    Args:
        history: `Fitted.history` or `ClosedLoop.history` of one network; with restarts,
            `fitted.history.of(fitted.best_restart)`.
        axes: Matplotlib axes, one per name in `training_states(history)`; None for new ones, stacked vertically.

    Returns:
        Array of the axes.

    Raises:
        LDDNError: If none of these quantities was recorded.
    """
    check_history("training_state", history, tuple(STATE_LABELS))
    names = training_states(history)
    axes = np.atleast_1d(new_axes(len(names), stacked=True) if axes is None else axes)
    for ax, name, style in zip(axes, names, styles(), strict=False):
        _plot(ax, history[name], style=style)
        ax.set(ylabel=STATE_LABELS[name], yscale="linear" if name in LINEAR_STATES else _scale(history[name]))
        _finish(ax, history, named=ax is axes[0])
    axes[-1].set_xlabel("epoch")
    return axes


def training_states(history: Mapping[str, Recorded]) -> list[str]:
    """Returns the names of the recorded quantities that `training_state` plots."""
    return [name for name in STATE_LABELS if name in history]


def evidence(history: Mapping[str, Recorded], *, axes: Any = None) -> Any:
    """Plots γ, α, β, E_D, E_W and the log evidence of Bayesian regularization against epochs.

    Args:
        history: `Fitted.history` of one network; with restarts, `fitted.history.of(fitted.best_restart)`.
        axes: Three matplotlib axes; None for new ones, side by side.

    Returns:
        The axes.
    """
    check_history("evidence, of Bayesian regularization,", history, ("log_evidence",))
    axes = new_axes(3) if axes is None else axes
    for name, style in zip(("E_D", "E_W", "beta"), styles(), strict=False):
        _plot(axes[1], history[name], label=literal(name), style=style)
    # One α, or one per group.
    for name in (name for name in history if name.partition(":")[0] == "alpha"):
        label = "alpha" if name == "alpha" else "_"
        _plot(axes[1], history[name], label=label, style={"color": COLORS[3]})
    _plot(axes[0], history["gamma"])
    _plot(axes[2], history["log_evidence"])
    axes[1].set(yscale=_scale(history["beta"]))
    axes[1].legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    for ax, label in zip(axes, ("effective parameters γ", "", "log evidence"), strict=True):
        ax.set(xlabel="epoch", ylabel=label)
        _finish(ax, history)
    return axes


def _plot(
    ax: Any, recorded: Recorded, first: int = 0, label: str = "_", style: Mapping[str, str] | None = None
) -> None:
    """Draws a recorded quantity against epochs, one line per restart; a single epoch is a dot."""
    values = np.asarray(recorded, float)
    values = values.reshape(len(values), -1).T
    for row in values[np.isfinite(values).any(axis=1)]:  # a legend names only what is drawn
        there = np.flatnonzero(np.isfinite(row))
        marker = {"marker": "o", "markersize": 3} if len(there) == 1 else {}
        ax.plot(
            np.arange(len(row)) + first, row, linewidth=1.1, label=label, **(style or {"color": COLORS[0]}), **marker
        )
        label = "_"  # restarts share a name


def _scale(recorded: Recorded) -> str:
    """A logarithmic axis, unless nothing is positive."""
    return "log" if (np.asarray(recorded, float) > 0).any() else "linear"


def _finish(ax: Any, history: Mapping[str, Recorded], named: bool = True) -> None:
    ax.margins(x=0)
    low, high = ax.get_xlim()
    if high - low < 1:  # of a single epoch
        ax.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
    whole_numbers(ax.xaxis)
    _mark_horizons(ax, history, named)


def _mark_horizons(ax: Any, history: Mapping[str, Recorded], named: bool) -> None:
    """Draws a line where each horizon starts, with a label if `named`."""
    if "horizon" not in history:
        return
    horizon = np.nan_to_num(np.asarray(history["horizon"], float), nan=0)  # 0 is the whole record
    if not horizon.size:
        return
    starts = [0, *(np.flatnonzero(np.diff(horizon)) + 1)]
    close = min(np.diff([*starts, len(horizon)])) < CLOSE_STAGES * len(horizon)  # names would overlap
    for start in starts:
        name = "all steps" if horizon[start] == 0 else f"{horizon[start]:.0f} step{'s' if horizon[start] > 1 else ''}"
        if start:
            ax.axvline(start, color="black", linewidth=0.6, alpha=0.4)
        if named:
            where = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top", "size": 8}
            where |= {"rotation": 90} if close else {}
            ax.annotate(name, (start, 1), (3, -3), **where)
