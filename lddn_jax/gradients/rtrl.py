"""Real-time recurrent learning (RTRL), written by hand: derivatives carried forward with the simulation.

For every element x of the parameters (and of the delay state, if requested),

    ∂n^m(t)/∂x = ∂ᵉn^m(t)/∂x + Σ_{m reads l} Σ_{d ∈ DL_{m,l}} LW^{m,l}(d) ∂a^l(t−d)/∂x
    ∂a^m(t)/∂x = ḟ^m(n^m(t)) ∂n^m(t)/∂x

with the explicit derivative ∂ᵉnᵢ^m(t)/∂LWᵢⱼ^{m,l}(d) = aⱼ^l(t−d), the same for inputs, and 1 for the bias. A
value of the delay state is a^l(τ) at τ < 0 and its derivative with respect to itself is 1, so for the state the
recursion starts from the identity.

This is the simulation with one more axis of lanes for x, so it uses the same recursion (`reduced.py` has its own loop
for networks in which few layers must be carried). The carry has size neurons × parameters: cheap for Jacobians of small
networks over long records, where BPTT would need one backward pass for each output element. An explicit derivative has
one number for each parameter, which belongs to a single neuron, so it is stored as a row and expanded to the neurons
inside the loop.

Time is cut into segments that pass on their delay lines, so the derivatives of all layers exist for one segment at a
time only; the caller decides what to keep of each segment.

Williams & Zipser (1989); De Jesús & Hagan (2007), section III.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.gradients.columns import Columns, parameters_of
from lddn_jax.gradients.method import AbstractForward, Derivatives
from lddn_jax.gradients.reduced import Reduced, carried
from lddn_jax.gradients.slopes import factor_slopes
from lddn_jax.network import transfer
from lddn_jax.network.factored_network import factored, of_layers
from lddn_jax.network.network import Network, connection_weights
from lddn_jax.network.signals import Signals
from lddn_jax.numerics.lanes import Values, from_lanes, to_lanes
from lddn_jax.simulation.delays import DelayState, extend, last, piece, state_sizes, taps
from lddn_jax.simulation.recursion import prepare
from lddn_jax.simulation.simulate import batch_axes, final_state, prepared, run
from lddn_jax.topology.plan import Block, plan

DERIVATIVE_SEGMENT_BYTES = 2**19  # derivatives of a segment
# ([carry,] start, length, signals of the segment, derivatives of the segment by layer) -> arrays to keep of it
Keep: TypeAlias = Callable[..., Any]


class RTRL(AbstractForward):
    """Hand-written forward recursion of ∂a/∂x; see the equations in the module's docstring."""

    def sensitivities(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, layers: Sequence[str], with_state: bool
    ) -> tuple[Signals, Derivatives]:
        """Simulates, then runs the recursion once for all parameters."""
        batch = batch_axes(inputs, state)
        inputs, state = to_lanes(inputs), to_lanes(state)
        if not layers:
            a = run(net, inputs, state, steps, (math.prod(batch),))[1]
            return from_lanes(of_layers(a, net.topology), batch), {}
        columns = Columns.reaching(net.topology, with_state)

        def keep(start, length, signals, derivatives):
            return (
                of_layers(signals, net.topology),
                {name: columns.all(name, derivatives[name]) for name in layers},
            )

        a, found = forward(net, columns, inputs, state, steps, layers, keep)
        last_axes = {name: jnp.moveaxis(d, 2, 0) for name, d in found.items()}  # (lanes, time, neurons, x)
        return from_lanes(a, batch), {name: d.reshape(*batch, *d.shape[1:]) for name, d in last_axes.items()}


