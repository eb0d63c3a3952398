"""Where the boxes of a network's diagram stand. Geometry only, no matplotlib; `routing.py` joins them by wires.

Inputs stand in the first column, every layer behind the layers it reads, so signals run from left to right, except in
loops. A signal that passes a column has a place in it like a box, and every connection enters a box at a height of its
own, so wires cross but never lie on each other.

After Sugiyama, Tagawa & Toda (1981), IEEE Transactions on Systems, Man, and Cybernetics 11(2): columns, places for what
passes, order by barycenters.
"""

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology

CONNECTION_PITCH = 0.62  # between connections that enter a layer, one below the other
LAYER_GAP = 0.5  # between layers
NODE_GAP = 0.2  # between anything else
TEXT_LINE_HEIGHT = 0.3  # height of a line of text
HEIGHT_NUDGES = (0.0, 0.09, -0.09, 0.18, -0.18, 0.045, -0.045, 0.135, -0.135)
LEAST_HEIGHT_DIFFERENCE = 0.04  # heights closer than this would look like one


@dataclass
class Port:
    """Where a signal enters: its source, its delays (None for the end of an output), whether it comes from behind."""

    source: str
    delays: tuple[int, ...] | None
    back: bool = False


@dataclass
class Node:
    """A box, or the place of a signal that passes a column.

    Attributes:
        kind: "input", "layer", "pass" or "output".
        name: Of the input or layer; of the signal, where it only passes or ends.
        column: Counted from the left, inputs in 0.
        ports: What enters, from the top down.
        width: Of the box.
        height: Of the box, or of the room for a signal.
        x: Of the center.
        y: Of the center.
        exit: The height at which its signal leaves.
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
        """Whether a box is drawn."""
        return self.kind in ("input", "layer")

    def port_y(self, k: int) -> float:
        """Height of a port."""
        return round(self.y + CONNECTION_PITCH * ((len(self.ports) - 1) / 2 - k), 6)

    def enters_at(self, source: str) -> list[float]:
        """Heights at which a signal that runs forward enters."""
        return [self.port_y(k) for k, port in enumerate(self.ports) if port.source == source and not port.back]


@dataclass
class Columns:
    """Boxes by column, and the heights at which self-loops run over their layers."""

    columns: list[list[Node]]
    self_loops: dict[str, float]


def arrange(topology: Topology, lines_of: Callable[[str], Sequence[str]], width_of: Callable[[str], float]) -> Columns:
    """Finds a place for every box, apart from x.

    Args:
        topology: The topology.
        lines_of: The lines written into the box of an input or layer.
        width_of: The width of a text.
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
    """Inputs first, each layer behind what it reads, signals that pass a column and the ends of outputs."""
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
            fed = [(source, delays) for (to, source), delays in topology.delays.items() if to == node.name]
            node.ports = [Port(s, delays, back=level[s] >= node.column) for s, delays in fed]
    return columns


def _in_order(columns: list[list[Node]]) -> list[list[Node]]:
    """Sorts each column by where its neighbors stand, some times to and fro."""

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
    """Sorts ports: loops on top, the shortest first, then signals by the height that they come from."""
    level = {node.name: node.column for column in columns for node in column if node.boxed}
    for before, column in itertools.pairwise(columns):
        rank = {node.name: k for k, node in enumerate(before)}
        for node in column:
            node.ports.sort(key=lambda p: (0, level[p.source], p.source) if p.back else (1, rank[p.source], p.source))


def _set_heights(columns: list[list[Node]]) -> dict[str, float]:
    """Sets every y, from the right to the left so that wires run straight; returns the heights of short loops."""
    lanes: dict[str, float] = {}
    for c in range(len(columns) - 1, -1, -1):
        after = columns[c + 1] if c + 1 < len(columns) else []
        wanted = []
        for node in columns[c]:  # as high as where it goes: one of its wires runs straight
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
    """Moves the ends of outputs to where their signals leave, so that most of them are straight."""
    leaves = {node.name: node.exit for node in before}
    taken = [(node.exit, node.name) for node in before] + [(lanes[n.name], n.name) for n in before if n.name in lanes]
    outputs.sort(key=lambda node: -leaves[node.name])
    for node, y in zip(outputs, _apart([leaves[node.name] for node in outputs], outputs), strict=True):
        node.y = node.exit = _free(y, node.name, taken)


def _apart(wanted: list[float], nodes: list[Node]) -> list[float]:
    """Centers from the top down, as near to the wanted ones as boxes that do not overlap can be (least squares)."""
    below = [0.0]
    for one, following in itertools.pairwise(nodes):
        gap = LAYER_GAP if one.kind == following.kind == "layer" else NODE_GAP
        below.append(below[-1] + one.height / 2 + following.height / 2 + gap)
    groups: list[list[float]] = []  # of boxes that touch: their common shift, and how many they are
    for y, offset in zip(wanted, below, strict=False):
        groups.append([y + offset, 1])
        while len(groups) > 1 and groups[-1][0] > groups[-2][0]:
            shift, count = groups.pop()
            other, more = groups.pop()
            groups.append([(shift * count + other * more) / (count + more), count + more])
    shifts = [shift for shift, count in groups for _ in range(int(count))]
    return [round(shift - offset, 6) for shift, offset in zip(shifts, below, strict=False)]


def _free(y: float, source: str, taken: list[tuple[float, str]]) -> float:
    """The height next to `y` at which no other signal runs."""
    others = [at for at, name in taken if name != source]
    return next((y + d for d in HEIGHT_NUDGES if all(abs(y + d - at) > LEAST_HEIGHT_DIFFERENCE for at in others)), y)
