"""Functions for differentiation: loss with gradient, Jacobian, and a simulation with a custom derivative rule."""

import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from lddn_jax.errors import LDDNError, ShapeError
from lddn_jax.gradients.bptt import BPTT
from lddn_jax.gradients.choice import choose_jacobian
from lddn_jax.gradients.method import AbstractGradient, AbstractLinearization, Derivatives, check_method, pulled_back
from lddn_jax.gradients.rtrl import RTRL
from lddn_jax.losses import AbstractLoss, check_loss, checked_weights
from lddn_jax.network.network import Network, assemble, check_network
from lddn_jax.network.replacement import up_to_date
from lddn_jax.network.signals import RealArray, SequencesLike, Signals, SignalsLike, StateLike, as_signals, check_data
from lddn_jax.network.trained_elements import gradient_of_parameters
from lddn_jax.numerics.memory import check_memory
from lddn_jax.simulation.delays import DelayState, as_state, inputs_as_state, started
from lddn_jax.simulation.simulate import batch_axes, measured, prepare
from lddn_jax.topology.topology import Topology

_logger = logging.getLogger("lddn_jax")


def value_and_grad(
    loss: AbstractLoss, net: Network, data: SequencesLike, method: AbstractGradient | None = None
) -> tuple[Float[Array, ""], Network]:
    """Returns the loss of a network on data, and its gradient as a Network.

    The explicit derivative ∂ᵉF/∂a of the loss is `jax.grad` of a function of the outputs; the gradient method
    computes the dynamic part. Works under `jit`, and under `vmap` over networks or data.

    Args:
        loss: A loss of `lddn_jax.losses`.
        net: The network.
        data: `Sequences`, or anything with `inputs`, `targets`, `state` and `weights`.
        method: The gradient method; `BPTT()` if None.

    Returns:
        The value, a scalar, and the gradient as a Network.

    Raises:
        ShapeError: If names or shapes do not match the topology.
        DataError: If a target is NaN and the loss has `missing="error"`.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear")],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> data = lddn.Sequences(jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> value, gradient = lddn.value_and_grad(lddn.losses.SumSquaredError(), net, data)
        >>> float(value), float(gradient.b["y"][0])
        (4.0, -8.0)
    """
    method = BPTT() if method is None else method
    call = "value_and_grad(loss, net, data, method)"
    check_method(method, call)
    value, gradient, _ = _value_and_grad(loss, net, *prepare_data(loss, net, data, call), method)
    return value, gradient


def jacobian(
    net: Network,
    data: SequencesLike,
    method: AbstractGradient | str | None = None,
    *,
    with_state: bool = False,
    return_neglected: bool = False,
) -> Derivatives | tuple[Derivatives, Signals]:
    """Returns ∂(outputs)/∂(flat parameters), `(*batch, time, size, parameters)` by output layer.

    Args:
        net: The network; the last axis has the order of `net.ravel()` and `net.parameter_names()`.
        data: `Sequences`; targets are only used for the number of steps of a network without inputs.
        method: The gradient method; `RTRL()` if None. "auto" uses `RTRL()` or `BPTT()`, whichever costs fewer
            operations, and logs the choice (logger "lddn_jax", level INFO); see `lddn.choose_jacobian`.
        with_state: Whether to differentiate with respect to the delay state too: its elements are appended to the
            last axis, sources in the order of their names, each `(longest delay, size)` flattened.
        return_neglected: Whether to also return, by output layer, a bound on the Euclidean norm of what each row
            neglects, `(*batch, time, size)`: for `BPTT(jacobian_window=...)`; zero for exact methods.

    Raises:
        ShapeError: If names or shapes do not match the topology.
        LDDNError: If the method is unknown, or `return_neglected` is used with a method that has no such bound.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(LW={("y", "y"): [[[0.5]]]})
        >>> data = lddn.Sequences(jnp.ones((9, 1)), jnp.ones((9, 1)))
        >>> full = lddn.jacobian(net, data)["y"][..., 0]  # ∂y/∂IW
        >>> rows, neglected = lddn.jacobian(net, data, lddn.BPTT(jacobian_window=2), return_neglected=True)
        >>> bool(jnp.all(jnp.abs(full - rows["y"][..., 0]) <= neglected["y"])), float(neglected["y"][8, 0])
        (True, 0.12109375)
    """
    if isinstance(method, str) and method != "auto":
        raise LDDNError(f'method={method!r} is unknown: write "auto", or an object such as lddn.RTRL() or lddn.BPTT().')
    call, steps = "jacobian(net, data, method)", None
    check_network(net, call, mapped=True)
    check_data(data, call)
    if not isinstance(method, str | None):
        check_method(method, call)
    if not net.topology.inputs and data.targets is not None:
        sizes = {name: net.topology.sizes[name] for name in net.topology.outputs}
        steps = next(iter(as_signals("target", data.targets, sizes, net.dtype).values())).shape[-2]
    state = started(net.topology, data)
    if isinstance(method, str):
        choice = choose_jacobian(net.topology, prepare(net, data.inputs, state, steps)[-1])
        _logger.info("jacobian by %s", choice)
        method = choice.method
    inputs, state, steps = prepare(net, data.inputs, state, steps, call)
    rows = math.prod(batch_axes(inputs, state)) * steps * sum(net.topology.sizes[name] for name in net.topology.outputs)
    check_memory(
        rows * net.parameter_count * net.dtype.itemsize,
        f"the Jacobian of {rows:,} outputs and {net.parameter_count:,} weights and biases",
        "Use fewer steps at a time, or gauss_newton(net, data, loss), which stores JᵀJ only.",
    )
    return (method or RTRL()).jacobian(
        net, data.inputs, state, steps=steps, with_state=with_state, return_neglected=return_neglected
    )


