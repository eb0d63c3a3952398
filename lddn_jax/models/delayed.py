"""Networks with finite memory: tapped delay lines without loops."""

from collections.abc import Mapping, Sequence

from lddn_jax.errors import TopologyError
from lddn_jax.models.assembly import Hidden, hidden_layers, in_series, input_list, listed, output_layers
from lddn_jax.topology.topology import Topology


def time_delay(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: Hidden = 10,
    delays: Sequence[int] = (1, 2),
    transfer: str = "tanh",
) -> Topology:
    """A focused time-delay network: delays at the inputs only (MATLAB's `timedelaynet(1:2, 10)`).

        y(t) = LW tanh( Σ_d IW(d) u(t−d) + b ) + b'

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        delays: Delays of every input, in samples.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If names, sizes or delays are invalid.

    Example:
        >>> print(*time_delay({"u": 1}, {"y": 1}, delays=(0, 1, 2)).connections, sep="; ")
        u -> hidden delay 0, 1, 2; hidden -> y delay 0

    Hagan et al., *Neural Network Design*, 2nd ed., ch. 14; MathWorks, *Deep Learning Toolbox*, `timedelaynet`.
    """
    layers = hidden_layers(hidden, transfer)
    lines = dict.fromkeys(inputs, listed("delays", delays))
    return Topology(
        input_list(inputs), [*layers, *output_layers(outputs)], in_series(lines, layers, outputs), list(outputs)
    )


def distributed_delay(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: Hidden = 10,
    delays: Sequence[Sequence[int]] = ((1, 2), (1, 2)),
    transfer: str = "tanh",
) -> Topology:
    """A time-delay network with delays before every layer (MATLAB's `distdelaynet({1:2, 1:2}, 10)`).

        a(t) = tanh( Σ_d IW(d) u(t−d) + b ),    y(t) = Σ_d LW(d) a(t−d) + b'

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        delays: Delays before each hidden layer and, last, before the outputs: one tuple more than hidden layers.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If the number of tuples is wrong, or names, sizes or delays are invalid.

    Example:
        >>> print(*distributed_delay({"u": 1}, {"y": 1}, delays=((0, 1), (0, 2))).connections, sep="; ")
        u -> hidden delay 0, 1; hidden -> y delay 0, 2

    Waibel et al. (1989), IEEE Transactions on Acoustics, Speech, and Signal Processing 37(3); Hagan et al., *Neural
    Network Design*, 2nd ed., ch. 14.
    """
    layers, later = hidden_layers(hidden, transfer), [listed("delays of a layer", line) for line in delays]
    if len(delays) != len(layers) + 1:
        raise TopologyError(
            f"distributed_delay: {len(delays)} tuples of delays were given for {len(layers)} hidden "
            f"layer{'s' if len(layers) > 1 else ''}; give one before each of them and one before the outputs: "
            f"delays={((1, 2),) * (len(layers) + 1)}."
        )
    lines = dict.fromkeys(inputs, later[0])
    return Topology(
        input_list(inputs),
        [*layers, *output_layers(outputs)],
        in_series(lines, layers, outputs, later[1:]),
        list(outputs),
    )
