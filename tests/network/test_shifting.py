"""Delays removed and added: the same outputs, some steps earlier or later."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax import add_delay, models, remove_delay

OUT = {"y": 1}

# Every input is read through delays of at least 2.
NETWORKS = {
    "fir": lambda: models.fir({"u": 2}, {"y": 1}, delays=(2, 3, 5)),
    "narx, its loop open": lambda: models.narx(
        {"u": 2}, {"y": 1}, hidden=3, input_delays=(2, 4), feedback_delays=(2, 3)
    ),
    "narx, its loop closed": lambda: models.jordan(
        {"u": 1}, {"y": 1}, hidden=3, input_delays=(2, 4), feedback_delays=(1, 3)
    ),
    "recurrent layers": lambda: models.layer_recurrent({"u": 2}, {"y": 1}, hidden=(3, 2), input_delays=(2, 3)),
    "one of two inputs undelayed by gaps": lambda: declare(
        "u:1 v:2", "h:2:tanh g:2:logistic y:1:linear", "u>h@3 v>g@2,5 h>h@2 h>g@0,4 g>y y>h@1", "y h"
    ),
}
STEPS = 12


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def original(request):
    return lddn.Network(request.param(), key=jax.random.key(2))


def record(topology):
    """Inputs that begin long before the first step, so that every delay state is a part of them."""
    draw = np.random.default_rng(3).standard_normal
    return {i.name: draw((20 + STEPS, i.size)) for i in topology.inputs}


def run(net, long, start, before):
    """Simulates from step `start` of a record on; what layers hold there comes from a run that starts at `before`."""

    def state(at):
        return {name: value[at - longest : at] for name, value in long.items() if (longest := held(net, name))}

    begun = lddn.zero_state(net.topology) | state(before)
    if before < start:
        first = lddn.simulate(net, {name: value[before:start] for name, value in long.items()}, begun)
        begun = first.final_state
    return lddn.predict(net, {name: value[start:] for name, value in long.items()}, begun)


def held(net, name):
    return lddn.plan(net.topology).longest_delays.get(name, 0)


@pytest.mark.parametrize("n", [1, 2])
def test_outputs_come_n_steps_earlier(original, n):
    long = record(original.topology)
    expected = run(original, long, start=12 + n, before=12)
    # Both start where all layers are at rest: the original at step 12, and what is ahead of it n steps before.
    found = run(remove_delay(original, n), long, start=12, before=12 - n)
    for name in original.topology.outputs:
        assert found[name].shape[0] == expected[name].shape[0] + n  # n predictions more from the same record
        np.testing.assert_allclose(found[name][:-n], expected[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize("n", [1, 3])
def test_outputs_come_n_steps_later(original, n):
    long = record(original.topology)
    expected = run(original, long, start=12, before=12)
    found = run(add_delay(original, n), long, start=12 + n, before=12 + n)
    for name in original.topology.outputs:
        np.testing.assert_allclose(found[name], expected[name][:-n], rtol=0, atol=1e-13)


def test_adding_undoes_removing(original):
    again = add_delay(remove_delay(original, 2), 2)
    assert again.topology == original.topology
    jax.tree.map(np.testing.assert_array_equal, again, original)


def test_weights_are_untouched_and_other_delays_too(original):
    shifted = remove_delay(original)
    jax.tree.map(
        np.testing.assert_array_equal, (shifted.IW, shifted.LW, shifted.b), (original.IW, original.LW, original.b)
    )
    delays = original.topology.delays
    for pair, found in shifted.topology.delays.items():
        n = 1 if pair[1] in original.topology.input_names else 0
        assert found == tuple(d - n for d in delays[pair])


def test_one_step_is_the_default(original):
    assert remove_delay(original).topology == remove_delay(original, 1).topology
    assert add_delay(original).topology == add_delay(original, 1).topology


def net(topology):
    return lddn.Network(topology, init="zeros")


REFUSED = {
    "too short a delay": (
        lambda: remove_delay(net(models.narx({"u": 1}, {"y": 1}, input_delays=(2, 3))), 2),
        r"measured_y -> hidden delay 1, 2 reads an input with a delay of 1.*remove_delay\(net, 1\)",
    ),
    "no delay": (
        lambda: remove_delay(net(models.fir({"u": 1}, {"y": 1}))),
        r"at least 1.*with_delays\('u', 'y', \.\.\.",
    ),
    "no inputs": (
        lambda: remove_delay(lddn.close_loop(net(models.nar({"y": 1})), "y", "measured_y")),
        r"no inputs.*open it first: remove_delay\(open_loop\(net",
    ),
    "no inputs to delay": (
        lambda: add_delay(lddn.close_loop(net(models.nar({"y": 1})), "y", "measured_y")),
        r"add_delay: the network has no inputs",
    ),
    "a step back": (lambda: remove_delay(net(models.fir({"u": 1}, {"y": 1})), -1), "number of steps is -1"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_shifted_is_refused(call, message):
    with pytest.raises(lddn.TopologyError, match=message):
        call()


def test_a_trained_predictor_tells_what_its_record_has_not_seen_yet():
    """y(t) = u(t−1) + 0.5 u(t−2) is known at t = T, one step after the record ends."""
    predictor = net(models.fir({"u": 1}, {"y": 1}, delays=(1, 2), bias=False))
    predictor = predictor.with_weights(IW={("y", "u"): [[[1.0]], [[0.5]]]})
    u = jnp.arange(1.0, 5.0)[:, None]
    assert lddn.predict(remove_delay(predictor), u)["y"][-1, 0] == 4.0 + 0.5 * 3.0
