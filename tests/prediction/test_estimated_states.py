"""First states of layers that are not measured are estimated from the first samples of a record."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import Committee
from lddn_jax.prediction.estimated_states import with_first_states
from lddn_jax.prediction.evaluator import evaluate

A = np.diag([0.98, 0.6, -0.5])
FIRST = np.array([[[3.0, -2.0, 1.0]], [[0.0, 5.0, 1.0]]])
STEPS = 150


def plant(pole=0.98):
    """A linear system of three states, the slowest with a time constant of 50 samples."""
    net = lddn.Network(lddn.models.linear_state_space({"u": 1}, {"y": 1}, states=3), init="zeros")
    return net.with_weights(
        IW={("state", "u"): np.full((1, 3, 1), 0.3)},
        LW={("state", "state"): np.diag([pole, 0.6, -0.5])[None], ("y", "state"): np.array([[[1.0, 0.5, 0.7]]])},
    )


def data(noise=0.0):
    draw = np.random.default_rng(0).normal
    u = draw(size=(2, STEPS, 1))
    y = np.array(lddn.predict(plant(), u, {"u": np.zeros((2, 1, 1)), "state": FIRST})["y"])
    return lddn.Sequences(u, y + noise * draw(size=y.shape))


def record(noise=0.0, k=0):
    one = data(noise)
    return {"u": one.inputs[k, :, 0], "y": one.targets[k, :, 0]}


def model_of(net):
    """Scalers that change nothing, so that states have their values."""
    sizes = ("u", "y")
    same = {name: lddn.data.Standard.fit(np.array([[-1.0], [1.0]])) for name in sizes}
    return lddn.Scaled(net, same)


def test_they_are_exact_without_noise():
    found, used = with_first_states(plant(), data())
    np.testing.assert_allclose(found.state["state"], FIRST, rtol=1e-6, atol=1e-7)  # where the iteration stops
    assert used == 100  # the slowest time constant is 50 samples
    np.testing.assert_array_equal(found.state["u"], 0)


def test_a_fast_system_is_fitted_to_few_samples():
    assert with_first_states(plant(pole=0.3), data())[1] == 20


def test_the_weights_of_missing_targets_do_not_count():
    whole = data()
    y = np.where(np.arange(STEPS)[:, None] % 3 == 1, np.nan, whole.targets)
    weights = np.where(np.arange(STEPS)[:, None] == 5, 0.0, 1.0)
    y[:, 5] = 1e3
    found, _ = with_first_states(plant(), lddn.Sequences(whole.inputs, y, weights={"y": weights}))
    np.testing.assert_allclose(found.state["state"], FIRST, rtol=1e-6, atol=1e-7)


def test_each_member_of_a_committee_has_its_own():
    nets = [plant(0.98), plant(0.9)]
    found, _ = with_first_states(Committee.of(nets), data(0.1), 40)
    for k, net in enumerate(nets):
        alone, used = with_first_states(net, data(0.1), 40)
        assert used == 40
        np.testing.assert_allclose(found.state["state"][k], alone.state["state"], rtol=1e-8)


def test_a_direction_that_outputs_do_not_show_stays():
    blind = plant().with_weights(LW={("y", "state"): np.array([[[1.0, 0.5, 0.0]]])})
    found, _ = with_first_states(blind, data())
    np.testing.assert_allclose(found.state["state"][..., 2], 0, atol=1e-9)


def test_a_network_that_explodes_keeps_its_guess():
    found, _ = with_first_states(plant(pole=1e30), data())
    np.testing.assert_array_equal(found.state["state"], 0)


@pytest.mark.parametrize("committee", [False, True], ids=["network", "committee"])
def test_a_forecast_estimates_them_and_says_so(committee):
    model = model_of(Committee.of([plant(), plant()]) if committee else plant())
    found = lddn.forecast(model, record())
    assert list(found.predictions) == ["free run"]
    assert found.scores["free run"]["y"]["rmse"] < 1e-6
    assert found.notes == (
        "first states of state are estimated from the first 100 steps of each record, which are scored too",
    )
    assert found.fitted_steps == 100


def test_without_estimation_they_are_zero():
    found = lddn.forecast(model_of(plant()), record(), first_states="zeros")
    expected = lddn.predict(plant(), record()["u"][1:, None], {"u": record()["u"][:1, None], "state": np.zeros((1, 3))})
    np.testing.assert_allclose(found.predictions["free run"]["y"], expected["y"][:, 0], rtol=1e-10)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("options", "steps", "scored"),
    [({"first_states": 30}, 30, "scored too"), ({"warmup": 25}, 25, "not scored"), ({"warmup": 5}, 100, "scored too")],
    ids=str,
)
def test_how_many_steps_are_fitted(options, steps, scored):
    found = lddn.forecast(model_of(plant()), record(0.1), **options)
    assert found.fitted_steps == steps
    assert found.notes[0].endswith(f"first {steps} steps of each record, which are {scored}")


@pytest.mark.parametrize("committee", [False, True], ids=["network", "committee"])
def test_the_future_continues_from_the_estimated_state(committee):
    model, source = model_of(Committee.of([plant(), plant()]) if committee else plant()), record()
    cut = source | {"y": source["y"][:110]}
    np.testing.assert_allclose(lddn.forecast(model, cut).future.predictions["y"], source["y"][110:], atol=1e-6)


def test_records_have_their_own():
    records = [lddn.data.Record.of(record(k=k), ["u"], ["y"]) for k in range(2)]
    found = evaluate(model_of(plant()), records)
    assert found.scores["free run"]["y"]["rmse"] < 1e-6


def test_a_report_evaluates_with_them():
    page = lddn.report(model_of(Committee.of([plant(), plant(0.979)])), lddn.data.Record.of(record(), ["u"], ["y"]))
    assert "free run fit 9" in page.summary
    assert any("Stability" in title for section in page.sections for title, _ in section.listings)


def test_layers_of_a_feedback_network_that_are_not_measured_are_estimated():
    """Measured outputs fill their own delay lines."""
    topology = lddn.models.jordan({"u": 1}, {"y": 1}, hidden=2).with_connection("hidden", "hidden", (1,))
    net = lddn.Network(topology, key=jax.random.key(1))
    held = {name: np.zeros((1, *line.shape)) for name, line in lddn.zero_state(topology).items()}
    held["hidden"] += 0.8
    held["y"] += 0.3
    u = np.random.default_rng(1).normal(size=(1, 40, 1))
    y = lddn.predict(net, u, held)["y"]
    found, _ = with_first_states(net, lddn.Sequences(u, y, held | {"hidden": np.zeros_like(held["hidden"])}))
    np.testing.assert_allclose(lddn.predict(net, u, found.state)["y"], y, atol=1e-7)
    np.testing.assert_array_equal(found.state["y"], 0.3)


def test_states_that_are_trained_are_estimated_for_a_report():
    one = data()
    trained = lddn.Sequences(one.inputs, one.targets, train_state=True)
    fitted = lddn.fit(plant(), trained, lddn.losses.MeanSquaredError(), lddn.LevenbergMarquardt(), epochs=1)
    page = lddn.report(fitted, trained)
    assert "free run fit 9" in page.summary or "free run fit 100" in page.summary


@pytest.mark.parametrize("given", ["guess", 0, -1, 2.5, True, None], ids=repr)
def test_anything_else_is_an_error(given, unchecked):
    with pytest.raises(lddn.LDDNError, match="'estimate', 'zeros', or the number of first steps"):
        lddn.forecast(model_of(plant()), record(), first_states=given)


def test_a_float32_network_has_float32_states():
    net = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), plant())
    found, _ = with_first_states(net, data())
    assert found.state["state"].dtype == jnp.float32
    np.testing.assert_allclose(found.state["state"], FIRST, rtol=1e-3, atol=1e-3)  # float32


def test_a_local_minimum_is_left():
    """Neurons that are saturated at the given state of zero show no direction; between 0.7 and 1.3 they do."""
    topology = lddn.models.state_space({}, {"y": 1}, states=1, hidden=0, output_hidden=2)
    net = lddn.Network(topology, init="zeros", dtype="float64").with_weights(
        LW={
            ("state", "state"): [[[0.995]]],
            ("output_hidden", "state"): [[[20.0], [20.0]]],
            ("y", "output_hidden"): [[[1.0, -1.0]]],
        },
        b={"output_hidden": [-14.0, -26.0]},
    )
    y = lddn.predict(net, None, {"state": np.array([[1.2]])}, steps=60)["y"]
    data = lddn.Sequences(None, {"y": y[None]})
    found, _ = with_first_states(net, data)
    np.testing.assert_allclose(found.state["state"][0, 0, 0], 1.2, atol=1e-6)
