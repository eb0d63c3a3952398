"""A forecast continues from the last measured values, with the inputs that are known ahead."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.__main__ import main
from lddn_jax.data import MinMax, Record

UNIT = MinMax(jnp.array([-1.0]), jnp.array([1.0]))  # changes nothing


def model_of(*connections, outputs=("y",), hidden=()):
    """A linear model in the units of its record, of (source, to, {delay: weight})."""
    inputs = sorted({source for source, _, _ in connections} - {*outputs, *hidden})
    topology = lddn.Topology(
        [lddn.Input(name, 1) for name in inputs],
        [lddn.Layer(name, 1, "linear", bias=False) for name in (*hidden, *outputs)],
        [lddn.Connection(source, to, tuple(taps)) for source, to, taps in connections],
        list(outputs),
    )
    blocks = {(to, source): [[[w]] for w in taps.values()] for source, to, taps in connections}
    into = {pair: block for pair, block in blocks.items() if pair[1] in inputs}
    net = lddn.Network(topology, init="zeros").with_weights(
        IW=into, LW={pair: block for pair, block in blocks.items() if pair not in into}
    )
    return lddn.Scaled(net, dict.fromkeys([*inputs, *outputs], UNIT))


INTEGRATOR = model_of(("measured_y", "y", {1: 1.0}), ("u", "y", {0: 0.1}))
LATE_INPUT = model_of(("measured_y", "y", {1: 0.5}), ("u", "y", {2: 1.0}))
SERIES = model_of(("measured_y", "y", {1: 1.5, 2: -0.9}))


@pytest.fixture(scope="module")
def columns():
    """y(t) = y(t−1) + 0.1 u(t) + noise, of which the last 12 rows have no measurement."""
    rng = np.random.default_rng(0)
    u, noise = rng.normal(size=(2, 60))
    y = np.cumsum(0.1 * u + 0.05 * noise)
    y[48:] = np.nan
    return {"u": u, "y": y}


def test_blank_rows_at_the_end_continue_from_the_last_measurement(columns):
    found = lddn.forecast(INTEGRATOR, columns)
    expected = columns["y"][47] + 0.1 * np.cumsum(columns["u"][48:])
    np.testing.assert_allclose(found.future.predictions["y"], expected, rtol=1e-12)
    np.testing.assert_array_equal(found.future.time, np.arange(48, 60))
    np.testing.assert_array_equal(found.future.inputs["u"], columns["u"][48:])
    # The rows before are scored as if there were no others.
    before = lddn.forecast(INTEGRATOR, {name: column[:48] for name, column in columns.items()})
    assert found.scores == before.scores
    assert before.future is None


@pytest.mark.parametrize("rows", [{"time": 60}, {"time": 48}, {}], ids=["all times", "times of y", "no times"])
def test_inputs_that_are_known_ahead_are_as_good_as_blank_rows(columns, rows):
    longer = columns | {"y": columns["y"][:48]} | {name: 3 + 0.5 * np.arange(count) for name, count in rows.items()}
    found = lddn.forecast(INTEGRATOR, longer).future
    np.testing.assert_array_equal(found.predictions["y"], lddn.forecast(INTEGRATOR, columns).future.predictions["y"])
    np.testing.assert_allclose(found.time, 3 + 0.5 * np.arange(48, 60) if rows else np.arange(48, 60))


def test_a_record_with_missing_targets_is_forecast_too(columns):
    record = Record({"u": columns["u"][:, None]}, {"y": columns["y"][:, None]}, missing="mask")
    found = lddn.forecast(INTEGRATOR, record).future
    np.testing.assert_array_equal(found.predictions["y"], lddn.forecast(INTEGRATOR, columns).future.predictions["y"])


def test_a_gap_just_before_the_end_is_bridged(columns):
    y = columns["y"].copy()
    y[44:47] = np.nan  # one measured value is left before the forecast
    found = lddn.forecast(SERIES, {"y": y}).future
    a, b = 1.5, -0.9
    bridged = [y[42], y[43]]
    for _ in range(3):
        bridged.append(a * bridged[-1] + b * bridged[-2])
    assert found.predictions["y"][0] == pytest.approx(a * y[47] + b * bridged[-1], rel=1e-12)


def test_a_series_is_forecast_beyond_its_end(columns):
    y = columns["y"][:48]
    found = lddn.forecast(SERIES, {"y": y, "time": 0.1 * np.arange(48)}, steps=3).future
    expected = [*y[-2:]]
    for _ in range(3):
        expected.append(1.5 * expected[-1] - 0.9 * expected[-2])
    np.testing.assert_allclose(found.predictions["y"], expected[2:], rtol=1e-12)
    np.testing.assert_allclose(found.time, [4.8, 4.9, 5.0])


def test_inputs_need_not_be_known_for_as_many_steps_as_they_are_late(columns):
    u, y = columns["u"][:48], columns["y"][:48]
    found = lddn.forecast(LATE_INPUT, {"u": u, "y": y}, steps=2).future.predictions["y"]
    first = 0.5 * y[-1] + u[-2]
    np.testing.assert_allclose(found, [first, 0.5 * first + u[-1]], rtol=1e-12)


def test_as_few_measurements_as_fill_the_delays_are_enough():
    y = np.full(9, np.nan)
    y[:2] = 1.0, 2.0
    found = lddn.forecast(SERIES, {"y": y})
    assert len(found.time) == 0
    assert found.future.predictions["y"][0] == pytest.approx(1.5 * 2.0 - 0.9 * 1.0)
    assert "none is left to score" in str(found)
    assert found.to_table()["y forecast"].shape == (7,)


def test_an_output_that_is_measured_longer_keeps_another_one_near():
    """y is measured to the end, z up to row 20; z reads y."""
    taps = ("measured_y", "y", {1: 0.9}), ("measured_y", "z", {1: 1.0}), ("measured_z", "z", {1: 0.5})
    model = model_of(*taps, ("measured_z", "y", {1: 0.0}), outputs=("y", "z"))
    rng = np.random.default_rng(3)
    y, z = rng.normal(size=(2, 30))
    z[20:] = np.nan
    y[28:] = np.nan
    expected = z[19]
    for t in range(20, 30):
        last = y[t - 1] if t <= 28 else 0.9 * y[27]
        expected = last + 0.5 * expected
    found = lddn.forecast(model, {"y": y, "z": z}).future
    assert found.predictions["z"][1] == pytest.approx(expected, rel=1e-12)
    assert found.predictions["y"][1] == pytest.approx(0.81 * y[27], rel=1e-12)


def test_a_hidden_layer_with_a_memory_is_run_up_to_the_end(columns):
    model = model_of(("u", "x", {0: 1.0}), ("x", "x", {1: 0.9}), ("x", "y", {0: 1.0}), ("measured_y", "y", {1: 0.5}),
                     hidden=("x",))  # fmt: skip
    found = lddn.forecast(model, columns, first_states="zeros").future
    closed = lddn.close_loop(model.net, "y", "measured_y")
    # All of it, step by step, with the measured value in place of each prediction.
    state = {"x": jnp.zeros((1, 1)), "y": jnp.array([[columns["y"][0]]])}
    for t in range(1, 49):
        outputs, state = lddn.step(closed, {"u": columns["u"][t : t + 1]}, state)
        if t < 48:
            state = state | {"y": jnp.array([[columns["y"][t]]])}
    assert found.predictions["y"][0] == pytest.approx(float(outputs["y"][0]), rel=1e-12)


def test_each_element_of_an_output_is_forecast():
    net = lddn.Network(lddn.models.narx({}, {"y": 2}, hidden=2), key=jax.random.key(0))
    y = np.random.default_rng(0).normal(size=(30, 2))
    model = lddn.Scaled.fit(net, lddn.Sequences({"measured_y": y}, y))
    found = lddn.forecast(model, {"y": y}, steps=2).future
    closed = model.close_loop("y", "measured_y")
    expected = closed.predict({}, {"y": y[-2:]}, steps=2)["y"]
    for k in (0, 1):
        np.testing.assert_allclose(found.predictions[f"y[{k}]"], expected[:, k], rtol=1e-12)


def test_the_table_marks_the_forecast(columns):
    found = lddn.forecast(INTEGRATOR, columns)
    table = found.to_table()
    assert table.names == ("time", "y", "y one step ahead", "y free run", "y forecast")
    assert len(table) == 59
    assert np.isnan(table["y forecast"][:47]).all()
    assert all(np.isnan(table[name][47:]).all() for name in ("y", "y one step ahead", "y free run"))
    assert "forecast of 12 steps after the last measured outputs, from 48" in str(found)


def test_a_forecast_that_explodes_is_told():
    y = 0.01 * np.sin(np.arange(30.0))
    found = lddn.forecast(model_of(("measured_y", "y", {1: -3.0})), {"y": y}, steps=20)
    assert found.future.diverged_at is not None
    assert f"diverges at step {found.future.diverged_at}" in str(found)


def test_a_model_whose_loop_is_closed_is_forecast_as_well(columns):
    y, closed = columns["y"][:48], SERIES.close_loop("y", "measured_y")
    one, other = (lddn.forecast(model, {"y": y}, steps=3) for model in (SERIES, closed))
    assert one.scores == other.scores
    np.testing.assert_array_equal(one.future.predictions["y"], other.future.predictions["y"])
    record = Record({}, {"y": y[:, None]})
    assert lddn.report(closed, record).summary == lddn.report(SERIES, record).summary


WITHOUT_FEEDBACK = {
    "fir": lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 2)),
    "feedforward": lddn.models.feedforward({"u": 1}, {"y": 1}, hidden=2),
    "elman": lddn.models.elman({"u": 1}, {"y": 1}, hidden=2),
}


@pytest.mark.parametrize("topology", WITHOUT_FEEDBACK.values(), ids=WITHOUT_FEEDBACK)
def test_a_model_without_feedback_is_predicted_by_its_inputs(topology, columns):
    u = columns["u"][:, None]
    net = lddn.Network(topology, key=jax.random.key(0))
    model = lddn.Scaled.fit(net, lddn.Sequences(u, np.nan_to_num(columns["y"])[:, None]))
    found = lddn.forecast(model, columns, first_states="zeros")
    assert list(found.predictions) == ["free run"]
    lines = {name: line.shape for name, line in lddn.zero_state(topology).items()}
    start = max((longest for longest, _ in lines.values()), default=0)
    state = {name: u[:longest] if name == "u" else np.zeros((longest, size)) for name, (longest, size) in lines.items()}
    expected = model.predict(u[start:], state or None)["y"][:, 0]
    both = np.append(found.predictions["free run"]["y"], found.future.predictions["y"])
    np.testing.assert_allclose(both, expected, rtol=1e-10)
    record = Record({"u": u[:48]}, {"y": columns["y"][:48, None]})
    assert "free run" in lddn.report(model, record).summary


def test_the_command_line_forecasts_from_as_few_rows_as_fill_the_delays(tmp_path, capsys):
    lddn.save(tmp_path / "network.npz", SERIES)
    (tmp_path / "short.csv").write_text("y\n1\n2\n")
    line = ["predict", str(tmp_path / "short.csv"), "--model", str(tmp_path / "network.npz"), "--out", str(tmp_path)]
    assert main([*line, "--steps", "4"]) == 0
    assert "forecast of 4 steps after the last measured outputs, from 2" in capsys.readouterr().out
    assert lddn.data.read_csv(tmp_path / "predictions.csv")["y forecast"][0] == pytest.approx(1.5 * 2 - 0.9)
    assert (tmp_path / "predictions.png").exists()


def test_inputs_of_the_forecast_outside_of_the_training_range_are_told(columns):
    u = columns["u"] / 4  # within [−1, 1]
    u[55] = 3.0
    text = str(lddn.forecast(INTEGRATOR, columns | {"u": u}))
    assert "input u leaves the training range [-1, 1] at 1 of 59 steps, first at step 54, and reaches 3" in text


@pytest.fixture(scope="module")
def regularized(columns):
    settings = lddn.Settings(hidden=1, trainer="br", epochs=3, bayesian_epochs=5, restarts=1, horizons=(1,))
    table = {name: column[:48] for name, column in columns.items()}
    return lddn.identify(table, ["u"], ["y"], settings)


def test_error_bars_start_at_the_last_measurement(regularized, columns):
    posterior = regularized.trained.posterior
    longer = {name: column[:50] for name, column in columns.items()}
    found = lddn.forecast(regularized.model, longer, posterior=posterior)
    units = {name: regularized.model.scalers[name] for name in ("u", "y")}
    state = {name: units[name].apply(columns[name][46:48, None]) for name in ("u", "y")}
    bars = posterior.predict(units["u"].apply(columns["u"][48:50, None]), state)
    expected = regularized.model.errors_in_units(bars.std)["y"][:, 0]
    np.testing.assert_allclose(found.future.std["y"], expected, rtol=1e-10)
    assert found.std["y"].shape == found.time.shape
    assert 0 < found.scores["free run"]["y"]["coverage"] <= 1
    assert {"y free run std", "y forecast std"} <= set(found.to_table().names)


def test_the_command_line_forecasts_with_error_bars(regularized, columns, tmp_path, capsys):
    lddn.save(tmp_path / "network.npz", regularized.model)
    lddn.save(tmp_path / "posterior.npz", regularized.trained.posterior)
    lddn.data.Table(columns).to_csv(tmp_path / "blank.csv")
    (tmp_path / "u.csv").write_text("u\n" + "\n".join(map(repr, columns["u"].tolist())))
    (tmp_path / "y.csv").write_text("y\n" + "\n".join(map(repr, columns["y"][:48].tolist())))
    line = ["predict", "--model", str(tmp_path / "network.npz"), "--out", str(tmp_path)]
    tables = []
    for file, more in (("blank.csv", []), ("y.csv", ["--inputs-from", str(tmp_path / "u.csv")])):
        assert main([*line, str(tmp_path / file), *more]) == 0
        tables.append(lddn.data.read_csv(tmp_path / "predictions.csv"))
        assert "lines 48 to 59 are the forecast, in column 'y forecast'" in capsys.readouterr().out
    for name in tables[0].names:
        np.testing.assert_array_equal(tables[0][name], tables[1][name])
    expected = lddn.forecast(regularized.model, columns, posterior=regularized.trained.posterior).to_table()
    np.testing.assert_allclose(tables[0]["y forecast"], expected["y forecast"], rtol=1e-12)
    np.testing.assert_allclose(tables[0]["y forecast std"], expected["y forecast std"], rtol=1e-12)


def test_a_posterior_of_another_network_gives_no_error_bars(regularized, columns, tmp_path, capsys):
    other = regularized.model.with_net(jax.tree.map(lambda w: 0.9 * w, regularized.model.net))
    with pytest.raises(lddn.DataError, match="that of another network"):
        lddn.forecast(other, columns, posterior=regularized.trained.posterior)
    lddn.save(tmp_path / "network.npz", other)
    lddn.save(tmp_path / "posterior.npz", regularized.trained.posterior)
    lddn.data.Table(columns).to_csv(tmp_path / "blank.csv")
    file, model = str(tmp_path / "blank.csv"), str(tmp_path / "network.npz")
    assert main(["predict", file, "--model", model, "--out", str(tmp_path)]) == 0
    assert "no error bars" in capsys.readouterr().out