def forward(
    net: Network,
    columns: Columns,
    inputs: Values,
    state: Values,
    steps: int,
    layers: Sequence[str],
    keep: Keep,
    carry: Any = None,
) -> Any:
    """Simulates and differentiates segment by segment.

    Args:
        net: The network.
        columns: The elements x.
        inputs: `(time, size, lanes)`.
        state: Delay state, `(longest delay, size, lanes)`.
        steps: Number of time steps.
        layers: The layers to differentiate; `keep` may get others too.
        keep: Returns what to keep of a segment: arrays with a leading time axis, which are joined. With `carry`, it is
            called with the carry as the first argument, and returns only the new carry.
        carry: The initial carry, passed from segment to segment.

    Returns:
        The results of `keep`, joined over time; with `carry`, the last carry.
    """
    lanes = next(iter((inputs | state).values())).shape[-1] if inputs or state else 1
    simulation, recursion = prepared(net, (lanes,)), recursion_in(net, columns, lanes, layers)
    summed = carry is not None

    def segment(carried, start, length):
        state, lines, total = carried
        here = {name: piece(signal, start, length) for name, signal in inputs.items()}
        n, a = simulation(here, state, length)
        derivatives, lines = recursion(n, here | a, state, lines, length)
        if summed:
            total, kept = keep(total, start, length, here | a, derivatives), None
        else:
            kept = keep(start, length, here | a, derivatives)
        return (final_state(here | a, state), lines, total), kept

    carried = state, recursion.start(), carry
    length = max(recursion.chunk, min(steps, DERIVATIVE_SEGMENT_BYTES // (lanes * recursion.bytes_of_a_step())))
    whole, rest = divmod(steps, length)
    if whole == 1:
        whole, length, rest = 0, steps, steps
    parts = []
    if whole:
        starts = jnp.arange(0, whole * length, length)
        carried, kept = jax.lax.scan(lambda carried, start: segment(carried, start, length), carried, starts)
        parts.append(jax.tree.map(lambda x: x.reshape(whole * length, *x.shape[2:]), kept))
    if rest:
        carried, kept = segment(carried, steps - rest, rest)
        parts.append(kept)
    if summed:
        return carried[2]
    return parts[0] if len(parts) == 1 else jax.tree.map(extend, *parts)


def recursion_in(net: Network, columns: Columns, lanes: int, layers: Sequence[str]) -> "AllLayers | Reduced":
    """Returns the recursion in ∂a/∂x that carries all layers, or the one of `reduced.py` if few suffice."""
    net = factored(net)
    few = None if columns.with_state else carried(net.topology, tuple(layers))
    return AllLayers(net, columns, lanes) if few is None else Reduced(net, columns, lanes, few)


def bytes_of_a_step(net: Network, columns: Columns, layers: Sequence[str]) -> int:
    """Returns the bytes of one step's derivatives of one sequence."""
    return recursion_in(net, columns, 1, layers).bytes_of_a_step()


class AllLayers:
    """The recursion in ∂a/∂x of all layers, with all work that depends on the network only done once."""

    def __init__(self, net: Network, columns: Columns, lanes: int):
        self.net, self.columns, self.lanes = net, columns, lanes
        topology = net.topology
        self.functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
        self.blocks = []
        for block in plan(topology).blocks:
            if not any(columns.of[name] for name in topology.input_names):
                block = block.without(topology.input_names)
            width = columns.width(columns.of[block.layers[0]])
            weights = connection_weights(net)
            self.blocks.append((block, prepare([block], topology.delays, weights, (lanes, width), net.dtype)))
        self.chunk = max((block.chunk or 1 for block, _ in self.blocks), default=1)

    def bytes_of_a_step(self) -> int:
        """Returns the bytes of one step's derivatives of one sequence."""
        columns = self.columns
        elements = sum(layer.size * columns.width(columns.of[layer.name]) for layer in self.net.topology.layers)
        return max(1, elements * jnp.dtype(self.net.dtype).itemsize)

    def start(self) -> Values:
        """Returns ∂a^l(τ)/∂x for τ < 0, `(longest delay, size, lanes, columns)`: one where x is that element."""
        found = {}
        for name, (longest, size) in state_sizes(self.net.topology).items():
            pieces = [
                jnp.eye(longest * size, dtype=self.net.dtype).reshape(longest, size, -1)
                if key == ("state", name)
                else jnp.zeros((longest, size, self.columns.widths[key]), self.net.dtype)
                for key in self.columns.of[name]
            ]
            block = jnp.concatenate(pieces, axis=-1) if pieces else jnp.zeros((longest, size, 0), self.net.dtype)
            found[name] = jnp.broadcast_to(block[:, :, None], (longest, size, self.lanes, block.shape[-1]))
        return found

    def __call__(self, n: Values, signals: Values, before: Values, lines: Values, steps: int) -> tuple[Values, Values]:
        """Returns ∂a/∂x by layer, `(time, neurons, lanes, columns)`, and the delay lines after the last step."""
        topology, columns = self.net.topology, self.columns
        found = {
            name: jnp.zeros((steps, topology.sizes[name], self.lanes, columns.width(columns.of[name])), self.net.dtype)
            for name in topology.input_names
        }
        of_factors = factor_slopes(topology, n, signals)
        for block, recursion in self.blocks:
            want = columns.of[block.layers[0]]
            sources = {source for _, source in block.incoming}
            row = self._explicit(block, signals, before, steps)
            own = {
                name: jnp.asarray(columns.own(topology, name), self.net.dtype)[None, :, None] for name in block.layers
            }

            slopes = {
                name: of_factors[name]
                if name in of_factors
                else self.functions[name].slope_in_lanes(n[name], signals[name])
                for name in block.layers
            }

            def node(name, n_dot, extra, own=own):
                slope, row = extra
                return self.functions[name].times_slope(slope, n_dot + own[name] * row)

            _, y = recursion(
                node,
                known={name: columns.moved(found[name], columns.of[name], want) for name in sources},
                drive={name: jnp.zeros((1, topology.sizes[name], 1, 1), self.net.dtype) for name in block.layers},
                extras={name: (slopes[name], row) for name in block.layers},
                before={
                    name: columns.moved(line, columns.of[name], want)
                    for name, line in lines.items()
                    if name in sources or name in block.layers
                },
                steps=steps,
            )
            found |= y
        lines = {name: last(extend(line, found[name]), line.shape[0]) for name, line in lines.items()}
        return found, lines

    def _explicit(
        self, block: Block, signals: Values, before: Values, steps: int
    ) -> Float[Array, "time 1 lanes columns"]:
        """Returns the nonzero values of ∂ᵉn/∂x of the block's layers, `(time, 1, lanes, columns)`."""
        topology = self.net.topology
        pieces = []
        for kind, where in self.columns.of[block.layers[0]]:
            if kind in ("IW", "LW") and where[0] in block.layers:
                _, source = where
                line, delays = extend(before.get(source), signals[source]), topology.delays[where]
                values = taps(line, delays, steps)
                shape = topology.weight_shapes[where]
                if len(shape) == 3:
                    values = values.reshape(steps, len(delays), 1, topology.sizes[source], self.lanes)
                    values = jnp.broadcast_to(values, (steps, *shape, self.lanes))
                pieces.append(parameters_of(topology, where, values.reshape(steps, 1, -1, self.lanes), axis=2))
            else:
                own_bias = kind == "b" and where in block.layers
                fill = jnp.ones if own_bias else jnp.zeros
                pieces.append(fill((steps, 1, self.columns.widths[kind, where], self.lanes), self.net.dtype))
        if not pieces:
            return jnp.zeros((steps, 1, self.lanes, 0), self.net.dtype)
        return jnp.swapaxes(jnp.concatenate(pieces, axis=2), 2, 3)
