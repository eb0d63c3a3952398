"""Routing of the wires in a network diagram: orthogonal, with separate tracks for each signal.

In front of each column is a channel of vertical tracks, one per signal that turns there. A loop leaves its layer to the
right, runs back over the top (a self-loop just above its layer), and comes down in front of the layer that reads it. A
tapped delay line is drawn where its connection enters a layer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from lddn_jax.plots.arrangement import Columns, Node

TRACK_SPACING = 0.2  # between vertical tracks
ARROW_STEM_LENGTH = 0.3  # in front of a box
LOOP_SPACING = 0.26  # between loops over the top


@dataclass
class Wire:
    """A straight segment of a signal; `back` if it is part of a loop, `arrow` if it ends in an arrowhead.

    It is `dashed` where it enters a layer through weights that are not trained.
    """

    source: str
    start: tuple[float, float]
    end: tuple[float, float]
    back: bool = False
    arrow: bool = False
    dashed: bool = False


@dataclass
class Taps:
    """The box of a tapped delay line: left edge, height of its center, width and label."""

    left: float
    y: float
    width: float
    label: str


@dataclass
class Routes:
    """All wires, branching points and tapped delay lines; `right` and `top` are their extents."""

    wires: list[Wire] = field(default_factory=list)
    dots: list[tuple[float, float]] = field(default_factory=list)
    taps: list[Taps] = field(default_factory=list)
    right: float = 0.0
    top: float = 0.0


def route(
    arranged: Columns, label_of: Callable[[tuple[int, ...], tuple[str, ...]], str], width_of: Callable[[str], float]
) -> Routes:
    """Sets the x of all boxes and routes all wires.

    Args:
        arranged: From `arrange`.
        label_of: Function that returns the label of a tapped delay line from its delays and properties.
        width_of: Function that returns the width of a text.
    """
    lanes, routes = _lanes(arranged), Routes()
    reached: dict[str, list[float]] = {source: [] for source in lanes}  # x at which a loop enters or leaves its lane
    for c, column in enumerate(arranged.columns):
        before = arranged.columns[c - 1] if c else []
        tracks = _tracks(before, column, lanes)
        first = routes.right + ARROW_STEM_LENGTH
        at = {source: first + TRACK_SPACING * k for k, source in enumerate(tracks)}
        labels = {p.kind: label_of(*p.kind) for n in column for p in n.ports if p.kind is not None}
        widths = {kind: width_of(label) + 0.2 for kind, label in labels.items()}
        left = (
            first
            + TRACK_SPACING * max(len(tracks) - 1, 0)
            + ARROW_STEM_LENGTH
            + (max(widths.values()) + 0.22 if widths else 0.0)
        )
        left = left if c else 0.0
        right = left + max((node.width for node in column), default=0.0)
        for node in before:
            if node.name in at:
                _leave(routes, node, column, at[node.name], lanes.get(node.name) if node.boxed else None)
        for source, ports in _arrivals(column).items():
            routes.wires.append(Wire(source, (at[source], lanes[source]), (at[source], min(ports)), back=True))
            routes.dots += [(at[source], y) for y in ports if y > min(ports)]
            reached[source].append(at[source])
        for node in before:
            if node.boxed and node.name in lanes:
                reached[node.name].append(at[node.name])
        ends = {node.name: node.x + node.width / 2 for node in before}
        for node in column:
            node.x = (left + right) / 2 if node.kind == "layer" else right - node.width / 2
            edge = node.x - node.width / 2
            for k, port in enumerate(node.ports):
                y = node.port_y(k)
                begin = at[port.source] if port.source in at else ends[port.source]
                dashed = "fixed" in port.properties
                routes.wires.append(Wire(port.source, (begin, y), (edge, y), port.back, node.kind != "pass", dashed))
                if port.kind is not None:
                    width = widths[port.kind]
                    routes.taps.append(Taps(edge - ARROW_STEM_LENGTH - width, y, width, labels[port.kind]))
        routes.right = right
    for source, xs in reached.items():
        routes.wires.append(Wire(source, (min(xs), lanes[source]), (max(xs), lanes[source]), back=True))
        routes.dots += [(x, lanes[source]) for x in xs if min(xs) < x < max(xs)]
    boxes = [node.y + node.height / 2 for column in arranged.columns for node in column]
    routes.top = max([*boxes, *lanes.values()])
    return routes


def _lanes(arranged: Columns) -> dict[str, float]:
    """Height of each loop's lane; the shorter a loop, the lower its lane."""
    nodes = [node for column in arranged.columns for node in column]
    column_of = {node.name: node.column for node in nodes if node.boxed}
    back: dict[str, list[str]] = {}
    for node in nodes:
        for port in node.ports:
            if port.back:
                back.setdefault(port.source, []).append(node.name)
    far = [source for source, fed in back.items() if fed != [source]]
    far.sort(key=lambda source: (column_of[source] - min(column_of[to] for to in back[source]), source))
    top = max([node.y + node.height / 2 for node in nodes] + list(arranged.self_loops.values()))
    over = {source: top + LOOP_SPACING * (k + 1) for k, source in enumerate(far)}
    return {source: over.get(source, arranged.self_loops.get(source, 0.0)) for source in back}


def _ends(node: Node, column: list[Node]) -> list[float]:
    return [y for following in column for y in following.enters_at(node.name)]


def _arrivals(column: list[Node]) -> dict[str, list[float]]:
    """Heights at which each loop enters layers of a column."""
    found: dict[str, list[float]] = {}
    for node in column:
        for k, port in enumerate(node.ports):
            if port.back:
                found.setdefault(port.source, []).append(node.port_y(k))
    return found


def _tracks(before: list[Node], column: list[Node], lanes: dict[str, float]) -> list[str]:
    """Signals that turn in the channel in front of a column, from left to right.

    First come rising signals, the highest leftmost; then falling signals, the lowest leftmost; then loops that come
    down, the deepest leftmost. In this order, signals of one kind seldom cross.
    """
    up, down = [], []
    for node in before:
        ends = _ends(node, column)
        turns = node.boxed and node.name in lanes
        if turns or any(y != node.exit for y in ends):
            climbs = turns or sum(ends) / len(ends) > node.exit
            (up if climbs else down).append(node)
    arrivals = _arrivals(column)
    return [
        *(node.name for node in sorted(up, key=lambda node: -node.exit)),
        *(node.name for node in sorted(down, key=lambda node: node.exit)),
        *sorted(arrivals, key=lambda source: min(arrivals[source])),
    ]


def _leave(routes: Routes, node: Node, column: list[Node], track: float, lane: float | None) -> None:
    """Adds the wires of a signal from its box to its track, and along the track."""
    ends = _ends(node, column)
    routes.wires.append(Wire(node.name, (node.x + node.width / 2, node.exit), (track, node.exit), back=not ends))
    low, high = min([node.exit, *ends]), max([node.exit, *ends])
    if low < high:
        routes.wires.append(Wire(node.name, (track, low), (track, high)))
    on_the_left = {node.exit}
    if lane is not None:
        routes.wires.append(Wire(node.name, (track, node.exit), (track, lane), back=True))
        on_the_left.add(lane)
        high = max(high, lane)
    for y in on_the_left | set(ends):
        if (y in on_the_left) + (y in ends) + (y < high) + (y > low) > 2:
            routes.dots.append((track, y))
