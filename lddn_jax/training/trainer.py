"""What a trainer is, and what it is given.

A trainer is two pure functions: `init` makes its state, `step` turns a network and a state into better ones.
What the next step needs is its *state*; what a person wants to see is its *info*. The loop around it is written
once, in `fit`.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, PyTree, Shaped

from lddn_jax.errors import LDDNError
from lddn_jax.gradients.api import differentiable, prepare_data
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.method import AbstractGradient
from lddn_jax.losses import AbstractLoss, error_weights
from lddn_jax.network.network import Network
from lddn_jax.network.signals import SequencesLike, Signals
from lddn_jax.simulation.delays import DelayState
from lddn_jax.training.state_parameters import Started, Trained, network_of


class Problem(eqx.Module):
    """Data, loss and gradient method, checked and with one batch axis: what a trainer minimizes.

    A trainer that needs a loss and a gradient calls `value_and_grad(net)`, or `value(net)`. One that works on residuals
    calls `parts(net)` and the loss and gradient method themselves.

    Attributes:
        loss: The loss; `loss.value(net, outputs, targets, weights)` is the number to make small.
        gradient: The gradient method.
        inputs: `(sequences, time, size)` by name of input.
        targets: `(sequences, time, size)` by output layer; NaN where missing.
        state: `(sequences, longest delay, size)` by source: the delay state that each sequence starts from.
        weights: Error weights, `(sequences, time, size)` by output layer; None where all are 1.
        steps: Number of time steps.
        chosen: Which of all sequences these are, `(sequences,)`; None for all.
        trains_state: Whether the delay lines of layers are parameters, those of a `Started`.
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
        """Checks data against a network, as `value_and_grad` does, and joins its batch axes to one.

        Args:
            loss: The loss.
            net: The network.
            data: `Sequences`.
            gradient: The gradient method.
            call: How errors write the call, all its arguments in order.
            name: What errors call the data.
        """
        inputs, targets, state, weights, steps = prepare_data(loss, net, data, call, name)
        if weights is not None:
            weights = error_weights(weights, targets)
        some = next(iter(targets.values()))
        count = math.prod(some.shape[:-2])

        def flat(signal):
            if signal.ndim == 2:  # by NumPy, so that nothing is compiled before all checks are passed
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
        """Returns the network and the delay state that the sequences start from."""
        if not isinstance(trained, Started):
            return trained, self.state
        if not self.trains_state:  # other sequences than those whose states are trained
            return trained.net, self.state
        own = trained.state
        if self.chosen is not None:
            own = {name: line[self.chosen] for name, line in own.items()}
        return trained.net, self.state | own

    def drawn(self, number: int | Integer[Array | np.ndarray, ""]) -> "Problem":
        """Returns the problem with another key of a random gradient method; itself where nothing is drawn."""
        gradient = self.gradient.drawn(number)
        return self if gradient is self.gradient else dataclasses.replace(self, gradient=gradient)

    def value(self, trained: Trained) -> Float[Array, ""]:
        """Returns the loss; its reverse-mode derivative is the gradient method's."""
        net, state = self.parts(trained)
        outputs = differentiable(self.gradient)(net, self.inputs, state, steps=self.steps)
        return self.loss.value(net, outputs, self.targets, self.weights)

    def value_and_grad(self, trained: Trained) -> tuple[Float[Array, ""], Trained]:
        """Returns the loss and its gradient."""
        return jax.value_and_grad(self.value)(trained)

    def take(self, index: Int[Array, " count"], known: Bool[Array, " count"] | None = None) -> "Problem":
        """Returns the problem of some sequences only.

        Args:
            index: Which ones, `(count,)`.
            known: False where an entry of `index` is only there to fill up; its targets become don't-cares.
        """
        inputs, targets, state, weights = jax.tree.map(
            lambda signal: signal[index], (self.inputs, self.targets, self.state, self.weights)
        )
        loss = self.loss
        if known is not None:
            targets = {name: jnp.where(known[:, None, None], target, jnp.nan) for name, target in targets.items()}
            loss = dataclasses.replace(loss, missing="mask")
        chosen = index if self.trains_state else None
        return Problem(
            loss=loss,
            gradient=self.gradient,
            inputs=inputs,
            targets=targets,
            state=state,
            weights=weights,
            steps=self.steps,
            chosen=chosen,
            trains_state=self.trains_state,
        )


