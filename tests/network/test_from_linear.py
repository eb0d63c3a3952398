"""A network that starts from a linear model computes what the linear model does."""

import dataclasses

import jax
import numpy as np
import pytest
from linear_systems import records_of, system

import lddn_jax as lddn
from lddn_jax.data import FromRecord, Record, begin
from lddn_jax.errors import TopologyError

FromLinear = lddn.initializers.FromLinear
A, B, C, D = system(2, 2, 1, feedthrough=False)
RECORDS = records_of(A, B, C, D, lengths=(120, 80), noise=0.01)
SIZES = RECORDS[0].sizes


@pytest.fixture(scope="module")
def linear():
    return lddn.linear.subspace(RECORDS, 2)


@pytest.fixture(scope="module")
def equation():
    return lddn.linear.arx(RECORDS, (1, 2), (1, 3))


def state_space(**more):
    return lddn.models.state_space(SIZES["inputs"], SIZES["targets"], **({"states": 2, "output_hidden": 3} | more))


def narx(**more):
    delays = {"input_delays": (1, 2), "feedback_delays": (1, 3)} | more
    return lddn.models.narx(SIZES["inputs"], SIZES["targets"], hidden=4, linear_path=True, **delays)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("record", RECORDS, ids=["first", "second"])
def test_a_state_space_runs_as_the_linear_model(linear, record, seed):
    net = lddn.Network(state_space(), init=FromLinear(linear), key=jax.random.key(seed))
    x = np.array([0.3, -0.7])
    # The linear model has its first state in row 0, the network before its first step, which is row 1.
    state = {name: signal[:1] for name, signal in record.inputs.items()} | {"state": x[None]}
    found = lddn.predict(net, {name: signal[1:] for name, signal in record.inputs.items()}, state)
    for name, expected in linear.free_run(record, x).items():
        np.testing.assert_allclose(found[name], expected[1:], rtol=0, atol=1e-10)


@pytest.mark.parametrize("record", RECORDS, ids=["first", "second"])
def test_a_closed_narx_runs_as_the_difference_equation(equation, record):
    net = lddn.Network(narx(), init=FromLinear(equation), key=jax.random.key(0))
    (output,) = SIZES["targets"]
    closed = lddn.close_loop(net, output, lddn.models.measured_name(output))
    data = begin(closed.topology, record, FromRecord())
    found = np.asarray(lddn.predict(closed, data.inputs, data.state)[output])[0]
    F, b = equation.weights()[output, lddn.models.measured_name(output)], equation.biases()[output]
    y = record.targets[output].copy()
    for t in range(3, len(y)):
        y[t] = b + F[0] @ y[t - 1] + F[1] @ y[t - 3]
        for name, signal in record.inputs.items():
            G = equation.weights()[output, name]
            y[t] += G[0] @ signal[t - 1] + G[1] @ signal[t - 2]
    np.testing.assert_allclose(found, y[3:], rtol=0, atol=1e-10)


def test_hidden_weights_are_drawn_and_their_spread_scales_them(linear):
    drawn = lddn.Network(state_space(), init="nguyen-widrow", key=jax.random.key(3))
    for spread in (0.1, 0.3):
        net = lddn.Network(state_space(), init=FromLinear(linear, spread=spread), key=jax.random.key(3))
        for name in ("hidden", "output_hidden"):
            np.testing.assert_allclose(net.LW[name, "state"], spread * drawn.LW[name, "state"], rtol=1e-14)
            np.testing.assert_allclose(net.b[name], spread * drawn.b[name], rtol=1e-14)
        assert not any(np.any(weight) for (_, source), weight in net.LW.items() if source.endswith("hidden"))


def constant(key, layer, shapes, dtype):
    return {source: np.full(shape, 0.5, dtype) for source, shape in shapes.items()}, np.full(layer.size, -0.25, dtype)


@pytest.mark.parametrize("hidden", ["glorot", "uniform", constant], ids=["glorot", "uniform", "a function"])
def test_hidden_weights_are_drawn_by_the_initializer_of_hidden_layers(linear, hidden):
    drawn = lddn.Network(state_space(), init=hidden, key=jax.random.key(3))
    default = lddn.Network(state_space(), init=FromLinear(linear), key=jax.random.key(3))
    net = lddn.Network(state_space(), init=FromLinear(linear, spread=0.1, hidden=hidden), key=jax.random.key(3))
    for name in ("hidden", "output_hidden"):
        np.testing.assert_allclose(net.LW[name, "state"], 0.1 * drawn.LW[name, "state"], rtol=1e-14)
        np.testing.assert_allclose(net.b[name], 0.1 * drawn.b[name], rtol=1e-14)
        assert not np.array_equal(net.LW[name, "state"], default.LW[name, "state"])
    for name in ("state", "y"):  # of the linear model
        np.testing.assert_array_equal(net.LW[name, "state"], default.LW[name, "state"])
        np.testing.assert_array_equal(net.b[name], default.b[name])


