"""A damped Gauss-Newton step, and how the damping follows from what the step achieved.

With residuals e(x), J = ∂e/∂x and F = eᵀe, the step solves

    (JᵀJ + μ D²) δ = −Jᵀe

which is a Gauss-Newton step for μ → 0 and a short one down the gradient for μ → ∞. D is the identity, or the lengths of
J's columns. If F(x + δ) is smaller the step is taken and μ falls; if not, or if it is no finite number, μ rises and the
same JᵀJ is solved again.

    textbook   μ ← μ · mu_dec after a success,    μ · mu_inc after a failure
    nielsen    μ ← μ · max(1/3, 1 − (2ρ − 1)³), ν ← 2;    μ ← μ ν, ν ← 2ν       ρ = (F − F(x+δ)) / δᵀ(μ D² δ − Jᵀe)

Hagan & Menhaj (1994); Nielsen (1999), IMM-REP-1999-05; Moré (1978), Lecture Notes in Mathematics 630, for D.
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from lddn_jax.checks import check_choice, is_number
from lddn_jax.errors import LDDNError
from lddn_jax.gradients.gauss_newton import GaussNewton
from lddn_jax.numerics.contraction import einsum

TRIALS = 100  # of one step; reached only where mu_max is out of reach
SMALLEST = 1e-20  # of μ, so that it can rise again within a few trials


def by_cholesky(normal: GaussNewton, mu: Array, D: Array) -> Array:
    """Solves by the Cholesky factor of JᵀJ + μ D²; not finite where that is not positive definite."""
    factor = jax.scipy.linalg.cho_factor(normal.JTJ + jnp.diag(mu * D * D), lower=True)
    return -jax.scipy.linalg.cho_solve(factor, normal.JTe)


def by_qr(normal: GaussNewton, mu: Array, D: Array) -> Array:
    """Solves the stacked system [J; √μ D] δ ≈ [−e; 0] by QR, without squaring its condition number."""
    assert normal.R is not None and normal.QTe is not None  # noqa: PT018 - asked for by `needs_factor`
    Q, R = jnp.linalg.qr(jnp.concatenate([normal.R, jnp.diag(jnp.sqrt(mu) * D)]))
    right = einsum("mp,m->p", Q[: D.size], normal.QTe)
    return -jax.scipy.linalg.solve_triangular(R, right)


def textbook(settings: "Damping", mu: Array, nu: Array, accepted: Array, gain: Array) -> tuple[Array, Array]:
    """A constant factor down after a success, another one up after a failure."""
    return jnp.where(accepted, mu * settings.mu_dec, mu * settings.mu_inc), nu


def nielsen(settings: "Damping", mu: Array, nu: Array, accepted: Array, gain: Array) -> tuple[Array, Array]:
    """Down by what the gain tells, up faster and faster."""
    down = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
    return jnp.where(accepted, mu * down, mu * nu), jnp.where(accepted, jnp.full_like(nu, 2), 2 * nu)


SOLVERS: dict[str, Callable[[GaussNewton, Array, Array], Array]] = {"cholesky": by_cholesky, "qr": by_qr}
SCHEDULES: dict[str, Callable[..., tuple[Array, Array]]] = {"textbook": textbook, "nielsen": nielsen}


class Damping(eqx.Module):
    """How steps are damped.

    Attributes:
        mu: μ at the start.
        mu_dec: Factor after a success, below 1.
        mu_inc: Factor after a failure, above 1.
        mu_max: μ beyond which there is nothing to be gained.
        solver: A key of `SOLVERS`.
        schedule: A key of `SCHEDULES`.

    Raises:
        LDDNError: If a number or a name makes no sense.
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
        """Whether steps are computed from R and Qᵀe."""
        return SOLVERS[self.solver] is by_qr


class Trial(eqx.Module):
    """Where the search for a step stands.

    Attributes:
        x: The parameters: the new ones if a step was accepted, else the old ones.
        value: F there.
        mu: μ for the next step.
        nu: Nielsen's ν.
        rejected: Number of rejected trials.
        non_finite: How many of them were not finite: the step, or F there.
        accepted: Whether a step was taken.
        length: ‖D δ‖ of the last trial.
    """

    x: Array
    value: Array
    mu: Array
    nu: Array
    rejected: Array
    non_finite: Array
    accepted: Array
    length: Array


def damped_step(
    settings: Damping,
    normal: GaussNewton,
    x: Array,
    *,
    value: Array,
    value_of: Callable[[Array], Array],
    mu: Array,
    nu: Array,
    D: Array | None = None,
) -> Trial:
    """Tries steps with more and more damping until one makes F smaller, or μ exceeds mu_max.

    Args:
        settings: How to damp.
        normal: JᵀJ and Jᵀe at x.
        x: Parameters, `(parameters,)`.
        value: F(x) = eᵀe.
        value_of: F as a function of x.
        mu: μ to begin with.
        nu: Nielsen's ν.
        D: Lengths of columns; ones if None.
    """
    D = jnp.ones_like(x) if D is None else D
    solve, follow = SOLVERS[settings.solver], SCHEDULES[settings.schedule]

    def searching(trial: Trial) -> Array:
        return ~trial.accepted & (trial.mu <= settings.mu_max) & (trial.rejected < TRIALS)

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
            mu=jnp.maximum(jnp.where(jnp.isfinite(mu), mu, jnp.asarray(jnp.inf, x.dtype)), SMALLEST),
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
