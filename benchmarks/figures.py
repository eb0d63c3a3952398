"""Figures of benchmarks: log-log plots, one panel for each quantity, in one PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000")  # Okabe & Ito: safe for color-blind readers
_MARKERS = "os^Dv"


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        x: Name of the varied quantity.
        y: Name and unit of the measured quantity.
        curves: Points (x, y) by name in the legend.
        title: Title.
        guides: Slopes of dashed lines, each with the name of the curve whose first point it starts from.
    """

    x: str
    y: str
    curves: Mapping[str, Sequence[tuple[float, float]]]
    title: str = ""
    guides: Mapping[float, str] = field(default_factory=dict)


def draw(path: Path, panels: Sequence[Panel], columns: int = 3) -> Path | None:
    """Writes a PNG; returns its path, or None if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for ax, panel in zip(axes, panels, strict=False):
        _fill(ax, panel)
    for ax in axes[len(panels) :]:
        ax.axis("off")
    figure.savefig(path, dpi=110)
    return path


def _fill(ax, panel: Panel) -> None:
    for k, (name, points) in enumerate(panel.curves.items()):
        color, marker = _COLORS[k % len(_COLORS)], _MARKERS[k % len(_MARKERS)]
        ax.plot(*zip(*points, strict=True), marker=marker, markersize=4, linewidth=1.2, color=color, label=name)
    for slope, name in panel.guides.items():
        if points := panel.curves.get(name):
            (start, low), (end, _) = points[0], points[-1]
            high = low * (end / start) ** slope
            ax.plot([start, end], [low, high], "--", color="gray", linewidth=0.9)
            ax.annotate(f"slope {slope:g} ", (end, high), ha="right", va="bottom", fontsize="small", color="gray")
    ax.set(xscale="log", yscale="log", xlabel=panel.x, ylabel=panel.y, title=panel.title)
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small", frameon=False)
