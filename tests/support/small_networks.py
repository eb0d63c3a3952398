"""Two declarations that tests of networks share, and how networks are compared."""

import jax
import numpy as np
from networks import declare

KEY = jax.random.key(0)
AWKWARD = declare(
    "u:2 v:1",
    "hidden:4:tanh mixed:3:logistic! y:2:linear",
    "u>hidden@0,2,5 hidden>hidden@1,3 v>mixed@1 hidden>mixed mixed>y@0,2 u>y y>hidden@1",
    "y mixed",
)
NARX = declare(
    "current:1 measured:1",
    "hidden:3:tanh position:1:linear",
    "current>hidden@1,2 measured>hidden@1,2 hidden>position",
    "position",
)


def arrays(net):
    return {**net.IW, **net.LW, **net.b}


def assert_same(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)
