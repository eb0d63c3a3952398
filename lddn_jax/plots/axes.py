"""Colors, line styles, labels and matplotlib axes, shared by all plots."""

import contextlib
import itertools
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Shaped

from lddn_jax.errors import LDDNError

# A signal `(time,)`, and a quantity recorded in training, `(epochs,)` or `(epochs, restarts)`.
Line: TypeAlias = Shaped[ArrayLike, " time"] | Sequence[Any]
Recorded: TypeAlias = Shaped[ArrayLike, "epochs ..."] | Sequence[Any]

# Okabe & Ito: distinguishable with color vision deficiency.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINE_STYLES = ("-", "--", ":", "-.")  # for more lines than colors
MATPLOTLIB_NEEDED = "figures need matplotlib: pip install 'lddn_jax[plot]'."
LABEL_COLUMNS, LABEL_LINES = 36, 2  # of the longest label; the rest is left out

SHADES = ("#56b4e9", "#f0e442", "#999999")  # background colors of the same palette
USUAL_DEVIATIONS = 10.0  # median deviations from the median, within which predictions are not diverging
LEAVING_RANGES = 0.5  # how far a prediction is drawn that leaves further than that
DRAWN_RANGES = 2.0  # how far predictions are drawn beyond the measurement, in ranges of the measurement


def styles() -> Iterator[dict[str, str]]:
    """Yields color and line style of one line after the other; the first 24 differ."""
    for style in itertools.cycle(LINE_STYLES):
        for color in COLORS:
            yield {"color": color, "linestyle": style}


def literal(text: str) -> str:
    """Escapes dollar signs, between which matplotlib would read mathematics."""
    return text.replace("$", r"\$")


def shortened(text: str, columns: int = LABEL_COLUMNS) -> str:
    """Returns a text for a label: without mathematics, in at most two lines.

    Example:
        >>> shortened("position")
        'position'
        >>> shortened("temperature of the upper half of the boiler, in degrees").splitlines()
        ['temperature of the upper half of the', 'boiler, in degrees']
    """
    whole = " ".join(text.split())
    if len(whole) <= columns:
        return literal(whole)
    lines = textwrap.wrap(whole, columns, max_lines=LABEL_LINES, placeholder=" …")
    return literal("\n".join(lines))


@contextlib.contextmanager
def letters_missing_as(action: Literal["error", "ignore"]) -> Iterator[None]:
    """Ignores letters that no installed font has, which are drawn as boxes, or raises a `UserWarning` for the first."""
    with warnings.catch_warnings():
        warnings.filterwarnings(action, r"Glyph \d+", UserWarning)
        yield


def axes_or_new(ax: Any) -> Any:
    """Returns the given axes, or new ones for None."""
    return new_axes(1) if ax is None else ax


def new_axes(count: int, inches: tuple[float, float] | None = None, *, stacked: bool = False) -> Any:
    """Creates axes side by side, or stacked vertically; returns an array if there are several."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise LDDNError(MATPLOTLIB_NEEDED) from None
    if stacked:
        size = inches or (9, 1 + 1.8 * count)
        return plt.subplots(count, 1, figsize=size, sharex=True, layout="constrained")[1]
    return plt.subplots(1, count, figsize=inches or (9, 3.5), layout="constrained")[1]


def legend(ax: Any, **more: Any) -> None:
    """Adds a legend of what is drawn, if there is something with a name; many names stand above the axes."""
    handles, _ = ax.get_legend_handles_labels()
    if not handles:
        return
    if len(handles) > 4:
        more = {"loc": "lower left", "bbox_to_anchor": (0, 1.05), "ncols": 3, "fontsize": "small"}
    ax.legend(frameon=False, **more)


def time_label(time: Line) -> str:
    """Returns the label of a time axis: "sample" for numbers of rows, which rise by one.

    Example:
        >>> time_label([0, 1, 2]), time_label([0.0, 0.1, 0.2])
        ('sample', 'time')
    """
    instants = np.asarray(time, float)
    counted = len(instants) > 1 and (instants == np.round(instants)).all() and np.median(np.diff(instants)) == 1
    return "sample" if counted else "time"


def whole_numbers(axis: Any) -> None:
    """Makes the ticks of an axis whole numbers, such as epochs and lags."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))


def apart(line: Line, steps: Sequence[int] | None) -> Float[np.ndarray, " times"]:
    """Returns a line with NaN between consecutive pieces, so that they are not joined.

    Args:
        line: `(time,)`.
        steps: Number of steps of each piece; None for one piece.
    """
    values = np.asarray(line, float)
    return values if steps is None else np.insert(values, np.cumsum(steps)[:-1], np.nan)


def limits(measured: Line | None, predictions: Mapping[str, Line]) -> tuple[float, float] | None:
    """Returns the range of values to draw; it is that of the measurement, and of predictions that are not far from it.

    Args:
        measured: `(time,)`; None if nothing was measured.
        predictions: `(time,)` by name; a few that diverge do not flatten the others.

    Returns:
        Lowest and highest value, or None without a finite value.
    """
    values = [np.asarray(line, float).ravel() for line in predictions.values()]
    found = np.concatenate([*values, np.zeros(0)])
    found = found[np.isfinite(found)]
    core = np.asarray([] if measured is None else measured, float)
    core = core[np.isfinite(core)]
    if not core.size:
        # Nothing was measured, or nothing finite: the middle of all predictions stands for it.
        if not found.size:
            return None
        from_middle = np.abs(found - np.median(found))
        core = found[from_middle <= USUAL_DEVIATIONS * np.median(from_middle)]
    low, high = float(core.min()), float(core.max())
    reach = DRAWN_RANGES * (high - low)
    if reach == 0:  # a measurement that stands still
        reach = 2 * USUAL_DEVIATIONS * float(np.median(np.abs(found - low))) if found.size else 0.0
    bottom, top = low, high
    for line in values:
        finite = line[np.isfinite(line)]
        lowest, highest = float(finite.min(initial=low)), float(finite.max(initial=high))
        leaves = max(low - lowest, highest - high) > reach
        drawn = reach * (LEAVING_RANGES / DRAWN_RANGES if leaves else 1.0)  # only the beginning of a way out
        bottom, top = min(bottom, max(low - drawn, lowest)), max(top, min(high + drawn, highest))
    return bottom, top


def near(measured: Any, predicted: Any) -> Bool[np.ndarray, "..."]:
    """Returns which predictions of measured values, both of any shape, are drawn."""
    y, y_hat = np.asarray(measured, float), np.asarray(predicted, float)
    flat = y_hat.ravel()
    drawn = inside(flat, limits(y.ravel(), {"": flat}))[0] == flat
    return np.isfinite(y) & drawn.reshape(y.shape)


def inside(line: Line, drawn: tuple[float, float] | None) -> tuple[Float[np.ndarray, " time"], int | None]:
    """Cuts values off that are far outside of what is drawn.

    Args:
        line: `(time,)`.
        drawn: From `limits`.

    Returns:
        The line, with values far outside moved to just beyond the axes, and the first step outside, or None.
    """
    values = np.asarray(line, float)
    if drawn is None:
        return values, None
    low, high = drawn
    margin = (high - low) or max(abs(high), 1.0)
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero((values < low) | (values > high))
    moved = np.where(np.isinf(values), np.sign(values) * np.finfo(float).max, values)
    return np.clip(moved, low - margin, high + margin), int(outside[0]) if outside.size else None
