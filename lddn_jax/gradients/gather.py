"""Gradients of parameters and delay states from n̄ = ∂F/∂n^m(t) at all times; shared by the backward methods.

    ∂F/∂LW^{m,l}(d) = Σ_t n̄^m(t) a^l(t−d)ᵀ    ∂F/∂IW^{m,l}(d) = Σ_t n̄^m(t) p^l(t−d)ᵀ    ∂F/∂b^m = Σ_t n̄^m(t)
    ∂F/∂a^l(τ) = Σ_{k: l feeds k} Σ_d LW^{k,l}(d)ᵀ n̄^k(τ+d)   for τ < 0, the values of the delay state

De Jesús & Hagan (2007), eq. 22-24.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.network.network import Biases, Network, Weights, assemble, connection_weights
from lddn_jax.network.trained_elements import gradient_of_parameters
from lddn_jax.numerics.connection_product import back_product, is_elementwise, weight_gradient
from lddn_jax.numerics.contraction import correlation, einsum
from lddn_jax.numerics.lanes import Values
from lddn_jax.simulation.delays import extend, reaching_back, state_sizes, taps
from lddn_jax.topology.topology import Topology

COPIED_ROWS = 4  # taps of connections up to this many rows are copied together for one product


def gather(net: Network, signals: Values, before: Values, n_bar: Values) -> tuple[Network, Values]:
    """Returns ∂F/∂parameters, summed over time and lanes, and ∂F/∂state in each lane.

    Args:
        net: The network.
        signals: Inputs and layer outputs, `(time, size, lanes)`.
        before: The delay state, in the same layout.
        n_bar: ∂F/∂n of every layer, `(time, neurons, lanes)`.
    """
    return parameter_gradient(net, signals, before, n_bar), state_gradient(net, n_bar)


def parameter_gradient(net: Network, signals: Values, before: Values, n_bar: Values) -> Network:
    """Returns ∂F/∂parameters, summed over time and lanes; zero where weights are no parameters. See `gather`."""
    topology = net.topology
    lines = {name: extend(before.get(name), signal) for name, signal in signals.items()}
    found: Weights = {}
    biases: Biases = {}
    weights = net.IW | net.LW
    for layers in _reading_alike(net):
        first = layers[0]
        own = {pair: weights[pair] for pair in topology.delays if pair[0] == first and pair in weights}
        together = n_bar[first] if len(layers) == 1 else jnp.concatenate([n_bar[name] for name in layers], axis=1)
        blocks, bias = _of_layer(topology, own, lines, together)
        start = 0
        for name in layers:
            end = start + topology.sizes[name]
            rows = slice(None) if len(layers) == 1 else slice(start, end)
            found |= {(name, source): block[:, rows] for (_, source), block in blocks.items()}
            if topology.layer(name).bias:
                biases[name] = bias[rows]
            start = end
    return gradient_of_parameters(
        assemble(
            topology,
            IW={pair: found[pair] for pair in net.IW},
            LW={pair: found[pair] for pair in net.LW},
            b=biases,
        )
    )


def _reading_alike(net: Network) -> list[list[str]]:
    """Returns the layers in groups that read the same sources at the same delays by matrices, such as gates.

    Their gradients are computed by one product of a larger size, which is worth a copy of n̄ if many taps are read.
    """
    topology, weights = net.topology, net.IW | net.LW
    groups: dict[Any, list[str]] = {}
    for layer in topology.layers:
        read = {source: delays for (to, source), delays in topology.delays.items() if to == layer.name}
        by_matrices = all((layer.name, s) in weights and weights[layer.name, s].ndim == 3 for s in read)
        many = any(len(delays) * topology.sizes[source] > COPIED_ROWS for source, delays in read.items())
        groups.setdefault((*read.items(), layer.bias) if by_matrices and many else layer.name, []).append(layer.name)
    return list(groups.values())


def _of_layer(
    topology: Topology, weights: Weights, lines: Values, n_bar: Float[Array, "time neurons lanes"]
) -> tuple[Weights, Float[Array, " neurons"]]:
    """Returns the gradients of all connections into a layer, and of its bias.

    Connections with few taps are computed together, with a row of ones for the bias, in one product.
    """
    delays, steps = topology.delays, n_bar.shape[0]

    def row_count(pair):
        return len(delays[pair]) * topology.sizes[pair[1]]

    narrow = [pair for pair, W in weights.items() if not is_elementwise(W) and row_count(pair) <= COPIED_ROWS]
    blocks = {  # one delay at a time, because stacking many taps takes much memory
        (to, source): weight_gradient(W, n_bar, (taps(lines[source], (d,), steps) for d in delays[to, source]))
        for (to, source), W in weights.items()
        if (to, source) not in narrow
    }
    if not narrow:
        return blocks, n_bar.sum(axis=(0, *range(2, n_bar.ndim)))
    ones = jnp.ones((steps, 1, *n_bar.shape[2:]), n_bar.dtype)
    rows = [taps(lines[source], delays[to, source], steps) for to, source in narrow]
    together = correlation(n_bar, jnp.concatenate([*rows, ones], axis=1))
    start = 0
    for pair in narrow:
        end = start + row_count(pair)
        block = together[:, start:end].reshape(-1, len(delays[pair]), topology.sizes[pair[1]])
        blocks[pair] = einsum("idj->dij", block)
        start = end
    return blocks, together[:, -1]


def state_gradient(net: Network, n_bar: Values) -> Values:
    """Returns ∂F/∂a^l(τ) for τ < 0, `(longest delay, size, lanes)` by source.

    Args:
        net: The network.
        n_bar: ∂F/∂n of every layer from t = 0 on, for at least as many steps as the longest delay.
    """
    weights = connection_weights(net)
    found = {}
    for name, (longest, _) in state_sizes(net.topology).items():
        parts = []
        for (to, source), delays in net.topology.delays.items():
            if source == name and delays[-1] > 0:
                back = reaching_back(n_bar[to], delays, longest)
                parts.append(back_product(weights[to, source], len(delays), back))
        found[name] = sum(parts[1:], start=parts[0])
    return found
