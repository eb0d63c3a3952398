"""Damped Gauss-Newton step, with the damping adapted to the success of the step.

With residuals e(x), J = ∂e/∂x and F = eᵀe, the step solves

    (JᵀJ + μ D²) δ = −Jᵀe

which is a Gauss-Newton step for μ → 0 and a short gradient descent step for μ → ∞. D is the identity, or the norms of
the columns of J. If F(x + δ) < F(x), the step is accepted and μ is decreased. Otherwise, or if F(x + δ) is not finite,
μ is increased and the system is solved again with the same JᵀJ.

    textbook   μ ← μ · mu_dec after a success,    μ · mu_inc after a failure
    nielsen    μ ← μ · max(1/3, 1 − (2ρ − 1)³), ν ← 2;    μ ← μ ν, ν ← 2ν       ρ = (F − F(x+δ)) / δᵀ(μ D² δ − Jᵀe)

Hagan & Menhaj (1994); Nielsen (1999), IMM-REP-1999-05; Moré (1978), Lecture Notes in Mathematics 630, for D.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lddn_jax.checks import check_choice, is_number
from lddn_jax.errors import LDDNError
from lddn_jax.gradients.gauss_newton import GaussNewton
from lddn_jax.numerics.contraction import einsum

TRIALS_OF_A_STEP = 100  # bounds the search if mu_max is very large
SMALLEST_MU = 1e-20  # lower bound of μ, so that it can increase again within a few trials


Solver: TypeAlias = Callable[[GaussNewton, Float[Array, ""], Float[Array, " parameters"]], Float[Array, " parameters"]]
Schedule: TypeAlias = Callable[..., tuple[Float[Array, ""], Float[Array, ""]]]


def by_cholesky(
    normal: GaussNewton, mu: Float[Array, ""], D: Float[Array, " parameters"]
) -> Float[Array, " parameters"]:
    """Solves by Cholesky factorization of JᵀJ + μ D²; not finite if that is not positive definite."""
    factor = jax.scipy.linalg.cho_factor(normal.JTJ + jnp.diag(mu * D * D), lower=True)
    return -jax.scipy.linalg.cho_solve(factor, normal.JTe)


def by_qr(normal: GaussNewton, mu: Float[Array, ""], D: Float[Array, " parameters"]) -> Float[Array, " parameters"]:
    """Solves the stacked system [J; √μ D] δ ≈ [−e; 0] by QR, without squaring its condition number."""
    assert normal.R is not None and normal.QTe is not None  # noqa: PT018 - computed because of `needs_factor`
    Q, R = jnp.linalg.qr(jnp.concatenate([normal.R, jnp.diag(jnp.sqrt(mu) * D)]))
    right = einsum("mp,m->p", Q[: D.size], normal.QTe)
    return -jax.scipy.linalg.solve_triangular(R, right)


def textbook(
    settings: "Damping", mu: Float[Array, ""], nu: Float[Array, ""], accepted: Bool[Array, ""], gain: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Multiplies μ by a constant after a success, and by another one after a failure."""
    return jnp.where(accepted, mu * settings.mu_dec, mu * settings.mu_inc), nu


