"""Systems that are linear in a signal, times something else: bilinear systems and NARMA-L2 models."""

from collections.abc import Mapping, Sequence

from lddn_jax.errors import TopologyError
from lddn_jax.models.assembly import check_feedback, input_list, listed, output_layers, sized
from lddn_jax.network.signals import measured_name
from lddn_jax.topology.topology import Connection, Layer, Topology


def bilinear(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    states: int = 2,
    products: int | None = None,
    feedthrough: bool = False,
) -> Topology:
    """A bilinear state space: linear in the states and linear in the inputs.

        x(t) = A x(t−1) + B u(t−1) + N ( (V x(t−1)) ⊙ (G u(t−1)) ),    y(t) = C x(t) [+ D u(t)] + b

    Every system x(t) = A x(t−1) + B u(t−1) + Σ_j N_j x(t−1) u_j(t−1) has this form with as many products as there are
    pairs of a state and an element of an input. V is `LW["modulated", "state"]`, N `LW["state", "modulated"]`, and G u
    the layer `gain`. With N = 0 it is the linear model `lddn_jax.models.linear_state_space` with a bias of the outputs,
    so it can start from one, by `lddn_jax.initializers.FromLinear`.

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        states: Number of states.
        products: Number of products; None for states times elements of inputs.
        feedthrough: Whether inputs act on outputs without delay, by a D.

    Raises:
        TopologyError: If names or sizes are invalid, or an output has the name of a layer.

    Example:
        >>> print(*bilinear({"u": 1}, {"y": 1}).connections[2:5], sep="; ")
        u -> gain delay 1; state -> modulated delay 1; gain -> modulated delay 0, identity

    Mohler (1973), *Bilinear Control Processes*.
    """
    elements = sum(sized("inputs", inputs).values())
    count = states * elements if products is None else products
    return Topology(
        input_list(inputs),
        [
            Layer("state", states, "linear", bias=False),
            Layer("gain", count, "linear", bias=False),
            Layer("modulated", count, "linear", bias=False, net_input="product"),
            *output_layers(outputs),
        ],
        [
            *(Connection(source, "state", (1,)) for source in (*inputs, "state")),
            *(Connection(source, "gain", (1,)) for source in inputs),
            Connection("state", "modulated", (1,)),
            Connection("gain", "modulated", weights="identity"),
            Connection("modulated", "state"),
            *(Connection("state", to) for to in outputs),
            *(Connection(source, to) for source in inputs for to in outputs if feedthrough),
        ],
        list(outputs),
    )


def narma_l2(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    hidden: int = 10,
    input_delays: Sequence[int] = (1, 2),
    feedback_delays: Sequence[int] = (1, 2),
    transfer: str = "tanh",
) -> Topology:
    """A NARMA-L2 model: affine in the newest input, so that a controller can solve for it (feedback linearization).

        y(t) = f( past ) + g( past ) ⊙ u(t−k),    past: y_measured(t−d), and u(t−d) for d > k

    f and g are networks with one hidden layer each, `f_hidden` and `g_hidden`, and the controller is u(t) =
    (reference − f) / g. The output layer has an input `measured_y` for its measured past; close the loop as that of
    `narx`.

    Args:
        inputs: The input, its size by name.
        outputs: The output, its size by name; that of the input.
        hidden: Neurons of each hidden layer.
        input_delays: Delays of the input; the first, k, is that of the factor, the others are read by f and g.
        feedback_delays: Delays of the measured output; all positive, so that the loop can be closed.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If there is not one input and one output of one size, a feedback delay is 0, or names or delays
            are invalid.

    Example:
        >>> [layer.name for layer in narma_l2({"u": 1}, {"y": 1}).layers]
        ['f_hidden', 'g_hidden', 'f', 'g', 'steered', 'y']

    Narendra & Mukhopadhyay (1997), IEEE Transactions on Neural Networks 8(3); Hagan, Demuth & De Jesús (2002),
    International Journal of Robust and Nonlinear Control 12(11).
    """
    check_feedback("narma_l2", "feedback_delays", feedback_delays)
    sizes = [*sized("inputs", inputs).values(), *sized("outputs", outputs).values()]
    if len(inputs) != 1 or len(outputs) != 1 or len(set(sizes)) != 1:
        raise TopologyError(
            f"narma_l2: inputs={dict(inputs)} and outputs={dict(outputs)} must be one input and one output of the same "
            "size, because the output is affine in the input: narma_l2({'u': 1}, {'y': 1})."
        )
    (u,), (y,), size = inputs, outputs, sizes[0]
    measured, (first, *others) = measured_name(y), listed("input_delays", input_delays)
    lines = {measured: tuple(feedback_delays)} | ({u: tuple(others)} if others else {})
    return Topology(
        input_list({u: size, measured: size}),
        [
            Layer("f_hidden", hidden, transfer),
            Layer("g_hidden", hidden, transfer),
            Layer("f", size, "linear"),
            Layer("g", size, "linear"),
            Layer("steered", size, "linear", bias=False, net_input="product"),
            Layer(y, size, "linear", bias=False),
        ],
        [
            *(Connection(source, to, delays) for to in ("f_hidden", "g_hidden") for source, delays in lines.items()),
            Connection("f_hidden", "f"),
            Connection("g_hidden", "g"),
            Connection("g", "steered", weights="identity"),
            Connection(u, "steered", (first,), "identity"),
            Connection("f", y, weights="identity"),
            Connection("steered", y, weights="identity"),
        ],
        [y],
    )
