"""All methods on topologies that nobody thought of: hypothesis draws them, the oracle's complex step judges.

`pytest --topologies 300` draws more of them. Draws are reproducible: each block has a seed of its own.
"""

import hypothesis
import jax
import pytest
from agreement import METHODS, TOLERANCE, assert_blocks_agree, expected_gradient, pulled_back
from hypothesis import strategies as st
from networks import Case, declare

BLOCKS = 8  # so that processes can share the work
# Without "explain", which runs and compiles a failing example many times more.
PHASES = (hypothesis.Phase.generate, hypothesis.Phase.shrink)

# Functions that are analytic everywhere: a complex step and a finite difference never meet a corner.
ANALYTIC = ("linear", "tanh", "logistic", "softplus", "radbas", "softmax")
NAMES = "efabcd"  # the order of simulation is not that of the alphabet


@st.composite
def cases(draw) -> Case:
    """1–6 layers of 1–5 neurons, 0–2 inputs, delays from {0 … 5}; a zero delay only from an earlier layer."""
    # Its draws have no structure that hypothesis could repeat with small changes: every topology is a new one.
    random = draw(st.randoms(use_true_random=False))

    def some(items, least, most):
        items = list(items)
        return [items.pop(random.randrange(len(items))) for _ in range(random.randint(least, min(most, len(items))))]

    layers = NAMES[: random.randint(1, 6)]
    inputs = "uv"[: random.randint(0, 2)]
    connections, longest = [], 0
    for k, to in enumerate(layers):
        for source in some(inputs + layers, 0, 3):
            delays = sorted(some(range(0 if source in inputs + layers[:k] else 1, 6), 1, 3))
            connections.append(f"{source}>{to}@{','.join(map(str, delays))}")
            longest = max(longest, *delays)
    notation = (
        " ".join(f"{name}:{random.randint(1, 5)}" for name in inputs),
        " ".join(
            f"{name}:{random.randint(1, 5)}:{random.choice(ANALYTIC)}{random.choice(['', '', '!'])}" for name in layers
        ),
        " ".join(connections),
        " ".join(some(layers, 1, 3)),
    )
    hypothesis.note(f"declare{notation}")
    return Case(
        f"random {random.randrange(2**32)}",
        lambda: declare(*notation),
        batch=random.choice([(2,), (), (1, 2)]) if inputs or longest else (),  # else nothing tells of a batch
        steps=random.randint(1, 8),
        idle=True,  # a random topology may well have a part that does nothing
    )


@pytest.mark.parametrize("block", range(BLOCKS))
def test_all_methods_agree(block, topologies_wanted):
    count = len(range(block, topologies_wanted, BLOCKS))
    if count == 0:
        pytest.skip(f"--topologies {topologies_wanted} leaves none for this block")

    @hypothesis.seed(block)
    @hypothesis.settings(max_examples=count + 1, phases=PHASES)  # the first is always the simplest: one bare neuron
    @hypothesis.given(cases())
    def all_methods_agree(case):
        jax.clear_caches()  # a process can hold only so many programs
        expected = expected_gradient(case)
        for name, method in METHODS.items():
            assert_blocks_agree(pulled_back(case, method), expected, TOLERANCE[name], name)

    all_methods_agree()
