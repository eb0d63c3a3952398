"""Layout of the boxes in a network diagram, without matplotlib; `routing.py` connects them with wires.

Inputs are in the first column and each layer is to the right of the layers it reads, so that signals run from left to
right except in loops. A signal that passes through a column occupies a slot in it, and each connection enters its box
at a separate height, so that wires may cross but never overlap.

Layered graph layout after Sugiyama, Tagawa & Toda (1981), IEEE Transactions on Systems, Man, and Cybernetics 11(2):
columns, slots for passing signals, ordering by barycenters.
"""

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology

CONNECTION_PITCH = 0.62  # vertical distance of connections that enter a layer
LAYER_GAP = 0.5  # vertical distance of layers
NODE_GAP = 0.2  # vertical distance of other nodes
TEXT_LINE_HEIGHT = 0.3
HEIGHT_NUDGES = (0.0, 0.09, -0.09, 0.18, -0.18, 0.045, -0.045, 0.135, -0.135)
LEAST_HEIGHT_DIFFERENCE = 0.04  # wires closer than this would look like one


@dataclass
class Port:
    """Entry point of a signal: its source, its delays (None at the end of an output), and if it is part of a loop.

    `properties` are those of the connection: what distinguishes its weights from dense ones.
    """

    source: str
    delays: tuple[int, ...] | None
    back: bool = False
    properties: tuple[str, ...] = ()

    @property
    def kind(self) -> tuple[tuple[int, ...], tuple[str, ...]] | None:
        """Delays and properties of the connection, if a box in front of the layer tells of them."""
        if not self.delays:
            return None
        told = tuple(word for word in self.properties if word != "fixed")  # by a dashed line
        return None if self.delays == (0,) and not told else (self.delays, told)


@dataclass
class Node:
    """A box, or the slot of a signal that passes through a column.

    Attributes:
        kind: "input", "layer", "pass" or "output".
        name: Name of the input or layer, or of the source of a signal that passes or ends here.
        column: Index of the column from the left; inputs are in column 0.
        ports: Entry points, from top to bottom.
        width: Width of the box.
        height: Height of the box or slot.
        x: Horizontal center.
        y: Vertical center.
        exit: Height at which the signal leaves.
    """

    kind: str
    name: str
    column: int
    ports: list[Port] = field(default_factory=list)
    width: float = 0.0
    height: float = CONNECTION_PITCH - NODE_GAP
    x: float = 0.0
    y: float = 0.0
    exit: float = 0.0

    @property
    def boxed(self) -> bool:
        """True if a box is drawn."""
        return self.kind in ("input", "layer")

    def port_y(self, k: int) -> float:
        """Returns the height of a port."""
        return round(self.y + CONNECTION_PITCH * ((len(self.ports) - 1) / 2 - k), 6)

    def enters_at(self, source: str) -> list[float]:
        """Returns the heights at which a forward signal enters."""
        return [self.port_y(k) for k, port in enumerate(self.ports) if port.source == source and not port.back]


@dataclass
class Columns:
    """Nodes by column, and heights of the self-loops above their layers."""

    columns: list[list[Node]]
    self_loops: dict[str, float]


def arrange(topology: Topology, lines_of: Callable[[str], Sequence[str]], width_of: Callable[[str], float]) -> Columns:
    """Arranges all nodes in columns and sets their sizes and heights; x is set by `route`.

    Args:
        topology: The topology.
        lines_of: Function that returns the text lines in the box of an input or layer.
        width_of: Function that returns the width of a text.
    """
    columns = _in_order(_columns(topology))
    _sort_ports(columns)
    for node in (node for column in columns for node in column):
        if node.boxed:
            node.width = max(map(width_of, lines_of(node.name))) + 0.36
            node.height = (
                0.26 + TEXT_LINE_HEIGHT * len(lines_of(node.name))
                if node.kind == "layer"
                else CONNECTION_PITCH - NODE_GAP
            )
        if node.kind == "layer":
            node.height = max(node.height, CONNECTION_PITCH * len(node.ports) + 0.1)
    return Columns(columns, _set_heights(columns))


def _columns(topology: Topology) -> list[list[Node]]:
    """Assigns inputs, layers, passing signals and outputs to columns."""
    order = {name: k for k, name in enumerate(plan(topology).simulation_order)}
    level = dict.fromkeys(topology.input_names, 0)
    for name in order:
        before = [s for to, s in topology.delays if to == name and order.get(s, -1) < order[name]]
        level[name] = 1 + max((level[s] for s in before), default=0)
    count = 2 + max(level.values())
    columns: list[list[Node]] = [[] for _ in range(count)]
    for i in topology.inputs:
        columns[0].append(Node("input", i.name, 0))
    for name in order:
        columns[level[name]].append(Node("layer", name, level[name]))
    furthest = {name: count - 1 for name in topology.outputs}
    for to, source in topology.delays:
        furthest[source] = max(furthest.get(source, 0), level[to])
    for name in level:
        for c in range(level[name] + 1, furthest.get(name, 0)):
            columns[c].append(Node("pass", name, c, [Port(name, None)]))
    for name in topology.outputs:
        columns[-1].append(Node("output", name, count - 1, [Port(name, None)]))
    for column in columns[1:]:
        for node in (node for node in column if node.kind == "layer"):
            fed = [c for (to, _), c in topology.connected.items() if to == node.name]
            node.ports = [Port(c.source, c.delays, level[c.source] >= node.column, c.properties) for c in fed]
    return columns


