"""Which weights are parameters: not those of connections with `trained=False`, and not those that a mask sets to zero.

A network holds arrays of all weights; its flat vector, the columns of Jacobians and priors are of its parameters only.
"""

import functools
import math

import numpy as np
from jaxtyping import Bool, Int

from lddn_jax.topology.topology import Topology

Pair = tuple[str, str]  # (to, source)


@functools.lru_cache(maxsize=4096)
def trained_places(topology: Topology) -> dict[Pair, Int[np.ndarray, " places"]]:
    """Returns the places of the parameters in the flattened weights of the connections that are not wholly trained.

    Example:
        >>> from lddn_jax import Connection, Input, Layer
        >>> topology = Topology([Input("u", 2)], [Layer("y", 2)], [Connection("u", "y", mask=((1, 0), (1, 1)))], ["y"])
        >>> trained_places(topology)["y", "u"].tolist()
        [0, 2, 3]
    """
    found = {}
    for pair, shape in topology.weight_shapes.items():
        c = topology.connected[pair]
        if not c.trained:
            found[pair] = np.zeros(0, int)
        elif c.mask is not None:
            found[pair] = np.flatnonzero(np.broadcast_to(np.asarray(c.mask, bool), shape))
    return found


@functools.lru_cache(maxsize=4096)
def masks(topology: Topology) -> dict[Pair, Bool[np.ndarray, "delays=_ to=_ from=_"]]:
    """Returns the masks of the connections that have one, one matrix for each delay."""
    return {
        pair: np.broadcast_to(np.asarray(c.mask, bool), topology.weight_shapes[pair])
        for pair, c in topology.connected.items()
        if c.mask is not None
    }


def trained_count(topology: Topology, pair: Pair) -> int:
    """Returns the number of parameters of a connection."""
    if pair not in topology.weight_shapes:
        return 0
    places = trained_places(topology).get(pair)
    return math.prod(topology.weight_shapes[pair]) if places is None else len(places)


def parameter_count(topology: Topology) -> int:
    """Returns the number of weights and biases that are trained."""
    weights = sum(trained_count(topology, pair) for pair in topology.weight_shapes)
    return weights + sum(layer.size for layer in topology.layers if layer.bias)
