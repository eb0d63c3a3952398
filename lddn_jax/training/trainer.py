"""The trainer interface, and the `Problem` that a trainer minimizes.

A trainer is two pure functions: `init` returns its initial state, `step` maps a network and a state to the next ones.
Its *state* is what the next step needs; its *info* is what is recorded for the user. All trainers share one loop,
`fit`.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, PyTree, Shaped

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.api import differentiable, prepare_data
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.losses import AbstractLoss, check_counted, error_weights
from lddn_jax.network.network import Network, stack_axes
from lddn_jax.network.signals import SequencesLike, Signals, check_finite
from lddn_jax.network.trained_elements import only_parameters_moved
from lddn_jax.simulation.delays import DelayState
from lddn_jax.training.state_parameters import Started, Trained


class Problem(eqx.Module):
    """The problem that a trainer minimizes: data, loss and gradient method, checked and with one batch axis.

    A trainer that needs a loss and a gradient calls `value_and_grad(net)` or `value(net)`. A trainer on residuals calls
    `parts(net)`, and uses the loss and the gradient method directly.

    Attributes:
        loss: The loss, minimized as `loss.value(net, outputs, targets, weights)`.
        gradient: The gradient method.
        inputs: `(sequences, time, size)` by name of input.
        targets: `(sequences, time, size)` by output layer; NaN where missing.
        state: `(sequences, longest delay, size)` by source: the delay state that each sequence starts from.
        weights: Error weights, `(sequences, time, size)` by output layer; None if all are 1.
        steps: Number of time steps.
        chosen: Indices of these sequences among all sequences, `(sequences,)`; None for all.
        trains_state: True if the delay lines of layers are trained, as the state of a `Started`.
    """

    loss: AbstractLoss
    gradient: AbstractGradient
    inputs: Signals
    targets: Signals
    state: DelayState
    weights: Signals | None
    steps: int = eqx.field(static=True)
    chosen: Int[Array, " sequences"] | None = None
    trains_state: bool = eqx.field(default=False, static=True)

    @classmethod
    def of(
        cls,
        loss: AbstractLoss,
        net: Network,
        data: SequencesLike,
        gradient: AbstractGradient,
        call: str = "fit(net, data, loss, trainer)",
        name: str = "data",
    ) -> "Problem":
        """Checks data against a network, as `value_and_grad` does, and merges its batch axes into one.

        Args:
            loss: The loss.
            net: The network.
            data: `Sequences`.
            gradient: The gradient method.
            call: The signature shown in errors.
            name: The name of the data in errors.
        """
        inputs, targets, state, weights, steps = prepare_data(loss, net, data, call, name)
        check_values(inputs, targets, state)
        check_counted(targets, weights, f"{call}: {name}")
        if weights is not None:
            weights = error_weights(weights, targets)
        some = next(iter(targets.values()))
        count = math.prod(some.shape[:-2])

        def flat(signal):
            if signal.ndim == 2:  # by NumPy, so that nothing is compiled before all checks have passed
                return jax.device_put(np.asarray(signal)[None])
            return signal.reshape(count, *signal.shape[-2:])

        inputs, targets, state, weights = jax.tree.map(flat, (inputs, targets, state, weights))
        trains_state = getattr(data, "train_state", False)
        return cls(
            loss=loss,
            gradient=gradient,
            inputs=inputs,
            targets=targets,
            state=state,
            weights=weights,
            steps=steps,
            trains_state=trains_state,
        )

    @property
    def sequences(self) -> int:
        """Number of sequences."""
        return next(iter(self.targets.values())).shape[0]

    def parts(self, trained: Trained) -> tuple[Network, DelayState]:
        """Returns the network and the initial delay state of the sequences."""
        if not isinstance(trained, Started):
            return trained, self.state
        own = trained.state
        if self.chosen is not None:
            own = {name: line[self.chosen] for name, line in own.items()}
        return trained.net, self.state | own

    def drawn(self, number: int | Integer[Array | np.ndarray, ""]) -> "Problem":
        """Returns the problem with a new random key for a stochastic gradient method; unchanged for any other."""
        gradient = self.gradient.drawn(number)
        return self if gradient is self.gradient else dataclasses.replace(self, gradient=gradient)

    def value(self, trained: Trained) -> Float[Array, ""]:
        """Returns the loss; reverse-mode differentiation of it uses the gradient method."""
        net, state = self.parts(trained)
        outputs = differentiable(self.gradient)(net, self.inputs, state, steps=self.steps)
        return self.loss.value(net, outputs, self.targets, self.weights)

    def value_and_grad(self, trained: Trained) -> tuple[Float[Array, ""], Trained]:
        """Returns the loss and its gradient."""
        return jax.value_and_grad(self.value)(trained)

    def take(self, index: Int[Array, " count"], known: Bool[Array, " count"] | None = None) -> "Problem":
        """Returns the problem on a subset of the sequences.

        Args:
            index: Indices of the sequences, `(count,)`.
            known: `(count,)`, False for padding entries of `index`, whose targets are masked. None if there are none.
        """
        inputs, targets, state, weights = jax.tree.map(
            lambda signal: signal[index], (self.inputs, self.targets, self.state, self.weights)
        )
        loss = self.loss
        if known is not None:
            targets = {name: jnp.where(known[:, None, None], target, jnp.nan) for name, target in targets.items()}
            loss = dataclasses.replace(loss, missing="mask")
        chosen = index if self.trains_state else None
        of = dataclasses.replace(self, inputs=inputs, targets=targets, state=state, weights=weights)
        return dataclasses.replace(of, loss=loss, chosen=chosen)


def check_values(inputs: Signals, targets: Signals, state: DelayState) -> None:
    """Raises a DataError if a value is infinite in the dtype of the network, or NaN, which only a target may be.

    Args:
        inputs: `(*batch, time, size)` by input.
        targets: `(*batch, time, size)` by output layer; NaN where missing.
        state: `(*batch, longest delay, size)` by source.
    """
    check_finite("input", inputs)
    check_finite("target", targets, missing=True)
    check_finite("delay state of", state)


class AbstractTrainer(eqx.Module):
    """Base class of trainers; pass one to `fit`.

    Attributes:
        default_gradient: Gradient method used if `fit` is given none.
        default_epochs: Number of steps taken if `fit` is given none.
        restarts: Number of networks trained in parallel, stacked with their states on a leading axis. `init` and `step`
            take a single network; `fit` maps them over that axis. A trainer without this setting declares
            `restarts: ClassVar[int] = 1`.
        init_of_restarts: Initializer of the networks other than the given one; see `Network`.
        always_finite: Columns of info (`name`, or `name: group`) that stop training ("non_finite") if they become NaN
            or infinite.
        not_compiled: Settings that neither `init` nor `step` reads. They are None there, so that trainers which differ
            in nothing else share one compiled program.
    """

    default_gradient: ClassVar[AbstractGradient] = BPTT()
    default_epochs: ClassVar[int] = 100
    always_finite: ClassVar[tuple[str, ...]] = ("loss", "gradient_norm")
    not_compiled: ClassVar[tuple[str, ...]] = ("init_of_restarts",)
    init_of_restarts = "nguyen-widrow"  # without an annotation: a trainer may declare it as a field, in its own order
    restarts: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self, net: Trained, problem: Problem) -> PyTree:
        """Returns the initial state: a pytree of the arrays that a step needs besides the network."""

    @abc.abstractmethod
    def step(
        self, net: Trained, state: PyTree, problem: Problem, key: PRNGKeyArray
    ) -> tuple[Trained, PyTree, dict[str, Shaped[Array, ""]]]:
        """Takes one step (for mini-batches: one pass over all of them).

        The step is compiled: no Python branch may depend on the value of an array, and the returned network and state
        must have the shapes and dtypes of the given ones.

        Args:
            net: The current network, a pytree of arrays; `jax.tree.map` works on it together with its gradient.
                `net.ravel()` returns its flat vector and the inverse function. With `train_state=True` the initial
                states are leaves too.
            state: The current trainer state.
            problem: The problem to minimize.
            key: Random key for this step.

        Returns:
            The new network, the new state, and info: scalars by name, which become columns of the history. Info must
            contain `loss`, the loss of `net` before the step.
        """

    def check(self, net: Trained, problem: Problem) -> None:
        """Raises an LDDNError if the trainer cannot be used for this network and problem."""

    def stop_reason(self, info: Mapping[str, float]) -> str | None:
        """Returns the stop reason if training should end after this step, else None.

        Args:
            info: Info of the step for one network, as plain numbers.

        Returns:
            A `StopReason`, built in or new, or the name of a built-in one.
        """
        return None

    def rank(self, state: PyTree, scores: Float[np.ndarray, " restarts"]) -> Float[np.ndarray, " restarts"]:
        """Returns the scores that restarts are ranked by, `(restarts,)`, smaller is better. By default their losses.

        Args:
            state: Final trainer states, stacked.
            scores: Final losses, `(restarts,)`; infinite where a loss became NaN or infinite.
        """
        return scores

    def starts(self, net: Trained, key: PRNGKeyArray) -> Trained:
        """Returns `restarts` stacked networks: the given one, and others with random initial weights.

        Initial states `(sequences, longest delay, size)` are those of every network; states with a leading axis of
        `restarts` belong to the networks one by one.

        Raises:
            LDDNError: If stacked networks are given and their number is not `restarts`.
        """
        if isinstance(net, Started):
            nets = cast(Network, self.starts(net.net, key))
            each = {
                name: line if line.ndim == 4 else jnp.broadcast_to(line, (self.restarts, *line.shape))
                for name, line in net.state.items()
            }
            return Started(nets, each)
        given = math.prod(stack_axes(net))
        if given != 1:
            if given != self.restarts:
                raise LDDNError(f"restarts={self.restarts}, but {given} networks are stacked; write restarts={given}.")
            return net
        keys = jax.random.split(key, self.restarts - 1)
        others = [Network(net.topology, key=k, init=self.init_of_restarts, dtype=net.dtype) for k in keys]
        others = [only_parameters_moved(other, net) for other in others]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), net, *others)
