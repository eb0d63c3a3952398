"""How a connection multiplies: forward, transposed, and the gradient of its weights.

    z(t) = Σ_d W(d) s(t−d)

W(d) is a matrix, `(delay, to, from)`; diagonal, `(delay, size)`; or the identity, for which the weights are None. The
last two cost no matrix product. Everything that depends on the kind of a connection is in this file.
"""

from collections.abc import Iterable
from typing import TypeAlias

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lddn_jax.numerics.contraction import Product, correlation, einsum, pairwise_sum, product

ConnectionWeights: TypeAlias = Float[Array, "delays=_ to=_ from=_"] | Float[Array, "delays=_ size=_"] | None


def is_elementwise(weights: ConnectionWeights) -> bool:
    """Whether each element of the source acts on one neuron only."""
    return weights is None or weights.ndim == 2


def tapped_product(weights: ConnectionWeights, count: int, lanes: tuple[int, ...]) -> Product:
    """Returns the function from the taps of all delays, stacked on the axis of neurons, to Σ_d W(d) s(t−d).

    Args:
        weights: W of all delays.
        count: Number of delays.
        lanes: Sizes of the lane axes, those after time and size.

    Example:
        >>> tapped_product(None, 2, (1,))(jnp.arange(4.0).reshape(1, 4, 1))[0, :, 0].tolist()
        [2.0, 4.0]
    """
    if weights is not None and weights.ndim == 3:
        to, from_ = weights.shape[1:]
        side_by_side = weights[0] if count == 1 else einsum("dij->idj", weights).reshape(to, count * from_)
        return product(side_by_side, lanes)
    columns = None if weights is None else weights.reshape(count, 1, -1, *(1,) * len(lanes))

    def multiplied(y):
        size = y.shape[1] // count
        parts = [y[:, k * size : (k + 1) * size] for k in range(count)] if count > 1 else [y]
        return pairwise_sum(parts if columns is None else [columns[k] * part for k, part in enumerate(parts)])

    return multiplied


def single_product(weights: ConnectionWeights, k: int, lanes: tuple[int, ...]) -> Product:
    """Returns the function from s(t−d) to W(d) s(t−d), d the k-th delay."""
    if weights is not None and weights.ndim == 3:
        return product(weights[k], lanes)
    return tapped_product(None if weights is None else weights[k : k + 1], 1, lanes)


def transposed(weights: ConnectionWeights) -> ConnectionWeights:
    """Returns Wᵀ of all delays."""
    return weights if weights is None or weights.ndim == 2 else einsum("dij->dji", weights)


def back_product(
    weights: ConnectionWeights, count: int, back: Float[Array, "time _ *lanes"]
) -> Float[Array, "time from *lanes"]:
    """Returns Σ_d W(d)ᵀ n̄(t+d) from n̄ at all delays, stacked on the axis of neurons.

    Args:
        weights: W of all delays.
        count: Number of delays.
        back: n̄(t+d), the neurons of the first delay, then those of the next.
    """
    if weights is not None and weights.ndim == 3:
        return einsum("ij,ti...->tj...", weights.reshape(-1, weights.shape[2]), back)
    return tapped_product(weights, count, back.shape[2:])(back)


def as_matrices(weights: ConnectionWeights, count: int, size: int, dtype: DTypeLike) -> Float[Array, "delays to from"]:
    """Returns W of all delays as matrices.

    Args:
        weights: W of all delays.
        count: Number of delays.
        size: Number of neurons, which diagonal weights and the identity do not tell.
        dtype: The dtype of the identity.
    """
    if weights is None:
        return jnp.broadcast_to(jnp.eye(size, dtype=dtype), (count, size, size))
    return weights[:, :, None] * jnp.eye(size, dtype=dtype)[None] if weights.ndim == 2 else weights


def weight_gradient(
    weights: Float[Array, "delays to from"] | Float[Array, "delays size"],
    n_bar: Float[Array, "time neurons lanes"],
    taps: Iterable[Float[Array, "time size lanes"]],
) -> Float[Array, "delays ..."]:
    """Returns ∂F/∂W(d) = Σ_t n̄(t) s(t−d)ᵀ of all delays, or its diagonal.

    Args:
        weights: W of all delays, for their kind.
        n_bar: n̄ of the layer that reads.
        taps: s(t−d), one for each delay.
    """
    if weights.ndim == 2:
        return jnp.stack([einsum("tib,tib->i", n_bar, tap) for tap in taps])
    return jnp.stack([correlation(n_bar, tap) for tap in taps])
