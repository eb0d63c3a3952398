"""Bayesian regularization: weight decay whose strength is re-estimated from the data, by the evidence.

    F(x) = β E_D + Σ_c α_c E_c,        E_D = Σ e²,    E_c = Σ (x − m)² over group c of the parameters

A Levenberg-Marquardt step reduces F; then α and β are re-estimated at the new parameters, as derived in
`evidence.py`:

    (JᵀJ + A/β + μ I) δ = −(Jᵀe + A (x − m)/β),    x ← x + δ
    γ_c = P_c − 2α_c tr_c H⁻¹,    α_c ← γ_c / (2 E_c),    β ← (N − γ) / (2 E_D)

(F is divided by β, so that μ has the same scale as without a prior.) μ damps the step and is not part of
H = 2β JᵀJ + 2A: the evidence does not depend on how the minimum is found. All records are used for training, without a
validation part, because the prior keeps weights near m (zero, unless `prior_mean` is given) that the data do not
determine. Parameters may also have no prior at all (`flat_prior.py`): a network started from a linear model is to stay
near that model where the data say no more, and not near zero.

Foresee & Hagan (1997), ICNN, 1930-1935; MacKay (1992), Neural Computation 4(3) 448-472; Hagan et al., *Neural Network
Design*, 2nd ed., ch. 13.
"""

import dataclasses
import logging
import numbers
from collections.abc import Mapping
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from lddn_jax.bayesian.evidence import Counts, Floors, Spectrum, Strengths, re_estimate
from lddn_jax.bayesian.groups import Excluded, Groups, Labelling, as_excluded, check_excluded, labelling
from lddn_jax.checks import check_not_negative, is_number
from lddn_jax.errors import LDDNError
from lddn_jax.gradients.gauss_newton import GaussNewton
from lddn_jax.losses import AbstractLeastSquares, counted
from lddn_jax.network.network import Network, check_network
from lddn_jax.trainers.damped import AbstractDamped, loss_of_network
from lddn_jax.trainers.damping import damped_step
from lddn_jax.training.state_parameters import Trained
from lddn_jax.training.state_registry import register_trainer_state
from lddn_jax.training.trainer import Problem

_logger = logging.getLogger("lddn_jax")

CALM_STEPS = 3  # consecutive re-estimates without change before training stops: one step may be short for other reasons
ROUNDING_IN_EPS = 16  # multiple of the machine epsilon below which differences of F are rounding
FAR_FROM_UNIT_SCALE = 10.0  # factor by which a signal's root mean square may differ from 1 without a warning


class State(eqx.Module):
    """State of the trainer between steps; `lddn_jax.posterior` reads it too.

    Attributes:
        mu: μ.
        nu: Nielsen's ν.
        strengths: α of each group and β.
        gamma: γ of each group, `(groups,)`.
        log_evidence: log p(D | α, β), computed like γ with the α and β used in the last step.
        found: JᵀJ, Jᵀe and E_D at the current parameters.
        floors: Which limits were active in the last re-estimate.
        settled: Number of consecutive re-estimates with a change below `tolerance`.
        prior_mean: m, the mean of the prior, `(parameters,)`; None for zero.
        groups: The parameters of each α.
    """

    mu: Float[Array, "..."]
    nu: Float[Array, "..."]
    strengths: Strengths
    gamma: Float[Array, "... groups"]
    log_evidence: Float[Array, "..."]
    found: GaussNewton
    floors: Floors
    settled: Int[Array, "..."]
    prior_mean: Float[Array, "... parameters"] | None
    groups: Groups = eqx.field(static=True)

    @property
    def alpha(self) -> Float[Array, "... groups"]:
        """α of each group, `(groups,)`."""
        return self.strengths.alpha

    @property
    def beta(self) -> Float[Array, "..."]:
        """β; the variance of the noise is 1/(2β)."""
        return self.strengths.beta


def _like(described: Mapping[str, Any]) -> State:
    one, row, square = jnp.zeros(()), jnp.zeros(1), jnp.zeros((1, 1))
    no, count = jnp.zeros((), bool), jnp.zeros((), int)
    found = GaussNewton(square, row, one, *((square, row) if described["factor"] else ()))
    floors, groups = Floors(no, no, no[None], no[None]), Groups.from_dict(described["groups"])
    return State(
        mu=one,
        nu=one,
        strengths=Strengths(row, one),
        gamma=row,
        log_evidence=one,
        found=found,
        floors=floors,
        settled=count,
        prior_mean=row if described.get("prior_mean", False) else None,
        groups=groups,
    )


register_trainer_state(
    "bayesian-regularization",
    State,
    described=lambda state: {
        "groups": dataclasses.asdict(state.groups),
        "factor": state.found.R is not None,
        "prior_mean": state.prior_mean is not None,
    },
    like=_like,
)


