"""Initial states as trainable parameters: a network together with the initial delay states of its sequences.

Layer outputs before the first step of a record are rarely known, so they can be trained: BPTT gives the derivatives
∂F/∂a(τ) for τ < 0, and the forward recursion starts from ∂a(τ)/∂a(τ) = 1. Each sequence has its own state. The Jacobian
therefore has weight columns, shared by all sequences, and state columns for each sequence, which are zero in the rows
of the others. Delay lines of inputs are data and are not trained.

De Jesús & Hagan (2007), section III, for derivatives with respect to initial conditions.
"""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from lddn_jax.errors import LDDNError
from lddn_jax.network.network import Network
from lddn_jax.simulation.delays import DelayState
from lddn_jax.topology.topology import Topology


class Started(eqx.Module):
    """A network with trainable initial states; trainers take it in place of a `Network`.

    Attributes:
        net: The network.
        state: The delay lines of layers, `(sequences, longest delay, size)` by layer.
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
        flat, unravel = ravel_pytree(self)
        return flat.astype(self.dtype), unravel


Trained: TypeAlias = Network | Started


def network_of(trained: Trained) -> Network:
    """Returns the network without initial states."""
    return trained.net if isinstance(trained, Started) else trained
