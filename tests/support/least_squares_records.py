"""A problem of least squares that several tests share."""

import jax
from networks import declare

import lddn_jax as lddn
from lddn_jax import losses

SSE, MSE = losses.SumSquaredError(), losses.MeanSquaredError()


def problem(seed: int = 0, steps: int = 60, share: float = 1.0) -> tuple[lddn.Network, lddn.Sequences]:
    """A small closed NARX network, and data that another one of its kind has made; `share` of the way from that one."""
    topology = declare("u:1", "h:3:tanh y:1:linear", "u>h@1 y>h@1,2 h>y", "y")
    teacher, other = (lddn.Network(topology, key=jax.random.key(seed + k)) for k in (1, 2))
    u = jax.random.normal(jax.random.key(seed), (steps, 1))
    net = jax.tree.map(lambda a, b: (1 - share) * a + share * b, teacher, other)
    return net, lddn.Sequences(u, lddn.predict(teacher, u))
