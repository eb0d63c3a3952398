"""Real-time recurrent learning: derivatives carried forward with the simulation, by hand.

For every element x of the parameters (and of the delay state, when asked),

    ∂n^m(t)/∂x = ∂ᵉn^m(t)/∂x + Σ_{m reads l} Σ_{d ∈ DL_{m,l}} LW^{m,l}(d) ∂a^l(t−d)/∂x
    ∂a^m(t)/∂x = ḟ^m(n^m(t)) ∂n^m(t)/∂x

with the explicit derivative ∂ᵉnᵢ^m(t)/∂LWᵢⱼ^{m,l}(d) = aⱼ^l(t−d), likewise for inputs, and 1 for the bias. A
value of the delay state is a^l(τ) at τ < 0, so its own derivative there is 1: these recursions start from the
identity.

This is the simulation once more, with one axis for x, so it runs through the same recursion. What it carries is
of size neurons × parameters: cheap for Jacobians of small networks over long records, where BPTT would need one
backward pass for each output element.

Williams & Zipser (1989); De Jesús & Hagan (2007), section III.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lddn_jax import transfer
from lddn_jax.delays import extend, state_sizes, taps
from lddn_jax.gradients.base import AbstractForward, state_count
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.recursion import Values, read, sweep
from lddn_jax.simulate import run, time_first, time_last


class RTRL(AbstractForward):
    """Hand-written forward recursion of ∂a/∂x; see the module's equations."""

    def sensitivities(self, net, inputs, state, steps, layers, with_state):
        """Simulates, then runs the recursion once for all parameters."""
        n, a = run(net, inputs, state, steps)
        if not layers:
            return time_last(a), {}
        topology = net.topology
        functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
        # One axis of size 1 before the neurons, to meet the axis of x.
        slopes = {
            name: jnp.expand_dims(f.slope(n[name], a[name]), -2 if f.elementwise else -3)
            for name, f in functions.items()
        }
        before = _state_derivatives(net, state) if with_state else {}
        extra = state_count(net) if with_state else 0
        drive = _explicit(net, time_first(inputs) | a, time_first(state), extra)
        for (to, source), delays in topology.delays.items():
            if source in before and source in topology.input_names:
                held = before[source]
                line = extend(held, jnp.zeros((steps, *held.shape[1:]), held.dtype))
                drive[to] = drive[to] + read(line, net.IW[to, source], delays, steps)
        plan_ = plan(topology)
        blocks = [block.without(topology.input_names) for block in plan_.blocks]
        _, derivatives = sweep(
            blocks,
            topology.delays,
            net.LW,
            lambda name, n_dot, slope: functions[name].times_slope(slope, n_dot),
            known={},
            drive=drive,
            extras=slopes,
            before=before,
            steps=steps,
            batch=next(iter(drive.values())).shape[1:-1],
        )
        turned = {name: jnp.swapaxes(derivatives[name], -1, -2) for name in layers}  # x last
        return time_last(a), {name: jnp.moveaxis(d, 0, -3) for name, d in turned.items()}


def _explicit(net: Network, signals: Values, before: Values, extra: int) -> Values:
    """Returns ∂ᵉn^m(t)/∂x by layer, `(time, *batch, x, neurons)`; the last `extra` elements of x are of the state."""
    topology = net.topology
    places = _places(net)
    count = net.parameter_count + extra
    drive = {}
    for layer in topology.layers:
        some = signals[layer.name]
        eye = jnp.eye(layer.size, dtype=some.dtype)
        rows = jnp.zeros((*some.shape[:-1], count, layer.size), some.dtype)
        pieces: list[tuple[int, Array]] = []
        for (to, source), delays in topology.delays.items():
            if to != layer.name:
                continue
            line = extend(before.get(source), signals[source])
            start = places["IW" if source in topology.input_names else "LW", (to, source)]
            for d in delays:
                value = taps(line, (d,), some.shape[0])
                # ∂nᵢ/∂W[i', j] = δ_{ii'} a_j, flat over (i', j)
                one = value[..., None, :, None] * eye.reshape((1,) * (value.ndim - 1) + (layer.size, 1, layer.size))
                pieces.append((start, one.reshape(*value.shape[:-1], -1, layer.size)))
                start += value.shape[-1] * layer.size
        if layer.bias:
            one = jnp.broadcast_to(eye.reshape((1,) * (some.ndim - 1) + eye.shape), (*some.shape[:-1], *eye.shape))
            pieces.append((places["b", layer.name], one))
        for start, piece in pieces:
            rows = rows.at[..., start : start + piece.shape[-2], :].set(piece)
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


def _state_derivatives(net: Network, state) -> Values:
    """Returns ∂a^l(τ)/∂x for τ < 0, `(longest delay, *batch, x, size)`: ones where x is that very element."""
    count, elements = net.parameter_count, state_count(net)
    found, start = {}, count
    for name, (longest, size) in sorted(state_sizes(net.topology).items()):
        block = jnp.zeros((longest, count + elements, size), net.dtype)
        t, i = jnp.meshgrid(jnp.arange(longest), jnp.arange(size), indexing="ij")
        block = block.at[t, start + t * size + i, i].set(1)
        batch = jax.tree.leaves(state)[0].shape[:-2]
        block = block.reshape(longest, *(1,) * len(batch), count + elements, size)
        found[name] = jnp.broadcast_to(block, (longest, *batch, count + elements, size))
        start += longest * size
    return found
