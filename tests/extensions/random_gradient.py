"""The forward gradient: one derivative in a random direction v, in which nothing has to be kept of the simulation.

    g = (∂F/∂x · v) v,    v ~ N(0, I),    E g = ∂F/∂x,  because E v vᵀ = I

Baydin, Pearlmutter, Syme, Wood & Torr (2022), "Gradients without backpropagation".
"""

import jax
import jax.numpy as jnp

import lddn_jax as lddn


class ForwardGradient(lddn.AbstractAdjoint):
    """An unbiased estimate of the gradient from one direction, drawn with a key.

    Args:
        key: What the direction is drawn from.
    """

    key: jax.Array

    @property
    def name(self):
        """Without the key."""
        return "ForwardGradient"

    @property
    def accuracy(self):
        """Unbiased."""
        return lddn.accuracy.Random(draws=200)

    def linearize(self, net, inputs, state, steps):
        """Simulates, and carries the derivative in the direction along."""
        leaves, structure = jax.tree.flatten((net, state))
        keys = jax.random.split(self.key, len(leaves))
        drawn = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
        direction = jax.tree.unflatten(structure, drawn)
        a, derivative = jax.jvp(
            lambda net, state: lddn.simulate(net, inputs, state, steps=steps).a, (net, state), direction
        )
        return _Linearization(a, derivative, *direction)


class _Linearization(lddn.AbstractLinearization):
    a: dict
    derivative: dict
    net: lddn.Network
    state: dict

    def pullback(self, cotangents):
        """Turns the derivative in the direction into the estimate."""
        slope = sum(jnp.sum(cotangent * self.derivative[name], axis=(-2, -1)) for name, cotangent in cotangents.items())
        slope = jnp.asarray(slope)
        parameters = jax.tree.map(lambda v: slope.sum() * v, self.net)
        return parameters, {name: slope[..., None, None] * v for name, v in self.state.items()}
