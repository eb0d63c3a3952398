"""Simulation: from inputs and a delay state to every layer's output, and to the next delay state.

    n^m(t) = Σ_l Σ_d LW^{m,l}(d) a^l(t−d) + Σ_l Σ_d IW^{m,l}(d) p^l(t−d) + b^m,    a^m(t) = f^m(n^m(t))

(De Jesús & Hagan 2007, eq. 1-2.) Nothing here knows of gradients.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from lddn_jax import transfer
from lddn_jax.delays import DelayState, as_state, extend, last
from lddn_jax.errors import ShapeError
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.recursion import Values, sweep
from lddn_jax.signals import Signals, as_signals


class Trajectory(eqx.Module):
    """Everything that a simulation computed.

    Attributes:
        n: Net inputs by layer, `(*batch, time, neurons)`.
        a: Layer outputs by layer, `(*batch, time, neurons)`.
        outputs: The outputs of the network's output layers.
        final_state: The delay state after the last step; a simulation that starts from it goes on without a seam.
    """

    n: Signals
    a: Signals
    outputs: Signals
    final_state: DelayState


def simulate(net: Network, inputs: Any, state: Mapping | None = None, *, steps: int | None = None) -> Trajectory:
    """Simulates a network.

    Args:
        net: The network; its dtype is the dtype of the computation.
        inputs: `(*batch, time, size)` by input name; a bare array where there is one input; `{}` or None for a
            network without inputs.
        state: Delay state, `(*batch, longest delay, size)` by source, oldest first; None for zeros.
        steps: Number of time steps; needed only where there are no inputs to tell it.

    Returns:
        A `Trajectory`.

    Raises:
        ShapeError: If a name or shape does not fit the topology.

    Example:
        >>> import jax, jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros")
        >>> net = net.with_weights(IW={("y", "u"): [[[1.0]]]}, LW={("y", "y"): [[[0.5]]]})
        >>> lddn.simulate(net, jnp.ones((4, 1))).outputs["y"][:, 0].tolist()
        [1.0, 1.5, 1.75, 1.875]

    De Jesús & Hagan (2007), eq. 1-2.
    """
    return _simulate(net, *prepare(net, inputs, state, steps))


def predict(net: Network, inputs: Any, state: Mapping | None = None, *, steps: int | None = None) -> Signals:
    """Returns the network's outputs, `(*batch, time, size)` by output layer; arguments are those of `simulate`."""
    return simulate(net, inputs, state, steps=steps).outputs


def prepare(net: Network, inputs: Any, state: Mapping | None, steps: int | None) -> tuple[Signals, DelayState, int]:
    """Checks and names what is given to a simulation; every method that takes inputs starts here.

    Returns:
        Inputs, delay state with the batch axes of the inputs, and the number of steps.

    Raises:
        ShapeError: If something does not fit, or the number of steps cannot be known.
    """
    topology = net.topology
    sizes = {i.name: i.size for i in topology.inputs}
    signals = as_signals("input", inputs, sizes, net.dtype)
    if signals:
        shape = next(iter(signals.values())).shape
        batch, length = shape[:-2], shape[-2]
        if steps is not None and steps != length:
            raise ShapeError(f"steps={steps} was given, but the inputs have {length} time steps; leave steps out.")
    else:
        if steps is None:
            raise ShapeError(
                "a network without inputs does not know how long to run: pass steps, for example "
                "simulate(net, {}, state, steps=100)."
            )
        batch, length = (), steps
        if state:
            batch = jnp.shape(next(iter(state.values())))[:-2]
    return signals, as_state(topology, state, batch, net.dtype), length


@jax.jit(static_argnames="steps")
def _simulate(net: Network, inputs: Signals, state: DelayState, steps: int) -> Trajectory:
    n, a = run(net, inputs, state, steps)
    signals = time_first(inputs) | a
    final = {name: last(extend(held, signals[name]), held.shape[0]) for name, held in time_first(state).items()}
    n, a, final = time_last(n), time_last(a), time_last(final)
    return Trajectory(n, a, {name: a[name] for name in net.topology.outputs}, final)


def run(net: Network, inputs: Signals, state: DelayState, steps: int) -> tuple[Values, Values]:
    """Returns `(n, a)` by layer, time first: `(time, *batch, neurons)`; arguments as `prepare` returns them."""
    topology = net.topology
    functions = {layer.name: transfer.get(layer.transfer).function for layer in topology.layers}
    batch = batch_axes(inputs, state)
    drive = {
        layer.name: net.b.get(layer.name, jnp.zeros(layer.size, net.dtype)).reshape(
            (1,) * (len(batch) + 1) + (layer.size,)
        )
        for layer in topology.layers
    }
    return sweep(
        plan(topology).blocks,
        topology.delays,
        net.IW | net.LW,
        lambda name, n, _: functions[name](n),
        known=time_first(inputs),
        drive=drive,
        extras={},
        before=time_first(state),
        steps=steps,
        batch=batch,
    )


def time_first(signals: Signals) -> Values:
    """Moves time to the front: from the user's layout to the package's."""
    return {name: jnp.moveaxis(signal, -2, 0) for name, signal in signals.items()}


def time_last(values: Values) -> Signals:
    """Moves time behind the batch axes: from the package's layout to the user's."""
    return {name: jnp.moveaxis(value, 0, -2) for name, value in values.items()}


def batch_axes(inputs: Signals, state: DelayState) -> tuple[int, ...]:
    """The batch axes of a simulation; none where there is neither an input nor a delay state to tell."""
    for signals in (inputs, state):
        for signal in signals.values():
            return signal.shape[:-2]
    return ()