class AbstractTrainer(eqx.Module):
    """A way to train: pass one to `fit`.

    Attributes:
        default_gradient: The gradient method where `fit` is given none.
        default_epochs: The number of steps where `fit` is given none.
        restarts: Number of networks trained side by side; each of them, and its state, is one entry of a leading axis.
            `init` and `step` get one network; `fit` calls them for each. A trainer that has no such setting says
            `restarts: ClassVar[int] = 1`.
        init_of_restarts: How the networks beside the given one are drawn; see `Network`.
    """

    default_gradient: ClassVar[AbstractGradient] = BPTT()
    default_epochs: ClassVar[int] = 100
    init_of_restarts: ClassVar[Any] = "nguyen-widrow"
    restarts: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init(self, net: Trained, problem: Problem) -> PyTree:
        """Returns the first state: a pytree of arrays, what the next step needs besides the network."""

    @abc.abstractmethod
    def step(
        self, net: Trained, state: PyTree, problem: Problem, key: PRNGKeyArray
    ) -> tuple[Trained, PyTree, dict[str, Shaped[Array, ""]]]:
        """Takes one step (for mini-batches: one pass over all of them).

        It is compiled: no Python branch may depend on the value of an array, and what it returns has the shapes and
        dtypes of what it was given.

        Args:
            net: The network so far, a pytree of arrays: `jax.tree.map` works on it and a gradient of its structure.
                `net.ravel()` is its flat vector, and the way back. With `train_state=True` the initial states are
                leaves of it too.
            state: The trainer's state.
            problem: What to minimize.
            key: For whatever is drawn at random in this step.

        Returns:
            The new network, the new state, and info: scalars by name, among them `loss`, the loss of `net`. Each name
            of info becomes a column of the history.
        """

    def check(self, net: Trained, problem: Problem) -> None:
        """Raises an LDDNError if the trainer cannot work on this network and problem."""

    def stop_reason(self, info: Mapping[str, float]) -> str | None:
        """Returns why a step with this info is the last one, or None.

        Args:
            info: What `step` returned as info, of one network, as plain numbers.

        Returns:
            A `StopReason`, perhaps one of the trainer's own; or the name of a known one.
        """
        return None

    def rank(self, state: PyTree, scores: Float[np.ndarray, " restarts"]) -> Float[np.ndarray, " restarts"]:
        """Returns what restarts are compared by, `(restarts,)`, the smaller the better: their losses.

        Args:
            state: Their last states, stacked.
            scores: Their losses; infinite where a loss left the finite numbers.
        """
        return scores

    def starts(self, net: Trained, key: PRNGKeyArray) -> Trained:
        """Returns `restarts` networks, stacked: the given one, and others with first weights of their own.

        Raises:
            LDDNError: If stacked networks are given, but not as many.
        """
        given = sum(leaf.size for leaf in jax.tree.leaves(network_of(net))) // max(net.parameter_count, 1)
        if given != 1:
            if given != self.restarts:
                raise LDDNError(f"restarts={self.restarts}, but {given} networks are stacked; write restarts={given}.")
            if isinstance(net, Started):
                raise LDDNError("stacked networks and train_state=True do not go together; pass one network.")
            return net
        keys = jax.random.split(key, self.restarts - 1)
        others = [Network(net.topology, key=k, init=self.init_of_restarts, dtype=net.dtype) for k in keys]
        if isinstance(net, Started):
            others = [Started(other, net.state) for other in others]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), net, *others)