def _in_order(columns: list[list[Node]]) -> list[list[Node]]:
    """Sorts each column by the barycenters of its neighbors, in sweeps forward and backward."""

    def place(column):
        return {node.name: (k + 0.5) / len(column) for k, node in enumerate(column)}

    def mean(values, default):
        return sum(values) / len(values) if values else default

    for _ in range(4):
        for c in range(1, len(columns)):
            before, here = place(columns[c - 1]), place(columns[c])
            columns[c].sort(key=lambda n: mean([before[p.source] for p in n.ports if not p.back], here[n.name]))
        for c in range(len(columns) - 2, -1, -1):
            here, after = place(columns[c]), place(columns[c + 1])
            fed = [(p.source, after[n.name]) for n in columns[c + 1] for p in n.ports if not p.back]
            columns[c].sort(key=lambda n: mean([at for source, at in fed if source == n.name], here[n.name]))
    return columns


def _sort_ports(columns: list[list[Node]]) -> None:
    """Sorts ports: first loops, then forward signals by the height of their source."""
    level = {node.name: node.column for column in columns for node in column if node.boxed}
    for before, column in itertools.pairwise(columns):
        rank = {node.name: k for k, node in enumerate(before)}
        for node in column:
            node.ports.sort(key=lambda p: (0, level[p.source], p.source) if p.back else (1, rank[p.source], p.source))


def _set_heights(columns: list[list[Node]]) -> dict[str, float]:
    """Sets all heights from right to left, so that most wires are straight; returns the heights of self-loops."""
    lanes: dict[str, float] = {}
    for c in range(len(columns) - 1, -1, -1):
        after = columns[c + 1] if c + 1 < len(columns) else []
        wanted = []
        for node in columns[c]:  # at the height of one of its targets, so that one wire is straight
            aims = [y for following in after for y in following.enters_at(node.name)]
            wanted.append(statistics.median_low(aims) if aims else 0.0)
        for node, y in zip(columns[c], _apart(wanted, columns[c]), strict=True):
            node.y = y
        taken = [(y, p.source) for n in after for k, p in enumerate(n.ports) for y in [n.port_y(k)]]
        taken += [(lanes[n.name], n.name) for n in after if n.name in lanes and n.kind == "layer"]
        for node in columns[c]:
            node.exit = _free(node.y, node.name, taken)
            if node.kind == "pass":
                node.y = node.exit
            taken.append((node.exit, node.name))
        for node in (node for node in columns[c] if node.kind == "layer"):
            if any(p.back and p.source == node.name for p in node.ports):
                lanes[node.name] = _free(node.y + node.height / 2 + 0.24, node.name, taken)
    _place_outputs(columns[-1], columns[-2], lanes)
    return lanes


def _place_outputs(outputs: list[Node], before: list[Node], lanes: dict[str, float]) -> None:
    """Places outputs at the heights at which their signals leave, so that most of their wires are straight."""
    leaves = {node.name: node.exit for node in before}
    taken = [(node.exit, node.name) for node in before] + [(lanes[n.name], n.name) for n in before if n.name in lanes]
    outputs.sort(key=lambda node: -leaves[node.name])
    for node, y in zip(outputs, _apart([leaves[node.name] for node in outputs], outputs), strict=True):
        node.y = node.exit = _free(y, node.name, taken)


def _apart(wanted: list[float], nodes: list[Node]) -> list[float]:
    """Centers closest to the wanted ones without overlap, by least squares, from top to bottom."""
    below = [0.0]
    for one, following in itertools.pairwise(nodes):
        gap = LAYER_GAP if one.kind == following.kind == "layer" else NODE_GAP
        below.append(below[-1] + one.height / 2 + following.height / 2 + gap)
    groups: list[list[float]] = []  # groups of touching boxes: common shift and number of boxes
    for y, offset in zip(wanted, below, strict=False):
        groups.append([y + offset, 1])
        while len(groups) > 1 and groups[-1][0] > groups[-2][0]:
            shift, count = groups.pop()
            other, more = groups.pop()
            groups.append([(shift * count + other * more) / (count + more), count + more])
    shifts = [shift for shift, count in groups for _ in range(int(count))]
    return [round(shift - offset, 6) for shift, offset in zip(shifts, below, strict=False)]


def _free(y: float, source: str, taken: list[tuple[float, str]]) -> float:
    """The free height closest to `y`, where no other signal runs."""
    others = [at for at, name in taken if name != source]
    return next((y + d for d in HEIGHT_NUDGES if all(abs(y + d - at) > LEAST_HEIGHT_DIFFERENCE for at in others)), y)
