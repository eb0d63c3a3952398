"""Real-time recurrent learning: derivatives carried forward with the simulation, by hand.

For every element x of the parameters (and of the delay state, when asked),

    ∂n^m(t)/∂x = ∂ᵉn^m(t)/∂x + Σ_{m reads l} Σ_{d ∈ DL_{m,l}} LW^{m,l}(d) ∂a^l(t−d)/∂x
    ∂a^m(t)/∂x = ḟ^m(n^m(t)) ∂n^m(t)/∂x

with the explicit derivative ∂ᵉnᵢ^m(t)/∂LWᵢⱼ^{m,l}(d) = aⱼ^l(t−d), likewise for inputs, and 1 for the bias. A
value of the delay state is a^l(τ) at τ < 0, so its own derivative there is 1: these recursions start from the
identity.

This is the simulation once more, with one more axis of lanes for x, so it runs through the same recursion. What it
carries is of size neurons × parameters: cheap for Jacobians of small networks over long records, where BPTT would need
one backward pass for each output element.

Williams & Zipser (1989); De Jesús & Hagan (2007), section III.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array

from lddn_jax import transfer
from lddn_jax.contraction import einsum
from lddn_jax.delays import extend, state_sizes, taps
from lddn_jax.gradients.base import AbstractForward, state_count
from lddn_jax.layout import Values, from_lanes, to_lanes
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.recursion import prepare, stacked
from lddn_jax.simulate import batch_axes, run


class RTRL(AbstractForward):
    """Hand-written forward recursion of ∂a/∂x; see the module's equations."""

    def sensitivities(self, net, inputs, state, steps, layers, with_state):
        """Simulates, then runs the recursion once for all parameters."""
        topology, batch = net.topology, batch_axes(inputs, state)
        inputs, held = to_lanes(inputs), to_lanes(state)
        sequences = math.prod(batch)
        n, a = run(net, inputs, held, steps, (sequences,))
        if not layers:
            return from_lanes(a, batch), {}
        functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
        slopes = {name: f.slope_in_lanes(n[name], a[name]) for name, f in functions.items()}
        extra = state_count(net) if with_state else 0
        before = _state_derivatives(net, sequences) if with_state else {}
        lanes = (sequences, net.parameter_count + extra)
        drive = _explicit(net, inputs | a, held, extra)
        for (to, source), delays in topology.delays.items():
            if source in before and source in topology.input_names:
                line = extend(before[source], jnp.zeros((steps, *before[source].shape[1:]), net.dtype))
                drive[to] = drive[to] + stacked(net.IW[to, source], lanes)(taps(line, delays, steps))
        blocks = [block.without(topology.input_names) for block in plan(topology).blocks]
        _, derivatives = prepare(blocks, topology.delays, net.LW, lanes)(
            lambda name, n_dot, slope: functions[name].times_slope(slope, n_dot),
            known={},
            drive=drive,
            extras=slopes,
            before=before,
            steps=steps,
        )
        last_axes = {name: jnp.moveaxis(derivatives[name], 2, 0) for name in layers}  # (lanes, time, neurons, x)
        return from_lanes(a, batch), {name: d.reshape(*batch, *d.shape[1:]) for name, d in last_axes.items()}


def _explicit(net: Network, signals: Values, before: Values, extra: int) -> Values:
    """Returns ∂ᵉn^m(t)/∂x by layer, `(time, neurons, lanes, x)`; the last `extra` elements of x are of the state."""
    topology = net.topology
    places = _places(net)
    count = net.parameter_count + extra
    drive = {}
    for layer in topology.layers:
        some = signals[layer.name]
        steps, size, lanes = some.shape
        eye = jnp.eye(size, dtype=some.dtype)
        pieces: list[tuple[int, Array]] = []
        for (to, source), delays in topology.delays.items():
            if to != layer.name:
                continue
            line = extend(before.get(source), signals[source])
            start = places["IW" if source in topology.input_names else "LW", (to, source)]
            for d in delays:
                value = taps(line, (d,), steps)
                # ∂nᵢ/∂W[i', j] = δ_{ii'} a_j, flat over (i', j)
                one = einsum("ik,tjb->tibkj", eye, value).reshape(steps, size, lanes, -1)
                pieces.append((start, one))
                start += one.shape[-1]
        if layer.bias:
            pieces.append((places["b", layer.name], jnp.broadcast_to(eye[None, :, None], (steps, size, lanes, size))))
        rows = jnp.zeros((steps, size, lanes, count), some.dtype)
        for start, piece in pieces:
            rows = rows.at[..., start : start + piece.shape[-1]].set(piece)
        drive[layer.name] = rows
    return drive


def _places(net: Network) -> dict[tuple, int]:
    """Where each block of parameters begins in the flat vector."""
    places, start = {}, 0
    for field in ("IW", "LW", "b"):
        for name, array in sorted(getattr(net, field).items()):
            places[field, name] = start
            start += array.size
    return places


def _state_derivatives(net: Network, lanes: int) -> Values:
    """Returns ∂a^l(τ)/∂x for τ < 0, `(longest delay, size, lanes, x)`: ones where x is that very element."""
    count, elements = net.parameter_count, state_count(net)
    found, start = {}, count
    for name, (longest, size) in sorted(state_sizes(net.topology).items()):
        t, i = jnp.meshgrid(jnp.arange(longest), jnp.arange(size), indexing="ij")
        block = jnp.zeros((longest, size, count + elements), net.dtype).at[t, i, start + t * size + i].set(1)
        found[name] = jnp.broadcast_to(block[:, :, None], (longest, size, lanes, count + elements))
        start += longest * size
    return found
