"""Abstract gradient methods: backward (`AbstractAdjoint`) and forward (`AbstractForward`).

The loss enters only through its explicit derivative ∂ᵉF/∂a, the derivative through the outputs of the same time
step. A gradient method adds the dynamic part: the dependence of an output on parameters and delay states through all
earlier steps. Backward methods turn cotangents of layer outputs into those of parameters; forward methods carry
derivatives along with the simulation. Each can be derived from the other:

    jacobian row of an output element = pullback of a one at that element          (`AbstractAdjoint`)
    pullback of cotangents ā          = Σ_t ā(t)ᵀ ∂a(t)/∂x                          (`AbstractForward`)
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from lddn_jax.checks import expect
from lddn_jax.errors import LDDNError, ShapeError
from lddn_jax.gradients.accuracy import Accuracy, Exact, Random, Truncated
from lddn_jax.network.network import Network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import SignalLike, Signals, SignalsLike, StateLike, as_signals
from lddn_jax.network.trained_elements import gradient_of_parameters
from lddn_jax.numerics.contraction import einsum
from lddn_jax.simulation.delays import DelayState, state_sizes
from lddn_jax.simulation.simulate import batch_axes, prepare

# ∂(outputs)/∂x by layer; x is the flat parameters, optionally followed by the elements of the delay state.
Derivatives: TypeAlias = dict[str, Float[Array, "*batch time size=_ x"]]


class AbstractLinearization(eqx.Module):
    """A simulation with everything that its gradient method needs to differentiate it.

    Attributes:
        a: Outputs of all layers, `(*batch, time, neurons)`.
    """

    a: eqx.AbstractVar[Signals]

    @abc.abstractmethod
    def pullback(self, cotangents: Signals) -> tuple[Network, DelayState]:
        """Turns ∂ᵉF/∂a of any layers into ∂F/∂parameters, summed over batch and time, and ∂F/∂state.

        Args:
            cotangents: ∂ᵉF/∂a, `(*batch, time, neurons)` by layer, the derivative of F through this value alone; zero
                for layers left out.

        Returns:
            ∂F/∂parameters as a Network: `IW[to, input]` and `LW[to, layer]` are `(delay, to, from)` in the order of
            `topology.delays[to, source]`, `b[layer]` is `(neurons,)`, each summed over batch and time; and ∂F/∂state,
            with the names and shapes of the state given to `linearize`.
        """


class AbstractGradient(eqx.Module):
    """A gradient method: an object to pass as `method` or `gradient`.

    To define a new method, subclass `AbstractAdjoint` if it is a backward pass, or `AbstractForward` if it carries
    derivatives forward. Settings are static fields, so that a method is a pytree without arrays, equal by value. Only a
    method whose `accuracy` is `Random` has an array, the field `key`.
    """

    def __check_init__(self):
        if isinstance(self.accuracy, Random) and not hasattr(self, "key"):
            raise LDDNError(f"{type(self).__name__} is random, but has no key. Declare a field: key: jax.Array.")

    @property
    def name(self) -> str:
        """The method's name, as shown in tables."""
        return repr(self).removesuffix("()")

    @property
    def accuracy(self) -> Accuracy:
        """The accuracy class of the method; see `lddn_jax.accuracy`."""
        return Exact()

    def drawn(self, number: int | Integer[Array | np.ndarray, ""]) -> "AbstractGradient":
        """Returns the method with the key of draw `number`; a method that is not random is returned unchanged."""
        if not isinstance(self.accuracy, Random):
            return self
        return dataclasses.replace(self, key=jax.random.fold_in(vars(self)["key"], number))

    @abc.abstractmethod
    def linearize(self, net: Network, inputs: Signals, state: DelayState, steps: int) -> AbstractLinearization:
        """Simulates, and stores what `pullback` needs.

        All arguments are checked, have the network's dtype, and the same axes `*batch`, of any number (none for a
        single sequence).

        Args:
            net: The network.
            inputs: `(*batch, time, size)` for every input by name; empty if the topology has none.
            state: `(*batch, longest delay, size)` for every input and layer that a delayed connection reads, oldest
                value first: `state[name][..., -d, :]` is the value d steps before the first one.
            steps: Number of time steps, the `time` of the inputs.

        Returns:
            An object whose `a` holds the outputs of all layers, `(*batch, time, neurons)`, and whose `pullback` is the
            backward pass of this simulation.
        """

    @abc.abstractmethod
    def derivatives(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool = False
    ) -> tuple[Derivatives, Signals]:
        """Returns ∂(outputs)/∂x, and a bound on the norm of what each row neglects; arguments as returned by `prepare`.

        For each output layer `(*batch, time, size, x)` and `(*batch, time, size)`; `nothing_neglected` adds the bounds
        of an exact method. x is the flat parameters in the order of `net.ravel()`,
        followed by the elements of the sequence's own delay state if `with_state`: sources in the order of their names,
        each `(longest delay, size)` flattened.
        """

    def check_bounded(self) -> None:
        """Raises an LDDNError if the method neglects terms without a bound on them."""
        if isinstance(self.accuracy, Truncated | Random):
            raise LDDNError(
                f"{self.name} has no bound on what it neglects. Write lddn.BPTT(jacobian_window=...), which has one, "
                "or an exact method, such as lddn.RTRL()."
            )

    def pullback(
        self,
        net: Network,
        inputs: SignalsLike,
        state: StateLike,
        cotangents: Mapping[str, SignalLike],
        *,
        steps: int | None = None,
    ) -> tuple[Network, DelayState]:
        """Turns explicit derivatives of layer outputs into derivatives of parameters and delay states.

        Args:
            net: The network.
            inputs: See `simulate`.
            state: See `simulate`.
            cotangents: ∂ᵉF/∂a, `(*batch, time, neurons)` by layer, for any layers (zero for those left out).
            steps: See `simulate`; by default the length of the cotangents.

        Returns:
            ∂F/∂parameters as a Network, and ∂F/∂state with the batch axes of the inputs.

        Raises:
            ShapeError: If a name or shape is wrong.
        """
        sizes = {name: net.topology.layer(name).size for name in dict(cotangents)}
        cotangents = as_signals("cotangent", cotangents, sizes, net.dtype)
        if steps is None and not net.topology.inputs and cotangents:
            steps = next(iter(cotangents.values())).shape[-2]
        inputs, state, steps = prepare(net, inputs, state, steps)
        shape = (*batch_axes(inputs, state), steps)
        for name, cotangent in cotangents.items():
            if cotangent.shape[:-1] != shape:
                raise ShapeError(
                    f"cotangent {name!r} has (*batch, time) = {cotangent.shape[:-1]}, but inputs and state have "
                    f"{shape}; give one cotangent for each step of each sequence."
                )
        return _pullback(self, net, inputs, state, steps, cotangents)

    def jacobian(
        self,
        net: Network,
        inputs: SignalsLike,
        state: StateLike = None,
        *,
        steps: int | None = None,
        with_state: bool = False,
        return_neglected: bool = False,
    ) -> Derivatives | tuple[Derivatives, Signals]:
        """Returns ∂(outputs)/∂(flat parameters), `(*batch, time, size, parameters)` by output layer.

        Args:
            net: The network; the order of the last axis is that of `net.ravel()`.
            inputs: See `simulate`.
            state: See `simulate`.
            steps: See `simulate`.
            with_state: Whether to differentiate with respect to the delay state too: its elements are appended to the
                last axis, sources in the order of their names, each `(longest delay, size)` flattened.
            return_neglected: Whether to also return, by output layer, a bound on the Euclidean norm of what each row
                neglects, `(*batch, time, size)`: zero for exact methods.

        Raises:
            ShapeError: If a name or shape is wrong.
            LDDNError: If `return_neglected` is used with a method that has no such bound.
        """
        if return_neglected:
            self.check_bounded()
        found = _jacobian(self, net, *prepare(net, inputs, state, steps), with_state, return_neglected)
        return found if return_neglected else found[0]


