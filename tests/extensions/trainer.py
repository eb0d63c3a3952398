"""Polyak's heavy ball, which stops once the ball rests.

    v ← m v − r ∂F/∂x,    x ← x + v

Polyak (1964), USSR Computational Mathematics and Mathematical Physics 4(5).
"""

import equinox as eqx
import jax
import jax.numpy as jnp

import lddn_jax as lddn

AT_REST = lddn.StopReason("at_rest", "the ball has come to rest")


class State(eqx.Module):
    """The velocity, a pytree like the network."""

    velocity: lddn.Network


lddn.register_trainer_state(
    "heavy-ball",
    State,
    described=lambda state: {"topology": state.velocity.topology.to_dict()},
    like=lambda known: State(lddn.Network(lddn.Topology.from_dict(known["topology"]), init="zeros")),
)


class HeavyBall(lddn.AbstractTrainer):
    """Gradient descent with a velocity.

    Args:
        rate: r.
        momentum: m.
        least_speed: The length of v at which training stops ("at_rest").
        restarts: Number of networks trained side by side.

    Info: `loss`, `speed`.
    """

    rate: float = eqx.field(default=0.05, static=True)
    momentum: float = eqx.field(default=0.8, static=True)
    least_speed: float = eqx.field(default=1e-4, static=True)
    restarts: int = eqx.field(default=1, static=True)

    def __check_init__(self):
        if not 0 <= self.momentum < 1:
            raise lddn.LDDNError(f"momentum={self.momentum!r} must lie in [0, 1).")

    def init(self, net, problem):
        """Returns a ball at rest."""
        return State(jax.tree.map(jnp.zeros_like, net))

    def step(self, net, state, problem, key):
        """Moves the ball."""
        loss, gradient = problem.value_and_grad(net)
        velocity = jax.tree.map(lambda v, g: self.momentum * v - self.rate * g, state.velocity, gradient)
        speed = jnp.sqrt(sum(jnp.sum(v * v) for v in jax.tree.leaves(velocity)))
        return jax.tree.map(jnp.add, net, velocity), State(velocity), {"loss": loss, "speed": speed}

    def stop_reason(self, info):
        """Returns "at_rest" where the ball rests."""
        return AT_REST if info["speed"] < self.least_speed else None
