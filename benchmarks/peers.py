"""The peers: what a user without this package would write, or use, to get value and gradient of the same network.

All take a network and data of the package and return a function without arguments that runs once and waits for
its result, and a function that returns value and gradient by block, to show that the work is the same.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lddn_jax as lddn
from lddn_jax.plan import plan

Peer = tuple[Callable[[], Any], Callable[[], tuple[float, dict]]]


def hand_written(net: lddn.Network, data: lddn.Sequences, method: lddn.AbstractGradient) -> Peer:
    """A method of the package, compiled with the loss."""
    loss = lddn.losses.SumSquaredError()
    run = jax.jit(lambda net, data: lddn.value_and_grad(loss, net, data, method))

    def result():
        value, gradient = run(net, data)
        return float(value), {(f, k): np.asarray(a) for f in ("IW", "LW", "b") for k, a in getattr(gradient, f).items()}

    return lambda: jax.block_until_ready(run(net, data)), result


def plain_scan(net: lddn.Network, data: lddn.Sequences) -> Peer:
    """One `lax.scan`, one einsum for each connection and delay, `jax.value_and_grad` over all of it."""
    topology = net.topology
    order = plan(topology).simulation_order
    longest = plan(topology).longest_delays
    transfer = {layer.name: lddn.transfer.get(layer.transfer).function for layer in topology.layers}
    parameters = {("IW", k): w for k, w in net.IW.items()} | {("LW", k): w for k, w in net.LW.items()}
    parameters |= {("b", k): b for k, b in net.b.items()}
    inputs = {name: jnp.swapaxes(signal, 0, 1) for name, signal in data.inputs.items()}
    targets = {name: jnp.swapaxes(signal, 0, 1) for name, signal in data.targets.items()}
    batch = data.batch[0]

    def loss(parameters, inputs, targets):
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
        outputs = jax.lax.scan(step, zeros, inputs)[1]
        return sum(jnp.sum((targets[name] - outputs[name]) ** 2) for name in topology.outputs)

    run = jax.jit(jax.value_and_grad(loss))

    def result():
        value, gradient = run(parameters, inputs, targets)
        return float(value), {key: np.asarray(array) for key, array in gradient.items()}

    return lambda: jax.block_until_ready(run(parameters, inputs, targets)), result
