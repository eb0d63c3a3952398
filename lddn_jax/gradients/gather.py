"""From n̄ to gradients: what every backward method does once it knows ∂F/∂n^m(t) at all times.

    ∂F/∂LW^{m,l}(d) = Σ_t n̄^m(t) a^l(t−d)ᵀ    ∂F/∂IW^{m,l}(d) = Σ_t n̄^m(t) p^l(t−d)ᵀ    ∂F/∂b^m = Σ_t n̄^m(t)
    ∂F/∂a^l(τ) = Σ_{k: l feeds k} Σ_d LW^{k,l}(d)ᵀ n̄^k(τ+d)   for τ < 0, the values of the delay state

Products over all of time and batch, outside of any loop. De Jesús & Hagan (2007), eq. 22-24.
"""

import jax.numpy as jnp
from jaxtyping import Array

from lddn_jax.contraction import einsum
from lddn_jax.delays import DelayState, extend, reaching_back, state_sizes, taps
from lddn_jax.network import Network, assemble
from lddn_jax.recursion import Values
from lddn_jax.simulate import time_last


def gather(net: Network, signals: Values, before: Values, n_bar: Values) -> tuple[Network, DelayState]:
    """Returns ∂F/∂parameters, summed over batch and time, and ∂F/∂state of each sequence.

    Args:
        net: The network.
        signals: Inputs and layer outputs, `(time, *batch, size)`.
        before: The delay state, time first.
        n_bar: ∂F/∂n of every layer, `(time, *batch, neurons)`.
    """
    gradient = assemble(
        net.topology,
        IW={pair: _weights(net, pair, signals, before, n_bar) for pair in net.IW},
        LW={pair: _weights(net, pair, signals, before, n_bar) for pair in net.LW},
        b={name: einsum("...i->i", n_bar[name]) for name in net.b},
    )
    return gradient, time_last(_state(net, before, n_bar))


def _weights(net: Network, pair: tuple[str, str], signals: Values, before: Values, n_bar: Values) -> Array:
    to, source = pair
    delays, steps = net.topology.delays[pair], n_bar[to].shape[0]
    line = extend(before.get(source), signals[source])
    product = einsum("...i,...j->ij", n_bar[to], taps(line, delays, steps))
    return einsum("idj->dij", product.reshape(product.shape[0], len(delays), -1))


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
