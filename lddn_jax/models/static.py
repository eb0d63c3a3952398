"""Networks without memory: the outputs depend on the inputs of the same time step only."""

from collections.abc import Mapping

from lddn_jax.models.assembly import Hidden, hidden_layers, in_series, input_list, output_layers
from lddn_jax.topology.topology import Connection, Topology


def feedforward(
    inputs: Mapping[str, int], outputs: Mapping[str, int], *, hidden: Hidden = 10, transfer: str = "tanh"
) -> Topology:
    """A multilayer perceptron (MATLAB's `feedforwardnet(10)`).

        a¹(t) = tanh( IW u(t) + b¹ ),   …,   y(t) = LW a^{M−1}(t) + b^M

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If names or sizes are invalid.

    Example:
        >>> print(*feedforward({"u": 2}, {"y": 1}, hidden=(5, 3)).connections, sep="; ")
        u -> hidden_1 delay 0; hidden_1 -> hidden_2 delay 0; hidden_2 -> y delay 0

    Hagan et al., *Neural Network Design*, 2nd ed., ch. 11.
    """
    layers = hidden_layers(hidden, transfer)
    lines = dict.fromkeys(inputs, (0,))
    return Topology(
        input_list(inputs), [*layers, *output_layers(outputs)], in_series(lines, layers, outputs), list(outputs)
    )


def cascade_forward(
    inputs: Mapping[str, int], outputs: Mapping[str, int], *, hidden: Hidden = 10, transfer: str = "tanh"
) -> Topology:
    """A multilayer perceptron with connections from the inputs and all earlier layers (`cascadeforwardnet(10)`).

        a^m(t) = f^m( IW^m u(t) + Σ_{l<m} LW^{m,l} a^l(t) + b^m )

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If names or sizes are invalid.

    Example:
        >>> print(*cascade_forward({"u": 2}, {"y": 1}).connections, sep="; ")
        u -> hidden delay 0; u -> y delay 0; hidden -> y delay 0

    Fahlman & Lebiere (1990), *The cascade-correlation learning architecture*, which has these connections.
    """
    layers = hidden_layers(hidden, transfer)
    sources, connections = list(inputs), []
    for layer in layers:
        connections += [Connection(source, layer.name) for source in sources]
        sources.append(layer.name)
    connections += [Connection(source, name) for name in outputs for source in sources]
    return Topology(input_list(inputs), [*layers, *output_layers(outputs)], connections, list(outputs))
