"""Structures inside of a larger one, the frame, so that trainings of several structures share compiled programs.

A structure in a frame is the frame with weights of zero. A neuron whose weights and bias are all zero stays so, for

    a = tanh(0) = 0,     ∂y/∂W_out ∝ a = 0,     ∂y/∂(W_in, bias) ∝ W_out = 0

and so does a state whose weights and first values are zero. So the networks are trained as they were without the frame,
which costs the products of the Jacobian with columns of zeros, and saves the compilation of one program per structure.
This holds for layers, and not for connections between layers that the structure has: a feedthrough of zero is trained.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from lddn_jax.network.network import Network, assemble
from lddn_jax.topology.topology import Topology


def masked(net: Network, sizes: Mapping[str, int], constant: Mapping[str, tuple[int, ...]]) -> Network:
    """Returns a network, or stacked ones, with weights of zero outside of a structure.

    Args:
        net: In the frame.
        sizes: Sizes by layer in the structure; other layers are kept whole.
        constant: Elements of inputs whose weights are zero too, by input.
    """

    def within(name: str, size: int) -> np.ndarray:
        inside = np.arange(size) < sizes.get(name, size)
        inside[list(constant.get(name, ()))] = False
        return inside

    def weights(given):
        return {
            (to, source): jnp.asarray(np.where(of_both(to, source), np.asarray(w), 0))
            for (to, source), w in given.items()
        }

    def of_both(to: str, source: str) -> np.ndarray:
        _, rows, *columns = net.topology.weight_shapes[to, source]
        inside = within(to, rows), within(source, columns[0] if columns else rows)
        return inside[0][:, None] & inside[1] if columns else inside[0] & inside[1]

    biases = {name: jnp.asarray(np.where(within(name, b.shape[-1]), np.asarray(b), 0)) for name, b in net.b.items()}
    return assemble(net.topology, weights(net.IW), weights(net.LW), biases)


def cut(net: Network, topology: Topology) -> Network:
    """Returns a network, or stacked ones, without what its frame has more than its topology."""
    sizes = topology.sizes

    def weights(given):
        return {
            (to, source): jnp.asarray(np.asarray(given[to, source])[..., : sizes[to], : sizes[source]])
            if len(topology.weight_shapes[to, source]) == 3
            else jnp.asarray(np.asarray(given[to, source])[..., : sizes[to]])
            for to, source in given
            if (to, source) in topology.delays
        }

    biased = [layer for layer in topology.layers if layer.bias]
    biases = {layer.name: jnp.asarray(np.asarray(net.b[layer.name])[..., : layer.size]) for layer in biased}
    return assemble(topology, weights(net.IW), weights(net.LW), biases)