def test_hidden_weights_get_a_gradient_after_one_step(linear):
    """W is zero, so only W has a gradient at first; with W ≠ 0 all weights have one."""
    net = lddn.Network(state_space(), init=FromLinear(linear), key=jax.random.key(0))
    data, loss = begin(net.topology, RECORDS), lddn.losses.MeanSquaredError()
    _, gradient = lddn.value_and_grad(loss, net, data)
    assert np.abs(gradient.LW["state", "hidden"]).min() > 0
    moved = jax.tree.map(lambda w, g: w - 1e-3 * g, net, gradient)
    _, gradient = lddn.value_and_grad(loss, moved, data)
    assert np.abs(gradient.LW["hidden", "state"]).min() > 0


def test_equal_models_are_equal_initializers(linear):
    copy = lddn.linear.LinearModel.from_dict(linear.to_dict())
    assert FromLinear(linear) == FromLinear(copy)
    assert hash(FromLinear(linear)) == hash(FromLinear(copy))
    other = dataclasses.replace(linear, A=linear.A + 1e-15)
    assert FromLinear(linear) != FromLinear(other)
    assert FromLinear(linear) != FromLinear(linear, spread=0.2)
    assert FromLinear(linear) != FromLinear(linear, hidden="glorot")


def test_the_dtype_is_that_of_the_network(linear):
    net = lddn.Network(state_space(), init=FromLinear(linear), key=jax.random.key(0), dtype="float32")
    assert {leaf.dtype for leaf in jax.tree.leaves(net)} == {np.dtype("float32")}


WRONG = {
    "other number of states": (
        lambda s, a: lddn.Network(state_space(states=3), init=FromLinear(s), key=jax.random.key(0)),
        r"state of the network has weights \(1, 3, \d\), and that of the linear model has weights \(1, 2, \d\)",
    ),
    "a NARX network from states": (
        lambda s, a: lddn.Network(narx(), init=FromLinear(s), key=jax.random.key(0)),
        r"the layers \['state', .* has no 'state'.*lddn.models.narx for an ARX model",
    ),
    "other delays": (
        lambda s, a: lddn.Network(narx(feedback_delays=(1, 2, 3)), init=FromLinear(a), key=jax.random.key(0)),
        r"of the network has weights \(3, 1, 1\).*\(2, 1, 1\), \(delays, to, from\)",
    ),
    "no linear path": (
        lambda s, a: lddn.Network(
            lddn.models.narx(SIZES["inputs"], SIZES["targets"]), init=FromLinear(a), key=jax.random.key(0)
        ),
        "is missing, and that of the linear model",
    ),
    "hidden": (
        lambda s, a: lddn.Network(state_space(), init=FromLinear(s, hidden="glorott"), key=jax.random.key(0)),
        "there is no initializer 'glorott'.*glorot",
    ),
    "spread": (lambda s, a: FromLinear(s, spread=0.0), "spread=0.0 is not a positive number; write spread=0.3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_the_connection(name, linear, equation):
    call, message = WRONG[name]
    with pytest.raises(TopologyError, match=message):
        call(linear, equation)


def test_no_layer_of_the_linear_model_may_be_missing(linear):
    """A network with other output names would otherwise start with a part of the model only."""
    topology = lddn.models.state_space(SIZES["inputs"], {"other": 1}, states=2)
    with pytest.raises(TopologyError, match=r"FromLinear: .*'other'\] has no 'y'"):
        lddn.Network(topology, init=FromLinear(linear), key=jax.random.key(0))


def test_a_linear_model_without_inputs_starts_a_network_without_inputs():
    y = 0.9 ** np.arange(60.0)[:, None] * np.cos(np.arange(60.0) / 3)[:, None]
    record = Record({}, {"y": y})
    linear = lddn.linear.subspace(record, 2)
    net = lddn.Network(lddn.models.state_space({}, {"y": 1}, states=2), init=FromLinear(linear), key=jax.random.key(0))
    x = linear.first_states(record)[0]
    found = lddn.predict(net, {}, {"state": x[None]}, steps=59)["y"]
    np.testing.assert_allclose(found, linear.free_run(record, x)["y"][1:], rtol=0, atol=1e-10)
