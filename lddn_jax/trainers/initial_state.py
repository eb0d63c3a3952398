"""Estimation of initial delay states for a trained network.

    minimize over a(τ), τ < 0:    Σ_t e(t)²        with fixed weights

For records not used in training, the initial state is estimated from their first steps: a least-squares problem with a
few unknowns per record.
"""

import jax
import jax.numpy as jnp

from lddn_jax.checks import check_positive
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.gradients.api import prepare_data
from lddn_jax.losses import SumSquaredError, counted
from lddn_jax.network.network import Network, check_network
from lddn_jax.simulation.delays import DelayState, state_sizes
from lddn_jax.simulation.simulate import predict
from lddn_jax.trainers.least_squares import levenberg_marquardt
from lddn_jax.training.state_parameters import Started


def estimate_state(net: Network, data: Sequences, steps: int | None = None, *, max_steps: int = 50) -> DelayState:
    """Estimates the initial delay states that minimize the error over the first steps of each record.

    Args:
        net: A trained network.
        data: `Sequences`; their state is the initial guess. Delay lines of inputs are not changed.
        steps: Number of steps of each record to fit; None for four times the longest delay line, at least 20.
        max_steps: Maximum number of Levenberg-Marquardt steps.

    Returns:
        A delay state for `predict(net, data.inputs, state)`.

    Raises:
        LDDNError: If no layer is read through a delay, or a number is invalid.
        DataError: If no target was measured in these steps.
        ShapeError: If data does not match the network.

    Example:
        >>> import jax.numpy as jnp, lddn_jax as lddn
        >>> topology = lddn.Topology([lddn.Input("u", 1)], [lddn.Layer("y", 1, transfer="linear", bias=False)],
        ...     [lddn.Connection("u", to="y"), lddn.Connection("y", to="y", delays=(1,))], ["y"])
        >>> net = lddn.Network(topology, init="zeros").with_weights(LW={("y", "y"): [[[0.5]]]})
        >>> u = jnp.zeros((30, 1))
        >>> data = lddn.Sequences(u, lddn.predict(net, u, {"y": jnp.array([[8.0]])})["y"])
        >>> round(float(lddn.estimate_state(net, data)["y"][0, 0]), 4)
        8.0
    """
    loss = SumSquaredError(missing="mask")
    call = "estimate_state(net, data, steps)"
    check_network(net, call)
    if steps is not None:
        check_positive("steps", steps)
    if not state_sizes(net.topology).keys() - net.topology.input_names:
        layers = [layer.name for layer in net.topology.layers]
        raise LDDNError(
            f"estimate_state: no layer of {layers} is read through a delay, so there is no state to estimate; "
            "predict(net, inputs) needs none."
        )
    inputs, targets, state, weights, length = prepare_data(loss, net, data, call)
    guess = Started.of(net, state).state
    count = min(length, max(20, 4 * max(line.shape[-2] for line in guess.values())) if steps is None else steps)
    targets = counted(targets, weights)
    if all(bool(jnp.all(jnp.isnan(target[..., :count, :]))) for target in targets.values()):
        raise DataError(
            f"estimate_state: all targets in the first {count} steps are missing or have weight 0. Pass more steps, "
            "or data without a warm-up."
        )
    inputs, targets = jax.tree.map(lambda signal: signal[..., :count, :], (inputs, targets))

    def residuals(layers):
        return loss.residuals(predict(net, inputs, state | layers, steps=count), targets)

    return state | levenberg_marquardt(residuals, guess, max_steps=max_steps).parameters
