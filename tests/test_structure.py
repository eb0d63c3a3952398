"""What stands inside the loops of a value and its gradient, so that no refactoring loses it unnoticed.

Not a timed test: the program is traced and its loops and matrix products are counted. A feed-forward network has no
loop, a recurrent block one forward and one backward; what comes in through few taps takes no matrix product.
"""

import collections

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

import lddn_jax as lddn
from benchmarks.networks import STANDARD, Case, closed_narx, elman, ten_layers


def programs(value):
    """The programs inside an equation's parameter."""
    if isinstance(value, ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, Jaxpr):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from programs(item)


def counted(program: Jaxpr, inside: bool = False) -> collections.Counter:
    """Loops, and matrix products inside of loops."""
    found = collections.Counter()
    for equation in program.eqns:
        loop = equation.primitive.name in ("scan", "while")
        found["loops"] += loop
        found["products in loops"] += inside and equation.primitive.name == "dot_general"
        for value in equation.params.values():
            for inner in programs(value):
                found += counted(inner, inside or loop)
    return found


def structure(case: Case, method) -> tuple[int, int]:
    net, data = jax.eval_shape(lambda: case.draw(jnp.float32))  # shapes are enough
    loss = lddn.losses.SumSquaredError()
    traced = jax.make_jaxpr(lambda net, data: lddn.value_and_grad(loss, net, data, method))(net, data)
    found = counted(traced.jaxpr)
    return found["loops"], found["products in loops"]


def expected(topology: lddn.Topology) -> tuple[int, int]:
    if topology == ten_layers():
        return 4, 0  # two layers with a loop of their own, both of at most three neurons
    # One block. Elman: W h(t−d) forward, Wᵀ n̄(t+d) backward. NARX: hidden -> y forward, n̄ -> y backward.
    return 2, 2


@pytest.mark.parametrize("case", STANDARD, ids=lambda case: case.name)
def test_loops_and_the_products_inside_them(case):
    assert structure(case, lddn.BPTT()) == expected(case.topology)


FEED_FORWARD = {
    "open-loop NARX": lddn.models.narx({"u": 1}, {"y": 1}, linear_path=True),
    "FIR": lddn.Topology([lddn.Input("u", 6)], [lddn.Layer("y", 2)], [lddn.Connection("u", "y", (0, 3, 7))], ["y"]),
    "distributed delays": lddn.Topology(
        [lddn.Input("u", 6)],
        [lddn.Layer("h", 7), lddn.Layer("y", 2)],
        [lddn.Connection("u", "h", (0, 1)), lddn.Connection("h", "y", (0, 2)), lddn.Connection("u", "y")],
        ["y"],
    ),
}


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_a_feed_forward_network_has_no_loop(name):
    assert structure(Case(name, FEED_FORWARD[name], 2, 9), lddn.BPTT()) == (0, 0)


def test_more_delays_make_no_more_products():
    assert structure(Case("", elman(8, (1, 2, 5)), 2, 9), lddn.BPTT()) == structure(
        Case("", elman(8, (1,)), 2, 9), lddn.BPTT()
    )


def test_a_loop_with_a_long_smallest_delay_takes_its_steps_together():
    """Delay 4 over 12 steps: three turns of four steps each."""
    topology = elman(8, (4,))
    net, data = jax.eval_shape(lambda: Case("", topology, 2, 12).draw(jnp.float32))
    traced = jax.make_jaxpr(lambda net, data: lddn.predict(net, data.inputs, data.state))(net, data)

    def lengths(program):
        for equation in program.eqns:
            if equation.primitive.name == "scan":
                yield equation.params["length"]
            for value in equation.params.values():
                for inner in programs(value):
                    yield from lengths(inner)

    assert list(lengths(traced.jaxpr)) == [3]


def test_the_plain_scan_has_a_product_for_each_connection_and_delay():
    """The yardstick is what it claims to be; otherwise the ratios of the benchmark would mean little."""
    loops, products = structure(Case("", closed_narx(10), 2, 9), lddn.Autodiff())
    assert loops == 2
    assert products > 5
