"""NumPy as a peer: loops over steps, batched over sequences, one product for each connection, delay and step.

Two variants: the textbook's recursion with the sensitivities S^{u,m} of the static part, as in existing
implementations, and the shorter one in n̄ alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import lddn_jax as lddn
from benchmarks.peers import Peer
from lddn_jax.topology.plan import plan

_FUNCTIONS = {
    "linear": (lambda n: n, np.ones_like),
    "tanh": (np.tanh, lambda a: 1 - a * a),
    "logistic": (lambda n: 1 / (1 + np.exp(-n)), lambda a: a * (1 - a)),
}


def step_loop(net: lddn.Network, data: lddn.Sequences) -> Peer:
    """Backward through time by n̄ alone."""

    def n_bar_at(loop, a, n_bar, t):
        for m in reversed(loop.order):
            n_bar[m][:, t] = loop.read_later(m, a, n_bar, t) * loop.slope(m, a, t)

    return _peer(_Loop.of(net, data), n_bar_at)


def textbook_loop(net: lddn.Network, data: lddn.Sequences) -> Peer:
    """Backward through time by the sensitivities S^{u,m} and the derivatives with respect to the outputs of U."""

    def n_bar_at(loop, a, n_bar, t):
        S = {}
        for u in loop.U:
            for m in reversed(loop.order):
                instant = [k for k in loop.order if loop.delays.get((k, m), (1,))[0] == 0 and (u, k) in S]
                paths = [S[u, k] @ loop.W[k, m][0] for k in instant]
                if m == u:
                    paths.append(np.eye(loop.sizes[u]))
                if paths:
                    S[u, m] = sum(paths) * loop.slope(m, a, t)[:, None, :]
        phi = {u: loop.read_later(u, a, n_bar, t, instant=False) for u in loop.U}
        for m in loop.order:
            terms = [np.einsum("bum,bu->bm", S[u, m], phi[u]) for u in loop.U if (u, m) in S]
            n_bar[m][:, t] = sum(terms)

    return _peer(_Loop.of(net, data), n_bar_at)


@dataclass
class _Loop:
    """A network and its data as NumPy arrays, signals `(batch, time, size)`."""

    delays: dict
    sizes: dict
    outputs: tuple
    transfers: dict
    order: tuple
    U: list
    W: dict
    b: dict
    inputs: dict
    targets: dict
    held: dict
    batch: int
    steps: int

    @classmethod
    def of(cls, net, data):
        topology = net.topology
        delayed = {source for (_, source), delays in topology.delays.items() if delays[-1] > 0}
        return cls(
            topology.delays,
            topology.sizes,
            topology.outputs,
            {layer.name: _FUNCTIONS[layer.transfer] for layer in topology.layers},
            plan(topology).simulation_order,
            sorted(delayed.difference(topology.input_names).union(topology.outputs)),
            {pair: np.asarray(w) for pair, w in (net.IW | net.LW).items()},
            {name: np.asarray(bias) for name, bias in net.b.items()},
            {name: np.asarray(signal) for name, signal in data.inputs.items()},
            {name: np.asarray(signal) for name, signal in data.targets.items()},
            {name: np.asarray(state) for name, state in data.state.items()},
            data.batch[0],
            data.steps,
        )

    def past(self, a, source, t):
        return a[source][:, t] if t >= 0 else self.held[source][:, t]

    def slope(self, m, a, t):
        return self.transfers[m][1](a[m][:, t])

    def forward(self) -> dict:
        dtype = next(iter(self.inputs.values())).dtype
        a = dict(self.inputs) | {m: np.zeros((self.batch, self.steps, self.sizes[m]), dtype) for m in self.order}
        for t in range(self.steps):
            for m in self.order:
                n = self.b[m] + np.zeros((self.batch, self.sizes[m]), dtype)
                for (to, source), delays in self.delays.items():
                    if to == m:
                        for k, d in enumerate(delays):
                            n = n + self.past(a, source, t - d) @ self.W[to, source][k].T
                a[m][:, t] = self.transfers[m][0](n)
        return a

    def read_later(self, m, a, n_bar, t, instant=True) -> np.ndarray:
        """Returns ∂F/∂a^m(t) through the loss and all layers that read it later, optionally also at delay 0."""
        a_bar = 2 * (a[m][:, t] - self.targets[m][:, t]) if m in self.targets else np.zeros_like(a[m][:, t])
        for (to, source), delays in self.delays.items():
            if source == m:
                for k, d in enumerate(delays):
                    if t + d < self.steps and (instant or d > 0):
                        a_bar = a_bar + n_bar[to][:, t + d] @ self.W[to, source][k]
        return a_bar


def _peer(loop: _Loop, n_bar_at: Callable[[_Loop, dict, dict, int], None]) -> Peer:
    def run():
        a = loop.forward()
        value = sum(np.sum((loop.targets[u] - a[u]) ** 2) for u in loop.outputs)
        n_bar = {m: np.zeros_like(a[m]) for m in loop.order}
        gradient = {key: np.zeros_like(w) for key, w in (loop.W | loop.b).items()}
        for t in reversed(range(loop.steps)):
            n_bar_at(loop, a, n_bar, t)
            for m in loop.b:
                gradient[m] += n_bar[m][:, t].sum(0)
            for (to, source), delays in loop.delays.items():
                for k, d in enumerate(delays):
                    gradient[to, source][k] += n_bar[to][:, t].T @ loop.past(a, source, t - d)
        return value, gradient

    def result():
        value, gradient = run()
        kinds = {key: "b" if key in loop.b else "IW" if key[1] in loop.inputs else "LW" for key in gradient}
        return float(value), {(kinds[key], key): block for key, block in gradient.items()}

    return Peer(run, result)
