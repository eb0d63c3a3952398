"""Levenberg-Marquardt: full-batch training of any network by damped Gauss-Newton steps.

    (JᵀJ + μ I) δ = −Jᵀe,    x ← x + δ

J is that of the residuals with respect to all weights and biases, through every loop and delay. One step of the trainer
is one accepted step: JᵀJ is summed over the record once, and serves all trials of μ.

Weight decay is part of F: with F = c Σ w e² + c' Σ x² the residuals √(c'/c) x are added, so that the step is that of F.

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
    """What the next step needs: μ, and ν of Nielsen's schedule."""

    mu: Float[Array, "..."]
    nu: Float[Array, "..."]


register_trainer_state("levenberg-marquardt", State)


class LevenbergMarquardt(AbstractDamped):
    """Trains by Levenberg-Marquardt steps (MATLAB's `trainlm`, whose defaults these are).

    Args:
        mu: Damping at the start.
        mu_dec: Its factor after a step that made F smaller.
        mu_inc: Its factor after a trial that did not.
        mu_max: Damping at which training stops ("mu_max").
        min_grad: Norm of the gradient of F at which training stops ("min_grad").
        solver: "cholesky" of JᵀJ + μI; or "qr" of the stacked system, slower, which does not square its condition.
        damping: "textbook", by constant factors; or "nielsen", by the ratio of actual and expected gain.
        restarts: Number of networks that are trained side by side in one compiled program: the given one, and others
            drawn anew with the key given to `fit`. The best by validation loss, or by loss, is returned.
        init_of_restarts: How the others are drawn; see `Network`.
        allow_float32: Whether a float32 network may be trained; JᵀJ squares the condition number, so about three digits
            are left.
        memory: Bytes that a Jacobian may take, if it has to be stored; that of `RTRL`, the default, has not.

    Raises:
        LDDNError: If a number or a name makes no sense.

    The gradient method given to `fit` provides J; without one it is `RTRL()`. Info: `loss`, `gradient_norm`, `mu`
    (after the step), `rejected`, the number of trials that failed, and `non_finite`, how many of them left the finite
    numbers.

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
        """Raises an LDDNError if the loss is no sum of squares, and a PrecisionError for a float32 network."""
        self.check_squares(net, problem)

    def init(self, net: Trained, problem: Problem) -> State:
        """Returns μ and ν."""
        return State(jnp.asarray(self.mu, net.dtype), jnp.asarray(2.0, net.dtype))

    def step(
        self, net: Trained, state: State, problem: Problem, key: PRNGKeyArray
    ) -> tuple[Trained, State, dict[str, Shaped[Array, ""]]]:
        """Takes one step: as many trials of μ as it needs."""
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
        """Returns "min_grad" or "mu_max" where there is nothing left to gain."""
        return self.exhausted(info)