class BayesianRegularization(AbstractDamped):
    """Levenberg-Marquardt training on β E_D + Σ α_c E_c, with α and β from the evidence (MATLAB's `trainbr`).

    The defaults are those of `trainbr`. Scale inputs and targets to about unit size first (`lddn.data.MinMax`,
    `lddn.data.Standard`): one prior for all weights is meaningful only then.

    Args:
        mu, mu_dec, mu_inc, mu_max, min_grad: As in `LevenbergMarquardt`; the gradient is that of F.
        groups: Which parameters share an α: "all", "layer", "connection", "delay", "source", or a function of
            (to, source, delay) that returns the group's name; see `lddn_jax.bayesian.groups.Groups.of`.
        update: "every_step" (Foresee & Hagan), or "inner_converged" (MacKay): α and β are re-estimated once another
            step would gain less than `inner_tolerance` in F.
        tolerance: Training stops ("converged") after three consecutive re-estimates that change γ/P, log α (times
            γ_c/P_c), log β and log evidence (over N) by less than this.
        inner_tolerance: See `update`.
        start: The initial α, as a multiple of the value estimated from the initial weights. 1 leads to a good optimum
            more often if the network has more neurons than necessary; 0.01 preserves the nonlinear parts if the data
            are almost free of noise. If unsure, compare the evidence.
        solver: "cholesky"; or "qr", slower, which computes steps and γ from the triangular factor of J.
        prior_mean: A network of the same topology whose parameters the prior pulls to; None for zero.
        exclude: Parameters without a prior: connections `(to, source)`, delays `(to, source, delay)`, and names of
            layers, for their biases; or a function of (to, source, delay) that is True for them. They count in full in
            γ, and belong to the group "no prior" with α = 0.
        restarts: Number of networks trained side by side; the one with the largest evidence is returned.
        damping, init_of_restarts, allow_float32, memory: As in `LevenbergMarquardt`.

    Raises:
        LDDNError: If an argument is invalid; in `fit`, if the loss has weight decay of its own.

    J is computed by the gradient method given to `fit`, by default `RTRL()`. The loss determines the factor between its
    value and E_D. `fitted.state` holds α, β and γ. Info: `loss`, `gradient_norm` (of F), `E_D`, `beta` of the network
    before the step; `gamma`, `log_evidence`, `E_W`, `mu`, `rejected`, `non_finite`, `settled` after it; `alpha`, or
    `alpha: group` and `gamma: group` if there are several groups; `floors`, the number of active limits in the
    re-estimate.

    A network that was started from a linear model, by `lddn.initializers.FromLinear(linear)`, keeps that model without
    prior, while the prior pulls its nonlinear part to zero: `exclude=[*linear.weights(), *linear.biases()]`. Or its
    prior is around the linear model: `prior_mean=net`, the network before training.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...                          [lddn.Connection("u", to="y", delays=(0, 1, 2, 3))], ["y"])
        >>> u, noise = jax.random.normal(jax.random.key(0), (2, 500, 1))
        >>> taps = {("y", "u"): jnp.array([1.0, 0.0, -1.0, 0.0]).reshape(4, 1, 1)}
        >>> teacher = lddn.Network(topology, init="zeros").with_weights(IW=taps)
        >>> data = lddn.Sequences(u, lddn.predict(teacher, u)["y"] + 0.1 * noise)
        >>> trainer = lddn.BayesianRegularization(allow_float32=True)
        >>> net = lddn.Network(topology, key=jax.random.key(1))
        >>> fitted = lddn.fit(net, data, lddn.losses.MeanSquaredError(), trainer, epochs=20)
        >>> round(float(jnp.sqrt(1 / (2 * fitted.state.beta))), 2)  # the standard deviation of the noise
        0.1
        >>> kept = lddn.BayesianRegularization(exclude=[("y", "u", 0)], allow_float32=True)
        >>> fitted = lddn.fit(net, data, lddn.losses.MeanSquaredError(), kept, epochs=20)
        >>> fitted.state.groups.labels, round(float(fitted.state.gamma[1]), 3)
        (('all', 'no prior'), 1.0)

    Foresee & Hagan (1997); MacKay (1992).
    """

    mu: float = eqx.field(default=5e-3, static=True)
    groups: str | Labelling = eqx.field(default="all", static=True)
    update: str = eqx.field(default="every_step", static=True)
    tolerance: float = eqx.field(default=1e-6, static=True)
    inner_tolerance: float = eqx.field(default=1e-3, static=True)
    start: float = eqx.field(default=1.0, static=True)
    prior_mean: Network | None = None
    exclude: Excluded = eqx.field(default=(), static=True, converter=as_excluded)

    always_finite = ("loss", "gradient_norm", "alpha", "beta", "gamma", "log_evidence")

    def __check_init__(self):
        labelling(self.groups)
        check_excluded(self.exclude)
        if self.prior_mean is not None:
            check_network(self.prior_mean, "BayesianRegularization(prior_mean=net)")
        if not is_number(self.start, numbers.Real, above=0, infinite=True):
            raise LDDNError(f"start={self.start!r}, a multiple of the initial α, must be positive.")
        for name in ("tolerance", "inner_tolerance"):
            check_not_negative(name, getattr(self, name))
        if self.update not in ("every_step", "inner_converged"):
            raise LDDNError(f'update={self.update!r}; write update="every_step" or update="inner_converged".')

    def check(self, net: Trained, problem: Problem) -> None:
        """Raises an LDDNError for an unsuitable loss or dtype; logs a warning for signals far from unit scale."""
        self.check_squares(net, problem)
        if problem.trains_state:
            raise LDDNError(
                "BayesianRegularization has no prior for initial states, so it cannot train them; pass measured "
                "states, or start records with a warm-up. LevenbergMarquardt can train them."
            )
        if problem.loss.regularization:
            raise LDDNError(
                f"the loss has regularization={problem.loss.regularization}, but Bayesian regularization estimates its "
                f"own. Write lddn.losses.{type(problem.loss).__name__}(), or train with lddn.LevenbergMarquardt()."
            )
        Groups.of(net.topology, self.groups, self.exclude)
        if self.prior_mean is not None and self.prior_mean.topology != net.topology:
            raise LDDNError(
                "BayesianRegularization: prior_mean has another topology than the network, so its weights are not "
                "those that the prior is to pull to. Carry them over first: prior_mean=lddn.carry_over(other, "
                "net.topology)."
            )
        far = {
            **{f"input {name!r}": _size(signal) for name, signal in problem.inputs.items()},
            **{f"target {name!r}": _size(signal) for name, signal in counted(problem.targets, problem.weights).items()},
        }
        for what, size in far.items():
            if size > 0 and not 1 / FAR_FROM_UNIT_SCALE <= size <= FAR_FROM_UNIT_SCALE:
                _logger.warning(
                    "Bayesian regularization: %s has a root mean square of %.3g. One prior for all weights is "
                    "meaningful only if signals are of about unit size: scale them, scaler = "
                    "lddn.data.MinMax.fit(signal), and pass scaler.apply(signal).",
                    what,
                    size,
                )

    def init(self, net: Trained, problem: Problem) -> State:
        """Returns the first state: α and β estimated from the initial weights and residuals, and JᵀJ there.

        With the initial α = 0 of Foresee & Hagan, a large network fits the noise before it is regularized, and ends in
        a worse optimum more often.
        """
        groups = Groups.of(net.topology, self.groups, self.exclude)
        found, counts = self.sums(net, problem), self._counts(problem)
        x = net.ravel()[0]
        mean = None if self.prior_mean is None else self.prior_mean.ravel()[0].astype(x.dtype)
        E_W, sizes = groups.errors(x, mean), jnp.asarray(groups.sizes, x.dtype)
        # γ = 0: β is estimated from all residuals. Zero initial weights do not determine α; assume weights near 1.
        strengths, floors = re_estimate(jnp.zeros_like(sizes), found.eTe, E_W, counts, groups)
        alpha = jnp.where(groups.has_prior, self.start * sizes / (2 * jnp.where(E_W > 0, E_W, sizes)), 0)
        return State(
            mu=jnp.asarray(self.mu, x.dtype),
            nu=jnp.asarray(2.0, x.dtype),
            strengths=Strengths(alpha, strengths.beta),
            gamma=jnp.zeros_like(alpha),
            log_evidence=jnp.asarray(-jnp.inf, x.dtype),
            found=found,
            floors=floors,
            settled=jnp.asarray(0, jnp.int32),
            prior_mean=mean,
            groups=groups,
        )

    def step(
        self, net: Trained, state: State, problem: Problem, key: PRNGKeyArray
    ) -> tuple[Trained, State, dict[str, Shaped[Array, ""]]]:
        """Takes one step, with as many trials of μ as needed, and re-estimates α, β and γ."""
        groups, old = state.groups, state.strengths
        x, unravel = net.ravel()
        factor = cast(AbstractLeastSquares, problem.loss).factors(problem.targets, x.size, problem.weights)[0]
        decay = groups.spread(old.alpha) / old.beta
        before, mean = state.found, state.prior_mean

        def off(x):
            return x if mean is None else x - mean

        normal = before.with_decay(off(x), decay)
        loss_of = loss_of_network(problem, net)

        def value_of(x):
            return loss_of(unravel(x)) / factor + jnp.sum(decay * off(x) * off(x))

        # Below the rounding error of F, trust the step of the quadratic model.
        slack = ROUNDING_IN_EPS * jnp.finfo(x.dtype).eps * normal.eTe
        trial = damped_step(
            self.settings,
            normal,
            x,
            value=normal.eTe + slack,
            value_of=value_of,
            mu=state.mu,
            nu=state.nu,
        )
        there = unravel(trial.x)
        found, counts = self.sums(there, problem), self._counts(problem)

        spectrum = Spectrum.of(found, old, groups)
        gamma, E_W = spectrum.gamma(groups), groups.errors(trial.x, mean)
        log_evidence = spectrum.log_evidence(old.beta * found.eTe + jnp.sum(old.alpha * E_W), old.beta, counts)
        new, floors = re_estimate(gamma, found.eTe, E_W, counts, groups)
        usable = jnp.all(jnp.isfinite(new.alpha)) & jnp.isfinite(new.beta) & jnp.isfinite(log_evidence)
        if self.update == "inner_converged":
            gradient = 2 * (old.beta * found.JTe + groups.spread(old.alpha) * off(trial.x))
            usable &= (spectrum.decrement(gradient) <= self.inner_tolerance) | ~trial.accepted
        change = _change(state, gamma, log_evidence, new, counts)
        settled = jnp.where(usable, jnp.where(change <= self.tolerance, state.settled + 1, 0), state.settled)
        strengths = jax.tree.map(lambda new, old: jnp.where(usable, new, old), new, old)
        state = State(
            mu=trial.mu,
            nu=trial.nu,
            strengths=strengths,
            gamma=gamma,
            log_evidence=log_evidence,
            found=found,
            floors=floors,
            settled=settled,
            prior_mean=mean,
            groups=groups,
        )
        several = len(groups.labels) > 1
        info = {
            "loss": factor * before.eTe,
            "gradient_norm": 2 * old.beta * jnp.sqrt(jnp.sum(normal.JTe**2)),
            "E_D": before.eTe,
            "beta": old.beta,
            **({} if several else {"alpha": old.alpha[0]}),
            "gamma": jnp.sum(gamma),
            "E_W": jnp.sum(E_W),
            "log_evidence": log_evidence,
            **{f"alpha: {name}": old.alpha[c] for c, name in enumerate(groups.labels) if several and c != groups.flat},
            **{f"gamma: {name}": gamma[c] for c, name in enumerate(groups.labels) if several},
            "mu": trial.mu,
            "rejected": trial.rejected,
            "non_finite": trial.non_finite,
            "settled": settled,
            "floors": sum(jnp.sum(leaf) for leaf in jax.tree.leaves(floors)),
        }
        return there, state, info

    def stop_reason(self, info: Mapping[str, float]) -> str | None:
        """Returns "converged", "min_grad" or "mu_max" if training is finished, else None."""
        if info["settled"] >= CALM_STEPS:
            return "converged"
        return self.exhausted(info)

    def rank(self, state: State, scores: Float[np.ndarray, " restarts"]) -> Float[np.ndarray, " restarts"]:
        """Ranks restarts by their evidence; smaller is better."""
        evidence = np.nan_to_num(np.asarray(state.log_evidence, float), nan=-np.inf)
        return np.where(np.isfinite(scores), -evidence, np.inf)

    def _counts(self, problem: Problem) -> Counts:
        return Counts.of(cast(AbstractLeastSquares, problem.loss), problem.targets, problem.weights)


def _change(
    state: State, gamma: Float[Array, " groups"], log_evidence: Float[Array, ""], new: Strengths, counts: Counts
) -> Float[Array, ""]:
    """The largest relative change of γ, α, β and log evidence in a re-estimate."""
    sizes = jnp.asarray(state.groups.sizes, gamma.dtype)
    # Weighted by γ/P, because α may grow without bound where γ is zero.
    ratio = jnp.where(state.groups.has_prior, new.alpha, 1) / jnp.where(state.groups.has_prior, state.alpha, 1)
    alpha = gamma / sizes * jnp.abs(jnp.log(ratio))
    parts = [
        jnp.abs(gamma - state.gamma) / sizes,
        alpha,
        jnp.abs(jnp.log(new.beta / state.beta))[None],
        jnp.abs((log_evidence - state.log_evidence) / counts.N)[None],
    ]
    return jnp.max(jnp.concatenate(parts))


def _size(signal: Float[ArrayLike, "..."]) -> float:
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.nanmean(np.square(np.asarray(signal, float)))))
