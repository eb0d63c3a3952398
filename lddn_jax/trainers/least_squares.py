"""Levenberg-Marquardt for general nonlinear least squares.

    minimize F(x) = Σ r(x)²

It takes the same damped steps as the trainer of networks, with the Jacobian of a function by `jax.jacfwd`. Parameters
may differ widely in scale, so by default D holds the largest norms of the columns of J so far (Moré 1978), and steps
are computed by QR factorization.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from lddn_jax.checks import check_positive
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.gradients.gauss_newton import GaussNewton
from lddn_jax.network.replacement import up_to_date
from lddn_jax.numerics.contraction import einsum
from lddn_jax.trainers.damping import Damping, damped_step
from lddn_jax.training.stop_reason import StopReason

REASONS = ("max_steps", "goal", "min_grad", "mu_max", "small_step", "small_gain", "non_finite")


class LeastSquares(eqx.Module):
    """Result of `levenberg_marquardt`.

    Attributes:
        parameters: The minimizer, in the structure of the initial parameters.
        value: Σ r² at the minimizer.
        gradient_norm: Largest |cosine| between the residuals and a column of J, which is independent of units.
        mu: Damping after the last step.
        steps: Number of steps taken.
        rejected: Number of rejected trials.
        reason: Index into `REASONS`.
    """

    parameters: PyTree[Float[Array, "..."]]
    value: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    mu: Float[Array, ""]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    reason: Int[Array, ""]

    @property
    def stop_reason(self) -> StopReason:
        """Why the iteration stopped; compares equal to its name."""
        return StopReason(REASONS[int(self.reason)])

    @property
    def success(self) -> bool:
        """True if residuals and Jacobian stayed finite."""
        return self.stop_reason.success


class _State(eqx.Module):
    x: Float[Array, " parameters"]
    value: Float[Array, ""]
    cosine: Float[Array, ""]
    mu: Float[Array, ""]
    nu: Float[Array, ""]
    D: Float[Array, " parameters"]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    reason: Int[Array, ""]


def levenberg_marquardt(
    residual_fn: Callable[[Any], PyTree[Float[Array, "..."]]],
    parameters: PyTree[Float[ArrayLike, "..."]],
    *,
    mu: float = 1e-3,
    mu_dec: float = 0.1,
    mu_inc: float = 10.0,
    mu_max: float = 1e20,
    min_grad: float = 1e-12,
    goal: float = 0.0,
    tolerance: float = 1e-14,
    max_steps: int = 1000,
    solver: str = "qr",
    damping: str = "textbook",
    scaled: bool = True,
) -> LeastSquares:
    """Minimizes a sum of squared residuals.

    Args:
        residual_fn: Function from parameters to residuals, a pytree of arrays; differentiable by `jax.jacfwd`.
        parameters: Initial parameters, a pytree of floating-point arrays.
        mu: Initial damping.
        mu_dec: Factor of the damping after a success.
        mu_inc: Factor of the damping after a failure.
        mu_max: Largest damping that is tried.
        min_grad: Stop if the largest |cosine| between residuals and a column of J is this small.
        goal: Stop if Σ r² is this small.
        tolerance: Stop if the relative length of a step ("small_step") or the relative decrease of Σ r² ("small_gain")
            is this small.
        max_steps: Maximum number of steps.
        solver: "qr" or "cholesky".
        damping: "textbook" or "nielsen".
        scaled: If True, D holds the norms of the columns of J; if False, D is the identity.

    Returns:
        `LeastSquares`.

    Raises:
        LDDNError: If a number is out of range, or a name is unknown.
        DataError: If there is no residual.

    Example:
        >>> import jax.numpy as jnp
        >>> rosenbrock = lambda x: jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])
        >>> found = levenberg_marquardt(rosenbrock, jnp.array([-1.2, 1.0]))
        >>> bool(jnp.allclose(found.parameters, 1.0, atol=1e-3))
        True

    Levenberg (1944); Marquardt (1963); Moré (1978), Lecture Notes in Mathematics 630.
    """
    if not callable(residual_fn):
        raise LDDNError(
            f"residual_fn={residual_fn!r} is not callable; write levenberg_marquardt(residual_fn, parameters) with a "
            "function from parameters to residuals."
        )
    check_positive("max_steps", max_steps)
    leaves = jax.tree.leaves(parameters)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in leaves):
        raise LDDNError(
            f"parameters={parameters!r} must be a pytree of floating-point arrays, such as jnp.array([1.0, 2.0])."
        )
    settings = Damping(mu, mu_dec, mu_inc, mu_max, solver, damping)
    return _minimize(
        residual_fn,
        parameters,
        settings,
        min_grad=min_grad,
        goal=goal,
        tolerance=tolerance,
        max_steps=max_steps,
        scaled=scaled,
    )


def minimized(
    residual_fn: Callable[[Any], PyTree[Float[Array, "..."]]],
    parameters: PyTree[Float[Array, "..."]],
    settings: Damping,
    *,
    min_grad: float | Float[Array, ""] = 1e-12,
    goal: float | Float[Array, ""] = 0.0,
    tolerance: float | Float[Array, ""] = 1e-14,
    max_steps: int | Int[Array, ""] = 1000,
    scaled: bool = True,
) -> LeastSquares:
    """The minimization of `levenberg_marquardt` inside a compiled program, which may map it over several problems."""
    start, unravel = ravel_pytree(parameters)

    def residuals(x):
        return ravel_pytree(residual_fn(unravel(x)))[0]

    if jax.eval_shape(residuals, start).size == 0:
        raise DataError(
            "residual_fn returned no residual, so there is nothing to minimize; return at least one number."
        )

    def value_of(x):
        return jnp.sum(residuals(x) ** 2)

    def linear(x):
        r, J = residuals(x), jax.jacfwd(residuals)(x)
        if settings.needs_factor:
            Q, R = jnp.linalg.qr(jnp.concatenate([J, jnp.zeros((x.size, x.size), x.dtype)]))  # rows >= columns
            QTr = einsum("mp,m->p", Q[: r.size], r)
        else:
            R = QTr = None
        return r, J, GaussNewton(einsum("mp,mq->pq", J, J), einsum("mp,m->p", J, r), jnp.sum(r * r), R, QTr)

    def step(state: _State) -> _State:
        r, J, normal = linear(state.x)
        lengths = jnp.sqrt(jnp.sum(J * J, axis=0))
        D = jnp.maximum(state.D, lengths) if scaled else state.D
        safe = jnp.where(lengths > 0, lengths, 1)
        cosine = jnp.max(jnp.abs(normal.JTe) / safe) / jnp.maximum(jnp.sqrt(state.value), jnp.finfo(r.dtype).tiny)
        usable = jnp.where(D > 0, D, 1)
        trial = damped_step(
            settings,
            normal,
            state.x,
            value=state.value,
            value_of=value_of,
            mu=state.mu,
            nu=state.nu,
            D=usable,
        )
        gain = (state.value - trial.value) / jnp.maximum(state.value, jnp.finfo(r.dtype).tiny)
        size = jnp.sqrt(jnp.sum((usable * trial.x) ** 2))
        reason = jnp.select(
            [
                ~jnp.isfinite(state.value) | ~jnp.all(jnp.isfinite(J)),
                cosine <= min_grad,
                trial.value <= goal,
                ~trial.accepted,
                trial.length <= tolerance * size,
                gain <= tolerance,
                state.steps + 1 >= max_steps,
            ],
            [jnp.asarray(REASONS.index(name)) for name in _ORDER],
            jnp.asarray(-1),
        )
        stay = (reason == REASONS.index("min_grad")) | (reason == REASONS.index("non_finite"))
        return _State(
            x=jnp.where(stay, state.x, trial.x),
            value=jnp.where(stay, state.value, trial.value),
            cosine=cosine,
            mu=trial.mu,
            nu=trial.nu,
            D=D,
            steps=state.steps + jnp.where(stay, 0, 1),
            rejected=state.rejected + trial.rejected,
            reason=reason,
        )

    dtype = start.dtype
    first = _State(
        x=start,
        value=value_of(start),
        cosine=jnp.asarray(jnp.inf, dtype),
        mu=jnp.asarray(settings.mu, dtype),
        nu=jnp.asarray(2.0, dtype),
        D=jnp.zeros_like(start) if scaled else jnp.ones_like(start),
        steps=jnp.asarray(0),
        rejected=jnp.zeros((), jnp.int32),
        reason=jnp.asarray(-1),
    )
    found = jax.lax.while_loop(lambda state: state.reason < 0, step, first)
    return LeastSquares(
        parameters=unravel(found.x),
        value=found.value,
        gradient_norm=found.cosine,
        mu=found.mu,
        steps=found.steps,
        rejected=found.rejected,
        reason=found.reason,
    )


_minimize = up_to_date(eqx.filter_jit(minimized))
_ORDER = ("non_finite", "min_grad", "goal", "mu_max", "small_step", "small_gain", "max_steps")
