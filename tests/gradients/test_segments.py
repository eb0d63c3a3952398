"""Time cut into segments: for the cache, at checkpoints, and truncated."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import assert_blocks_agree, blocks, expected_gradient, pulled_back
from networks import BY_NAME, FEW_CASES, Case, declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.gradients.api import _value_and_grad, prepare_data
from lddn_jax.gradients.segments import cut, square_root
from lddn_jax.numerics.platform import CPU, compiling_for


@pytest.fixture
def as_if_nothing_fitted(monkeypatch):
    """Weight gradients are summed inside the loop at every network, as they are where n̄ does not fit the cache."""
    module = importlib.import_module("lddn_jax.topology.plan")  # `lddn_jax.topology.plan` is the function
    monkeypatch.setattr(module, "CACHED_BYTES", 0)
    monkeypatch.setattr(module, "STEPWISE_SEQUENCES", 1)
    jax.clear_caches()
    with compiling_for(CPU):  # the rule is one for the CPU
        yield
    jax.clear_caches()


# --- the same gradient -----------------------------------------------------------------------------------------------


@FEW_CASES
def test_segments_for_the_cache(case, as_if_nothing_fitted):
    assert_blocks_agree(pulled_back(case, lddn.BPTT()), expected_gradient(case), 1e-11)


@FEW_CASES
def test_checkpoints(case):
    # Three segments or more, the last one shorter, in almost all of the networks.
    assert_blocks_agree(pulled_back(case, lddn.BPTT(checkpoint=3)), expected_gradient(case), 1e-11)


@pytest.mark.parametrize("name", in_tiers(["awkward", "autonomous"], fast=["autonomous"]))
@pytest.mark.parametrize("checkpoint", [1, 5, 1000, "sqrt"])
def test_any_checkpoint(name, checkpoint):
    case = BY_NAME[name]
    assert_blocks_agree(pulled_back(case, lddn.BPTT(checkpoint=checkpoint)), expected_gradient(case), 1e-11)


@pytest.mark.deep
def test_checkpoints_in_the_middle_of_another_computation():
    case = BY_NAME["elman"]
    inputs, state = case.signals

    def loss(method):
        run = lddn.differentiable(method)
        return lambda net, inputs: (jnp.tanh(run(net, inputs, state)["y"]) ** 2).sum()

    found, expected = (
        jax.grad(loss(method), argnums=(0, 1))(case.net, inputs)
        for method in (lddn.BPTT(checkpoint=3), lddn.Autodiff())
    )
    assert_blocks_agree(blocks(found[0], found[1]), blocks(expected[0], expected[1]), 1e-11)


def test_the_jacobian_with_checkpoints():
    case = BY_NAME["elman"]
    found, expected = (lddn.jacobian(case.net, case.data, method) for method in (lddn.BPTT(checkpoint=3), lddn.RTRL()))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-12 * np.abs(expected[name]).max())


# --- truncation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "truncation", "checkpoint"),
    in_tiers(
        [
            ("awkward", 1, False),
            ("awkward", 3, True),
            ("awkward", 4, False),
            ("awkward", 100, False),
            ("autonomous", 4, True),
            ("long-delays-in-a-ring", 3, False),
            ("fir-in-series", 3, True),
            ("multi-rate", 3, False),
        ],
        fast=[("autonomous", 4, True), ("multi-rate", 3, False)],
    ),
)
def test_truncation_is_a_sum_over_segments_that_start_from_given_states(name, truncation, checkpoint):
    """By definition: each segment's gradient, its delay state a constant; here by the full gradient of each segment."""
    case = BY_NAME[name]
    inputs, state = case.signals
    expected = None
    for start in range(0, case.steps, truncation):
        steps = min(truncation, case.steps - start)
        here = {key: signal[..., start : start + steps, :] for key, signal in inputs.items()}
        cotangents = {key: jnp.asarray(c)[..., start : start + steps, :] for key, c in case.cotangents.items()}
        gradient, of_state = lddn.RTRL().pullback(case.net, here, state, cotangents, steps=steps)
        if expected is None:  # the state that is asked about is that of the first segment
            expected = gradient, of_state
        else:
            expected = jax.tree.map(jnp.add, expected[0], gradient), expected[1]
        state = lddn.simulate(case.net, here, state, steps=None if here else steps).final_state
    method = lddn.BPTT(checkpoint=truncation if checkpoint else None, truncation=truncation)
    assert_blocks_agree(pulled_back(case, method), blocks(*expected), 1e-11)


