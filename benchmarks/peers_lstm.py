"""A long short-term memory as a user would write it in JAX: all gates in one product of a `lax.scan`."""

import jax
import jax.numpy as jnp

import lddn_jax as lddn
from benchmarks.peers import Program

GATES = ("input_gate", "forget_gate", "candidate", "output_gate")  # in PyTorch's order


def is_lstm(topology: lddn.Topology) -> bool:
    """Returns whether this is `lddn.models.lstm` with one layer, an input u and an output y."""
    sizes = topology.sizes
    if not {"u", "y", "hidden"} <= sizes.keys():
        return False
    return topology == lddn.models.lstm({"u": sizes["u"]}, {"y": sizes["y"]}, hidden=sizes["hidden"])


def stacked_gates(net: lddn.Network) -> dict:
    """Returns the weights and biases of all gates as one matrix or vector each, and those of the read-out."""
    return {
        "W": jnp.concatenate([net.IW[gate, "u"][0] for gate in GATES]),
        "R": jnp.concatenate([net.LW[gate, "hidden"][0] for gate in GATES]),
        "b": jnp.concatenate([net.b[gate] for gate in GATES]),
        "C": net.LW["y", "hidden"][0],
        "d": net.b["y"],
    }


def by_gate(gradient: dict) -> dict:
    """Returns gradients in the structure of all peers, from those of `stacked_gates`."""
    found = {("LW", ("y", "hidden")): gradient["C"][None], ("b", "y"): gradient["d"]}
    for k, gate in enumerate(GATES):
        size = len(gradient["b"]) // len(GATES)
        rows = slice(k * size, (k + 1) * size)
        found["IW", (gate, "u")] = gradient["W"][rows][None]
        found["LW", (gate, "hidden")] = gradient["R"][rows][None]
        found["b", gate] = gradient["b"][rows]
    return found


def plain_scan(net: lddn.Network, data: lddn.Sequences) -> Program:
    """Value and gradient by `jax.value_and_grad`."""

    def loss(p, u, target):
        def step(carried, u):
            h, c = carried
            n = u @ p["W"].T + h @ p["R"].T + jnp.broadcast_to(p["b"], (u.shape[0], p["b"].size))
            i, f, g, o = jnp.split(n, len(GATES), axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((u.shape[0], p["C"].shape[1]), u.dtype)
        _, h = jax.lax.scan(step, (zero, zero), u.swapaxes(0, 1))
        y = h.swapaxes(0, 1) @ p["C"].T
        return jnp.sum((target - (y + jnp.broadcast_to(p["d"], y.shape))) ** 2)

    arguments = stacked_gates(net), dict(data.inputs or {})["u"], dict(data.targets or {})["y"]
    program = jax.jit(jax.value_and_grad(loss))
    return Program(program, arguments, lambda returned: (returned[0], by_gate(returned[1])))
