"""The snake, a periodic function that does not forget its trend: for signals that oscillate and drift.

    f(n) = n + sin²(n)        ḟ(n) = 1 + sin(2n)

Liu, Hartwig & Ueda (2020), "Neural networks fail to learn periodic functions and how to fix it".
"""

import jax.numpy as jnp

import lddn_jax as lddn


def snake(n):
    """Returns n + sin²(n)."""
    return n + jnp.square(jnp.sin(n))


def slope(n, a):
    """Returns 1 + sin(2n)."""
    return 1 + jnp.sin(2 * n)


def register():
    """Makes it known as "snake"."""
    return lddn.transfer.register("snake", snake, slope, replace=True)
