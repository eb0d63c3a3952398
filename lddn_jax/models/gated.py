"""Gated recurrent networks: long short-term memories (LSTM) and gated recurrent units (GRU), as graphs of layers.

A gate is a logistic layer, and what it lets through a layer that multiplies.
"""

from collections.abc import Mapping

from lddn_jax.models.assembly import Hidden, hidden_layers, input_list, output_layers
from lddn_jax.topology.topology import Connection, Layer, Topology


def lstm(
    inputs: Mapping[str, int], outputs: Mapping[str, int], *, hidden: Hidden = 10, peepholes: bool = False
) -> Topology:
    """Long short-term memory: cells that keep their content as long as a gate lets them.

        i, f, o = σ( W u(t) + R h(t−1) + b )  [of each gate]      g = tanh( W_g u(t) + R_g h(t−1) + b_g )
        c(t) = f ⊙ c(t−1) + i ⊙ g,    h(t) = o ⊙ tanh(c(t)),    y(t) = C h(t) + b_y

    h is the layer `hidden`, c `cell`, and i, f, o and g are `input_gate`, `forget_gate`, `output_gate` and `candidate`;
    layers in series have numbers, `hidden_1`, `cell_1` …, and read h of the one before as u. The sum of PyTorch's two
    biases of a gate is the bias here. See `lddn_jax.initializers.Gated` for the first biases of the gates.

    Args:
        inputs: Sizes of the inputs by name; may be empty.
        outputs: Sizes of the outputs by name.
        hidden: Number of cells, or a sequence for several layers in series.
        peepholes: Whether gates read the cells too, by diagonal weights: i and f read c(t−1), and o reads c(t).

    Raises:
        TopologyError: If names or sizes are invalid, or an output has the name of a layer.

    Example:
        >>> import jax, lddn_jax as lddn
        >>> topology = lstm({"u": 1}, {"y": 1}, hidden=4)
        >>> lddn.Network(topology, key=jax.random.key(0), init=lddn.initializers.Gated()).parameter_count
        101

    Hochreiter & Schmidhuber (1997), Neural Computation 9(8); Gers, Schmidhuber & Cummins (2000), Neural Computation
    12(10), for the forget gate; Gers & Schmidhuber (2000), IJCNN, for peepholes.
    """
    layers: list[Layer] = []
    connections: list[Connection] = []
    sources = list(inputs)
    for h, named in _layers_in_series(hidden):
        gates = [named("input_gate"), named("forget_gate"), named("output_gate")]
        candidate, kept, written = named("candidate"), named("kept"), named("written")
        cell, shown = named("cell"), named("cell_output")
        layers += [
            *(Layer(gate, h.size, "logistic") for gate in gates),
            Layer(candidate, h.size, "tanh"),
            _product(kept, h.size),
            _product(written, h.size),
            Layer(cell, h.size, "linear", bias=False),
            Layer(shown, h.size, "tanh", bias=False),
            _product(h.name, h.size),
        ]
        connections += [
            *_read_by([*gates, candidate], sources, h.name),
            *_identities((gates[1], kept), (gates[0], written), (candidate, written), (kept, cell), (written, cell)),
            Connection(cell, kept, (1,), "identity"),
            *_identities((cell, shown), (gates[2], h.name), (shown, h.name)),
        ]
        if peepholes:
            connections += [Connection(cell, gate, (1,), "diagonal") for gate in gates[:2]]
            connections.append(Connection(cell, gates[2], weights="diagonal"))
        sources = [h.name]
    return _read_out(inputs, layers, connections, sources, outputs)


def gru(inputs: Mapping[str, int], outputs: Mapping[str, int], *, hidden: Hidden = 10) -> Topology:
    """Gated recurrent units, in the variant that resets what a matrix has read from the state (that of cuDNN).

        r, z = σ( W u(t) + R h(t−1) + b )  [of each gate]      g = tanh( W_g u(t) + b_g + r ⊙ (R_g h(t−1) + b_r) )
        h(t) = (1 − z) ⊙ g + z ⊙ h(t−1),    y(t) = C h(t) + b_y

    h is the layer `hidden`, and r, z and g are `reset_gate`, `update_gate` and `candidate`; R_g h(t−1) + b_r is
    `recalled`. Layers in series have numbers, `hidden_1` …, and read h of the one before as u.

    Args:
        inputs: Sizes of the inputs by name; may be empty.
        outputs: Sizes of the outputs by name.
        hidden: Number of units, or a sequence for several layers in series.

    Raises:
        TopologyError: If names or sizes are invalid, or an output has the name of a layer.

    Example:
        >>> import lddn_jax as lddn
        >>> print(lddn.plan(gru({"u": 1}, {"y": 1})).blocks[0].reason)
        recurrent, 1 step at a time because of hidden -> kept delay 1

    Cho et al. (2014), EMNLP; Chung et al. (2014), arXiv:1412.3555, for the comparison with LSTMs.
    """
    layers: list[Layer] = []
    connections: list[Connection] = []
    sources = list(inputs)
    for h, named in _layers_in_series(hidden):
        reset, update, candidate = named("reset_gate"), named("update_gate"), named("candidate")
        recalled, passed, renewal = named("recalled"), named("passed"), named("renewal_gate")
        kept, written = named("kept"), named("written")
        layers += [
            Layer(reset, h.size, "logistic"),
            Layer(update, h.size, "logistic"),
            Layer(recalled, h.size, "linear"),
            _product(passed, h.size),
            Layer(candidate, h.size, "tanh"),
            Layer(renewal, h.size, "complement", bias=False),
            _product(kept, h.size),
            _product(written, h.size),
            Layer(h.name, h.size, "linear", bias=False),
        ]
        connections += [
            *_read_by([reset, update], sources, h.name),
            *(Connection(source, candidate) for source in sources),
            Connection(h.name, recalled, (1,)),
            *_identities((reset, passed), (recalled, passed), (passed, candidate), (update, renewal), (update, kept)),
            Connection(h.name, kept, (1,), "identity"),
            *_identities((renewal, written), (candidate, written), (kept, h.name), (written, h.name)),
        ]
        sources = [h.name]
    return _read_out(inputs, layers, connections, sources, outputs)


def _layers_in_series(hidden: Hidden):
    """Yields each layer of states, and the function from the names of its parts to those of layers."""
    for h in hidden_layers(hidden, "linear"):
        number = h.name.removeprefix("hidden")
        yield h, lambda name, number=number: name + number


def _product(name: str, size: int) -> Layer:
    return Layer(name, size, "linear", bias=False, net_input="product")


def _read_by(layers: list[str], sources: list[str], state: str) -> list[Connection]:
    """Returns the connections by which layers read sources and, a step later, the states."""
    now = [Connection(source, to) for to in layers for source in sources]
    return [*now, *(Connection(state, to, (1,)) for to in layers)]


def _identities(*pairs: tuple[str, str]) -> list[Connection]:
    return [Connection(source, to, weights="identity") for source, to in pairs]


def _read_out(inputs, layers, connections, sources, outputs) -> Topology:
    last = [Connection(source, to) for source in sources for to in outputs]
    return Topology(input_list(inputs), [*layers, *output_layers(outputs)], [*connections, *last], list(outputs))
