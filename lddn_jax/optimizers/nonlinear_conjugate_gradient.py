"""Nonlinear conjugate gradients with a line search.

    p_k = −g_k + β_k p_{k−1}

On a quadratic function in n dimensions, with exact line searches, every rule for β reaches the minimum within n steps.
The rules differ on other functions, and in their restarts: from −g every n steps, or, with Powell's restarts, as soon
as two successive gradients are far from orthogonal.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from lddn_jax.errors import LDDNError
from lddn_jax.optimizers.directions import Past, Rule, searched
from lddn_jax.optimizers.vectors import Vector, dot

RESTART_OVERLAP = 0.2  # |g_{k−1}'g_k| / |g_k|² from which gradients count as far from orthogonal (Powell 1977)
DESCENT_RATIOS = (0.8, 1.2)  # allowed range of −p_k'g_k / |g_k|² (Powell 1977)


def conjugate_gradient(
    update: str = "fletcher-reeves", linesearch: optax.GradientTransformation | None = None
) -> optax.GradientTransformationExtraArgs:
    """Nonlinear conjugate gradients (MATLAB's `traincgf`, `traincgp`, `traincgb`).

        "fletcher-reeves"    β = g_k'g_k / g_{k−1}'g_{k−1}
        "polak-ribiere"      β = g_k'y / g_{k−1}'g_{k−1}         y = g_k − g_{k−1}
        "hestenes-stiefel"   β = g_k'y / p_{k−1}'y
        "powell-beale"       p_k = −g_k + (g_k'y / p_{k−1}'y) p_{k−1} + (g_k'y_t / p_t'y_t) p_t

    The first three restart from −g every n steps, n the number of parameters. The last keeps p_t, the direction before
    its last restart, and y_t = g_{t+1} − g_t; it restarts, with t = k − 1 and without the third term, if
    |g_{k−1}'g_k| ≥ 0.2 |g_k|², if k − t ≥ n, or if p_k'g_k is not near −|g_k|². All four restart from −g if p is not a
    descent direction.

    Args:
        update: The rule. "powell-beale" needs the fewest steps on most problems.
        linesearch: A transformation that scales a direction; `golden_section_search()` if None. Conjugacy requires a
            nearly exact search. `optax.scale_by_zoom_linesearch` needs `curv_rtol=0.1` and then 1.3 to 3 times the
            evaluations (a gradient counted as one more); with its default of 0.9, meant for quasi-Newton methods,
            quadratic functions and NARX networks were not solved in hundreds of steps.

    Returns:
        A transformation; `update` takes `value`, `grad` and `value_fn`, as in `optax.lbfgs`.

    Raises:
        LDDNError: If the rule is unknown, or the line search is not an optax transformation.

    Example:
        >>> import lddn_jax as lddn
        >>> trainer = lddn.Optax(conjugate_gradient("powell-beale"))

    Fletcher & Reeves (1964); Polak & Ribière (1969); Hestenes & Stiefel (1952); Beale (1972); Powell (1977),
    Mathematical Programming 12.
    """
    if update not in UPDATES:
        raise LDDNError(f"conjugate_gradient(update={update!r}) is unknown; choose one of {list(UPDATES)}.")
    return searched(UPDATES[update], linesearch)


def fletcher_reeves(g: Vector, past: Past) -> Float[Array, ""]:
    """Returns β of Fletcher and Reeves."""
    return dot(g, g) / dot(past.gradient, past.gradient)


def polak_ribiere(g: Vector, past: Past) -> Float[Array, ""]:
    """Returns β of Polak and Ribière."""
    return dot(g, past.y) / dot(past.gradient, past.gradient)


def hestenes_stiefel(g: Vector, past: Past) -> Float[Array, ""]:
    """Returns β of Hestenes and Stiefel."""
    return dot(g, past.y) / dot(past.direction, past.y)


def two_terms(beta: Callable[[Vector, Past], Float[Array, ""]]) -> Rule:
    """Returns the rule p = −g + β p_{k−1}, with p = −g every n steps."""

    def direction(g, past, memory):
        return -g + jnp.where(past.age % g.size == 0, 0, beta(g, past)) * past.direction, memory

    return Rule(lambda x: (), direction)


class Restart(NamedTuple):
    """p_t, y_t and k − t of the last restart."""

    direction: Vector
    y: Vector
    age: Int[Array, ""]


def three_terms() -> Rule:
    """Returns Beale's rule with Powell's restarts."""

    def init(x):
        return Restart(jnp.zeros_like(x), jnp.zeros_like(x), jnp.zeros((), jnp.int32))

    def direction(g, past, last):
        two = -g + hestenes_stiefel(g, past) * past.direction
        three = two + dot(g, last.y) / dot(last.direction, last.y) * last.direction
        low, high = (part * dot(g, g) for part in DESCENT_RATIOS)
        kept = last._replace(age=last.age + 1)
        restart = (past.age == 1) | (kept.age >= g.size)
        restart |= jnp.abs(dot(past.gradient, g)) >= RESTART_OVERLAP * dot(g, g)
        restart |= ~((low <= -dot(three, g)) & (-dot(three, g) <= high))
        here = Restart(past.direction, past.y, jnp.ones((), jnp.int32))
        return jax.tree.map(lambda a, b: jnp.where(restart, a, b), (two, here), (three, kept))

    return Rule(init, direction)


UPDATES = MappingProxyType(
    {
        "fletcher-reeves": two_terms(fletcher_reeves),
        "polak-ribiere": two_terms(polak_ribiere),
        "hestenes-stiefel": two_terms(hestenes_stiefel),
        "powell-beale": three_terms(),
    }
)
