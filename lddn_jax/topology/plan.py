"""Plan for running a topology: blocks, their order, and the number of steps computed at once.

The graph of all layer-to-layer connections, of any delay, is condensed into its strongly connected
components, the *blocks*. Blocks run one after the other, each over the whole sequence, because everything
that a block needs from earlier blocks is then known for all times.

Inside a block, time advances in chunks of c steps, where c is the smallest positive delay among the block's
own connections: a value c steps back is always known before the chunk begins. Connections with delay zero
determine the order of the layers within a chunk. A layer without a loop is one chunk, the whole sequence.

This file handles names and integers only; there are no arrays in it.
"""

import functools
import heapq
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from lddn_jax.numerics.platform import CPU, Platform
from lddn_jax.topology.topology import Topology, check_topology

Pair = tuple[str, str]  # (to, source)

# On a CPU, weight gradients are summed inside the backward loop if n̄ of all steps takes more than CACHED_BYTES (about
# the L2 cache of a core): in segments of GRADIENT_SEGMENT_BYTES, or, if these are shorter than LEAST_SEGMENT_STEPS and
# there are at least STEPWISE_SEQUENCES sequences, after every step. Measured: benchmarks/README.md.
CACHED_BYTES = 5 * 2**18
GRADIENT_SEGMENT_BYTES = 2**17
LEAST_SEGMENT_STEPS = 20
STEPWISE_SEQUENCES = 16
SHORT_DELAY_STEPS = 4  # delay lines up to this length cost almost nothing


@dataclass(frozen=True)
class Block:
    """A block: one strongly connected component of the layer graph, whose layers run together.

    Attributes:
        layers: Names, in the order in which they are computed within a time step.
        incoming: Pairs (to, source) whose source is an input or a layer of an earlier block.
        instant: Pairs inside the block with a delay of zero.
        delayed: Pairs inside the block with positive delays, with those delays.
        chunk: Number of steps computed at once, the smallest positive delay; None for the whole sequence.
        reason: The decision in words.
    """

    layers: tuple[str, ...]
    incoming: tuple[Pair, ...]
    instant: tuple[Pair, ...]
    delayed: tuple[tuple[Pair, tuple[int, ...]], ...]
    chunk: int | None
    reason: str

    @functools.cached_property
    def delays(self) -> tuple[int, ...]:
        """The distinct positive delays inside the block, ascending."""
        return tuple(sorted({d for _, delays in self.delayed for d in delays}))

    @functools.cached_property
    def longest_delay(self) -> int:
        """The longest delay inside the block; 0 for a block without a loop."""
        return max(self.delays, default=0)

    def without(self, sources: frozenset[str]) -> "Block":
        """Returns the block without the connections from `sources`."""
        return replace(self, incoming=tuple(pair for pair in self.incoming if pair[1] not in sources))

    def transpose(self, outgoing: tuple[Pair, ...]) -> "Block":
        """Returns the block of the adjoint network: all connections and the order of layers reversed."""
        return Block(
            layers=self.layers[::-1],
            incoming=tuple((source, to) for to, source in outgoing),
            instant=tuple((source, to) for to, source in self.instant),
            delayed=tuple(((source, to), delays) for (to, source), delays in self.delayed),
            chunk=self.chunk,
            reason=self.reason,
        )


@dataclass(frozen=True)
class Segments:
    """The segments in time of a backward pass.

    Attributes:
        length: Steps in a segment; weight gradients are summed after each segment.
        reason: The decision in words.
    """

    length: int
    reason: str

    def __str__(self):
        return self.reason


