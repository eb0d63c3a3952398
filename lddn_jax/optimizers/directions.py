"""Methods that search along directions, shared by conjugate gradients and quasi-Newton methods.

    p_k = rule(g_k, s, y, g_{k−1}, p_{k−1}),    x_{k+1} = x_k + α_k p_k,    s = x_k − x_{k−1},    y = g_k − g_{k−1}

A rule computes p_k only. The search restarts from p = −g at the first step, if p is not a descent direction, and after
a line search that failed. A line search that ends with a larger or non-finite loss takes no step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int

from lddn_jax.errors import LDDNError
from lddn_jax.optimizers.golden_section import golden_section_search
from lddn_jax.optimizers.vectors import Point, Vector, dot, on_vectors

# Near a minimum the loss is flat to its last digits, where a line search that decides by the slope, such as Hager and
# Zhang's (2006, eq. 27), still makes progress. An increase up to this many units of rounding counts as no increase.
ROUNDING_IN_EPS = 16


class Past(NamedTuple):
    """The last step, as passed to a rule; all vectors are `(parameters,)`.

    Attributes:
        s: x_k − x_{k−1}.
        y: g_k − g_{k−1}.
        gradient: g_{k−1}.
        direction: p_{k−1}.
        age: Steps since the last restart from −g; at least 1 where the rule's result is used.
    """

    s: Vector
    y: Vector
    gradient: Vector
    direction: Vector
    age: Int[Array, ""]

    def curved(self) -> Bool[Array, ""]:
        """Whether s'y is positive beyond rounding errors, so that the secant equation can be used."""
        floor = jnp.finfo(self.s.dtype).eps * jnp.sqrt(dot(self.s, self.s) * dot(self.y, self.y))
        return dot(self.s, self.y) > floor


class Rule(NamedTuple):
    """A rule for the search direction.

    Attributes:
        init: Maps the parameters to the initial memory of the rule.
        direction: Maps g_k, the past and the memory to p_k and the next memory.
    """

    init: Callable[[Vector], Any]
    direction: Callable[[Vector, Past, Any], tuple[Vector, Any]]


class DirectionState(NamedTuple):
    """State of a direction-search method, without that of its line search.

    Attributes:
        x: The parameters of the last update.
        gradient: The gradient of the last update.
        direction: The direction of the last update.
        age: Steps since the last restart from −g.
        memory: The memory of the rule.
    """

    x: Vector
    gradient: Vector
    direction: Vector
    age: Int[Array, ""]
    memory: Any


def searched(
    rule: Rule, linesearch: optax.GradientTransformation | None = None
) -> optax.GradientTransformationExtraArgs:
    """Returns the method that follows a rule and searches along its directions.

    Args:
        rule: The rule for the search direction.
        linesearch: A transformation that scales a direction; `golden_section_search()` if None.

    Returns:
        A transformation whose state is a `DirectionState` and the state of the line search.

    Raises:
        LDDNError: If the line search is not an optax transformation.
    """
    linesearch = golden_section_search() if linesearch is None else linesearch
    if not hasattr(linesearch, "update"):
        raise LDDNError(
            f"linesearch={linesearch!r} is not an optax transformation. Pass golden_section_search(), "
            "optax.scale_by_zoom_linesearch(max_linesearch_steps=20), or None for the default."
        )

    def init(x):
        nothing = jnp.zeros_like(x)
        return DirectionState(x, nothing, nothing, jnp.zeros((), jnp.int32), rule.init(x))

    def update(at: Point, state: DirectionState):
        g, s = at.updates, at.x - state.x
        p, memory = rule.direction(
            g, Past(s, g - state.gradient, state.gradient, state.direction, state.age), state.memory
        )
        slope = dot(p, g)
        follow = (state.age > 0) & jnp.any(s != 0) & (slope < 0) & jnp.isfinite(slope)
        p = jnp.where(follow, p, -g)
        p = jnp.where(jnp.all(jnp.isfinite(p)), p, 0)  # even a step of length 0 along NaN would be NaN
        memory = jax.tree.map(lambda new, first: jnp.where(follow, new, first), memory, rule.init(at.x))
        return p, DirectionState(at.x, g, p, jnp.where(follow, state.age + 1, 1), memory)

    return optax.chain(on_vectors(init, update), guarded(linesearch))


def guarded(linesearch: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Returns a line search that takes no step if the given one ends with a larger or non-finite loss."""
    linesearch = optax.with_extra_args_support(linesearch)

    def update(updates, state, params, *, value, grad, value_fn, **extra):
        with jax.numpy_dtype_promotion("standard"):  # optax's line searches require it
            step, state = linesearch.update(updates, state, params, value=value, grad=grad, value_fn=value_fn, **extra)
            stored = optax.tree.get(state, "value")
            reached = value_fn(optax.apply_updates(params, step), **extra) if stored is None else stored
            slack = ROUNDING_IN_EPS * float(jnp.finfo(jnp.asarray(reached).dtype).eps)
            good = jnp.isfinite(reached) & (reached <= value + slack * jnp.abs(value))
            if stored is not None:  # infinite: makes `optax.value_and_grad_from_state` evaluate again
                state = optax.tree.set(state, value=jnp.where(good, stored, jnp.inf))
        return jax.tree.map(lambda leaf: jnp.where(good, leaf, 0), step), state

    return optax.GradientTransformationExtraArgs(linesearch.init, cast(Any, update))
