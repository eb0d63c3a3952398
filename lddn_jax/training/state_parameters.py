"""Initial states as parameters: a network and the states its sequences start from, trained as one.

What a layer put out before the first step of a record is rarely known. It is a parameter like any other: BPTT carries
the derivative of the loss back to it, ∂F/∂a(τ) for τ < 0, and the forward recursion starts from ∂a(τ)/∂a(τ) = 1. Each
sequence has a state of its own, so a Jacobian has columns of weights, which all rows share, and for each sequence
columns of its state, which are zero in the rows of the others. Delay lines of inputs are data and stay as they are.

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
    """A network and trained initial states; it takes the place of the network in a trainer.

    Attributes:
        net: The network.
        state: The delay lines of layers, `(sequences, longest delay, size)` by layer.
    """

    net: Network
    state: DelayState

    @classmethod
    def of(cls, net: Network, state: DelayState) -> "Started":
        """Takes the delay lines of layers from a whole delay state, as a first guess.

        Raises:
            LDDNError: If no layer is read through a delay.
        """
        layers = {name: line for name, line in state.items() if name not in net.topology.input_names}
        if not layers:
            raise LDDNError(
                "train_state=True, but no layer of the network is read through a delay, so it has no initial state; "
                "leave train_state out."
            )
        return cls(net, layers)

    @property
    def topology(self) -> Topology:
        """That of the network."""
        return self.net.topology

    @property
    def dtype(self) -> jnp.dtype:
        """That of the network."""
        return self.net.dtype

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases."""
        return self.net.parameter_count

    def ravel(self) -> tuple[Float[Array, " parameters"], Callable[[Float[Array, " parameters"]], "Started"]]:
        """Returns weights and biases, then states, as one vector, and the way back."""
        flat, unravel = ravel_pytree(self)
        return flat.astype(self.dtype), unravel


Trained: TypeAlias = Network | Started


def network_of(trained: Trained) -> Network:
    """The network alone."""
    return trained.net if isinstance(trained, Started) else trained
