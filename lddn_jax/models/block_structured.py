"""Block-structured models: linear dynamics and static nonlinearities in series.

A linear block is a state space, or a delay line if `delays` are given:

    x(t) = A x(t−1) + B s(t−1),  v(t) = C x(t) [+ D s(t)]        or        v(t) = Σ_d W(d) s(t−d)

A static block is a hidden layer beside a linear path, v = W f(V s + c) + L s. Between blocks run `channels` signals:
the layer `filtered` after a linear block and `shaped` after a static one.

Giri & Bai (2010), *Block-oriented Nonlinear System Identification*; Schoukens & Tiels (2017), Automatica 85.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lddn_jax.models.assembly import input_list, listed, output_layers, sized
from lddn_jax.topology.topology import Connection, Layer, Topology


def hammerstein(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: int = 10,
    states: int = 2,
    delays: Sequence[int] | None = None,
    channels: int = 1,
    feedthrough: bool = False,
    transfer: str = "tanh",
) -> Topology:
    """A static nonlinearity, then linear dynamics.

        v(t) = W f(V u(t) + c) + L u(t),    x(t) = A x(t−1) + B v(t−1),    y(t) = C x(t) [+ D v(t)] + b

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the static nonlinearity, in the layer `hidden`; v is `shaped` and x `state`.
        states: Number of states.
        delays: Delays of a delay line in place of states; None for states.
        channels: Size of v.
        feedthrough: Whether v acts on outputs without delay, by a D.
        transfer: Transfer function of the hidden layer.

    Raises:
        TopologyError: If names, sizes or delays are invalid, or an output has the name of a layer.

    Example:
        >>> print(*hammerstein({"u": 1}, {"y": 1}, delays=(0, 1)).connections, sep="; ")
        u -> hidden delay 0; hidden -> shaped delay 0; u -> shaped delay 0; shaped -> y delay 0, 1

    Narendra & Gallman (1966), IEEE Transactions on Automatic Control 11(3).
    """
    blocks = _Blocks(inputs, outputs, states, delays, feedthrough, transfer)
    shaped = blocks.static("hidden", hidden, "shaped", channels, blocks.inputs)
    return blocks.linear("state", outputs, shaped).topology()


def wiener(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: int = 10,
    states: int = 2,
    delays: Sequence[int] | None = None,
    channels: int = 1,
    feedthrough: bool = False,
    transfer: str = "tanh",
) -> Topology:
    """Linear dynamics, then a static nonlinearity.

        x(t) = A x(t−1) + B u(t−1),    v(t) = C x(t) [+ D u(t)],    y(t) = W f(V v(t) + c) + L v(t) + b

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the static nonlinearity, in the layer `hidden`; x is `state` and v `filtered`.
        states: Number of states.
        delays: Delays of a delay line in place of states; None for states.
        channels: Size of v.
        feedthrough: Whether inputs act on v without delay, by a D.
        transfer: Transfer function of the hidden layer.

    Raises:
        TopologyError: If names, sizes or delays are invalid, or an output has the name of a layer.

    Example:
        >>> print(*wiener({"u": 1}, {"y": 1}, delays=(0, 1)).connections, sep="; ")
        u -> filtered delay 0, 1; filtered -> hidden delay 0; hidden -> y delay 0; filtered -> y delay 0

    Billings & Fakhouri (1982), Automatica 18(1).
    """
    blocks = _Blocks(inputs, outputs, states, delays, feedthrough, transfer)
    blocks.linear("state", {"filtered": channels}, blocks.inputs)
    return blocks.read_out("hidden", hidden, ["filtered"]).topology()


def hammerstein_wiener(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: int = 10,
    states: int = 2,
    delays: Sequence[int] | None = None,
    channels: int = 1,
    feedthrough: bool = False,
    transfer: str = "tanh",
) -> Topology:
    """Linear dynamics between two static nonlinearities (the structure of MATLAB's `nlhw`).

        v(t) = W f(V u(t) + c) + L u(t),    x(t) = A x(t−1) + B v(t−1),    w(t) = C x(t) [+ D v(t)]
        y(t) = W' f(V' w(t) + c') + L' w(t) + b

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of each static nonlinearity, in `input_hidden` and `output_hidden`; v is `shaped`, x `state`
            and w `filtered`.
        states: Number of states.
        delays: Delays of a delay line in place of states; None for states.
        channels: Size of v and of w.
        feedthrough: Whether v acts on w without delay, by a D.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If names, sizes or delays are invalid, or an output has the name of a layer.

    Example:
        >>> [layer.name for layer in hammerstein_wiener({"u": 1}, {"y": 1}).layers]
        ['input_hidden', 'shaped', 'state', 'filtered', 'output_hidden', 'y']

    Bai (1998), Automatica 34(3).
    """
    blocks = _Blocks(inputs, outputs, states, delays, feedthrough, transfer)
    shaped = blocks.static("input_hidden", hidden, "shaped", channels, blocks.inputs)
    blocks.linear("state", {"filtered": channels}, shaped)
    return blocks.read_out("output_hidden", hidden, ["filtered"]).topology()


def wiener_hammerstein(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: int = 10,
    states: int = 2,
    delays: Sequence[int] | None = None,
    channels: int = 1,
    feedthrough: bool = False,
    transfer: str = "tanh",
) -> Topology:
    """A static nonlinearity between two linear dynamics.

        x(t) = A x(t−1) + B u(t−1),       v(t) = C x(t) [+ D u(t)],    w(t) = W f(V v(t) + c) + L v(t)
        z(t) = A' z(t−1) + B' w(t−1),     y(t) = C' z(t) [+ D' w(t)] + b

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the static nonlinearity, in the layer `hidden`; x is `input_state`, v `filtered`, w `shaped`
            and z `output_state`.
        states: Number of states of each linear block.
        delays: Delays of delay lines in place of states; None for states.
        channels: Size of v and of w.
        feedthrough: Whether both linear blocks also act without delay, by a D.
        transfer: Transfer function of the hidden layer.

    Raises:
        TopologyError: If names, sizes or delays are invalid, or an output has the name of a layer.

    Example:
        >>> [layer.name for layer in wiener_hammerstein({"u": 1}, {"y": 1}).layers]
        ['input_state', 'filtered', 'hidden', 'shaped', 'output_state', 'y']

    Schoukens, Suykens & Ljung (2009), IFAC SYSID, the Wiener-Hammerstein benchmark.
    """
    blocks = _Blocks(inputs, outputs, states, delays, feedthrough, transfer)
    blocks.linear("input_state", {"filtered": channels}, blocks.inputs)
    shaped = blocks.static("hidden", hidden, "shaped", channels, ["filtered"])
    return blocks.linear("output_state", outputs, shaped).topology()


@dataclass
class _Blocks:
    """Layers and connections of blocks in series, in the order of the signals."""

    given_inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    states: int
    delays: Sequence[int] | None
    feedthrough: bool
    transfer: str
    layers: list[Layer] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)

    @property
    def inputs(self) -> list[str]:
        return list(sized("inputs", self.given_inputs))

    def static(self, hidden: str, neurons: int, name: str, size: int, sources: list[str]) -> list[str]:
        """Adds a static block, and returns the name of its output."""
        self.layers += [Layer(hidden, neurons, self.transfer), Layer(name, size, "linear", bias=False)]
        self._read(hidden, sources, [name])
        return [name]

    def read_out(self, hidden: str, neurons: int, sources: list[str]) -> "_Blocks":
        """Adds a static block to the outputs of the model."""
        self.layers += [Layer(hidden, neurons, self.transfer), *output_layers(self.outputs)]
        self._read(hidden, sources, list(self.outputs))
        return self

    def linear(self, state: str, targets: Mapping[str, int], sources: list[str]) -> "_Blocks":
        """Adds a linear block to the outputs of the model, or to a signal between blocks, which has no bias."""
        last = targets is self.outputs
        added = output_layers(targets) if last else [Layer(n, size, "linear", False) for n, size in targets.items()]
        if self.delays is not None:
            self.layers += added
            delays = listed("delays", self.delays)
            self.connections += [Connection(source, to, delays) for source in sources for to in targets]
            return self
        self.layers += [Layer(state, self.states, "linear", bias=False), *added]
        self.connections += [Connection(source, state, (1,)) for source in [*sources, state]]
        self.connections += [Connection(state, to) for to in targets]
        self.connections += [Connection(source, to) for source in sources for to in targets if self.feedthrough]
        return self

    def topology(self) -> Topology:
        """Returns the model."""
        return Topology(input_list(self.given_inputs), self.layers, self.connections, list(self.outputs))

    def _read(self, hidden: str, sources: list[str], targets: list[str]) -> None:
        self.connections += [Connection(source, hidden) for source in sources]
        self.connections += [Connection(hidden, to) for to in targets]
        self.connections += [Connection(source, to) for source in sources for to in targets]
