"""Building blocks of the ready-made topologies: layers in series, and the connections between them."""

from collections.abc import Iterable, Mapping, Sequence

from lddn_jax.errors import TopologyError
from lddn_jax.topology.topology import Connection, Input, Layer

Hidden = int | Sequence[int]


def input_list(inputs: Mapping[str, int]) -> list[Input]:
    """Returns one input for each name and size."""
    return [Input(name, size) for name, size in sized("inputs", inputs).items()]


def hidden_layers(hidden: Hidden, transfer: str) -> list[Layer]:
    """Returns layers in series: `hidden`, or `hidden_1`, `hidden_2` … if there are several.

    Raises:
        TopologyError: If `hidden` is empty.
    """
    sizes = [hidden] if isinstance(hidden, int | str) else list(hidden)
    if not sizes:
        raise TopologyError("hidden=() declares no hidden layer; write hidden=10, or for a linear network models.fir.")
    if len(sizes) == 1:
        return [Layer("hidden", sizes[0], transfer)]
    return [Layer(f"hidden_{k}", size, transfer) for k, size in enumerate(sizes, start=1)]


def output_layers(outputs: Mapping[str, int]) -> list[Layer]:
    """Returns one linear layer for each output."""
    return [Layer(name, size, "linear") for name, size in sized("outputs", outputs).items()]


def sized(what: str, given: Mapping[str, int]) -> Mapping[str, int]:
    """Returns sizes by name; raises a TopologyError if they are not a mapping."""
    if not isinstance(given, Mapping):
        example = {"inputs": {"u": 1}, "outputs": {"y": 1}}[what]
        raise TopologyError(f"{what}={given!r} must be sizes by name, such as {what}={example}.")
    return given


def listed(what: str, given: Sequence[int]) -> tuple[int, ...]:
    """Returns delays as a tuple; raises a TopologyError if they are a single number."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TopologyError(f"{what}={given!r} must be a list of delays: {what}=({given!r},), or {what}=(1, 2).")
    return tuple(given)


def in_series(
    lines: Mapping[str, Sequence[int]],
    hidden: Sequence[Layer],
    outputs: Iterable[str],
    later: Sequence[Sequence[int]] | None = None,
) -> list[Connection]:
    """Returns connections from `lines` to the first hidden layer, between hidden layers, and to all outputs.

    Args:
        lines: Delays of the connections to the first hidden layer, by source.
        hidden: The hidden layers, at least one.
        outputs: Names of the output layers.
        later: Delays of the connections from each hidden layer; None for (0,).
    """
    later = [(0,)] * len(hidden) if later is None else later
    return [
        *(Connection(source, hidden[0].name, tuple(delays)) for source, delays in lines.items()),
        *(
            Connection(one.name, following.name, tuple(delays))
            for one, following, delays in zip(hidden, hidden[1:], later, strict=False)
        ),
        *(Connection(hidden[-1].name, name, tuple(later[-1])) for name in outputs),
    ]


def check_feedback(model: str, name: str, delays: Sequence[int]) -> None:
    """Raises a TopologyError that names the model and its argument if a delay of a loop is 0."""
    if 0 in listed(name, delays):
        raise TopologyError(
            f"{model}: {name}={tuple(delays)} includes 0, so y(t) would depend on itself. "
            f"Use positive delays only: {tuple(d for d in delays if d != 0) or (1,)}."
        )
