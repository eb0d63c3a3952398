"""Polyak's step length: as long as is right for a loss that falls to a known value along a straight line.

    x ← x − (F(x) − F*) g / gᵀg

Polyak (1987), *Introduction to Optimization*, section 5.3.
"""

import jax
import jax.numpy as jnp
import optax


def polyak_steps(lowest: float = 0.0) -> optax.GradientTransformationExtraArgs:
    """Gradient descent by Polyak's step length.

    Args:
        lowest: F*, the loss that can be reached.
    """

    def init(params):
        return optax.EmptyState()

    def update(updates, state, params=None, *, value, **others):
        square = sum(jnp.sum(g * g) for g in jax.tree.leaves(updates))
        length = jnp.where(square > 0, (value - lowest) / jnp.where(square > 0, square, 1), 0)
        return jax.tree.map(lambda g: -length * g, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
