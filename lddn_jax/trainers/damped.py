"""Base class of trainers with damped Gauss-Newton steps: settings, checks and the sums JᵀJ and Jᵀe of a step.

`damping.py` has the step itself, for any JᵀJ; `LevenbergMarquardt` and `BayesianRegularization` are built on both.
"""

from collections.abc import Callable, Mapping
from typing import cast

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from lddn_jax.checks import check_not_negative, check_positive
from lddn_jax.errors import LDDNError, PrecisionError, fix
from lddn_jax.gradients.gauss_newton import JACOBIAN_BYTES, GaussNewton, check_jacobian, check_system, sums
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.losses import AbstractLeastSquares
from lddn_jax.network import initializers
from lddn_jax.network.initializers import Initializer
from lddn_jax.network.network import Network
from lddn_jax.numerics.platform import Platform, one_at_a_time
from lddn_jax.simulation.simulate import predict
from lddn_jax.topology.plan import plan
from lddn_jax.trainers.damping import Damping
from lddn_jax.training.state_parameters import Started, Trained, network_of
from lddn_jax.training.trainer import AbstractTrainer, Problem


class AbstractDamped(AbstractTrainer):
    """Base class of trainers on JᵀJ; see `LevenbergMarquardt` for the arguments."""

    mu: float = eqx.field(default=1e-3, static=True)
    mu_dec: float = eqx.field(default=0.1, static=True)
    mu_inc: float = eqx.field(default=10.0, static=True)
    mu_max: float = eqx.field(default=1e10, static=True)
    min_grad: float = eqx.field(default=1e-7, static=True)
    solver: str = eqx.field(default="cholesky", static=True)
    damping: str = eqx.field(default="textbook", static=True)
    restarts: int = eqx.field(default=1, static=True)
    init_of_restarts: str | Initializer = eqx.field(default="nguyen-widrow", static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    allow_float32: bool = eqx.field(default=False, static=True)
    memory: int = eqx.field(default=JACOBIAN_BYTES, static=True)

    default_gradient = RTRL()
    default_epochs = 1000
    not_compiled = ("init_of_restarts", "min_grad", "allow_float32", "memory")

    def __check_init__(self):
        check_positive("restarts", self.restarts)
        check_positive("memory", self.memory, most=2**63)
        check_not_negative("min_grad", self.min_grad)
        initializers.get(self.init_of_restarts)
        _ = self.settings

    @property
    def settings(self) -> Damping:
        """Settings of the damped step."""
        return Damping(self.mu, self.mu_dec, self.mu_inc, self.mu_max, self.solver, self.damping)

    def check_squares(self, net: Trained, problem: Problem) -> None:
        """Raises an LDDNError unless the loss is a sum of squares, and a PrecisionError for a float32 network."""
        name = type(self).__name__
        if not isinstance(problem.loss, AbstractLeastSquares):
            raise LDDNError(
                f"{name} needs a loss that is a sum of squares; {type(problem.loss).__name__} is not one. "
                "Use lddn.losses.MeanSquaredError(), or train with lddn.Optax(...)."
            )
        if net.dtype != jnp.float64 and not self.allow_float32:
            raise PrecisionError(
                f"{name} on a {jnp.dtype(net.dtype).name} network: JᵀJ squares the condition number, which "
                'leaves few digits. Call jax.config.update("jax_enable_x64", True) before the first array is made, or '
                f"write lddn.{name}(allow_float32=True)."
            )
        self._check_system(network_of(net), problem)
        if not isinstance(problem.gradient, RTRL):
            check_jacobian(network_of(net), problem.sequences * problem.steps, self.memory, problem.gradient)

    def _check_system(self, net: Network, problem: Problem) -> None:
        """Raises an LDDNError if JᵀJ and its factor take more memory than there is."""
        states = {name: line for name, line in problem.state.items() if name not in net.topology.input_names}
        trained = sum(line.size for line in states.values()) if problem.trains_state else 0
        together = min(self.restarts, Platform.of(problem.inputs, problem.targets).group_size or self.restarts)
        fewer = fix(", or restarts=1", ", or --restarts 1") if together > 1 else ""
        adam = fix('Settings(trainer="adam") in identify, lddn.Optax(optax.adam(1e-3)) in fit', "fit --trainer adam")
        remedy = f"Train by first-order steps ({adam}), or use fewer neurons, inputs or delays{fewer}."
        check_system(net, net.parameter_count + trained, together, remedy)

    def sums(self, trained: Trained, problem: Problem) -> GaussNewton:
        """Returns JᵀJ, Jᵀe and eᵀe, and the triangular factor of J if the solver needs it."""
        p, loss, (net, state) = problem, cast(AbstractLeastSquares, problem.loss), problem.parts(trained)
        layers = tuple(sorted(trained.state)) if isinstance(trained, Started) else ()
        factor = self.settings.needs_factor
        return sums(
            net,
            loss,
            p.inputs,
            p.targets,
            state,
            p.weights,
            steps=p.steps,
            method=p.gradient,
            factor=factor,
            trained=layers,
        )

    def exhausted(self, info: Mapping[str, float]) -> str | None:
        """Returns "min_grad" or "mu_max" if no further progress is possible, else None."""
        if info["gradient_norm"] <= self.min_grad:
            return "min_grad"
        return "mu_max" if info["mu"] > self.mu_max else None


def loss_of_network(problem: Problem, net: Trained) -> Callable[[Trained], Float[Array, ""]]:
    """Returns the loss as a function of networks like `net`, in a form that is efficient under `vmap`."""

    def value_at(trained, p):
        net, state = p.parts(trained)
        outputs = predict(net, p.inputs, state, steps=p.steps)
        return p.loss.value(net, outputs, p.targets, p.weights)

    # A recurrent network is a loop over time, which takes all networks at once; others fit the cache one at a time.
    value_of = value_at if plan(net.topology).loops else one_at_a_time(value_at)
    return lambda net: value_of(net, problem)
