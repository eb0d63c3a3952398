"""Peers: code that a user would write without this package to simulate and differentiate the same network.

Each is built from a network and data of the package. `run` runs once and waits for the result; `result` returns it as
NumPy arrays in the same structure for all peers, to check that the work is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lddn_jax as lddn
from lddn_jax.topology.plan import plan


class Peer(NamedTuple):
    """Interface of a contender.

    Attributes:
        run: Runs once and waits.
        result: Value and gradient by block, or outputs by layer.
    """

    run: Callable[[], Any]
    result: Callable[[], Any]


@dataclass(frozen=True)
class Program:
    """A peer that JAX compiles.

    Attributes:
        function: Compiled function.
        arguments: Its arguments; the network or its parameters first.
        read: Converts its result to the structure of all peers.
    """

    function: Callable
    arguments: tuple
    read: Callable[[Any], Any]

    def run(self) -> Any:
        """Runs once and waits."""
        return jax.block_until_ready(self.function(*self.arguments))

    def result(self) -> Any:
        """Value and gradient by block, or outputs by layer."""
        return self.read(jax.tree.map(np.asarray, self.function(*self.arguments)))

    def many(self, copies: int) -> "Program":
        """Returns the program for several networks at once, by `vmap`."""
        first, *rest = self.arguments
        nets = jax.tree.map(lambda w: jnp.broadcast_to(w, (copies, *w.shape)), first)
        function = jax.jit(jax.vmap(self.function, (0, *(None for _ in rest))))
        return Program(function, (nets, *rest), self.read)


def difference(one: Any, other: Any) -> float:
    """Returns the largest difference between two structures of arrays, relative to the largest number of the first."""
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    apart, largest = np.max([[np.abs(a - b).max(), np.abs(a).max()] for a, b in pairs], axis=0)  # a NaN stays
    return float(apart / largest)


def agree(found: dict[str, Peer | Program], tolerance: float) -> float:
    """Raises unless every contender has the results of the first: equal work on both sides.

    Returns:
        The largest difference.
    """
    first, *others = found
    expected, largest = found[first].result(), 0.0
    for name in others:
        for part, other in zip(expected, found[name].result(), strict=True):
            assert difference(part, other) <= tolerance, (name, first, difference(part, other))
            largest = max(largest, float(difference(part, other)))
    return largest


def hand_written(net: lddn.Network, data: lddn.Sequences, method: lddn.AbstractGradient) -> Program:
    """Value and gradient by a method of the package, compiled with the loss."""
    loss = lddn.losses.SumSquaredError()

    def read(returned):
        value, gradient = returned
        return value, {(field, key): a for field in ("IW", "LW", "b") for key, a in getattr(gradient, field).items()}

    return Program(jax.jit(lambda net, data: lddn.value_and_grad(loss, net, data, method)), (net, data), read)


def predict(net: lddn.Network, data: lddn.Sequences) -> Program:
    """The package's forward pass, outputs only."""
    return Program(jax.jit(lddn.predict), (net, data.inputs, data.state), lambda outputs: (outputs,))


def plain_scan(net: lddn.Network, data: lddn.Sequences) -> Program:
    """Value and gradient of one `lax.scan`: `jax.value_and_grad` over all of it."""
    forward = _scan(net, data.batch[0])
    targets = _time_first(data.targets)

    def loss(parameters, inputs, targets):
        outputs = forward(parameters, inputs)
        return sum(jnp.sum((targets[name] - outputs[name]) ** 2) for name in outputs)

    arguments = _parameters(net), _time_first(data.inputs), targets
    return Program(jax.jit(jax.value_and_grad(loss)), arguments, lambda returned: returned)


def plain_scan_forward(net: lddn.Network, data: lddn.Sequences) -> Program:
    """The forward pass of the plain scan."""
    arguments = _parameters(net), _time_first(data.inputs)
    return Program(jax.jit(_scan(net, data.batch[0])), arguments, lambda outputs: (_time_first(outputs),))


def jacobian(net: lddn.Network, data: lddn.Sequences, method: lddn.AbstractGradient) -> Program:
    """∂(outputs)/∂(flat parameters) by a method of the package."""
    return Program(jax.jit(lambda net, data: lddn.jacobian(net, data, method)), (net, data), lambda J: (J,))


