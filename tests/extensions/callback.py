"""Watches how far the weights have moved since the beginning, and ends training when they have gone too far."""

import jax.numpy as jnp

import lddn_jax as lddn


class Leash:
    """Ends training ("leash") once the flat vector of weights is further from where it started than allowed.

    Args:
        length: The largest distance.
    """

    stop_reason = lddn.StopReason("leash", "the weights moved as far as they may")

    def __init__(self, length):
        self.length = length
        self.distances, self.ended = [], False

    def on_start(self, state):
        """Notes where the weights are; in a run that is resumed, from there on."""
        self._start = state.net.ravel()[0]
        self.distances, self.ended = [], False

    def on_step(self, state):
        """Whether the leash is at its end."""
        self.distances.append(float(jnp.linalg.norm(state.net.ravel()[0] - self._start)))
        return self.distances[-1] > self.length

    def on_end(self, state):
        """Notes that training is over."""
        self.ended = True
