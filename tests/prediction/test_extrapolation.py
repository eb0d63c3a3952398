"""A record that leaves the training range is told so before its scores, in Python and on the command line."""

import jax
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.__main__ import main


@pytest.fixture(scope="module")
def model():
    net = lddn.Network(lddn.models.narx({"u": 2}, {"y": 1}, hidden=2), key=jax.random.key(0))
    u = np.linspace(-1, 1, 60).reshape(30, 2)
    return lddn.Scaled.fit(net, lddn.Sequences({"u": u, "measured_y": u[:, :1]}, u[:, :1]))


def columns(shift=0.0, steps=30):
    u = np.linspace(-1, 1, 2 * steps).reshape(steps, 2)
    return {"u": u + np.array([0.0, shift]), "y": u[:, 0]}


def test_ranges_are_by_element(model):
    assert model.ranges.keys() == {"u[0]", "u[1]", "y", "measured_y"}
    low, high = model.ranges["u[1]"]
    assert (low.item(), high.item()) == pytest.approx((1 / 29.5 - 1, 1))


def test_inputs_that_leave_the_range_are_said_before_the_scores(model):
    said = str(lddn.forecast(model, lddn.data.Record({"u": columns(30.0)["u"]}, {"y": columns()["y"][:, None]})))
    lines = said.splitlines()
    assert lines[1].startswith("input u[1] leaves the training range [-0.9661, 1] at 28 of 28 steps")
    assert "reaches 31" in lines[1]
    assert "RMSE" in lines[2]


def test_nothing_is_said_inside(model):
    found = lddn.forecast(model, lddn.data.Record({"u": columns()["u"]}, {"y": columns()["y"][:, None]}))
    assert found.outside == {}
    assert "training range" not in str(found)


def test_a_record_without_measurements(model):
    found = lddn.forecast(model, {"u": columns(30.0)["u"]})
    assert found.outside["u[1]"].count == 30
    assert str(found).splitlines()[1].startswith("input u[1] leaves")


def test_another_scaler_knows_no_range(model):
    standard = lddn.Scaled.fit(
        model.net, lddn.Sequences({"u": np.eye(9, 2), "measured_y": np.eye(9, 1)}, np.eye(9, 1)), lddn.data.Standard
    )
    assert standard.ranges == {}


def test_predict_says_so(model, tmp_path, capsys):
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    u = np.linspace(-1, 1, 30)[:, None]
    lddn.save(tmp_path / "network.npz", lddn.Scaled.fit(net, lddn.Sequences({"u": u, "measured_y": u}, u)))
    lddn.data.Table({"u": u[:, 0] + 30, "y": u[:, 0]}).to_csv(tmp_path / "record.csv")
    line = ["predict", str(tmp_path / "record.csv"), "--model", str(tmp_path / "network.npz"), "--out", str(tmp_path)]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert said.index("input u leaves the training range [-1, 1] at 28 of 28 steps") < said.index("RMSE")
