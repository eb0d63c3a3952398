"""From n̄ to gradients: what every backward method does once it knows ∂F/∂n^m(t) at all times.

    ∂F/∂LW^{m,l}(d) = Σ_t n̄^m(t) a^l(t−d)ᵀ    ∂F/∂IW^{m,l}(d) = Σ_t n̄^m(t) p^l(t−d)ᵀ    ∂F/∂b^m = Σ_t n̄^m(t)
    ∂F/∂a^l(τ) = Σ_{k: l feeds k} Σ_d LW^{k,l}(d)ᵀ n̄^k(τ+d)   for τ < 0, the values of the delay state

Products over all of time and batch, outside of any loop. De Jesús & Hagan (2007), eq. 22-24.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lddn_jax.contraction import einsum
from lddn_jax.delays import DelayState, extend, reaching_back, state_sizes, taps
from lddn_jax.network import Network, assemble
from lddn_jax.recursion import FEW, Values
from lddn_jax.simulate import time_last

NARROW = 16  # columns


def gather(net: Network, signals: Values, before: Values, n_bar: Values) -> tuple[Network, DelayState]:
    """Returns ∂F/∂parameters, summed over batch and time, and ∂F/∂state of each sequence.

    Args:
        net: The network.
        signals: Inputs and layer outputs, `(time, *batch, size)`.
        before: The delay state, time first.
        n_bar: ∂F/∂n of every layer, `(time, *batch, neurons)`.
    """
    topology = net.topology
    found: dict[tuple[str, str], Array] = {}
    biases: dict[str, Array] = {}
    for layer in topology.layers:
        pairs = [pair for pair in topology.delays if pair[0] == layer.name]
        blocks, bias = _of_layer(net, layer.name, pairs, signals, before, n_bar[layer.name])
        found |= blocks
        if layer.bias:
            biases[layer.name] = bias
    gradient = assemble(
        topology,
        IW={pair: found[pair] for pair in net.IW},
        LW={pair: found[pair] for pair in net.LW},
        b=biases,
    )
    return gradient, time_last(_state(net, before, n_bar))


def _of_layer(
    net: Network, name: str, pairs: list[tuple[str, str]], signals: Values, before: Values, n_bar: Array
) -> tuple[dict[tuple[str, str], Array], Array]:
    """The blocks of all connections into a layer, and its bias.

    What the layer reads through few taps is put side by side, with a column of ones for the bias: one product for all.
    """
    delays, steps = net.topology.delays, n_bar.shape[0]
    lines = {pair: extend(before.get(pair[1]), signals[pair[1]]) for pair in pairs}
    narrow = [pair for pair in pairs if len(delays[pair]) * signals[pair[1]].shape[-1] <= FEW]
    ones = jnp.ones((*n_bar.shape[:-1], 1), n_bar.dtype)
    together = jnp.concatenate([*(taps(lines[pair], delays[pair], steps) for pair in narrow), ones], axis=-1)
    together = _correlate(n_bar, together)
    blocks, start = {}, 0
    for pair in pairs:
        if pair in narrow:
            count, width = len(delays[pair]), signals[pair[1]].shape[-1]
            block = together[:, start : start + count * width].reshape(-1, count, width)
            blocks[pair] = einsum("idj->dij", block)
            start += count * width
        else:  # one delay at a time: side by side, wide taps would fill memory
            blocks[pair] = jnp.stack([_correlate(n_bar, taps(lines[pair], (d,), steps)) for d in delays[pair]])
    return blocks, together[:, -1]


def _correlate(left: Array, right: Array) -> Array:
    """Returns Σ left_i right_j over time and batch, `(left, right)`.

    XLA:CPU is slow at contracting the leading axis of two arrays if one of them has few columns. Turned into a few long
    rows that one is a proper left factor of a product; the barrier keeps XLA from turning it back.
    """
    i, j = left.shape[-1], right.shape[-1]
    left, right = left.reshape(-1, i), right.reshape(-1, j)
    if min(i, j) > NARROW:
        return einsum("mi,mj->ij", left, right)
    if i <= j:
        return einsum("im,mj->ij", jax.lax.optimization_barrier(left.T), right)
    return einsum("jm,mi->ij", jax.lax.optimization_barrier(right.T), left)


def _state(net: Network, before: Values, n_bar: Values) -> Values:
    weights = net.IW | net.LW
    found = {}
    for name, (longest, size) in state_sizes(net.topology).items():
        found[name] = jnp.zeros_like(before[name])
        for (to, source), delays in net.topology.delays.items():
            if source == name:
                back = reaching_back(n_bar[to], delays, longest)
                stacked = weights[to, source].reshape(-1, size)  # (delay · to, from)
                found[name] = found[name] + einsum("...i,ij->...j", back, stacked)
    return found