def plain_scan_jacobian(net: lddn.Network, data: lddn.Sequences, transform: Callable = jax.jacfwd) -> Program:
    """∂(outputs)/∂(flat parameters) of the plain scan, by `jax.jacfwd` or `jax.jacrev`."""
    return Program(jax.jit(transform(flat_scan(net, data))), (net.ravel()[0], data.inputs), lambda J: (J,))


def gauss_newton(net: lddn.Network, data: lddn.Sequences) -> Program:
    """JᵀJ, Jᵀe and eᵀe, summed over the record by the package."""
    loss = lddn.losses.SumSquaredError()
    function = jax.jit(lambda net, data: lddn.gauss_newton(net, data, loss))
    return Program(function, (net, data), lambda found: (found.JTJ, found.JTe, found.eTe))


def dense_gauss_newton(net: lddn.Network, data: lddn.Sequences) -> Program:
    """JᵀJ, Jᵀe and eᵀe from the package's Jacobian, stored whole."""

    def function(net, data):
        return _products(lddn.jacobian(net, data), lddn.predict(net, data.inputs, data.state), data.targets)

    return Program(jax.jit(function), (net, data), lambda found: found)


def plain_scan_gauss_newton(net: lddn.Network, data: lddn.Sequences) -> Program:
    """JᵀJ, Jᵀe and eᵀe from the Jacobian of the plain scan by `jax.jacfwd`."""
    outputs = flat_scan(net, data)

    def function(flat, inputs, targets):
        def twice(flat):
            found = outputs(flat, inputs)
            return found, found

        return _products(*jax.jacfwd(twice, has_aux=True)(flat), targets)

    return Program(jax.jit(function), (net.ravel()[0], data.inputs, data.targets), lambda found: found)


def flat_scan(net: lddn.Network, data: lddn.Sequences) -> Callable[[Any, dict], dict]:
    """The plain scan as a function of the flat parameters and the inputs; signals are `(batch, time, size)`."""
    forward, unravel = _scan(net, data.batch[0]), net.ravel()[1]
    return lambda flat, inputs: _time_first(forward(_parameters(unravel(flat)), _time_first(inputs)))


def _products(jacobian: dict, outputs: dict, targets: dict) -> tuple:
    J = -jnp.concatenate([jacobian[name].reshape(-1, jacobian[name].shape[-1]) for name in targets])
    e = jnp.concatenate([(targets[name] - outputs[name]).ravel() for name in targets])
    return J.T @ J, J.T @ e, e @ e


def _scan(net: lddn.Network, batch: int) -> Callable[[dict, dict], dict]:
    """One `lax.scan`, one einsum for each connection and delay; signals are `(time, batch, size)`."""
    topology = net.topology
    order = plan(topology).simulation_order
    longest = plan(topology).longest_delays
    transfer = {layer.name: lddn.transfer.get(layer.transfer).function for layer in topology.layers}

    def forward(parameters, inputs):
        def step(past, now):
            values = dict(now)
            for name in order:
                n = jnp.broadcast_to(parameters["b", name], (batch, topology.sizes[name]))
                for (to, source), delays in topology.delays.items():
                    if to == name:
                        weights = parameters["IW" if source in inputs else "LW", (to, source)]
                        for k, d in enumerate(delays):
                            value = values[source] if d == 0 else past[source][d - 1]
                            n = n + jnp.einsum("bj,ij->bi", value, weights[k])
                values[name] = transfer[name](n)
            past = {name: (values[name], *line[:-1]) for name, line in past.items()}
            return past, {name: values[name] for name in topology.outputs}

        zeros = {
            name: tuple(jnp.zeros((batch, topology.sizes[name]), net.dtype) for _ in range(d))
            for name, d in longest.items()
        }
        return jax.lax.scan(step, zeros, inputs)[1]

    return forward


def _parameters(net: lddn.Network) -> dict:
    parameters = {("IW", key): w for key, w in net.IW.items()} | {("LW", key): w for key, w in net.LW.items()}
    return parameters | {("b", key): b for key, b in net.b.items()}


def _time_first(signals: dict) -> dict:
    """From `(batch, time, size)` to `(time, batch, size)`, or back."""
    return {name: signal.swapaxes(0, 1) for name, signal in signals.items()}
