"""NumPy as a peer: the textbook's recursion in a loop over steps, as the implementations of today do it."""

import numpy as np

import lddn_jax as lddn
from benchmarks.peers import Peer
from lddn_jax.plan import plan

_FUNCTIONS = {
    "linear": (lambda n: n, np.ones_like),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "logistic": (lambda n: 1 / (1 + np.exp(-n)), lambda a: a * (1 - a)),
}


def step_loop(net: lddn.Network, data: lddn.Sequences) -> Peer:
    """Forward and backward through time, batched over sequences, one product for each connection and delay and step."""
    topology, order = net.topology, plan(net.topology).simulation_order
    W = {pair: np.asarray(w) for pair, w in (net.IW | net.LW).items()}
    b = {name: np.asarray(bias) for name, bias in net.b.items()}
    inputs = {name: np.asarray(signal) for name, signal in data.inputs.items()}
    targets = {name: np.asarray(signal) for name, signal in data.targets.items()}
    held = {name: np.asarray(state) for name, state in data.state.items()}
    batch, steps = data.batch[0], data.steps
    f = {layer.name: _FUNCTIONS[layer.transfer] for layer in topology.layers}

    def run():
        a = dict(inputs) | {n: np.zeros((batch, steps, topology.sizes[n]), inputs["u"].dtype) for n in order}

        def past(source, t):
            return a[source][:, t] if t >= 0 else held[source][:, t]

        for t in range(steps):
            for m in order:
                n = b[m] + np.zeros((batch, topology.sizes[m]), inputs["u"].dtype)
                for (to, source), delays in topology.delays.items():
                    if to == m:
                        for k, d in enumerate(delays):
                            n = n + past(source, t - d) @ W[to, source][k].T
                a[m][:, t] = f[m][0](n)
        value = sum(np.sum((targets[u] - a[u]) ** 2) for u in topology.outputs)
        n_bar = {m: np.zeros_like(a[m]) for m in order}
        gradient = {pair: np.zeros_like(w) for pair, w in W.items()} | {m: np.zeros_like(v) for m, v in b.items()}
        for t in reversed(range(steps)):
            for m in reversed(order):
                a_bar = 2 * (a[m][:, t] - targets[m][:, t]) if m in targets else np.zeros_like(a[m][:, t])
                for (to, source), delays in topology.delays.items():
                    if source == m:
                        for k, d in enumerate(delays):
                            if t + d < steps:
                                a_bar = a_bar + n_bar[to][:, t + d] @ W[to, source][k]
                n_bar[m][:, t] = a_bar * f[m][1](a[m][:, t])
                gradient[m] += n_bar[m][:, t].sum(0)
                for (to, source), delays in topology.delays.items():
                    if to == m:
                        for k, d in enumerate(delays):
                            gradient[to, source][k] += n_bar[m][:, t].T @ past(source, t - d)
        return value, gradient

    def result():
        value, gradient = run()
        blocks = {("IW", k): gradient[k] for k in net.IW} | {("LW", k): gradient[k] for k in net.LW}
        return float(value), blocks | {("b", k): gradient[k] for k in net.b}

    return Peer(run, result)
