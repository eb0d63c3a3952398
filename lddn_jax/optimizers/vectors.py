"""Optimizers on flat vectors: parameters as one vector, so that the code follows the notation of the papers.

`on_vectors` turns a rule on vectors into an optax transformation of any pytree: it passes a `Point` to the rule and
converts the resulting step back to the structure of the parameters. States hold flat vectors.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from lddn_jax.numerics.contraction import einsum

Vector: TypeAlias = Float[Array, " parameters"]


class Point(NamedTuple):
    """The point at which an update starts. Vectors are `(parameters,)`; everything has the dtype of the parameters.

    Attributes:
        x: The parameters.
        updates: The updates from earlier transformations of a chain: the gradient for a method, a direction for a line
            search. Parameters whose gradient was zeroed earlier in the chain stay frozen.
        gradient: ∇F(x).
        value: F(x).
        loss: F, a function of a vector. Only reverse-mode derivatives are available.
    """

    x: Vector
    updates: Vector
    gradient: Vector
    value: Float[Array, ""]
    loss: Callable[[Vector], Float[Array, ""]]


def on_vectors(
    init: Callable[[Vector], Any], update: Callable[[Point, Any], tuple[Vector, Any]]
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation of pytrees that applies a rule on vectors.

    Args:
        init: Maps the parameters to the initial state.
        update: Maps a point and the state to a step and the next state.

    Returns:
        A transformation; `update` takes `value`, `grad` and `value_fn`, as optax's line searches do, and passes
        further keyword arguments to `value_fn`.

    Example:
        >>> descent = on_vectors(lambda x: (), lambda at, state: (-0.1 * at.updates, state))
        >>> params = {"a": jnp.ones(2), "b": jnp.array(3.0)}
        >>> step, _ = descent.update(params, (), params, value=0.0, grad=params, value_fn=None)
        >>> [leaf.shape for leaf in jax.tree.leaves(step)]
        [(2,), ()]
    """

    def init_fn(params):
        return init(ravel(params)[0])

    def update_fn(updates, state, params, *, value, grad, value_fn, **extra):
        x, unravel = ravel(params)

        def loss(vector):
            return value_fn(unravel(vector), **extra).astype(x.dtype)

        updates, gradient = (ravel(tree)[0].astype(x.dtype) for tree in (updates, grad))
        step, state = update(Point(x, updates, gradient, jnp.asarray(value).astype(x.dtype), loss), state)
        return unravel(step), state

    return optax.GradientTransformationExtraArgs(init_fn, cast(Any, update_fn))


def ravel(tree: PyTree[Float[ArrayLike, "..."]]) -> tuple[Vector, Callable[[Vector], PyTree[Float[Array, "..."]]]]:
    """Returns the leaves of a pytree as one vector, and the function that converts it back."""
    with jax.numpy_dtype_promotion("standard"):  # leaves may differ in dtype, which the conversion back restores
        return ravel_pytree(tree)


def dot(a: Vector, b: Vector) -> Float[Array, ""]:
    """Returns a'b at the precision of the package.

    Example:
        >>> float(dot(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])))
        11.0
    """
    return einsum("p,p->", a, b)
