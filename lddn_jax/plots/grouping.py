"""Equal parts of a network, drawn as one box in its diagram: nine outputs have one box, not nine with eighty wires.

Two inputs are equal if they have one size, the same layers read them at the same delays, and both or none of them are
measured outputs. Two layers are equal if they also have one transfer function and read the same sources at the same
delays, and both or none of them are outputs.
"""

from dataclasses import dataclass, replace

from lddn_jax.network.rewiring import measured_loops
from lddn_jax.topology.topology import Topology

FEWEST_GROUPED = 4  # equal parts, from which on they share a box


@dataclass(frozen=True)
class Grouped:
    """A topology to draw, and what its parts stand for.

    Attributes:
        topology: The topology with one part of each group.
        members: Names of all parts that a part stands for.
    """

    topology: Topology
    members: dict[str, tuple[str, ...]]

    def called(self, name: str) -> str:
        """Returns the name of a group."""
        names = self.members[name]
        return name if len(names) == 1 else f"{names[0]} … {names[-1]}"

    def sized(self, name: str, size: int) -> str:
        """Returns the size of a part, or number and size of the parts of a group."""
        count = len(self.members[name])
        return str(size) if count == 1 else f"{count} × {size}"


def grouped(topology: Topology) -> Grouped:
    """Groups equal parts, if there are at least four of them.

    Example:
        >>> import lddn_jax as lddn
        >>> found = grouped(lddn.models.narx({"u": 1}, {f"y{k}": 1 for k in range(9)}))
        >>> [found.called(name) for name in found.members]
        ['u', 'measured_y0 … measured_y8', 'hidden', 'y0 … y8']
    """
    measured = measured_loops(topology)
    kinds: dict[str, tuple] = {i.name: ("input", i.size, i.name in measured) for i in topology.inputs}
    for layer in topology.layers:
        kinds[layer.name] = (
            "layer",
            layer.size,
            layer.transfer,
            layer.bias,
            layer.net_input,
            layer.name in topology.outputs,
        )
    classes: dict[tuple, list[str]] = {}
    for name, kind in kinds.items():
        reads = frozenset((c.source, c.delays, c.properties) for c in topology.connections if c.to == name)
        feeds = frozenset((c.to, c.delays, c.properties) for c in topology.connections if c.source == name)
        classes.setdefault((kind, reads, feeds), []).append(name)
    members = {}
    for names in classes.values():
        groups = [names] if len(names) >= FEWEST_GROUPED else [[name] for name in names]
        members |= {group[0]: tuple(group) for group in groups}
    members = {name: members[name] for name in kinds if name in members}
    if len(members) == len(kinds):
        return Grouped(topology, members)
    return Grouped(
        replace(
            topology,
            inputs=tuple(i for i in topology.inputs if i.name in members),
            layers=tuple(layer for layer in topology.layers if layer.name in members),
            connections=tuple(c for c in topology.connections if c.source in members and c.to in members),
            outputs=tuple(name for name in topology.outputs if name in members),
        ),
        members,
    )
