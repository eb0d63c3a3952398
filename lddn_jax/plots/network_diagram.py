"""Network diagram: boxes for inputs and layers, and tapped delay lines where connections enter a layer."""

import functools
from collections.abc import Callable
from typing import Any

from lddn_jax.errors import LDDNError
from lddn_jax.plots.arrangement import TEXT_LINE_HEIGHT, arrange
from lddn_jax.plots.axes import COLORS, MATPLOTLIB_NEEDED, literal, new_axes
from lddn_jax.plots.routing import Routes, route
from lddn_jax.topology.topology import Topology

LETTER_SIZE = 0.22  # font size in units of the diagram
TAPS_BOX_HEIGHT = 0.4  # height of the box of a tapped delay line
DIAGRAM_MARGIN = 0.15
FULL_THICKNESS_POINTS = 9.0  # below this font size, lines get thinner in proportion
INCHES_PER_UNIT = 0.62  # scale of a new figure


def diagram(topology: Topology, *, ax: Any = None) -> Any:
    """Draws a network diagram, with signals from left to right and loops back over the top in another color.

    The box of a layer shows its name, transfer function and number of neurons, and "no bias" if it has none. A round
    box shows the name and number of elements of an input. A small box in front of a layer is a tapped delay line with
    its delays; a connection without one has no delay. Arrows at the right end are outputs.

    Args:
        topology: The topology, such as `net.topology`.
        ax: Matplotlib axes; None for new ones with the size of the diagram. Text is scaled to the axes.

    Returns:
        The axes.

    Example:
        >>> import lddn_jax as lddn
        >>> ax = diagram(lddn.models.narx({"current": 1}, {"position": 1}))
        >>> [text.get_text() for text in ax.texts][:2]
        ['current (1)', 'measured_position (1)']

    Symbols after Hagan et al., *Neural Network Design*, 2nd ed., ch. 14.
    """
    sizes = topology.sizes

    def lines_of(name: str) -> list[str]:
        if name in topology.input_names:
            return [f"{name} ({sizes[name]})"]
        layer = topology.layer(name)
        return [name, f"{layer.transfer}, {layer.size}", *([] if layer.bias else ["no bias"])]

    width_of = _text_width()
    arranged = arrange(topology, lines_of, lambda name: width_of(literal(name)))
    routes = route(arranged, taps_label, width_of)
    nodes = [node for column in arranged.columns for node in column]
    left, right = (
        -DIAGRAM_MARGIN,
        routes.right
        + max(width_of(literal(node.name)) for node in nodes if node.kind == "output")
        + 0.1
        + DIAGRAM_MARGIN,
    )
    bottom, top = min(node.y - node.height / 2 for node in nodes) - DIAGRAM_MARGIN, routes.top + DIAGRAM_MARGIN
    if ax is None:
        ax = new_axes(1, (INCHES_PER_UNIT * (right - left), INCHES_PER_UNIT * (top - bottom)))
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    box = ax.get_position()
    inches = ax.figure.get_size_inches() * (box.width, box.height)
    points = 72 * LETTER_SIZE * min(inches[0] / (right - left), inches[1] / (top - bottom))
    thickness = min(1.0, points / FULL_THICKNESS_POINTS)
    _draw_wires(ax, routes, thickness)
    _draw_boxes(ax, nodes, lines_of, points, thickness)
    for taps in routes.taps:
        _box(ax, taps.left, taps.y, taps.width, TAPS_BOX_HEIGHT, facecolor="white", linewidth=0.8 * thickness)
        ax.text(taps.left + taps.width / 2, taps.y, taps.label, ha="center", va="center", fontsize=points, zorder=5)
    return ax


def taps_label(delays: tuple[int, ...]) -> str:
    """Returns delays as powers of z; three or more consecutive delays are abbreviated to first … last."""
    runs: list[list[int]] = []
    for d in delays:
        if runs and d == runs[-1][-1] + 1:
            runs[-1].append(d)
        else:
            runs.append([d])
    parts = [[run[0], r"\ldots", run[-1]] if len(run) > 2 else run for run in runs]
    words = [part if isinstance(part, str) else f"z^{{{-part}}}" for run in parts for part in run]
    return "$" + r"\;".join(words) + "$"


def _text_width() -> Callable[[str], float]:
    """Returns a function that measures the width of a text in units of the diagram."""
    try:
        from matplotlib.textpath import TextPath
    except ImportError:
        raise LDDNError(MATPLOTLIB_NEEDED) from None

    @functools.cache
    def width_of(text: str) -> float:
        return float(TextPath((0, 0), text, size=LETTER_SIZE).get_extents().width)

    return width_of


def _draw_wires(ax: Any, routes: Routes, thickness: float) -> None:
    for wire in sorted(routes.wires, key=lambda wire: not wire.back):
        color = COLORS[1] if wire.back else "black"
        (x, y), (to_x, to_y) = wire.start, wire.end
        ax.plot([x, to_x], [y, to_y], color=color, linewidth=thickness, solid_capstyle="projecting", zorder=1)
        if wire.arrow:
            head = [(to_x, to_y), (to_x - 0.16, to_y + 0.06), (to_x - 0.16, to_y - 0.06)]
            ax.fill(*zip(*head, strict=True), color=color, linewidth=0, zorder=3)
    for x, y in routes.dots:
        ax.plot([x], [y], marker="o", markersize=3 * thickness, color="black", zorder=2)


def _draw_boxes(ax, nodes, lines_of, points, thickness) -> None:
    for node in nodes:
        if node.kind == "output":
            ax.text(node.x + 0.1, node.y, literal(node.name), ha="left", va="center", fontsize=points, zorder=5)
        if not node.boxed:
            continue
        left, style = node.x - node.width / 2, {"facecolor": "#eef3f8", "linewidth": 1.1 * thickness}
        _box(ax, left, node.y, node.width, node.height, rounded=node.kind == "input", **style)
        lines = lines_of(node.name)
        for k, line in enumerate(lines):
            y = node.y + TEXT_LINE_HEIGHT * ((len(lines) - 1) / 2 - k)
            weight = "bold" if k == 0 and node.kind == "layer" else "normal"
            ax.text(node.x, y, literal(line), ha="center", va="center", fontsize=points, zorder=5, fontweight=weight)


def _box(ax, left, y, width, height, rounded=False, **style) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = f"round,pad=0,rounding_size={min(width, height) / 2 if rounded else 0.03}"
    ax.add_patch(
        FancyBboxPatch((left, y - height / 2), width, height, boxstyle=corner, edgecolor="black", zorder=4, **style)
    )
