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
from lddn_jax.contraction import FEW


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
    """Loops, and matrix products inside and outside of them."""
    found = collections.Counter()
    for equation in program.eqns:
        loop = equation.primitive.name in ("scan", "while")
        found["loops"] += loop
        found["products inside" if inside else "products outside"] += equation.primitive.name == "dot_general"
        for value in equation.params.values():
            for inner in programs(value):
                found += counted(inner, inside or loop)
    return found


def structure(case: Case, method) -> dict[str, int]:
    net, data = jax.eval_shape(lambda: case.draw(jnp.float32))  # shapes are enough
    loss = lddn.losses.SumSquaredError()
    traced = jax.make_jaxpr(lambda net, data: lddn.value_and_grad(loss, net, data, method))(net, data)
    found = counted(traced.jaxpr)
    return {name: found[name] for name in ("loops", "products inside", "products outside")}


def loops_and_products(case: Case) -> tuple[int, int]:
    """What the rules of `plan` and `contraction` make of a standard network: loops, and products inside them."""
    if case.topology == ten_layers():
        return 4, 0  # two layers with a loop of their own, both of at most three neurons
    whole = lddn.plan(case.topology).segments(case.steps, case.batch).length == case.steps
    neurons = case.topology.sizes["hidden"]
    delays = len(case.topology.delays.get(("hidden", "hidden"), ()))
    if whole:
        return 2, 0  # one forward, one backward; sums over few neurons are written out
    assert neurons > FEW
    # W h(t−d) forward and Wᵀ n̄(t+d) backward are one product each for all delays. Inside the backward loop there are
    # weight gradients too: one for each delay, one for the input and the bias, one for the output layer. The first
    # steps, which read the delay state, have a loop of their own if there are several.
    return (2, 5) if delays == 1 else (3, 7)


@pytest.mark.parametrize("case", STANDARD, ids=lambda case: case.name)
def test_loops_and_the_products_inside_them(case):
    found = structure(case, lddn.BPTT())
    assert (found["loops"], found["products inside"]) == loops_and_products(case)


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
    assert structure(Case(name, FEED_FORWARD[name], 2, 9), lddn.BPTT())["loops"] == 0


def test_more_delays_make_no_more_products():
    one, three = (structure(Case("", elman(FEW + 1, delays), 2, 9), lddn.BPTT()) for delays in ((1,), (1, 2, 5)))
    assert (one["loops"], one["products inside"]) == (three["loops"], three["products inside"]) == (2, 2)


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
    found = structure(Case("", closed_narx(10), 2, 9), lddn.Autodiff())
    assert found["loops"] == 2
    assert found["products inside"] > 5
