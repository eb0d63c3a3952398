"""Simulation: against the oracle on every network of the zoo, and by its properties."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from networks import BY_NAME, EACH_CASE, awkward, declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.topology.plan import planned

SOME = pytest.mark.parametrize(
    "name",
    in_tiers(
        ["awkward", "long-delays-in-a-ring", "softmax-in-a-loop", "loops-in-series"],
        fast=["awkward", "softmax-in-a-loop"],
    ),
)


@functools.cache
def simulated(case) -> lddn.Trajectory:
    inputs, state = case.signals
    return lddn.simulate(case.net, inputs, state, steps=None if inputs else case.steps)


def assert_same(found, expected, tolerance=1e-13):
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].shape == expected[name].shape, name
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


@EACH_CASE
def test_it_computes_what_the_equations_say(case):
    found = simulated(case)
    n, a, final_state = oracle.simulate(*case.arguments)
    assert_same(found.n, n)
    assert_same(found.a, a)
    assert_same(found.outputs, {name: a[name] for name in case.topology.outputs})
    assert_same(found.final_state, final_state)


@pytest.mark.parametrize("split", in_tiers([1, 3, 7], fast=[3]))
@pytest.mark.parametrize("name", ["awkward", "long-delays", "autonomous", "multi-rate"])
def test_a_split_run_is_the_whole_run(name, split):
    case = BY_NAME[name]
    inputs, state = case.signals
    split = min(split, case.steps - 1)
    outputs = {output: [] for output in case.topology.outputs}
    for first, last in ((0, split), (split, case.steps)):
        part = {key: signal[..., first:last, :] for key, signal in inputs.items()}
        run = lddn.simulate(case.net, part, state, steps=None if inputs else last - first)
        state = run.final_state
        for output in outputs:
            outputs[output].append(run.outputs[output])
    whole = simulated(case)
    assert_same({output: jnp.concatenate(parts, axis=-2) for output, parts in outputs.items()}, whole.outputs)
    assert_same(state, whole.final_state)


@pytest.mark.parametrize(
    "name",
    in_tiers(
        ["awkward", "awkward-two-batch-axes", "softmax-in-a-loop", "autonomous"],
        fast=["awkward-two-batch-axes", "autonomous"],
    ),
)
def test_a_batch_is_its_singles(name):
    case = BY_NAME[name]
    singles = []
    for place in itertools.product(*map(range, case.batch)):
        inputs, state = jax.tree.map(lambda signal, place=place: signal[place], case.signals)
        singles.append(lddn.simulate(case.net, inputs, state, steps=None if inputs else case.steps))
    whole = simulated(case)
    batched = jax.tree.map(lambda *leaves: jnp.stack(leaves).reshape(*case.batch, *leaves[0].shape), *singles)
    assert_same(batched.n, whole.n)
    assert_same(batched.a, whole.a)
    assert_same(batched.final_state, whole.final_state)


def test_one_state_without_batch_axes_serves_every_sequence():
    case = BY_NAME["awkward"]
    inputs, state = case.signals
    one = {name: held[0] for name, held in state.items()}
    repeated = {name: jnp.stack([held] * 2) for name, held in one.items()}
    assert_same(lddn.simulate(case.net, inputs, one).a, lddn.simulate(case.net, inputs, repeated).a)


def test_no_state_is_a_state_of_zeros():
    case = BY_NAME["awkward"]
    inputs, _ = case.signals
    zeros = lddn.zero_state(case.topology, case.batch)
    assert_same(lddn.simulate(case.net, inputs).a, lddn.simulate(case.net, inputs, zeros).a)


@pytest.mark.parametrize("delays", [(1, 2), (3,), (2, 5)], ids=str)
def test_a_closed_loop_is_the_open_loop_fed_its_own_output(delays):
    joined = ",".join(map(str, delays))
    opened = declare("i:1 m:2", "h:3:tanh y:2:linear", f"i>h@0,1 m>h@{joined} m>y@{joined} h>y", "y")
    net = lddn.Network(opened, key=jax.random.key(1))
    closed = lddn.close_loop(net, output="y", input="m")
    draw = jax.random.split(jax.random.key(2))
    i = jax.random.normal(draw[0], (2, 9, 1))
    held = jax.random.normal(draw[1], (2, delays[-1], 2))
    state = {"i": jnp.zeros((2, 1, 1)), "y": held}
    y = lddn.predict(closed, {"i": i}, state)["y"]
    fed = jnp.concatenate((held, y), axis=1)[:, delays[-1] :]  # what the measured input is at each step
    again = lddn.predict(net, {"i": i, "m": fed}, {"i": state["i"], "m": held})["y"]
    np.testing.assert_allclose(again, y, rtol=0, atol=1e-13)
    reopened = lddn.open_loop(closed, output="y", input="m")
    assert reopened.topology == opened
    np.testing.assert_array_equal(lddn.predict(reopened, {"i": i, "m": fed}, {"i": state["i"], "m": held})["y"], again)


@pytest.mark.parametrize("shuffle", [0, 1])
def test_the_order_of_declaration_changes_nothing(shuffle):
    random = np.random.default_rng(shuffle)

    def shuffled(items):
        return [items[k] for k in random.permutation(len(items))]

    first = awkward()
    second = lddn.Topology(*(shuffled(part) for part in (first.inputs, first.layers, first.connections, first.outputs)))
    assert first == second
    assert hash(first) == hash(second)
    inputs, state = BY_NAME["awkward"].signals
    results = []
    for topology in (first, second):
        planned.cache_clear()  # else the second would be handed what was compiled for the first
        jax.clear_caches()
        net = lddn.Network(topology, key=jax.random.key(5))
        results.append(jax.tree.leaves((net, lddn.simulate(net, inputs, state))))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@SOME
def test_float32_works_and_stays_float32(name):
    case = BY_NAME[name]
    net = jax.tree.map(lambda block: block.astype(jnp.float32), case.net)
    run = lddn.simulate(net, *case.signals)  # float64 signals: the network's dtype wins
    assert {leaf.dtype for leaf in jax.tree.leaves(run)} == {jnp.dtype("float32")}
    assert_same(run.a, simulated(case).a, tolerance=2e-5)  # ε is 1e-7 there


@SOME
def test_vmap_over_networks(name):
    case = BY_NAME[name]
    inputs, state = case.signals
    nets = [jax.tree.map(lambda block, k=k: block * (1 - 0.2 * k), case.net) for k in range(3)]
    together = jax.tree.map(lambda *blocks: jnp.stack(blocks), *nets)
    found = jax.vmap(lambda net: lddn.predict(net, inputs, state))(together)
    expected = jax.tree.map(lambda *outputs: jnp.stack(outputs), *(lddn.predict(net, inputs, state) for net in nets))
    assert_same(found, expected)


@SOME
def test_vmap_over_data(name):
    case = BY_NAME[name]
    found = jax.vmap(lambda inputs, state: lddn.predict(case.net, inputs, state))(*case.signals)
    assert_same(found, simulated(case).outputs)


def test_a_second_call_does_not_trace_again():
    traces = []

    def counted(n):
        traces.append(n.shape)
        return n * n

    lddn.transfer.register("counted_in_simulate", counted, replace=True)
    topology = declare("u:1", "y:2:counted_in_simulate", "u>y y>y@1", "y")
    first = lddn.Network(topology, key=jax.random.key(0), init="uniform")
    lddn.simulate(first, jnp.ones((4, 1)))
    before = len(traces)
    assert before > 0
    same_again = declare("u:1", "y:2:counted_in_simulate", "y>y@1 u>y", "y")  # equal, though another object
    lddn.simulate(lddn.Network(same_again, key=jax.random.key(1), init="uniform"), jnp.zeros((4, 1)))
    assert len(traces) == before
    lddn.simulate(first, jnp.ones((5, 1)))
    assert len(traces) > before


def test_an_autonomous_network_takes_its_length_from_steps_and_its_batch_from_the_state():
    case = BY_NAME["autonomous"]
    _, state = case.signals
    assert_same(lddn.predict(case.net, None, state, steps=case.steps), simulated(case).outputs)
    assert lddn.predict(case.net, {}, steps=3)["y"].shape == (3, 2)


def test_a_bare_array_is_the_only_input():
    case = BY_NAME["elman"]
    inputs, state = case.signals
    assert_same(lddn.predict(case.net, inputs["u"], state), simulated(case).outputs)
    assert_same(lddn.predict(case.net, case.inputs["u"], case.state), simulated(case).outputs)


def wrong(change):
    inputs, state = BY_NAME["awkward"].signals
    arguments = {"inputs": inputs, "state": state, "steps": None}
    change(arguments)
    return arguments


MISTAKES = {
    "an-input-is-missing": (lambda a: a["inputs"].pop("v"), "input 'v' is missing"),
    "an-input-is-unknown": (lambda a: a["inputs"].update(w=jnp.ones((2, 8, 2))), "input 'w' was given"),
    "a-bare-array-for-two-inputs": (lambda a: a.update(inputs=jnp.ones((2, 8, 2))), r"\['u', 'v'\]"),
    "one-axis-only": (lambda a: a["inputs"].update(u=jnp.ones(8)), r"\(\*batch, time, size\)"),
    "a-wrong-size": (lambda a: a["inputs"].update(u=jnp.ones((2, 8, 3))), "last axis must have size 2"),
    "transposed": (lambda a: a["inputs"].update(u=jnp.ones((2, 2, 8))), "looks transposed"),
    "no-time-step": (lambda a: a["inputs"].update(u=jnp.ones((2, 0, 2))), "no time step"),
    "different-lengths": (lambda a: a["inputs"].update(u=jnp.ones((2, 7, 2))), "differ in batch or time"),
    "different-batches": (lambda a: a["inputs"].update(u=jnp.ones((3, 8, 2))), "differ in batch or time"),
    "steps-that-contradict": (lambda a: a.update(steps=9), "steps=9"),
    "a-source-of-the-state-is-missing": (lambda a: a["state"].pop("y"), "delay state 'y' is missing"),
    "an-unknown-source-in-the-state": (lambda a: a["state"].update(x=jnp.ones((2, 1, 2))), "'x' was given"),
    "a-short-state": (lambda a: a["state"].update(y=jnp.ones((2, 4, 2))), "last 5 values"),
    "a-state-of-a-wrong-size": (lambda a: a["state"].update(y=jnp.ones((2, 5, 1))), "last axis must have size 2"),
    "a-state-of-another-batch": (lambda a: a["state"].update(y=jnp.ones((3, 5, 2))), r"batch shape \(3,\)"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_does_not_fit_is_refused(mistake):
    change, message = MISTAKES[mistake]
    with pytest.raises(lddn.ShapeError, match=message):
        lddn.simulate(BY_NAME["awkward"].net, **wrong(change))


def test_an_autonomous_network_needs_steps():
    with pytest.raises(lddn.ShapeError, match="steps=100"):
        lddn.simulate(BY_NAME["autonomous"].net, {})


def test_complex_signals_are_refused():
    inputs, state = BY_NAME["awkward"].signals
    with pytest.raises(lddn.DataError, match="real numbers"):
        lddn.simulate(BY_NAME["awkward"].net, inputs | {"u": np.ones((2, 8, 2), complex)}, state)


def test_idle_layers_run_after_a_warning():
    with pytest.warns(lddn.TopologyWarning) as warned:
        BY_NAME["idle-layers"].build()
    said = [str(w.message) for w in warned]
    assert any("'x' has no path to an output" in text for text in said)
    assert any("'z' has no path from an input" in text for text in said)
