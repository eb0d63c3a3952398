"""Recurrent networks: feedback from hidden layers (Elman, layer-recurrent) or from outputs (Jordan)."""

from collections.abc import Mapping, Sequence

from lddn_jax.models.assembly import Hidden, check_feedback, hidden_layers, in_series, input_list, listed, output_layers
from lddn_jax.topology.topology import Connection, Topology


def layer_recurrent(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: Hidden = 10,
    delays: Sequence[int] = (1, 2),
    input_delays: Sequence[int] = (0,),
    transfer: str = "tanh",
) -> Topology:
    """Hidden layers in series, each with feedback from itself (MATLAB's `layrecnet(1:2, 10)`).

        a^m(t) = tanh( W^m a^{m−1}(t) + Σ_d LW^{m,m}(d) a^m(t−d) + b^m ),    y(t) = LW a^{M−1}(t) + b^M

    Args:
        inputs: Sizes of the inputs by name; may be empty.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        delays: Delays of each hidden layer's feedback; all positive.
        input_delays: Delays of every input, in samples.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If a feedback delay is 0, or names or sizes are invalid.

    Example:
        >>> print(*layer_recurrent({"u": 1}, {"y": 1}, hidden=(4, 3), delays=(1,)).connections[3:], sep="; ")
        hidden_1 -> hidden_1 delay 1; hidden_2 -> hidden_2 delay 1

    Elman (1990), Cognitive Science 14(2), for one layer; De Jesús & Hagan (2007), section II.
    """
    check_feedback("layer_recurrent", "delays", delays)
    layers = hidden_layers(hidden, transfer)
    lines = dict.fromkeys(inputs, listed("input_delays", input_delays))
    return Topology(
        input_list(inputs),
        [*layers, *output_layers(outputs)],
        [*in_series(lines, layers, outputs), *(Connection(layer.name, layer.name, tuple(delays)) for layer in layers)],
        list(outputs),
    )


def elman(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: int = 10,
    delays: Sequence[int] = (1, 2),
    transfer: str = "tanh",
) -> Topology:
    """A simple recurrent network: one hidden layer with feedback from itself (MATLAB's `elmannet(1:2, 10)`).

        a(t) = tanh( IW u(t) + Σ_d LW(d) a(t−d) + b ),    y(t) = LW' a(t) + b'

    Elman's original network has `delays=(1,)`. MATLAB trains `elmannet` with a derivative that ignores dependence
    through delays; here the derivative is exact. Same as `layer_recurrent` with one hidden layer.

    Args:
        inputs: Sizes of the inputs by name; may be empty.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer.
        delays: Delays of its feedback; all positive.
        transfer: Transfer function of the hidden layer.

    Raises:
        TopologyError: If a feedback delay is 0, or names or sizes are invalid.

    Example:
        >>> print(*elman({"u": 1}, {"y": 1}, delays=(1,)).connections, sep="; ")
        u -> hidden delay 0; hidden -> y delay 0; hidden -> hidden delay 1

    Elman (1990), Cognitive Science 14(2).
    """
    check_feedback("elman", "delays", delays)
    return layer_recurrent(inputs, outputs, hidden=hidden, delays=delays, transfer=transfer)


def jordan(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: Hidden = 10,
    input_delays: Sequence[int] = (0,),
    feedback_delays: Sequence[int] = (1,),
    transfer: str = "tanh",
) -> Topology:
    """A network with feedback from its outputs: `narx` with the loop closed.

        y(t) = LW tanh( Σ_d IW(d) u(t−d) + Σ_d LW'(d) y(t−d) + b ) + b'

    MATLAB has no function for it; `closeloop(narxnet(0, 1, 10))` has the same structure.

    Args:
        inputs: Sizes of the inputs by name; may be empty.
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        input_delays: Delays of every input, in samples.
        feedback_delays: Delays of the feedback from every output to the first hidden layer; all positive.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If a feedback delay is 0, or names or sizes are invalid.

    Example:
        >>> print(*jordan({"u": 1}, {"y": 1}).connections, sep="; ")
        u -> hidden delay 0; y -> hidden delay 1; hidden -> y delay 0

    Jordan (1986), *Attractor dynamics and parallelism in a connectionist sequential machine*.
    """
    check_feedback("jordan", "feedback_delays", feedback_delays)
    layers = hidden_layers(hidden, transfer)
    lines = dict.fromkeys(inputs, listed("input_delays", input_delays)) | dict.fromkeys(outputs, tuple(feedback_delays))
    return Topology(
        input_list(inputs), [*layers, *output_layers(outputs)], in_series(lines, layers, outputs), list(outputs)
    )
