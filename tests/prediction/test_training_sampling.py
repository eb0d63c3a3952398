"""A record that is sampled otherwise than the training records is told, with the factor that mends it."""

import dataclasses

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.prediction.training_sampling import TrainingSampling


def record(interval=0.1, steps=400, timed=True):
    t = interval * np.arange(steps)
    return lddn.data.Record({"u": np.sin(t)[:, None]}, {"y": np.cos(t)[:, None]}, time=t if timed else None)


def test_interval_and_factor_are_those_of_the_records():
    assert TrainingSampling.of([record().decimate(4)]) == TrainingSampling(0.4, 4)
    assert TrainingSampling.of([record(timed=False).decimate(2).decimate(3)]) == TrainingSampling(None, 6)
    assert TrainingSampling.of([record()]) == TrainingSampling(0.1, 1)


@pytest.mark.parametrize(
    ("trained", "given", "said"),
    [
        (record().decimate(4), record(), "decimate it by 4, by --decimate 4"),
        (record().decimate(4), record(0.2), "decimate it by 2, by --decimate 2"),
        (record(), record().decimate(4), "leave out the decimation"),
        (record(0.2), record(0.3), "sample the record alike"),
        (record(0.2), record(0.1), "one sample every 0.1, and the model was trained on one every 0.2"),
        (
            record(timed=False).decimate(4),
            record(timed=False),
            "is not decimated, and the model was trained on records",
        ),
        (record(timed=False), record(timed=False).decimate(4), "is decimated by 4"),
    ],
)
def test_another_sampling_is_told(trained, given, said):
    assert said in (TrainingSampling.of([trained]).about([given]) or "")


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        (record().decimate(4), record().decimate(4)),
        (record().decimate(4), record(0.4)),
        (record(), record(0.1005)),
        (record(), record(timed=False)),
    ],
)
def test_the_same_sampling_is_not(trained, given):
    assert TrainingSampling.of([trained]).about([given]) is None


@pytest.fixture(scope="module")
def model():
    net = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 1)), key=jax.random.key(0))
    known = record().decimate(4)
    fitted = lddn.Scaled.fit(net, lddn.Sequences(known.inputs["u"], known.targets["y"]))
    return dataclasses.replace(fitted, sampling=TrainingSampling.of([known]))


def test_it_is_saved_with_the_model(model, tmp_path):
    lddn.save(tmp_path / "model.npz", model)
    assert lddn.load(tmp_path / "model.npz").sampling == TrainingSampling(0.4, 4)


def test_forecast_and_report_warn(model):
    assert any("--decimate 4" in note for note in lddn.forecast(model, record()).notes)
    assert not any("--decimate" in note for note in lddn.forecast(model, record().decimate(4)).notes)
    assert any("decimate it by 4" in warning for warning in lddn.report(model, record()).warnings)


@pytest.mark.parametrize("given", [{"sample_time": -1.0, "decimate": 1}, {"sample_time": None, "decimate": 0}])
def test_damaged_values_are_rejected(given):
    with pytest.raises(ValueError, match="decimated by"):
        TrainingSampling.from_dict(given)
