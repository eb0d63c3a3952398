"""Standard networks and sizes: a hidden tanh layer with delays and a linear output; ten layers; and LSTMs."""

from dataclasses import dataclass
from itertools import pairwise

import jax

import lddn_jax as lddn


@dataclass(frozen=True)
class Case:
    """A network with the size of its data.

    Attributes:
        name: Name in tables.
        topology: The network.
        batch: Sequences.
        steps: Time steps.
    """

    name: str
    topology: lddn.Topology
    batch: int
    steps: int

    def draw(self, dtype, seed: int = 0) -> tuple[lddn.Network, lddn.Sequences]:
        """Returns a network with small random weights, and random data."""
        keys = jax.random.split(jax.random.key(seed), 3)
        net = lddn.Network(self.topology, key=keys[0], init="glorot", dtype=dtype)

        def signals(key, names):
            shape = (self.batch, self.steps)
            return {
                name: jax.random.normal(jax.random.fold_in(key, k), (*shape, self.topology.sizes[name]), dtype)
                for k, name in enumerate(sorted(names))
            }

        inputs, targets = signals(keys[1], self.topology.input_names), signals(keys[2], self.topology.outputs)
        return net, lddn.Sequences(inputs, targets, lddn.zero_state(self.topology, (self.batch,), dtype))


def elman(neurons: int, delays: tuple[int, ...], layers: int = 1) -> lddn.Topology:
    """Returns a network with one input, one or several self-recurrent tanh layers in series, and a linear output."""
    hidden = ["hidden", *(f"hidden_{k}" for k in range(2, layers + 1))]
    return lddn.Topology(
        [lddn.Input("u", 1)],
        [*(lddn.Layer(name, neurons) for name in hidden), lddn.Layer("y", 1, "linear")],
        [
            *(lddn.Connection(a, b) for a, b in pairwise(["u", *hidden])),
            *(lddn.Connection(name, name, delays) for name in hidden),
            lddn.Connection(hidden[-1], "y"),
        ],
        ["y"],
    )


def closed_narx(neurons: int) -> lddn.Topology:
    """Returns a NARX network with its loop closed; input and feedback delays 1 and 2."""
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=neurons), init="zeros")
    return lddn.close_loop(net, "y", "measured_y").topology


def ten_layers() -> lddn.Topology:
    """Returns ten small logistic layers, two of them with a loop, as in figure P14.2 of *Neural Network Design*."""
    sizes = {1: 2, 2: 3, 3: 2, 7: 2, 4: 1, 5: 2, 6: 4, 8: 3, 9: 2, 10: 1}
    layers = [(1, 2, (0,)), (2, 2, (1,)), (2, 3, (0,)), (3, 4, (1,)), (4, 4, (1,)), (7, 4, (0,)), (4, 5, (0,))]
    layers += [(2, 6, (0,)), (5, 6, (0, 1)), (2, 7, (0,)), (7, 8, (0,)), (4, 9, (0,)), (8, 9, (1,))]
    layers += [(6, 10, (0,)), (9, 10, (0,))]
    return lddn.Topology(
        [lddn.Input("u", 3)],
        [lddn.Layer(f"layer_{k}", size, "logistic") for k, size in sizes.items()],
        [
            lddn.Connection("u", "layer_1"),
            *(lddn.Connection(f"layer_{a}", f"layer_{b}", delays) for a, b, delays in layers),
        ],
        ["layer_10"],
    )


ELMAN_SIZES = ((10, 1, 4000), (10, 128, 100), (64, 32, 200), (64, 128, 200), (256, 32, 100), (256, 128, 100))
LSTM_SIZES = ((10, 128, 100), (64, 32, 200), (64, 128, 200), (256, 32, 100))
NARX_SIZES = ((128, 5), (32, 100), (128, 100))
STANDARD = (
    *(Case(f"Elman delay 1 ({n}, {b}, {t})", elman(n, (1,)), b, t) for n, b, t in ELMAN_SIZES),
    *(Case(f"Elman delays 1, 2 ({n}, {b}, {t})", elman(n, (1, 2)), b, t) for n, b, t in ELMAN_SIZES),
    *(Case(f"closed NARX (10, {b}, {t})", closed_narx(10), b, t) for b, t in NARX_SIZES),
    Case("ten layers (32, 50)", ten_layers(), 32, 50),
    *(Case(f"LSTM ({n}, {b}, {t})", lddn.models.lstm({"u": 1}, {"y": 1}, hidden=n), b, t) for n, b, t in LSTM_SIZES),
)
