"""The graph that is run: each factor of a product is a layer of its own.

    n^m(t) = ⊙_c z_c(t)        z_c(t) = Σ_d W_c(d) s_c(t−d)

In the *factored* topology each connection c of a layer m with `net_input="product"` leads to a linear layer without
bias, a factor, whose output is z_c(t), and m multiplies its factors. So a layer sums its connections or multiplies
other layers, and derivatives need no product at all: with the slope ∂n^m/∂z_c = ⊙_{k≠c} z_k of factor c, m sums what
its factors send.
"""

import functools
import warnings
from dataclasses import fields, replace
from typing import TypeVar

from lddn_jax.topology.parts import FACTOR_MARK
from lddn_jax.topology.topology import Connection, Layer, Topology, TopologyWarning

Part = TypeVar("Part", Layer, Connection)


def factored_topology(topology: Topology) -> Topology:
    """Returns the topology in which factors are layers; a topology without products unchanged, and a factored one too.

    Example:
        >>> from lddn_jax import Input
        >>> square = Topology([Input("u", 1)], [Layer("y", 1, "linear", False, "product")],
        ...     [Connection("u", "y", weights="diagonal"), Connection("y", "y", (1,))], ["y"])
        >>> [declared_name(layer.name) for layer in factored_topology(square).layers]
        ['y', 'y', 'y']
    """
    if all(layer.net_input == "sum" for layer in topology.layers):
        return topology  # itself, and not one that is equal
    return _factored(topology)


@functools.lru_cache(maxsize=4096)
def _factored(topology: Topology) -> Topology:
    products = {layer.name for layer in topology.layers if layer.net_input == "product"}
    if any(FACTOR_MARK in layer.name for layer in topology.layers):
        return topology
    layers, connections, count = list(topology.layers), [], dict.fromkeys(products, 0)
    for (to, _), c in topology.connected.items():
        if to not in products:
            connections.append(c)
            continue
        count[to] += 1
        name = f"{to}{FACTOR_MARK}{chr(1 + count[to])}"
        layers.append(_unchecked(Layer("factor", topology.sizes[to], "linear", bias=False), name=name))
        connections += [_unchecked(c, to=name), _unchecked(Connection(to, to, weights="identity"), source=name)]
    with warnings.catch_warnings():  # the user has already been warned of idle parts
        warnings.simplefilter("ignore", TopologyWarning)
        return replace(topology, layers=layers, connections=connections)


def _unchecked(part: Part, **names: str) -> Part:
    """Returns a part with other names, which may have the mark that names of users must not have."""
    found = object.__new__(type(part))
    for field in fields(part):
        object.__setattr__(found, field.name, names.get(field.name, getattr(part, field.name)))
    return found


@functools.lru_cache(maxsize=4096)
def product_factors(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Returns the factors of each layer that multiplies, in a factored topology."""
    products = {layer.name for layer in topology.layers if layer.net_input == "product"}
    return {name: tuple(s for to, s in topology.delays if to == name) for name in sorted(products)}


def declared_name(name: str) -> str:
    """Returns the name of the layer that a factor belongs to; any other name unchanged."""
    return name.partition(FACTOR_MARK)[0]
