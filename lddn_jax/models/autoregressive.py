"""Networks that predict a signal from its own measured past: NARX and NAR."""

from collections.abc import Mapping, Sequence

from lddn_jax.models.assembly import (
    Hidden,
    check_feedback,
    hidden_layers,
    in_series,
    input_list,
    listed,
    output_layers,
    sized,
)
from lddn_jax.network.signals import measured_name
from lddn_jax.topology.topology import Connection, Topology


def narx(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: Hidden = 10,
    input_delays: Sequence[int] = (1, 2),
    feedback_delays: Sequence[int] = (1, 2),
    transfer: str = "tanh",
    linear_path: bool = False,
) -> Topology:
    """A nonlinear autoregressive network with exogenous inputs, open loop (MATLAB's `narxnet(1:2, 1:2, 10)`).

        y(t) = LW tanh( Σ_d IW(d) u(t−d) + Σ_d IW'(d) y_measured(t−d) + b ) + b'

    Each output layer `y` has an input `measured_y` for its measured past. Train the open loop, then close it with
    `lddn_jax.close_loop(net, output="y", input="measured_y")` to predict further than one step.

    Args:
        inputs: Sizes of the exogenous inputs by name; may be empty (a NAR network).
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        input_delays: Delays of every input, in samples.
        feedback_delays: Delays of every measured output; all positive, so that the loop can be closed.
        transfer: Transfer function of the hidden layers.
        linear_path: Whether inputs and measured outputs also feed the outputs directly, with the same delays: a
            linear model in parallel with the network, which extrapolates where the hidden layer saturates.

    Raises:
        TopologyError: If a feedback delay is 0, or names or sizes are invalid.

    Example:
        >>> topology = narx({"current": 1}, {"position": 1})
        >>> [i.name for i in topology.inputs]
        ['current', 'measured_position']

    Leontaritis & Billings (1985), International Journal of Control 41(2); Hagan et al., *Neural Network Design*,
    2nd ed., ch. 27.
    """
    check_feedback("narx", "feedback_delays", feedback_delays)
    inputs, outputs = sized("inputs", inputs), sized("outputs", outputs)
    measured = {measured_name(name): size for name, size in outputs.items()}
    lines = dict.fromkeys(inputs, listed("input_delays", input_delays))
    lines |= dict.fromkeys(measured, tuple(feedback_delays))
    layers = hidden_layers(hidden, transfer)
    return Topology(
        input_list(dict(inputs) | measured),
        [*layers, *output_layers(outputs)],
        [
            *in_series(lines, layers, outputs),
            *(Connection(name, to, delays) for name, delays in lines.items() for to in outputs if linear_path),
        ],
        list(outputs),
    )


def nar(
    outputs: Mapping[str, int],
    *,
    hidden: Hidden = 10,
    feedback_delays: Sequence[int] = (1, 2),
    transfer: str = "tanh",
    linear_path: bool = False,
) -> Topology:
    """A nonlinear autoregressive network, open loop (MATLAB's `narnet(1:2, 10)`): `narx` without inputs.

        y(t) = LW tanh( Σ_d IW(d) y_measured(t−d) + b ) + b'

    Args:
        outputs: Sizes of the outputs by name; output `y` has an input `measured_y`.
        hidden: Neurons of the hidden layer, or a sequence for several layers in series.
        feedback_delays: Delays of every measured output; all positive.
        transfer: Transfer function of the hidden layers.
        linear_path: Whether measured outputs also feed the outputs directly.

    Raises:
        TopologyError: If a feedback delay is 0, or names or sizes are invalid.

    Example:
        >>> print(*nar({"y": 1}).connections, sep="; ")
        measured_y -> hidden delay 1, 2; hidden -> y delay 0

    Leontaritis & Billings (1985), International Journal of Control 41(2).
    """
    check_feedback("nar", "feedback_delays", feedback_delays)
    return narx(
        {},
        outputs,
        hidden=hidden,
        feedback_delays=feedback_delays,
        transfer=transfer,
        linear_path=linear_path,
    )