def check_method(given: object, call: str, name: str = "method") -> None:
    """Raises an LDDNError unless `given` is a gradient method; see `expect`."""
    expect(AbstractGradient, name, given, call, "a gradient method, such as lddn.BPTT() or lddn.RTRL()")


def pulled_back(
    linearization: AbstractLinearization, cotangents: Signals, net: Network, state: DelayState, name: str
) -> tuple[Network, DelayState]:
    """Returns the result of a linearization's `pullback`, after a check of its structure and shapes.

    Raises:
        LDDNError: If it is not a Network like `net` and a dict like `state`.
    """
    found = linearization.pullback(cotangents)
    wanted = net, dict(state)
    if jax.tree.structure(found) != jax.tree.structure(wanted):
        returned = [type(part).__name__ for part in found] if isinstance(found, tuple) else type(found).__name__
        sources = (
            sorted(found[1]) if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict) else []
        )
        raise LDDNError(
            f"the pullback of {name} returned {returned}{f' with the sources {sources}' if sources else ''}; needed: "
            f"∂F/∂parameters, a Network of the same topology, and ∂F/∂state, a dict of the sources {sorted(state)}."
        )
    for (path, leaf), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        if jnp.shape(leaf) != jnp.shape(other):
            raise ShapeError(
                f"the pullback of {name} returned shape {jnp.shape(leaf)} at {jax.tree_util.keystr(path)}; "
                f"{jnp.shape(other)} is needed. Parameters are summed over batch and time; states keep batch axes."
            )
    return gradient_of_parameters(found[0]), found[1]


@up_to_date
@jax.jit(static_argnames="steps")
def _pullback(method, net, inputs, state, steps, cotangents):
    return pulled_back(method.linearize(net, inputs, state, steps), cotangents, net, state, method.name)


@up_to_date
@jax.jit(static_argnames=("steps", "with_state", "bounded"))
def _jacobian(method, net, inputs, state, steps, with_state, bounded):
    found, neglected = method.derivatives(net, inputs, state, steps, with_state)
    return found, neglected if bounded else None


