"""Networks in the form in which they are run, with the factors of products as layers, and their gradients back.

Parameters keep their order, so flat vectors and columns of Jacobians are the same for both.
"""

from collections.abc import Mapping
from typing import TypeVar

from lddn_jax.network.network import Network, assemble
from lddn_jax.topology.product_factors import declared_name, factored_topology
from lddn_jax.topology.topology import Topology

Value = TypeVar("Value")


def factored(net: Network) -> Network:
    """Returns the network whose factors are layers, with the same arrays; a network without products unchanged."""
    topology = factored_topology(net.topology)
    if topology is net.topology:
        return net
    weights = net.IW | net.LW
    found = {(to, source): weights[declared_name(to), source] for to, source in topology.weight_shapes}
    inputs = {pair: w for pair, w in found.items() if pair[1] in topology.input_names}
    return assemble(topology, inputs, {pair: w for pair, w in found.items() if pair not in inputs}, net.b)


def declared(gradient: Network, topology: Topology) -> Network:
    """Returns the gradient of a factored network as one of the declared topology."""
    if gradient.topology is topology:
        return gradient
    IW, LW = ({(declared_name(to), s): g for (to, s), g in given.items()} for given in (gradient.IW, gradient.LW))
    return assemble(topology, IW, LW, gradient.b)


def of_layers(values: Mapping[str, Value], topology: Topology) -> dict[str, Value]:
    """Returns the values of the layers of a declared topology, without those of factors."""
    names = {layer.name for layer in topology.layers}
    return {name: value for name, value in values.items() if name in names}
