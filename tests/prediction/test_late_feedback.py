"""A network that reads measured outputs d steps late predicts d steps ahead, and is assessed as such."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

import lddn_jax as lddn
from lddn_jax.__main__ import main
from lddn_jax.diagnostics import autocorrelation, ljung_box
from lddn_jax.prediction.evaluator import evaluate
from lddn_jax.prediction.horizons import shortest_delay
from lddn_jax.reporting.collect import collect
from lddn_jax.reporting.findings import diagnose

LATE = 3


@pytest.fixture(scope="module")
def columns():
    """y(t) = 0.9 y(t−1) + 0.3 e(t): three steps ahead, 0.9³ y(t−3) is the best, and its errors reach back two lags."""
    rng = np.random.default_rng(0)
    e = rng.normal(size=400)
    y = np.zeros(400)
    for t in range(1, 400):
        y[t] = 0.9 * y[t - 1] + 0.3 * e[t]
    return {"y": y}


@pytest.fixture(scope="module")
def model(columns):
    topology = lddn.Topology(
        [lddn.Input("measured_y", 1)],
        [lddn.Layer("y", 1, "linear", bias=False)],
        [lddn.Connection("measured_y", "y", (LATE,))],
        ["y"],
    )
    net = lddn.Network(topology, init="zeros").with_weights(IW={("y", "measured_y"): [[[0.9**LATE]]]})
    unit = lddn.data.MinMax(jnp.array([-1.0]), jnp.array([1.0]))
    return lddn.Scaled(net, {"measured_y": unit, "y": unit})


def test_predictions_are_named_by_the_smallest_delay(model, columns):
    found = lddn.forecast(model, columns, ahead=(1, 2, 5))
    assert list(found.predictions) == ["3 steps ahead", "5 steps ahead", "free run"]
    assert found.open_loop == "3 steps ahead"
    np.testing.assert_allclose(found.predictions["3 steps ahead"]["y"], 0.9**LATE * columns["y"][:-LATE], rtol=1e-12)
    # Five steps ahead, y(t−3) is not known yet: it is predicted from y(t−6).
    np.testing.assert_allclose(
        found.predictions["5 steps ahead"]["y"][LATE:], 0.9 ** (2 * LATE) * columns["y"][: -2 * LATE], rtol=1e-12
    )


def test_persistence_repeats_what_was_measured_so_many_steps_before(model, columns):
    record = lddn.data.Record({}, {"y": columns["y"][:, None]})
    found = evaluate(model, [record], persistence=True)
    np.testing.assert_array_equal(found.predictions["persistence"]["y"], columns["y"][:-LATE])


def test_residuals_are_tested_from_that_lag_on(model, columns):
    record = lddn.data.Record({}, {"y": columns["y"][:, None]})
    found = diagnose(collect(model, record))
    assert found.own["y"].lags.tolist() == list(range(LATE, 20 + LATE))
    assert 1 < found.whiteness["y"].degrees < 20  # the estimates at 20 lags are correlated
    e = columns["y"][LATE:] - 0.9**LATE * columns["y"][:-LATE]
    assert found.whiteness["y"].p_value == pytest.approx(ljung_box(e, 22, first=LATE).p_value, rel=1e-9)
    # The best predictor there is: white from lag 3 on, and far from it below.
    assert ljung_box(e, 22, first=LATE).p_value > 0.01 > 1e-12 > ljung_box(e, 22).p_value


def test_the_advice_names_the_same_number_of_steps(model, columns):
    still = {"y": np.cumsum(np.random.default_rng(1).normal(size=200))}  # no prediction is better than persistence
    record = lddn.data.Record({}, {"y": 0.01 * still["y"][:, None]})
    page = lddn.report(model, record)
    assert any("3 steps ahead the network" in warning and "no better than" in warning for warning in page.warnings)
    assert "3 steps ahead fit" in page.summary
    assert not any("one step ahead" in warning.lower() for warning in page.warnings)


def test_the_profile_starts_at_the_smallest_delay(model, columns):
    y = columns["y"][:, None]
    data = lddn.Sequences({"measured_y": y[LATE:]}, y[LATE:], {"measured_y": y[:LATE]})
    assert lddn.horizon_profile(model.net, data).horizons == (3, 5, 10, 20, 50, 100)
    profile = lddn.horizon_profile(model.net, data, (3, 4))
    runs = lddn.k_step(model.net, data, 3)["y"]
    ahead = np.sqrt(np.mean((y[LATE:] - runs)[2:-1] ** 2))
    assert profile.rmse["y"][0] == pytest.approx(ahead, rel=1e-12)


@pytest.mark.parametrize(
    ("topology", "delay"),
    [
        (lddn.models.narx({"u": 1}, {"y": 1}), 1),
        (lddn.models.narx({"u": 1}, {"y": 1}, feedback_delays=(4, 5), hidden=(2, 2)), 4),
        (lddn.models.narx({"u": 1}, {"y": 1, "z": 1}, feedback_delays=(2,), linear_path=True), 2),
    ],
    ids=["usual", "late", "two outputs"],
)
def test_shortest_delay(topology, delay):
    assert shortest_delay(topology, ["measured_y"]) == delay


def test_delays_on_the_way_add_up():
    topology = lddn.Topology(
        [lddn.Input("measured_y", 1)],
        [lddn.Layer("a", 1), lddn.Layer("b", 1), lddn.Layer("y", 1)],
        [
            lddn.Connection("measured_y", "a", (1, 2)),
            lddn.Connection("a", "y", (3,)),
            lddn.Connection("a", "b", (0, 1)),
            lddn.Connection("b", "y", (1,)),
        ],
        ["y"],
    )
    assert shortest_delay(topology, ["measured_y"]) == 2
    assert shortest_delay(topology, ["b"]) == 1
    assert shortest_delay(topology, []) is None


def test_identify_says_it_everywhere(columns, tmp_path, capsys):
    lddn.data.Table({"y": columns["y"][:150]}).to_csv(tmp_path / "series.csv")
    line = ["fit", str(tmp_path / "series.csv"), "--targets", "y", "--feedback", "2,3", "--out", str(tmp_path)]
    options = ["--hidden", "1", "--restarts", "1", "--epochs", "2", "--horizons", "2", "--no-report"]
    assert main([*line, *options]) == 0
    text = capsys.readouterr().out
    assert "y, 2 steps ahead" in text
    assert "one step ahead" not in text
    test = json.loads((tmp_path / "results.json").read_text())["test"]
    assert test.keys() == {"2 steps ahead", "free run", "persistence", "linear model", "samples"}
    y = columns["y"][:150][-test["samples"] - 3 :]
    assert test["persistence"]["y"]["rmse"] == pytest.approx(np.sqrt(np.mean((y[3:] - y[1:-2]) ** 2)), rel=1e-9)
    assert (tmp_path / "response.png").exists()


def test_a_network_ahead_of_its_data_is_told_how_to_forecast():
    net = lddn.remove_delay(lddn.Network(lddn.models.narx({}, {"y": 1}, hidden=2), key=jax.random.key(0)))
    y = np.random.default_rng(0).normal(size=(30, 1))
    model = lddn.Scaled.fit(net, lddn.Sequences({"measured_y": y}, y))
    with pytest.raises(lddn.DataError, match=r"without delay, as after lddn.remove_delay.*steps=1"):
        lddn.forecast(model, {"y": y})
    found = lddn.forecast(lddn.Scaled(lddn.add_delay(model.net), model.scalers), {"y": y}, steps=1)
    now = model.predict({"measured_y": y[-1:]}, {"measured_y": y[-2:-1]})["y"]
    assert found.future.predictions["y"][0] == pytest.approx(float(now[0, 0]), rel=1e-12)


@pytest.mark.parametrize("phi", [0.9, 0.5, -0.8])
@pytest.mark.parametrize("late", [1, 2, 5])
def test_the_best_predictor_is_rejected_as_often_as_the_level_says(phi, late):
    y = signal.lfilter([1.0], [1.0, -phi], np.random.default_rng(0).normal(size=(300, 400)))[:, 100:]
    residuals = y[:, late:] - phi**late * y[:, :-late]
    p = [ljung_box(e, 19 + late, first=late).p_value for e in residuals]
    assert 0.01 < np.mean(np.array(p) < 0.05) < 0.12  # of 300, 15 ± 4


def test_lags_below_the_first_are_refused():
    with pytest.raises(lddn.ShapeError, match="first=9 of lags=5"):
        autocorrelation(np.arange(20.0), 5, first=9)