def over_sequences(function: Callable[..., Any], inputs: Signals, state: DelayState) -> Any:
    """Maps a function of one sequence's inputs and state over all sequences."""
    for _ in batch_axes(inputs, state):
        function = jax.vmap(function)
    return function(inputs, state)


class AbstractAdjoint(AbstractGradient):
    """A gradient method that is a backward pass: a subclass defines `linearize`.

    The Jacobian is computed by one pullback for each output element.
    """

    def derivatives(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool = False
    ) -> tuple[Derivatives, Signals]:
        """Returns ∂(outputs)/∂x, one pullback for each output element and time step."""
        return derivatives_by_pullback(self, net, inputs, state, steps, with_state)


def derivatives_by_pullback(
    method: AbstractGradient, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool
) -> tuple[Derivatives, Signals]:
    """Returns ∂(outputs)/∂x by output layer, one pullback for each output element and time step."""

    def one_sequence(inputs, state):
        linearization = method.linearize(net, inputs, state, steps)

        def rows(name):
            size = net.topology.sizes[name]

            def row(k):
                one = jnp.zeros(steps * size, net.dtype).at[k].set(1).reshape(steps, size)
                gradient, before = linearization.pullback({name: one})
                pieces = [before[source].ravel() for source in sorted(before)] if with_state else []
                return jnp.concatenate([gradient.ravel()[0], *pieces])

            # In batches: all rows at once would store a backward pass for every output element.
            found = jax.lax.map(row, jnp.arange(steps * size), batch_size=64)
            return found.reshape(steps, size, found.shape[-1])

        return {name: rows(name) for name in net.topology.outputs}

    return nothing_neglected(over_sequences(one_sequence, inputs, state))


def nothing_neglected(derivatives: Derivatives) -> tuple[Derivatives, Signals]:
    """Returns derivatives with the bounds of an exact method, zeros."""
    return derivatives, {name: jnp.zeros(found.shape[:-1], found.dtype) for name, found in derivatives.items()}


class AbstractForward(AbstractGradient):
    """A gradient method that carries ∂a/∂x forward: a subclass defines `sensitivities`."""

    @abc.abstractmethod
    def sensitivities(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, layers: Sequence[str], with_state: bool
    ) -> tuple[Signals, Derivatives]:
        """Simulates, and carries derivatives along.

        Args:
            net: The network.
            inputs: See `linearize`.
            state: See `linearize`.
            steps: See `linearize`.
            layers: Names of the layers to differentiate; may be empty.
            with_state: Whether x ends with the elements of the delay state.

        Returns:
            Outputs of all layers, `(*batch, time, neurons)`, and ∂a/∂x of `layers`, `(*batch, time, neurons, x)`. x is
            the flat parameters in the order of `net.ravel()`, followed by the elements of the sequence's own delay
            state if `with_state`: sources in the order of their names, each `(longest delay, size)` flattened.
        """

    def linearize(self, net: Network, inputs: Signals, state: DelayState, steps: int) -> AbstractLinearization:
        """Simulates; the derivatives are computed in `pullback`, where the layers are known."""
        a, _ = self.sensitivities(net, inputs, state, steps, (), with_state=False)
        return _ForwardLinearization(a, self, net, inputs, state, steps)

    def derivatives(
        self, net: Network, inputs: Signals, state: DelayState, steps: int, with_state: bool = False
    ) -> tuple[Derivatives, Signals]:
        """Returns ∂(outputs)/∂x by one call of `sensitivities`."""
        return nothing_neglected(self.sensitivities(net, inputs, state, steps, net.topology.outputs, with_state)[1])


class _ForwardLinearization(AbstractLinearization):
    a: Signals
    method: AbstractForward
    net: Network
    inputs: Signals
    state: DelayState
    steps: int = eqx.field(static=True)

    def pullback(self, cotangents):
        _, jacobians = self.method.sensitivities(
            self.net, self.inputs, self.state, self.steps, tuple(sorted(cotangents)), with_state=True
        )
        flat, unravel = jax.tree.map(jnp.zeros_like, self.net).ravel()
        batch = batch_axes(self.inputs, self.state)
        per_sequence = jnp.zeros((*batch, flat.size + state_count(self.net)), flat.dtype)
        for name, jacobian in jacobians.items():
            per_sequence = per_sequence + einsum("...tip,...ti->...p", jacobian, cotangents[name])
        gradient = per_sequence[..., : flat.size].sum(axis=tuple(range(len(batch))))
        return unravel(gradient), split_state(self.net, per_sequence[..., flat.size :])


def state_count(net: Network) -> int:
    """Returns the number of elements in one sequence's delay state."""
    return sum(longest * size for longest, size in state_sizes(net.topology).values())


def split_state(net: Network, flat: Float[Array, "*batch elements"]) -> DelayState:
    """Converts `(*batch, elements)` to a delay state, sources in the order of `jax.tree.leaves`."""
    state, start = {}, 0
    for name, (longest, size) in sorted(state_sizes(net.topology).items()):
        state[name] = flat[..., start : start + longest * size].reshape(*flat.shape[:-1], longest, size)
        start += longest * size
    return state