@pytest.mark.deep
def test_training_with_truncated_gradients():
    topology = declare("u:1", "h:4:tanh y:1:linear", "u>h h>h@1 h>y", "y")
    u = jax.random.normal(jax.random.key(0), (60, 1))
    teacher, net = (lddn.Network(topology, key=jax.random.key(k)) for k in (1, 2))
    data, loss = lddn.Sequences(u, lddn.predict(teacher, u)), lddn.losses.MeanSquaredError()
    fitted = lddn.fit(net, data, loss, lddn.Optax(optax.adam(3e-2)), gradient=lddn.BPTT(truncation=20), epochs=300)
    assert fitted.history["loss"][-1] < 0.3 * fitted.history["loss"][0]


@pytest.mark.deep
def test_check_gradients_tells_how_far_a_truncated_gradient_is_off():
    case = Case("elman-of-thirty-steps", lambda: declare("u:2", "h:4:tanh y:2:linear", "u>h h>h@1 h>y", "y"), steps=30)
    loss, methods = lddn.losses.SumSquaredError(), (lddn.BPTT(), lddn.Autodiff(), lddn.BPTT(truncation=5))
    report = lddn.check_gradients(loss, case.net, case.data, methods)
    assert report.passed
    (deviation,) = report.deviations
    full, short = (
        lddn.value_and_grad(loss, case.net, case.data, method)[1].ravel()[0] for method in (methods[0], methods[2])
    )
    assert deviation.relative == pytest.approx(float(jnp.linalg.norm(full - short) / jnp.linalg.norm(full)), rel=1e-9)
    assert 0.001 < deviation.relative < 1
    assert "BPTT(truncation=5) is truncated" in str(report)
    stored = report.to_dict()
    assert set(stored["methods"]) == {"BPTT", "Autodiff"}
    assert stored["deviations"]["BPTT(truncation=5)"]["cosine"] == pytest.approx(deviation.cosine)


def test_a_truncated_gradient_beside_a_full_one_alone():
    case = BY_NAME["elman"]
    methods = (lddn.BPTT(), lddn.BPTT(truncation=3))
    report = lddn.check_gradients(lddn.losses.SumSquaredError(), case.net, case.data, methods)
    assert report.passed
    assert "full gradient" in str(report)
    with pytest.raises(ValueError, match="full gradient"):
        lddn.check_gradients(lddn.losses.SumSquaredError(), case.net, case.data, methods[1:] * 2)


# --- memory ----------------------------------------------------------------------------------------------------------


def temporaries(method, steps):
    """Bytes of temporary arrays of the compiled value and gradient of a ten-neuron network."""
    topology = declare("u:1", "h:10:tanh y:1:linear", "u>h h>h@1,2 h>y", "y")
    net = lddn.Network(topology, init="zeros")
    u = jnp.zeros((steps, 1))
    *arrays, steps = prepare_data(loss := lddn.losses.SumSquaredError(), net, lddn.Sequences(u, u))
    compiled = _value_and_grad.lower(loss, net, *arrays, steps=steps, method=method).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.usefixtures("compiled_as_users_have_it")
def test_memory_for_layers_grows_with_the_square_root_of_time():
    # Output and target are of one element, and some copies of them remain; ten neurons would add ten times as much.
    short, long = (temporaries(lddn.BPTT(checkpoint="sqrt"), steps) for steps in (2_500, 40_000))
    of_outputs = 8 * 40_000 * 3
    assert short > 0
    assert long - of_outputs < 8 * short
    assert long < 8 * 40_000 * 11 / 3  # n̄ of all layers at all times
    assert long < temporaries(lddn.BPTT(), 40_000) / 4


# --- where time is cut -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("held", [0, 1, 3, 9])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 29])
def test_every_step_lies_in_one_segment_and_the_last_comes_first(steps, length, held, uneven):
    where = cut(steps, length, held, uneven=uneven)
    looped = [(where.first + k * where.length, where.length) for k in reversed(range(where.count))]
    segments = [*where.after, *looped, *where.before]
    assert [t for start, count in segments for t in reversed(range(start, start + count))] == [*reversed(range(steps))]
    assert where.first >= min(held, steps) or where.count == 0
    assert where.count != 1
    if not uneven:
        assert all(count == min(length, steps) and start % count == 0 for start, count in [*looped, *where.before])


@pytest.mark.parametrize(("steps", "length"), [(1, 1), (2, 2), (4, 2), (5, 3), (99, 10), (100, 10), (101, 11)])
def test_square_root(steps, length):
    assert square_root(steps) == length


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"checkpoint": 0}, "positive number of steps"),
        ({"checkpoint": "log"}, '"sqrt"'),
        ({"checkpoint": 2.5}, "positive number of steps"),
        ({"truncation": -1}, "positive number of steps"),
        ({"truncation": True}, "positive number of steps"),
        ({"truncation": 5, "checkpoint": "sqrt"}, r"BPTT\(checkpoint=5, truncation=5\)"),
    ],
    ids=str,
)
def test_senseless_settings(settings, words, unchecked):
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.BPTT(**settings)
