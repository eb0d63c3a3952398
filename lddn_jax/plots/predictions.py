"""Plots of measured and predicted signals, prediction errors and error bands."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lddn_jax.errors import LDDNError, ShapeError
from lddn_jax.plots.axes import (
    COLORS,
    SHADES,
    Line,
    apart,
    axes_or_new,
    inside,
    legend,
    limits,
    shortened,
    styles,
    time_label,
)
from lddn_jax.plots.line_checks import check_lines, check_predictions

MOST_VECTOR_POINTS = 20_000  # of a line; longer ones are pixels in vector graphics


def response(
    time: Line,
    measured: Line | None,
    predictions: Mapping[str, Line],
    *,
    ylabel: str = "",
    splits: Mapping[str, tuple[float | int, float | int]] | None = None,
    steps: Sequence[int] | None = None,
    ax: Any = None,
) -> Any:
    """Plots a measured signal and its predictions.

    The measurement decides on what is drawn: a prediction that leaves its range by more than twice its width is cut off
    at the edge of the axes, and the legend says from when on.

    Args:
        time: `(time,)`.
        measured: `(time,)`; None if nothing was measured.
        predictions: Predictions `(time,)` by name, which is shown in the legend.
        ylabel: Name and unit of the signal.
        splits: Parts of the record to shade and label, as start and end in the units of `time`, such as
            `{"train": (0, 24), "test": (24, 40)}`.
        steps: Number of steps of each piece of the record, which are not joined by a line; None for one piece.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    check_predictions("response(time, measured, predictions)", predictions)
    check_lines(time, {"measured": measured} | _called(predictions), steps)
    for name, span in (splits or {}).items():
        if np.shape(span) != (2,):
            raise ShapeError(f"splits: {name!r} is {span!r}; needed are start and end, such as {{{name!r}: (0, 24)}}.")
    ax = axes_or_new(ax)
    for k, (name, (start, stop)) in enumerate((splits or {}).items()):
        ax.axvspan(start, stop, color=SHADES[k % len(SHADES)], alpha=0.13, linewidth=0)
        ax.annotate(
            shortened(name),
            (start, 0),
            (4, 4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            size="small",
        )
    for border in np.cumsum(steps or ())[:-1]:
        ax.axvline(np.mean(np.asarray(time, float)[border - 1 : border + 1]), color="0.75", linewidth=0.6, zorder=0)
    if measured is not None and np.isfinite(np.asarray(measured, float)).any():
        _plot(ax, time, measured, steps, "measured", {"color": "black", "linestyle": "-", "linewidth": 1.6})
    _predictions(ax, time, predictions, steps, limits(measured, predictions), linewidth=1.1)
    ax.set(xlabel=time_label(time), ylabel=shortened(ylabel))
    legend(ax, loc="upper right", ncols=4)
    ax.set_ymargin(0.18)  # room for the legend
    ax.margins(x=0)
    return ax


def errors(
    time: Line,
    measured: Line,
    predictions: Mapping[str, Line],
    *,
    steps: Sequence[int] | None = None,
    ax: Any = None,
) -> Any:
    """Plots the error measured − predicted of each prediction. Arguments as in `response`."""
    check_predictions("errors(time, measured, predictions)", predictions)
    check_lines(time, {"measured": measured} | _called(predictions), steps)
    ax = axes_or_new(ax)
    ax.axhline(0, color="black", linewidth=0.8)
    y = np.asarray(measured, float)
    drawn = limits(y, predictions)
    found = {}
    for name, prediction in predictions.items():
        values, _ = inside(prediction, drawn)
        found[name] = np.where(np.asarray(prediction, float) == values, y - values, np.nan)  # not where it is cut off
    _predictions(ax, time, found, steps, None, linewidth=1.0)
    ax.set(xlabel=time_label(time), ylabel="error")
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
    label: str = "",
    steps: Sequence[int] | None = None,
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
        label: Name of the band in the legend; by default "±2σ", for half widths that are no deviations another.
        steps: Number of steps of each piece of the record, which are not joined by a line; None for one piece.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.
    """
    check_lines(time, {"measured": measured, "mean": mean, "std": std}, steps)
    if not k > 0:
        raise LDDNError(f"bands: k={k!r} is half the width of the band in standard deviations; write k=2.0.")
    ax = axes_or_new(ax)
    half = k * np.asarray(std, float)
    drawn = limits(measured, {"predicted": mean})
    low, high = (apart(inside(np.asarray(mean, float) + side * half, drawn)[0], steps) for side in (-1, 1))
    if np.isfinite(low + high).any():
        ax.fill_between(
            apart(time, steps), low, high, color=COLORS[0], alpha=0.25, linewidth=0, label=label or f"±{k:g}σ"
        )
    _predictions(ax, time, {"predicted": mean}, steps, drawn, linewidth=1.1)
    if np.isfinite(np.asarray(measured, float)).any():
        _plot(ax, time, measured, steps, "measured", {"color": "black", "linewidth": 0.9})
    ax.set(xlabel=time_label(time), ylabel=shortened(ylabel))
    legend(ax, loc="upper right", ncols=3)
    ax.set_ymargin(0.18)  # room for the legend
    if drawn is not None and drawn[0] < drawn[1]:  # not of the band, which may be far wider
        margin = 0.5 * (drawn[1] - drawn[0])
        ax.set_ylim(max(ax.get_ylim()[0], drawn[0] - margin), min(ax.get_ylim()[1], drawn[1] + margin))
    ax.margins(x=0)
    return ax


def _called(predictions: Mapping[str, Line]) -> dict[str, Line]:
    return {f"prediction {name!r}": line for name, line in predictions.items()}


def _predictions(ax: Any, time: Line, lines: Mapping[str, Line], steps: Any, drawn: Any, **style: Any) -> None:
    """Draws lines in colors of their own, cut off at the edge of what is drawn."""
    left = False
    for (name, line), own in zip(lines.items(), styles(), strict=False):
        values, first = inside(line, drawn)
        if not np.isfinite(values).any():
            continue  # a legend names only what is drawn
        when = "" if first is None else f", cut off from {np.asarray(time, float)[first]:.6g} on"
        left |= first is not None
        _plot(ax, time, values, steps, shortened(name) + when, own | style)
    if left:
        low, high = drawn
        margin = 0.18 * ((high - low) or max(abs(high), 1.0))
        ax.set_ylim(low - margin, high + 1.5 * margin)


def _plot(ax: Any, time: Line, line: Line, steps: Any, name: str, style: dict[str, Any]) -> None:
    """Draws a line; values with a gap on both sides are dots, since they have no line."""
    x, values = apart(time, steps), apart(line, steps)
    there = np.isfinite(values)
    alone = there & ~np.append(False, there[:-1]) & ~np.append(there[1:], False)
    marks = {"marker": "o", "markersize": 2.5, "markevery": np.flatnonzero(alone).tolist()} if alone.any() else {}
    ax.plot(x, values, label=name, rasterized=len(x) > MOST_VECTOR_POINTS, **style, **marks)
