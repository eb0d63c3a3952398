"""How an error grows with the number of steps that a network runs free.

RMSE(h) = √mean over starts s of (y(s + h − 1) − ŷ_s(s + h − 1))²,   ŷ_s started from measured values before step s
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from lddn_jax.data.sequences import Sequences
from lddn_jax.delays import cut, states_along
from lddn_jax.diagnostics.scores import rmse
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.network import Network
from lddn_jax.signals import as_signals, first_nan
from lddn_jax.simulate import predict, prepare


def error_by_horizon(
    net: Network, data: Sequences, longest: int = 100, starts: int = 200
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the RMSE 1, 2, … steps after a network was last told the truth.

    Args:
        net: A network whose loops all go through outputs: of a NARX network the one with its loop closed.
        data: Records with the delay state that each starts from.
        longest: The longest horizon, in steps.
        starts: How many starts are spread over each record, at most.

    Returns:
        The horizons `(longest,)`, and the RMSE `(longest,)` by output; ∞ where a run diverged.

    Raises:
        DataError: If a measured value is missing, or records are not longer than `longest`.
        ShapeError: If a layer that is not an output is read through a delay: nobody has measured what it holds.

    Example:
        >>> import lddn_jax as lddn
        >>> topology = lddn.Topology([], [lddn.Layer("y", 1, "linear")], [lddn.Connection("y", "y", (1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(LW={("y", "y"): [[[0.5]]]})
        >>> data = lddn.Sequences(None, jnp.ones((8, 1)), {"y": jnp.ones((1, 1))})
        >>> error_by_horizon(net, data, longest=3)[1]["y"].tolist()
        [0.5, 0.75, 0.875]
    """
    topology = net.topology
    targets = as_signals("target", data.targets, {name: topology.sizes[name] for name in topology.outputs}, net.dtype)
    inputs, state, steps = prepare(net, data.inputs, data.state, data.steps)
    hidden = sorted(set(state) - topology.input_names - set(targets))
    if hidden:
        raise ShapeError(
            f"error_by_horizon: layer {hidden[0]!r} is read through a delay and is not an output, so "
            "nobody has measured the state to start from."
        )
    if not 1 <= longest < steps:
        raise DataError(
            f"error_by_horizon: longest={longest} with records of {steps} steps; needed is 1 to {steps - 1}."
        )
    for name in set(state) & set(targets):
        if (where := first_nan(targets[name])) is not None:
            raise DataError(f"error_by_horizon: target {name!r} is NaN at {where} and was to start a run. Cut there.")
    chosen = np.unique(np.linspace(0, steps - longest, starts).astype(int)).tolist()
    ahead = {name: cut(signal, chosen, 0, longest) for name, signal in inputs.items()}
    truth = {name: cut(signal, chosen, 0, longest) for name, signal in targets.items()}
    begin = {name: held[..., jnp.asarray(chosen), :, :] for name, held in states_along(state, inputs | targets).items()}
    found: dict[str, Any] = predict(net, ahead, begin, steps=longest)
    errors = {
        name: np.array([rmse(truth[name][..., h, :], found[name][..., h, :]) for h in range(longest)])
        for name in sorted(targets)
    }
    return np.arange(1, longest + 1), errors
