"""Training over growing horizons, and free runs that explode."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lddn_jax as lddn
from lddn_jax.prediction.free_run import diverged_at, least_divergent
from lddn_jax.trainers.closed_loop import _steady


def record(steps=200):
    """A nonlinear system of second order and its measured past."""
    rng = np.random.default_rng(0)
    u, y = rng.uniform(-1, 1, (steps, 1)), np.zeros((steps, 1))
    for t in range(2, steps):
        y[t] = 1.4 * y[t - 1] - 0.6 * y[t - 2] + 0.3 * np.tanh(2 * u[t - 1]) + 0.02 * y[t - 1] ** 2
    return lddn.Sequences({"u": u, "measured_y": y}, {"y": y})


def test_fit_closed_loop():
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=3, linear_path=True), key=jax.random.key(0))
    data = record()
    found = lddn.fit_closed_loop(net, data, lddn.LevenbergMarquardt(restarts=2), (1, None), epochs=10)
    assert [stage.horizon for stage in found.stages] == [1, None]
    last = found.stages[-1]
    free = lddn.predict(found.net, {"u": data.inputs["u"][2:]}, {"u": data.inputs["u"][:2], "y": data.targets["y"][:2]})
    assert last.closed_loop == pytest.approx(float(jnp.sqrt(jnp.mean((data.targets["y"][2:] - free["y"]) ** 2))))
    one = lddn.predict(found.opened, data.inputs)["y"][2:]
    assert last.open_loop == pytest.approx(float(jnp.sqrt(jnp.mean((data.targets["y"][2:] - one) ** 2))), rel=1e-6)
    assert last.closed_loop < 0.05 * float(jnp.std(data.targets["y"]))
    assert last.diverged_at is None
    assert (
        len(found.history["loss"])
        == len(found.history["horizon"])
        == sum(len(s.fitted.history.of(last.best_restart)["loss"]) for s in found.stages)
    )
    assert "all" in str(found)


@pytest.mark.deep
def test_an_optax_trainer_over_horizons():
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2, linear_path=True), key=jax.random.key(0))
    found = lddn.fit_closed_loop(net, record(60), lddn.Optax(optax.adam(1e-2)), (1, 5), epochs=(30, 20))
    assert [len(stage.fitted.history["loss"]) for stage in found.stages] == [30, 20]
    assert found.stages[0].fitted.history["loss"][-1] < found.stages[0].fitted.history["loss"][0]


def test_validation_ends_a_horizon():
    """Each network returns to its step with the smallest loss on windows of the validation record, if it has any."""
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=4), key=jax.random.key(0))
    whole, noise = record(90), 0.1 * np.random.default_rng(1).normal(size=(90, 1))
    u, y = whole.inputs["u"], whole.targets["y"] + noise
    training, validation = (lddn.Sequences({"u": u[part]}, {"y": y[part]}) for part in (slice(50), slice(50, 90)))
    trainer, loss = lddn.LevenbergMarquardt(restarts=2), lddn.losses.MeanSquaredError()
    found = lddn.fit_closed_loop(
        net, training, trainer, (5, 40, None), loss=loss, validation=validation, epochs=12, max_fail=3
    )
    first, second, third = (stage.fitted for stage in found.stages)
    assert first.stop_reason == "max_fail"
    windows = lddn.windows(found.net.topology, validation.inputs, validation.targets, length=5)
    values = jax.vmap(lambda net: loss.value(net, lddn.predict(net, windows.inputs, windows.state), windows.targets))(
        first.restarts
    )
    np.testing.assert_allclose(first.restart_values, values, rtol=1e-9)
    np.testing.assert_allclose(first.restart_values, np.nanmin(first.history["validation_loss"], axis=0), rtol=1e-12)
    assert "validation_loss" not in second.history  # 38 steps are too few for a window of 40
    assert "validation_loss" in third.history
    assert np.isnan(found.history["validation_loss"][found.history["horizon"] == 40]).all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("max_fail", "words"), [(3, "there are none. Pass validation"), (0, "max_fail=0")])
def test_what_ends_a_horizon(max_fail, words):
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=4), key=jax.random.key(0))
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.fit_closed_loop(net, record(60), lddn.LevenbergMarquardt(), max_fail=max_fail)


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [([0.1, 0.9, 0.5], None), ([0.1, 500.0, np.nan], 1), ([0.1, 0.2, np.inf], 2), ([np.nan, 0.0, 0.0], 0)],
    ids=["stays", "far off", "infinite", "at once"],
)
def test_diverged_at(predicted, expected):
    targets = {"y": jnp.asarray([[0.0], [1.0], [jnp.nan]])}
    assert diverged_at({"y": jnp.asarray(predicted)[:, None]}, targets) == expected


def test_nothing_but_nan_and_infinity_is_far_from_a_constant_target():
    targets = {"y": jnp.full((3, 1), 1.5)}
    assert diverged_at({"y": jnp.array([[1.5], [1.50001], [9.0]])}, targets) is None
    assert diverged_at({"y": jnp.array([[1.5], [jnp.inf], [9.0]])}, targets) == 1


def test_a_free_run_that_explodes_is_flagged():
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2, linear_path=True), key=jax.random.key(0))
    unstable = net.with_weights(IW={("y", "measured_y"): jnp.asarray([[[3.0]], [[0.0]]])})
    trainer = lddn.Optax(optax.sgd(1e-30))
    stage = lddn.fit_closed_loop(unstable, record(60), trainer, (1,), epochs=1).stages[0]
    assert stage.diverged_at is not None
    assert np.isnan(stage.closed_loop)
    assert np.isfinite(stage.open_loop)
    assert f"diverged@{stage.diverged_at}" in str(lddn.ClosedLoop((stage,), 0, {}))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"horizons": ()}, "horizons"),
        ({"horizons": (0,)}, "positive numbers"),
        ({"horizons": (1, 2), "epochs": (5,)}, "one for each"),
        ({"loops": {}}, "loops={'measured': 'y'}"),
    ],
    ids=str,
)
def test_senseless_horizons(arguments, words):
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.fit_closed_loop(net, record(60), lddn.LevenbergMarquardt(), **arguments)


def linear(feedback):
    """A closed loop y(t) = feedback · y(t−1) + u(t−1)."""
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=1, linear_path=True), init="zeros")
    closed = lddn.close_loop(net, "y", "measured_y")
    return closed.with_weights(IW={("y", "u"): [[[1.0]], [[0.0]]]}, LW={("y", "y"): [[[feedback]], [[0.0]]]})


def whole(steps, feedback=0.5):
    u = np.random.default_rng(0).uniform(-1, 1, (steps, 1))
    found = lddn.Sequences(u, np.zeros((steps, 1)), {"u": np.zeros((1, 2, 1))[0], "y": np.zeros((2, 1))})
    return lddn.Sequences({"u": u}, lddn.predict(linear(feedback), u, found.state), found.state)


@pytest.mark.parametrize(
    ("feedbacks", "expected"),
    [((1.3, 0.6, 0.4), 1), ((0.4, 1.3), 0), ((1.3, 1.2), 1), ((2.0, 1.3, 1.2), 2)],
    ids=["smallest that stays", "first that stays", "the last to diverge", "the last of three"],
)
def test_divergence_on_the_training_records_counts(feedbacks, expected):
    """On the short validation record none diverges, and an unstable network has the smallest error."""
    candidates = [linear(feedback) for feedback in feedbacks]
    runs = [(float(k), None) for k in range(len(candidates))]  # errors on the validation record: the first is best
    chosen, known = _steady(candidates, runs, whole(300))
    assert chosen == expected
    assert (known[chosen][1] is None) == any(feedback < 1 for feedback in feedbacks)
    assert _steady(candidates, runs, None) == (0, runs)


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        ([(0.5, None), (0.1, None)], 1),
        ([(0.5, None), (np.nan, 9)], 0),
        ([(np.nan, 9), (0.5, None)], 1),
        ([(np.nan, 9), (np.nan, 90), (np.nan, 8)], 1),
        ([(0.1, None), (0.1, None)], 0),
    ],
)
def test_the_least_divergent_run(runs, chosen):
    assert least_divergent(runs) == chosen


def test_a_small_error_in_a_target_that_stands_still_is_no_divergence():
    targets = {"y": 1.5 + 1e-9 * jnp.sin(jnp.arange(20.0))[:, None]}
    assert diverged_at({"y": targets["y"] + 1e-5}, targets) is None
    assert diverged_at({"y": targets["y"] + 1e3}, targets) == 0
    # The usual range tells what is far: of a constant, and of one near zero.
    still = {"y": jnp.zeros((20, 1))}
    assert diverged_at({"y": still["y"] + 5.0}, still, ranges={"y": 1.0}) is None
    assert diverged_at({"y": still["y"] + 500.0}, still, ranges={"y": 1.0}) == 0


def test_a_free_run_near_a_validation_part_that_stands_still_is_scored():
    """Within 1e-5 of a target that varies by 1e-9; the training targets vary by 1."""
    net = lddn.Network(lddn.models.narx({}, {"y": 1}, hidden=1, linear_path=True), init="zeros")
    net = net.with_weights(IW={("y", "measured_y"): [[[0.9]], [[0.0]]]}, b={"y": [1e-6]})
    train = lddn.data.Record({}, {"y": np.sin(np.arange(40.0) / 3)[:, None]})
    still = lddn.data.Record({}, {"y": 1e-9 * np.sin(np.arange(30.0))[:, None]})
    found = lddn.fit_closed_loop(net, train, lddn.Optax(optax.sgd(1e-30)), (1,), validation=still, epochs=1).stages[0]
    assert found.diverged_at is None
    assert 0 < found.closed_loop < 1e-5


def pieces(*lengths):
    t = np.arange(max(lengths))
    y = np.sin(t / 4) + 0.3 * np.sin(t / 2.3)
    return [lddn.data.Record({}, {"y": y[:n, None]}, name=f"piece {k}") for k, n in enumerate(lengths)]


def test_records_that_are_too_short_are_left_out_of_long_horizons():
    net = lddn.Network(lddn.models.narx({}, {"y": 1}, hidden=1), key=jax.random.key(0))
    trainer = lddn.Optax(optax.sgd(1e-3))
    found = lddn.fit_closed_loop(net, pieces(60, 4, 30, 9), trainer, (1, 5, 20, None), epochs=2)
    assert [stage.left_out for stage in found.stages] == [0, 1, 2, 0]
    assert "2 records are too short for horizon 20" in str(found)
    assert found.stages[2].to_dict()["left_out"] == 2
    # The others are trained on as if the short ones were not there.
    long = lddn.fit_closed_loop(net, pieces(60, 30), trainer, (20,), epochs=2)
    alone = lddn.fit_closed_loop(net, pieces(60, 4, 30, 9), trainer, (20,), epochs=2)
    np.testing.assert_array_equal(long.stages[0].fitted.history["loss"], alone.stages[0].fitted.history["loss"])


def test_measured_outputs_may_be_left_out_of_the_inputs():
    net = lddn.Network(lddn.models.narx({}, {"y": 1}, hidden=1), key=jax.random.key(0))
    y, trainer = np.sin(np.arange(30.0) / 3)[:, None], lddn.Optax(optax.sgd(1e-3))
    bare, full = (
        lddn.fit_closed_loop(net, lddn.Sequences(inputs, y), trainer, (1, 5), epochs=2)
        for inputs in ({}, {"measured_y": y})
    )
    for one, other in zip(bare.stages, full.stages, strict=True):
        np.testing.assert_array_equal(one.fitted.history["loss"], other.fitted.history["loss"])
