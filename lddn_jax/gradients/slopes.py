"""Slopes of all layers of a factored network: what a linearized recursion multiplies with.

A layer multiplies by the slope ḟ(n) of its transfer function; a factor z_c of n = ⊙_c z_c by

    ∂n/∂z_c = ⊙_{k≠c} z_k

computed without a division, as the product of all factors before c and of all after it, so it is right where factors
are zero.
"""

from jaxtyping import Array, Float

from lddn_jax.numerics.lanes import Values
from lddn_jax.topology.product_factors import product_factors
from lddn_jax.topology.topology import Topology


def factor_slopes(topology: Topology, n: Values, signals: Values) -> Values:
    """Returns ∂n/∂z_c by factor c of a factored topology, in the layout of the arguments.

    Args:
        topology: A factored topology.
        n: Net inputs of all layers; that of a factor is z_c.
        signals: Inputs and layer outputs.
    """
    found = {}
    for factors in product_factors(topology).values():
        z = [_value(topology, name, n, signals) for name in factors]
        found |= dict(zip(factors, _products_of_others(z), strict=True))
    return found


def _value(topology: Topology, factor: str, n: Values, signals: Values) -> Float[Array, "time ..."]:
    """Returns z_c; for an identity without delay the signal that it reads, so that no copy of it has to be stored."""
    (connection,) = (c for (to, _), c in topology.connected.items() if to == factor)
    if connection.weights == "identity" and connection.delays == (0,):
        return signals[connection.source]
    return n[factor]


def _products_of_others(z: list[Float[Array, "*shape"]]) -> list[Float[Array, "*shape"]]:
    """Returns for each factor the product of all others."""
    if len(z) == 1:
        raise AssertionError("a product has at least two factors")
    before, after = [z[0]], [z[-1]]
    for k in range(1, len(z) - 1):
        before.append(before[-1] * z[k])
        after.append(after[-1] * z[-1 - k])
    inner = [left * right for left, right in zip(before[:-1], after[-2::-1], strict=True)]
    return [after[-1], *inner, before[-1]]