def nielsen(
    settings: "Damping", mu: Float[Array, ""], nu: Float[Array, ""], accepted: Bool[Array, ""], gain: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Decreases μ depending on the gain ratio, and increases it by a factor that doubles with each failure."""
    down = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
    return jnp.where(accepted, mu * down, mu * nu), jnp.where(accepted, jnp.full_like(nu, 2), 2 * nu)


SOLVERS: dict[
    str, Callable[[GaussNewton, Float[Array, ""], Float[Array, " parameters"]], Float[Array, " parameters"]]
] = {"cholesky": by_cholesky, "qr": by_qr}
SCHEDULES: dict[str, Schedule] = {
    "textbook": textbook,
    "nielsen": nielsen,
}


class Damping(eqx.Module):
    """Settings of the damped step.

    Attributes:
        mu: Initial μ.
        mu_dec: Factor of μ after a success, below 1.
        mu_inc: Factor of μ after a failure, above 1.
        mu_max: Largest μ that is tried.
        solver: A key of `SOLVERS`.
        schedule: A key of `SCHEDULES`.

    Raises:
        LDDNError: If a number is out of range, or a name is unknown.
    """

    mu: float = eqx.field(default=1e-3, static=True)
    mu_dec: float = eqx.field(default=0.1, static=True)
    mu_inc: float = eqx.field(default=10.0, static=True)
    mu_max: float = eqx.field(default=1e10, static=True)
    solver: str = eqx.field(default="cholesky", static=True)
    schedule: str = eqx.field(default="textbook", static=True)

    def __check_init__(self):
        for name, above, below, needed in (
            ("mu", 0, math.inf, "positive"),
            ("mu_dec", 0, 1, "between 0 and 1"),
            ("mu_inc", 1, math.inf, "larger than 1"),
            ("mu_max", self.mu, math.inf, f"larger than mu={self.mu!r}"),
        ):
            given = getattr(self, name)
            if not is_number(given, above=above, below=below):
                raise LDDNError(f"{name}={given!r} must be a number, {needed}.")
        check_choice("solver", self.solver, SOLVERS)
        check_choice("schedule", self.schedule, SCHEDULES)

    @property
    def needs_factor(self) -> bool:
        """True if steps are computed from R and Qᵀe."""
        return SOLVERS[self.solver] is by_qr


class Trial(eqx.Module):
    """State of the search for a step.

    Attributes:
        x: Parameters after the step; the old ones if no step was accepted.
        value: F(x).
        mu: μ for the next step.
        nu: Nielsen's ν.
        rejected: Number of rejected trials.
        non_finite: Number of trials whose step or F was not finite.
        accepted: True if a step was accepted.
        length: ‖D δ‖ of the last trial.
    """

    x: Float[Array, " parameters"]
    value: Float[Array, ""]
    mu: Float[Array, ""]
    nu: Float[Array, ""]
    rejected: Int[Array, ""]
    non_finite: Int[Array, ""]
    accepted: Bool[Array, ""]
    length: Float[Array, ""]


def damped_step(
    settings: Damping,
    normal: GaussNewton,
    x: Float[Array, " parameters"],
    *,
    value: Float[Array, ""],
    value_of: Callable[[Float[Array, " parameters"]], Float[Array, ""]],
    mu: Float[Array, ""],
    nu: Float[Array, ""],
    D: Float[Array, " parameters"] | None = None,
) -> Trial:
    """Tries steps with increasing damping until one decreases F, or μ exceeds mu_max.

    Args:
        settings: Settings of the damping.
        normal: JᵀJ and Jᵀe at x.
        x: Parameters, `(parameters,)`.
        value: F(x) = eᵀe.
        value_of: F as a function of x.
        mu: Initial μ.
        nu: Nielsen's ν.
        D: Scale of each parameter, `(parameters,)`; ones if None.
    """
    D = jnp.ones_like(x) if D is None else D
    solve, follow = SOLVERS[settings.solver], SCHEDULES[settings.schedule]

    def searching(trial: Trial) -> Bool[Array, ""]:
        return ~trial.accepted & (trial.mu <= settings.mu_max) & (trial.rejected < TRIALS_OF_A_STEP)

    def attempt(trial: Trial) -> Trial:
        step = solve(normal, trial.mu, D)
        there = value_of(x + step)
        finite = jnp.isfinite(there) & jnp.all(jnp.isfinite(step))
        accepted = finite & (there < value)
        expected = jnp.sum(step * (trial.mu * D * D * step - normal.JTe))
        mu, nu = follow(settings, trial.mu, trial.nu, accepted, (value - there) / expected)
        return Trial(
            x=jnp.where(accepted, x + step, x),
            value=jnp.where(accepted, there, value),
            mu=jnp.maximum(jnp.where(jnp.isfinite(mu), mu, jnp.asarray(jnp.inf, x.dtype)), SMALLEST_MU),
            nu=nu,
            rejected=trial.rejected + (~accepted).astype(trial.rejected.dtype),
            non_finite=trial.non_finite + (~finite).astype(trial.non_finite.dtype),
            accepted=accepted,
            length=jnp.sqrt(jnp.sum((D * step) ** 2)),
        )

    none, nothing = jnp.zeros((), jnp.int32), jnp.zeros((), x.dtype)
    start = Trial(
        x=x, value=value, mu=mu, nu=nu, rejected=none, non_finite=none, accepted=jnp.zeros((), bool), length=nothing
    )
    return jax.lax.while_loop(searching, attempt, start)
