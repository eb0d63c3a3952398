"""Subspace identification recovers known systems, from any number of records, signals and gaps."""

import dataclasses

import numpy as np
import pytest
from linear_systems import distance, records_of, simulated, system

import lddn_jax as lddn
from lddn_jax import DataError, LDDNError
from lddn_jax.data import Record


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("states", [1, 2, 3, 4, 5, 6])
def test_poles_and_outputs_of_a_known_system(states, inputs, outputs):
    A, B, C, D = system(states, inputs, outputs)
    (record,) = records_of(A, B, C, D)
    model = lddn.linear.subspace(record, feedthrough=True)  # the order is found, too
    assert distance(model.poles, np.linalg.eigvals(A)) < 1e-6
    np.testing.assert_allclose(model.free_run(record)["y"], record.targets["y"], atol=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("states", [1, 2, 3, 4])
def test_poles_of_a_system_without_inputs(states, outputs):
    A, B, C, D = system(states, 0, outputs)
    records = records_of(A, B, C, D, (60, 70, 50))
    model = lddn.linear.subspace(records, states)
    assert distance(model.poles, np.linalg.eigvals(A)) < 1e-6


def test_frequency_response_with_noise():
    A, B, C, D = system(3, 1, 1, feedthrough=False)
    model = lddn.linear.subspace(records_of(A, B, C, D, (3000,), noise=0.1), 3)
    w = np.linspace(0.05, 3.0, 20)
    expected = np.array([(C @ np.linalg.solve(np.exp(1j * x) * np.eye(3) - A, B))[0, 0] for x in w])
    # The noise is a tenth of the output and there are 3,000 samples: 0.1 / √3000 of the largest gain is 0.002.
    assert np.abs(model.frequency_response(w)[:, 0, 0] - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("states", [2, 4])
@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_agrees_with_nfoursid(states, noise):
    """Another package, whose N4SID has other weights and finds B and D otherwise: equal within the noise."""
    n4sid, pandas = pytest.importorskip("nfoursid.nfoursid"), pytest.importorskip("pandas")
    A, B, C, D = system(states, 1, 1, seed=3)
    (record,) = records_of(A, B, C, D, (2000,), noise=noise)
    (fresh,) = records_of(A, B, C, D, (1000,), seed=9)
    u, y = (signal[:, 0] - signal[:, 0].mean() for signal in (record.inputs["u"], record.targets["y"]))
    frame = pandas.DataFrame({"u": u, "y": y})
    found = n4sid.NFourSID(frame, output_columns=["y"], input_columns=["u"], num_block_rows=15)
    found.subspace_identification()
    matrices, _ = found.system_identification(rank=states)
    ours = lddn.linear.subspace(record, states, feedthrough=True)
    theirs = dataclasses.replace(ours, A=matrices.a, B=matrices.b, C=matrices.c, D=matrices.d)
    w = np.linspace(0.1, 3.0, 15)
    response = ours.frequency_response(w)
    assert np.abs(response - theirs.frequency_response(w)).max() < 0.3 * noise * np.abs(response).max()
    assert ours.scores(fresh).all.rmse < 1.2 * theirs.scores(fresh).all.rmse


def test_signals_by_name_of_several_records_with_gaps():
    """Two inputs and two outputs of their own names, three records, missing targets and missing inputs."""
    A, B, C, D = system(3, 2, 2)
    records = []
    for k, r in enumerate(records_of(A, B, C, D, (150, 120, 90))):
        u, y = r.inputs["u"].copy(), r.targets["y"].copy()
        y[40 + k : 45, 0] = np.nan
        u[70] = np.nan
        signals = {"valve": u[:, :1], "measured_level": y[:, :1], "pump": u[:, 1:]}
        records.append(Record(signals, {"level": y[:, :1], "flow": y[:, 1:]}, missing="mask"))
    model = lddn.linear.subspace(records, 3, feedthrough=True)
    assert (list(model.input_sizes), list(model.output_sizes)) == (["valve", "pump"], ["level", "flow"])
    assert distance(model.poles, np.linalg.eigvals(A)) < 1e-6
    assert model.scores([piece for r in records for piece in r.unbroken(targets=False)]).all.rmse < 1e-6


@pytest.mark.parametrize("pole", [1.2, 1.0, -1.05])
def test_an_unstable_plant_keeps_its_pole(pole):
    """Stabilized by feedback, so that its outputs remain bounded."""
    rng = np.random.default_rng(0)
    A, B, C = np.array([[pole, 1.0], [0.0, 0.5]]), np.array([[1.0], [0.5]]), np.array([[1.0, 0.0]])
    x, u, y = np.ones(2), np.zeros((500, 1)), np.zeros((500, 1))
    for t in range(500):
        y[t] = C @ x
        u[t] = rng.normal() - 0.7 * pole * y[t]
        x = A @ x + B @ u[t]
    record = Record({"u": u}, {"y": y})
    model = lddn.linear.subspace(record, 2)
    assert distance(model.poles, [pole, 0.5]) < 1e-6
    stable = lddn.linear.subspace(record, 2, stabilize=True)
    assert stable.stable
    assert distance(stable.poles, [1 / pole, 0.5]) < 1e-5


def test_the_input_gain_of_a_stabilized_model_is_fitted_anew():
    A = np.array([[1.02]])
    u = np.random.default_rng(0).normal(size=(150, 1))
    record = Record({"u": u}, {"y": simulated(A, np.eye(1), np.eye(1), np.zeros((1, 1)), u, np.zeros(1))})
    fitted = lddn.linear.subspace(record, 1, stabilize=True)
    only_pulled_in = lddn.linear.subspace(record, 1).stabilized()
    assert fitted.scores(record).all.rmse < only_pulled_in.scores(record).all.rmse


def test_constant_inputs_and_outputs_give_a_finite_model():
    rng = np.random.default_rng(0)
    (record,) = records_of(*system(2, 1, 1), (200,))
    u = np.concatenate([record.inputs["u"], np.full((200, 1), 4.0), record.inputs["u"]], axis=1)  # one of them twice
    y = np.concatenate([record.targets["y"], np.full((200, 1), 3.0)], axis=1)
    for inputs, outputs in ((u, y), (u[:, 1:2], rng.normal(size=(200, 1))), (u[:, :1], y[:, 1:])):
        model = lddn.linear.subspace(Record({"u": inputs}, {"y": outputs}), 2, feedthrough=True)
        run = model.free_run(Record({"u": inputs}, {"y": outputs}))["y"]
        assert np.isfinite(run).all()
    assert np.abs(run - 3.0).max() < 1e-12
    model = lddn.linear.subspace(Record({"u": u}, {"y": y}), 2, feedthrough=True)
    assert model.scores(Record({"u": u}, {"y": y})).all.rmse < 1e-6


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_units_do_not_matter(scale):
    A, B, C, D = system(3, 1, 1)
    (record,) = records_of(A, B, C, D)
    scaled = Record({"u": scale * record.inputs["u"]}, {"y": record.targets["y"] / scale + 100 / scale})
    model = lddn.linear.subspace(scaled, 3, feedthrough=True)
    assert distance(model.poles, np.linalg.eigvals(A)) < 1e-6
    assert model.scores(scaled).all.nrmse < 1e-7


def test_blocks_of_a_long_record_are_those_of_the_whole(monkeypatch):
    records = records_of(*system(2, 1, 1), (300, 50, 130), noise=0.1)
    whole = lddn.linear.subspace(records, 2, horizon=7)
    monkeypatch.setattr("lddn_jax.linear.moesp.COLUMNS_AT_ONCE", 40)
    parts = lddn.linear.subspace(records, 2, horizon=7)
    np.testing.assert_allclose(parts.singular_values, whole.singular_values, rtol=1e-9)
    np.testing.assert_allclose(parts.poles, whole.poles, atol=1e-9)


def test_singular_values_show_the_order():
    model = lddn.linear.subspace(records_of(*system(3, 1, 1)), 3, horizon=8)
    assert model.singular_values.shape == (8,)
    assert model.singular_values[2] > 1e6 * model.singular_values[3]


@pytest.mark.parametrize(
    ("lengths", "arguments", "message"),
    [
        ((400,), {"states": 4, "horizon": 4}, r"horizon=4 is too short for 4 states.*horizon=5"),
        ((400,), {"states": 2, "horizon": 300}, r"600 successive samples.*400.*horizon=200 or less"),
        ((12,), {"states": 5}, "too few for 5 state"),
        ((3, 3, 3), {}, "too few for 1 state"),
    ],
)
def test_records_that_are_too_short(lengths, arguments, message):
    with pytest.raises(DataError, match=message):
        lddn.linear.subspace(records_of(*system(2, 1, 1), lengths), **arguments)


def test_nothing_but_gaps():
    y = np.where(np.arange(40) % 2, np.nan, 1.0)[:, None]
    with pytest.raises(DataError, match="no two successive samples"):
        lddn.linear.subspace(Record({"u": np.ones((40, 1))}, {"y": y}, missing="mask"))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("arguments", [{"states": 0}, {"states": 2.5}, {"horizon": -1}])
def test_orders_that_are_none(arguments):
    (record,) = records_of(*system(2, 1, 1))
    with pytest.raises(LDDNError, match=f"{next(iter(arguments))}=.*positive whole number"):
        lddn.linear.subspace(record, **arguments)
