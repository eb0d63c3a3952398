"""Simulation: from inputs and a delay state to every layer's output, and to the next delay state.

    n^m(t) = Σ_l Σ_d LW^{m,l}(d) a^l(t−d) + Σ_l Σ_d IW^{m,l}(d) p^l(t−d) + b^m,    a^m(t) = f^m(n^m(t))

(De Jesús & Hagan 2007, eq. 1-2.) Nothing here knows of gradients.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from lddn_jax import recursion, transfer
from lddn_jax.delays import DelayState, as_state, extend, last
from lddn_jax.errors import ShapeError
from lddn_jax.layout import Values, from_lanes, to_lanes
from lddn_jax.network import Network
from lddn_jax.plan import plan
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
    batch = batch_axes(inputs, state)
    inputs, state = to_lanes(inputs), to_lanes(state)
    n, a = run(net, inputs, state, steps, (math.prod(batch),))
    n, a, final = (from_lanes(values, batch) for values in (n, a, final_state(inputs | a, state)))
    return Trajectory(n, a, {name: a[name] for name in net.topology.outputs}, final)


def run(net: Network, inputs: Values, state: Values, steps: int, lanes: tuple[int, ...]) -> tuple[Values, Values]:
    """Returns `(n, a)` by layer, `(time, neurons, *lanes)`; inputs and delay state are in the same layout."""
    return prepared(net, lanes)(inputs, state, steps)


def prepared(net: Network, lanes: tuple[int, ...]) -> Callable[[Values, Values, int], tuple[Values, Values]]:
    """Returns `run` with all that depends on the network only done before: what a loop over segments calls."""
    topology = net.topology
    functions = {layer.name: transfer.get(layer.transfer) for layer in topology.layers}
    network = recursion.prepare(plan(topology).blocks, topology.delays, net.IW | net.LW, lanes)
    drive = {
        layer.name: net.b.get(layer.name, jnp.zeros(layer.size, net.dtype)).reshape(1, -1, *(1,) * len(lanes))
        for layer in topology.layers
    }

    def node(name, n, _):
        return functions[name].in_lanes(n)

    def simulation(inputs, state, steps):
        return network(node, known=inputs, drive=drive, extras={}, before=state, steps=steps)

    return simulation


def final_state(signals: Values, state: Values) -> Values:
    """The delay state after the last step of a run that began with `state`."""
    return {name: last(extend(held, signals[name]), held.shape[0]) for name, held in state.items()}


def batch_axes(inputs: Signals, state: DelayState) -> tuple[int, ...]:
    """The batch axes of a simulation; none where there is neither an input nor a delay state to tell."""
    for signals in (inputs, state):
        for signal in signals.values():
            return signal.shape[:-2]
    return ()