@dataclass(frozen=True)
class Plan:
    """How a topology is run; the result of `plan`.

    Attributes:
        topology: The topology.
        simulation_order: All layers, in an order in which a single time step can compute them.
        blocks: The blocks in the order they run in.
        longest_delays: For each input or layer that is read through a delay, the longest of these delays. A
            delay state has exactly these entries, with that many samples each.
    """

    topology: Topology
    simulation_order: tuple[str, ...]
    blocks: tuple[Block, ...]
    longest_delays: dict[str, int]

    @functools.cached_property
    def adjoint_blocks(self) -> tuple[Block, ...]:
        """The blocks of the adjoint network, with pairs (source, to), in the order they run in."""
        outgoing = {
            block: tuple((to, s) for to, s in self.topology.delays if s in block.layers and to not in block.layers)
            for block in self.blocks
        }
        return tuple(block.transpose(outgoing[block]) for block in reversed(self.blocks))

    @property
    def loops(self) -> bool:
        """Whether any block is recurrent, so that running it needs a loop over time."""
        return any(block.chunk is not None for block in self.blocks)

    @functools.cached_property
    def upstream(self) -> dict[str, frozenset[str]]:
        """For each layer all layers with a path to it, of any delays, including the layer itself."""
        fed: dict[str, set[str]] = {name: set() for name in self.simulation_order}
        for to, source in self.topology.delays:
            if source in fed:
                fed[to].add(source)
        found: dict[str, frozenset[str]] = {}
        for block in self.blocks:  # earlier blocks are complete
            reached = set(block.layers)
            for name in block.layers:
                for source in fed[name] - reached:
                    reached |= found[source]
            found |= dict.fromkeys(block.layers, frozenset(reached))
        return found

    def segments(self, steps: int, sequences: int = 1, itemsize: int = 4, platform: Platform = CPU) -> Segments:
        """Decides whether weight gradients are summed after the backward loop over all steps, or inside it.

        Weight gradients are products of n̄ with delayed outputs, summed over time. After the loop they are one matrix
        product of an efficient shape. But if n̄ of all steps does not fit the cache of a core, it is written to memory
        and read back. Then the sum is taken while n̄ is still in the cache: after as many steps as fill a part of it,
        or after each step if these would be few.

        Args:
            steps: Number of time steps.
            sequences: Number of sequences.
            itemsize: Bytes of a number.
            platform: The target platform; only on a CPU is the backward loop cut into segments.

        Example:
            >>> from lddn_jax.topology.topology import Connection, Input, Layer, Topology
            >>> elman = Topology([Input("u", 1)], [Layer("h", 64)],
            ...                  [Connection("u", "h"), Connection("h", "h", (1,))], ["h"])
            >>> print(plan(elman).segments(steps=200, sequences=128))
            weight gradients inside the backward loop, 1 step at a time: n̄ of all steps takes 6.2 MiB
        """
        step = itemsize * sequences * sum(layer.size for layer in self.topology.layers)
        size = f"n̄ of all steps takes {steps * step / 2**20:.1f} MiB"
        chunk = max((block.chunk for block in self.blocks if block.chunk is not None), default=None)
        after = f"weight gradients after the backward loop: {size}"
        if chunk is None:
            return Segments(steps, "weight gradients in one product: there is no loop")
        if not platform.cuts_time:
            return Segments(steps, after)
        if steps * step <= CACHED_BYTES:
            return Segments(steps, after)
        length = GRADIENT_SEGMENT_BYTES // step
        if length < LEAST_SEGMENT_STEPS:
            length = 1 if sequences >= STEPWISE_SEQUENCES else LEAST_SEGMENT_STEPS
        # Each segment passes its delay lines to the next; with long ones that should not dominate the cost.
        longest = max(self.longest_delays.values(), default=0)
        length = max(length, chunk, 4 * longest if longest > SHORT_DELAY_STEPS else 1)
        if length >= steps:
            return Segments(steps, after)
        what = "1 step" if length == 1 else f"{length} steps"
        return Segments(length, f"weight gradients inside the backward loop, {what} at a time: {size}")

    def __str__(self):
        lines = [f"{', '.join(block.layers)}: {block.reason}" for block in self.blocks]
        held = ", ".join(f"{name} {d}" for name, d in self.longest_delays.items())
        return "\n".join([*lines, f"delay state: {held or 'none'}"])


