"""Levenberg-Marquardt training: full-batch, by damped Gauss-Newton steps.

    (JᵀJ + μ I) δ = −Jᵀe,    x ← x + δ

J is the Jacobian of the residuals with respect to all weights and biases, through all loops and delays. One trainer
step is one accepted step: JᵀJ is summed over the data once and reused for all trials of μ.

Weight decay is part of F: for F = c Σ w e² + c' Σ x² the residuals √(c'/c) x are added, so that the step minimizes F.

Hagan & Menhaj (1994), IEEE Transactions on Neural Networks 5(6); Hagan et al., *Neural Network Design*, 2nd ed.,
ch. 12.
"""

from collections.abc import Mapping
from typing import cast

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from lddn_jax.losses import AbstractLeastSquares
from lddn_jax.trainers.damped import AbstractDamped, loss_of_network
from lddn_jax.trainers.damping import damped_step
from lddn_jax.training.state_parameters import Trained
from lddn_jax.training.state_registry import register_trainer_state
from lddn_jax.training.trainer import Problem


class State(eqx.Module):
    """Trainer state: μ, and ν of Nielsen's schedule."""

    mu: Float[Array, "..."]
    nu: Float[Array, "..."]


register_trainer_state("levenberg-marquardt", State)


class LevenbergMarquardt(AbstractDamped):
    """Trains by Levenberg-Marquardt, with the defaults of MATLAB's `trainlm`.

    Args:
        mu: Initial damping.
        mu_dec: Factor of the damping after an accepted step.
        mu_inc: Factor of the damping after a rejected trial.
        mu_max: Training stops ("mu_max") when the damping exceeds this.
        min_grad: Training stops ("min_grad") when the norm of the gradient of F is this small.
        solver: "cholesky" of JᵀJ + μI; or "qr" of the stacked system, slower, without squaring the condition number.
        damping: "textbook", with constant factors; or "nielsen", by the ratio of actual to predicted decrease.
        restarts: Number of networks trained in parallel in one compiled program: the given one, and others with random
            initial weights. The best one by validation loss, or by training loss, is returned.
        init_of_restarts: Initializer of the other networks; see `Network`.
        allow_float32: Whether to train float32 networks. JᵀJ squares the condition number, which leaves about three
            digits.
        memory: Maximum size of a stored Jacobian in bytes. RTRL, the default gradient method, never stores one.

    Raises:
        LDDNError: If a number is out of range, or a name is unknown.

    The gradient method given to `fit` computes J; the default is `RTRL()`. Info: `loss`, `gradient_norm`, `mu` (after
    the step), `rejected` (number of rejected trials) and `non_finite` (number of trials that gave NaN or infinity).

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear")],
        ...                          [lddn.Connection("u", to="y", delays=(0, 1))], ["y"])
        >>> u = jax.random.normal(jax.random.key(0), (50, 1))
        >>> net, teacher = (lddn.Network(topology, key=jax.random.key(k)) for k in (0, 1))
        >>> trainer = lddn.LevenbergMarquardt(allow_float32=True)
        >>> fitted = lddn.fit(net, lddn.Sequences(u, lddn.predict(teacher, u)), lddn.losses.SumSquaredError(), trainer)
        >>> bool(jnp.allclose(fitted.net.IW["y", "u"], teacher.IW["y", "u"], atol=1e-4))
        True
    """

    def check(self, net: Trained, problem: Problem) -> None:
        """Raises an LDDNError unless the loss is a sum of squares, and a PrecisionError for a float32 network."""
        self.check_squares(net, problem)

    def init(self, net: Trained, problem: Problem) -> State:
        """Returns the initial μ and ν."""
        return State(jnp.asarray(self.mu, net.dtype), jnp.asarray(2.0, net.dtype))

    def step(
        self, net: Trained, state: State, problem: Problem, key: PRNGKeyArray
    ) -> tuple[Trained, State, dict[str, Shaped[Array, ""]]]:
        """Takes one step, with as many trials of μ as needed."""
        loss = cast(AbstractLeastSquares, problem.loss)
        x, unravel = net.ravel()
        factor, decay = loss.factors(problem.targets, net.parameter_count, problem.weights)
        normal = self.sums(net, problem)
        if loss.regularization:
            is_weight = jnp.arange(x.size) < net.parameter_count  # the rest are initial states
            normal = normal.with_decay(x, jnp.where(is_weight, decay / factor, 0))
        loss_of = loss_of_network(problem, net)

        def value_of(x):
            return loss_of(unravel(x)) / factor

        trial = damped_step(self.settings, normal, x, value=normal.eTe, value_of=value_of, mu=state.mu, nu=state.nu)
        info = {
            "loss": factor * normal.eTe,
            "gradient_norm": 2 * factor * jnp.sqrt(jnp.sum(normal.JTe**2)),
            "mu": trial.mu,
            "rejected": trial.rejected,
            "non_finite": trial.non_finite,
        }
        return unravel(trial.x), State(trial.mu, trial.nu), info

    def stop_reason(self, info: Mapping[str, float]) -> str | None:
        """Returns "min_grad" or "mu_max" if no further progress is possible, else None."""
        return self.exhausted(info)
