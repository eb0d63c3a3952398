"""What stands inside the loops of a value and its gradient, so that no refactoring loses it unnoticed.

Not a timed test: the program is compiled for the CPU, and the loops and matrix products in it are counted. A
feed-forward network has no loop, a recurrent block one forward and one backward; sums over few elements are no
products; weight gradients stand outside of the loops, or inside where n̄ does not fit the cache.
"""

import collections
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest

import lddn_jax as lddn
from benchmarks.networks import STANDARD, Case, closed_narx, elman, ten_layers
from benchmarks.peers_lstm import is_lstm
from lddn_jax.numerics.contraction import WRITTEN_OUT_TERMS

pytestmark = [
    pytest.mark.optimized,
    pytest.mark.skipif(jax.default_backend() != "cpu", reason="counts what is compiled for the CPU"),
]


def value_and_grad(method: lddn.AbstractGradient) -> Callable:
    return lambda net, data: lddn.value_and_grad(lddn.losses.SumSquaredError(), net, data, method)


def outputs(net: lddn.Network, data: lddn.Sequences) -> dict:
    return lddn.predict(net, data.inputs, data.state)


def compiled(function: Callable, case: Case) -> str:
    """The program as XLA optimized it, in its text form."""
    shapes = jax.eval_shape(lambda: case.draw(jnp.float32))
    return jax.jit(function).lower(*shapes).compile().as_text()


def counted(program: str) -> dict[str, int]:
    """Loops, and matrix products inside and outside of them."""
    computations, name, entry = collections.defaultdict(list), "", ""
    for line in program.splitlines():
        if start := re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line):
            name = start[2]
            entry = name if start[1] else entry
        elif line.startswith(" "):
            computations[name].append(line)
    found = {"loops": 0, "products inside": 0, "products outside": 0}

    def visit(name, inside):
        for line in computations[name]:
            loop = " while(" in line
            found["loops"] += loop
            found["products inside" if inside else "products outside"] += " dot(" in line
            for called in re.findall(r"(?:calls|to_apply|body|condition)=%?([\w.-]+)", line):
                visit(called, inside or loop)

    visit(entry, False)
    return found


def loops_and_products(case: Case) -> tuple[int, int, int]:
    """What the rules of `plan` and `contraction` make of a standard network: loops, products inside and outside."""
    if case.topology == ten_layers():
        # Two layers have a loop of their own, both of at most three neurons. A weight gradient for each layer's narrow
        # connections, with its bias.
        return 4, 0, 10
    if is_lstm(case.topology):
        # As a recurrent layer of delay 1 below, for all gates share their products, and nothing else has one. For few
        # neurons W h(t−1) is written out, also in the first step, which is outside of the loop.
        of_states = case.topology.sizes["hidden"] > WRITTEN_OUT_TERMS
        return 2, 4 + of_states, 4 + of_states
    delays = len(case.topology.delays.get(("hidden", "hidden"), ()))
    if lddn.plan(case.topology).segments(case.steps, case.batch).length == case.steps:
        # One loop forward, one backward; sums over few neurons are written out. After them a product for each delay of
        # the hidden layer's own weights, one for its other connections and bias, one for the output layer.
        return 2, 0, delays + 2
    assert case.topology.sizes["hidden"] > WRITTEN_OUT_TERMS
    # W h(t−d) forward and Wᵀ n̄(t+d) backward are one product each for all delays, and the weight gradients of the line
    # above are inside. The first steps, which read the delay state, come after the loop, in one of their own if there
    # are several. Outside are those of the first steps, and what the output layer reads after the forward loop.
    return (2, 5, 5) if delays == 1 else (3, 7, 5)


@pytest.mark.parametrize("case", STANDARD, ids=lambda case: case.name)
def test_loops_and_products(case):
    assert tuple(counted(compiled(value_and_grad(lddn.BPTT()), case)).values()) == loops_and_products(case)


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
    assert counted(compiled(value_and_grad(lddn.BPTT()), Case(name, FEED_FORWARD[name], 2, 9)))["loops"] == 0


def test_more_delays_make_no_more_products():
    one, three = (
        counted(compiled(value_and_grad(lddn.BPTT()), Case("", elman(WRITTEN_OUT_TERMS + 1, delays), 2, 9)))
        for delays in ((1,), (1, 2, 5))
    )
    assert (one["loops"], one["products inside"]) == (three["loops"], three["products inside"]) == (2, 2)


def test_a_loop_with_a_long_smallest_delay_takes_its_steps_together():
    """Delay 4 over 12 steps: three turns of four steps each."""
    program = compiled(outputs, Case("", elman(8, (4,)), 2, 12))
    assert re.findall(r'"known_trip_count":\{"n":"(\d+)"\}', program) == ["3"]


def test_the_cost_of_a_step_does_not_depend_on_the_delay():
    """Nothing of the length of the delay line is built inside the loop; the line is a window of one array."""
    program = compiled(outputs, Case("", elman(8, (1, 50)), 2, 200))
    assert "f32[250,8,2]" in program  # all times and what was before them
    assert not re.search(r"f32\[(49|50),8,2\]\S* (concatenate|fusion)\(.*while/body", program)


@pytest.mark.usefixtures("compiled_as_users_have_it")
def test_predictions_keep_no_signal_of_all_times():
    case = Case("", elman(64, (1,)), 32, 5000)
    shapes = jax.eval_shape(lambda: case.draw(jnp.float32))
    memory = jax.jit(outputs).lower(*shapes).compile().memory_analysis()
    assert 0 < memory.temp_size_in_bytes < 4 * 64 * 32 * 5000 / 10


def test_the_plain_scan_has_a_product_for_each_connection_and_delay():
    """The yardstick is what it claims to be; otherwise the ratios of the benchmark would mean little."""
    found = counted(compiled(value_and_grad(lddn.Autodiff()), Case("", closed_narx(10), 2, 9)))
    assert found["loops"] == 2
    assert found["products inside"] > 5
