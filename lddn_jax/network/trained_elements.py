"""Parameters among the arrays of a network: their flat vector, and arrays that no training changes.

Weights that are not trained, and those that a mask sets to zero, are no parameters (`topology/trained_weights.py`).
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.network.network import Network, assemble
from lddn_jax.topology.trained_weights import trained_places

Tree = TypeVar("Tree")


def gradient_of_parameters(gradient: Network) -> Network:
    """Returns a gradient with zeros where weights are not trained or masked."""
    return _with_others(gradient, None)


def only_parameters_moved(new: Tree, old: Tree) -> Tree:
    """Returns the arrays of `new`, with those of `old` where weights of its networks are not trained or masked.

    Args:
        new: A network, or a pytree that contains networks, after an update.
        old: The same before it.
    """

    def restored(new: Any, old: Any) -> Any:
        return _with_others(new, old) if isinstance(new, Network) else new

    return jax.tree.map(restored, new, old, is_leaf=_is_network)


def parameter_leaves(tree: Any) -> list[Float[Array, "..."]]:
    """Returns the arrays of a network, or of a pytree that contains networks, without what is no parameter."""
    found: list[Any] = []
    for node in jax.tree.leaves(tree, is_leaf=_is_network):
        found += node.parameter_arrays() if isinstance(node, Network) else [node]
    return found


def _is_network(node: Any) -> bool:
    return isinstance(node, Network)


def _with_others(net: Network, others: Network | None) -> Network:
    """Returns a network whose weights that are no parameters are those of `others`, or zero."""
    places = trained_places(net.topology)
    if not places:
        return net

    def weights(field: str) -> dict[tuple[str, str], Array]:
        found = dict(getattr(net, field))
        for pair in places.keys() & found.keys():
            other = jnp.zeros_like(found[pair]) if others is None else getattr(others, field)[pair]
            axes = len(net.topology.weight_shapes[pair])
            flat, rest = (a.reshape(*a.shape[: a.ndim - axes], -1) for a in (found[pair], other))
            moved = rest if len(places[pair]) == 0 else rest.at[..., places[pair]].set(flat[..., places[pair]])
            found[pair] = moved.reshape(found[pair].shape)
        return found

    return assemble(net.topology, weights("IW"), weights("LW"), net.b)
