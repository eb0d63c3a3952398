"""Nonlinear state space: a linear state-space model with hidden layers in its state and output equations."""

from collections.abc import Mapping

from lddn_jax.errors import TopologyError
from lddn_jax.models.assembly import input_list, output_layers
from lddn_jax.topology.topology import Connection, Layer, Topology


def state_space(
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    *,
    states: int = 2,
    hidden: int = 5,
    output_hidden: int = 0,
    feedthrough: bool = False,
    transfer: str = "tanh",
) -> Topology:
    """A nonlinear state-space model in discrete time, around a linear one.

        x(t) = A x(t−1) + B u(t−1) + b + W f(V_x x(t−1) + V_u u(t−1) + c)
        y(t) = C x(t) [+ D u(t)] + b' + W' f(V' x(t) + c')

    A is `LW["state", "state"]`, B `IW["state", u]`, C `LW[y, "state"]`, D `IW[y, u]`, W `LW["state", "hidden"]`, V_x
    `LW["hidden", "state"]`, V_u `IW["hidden", u]`, W' `LW[y, "output_hidden"]` and V' `LW["output_hidden", "state"]`.
    With W = W' = 0 it is the linear model `lddn_jax.models.linear_state_space` with biases, so it can start from one:
    see `lddn_jax.initializers.FromLinear`. Its outputs do not depend on measured outputs, so it always runs free, from
    a first state that is estimated or trained; see `lddn_jax.data.Trained` and `lddn_jax.estimate_state`.

    Args:
        inputs: Sizes of the inputs by name; may be empty.
        outputs: Sizes of the outputs by name.
        states: Number of states.
        hidden: Number of neurons in the state equation; 0 for a linear one.
        output_hidden: Number of neurons in the output equation; 0 for a linear one. With `hidden=0` this is a Wiener
            model.
        feedthrough: Whether inputs act on outputs without delay, by a D.
        transfer: Transfer function of the hidden layers.

    Raises:
        TopologyError: If names or sizes are invalid, or an output has the name of a layer.

    Example:
        >>> print(*state_space({"u": 1}, {"y": 1}, states=2, hidden=3).connections, sep="; ")
        u -> hidden delay 1; state -> hidden delay 1; u -> state delay 1; state -> state delay 1; hidden -> state delay\
 0; state -> y delay 0

    Suykens, De Moor & Vandewalle (1995), International Journal of Control 62(1); Paduart et al. (2010), Automatica
    46(4), for the start from a linear model.
    """
    for name, size in (("hidden", hidden), ("output_hidden", output_hidden)):
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise TopologyError(
                f"state_space: {name}={size!r} is not a number of neurons; write {name}=5, or 0 for none."
            )
    first, last = bool(hidden), bool(output_hidden)
    return Topology(
        input_list(inputs),
        [
            *([Layer("hidden", hidden, transfer)] if first else []),
            Layer("state", states, "linear"),
            *([Layer("output_hidden", output_hidden, transfer)] if last else []),
            *output_layers(outputs),
        ],
        [
            *(Connection(source, "hidden", (1,)) for source in (*inputs, "state") if first),
            *(Connection(source, "state", (1,)) for source in (*inputs, "state")),
            *([Connection("hidden", "state")] if first else []),
            *([Connection("state", "output_hidden")] if last else []),
            *(Connection("state", to) for to in outputs),
            *(Connection("output_hidden", to) for to in outputs if last),
            *(Connection(source, to) for source in inputs for to in outputs if feedthrough),
        ],
        list(outputs),
    )
