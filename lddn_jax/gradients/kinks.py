"""Finite differences where a transfer function has a kink.

A difference quotient over a kink, such as relu's at 0, is no derivative: f(x+h) and f(x−h) lie on different pieces. In
a network of many neurons and time steps some net input is often that close to a kink. Two remedies tell this from a
wrong derivative, which differs from the difference quotient with any step and at any point:

    a kink between the points     a smaller h: both points lie on one piece
    a kink at the point itself    other points nearby, where the derivative exists, on both sides of it
"""

import jax
import jax.numpy as jnp
import numpy as np

from lddn_jax.gradients.finite_difference import FiniteDifference
from lddn_jax.network.network import Network
from lddn_jax.simulation.delays import DelayState

SMALLER_STEP = 1 / 300  # of a step, so that a kink is rarely between its points and rounding still small
POINTS_NEARBY = 4  # on both sides of a kink, with high probability
NEARBY = 1e-3  # distance of a point nearby, relative to max(1, |x|)


def with_smaller_step(method: FiniteDifference) -> FiniteDifference:
    """Returns the differences in float64 with a much smaller step."""
    return FiniteDifference(method.order, SMALLER_STEP * method.step_in("float64"))


def nearby(net: Network, state: DelayState, number: int) -> tuple[Network, DelayState]:
    """Returns a network and a delay state that differ slightly from the given ones, the same for every `number`."""
    rng = np.random.default_rng(number)

    def moved(x):
        x = np.asarray(x)
        return jnp.asarray((x + NEARBY * np.maximum(1, np.abs(x)) * rng.uniform(-1, 1, x.shape)).astype(x.dtype))

    return jax.tree.map(moved, (net, state))
