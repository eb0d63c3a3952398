"""Network diagram: boxes for inputs and layers, and tapped delay lines where connections enter a layer."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lddn_jax.errors import LDDNError
from lddn_jax.plots.arrangement import TEXT_LINE_HEIGHT, Node, arrange
from lddn_jax.plots.axes import COLORS, MATPLOTLIB_NEEDED, new_axes, shortened
from lddn_jax.plots.grouping import grouped
from lddn_jax.plots.routing import Routes, route
from lddn_jax.topology.topology import Topology, check_topology

LETTER_SIZE = 0.22  # font size in units of the diagram
TAPS_BOX_HEIGHT = 0.4  # height of the box of a tapped delay line
DIAGRAM_MARGIN = 0.15
NAME_COLUMNS = 30  # half of the letters of the longest name
SHORT_PROPERTIES = {"identity": "I", "diagonal": "diag"}
MOST_TAPS = 7  # powers of z in a label
FULL_THICKNESS_POINTS = 9.0  # below this font size, lines get thinner in proportion
INCHES_PER_UNIT = 0.62  # scale of a new figure


def diagram(topology: Topology, *, ax: Any = None) -> Any:
    """Draws a network diagram, with signals from left to right and loops back over the top in another color.

    The box of a layer shows its name, transfer function and number of neurons, and "no bias" if it has none; ⊗ marks a
    layer that multiplies what it reads. A round box shows the name and number of elements of an input. A small box in
    front of a layer is a tapped delay line with its delays; a connection without one has no delay. "I" in it is an
    identity, "diag" stands for diagonal weights; dashed lines lead through weights that are not trained. Arrows at the
    right end are outputs. Four or more parts that are equal but for their names share a box.

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
    laid = _lay_out(topology)
    left, right, bottom, top = laid.extent
    if ax is None:
        ax = new_axes(1, laid.inches)
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.set_axis_off()
    box = ax.get_position()
    inches = ax.figure.get_size_inches() * (box.width, box.height)
    points = 72 * LETTER_SIZE * min(inches[0] / (right - left), inches[1] / (top - bottom))
    thickness = min(1.0, points / FULL_THICKNESS_POINTS)
    _draw_wires(ax, laid.routes, thickness)
    _draw_boxes(ax, laid, points, thickness)
    for taps in laid.routes.taps:
        _box(ax, taps.left, taps.y, taps.width, TAPS_BOX_HEIGHT, facecolor="white", linewidth=0.8 * thickness)
        ax.text(taps.left + taps.width / 2, taps.y, taps.label, ha="center", va="center", fontsize=points, zorder=5)
    return ax


@dataclass(frozen=True)
class _Laid:
    """Boxes and wires at their places, and the texts in the boxes."""

    nodes: list[Node]
    routes: Routes
    called: Callable[[str], str]
    lines_of: Callable[[str], list[str]]
    extent: tuple[float, float, float, float]

    @property
    def inches(self) -> tuple[float, float]:
        left, right, bottom, top = self.extent
        return INCHES_PER_UNIT * (right - left), INCHES_PER_UNIT * (top - bottom)


def diagram_size(topology: Topology) -> tuple[float, float]:
    """Returns width and height in inches of a diagram with letters of the usual size."""
    return _lay_out(topology).inches


def _lay_out(topology: Topology) -> _Laid:
    check_topology(topology, "diagram")
    groups = grouped(topology)
    topology, sizes = groups.topology, groups.topology.sizes

    def called(name: str) -> str:
        return shortened(groups.called(name), NAME_COLUMNS).replace("\n", " ")

    def lines_of(name: str) -> list[str]:
        size = groups.sized(name, sizes[name])
        if name in topology.input_names:
            return [f"{called(name)} ({size})"]
        layer = topology.layer(name)
        if layer.net_input == "product":
            return [called(name), f"⊗ {layer.transfer}, {size}"]
        return [called(name), f"{layer.transfer}, {size}", *([] if layer.bias else ["no bias"])]

    width_of = _text_width()
    arranged = arrange(topology, lines_of, width_of)
    routes = route(arranged, taps_label, width_of)
    nodes = [node for column in arranged.columns for node in column]
    names = max(width_of(called(node.name)) for node in nodes if node.kind == "output")
    bottom, top = min(node.y - node.height / 2 for node in nodes) - DIAGRAM_MARGIN, routes.top + DIAGRAM_MARGIN
    return _Laid(
        nodes, routes, called, lines_of, (-DIAGRAM_MARGIN, routes.right + names + 0.1 + DIAGRAM_MARGIN, bottom, top)
    )


def taps_label(delays: tuple[int, ...], properties: tuple[str, ...] = ()) -> str:
    """Returns delays as powers of z; three or more consecutive delays are abbreviated to first … last.

    More than seven powers are abbreviated, too, with the number of delays. Properties of the weights follow.
    """
    kinds = ", ".join(SHORT_PROPERTIES.get(word, word) for word in properties)
    if delays == (0,) and kinds:
        return kinds
    runs: list[list[int]] = []
    for d in delays:
        if runs and d == runs[-1][-1] + 1:
            runs[-1].append(d)
        else:
            runs.append([d])
    parts = [[run[0], r"\ldots", run[-1]] if len(run) > 2 else run for run in runs]
    words = [part if isinstance(part, str) else f"z^{{{-part}}}" for run in parts for part in run]
    if len(words) > MOST_TAPS:
        words = [*words[:3], r"\ldots", words[-1], rf"({len(delays)}\ \mathrm{{delays}})"]
    powers = "$" + r"\;".join(words) + "$"
    return f"{powers} {kinds}" if kinds else powers


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
        style = {"linestyle": "--"} if wire.dashed else {"solid_capstyle": "projecting"}
        ax.plot([x, to_x], [y, to_y], color=color, linewidth=thickness, zorder=1, **style)
        if wire.arrow:
            head = [(to_x, to_y), (to_x - 0.16, to_y + 0.06), (to_x - 0.16, to_y - 0.06)]
            ax.fill(*zip(*head, strict=True), color=color, linewidth=0, zorder=3)
    for x, y in routes.dots:
        ax.plot([x], [y], marker="o", markersize=3 * thickness, color="black", zorder=2)


def _draw_boxes(ax: Any, laid: _Laid, points: float, thickness: float) -> None:
    for node in laid.nodes:
        if node.kind == "output":
            ax.text(node.x + 0.1, node.y, laid.called(node.name), ha="left", va="center", fontsize=points, zorder=5)
        if not node.boxed:
            continue
        left, style = node.x - node.width / 2, {"facecolor": "#eef3f8", "linewidth": 1.1 * thickness}
        _box(ax, left, node.y, node.width, node.height, rounded=node.kind == "input", **style)
        lines = laid.lines_of(node.name)
        for k, line in enumerate(lines):
            y = node.y + TEXT_LINE_HEIGHT * ((len(lines) - 1) / 2 - k)
            weight = "bold" if k == 0 and node.kind == "layer" else "normal"
            ax.text(node.x, y, line, ha="center", va="center", fontsize=points, zorder=5, fontweight=weight)


def _box(ax, left, y, width, height, rounded=False, **style) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = f"round,pad=0,rounding_size={min(width, height) / 2 if rounded else 0.03}"
    ax.add_patch(
        FancyBboxPatch((left, y - height / 2), width, height, boxstyle=corner, edgecolor="black", zorder=4, **style)
    )
