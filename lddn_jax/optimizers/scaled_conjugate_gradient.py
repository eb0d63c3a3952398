"""Scaled conjugate gradients: step lengths from an estimate of the curvature, without a line search."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from lddn_jax.checks import checked
from lddn_jax.optimizers.vectors import Point, Vector, dot, on_vectors

# Lower bound of Δ, also used for a non-finite trial: λ grows so that the next step along the same direction is about a
# hundredth of this one. Without a bound, one huge loss would cost hundreds of steps of reducing λ.
LOWEST_COMPARISON = -99.0


class ScaledConjugateGradientState(NamedTuple):
    """State of the method, in the notation of the paper.

    Attributes:
        direction: p_k.
        residual: r_k = −∇F(w_k).
        curvature: δ_k = p_k'(H + λ_k I) p_k, with the Hessian H made positive definite.
        lambda_: λ_{k+1}.
        lambda_bar: λ̄_{k+1}, the part of λ that is included in `curvature`.
        comparison: Δ_k, the decrease of the loss divided by the decrease of its quadratic model.
        success: Whether the last trial was accepted; if not, no step was taken.
        steps: Number of steps taken; rejected trials do not count.
    """

    direction: Vector
    residual: Vector
    curvature: Float[Array, ""]
    lambda_: Float[Array, ""]
    lambda_bar: Float[Array, ""]
    comparison: Float[Array, ""]
    success: Bool[Array, ""]
    steps: Int[Array, ""]


def scaled_conjugate_gradient(sigma: float = 5e-5, lambda_: float = 5e-7) -> optax.GradientTransformationExtraArgs:
    """Møller's scaled conjugate gradients (MATLAB's `trainscg`, with its defaults).

        p_k = r_k + β_k p_{k−1},      β_k = (r_k'r_k − r_k'r_{k−1}) / p_{k−1}'r_{k−1},      r = −∇F(w)
        δ_k = p_k'[∇F(w_k + σ_k p_k) − ∇F(w_k)] / σ_k + λ_k |p_k|²,     σ_k = σ / |p_k|
        w_{k+1} = w_k + (μ_k / δ_k) p_k,     μ_k = p_k'r_k

    λ is raised until δ is positive, lowered after steps that the quadratic model predicted well, and raised after steps
    that it predicted badly; a trial with a larger or non-finite loss is rejected. An update costs one gradient for the
    curvature, except after a rejected trial, and one loss for the trial. p = r every n steps, n the number of
    parameters, and also if p is not a descent direction, a case that the paper does not treat.

    Args:
        sigma: σ, the distance along p for estimating the curvature by a difference.
        lambda_: The initial λ.

    Returns:
        A transformation; `update` takes `value`, `grad` and `value_fn`, as in `optax.lbfgs`.

    Raises:
        LDDNError: If a number is not finite or not positive.

    Example:
        On a parabola in one dimension, the first step is Newton's.

        >>> def loss(w):
        ...     return 3 * (w - 2) ** 2
        >>> scg, w = scaled_conjugate_gradient(), jnp.array(5.0)
        >>> value, grad = jax.value_and_grad(loss)(w)
        >>> step, state = scg.update(grad, scg.init(w), w, value=value, grad=grad, value_fn=loss)
        >>> round(float(w + step), 3), bool(state.success)
        (2.0, True)

    Møller (1993), "A scaled conjugate gradient algorithm for fast supervised learning", Neural Networks 6(4). Numbers
    in the comments of the code are the steps of its algorithm.
    """
    sigma = checked("scaled_conjugate_gradient", "sigma", sigma, 5e-5, above=0)
    lambda_ = checked("scaled_conjugate_gradient", "lambda_", lambda_, 5e-7, above=0)

    def init(x):  # 1
        nothing, zero = jnp.zeros_like(x), jnp.zeros((), x.dtype)
        first = jnp.asarray(lambda_, x.dtype)
        return ScaledConjugateGradientState(
            direction=nothing,
            residual=nothing,
            curvature=zero,
            lambda_=first,
            lambda_bar=zero,
            comparison=zero,
            success=jnp.asarray(True),
            steps=jnp.zeros((), jnp.int32),
        )

    def update(at: Point, state: ScaledConjugateGradientState):
        # 7, the part that needs the gradient at the new point
        r = -at.updates
        beta = (dot(r, r) - dot(r, state.residual)) / dot(state.direction, state.residual)
        p = r + jnp.where(state.steps % r.size == 0, 0, beta) * state.direction
        p = jnp.where(dot(p, r) > 0, p, r)  # on a quadratic function p is always a descent direction
        p = jnp.where(state.success, p, state.direction)
        mu, pp = dot(p, r), dot(p, p)
        pp = jnp.where(pp > 0, pp, 1)  # p = 0 at a stationary point

        def second_order():  # 2
            sigma_k = sigma / jnp.sqrt(pp)
            slope = jax.grad(at.loss)(at.x + sigma_k * p) - at.gradient
            delta = dot(p, slope) / sigma_k
            return jnp.where(jnp.isfinite(delta), delta, pp)

        lam, bar = state.lambda_, state.lambda_bar
        delta = jax.lax.cond(state.success, second_order, lambda: state.curvature)
        delta = delta + (lam - bar) * pp  # 3
        indefinite = delta <= 0  # 4
        raised = 2 * (lam - delta / pp)
        delta, lam = jnp.where(indefinite, -delta + lam * pp, delta), jnp.where(indefinite, raised, lam)
        alpha = mu / delta  # 5
        trial = at.loss(at.x + alpha * p)
        comparison = 2 * (at.value - trial) / (alpha * mu)  # 6, without μ², which underflows
        comparison = jnp.where(jnp.isfinite(trial) & (comparison > LOWEST_COMPARISON), comparison, LOWEST_COMPARISON)
        comparison = jnp.where(mu == 0, 1, comparison)  # stationary point: neither predicted nor actual decrease
        success = comparison >= 0  # 7
        bar = jnp.where(success, 0, lam)
        shrunk = jnp.where(comparison >= 0.75, lam / 4, lam)
        grown = shrunk + delta * (1 - comparison) / pp  # 8
        lam = jnp.where(comparison < 0.25, grown, shrunk)
        lam = jnp.maximum(lam, jnp.finfo(lam.dtype).eps * lambda_)  # λ = 0 could not grow where δ is 0
        step, steps = jnp.where(success, alpha * p, 0), jnp.where(success, state.steps + 1, state.steps)
        return step, ScaledConjugateGradientState(
            direction=p,
            residual=r,
            curvature=delta,
            lambda_=lam,
            lambda_bar=bar,
            comparison=comparison,
            success=success,
            steps=steps,
        )

    return on_vectors(init, update)
