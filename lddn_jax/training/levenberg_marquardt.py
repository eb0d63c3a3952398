"""Levenberg-Marquardt: full-batch training of any network by damped Gauss-Newton steps.

    (JᵀJ + μ I) δ = −Jᵀe,    x ← x + δ

J is that of the residuals with respect to all weights and biases, through every loop and delay. One step of the trainer
is one accepted step: JᵀJ is summed over the record once, and serves all trials of μ.

Weight decay is part of F: with F = c Σ w e² + c' Σ x² the residuals √(c'/c) x are added, so that the step is that of F.

Hagan & Menhaj (1994), IEEE Transactions on Neural Networks 5(6); Hagan et al., *Neural Network Design*, 2nd ed.,
ch. 12.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from lddn_jax.errors import LDDNError, PrecisionError
from lddn_jax.gradients.gauss_newton import MEMORY, check_memory, sums
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.losses import AbstractLeastSquares
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.simulate import predict
from lddn_jax.topology import Topology
from lddn_jax.training.base import AbstractTrainer, Problem, check_positive
from lddn_jax.training.damping import Damping, Normal, damped_step
from lddn_jax.xla import one_at_a_time


class State(eqx.Module):
    """What the next step needs: μ, and ν of Nielsen's schedule."""

    mu: Array
    nu: Array


class LevenbergMarquardt(AbstractTrainer):
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
    (after the step) and `rejected`, the number of trials that failed.

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

    mu: float = eqx.field(default=1e-3, static=True)
    mu_dec: float = eqx.field(default=0.1, static=True)
    mu_inc: float = eqx.field(default=10.0, static=True)
    mu_max: float = eqx.field(default=1e10, static=True)
    min_grad: float = eqx.field(default=1e-7, static=True)
    solver: str = eqx.field(default="cholesky", static=True)
    damping: str = eqx.field(default="textbook", static=True)
    restarts: int = eqx.field(default=1, static=True)
    init_of_restarts: Any = eqx.field(default="nguyen-widrow", static=True)
    allow_float32: bool = eqx.field(default=False, static=True)
    memory: int = eqx.field(default=MEMORY, static=True)

    default_gradient = RTRL()
    default_epochs = 1000

    def __check_init__(self):
        check_positive("restarts", self.restarts)
        check_positive("memory", self.memory)
        if not self.min_grad >= 0:
            raise LDDNError(f"min_grad={self.min_grad!r} must not be negative.")
        _ = self.settings

    @property
    def settings(self) -> Damping:
        """How steps are damped."""
        return Damping(self.mu, self.mu_dec, self.mu_inc, self.mu_max, self.solver, self.damping)

    def check(self, net, problem):
        """Raises an LDDNError if the loss is no sum of squares, and a PrecisionError for a float32 network."""
        check_least_squares("Levenberg-Marquardt", self, net, problem)

    def init(self, net, problem):
        """Returns μ and ν."""
        return State(jnp.asarray(self.mu, net.dtype), jnp.asarray(2.0, net.dtype))

    def step(self, net, state, problem, key):
        """Takes one step: as many trials of μ as it needs."""
        settings, loss, p = self.settings, cast(AbstractLeastSquares, problem.loss), problem
        x, unravel = net.ravel()
        factor, decay = loss.factors(p.targets, net.parameter_count)
        found = sums(
            net, loss, p.inputs, p.targets, p.state, p.weights, p.steps, p.gradient, factor=settings.needs_factor
        )
        normal = Normal(found.JTJ, found.JTe, found.R, found.QTe)
        if loss.regularization:
            normal = normal.with_decay(x, decay / factor)
        value = found.eTe + decay / factor * jnp.sum(x * x)

        loss_of = loss_of_network(problem, net.topology)
        trial = damped_step(settings, normal, x, value, lambda x: loss_of(unravel(x)) / factor, state.mu, state.nu)
        info = {
            "loss": factor * value,
            "gradient_norm": 2 * factor * jnp.sqrt(jnp.sum(normal.JTe**2)),
            "mu": trial.mu,
            "rejected": trial.rejected,
        }
        return unravel(trial.x), State(trial.mu, trial.nu), info

    def stop(self, info: Mapping[str, float]) -> str | None:
        """Returns "min_grad" or "mu_max" where there is nothing left to gain."""
        if info["gradient_norm"] <= self.min_grad:
            return "min_grad"
        return "mu_max" if info["mu"] > self.mu_max else None

    def starts(self, net: Network, key: Array) -> Any:
        """Returns `restarts` networks, stacked: the given one, and others with first weights of their own.

        Raises:
            LDDNError: If stacked networks are given, but not as many.
        """
        return drawn_beside(net, self.restarts, self.init_of_restarts, key)


def check_least_squares(what: str, trainer: Any, net: Network, problem: Problem) -> None:
    """Raises an error unless a trainer that works on JᵀJ can work on this network and problem."""
    if not isinstance(problem.loss, AbstractLeastSquares):
        raise LDDNError(
            f"{what} needs a loss that is a sum of squares; {type(problem.loss).__name__} is none. "
            "Write lddn.losses.MeanSquaredError(), or train with lddn.Optax(...)."
        )
    if net.dtype != jnp.float64 and not trainer.allow_float32:
        raise PrecisionError(
            f"{what} on a {jnp.dtype(net.dtype).name} network: JᵀJ squares the condition number, and "
            'few digits are left. Put jax.config.update("jax_enable_x64", True) before the first array is made, or '
            f"write lddn.{type(trainer).__name__}(allow_float32=True)."
        )
    if not isinstance(problem.gradient, RTRL):
        check_memory(net, problem.sequences * problem.steps, trainer.memory, problem.gradient)


def loss_of_network(problem: Problem, topology: Topology) -> Callable[[Network], Array]:
    """Returns the loss as a function of the network, in the form that suits many networks side by side."""

    def value_at(net, p):
        outputs = predict(net, p.inputs, p.state, steps=p.steps)
        return p.loss.value(net, outputs, p.targets, p.weights)

    # A loop over time is as long for many networks as for one; without a loop, one network fits the cache.
    looped = any(block.chunk is not None for block in plan(topology).blocks)
    value_of = value_at if looped else one_at_a_time(value_at)
    return lambda net: value_of(net, problem)


def drawn_beside(net: Network, restarts: int, init: Any, key: Array) -> Any:
    """Returns `restarts` networks, stacked; arguments and errors are those of `LevenbergMarquardt.starts`."""
    given = sum(leaf.size for leaf in jax.tree.leaves(net)) // max(net.parameter_count, 1)
    if given != 1:
        if given != restarts:
            raise LDDNError(f"restarts={restarts}, but {given} networks are stacked; write restarts={given}.")
        return net
    keys = jax.random.split(key, restarts - 1)
    others = [Network(net.topology, key=k, init=init, dtype=net.dtype) for k in keys]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), net, *others)
