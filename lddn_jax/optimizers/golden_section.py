"""Golden section search along a direction: bracket a minimum, shrink the bracket, and end with a parabola."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from lddn_jax.checks import checked
from lddn_jax.optimizers.vectors import Point, on_vectors

GOLDEN_SECTION = (3 - 5**0.5) / 2  # 0.382: the shorter part of an interval divided by the golden ratio


class GoldenSectionState(NamedTuple):
    """State of the search.

    Attributes:
        learning_rate: α, the step along the direction.
        value: F(x + α p).
        failed: Whether no smaller loss was found; then α = 0 and no step is taken.
        first_step: The first α of the next search.
        evaluations: Number of loss evaluations of this search.
    """

    learning_rate: Float[Array, ""]
    value: Float[Array, ""]
    failed: Bool[Array, ""]
    first_step: Float[Array, ""]
    evaluations: Int[Array, ""]


class Bracket(NamedTuple):
    """Three steps a < b < c and their losses; b is the best so far, c is infinite until the loss increases."""

    a: Float[Array, ""]
    b: Float[Array, ""]
    c: Float[Array, ""]
    value_a: Float[Array, ""]
    value_b: Float[Array, ""]
    value_c: Float[Array, ""]
    evaluations: Int[Array, ""]
    done: Bool[Array, ""]


def golden_section_search(
    delta: float = 0.01, tolerance: float = 2.0, max_step: float = 100.0, max_evaluations: int = 20
) -> optax.GradientTransformationExtraArgs:
    """A derivative-free line search (MATLAB's `srchgol`).

        min_α F(x + α p)

    Starting from the α of the last search, steps are doubled while the loss falls, or divided by ten until it does, so
    that a < b < c with F(a) ≥ F(b) ≤ F(c). The larger of (a, b) and (b, c) is divided by the golden ratio until c − a ≤
    `tolerance` b, and the last trial is the minimum of the parabola through the three points. The best point found is
    returned, never one with a larger or non-finite loss.

    Measured on a parabola, on Rosenbrock's function in 2 and 10 dimensions and on three NARX networks, shrinking the
    bracket further costs more than it saves: with `tolerance=0.25`, conjugate gradients need 1.4 and BFGS 1.6 times the
    evaluations. To shrink the bracket as far as the book does, use about 0.05. `delta` and `max_step` are MATLAB's;
    MATLAB's tolerance is absolute, delta / 20. The gradient at the new point is left to the next update.

    Args:
        delta: The first α of the first search, and of a search after one that failed.
        tolerance: The width of the bracket, relative to its best point, at which shrinking ends.
        max_step: The largest α.
        max_evaluations: The largest number of loss evaluations of a search.

    Returns:
        A transformation that scales a direction, for the end of a chain, as `optax.scale_by_backtracking_linesearch`.

    Raises:
        LDDNError: If a number is not finite or not positive.

    Example:
        >>> steepest = optax.chain(optax.scale(-1.0), golden_section_search())
        >>> def loss(x):
        ...     return (x - 3) ** 2
        >>> x = jnp.array(0.0)
        >>> value, grad = jax.value_and_grad(loss)(x)
        >>> step, _ = steepest.update(grad, steepest.init(x), x, value=value, grad=grad, value_fn=loss)
        >>> round(float(x + step), 5)
        3.0

    Hagan, Demuth, Beale & De Jesús (2014), *Neural Network Design*, 2nd ed., ch. 12 (interval location and reduction).
    """
    method = "golden_section_search"
    tolerance = checked(method, "tolerance", tolerance, 2.0, above=0)
    max_step = checked(method, "max_step", max_step, 100.0, above=0)
    max_evaluations = checked(method, "max_evaluations", max_evaluations, 20, at_least=1)
    delta = min(checked(method, "delta", delta, 0.01, above=0), max_step)

    def init(x):
        zero = jnp.zeros((), x.dtype)
        first = jnp.asarray(delta, x.dtype)
        return GoldenSectionState(zero, zero + jnp.inf, jnp.asarray(False), first, jnp.zeros((), jnp.int32))

    def update(at: Point, state: GoldenSectionState):
        p = at.updates

        def narrow(k: Bracket):
            return (k.b > 0) & (k.c - k.a <= tolerance * k.b)

        def trial(k: Bracket):
            closer = jnp.where(jnp.isinf(k.c), state.first_step, 0.1 * k.c)
            further = jnp.minimum(2 * k.b, max_step)
            section = k.b + GOLDEN_SECTION * jnp.where(k.c - k.b > k.b - k.a, k.c - k.b, k.a - k.b)
            left, right = (k.b - k.a) * (k.value_b - k.value_c), (k.b - k.c) * (k.value_b - k.value_a)
            lowest = k.b - ((k.b - k.a) * left - (k.b - k.c) * right) / (2 * (left - right))
            inside = jnp.where(narrow(k) & (k.a < lowest) & (lowest < k.c), lowest, section)
            return jnp.where(k.b == 0, closer, jnp.where(jnp.isinf(k.c), further, inside))

        def narrowed(k: Bracket):
            alpha = trial(k)
            value = at.loss(at.x + alpha * p)
            value = jnp.where(jnp.isfinite(value), value, jnp.inf)
            # A better trial becomes the best point and the old one an end of the bracket; otherwise the trial does.
            better = value < k.value_b
            end, value_end = jnp.where(better, k.b, alpha), jnp.where(better, k.value_b, value)
            best, value_best = jnp.where(better, alpha, k.b), jnp.where(better, value, k.value_b)
            is_left = end < best
            evaluations = k.evaluations + 1
            return Bracket(
                a=jnp.where(is_left, end, k.a),
                b=best,
                c=jnp.where(is_left, k.c, end),
                value_a=jnp.where(is_left, value_end, k.value_a),
                value_b=value_best,
                value_c=jnp.where(is_left, k.value_c, value_end),
                evaluations=evaluations,
                done=narrow(k) | (evaluations >= max_evaluations) | (best >= max_step),
            )

        zero, inf = jnp.zeros((), at.x.dtype), jnp.full((), jnp.inf, at.x.dtype)
        start = Bracket(
            a=zero,
            b=zero,
            c=inf,
            value_a=at.value,
            value_b=at.value,
            value_c=inf,
            evaluations=jnp.zeros((), jnp.int32),
            done=jnp.asarray(False),
        )
        found = jax.lax.while_loop(lambda k: ~k.done, narrowed, start)
        failed = found.b == 0
        first = jnp.where(failed, jnp.asarray(delta, at.x.dtype), found.b)
        step = jnp.where(failed, 0, found.b * p)  # p may be infinite
        return step, GoldenSectionState(found.b, found.value_b, failed, first, found.evaluations)

    return on_vectors(init, update)
