"""Linear networks: finite impulse response (ADALINE) and linear state space."""

from collections.abc import Mapping, Sequence

from lddn_jax.models.assembly import input_list, listed, sized
from lddn_jax.topology.topology import Connection, Layer, Topology


def fir(
    inputs: Mapping[str, int], outputs: Mapping[str, int], *, delays: Sequence[int] = (0,), bias: bool = True
) -> Topology:
    """A finite impulse response filter, or ADALINE: one linear layer for each output (MATLAB's `linearlayer(0)`).

        y(t) = Σ_d IW(d) u(t−d) + b

    `adaline`, the name given by Widrow and Hoff, is an alias. The learning rate, an argument of MATLAB's `linearlayer`,
    is an argument of the trainer here: `lddn_jax.Optax(optax.sgd(0.01))`.

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        delays: Delays of every input, in samples.
        bias: Whether outputs have a bias.

    Raises:
        TopologyError: If names, sizes or delays are invalid.

    Example:
        >>> print(*fir({"u": 1}, {"y": 1}, delays=(0, 1, 2)).connections, sep="; ")
        u -> y delay 0, 1, 2

    Widrow & Hoff (1960), IRE WESCON Convention Record 4; Hagan et al., *Neural Network Design*, 2nd ed., ch. 10.
    """
    return Topology(
        input_list(inputs),
        [Layer(name, size, "linear", bias) for name, size in sized("outputs", outputs).items()],
        [Connection(source, to, listed("delays", delays)) for source in inputs for to in outputs],
        list(outputs),
    )


adaline = fir


def linear_state_space(
    inputs: Mapping[str, int], outputs: Mapping[str, int], *, states: int = 2, feedthrough: bool = False
) -> Topology:
    """A linear state-space model in discrete time (the structure of MATLAB's `ss(A, B, C, D, Ts)`).

        x(t) = A x(t−1) + B u(t−1),    y(t) = C x(t) + D u(t)

    A is `LW["state", "state"]`, B `IW["state", u]`, C `LW[y, "state"]` and D `IW[y, u]`, each with its one delay as the
    first axis. No layer has a bias. x(−1) and u(−1) are the delay state.

    Args:
        inputs: Sizes of the inputs by name.
        outputs: Sizes of the outputs by name.
        states: Number of states.
        feedthrough: Whether the model has a D.

    Raises:
        TopologyError: If names or sizes are invalid, or an output is called `state`.

    Example:
        >>> print(*linear_state_space({"u": 1}, {"y": 1}, feedthrough=True).connections, sep="; ")
        u -> state delay 1; state -> state delay 1; state -> y delay 0; u -> y delay 0

    Ljung (1999), *System Identification*, 2nd ed., section 4.3.
    """
    return Topology(
        input_list(inputs),
        [
            Layer("state", states, "linear", bias=False),
            *(Layer(n, size, "linear", False) for n, size in sized("outputs", outputs).items()),
        ],
        [
            *(Connection(source, "state", (1,)) for source in inputs),
            Connection("state", "state", (1,)),
            *(Connection("state", to) for to in outputs),
            *(Connection(source, to) for source in inputs for to in outputs if feedthrough),
        ],
        list(outputs),
    )
