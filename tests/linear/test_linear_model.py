"""What a linear model computes agrees with scipy.signal, with a network of its weights, and with itself."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from linear_systems import records_of, simulated, system

import lddn_jax as lddn
from lddn_jax import DataError, LDDNError, ShapeError
from lddn_jax.data import Record
from lddn_jax.linear import LinearModel, responses


def model_of(A, B, C, D, **more):
    sizes = {"u": B.shape[1]}, {"y": C.shape[0]}
    return LinearModel(A, B, C, D, *sizes, np.full(B.shape[1], 0.3), np.full(C.shape[0], -2.0), **more)


@pytest.fixture(scope="module")
def model():
    return model_of(*system(3, 2, 2), sample_time=0.1)


@pytest.fixture(scope="module")
def record():
    rng = np.random.default_rng(3)
    return Record({"u": rng.normal(size=(60, 2))}, {"y": rng.normal(size=(60, 2))})


def test_free_run_is_that_of_scipy(model, record):
    first = np.array([1.0, -1.0, 0.5])
    u = record.inputs["u"] - model.input_offset
    _, y, _ = scipy.signal.dlsim((model.A, model.B, model.C, model.D, 1.0), u, x0=first)
    np.testing.assert_allclose(model.free_run(record, first)["y"], y + model.output_offset, atol=1e-12)


def test_frequency_response_is_that_of_scipy(model):
    w = np.linspace(0.01, np.pi, 7)
    for j in range(2):
        _, found = scipy.signal.dfreqresp((model.A, model.B[:, [j]], model.C[[0]], model.D[[0]][:, [j]], 1.0), w)
        np.testing.assert_allclose(model.frequency_response(w)[:, 0, j], found, atol=1e-12)


def test_a_network_of_its_weights_computes_the_same(model):
    """The delay state after row 0 is u of row 0 and x of row 0, as `begin` fills it."""
    records = [r.piece(0, n) for n, r in zip((50, 40), records_of(*system(3, 2, 2), (50, 40)), strict=True)]
    assert set(model.weights()) == {("state", "state"), ("state", "u"), ("y", "state"), ("y", "u")}
    linear = lddn.models.linear_state_space({"u": 2}, {"y": 2}, states=3, feedthrough=True)
    layers = [dataclasses.replace(layer, bias=True) for layer in linear.layers]
    topology = lddn.Topology(linear.inputs, layers, linear.connections, linear.outputs)
    net = lddn.Network(topology, init="zeros")
    weights = model.weights()
    net = net.with_weights(
        IW={name: weights[name] for name in net.IW}, LW={name: weights[name] for name in net.LW}, b=model.biases()
    )
    data = lddn.data.begin(topology, records)
    state = {**data.state, "state": jnp.asarray(model.first_states(records))[:, None, :]}
    found = lddn.predict(net, data.inputs, state)["y"]
    for k, r in enumerate(records):
        np.testing.assert_allclose(found[k, : len(r) - 1], model.free_run(r)["y"][1:], atol=1e-10)


def test_first_states_are_those_of_a_noise_free_record(model, record):
    first = np.array([0.3, 2.0, -1.0])
    outputs = model.free_run(record, first)["y"].copy()
    outputs[5:9] = np.nan  # missing targets are not used
    exact = Record(record.inputs, {"y": outputs}, missing="mask")
    np.testing.assert_allclose(model.first_states([exact, exact]), [first, first], atol=1e-10)
    np.testing.assert_allclose(model.first_states(exact, samples=20), [first], atol=1e-8)


def test_states_of_unit_variance(model, record):
    normalized = model.normalized(record)
    u = record.inputs["u"] - model.input_offset
    x = [normalized.first_states(record)[0]]
    for t in range(1, 60):
        x.append(normalized.A @ x[-1] + normalized.B @ u[t - 1])
    np.testing.assert_allclose(np.array(x).T @ np.array(x) / 60, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(normalized.free_run(record)["y"], model.free_run(record)["y"], atol=1e-9)


def test_states_of_an_unstable_model_are_scaled_by_its_first_rows():
    A, B, C, D = np.diag([1.5, 0.5]), np.ones((2, 1)), np.ones((1, 2)), np.zeros((1, 1))
    record = Record({"u": np.ones((5000, 1))}, {"y": np.random.default_rng(0).normal(size=(5000, 1))})
    normalized = model_of(A, B, C, D).normalized(record)
    np.testing.assert_allclose(np.sort(np.abs(normalized.poles)), [0.5, 1.5], atol=1e-6)


@pytest.mark.parametrize(("poles", "radius"), [([1.25, 0.5], 1.0), ([1.0, -1.0], 1.0), ([0.99, 0.5], 0.9)])
def test_poles_are_reflected_into_the_circle(poles, radius):
    unstable = model_of(np.diag(poles), np.ones((2, 1)), np.ones((1, 2)), np.zeros((1, 1)))
    stable = unstable.stabilized(radius)
    assert stable.stable
    assert (np.abs(stable.poles) < radius).all()
    for pole in poles:
        expected = pole if abs(pole) < radius else radius**2 / pole
        assert np.abs(stable.poles - expected).min() < 2e-6


def test_a_stable_model_remains_itself(model):
    assert model.stabilized() is model


def test_pairs_and_double_poles_are_reflected():
    """A rotation by one radian of radius 1.1, twice, in a Jordan block: A has no full set of eigenvectors."""
    c, s = 1.1 * np.cos(1.0), 1.1 * np.sin(1.0)
    rotation = np.array([[c, s], [-s, c]])
    A = np.block([[rotation, np.eye(2)], [np.zeros((2, 2)), rotation]])
    stable = model_of(A, np.ones((4, 1)), np.ones((1, 4)), np.zeros((1, 1))).stabilized()
    np.testing.assert_allclose(np.abs(stable.poles), 1 / 1.1, atol=1e-6)
    np.testing.assert_allclose(np.abs(np.angle(stable.poles)), 1.0, atol=1e-6)


def test_slowest_pole_in_samples():
    B, C, D = np.ones((2, 1)), np.ones((1, 2)), np.zeros((1, 1))
    assert model_of(np.diag([0.5, np.exp(-1 / 20)]), B, C, D).slowest == pytest.approx(20)
    assert model_of(np.diag([0.5, 1.0]), B, C, D).slowest == np.inf
    assert model_of(np.zeros((2, 2)), B, C, D).slowest == 0


def test_equal_and_hashable_by_value(model):
    same = dataclasses.replace(model, A=model.A.copy())
    other = dataclasses.replace(model, output_offset=model.output_offset + 1e-12)
    assert same == model
    assert hash(same) == hash(model)
    assert other != model
    assert not model.A.flags.writeable


def test_text_and_dict(model, tmp_path):
    arx = lddn.linear.arx(records_of(*system(2, 1, 1)), (1,), (1,))
    for each in (model, arx):
        assert LinearModel.from_dict(json.loads(json.dumps(each.to_dict()))) == each
        lddn.save(tmp_path / "model.npz", each)
        assert lddn.load(tmp_path / "model.npz") == each
    assert "3 states, u:2 -> y:2, stable" in repr(model)
    assert "time constant" in str(model)


def test_scores_are_those_of_the_free_runs(model):
    records = records_of(*system(3, 2, 2), (50, 40), noise=0.1)
    errors = [model.free_run(r, samples=20)["y"][10:] - r.targets["y"][10:] for r in records]
    expected = np.sqrt(np.mean(np.square(np.concatenate(errors))))
    assert model.scores(records, samples=20, warmup=10).all.rmse == pytest.approx(expected)


def test_an_unstable_model_diverges_without_nan_in_its_scores():
    A, B, C, D = np.array([[1.5]]), np.ones((1, 1)), np.ones((1, 1)), np.zeros((1, 1))
    record = Record({"u": np.ones((5000, 1))}, {"y": np.zeros((5000, 1))})
    assert model_of(A, B, C, D).scores(record).all.rmse == np.inf


def test_a_record_that_does_not_fit(model, record):
    gap = record.inputs["u"].copy()
    gap[7] = np.nan
    with pytest.raises(DataError, match="unbroken"):
        model.free_run(Record({"u": gap}, record.targets, missing="mask"))
    with pytest.raises(ShapeError, match="input 'u' of size 2"):
        model.free_run(Record({"v": gap[:5]}, {"y": np.zeros((5, 2))}, missing="mask"))
    with pytest.raises(ShapeError, match="output 'y' of size 2"):
        model.first_states(Record(record.inputs, {"z": np.zeros((60, 2))}))
    with pytest.raises(ShapeError, match="first has shape"):
        model.free_run(record, np.zeros(2))


@pytest.mark.usefixtures("unchecked")
def test_matrices_that_do_not_fit(model):
    with pytest.raises(ShapeError, match=r"C has shape \(2, 2\).*\(2, 3\)"):
        dataclasses.replace(model, C=model.C[:, :2])
    with pytest.raises(DataError, match="B has values that are NaN"):
        dataclasses.replace(model, B=np.full((3, 2), np.nan))
    with pytest.raises(LDDNError, match="radius=2"):
        model.stabilized(2.0)


def test_the_loop_over_chunks_is_the_loop_over_samples(model):
    u = np.random.default_rng(0).normal(size=(37, 2))
    expected = simulated(model.A, model.B, model.C, model.D, u, np.ones(3), offset=0.0)
    for steps in (1, 2, 36, 37):
        run = responses.simulated(model.A, model.B, model.C, model.D, u[:steps], np.ones(3))[1]
        np.testing.assert_allclose(run, expected[:steps], atol=1e-12)