def plan(topology: Topology) -> Plan:
    """Returns the plan for running `topology`. Equal topologies share one plan, whatever their order of declaration.

    Args:
        topology: A valid topology.

    Returns:
        A `Plan`; `print` shows what was decided and why.

    Example:
        >>> from lddn_jax.topology.topology import Connection, Input, Layer, Topology
        >>> elman = Topology(
        ...     inputs=[Input("u", 1)],
        ...     layers=[Layer("hidden", 5), Layer("y", 1, transfer="linear")],
        ...     connections=[
        ...         Connection("u", to="hidden"),
        ...         Connection("hidden", to="hidden", delays=(1,)),
        ...         Connection("hidden", to="y"),
        ...     ],
        ...     outputs=["y"],
        ... )
        >>> print(plan(elman))
        hidden: recurrent, 1 step at a time because of hidden -> hidden delay 1
        y: feed-forward, the whole sequence at once
        delay state: hidden 1

    Raises:
        TopologyError: If the argument is not a topology, but for example a network.

    Tarjan (1972) for the components, by `scipy.sparse.csgraph`.
    """
    check_topology(topology, "plan(topology)")
    return planned(topology)


@functools.lru_cache(maxsize=4096)
def planned(topology: Topology) -> Plan:
    """Returns the plan of a topology without checking its type."""
    names = sorted(layer.name for layer in topology.layers)
    component = _components(names, topology)
    between: dict[int, set[int]] = {component[name]: set() for name in names}
    within: dict[str, list[str]] = {name: [] for name in names}
    for (to, source), delays in topology.delays.items():
        if source in topology.input_names:
            continue
        if component[source] != component[to]:
            between[component[to]].add(component[source])
        elif delays[0] == 0:
            within[to].append(source)
    members: dict[int, list[str]] = {c: [] for c in between}
    for name in names:  # sorted
        members[component[name]].append(name)
    into: dict[int, dict[Pair, tuple[int, ...]]] = {c: {} for c in between}
    for pair, delays in topology.delays.items():
        into[component[pair[0]]][pair] = delays
    first = {c: of_block[0] for c, of_block in members.items()}
    blocks = tuple(_block(members[c], into[c], within) for c in _sorted_topologically(between, first))
    longest: dict[str, int] = {}
    for (_, source), delays in sorted(topology.delays.items(), key=lambda item: item[0][1]):
        if delays[-1] > 0:
            longest[source] = max(longest.get(source, 0), delays[-1])
    order = tuple(name for block in blocks for name in block.layers)
    return Plan(topology, order, blocks, longest)


def _components(names: list[str], topology: Topology) -> dict[str, int]:
    index = {name: k for k, name in enumerate(names)}
    edges = [(index[source], index[to]) for to, source in topology.delays if source in index]
    rows, columns = np.array(edges, dtype=int).reshape(-1, 2).T
    graph = csr_array((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    labels = connected_components(graph, directed=True, connection="strong")[1]
    return {name: int(labels[k]) for name, k in index.items()}


def _sorted_topologically(before: dict, name: dict) -> list:
    """Returns a topological order with ties broken by name, so that it does not depend on the order of declaration."""
    sorter = TopologicalSorter(before)
    sorter.prepare()
    order, ready = [], []
    while sorter.is_active():
        for found in sorter.get_ready():
            heapq.heappush(ready, (name[found], found))
        order.append(heapq.heappop(ready)[1])
        sorter.done(order[-1])
    return order


def _block(members: list[str], into: dict[Pair, tuple[int, ...]], within: dict[str, list[str]]) -> Block:
    """Returns the block of these layers; `into` are the delays of all connections that lead to them."""
    order = _sorted_topologically({name: within[name] for name in members}, {name: name for name in members})
    own = set(members)
    inside = {pair: delays for pair, delays in into.items() if pair[1] in own}
    delayed = tuple((pair, tuple(d for d in delays if d > 0)) for pair, delays in inside.items() if delays[-1] > 0)
    if delayed:
        (to, source), delays = min(delayed, key=lambda item: item[1][0])
        chunk = delays[0]
        steps = "1 step" if chunk == 1 else f"{chunk} steps"
        reason = f"recurrent, {steps} at a time because of {source} -> {to} delay {chunk}"
    else:
        chunk, reason = None, "feed-forward, the whole sequence at once"
    return Block(
        layers=tuple(order),
        incoming=tuple(pair for pair in into if pair[1] not in own),
        instant=tuple(pair for pair, delays in inside.items() if delays[0] == 0),
        delayed=delayed,
        chunk=chunk,
        reason=reason,
    )
