"""Parameters as one flat vector, so that a method reads like the paper it comes from.

`on_vectors` lifts a rule on vectors to an optax transformation of any pytree: it hands the rule a `Point` and brings
the step that the rule returns back into the shape of the parameters. States hold flat vectors.
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
    """Where an update starts. Vectors are `(parameters,)`; everything has the dtype of the parameters.

    Attributes:
        x: The parameters.
        updates: What came down the chain of transformations: the gradient for a method, a direction for a line search.
            Who zeroes a part of the gradient earlier in the chain thereby freezes those parameters.
        gradient: ∇F(x).
        value: F(x).
        loss: F, a function of a vector. It has reverse-mode derivatives only.
    """

    x: Vector
    updates: Vector
    gradient: Vector
    value: Float[Array, ""]
    loss: Callable[[Vector], Float[Array, ""]]


def on_vectors(
    init: Callable[[Vector], Any], update: Callable[[Point, Any], tuple[Vector, Any]]
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation of pytrees that follows a rule on vectors.

    Args:
        init: From the parameters to the first state.
        update: From a point and the state to a step and the next state.

    Returns:
        A transformation. Its `update` takes `value`, `grad` and `value_fn` as those of optax's line searches do, and
        hands further keyword arguments to `value_fn`.

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
    """Returns the leaves of a pytree as one vector, and the way back."""
    with jax.numpy_dtype_promotion("standard"):  # leaves may differ in dtype; the way back restores each
        return ravel_pytree(tree)


def dot(a: Vector, b: Vector) -> Float[Array, ""]:
    """Returns a'b, in the precision of the package.

    Example:
        >>> float(dot(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])))
        11.0
    """
    return einsum("p,p->", a, b)