def prepare_data(
    loss: AbstractLoss,
    net: Network,
    data: SequencesLike,
    call: str = "fit(net, data, loss, trainer)",
    name: str = "data",
) -> tuple[Signals, Signals, DelayState, dict[str, RealArray] | None, int]:
    """Checks data against a network; returns inputs, targets, delay state, error weights and number of steps.

    Args:
        loss: The loss.
        net: The network.
        data: `Sequences`.
        call: The signature shown in errors, with all arguments in order.
        name: How errors refer to the data.
    """
    check_loss(loss, call)
    check_network(net, call, mapped=True)
    check_data(data, call, name)
    sizes = {name: net.topology.sizes[name] for name in net.topology.outputs}
    targets = as_signals("target", data.targets, sizes, net.dtype)
    some = next(iter(targets.values()))
    # All checks come before creating the delay state, whose zeros may have to be compiled.
    steps = None if net.topology.inputs else some.shape[-2]
    state = started(net.topology, data)
    inputs, batch, steps = measured(net, data.inputs, state, steps, call)
    if some.shape[:-1] != (*batch, steps):
        raise ShapeError(
            f"targets have (*batch, time) = {some.shape[:-1]}, but inputs and state have {(*batch, steps)}; "
            "give one target for each step of each sequence."
        )
    loss.check(targets)
    weights = None if data.weights is None else checked_weights(data.weights, targets)
    return inputs, targets, as_state(net.topology, state, batch, net.dtype), weights, steps


@up_to_date
@jax.jit(static_argnames="steps")
def _value_and_grad(
    loss, net, inputs, targets, state, weights, steps, method
) -> tuple[Float[Array, ""], Network, DelayState]:
    linearization = method.linearize(net, inputs, state, steps)
    outputs = {name: linearization.a[name] for name in net.topology.outputs}

    def explicit(net, outputs):
        return loss.value(net, outputs, targets, weights)

    value, (decay, cotangents) = jax.value_and_grad(explicit, argnums=(0, 1))(net, outputs)
    gradient, state_gradient = pulled_back(linearization, cotangents, net, state, method.name)
    return value, jax.tree.map(lambda g, w: g + w, gradient, decay), state_gradient


def differentiable(method: AbstractGradient) -> Callable[..., Signals]:
    """Returns a simulation whose reverse-mode derivative is computed by the given method.

    Args:
        method: The gradient method, for example `BPTT()`.

    Returns:
        `run(net, inputs, state=None, *, steps=None) -> outputs`, with the arguments and outputs of `predict`.
        `jax.grad`, `jax.vjp`, `jit` and `vmap` work on it, with respect to the network, the inputs and the delay
        state, so a network can be part of any other computation. Forward mode (`jax.jvp`, `jax.jacfwd`) raises a
        TypeError from JAX: use `method.jacobian` instead.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear")],
        ...                          [lddn.Connection("u", to="y")], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> run = lddn.differentiable(lddn.BPTT())
        >>> float(jax.grad(lambda net: run(net, jnp.ones((4, 1)))["y"].sum())(net).b["y"][0])
        4.0
    """
    check_method(method, "differentiable(method)")
    key, structure = jax.tree.flatten(method)  # only a random method has an array, its key

    def run(net: Network, inputs: SignalsLike, state: StateLike = None, *, steps: int | None = None) -> Signals:
        inputs, state, steps = prepare(net, inputs, state, steps)
        return _differentiable(structure, steps)(net, inputs, state, key)

    return run


class _Residual(eqx.Module):
    linearization: AbstractLinearization
    topology: Topology = eqx.field(static=True)
    with_inputs: bool = eqx.field(static=True)


@functools.lru_cache(maxsize=256)
def _differentiable(structure: Any, steps: int):
    def outputs(net, a):
        return {name: a[name] for name in net.topology.outputs}

    @jax.custom_vjp
    def run(net, inputs, state, key):
        return outputs(net, jax.tree.unflatten(structure, key).linearize(net, inputs, state, steps).a)

    def forward(net, inputs, state, key):
        topology, with_inputs = net.topology, any(leaf.perturbed for leaf in jax.tree.leaves(inputs))
        net, inputs, state, key = jax.tree.map(lambda leaf: leaf.value, (net, inputs, state, key))
        method = jax.tree.unflatten(structure, key)
        if with_inputs:
            moved, state, inputs = inputs_as_state(topology, inputs, state)
            net = assemble(moved, net.IW, net.LW, net.b)
        linearization = method.linearize(net, inputs, state, steps)
        return outputs(net, linearization.a), _Residual(linearization, topology, with_inputs)

    def backward(residual, cotangents):
        topology = residual.topology
        known = {name: c for name, c in cotangents.items() if not isinstance(c, SymbolicZero)}
        gradient, state = residual.linearization.pullback(known)
        gradient = gradient_of_parameters(gradient)
        if not residual.with_inputs:
            return gradient, None, state, None
        gradient = assemble(topology, gradient.IW, gradient.LW, gradient.b)
        inputs = {}
        for name in topology.input_names:
            if name in state:
                held = state[name].shape[-2] - steps
                state[name], inputs[name] = state[name][..., :held, :], state[name][..., held:, :]
                if held == 0:
                    del state[name]
            else:
                inputs[name] = None
        return gradient, inputs, state, None

    run.defvjp(forward, backward, symbolic_zeros=True)
    return run
