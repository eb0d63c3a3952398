"""ARX: exact without noise, its state-space form is its equation, and a NARX network can start from it."""

import numpy as np
import pytest
from linear_systems import records_of, system

import lddn_jax as lddn
from lddn_jax import DataError, LDDNError
from lddn_jax.data import Record


def plant(steps=200, seed=0):
    """Two outputs, one of which acts on the other; a delay of 3, and one output without an offset."""
    rng = np.random.default_rng(seed)
    u, y = 2 + rng.normal(size=(steps, 1)), rng.normal(size=(steps, 2))
    for t in range(3, steps):
        y[t, 0] = 0.5 * y[t - 1, 0] - 0.3 * y[t - 2, 0] + 0.8 * u[t - 3, 0] + 0.2 * u[t, 0] + 4
        y[t, 1] = 0.6 * y[t - 1, 1] + 0.1 * y[t - 1, 0] + u[t - 1, 0]
    return Record({"u": u[3:]}, {"a": y[3:, :1], "b": y[3:, 1:]})


def test_coefficients_of_a_known_equation():
    model = lddn.linear.arx(plant(), (0, 1, 3), (1, 2))
    weights, biases = model.weights(), model.biases()
    np.testing.assert_allclose(weights["a", "measured_a"].ravel(), [0.5, -0.3], atol=1e-10)
    np.testing.assert_allclose(weights["a", "u"].ravel(), [0.2, 0.0, 0.8], atol=1e-10)
    np.testing.assert_allclose(weights["b", "measured_a"].ravel(), [0.1, 0.0], atol=1e-10)
    np.testing.assert_allclose(weights["b", "u"].ravel(), [0.0, 1.0, 0.0], atol=1e-10)
    np.testing.assert_allclose([biases["a"][0], biases["b"][0]], [4.0, 0.0], atol=1e-9)
    assert model.scores(plant(seed=1)).all.rmse < 1e-9


@pytest.mark.parametrize("delays", [((1, 2), (1, 2)), ((0, 1, 3), (1, 2, 4)), ((2,), (1,)), ((), (1, 2)), ((0,), (3,))])
def test_the_free_run_obeys_the_equation(delays):
    record = plant()
    model = lddn.linear.arx(record, *delays)
    run, weights, biases = model.free_run(record), model.weights(), model.biases()
    for t in range(4, 100):
        for to in ("a", "b"):
            expected = biases[to].copy()
            for k, delay in enumerate(delays[0]):
                expected += weights[to, "u"][k] @ record.inputs["u"][t - delay]
            for source in ("a", "b"):
                for k, delay in enumerate(delays[1]):
                    expected += weights[to, f"measured_{source}"][k] @ run[source][t - delay]
            np.testing.assert_allclose(run[to][t], expected, atol=1e-9)


def test_weights_are_those_of_a_narx_network():
    record = plant()
    model = lddn.linear.arx(record)
    topology = lddn.models.narx({"u": 1}, {"a": 1, "b": 1}, hidden=3, linear_path=True)
    net = lddn.Network(topology, init="zeros").with_weights(IW=model.weights(), b=model.biases())
    data = lddn.data.begin(topology, record.measured({"measured_a": "a", "measured_b": "b"}))
    errors = {
        name: np.asarray(y - data.targets[name]) for name, y in lddn.predict(net, data.inputs, data.state).items()
    }
    # The residuals of least squares are orthogonal to the regressors.
    for error in errors.values():
        assert abs(error.mean()) < 1e-10
        assert abs((error[0, :, 0] * record.inputs["u"][1:-1, 0]).mean()) < 1e-10


def test_gaps_are_not_crossed():
    record = plant()
    y = record.targets["a"].copy()
    y[50:60] = np.nan
    y[[100, 102, 104]] = np.nan
    gappy = Record(record.inputs, {"a": y, "b": record.targets["b"]}, missing="mask")
    model = lddn.linear.arx([gappy, record.piece(0, 30)], (0, 1, 3), (1, 2))
    np.testing.assert_allclose(model.weights()["a", "u"].ravel(), [0.2, 0.0, 0.8], atol=1e-10)


@pytest.mark.parametrize("input_gain", [0.0, 1.0])
def test_an_integrator_with_drift(input_gain):
    """y0 does not exist; with an input there is a u0 that stops the drift."""
    u = np.random.default_rng(0).normal(size=(80, 1))
    y = np.cumsum(input_gain * u + 0.3, axis=0)
    record = Record({"u": u[1:]}, {"y": y[:-1]})
    model = lddn.linear.arx(record, (1,), (1,))
    assert all(np.isfinite(value).all() for value in (model.A, model.output_offset, model.input_offset))
    np.testing.assert_allclose(model.weights()["y", "measured_y"].ravel(), [1.0], atol=1e-9)
    if input_gain:
        shifted = Record({"u": u[:-1]}, {"y": y[:-1]})
        assert lddn.linear.arx(shifted, (0,), (1,)).scores(shifted).all.rmse < 1e-8


def test_a_stabilized_equation_is_a_state_space_model():
    u = np.random.default_rng(0).normal(size=(30, 1))
    y = np.zeros((30, 1))
    for t in range(1, 30):
        y[t] = 1.2 * y[t - 1] + u[t - 1]
    model = lddn.linear.arx(Record({"u": u}, {"y": y}), (1,), (1,))
    assert not model.stable
    assert set(model.stabilized().weights()) == {("state", "state"), ("state", "u"), ("y", "state")}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (((1, 2), (0, 1)), LDDNError, "a delay of feedback_delays is 0.*at least 1"),
        (((1, 1), (1,)), LDDNError, r"input_delays=\(1, 1\) has a delay twice"),
        (((1,), ()), LDDNError, "feedback_delays is empty"),
        (((1,), range(1, 40)), DataError, "too few"),
    ],
)
def test_delays_that_do_not_fit(arguments, error, message):
    (record,) = records_of(*system(2, 1, 1), (60,))
    with pytest.raises(error, match=message):
        lddn.linear.arx(record, *arguments)
