"""Initial states as trainable parameters: a network together with the initial delay states of its sequences.

Layer outputs before the first step of a record are rarely known, so they can be trained: BPTT gives the derivatives
∂F/∂a(τ) for τ < 0, and the forward recursion starts from ∂a(τ)/∂a(τ) = 1. Each sequence has its own state. The Jacobian
therefore has weight columns, shared by all sequences, and state columns for each sequence, which are zero in the rows
of the others. Delay lines of inputs are data and are not trained.

De Jesús & Hagan (2007), section III, for derivatives with respect to initial conditions.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from lddn_jax.errors import LDDNError, ShapeError
from lddn_jax.network.network import Network
from lddn_jax.network.signals import StateLike, as_array, by_name, check_finite
from lddn_jax.simulation.delays import DelayState, state_sizes
from lddn_jax.topology.topology import Topology
from lddn_jax.topology.trained_weights import trained_places


class Started(eqx.Module):
    """A network with trainable initial states; trainers take it in place of a `Network`.

    Attributes:
        net: The network.
        state: The delay lines of layers, `(sequences, longest delay, size)` by layer; with stacked networks
            `(restarts, sequences, longest delay, size)`.
    """

    net: Network
    state: DelayState

    @classmethod
    def of(cls, net: Network, state: DelayState) -> "Started":
        """Takes the delay lines of layers from a delay state as initial values.

        Raises:
            LDDNError: If no layer is read through a delay.
        """
        layers = {name: line for name, line in state.items() if name not in net.topology.input_names}
        if not layers:
            raise LDDNError(
                "train_state=True, but no layer of the network is read through a delay, so it has no initial state; "
                "omit train_state."
            )
        return cls(net, layers)

    @property
    def topology(self) -> Topology:
        """Topology of the network."""
        return self.net.topology

    @property
    def dtype(self) -> jnp.dtype:
        """Dtype of the network."""
        return self.net.dtype

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return self.net.parameter_count

    def ravel(self) -> tuple[Float[Array, " parameters"], Callable[[Float[Array, " parameters"]], "Started"]]:
        """Returns weights and biases, then states, as one vector, and the inverse function."""
        if trained_places(self.topology):
            weights, to_net = self.net.ravel()
            states, to_state = ravel_pytree(self.state)
            count = weights.size
            return jnp.concatenate([weights, states]), lambda x: Started(to_net(x[:count]), to_state(x[count:]))
        flat, unravel = ravel_pytree(self)
        return flat.astype(self.dtype), unravel


Trained: TypeAlias = Network | Started


def network_of(trained: Trained) -> Network:
    """Returns the network without initial states."""
    return trained.net if isinstance(trained, Started) else trained


def first_states(topology: Topology, given: StateLike, sequences: int, restarts: int, dtype: jnp.dtype) -> DelayState:
    """Returns the delay lines of layers that training starts from, checked.

    Args:
        topology: The topology.
        given: A delay state by source, oldest value first. Lines of inputs are data and are ignored. Each is
            `(longest delay, size)`, `(sequences, longest delay, size)` or `(restarts, sequences, longest delay, size)`.
        sequences: Number of sequences.
        restarts: Number of networks.
        dtype: The dtype of the network.

    Returns:
        `(sequences, longest delay, size)` by layer, or `(restarts, sequences, longest delay, size)` where every
        network has its own.

    Raises:
        ShapeError: If a layer is missing or unknown, or a shape is wrong.
        DataError: If a value is NaN or infinite.
    """
    if not isinstance(given, Mapping):
        raise ShapeError(
            f"initial_state={type(given).__name__}: needed is a delay state, a dict by layer such as "
            "fitted.initial_state, fitted.restart_states, or the state of the data."
        )
    sizes = {name: shape for name, shape in state_sizes(topology).items() if name not in topology.input_names}
    lines = {name: line for name, line in given.items() if name not in topology.input_names}
    state = {}
    for name, line in by_name("initial state", lines, sizes).items():
        what = f"initial state of {name!r}"
        line, shape = as_array(what, line, dtype), (sequences, *sizes[name])
        if line.shape == sizes[name]:
            line = jnp.broadcast_to(line, shape)
        if line.shape != shape and (restarts == 1 or line.shape != (restarts, *shape)):
            each = f", or {(restarts, *shape)} with one for each of restarts={restarts}" if restarts > 1 else ""
            raise ShapeError(
                f"{what} has shape {line.shape}; needed is {shape}: (sequences, longest delay, size){each}. "
                "fitted.initial_state has the states of the returned network, fitted.restart_states those of all "
                "restarts."
            )
        state[name] = line
    check_finite("initial state of", state)
    return state
