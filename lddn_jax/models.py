"""Ready-made topologies."""

from collections.abc import Mapping, Sequence

from lddn_jax.errors import TopologyError
from lddn_jax.topology import Connection, Input, Layer, Topology


def narx(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: int = 10,
    input_delays: Sequence[int] = (1, 2),
    feedback_delays: Sequence[int] = (1, 2),
    transfer: str = "tanh",
    linear_path: bool = False,
) -> Topology:
    """A nonlinear autoregressive network with exogenous inputs, its loop open (MATLAB's `narxnet`).

        y(t) = LW tanh( Σ_d IW(d) u(t−d) + Σ_d IW'(d) y_measured(t−d) + b ) + b'

    Each output layer `y` comes with an input `measured_y`, its own measured past. Train with the loop open, then join
    the two with `lddn_jax.close_loop(net, output="y", input="measured_y")` to predict further than one step.

    Args:
        inputs: Sizes of the exogenous inputs by name; may be empty (a NAR network).
        outputs: Sizes of the outputs by name.
        hidden: Neurons of the hidden layer.
        input_delays: Delays of every input, in samples.
        feedback_delays: Delays of every measured output; all positive, so that the loop can be closed.
        transfer: Of the hidden layer.
        linear_path: Whether inputs and measured outputs also feed the outputs directly, by the same delays: a
            linear model with a neural network beside it, which extrapolates where the hidden layer saturates.

    Raises:
        TopologyError: If a feedback delay is 0, or names or sizes are invalid.

    Example:
        >>> topology = narx({"current": 1}, {"position": 1})
        >>> [i.name for i in topology.inputs]
        ['current', 'measured_position']

    Leontaritis & Billings (1985), International Journal of Control 41(2); Hagan et al., *Neural Network Design*,
    2nd ed., ch. 27.
    """
    if 0 in tuple(feedback_delays):
        raise TopologyError(
            f"narx: feedback_delays={tuple(feedback_delays)} hold a 0, so y(t) would be predicted from itself. "
            f"Use positive delays only: {tuple(d for d in feedback_delays if d != 0) or (1,)}."
        )
    measured = {measured_name(name): size for name, size in outputs.items()}
    lines = dict.fromkeys(inputs, tuple(input_delays)) | dict.fromkeys(measured, tuple(feedback_delays))
    return Topology(
        [Input(name, size) for name, size in (dict(inputs) | measured).items()],
        [Layer("hidden", hidden, transfer), *(Layer(name, size, "linear") for name, size in outputs.items())],
        [
            *(Connection(name, "hidden", delays) for name, delays in lines.items()),
            *(Connection("hidden", name) for name in outputs),
            *(Connection(name, to, delays) for name, delays in lines.items() for to in outputs if linear_path),
        ],
        list(outputs),
    )


def measured_name(output: str) -> str:
    """The name of the input that carries measured values of an output."""
    return f"measured_{output}"
