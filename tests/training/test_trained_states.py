"""Initial states that are trained along with the network."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.gradients.gauss_newton import sums
from lddn_jax.training.state_parameters import Started
from lddn_jax.training.trainer import Problem

TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("hidden", 2), lddn.Layer("y", 1, transfer="linear")],
    [
        lddn.Connection("u", "hidden", (0, 1)),
        lddn.Connection("hidden", "hidden", (2,)),
        lddn.Connection("hidden", "y"),
        lddn.Connection("y", "hidden", (1, 2)),
    ],
    ["y"],
)


@pytest.fixture(scope="module")
def records():
    """A teacher, three sequences it made from states of their own, and those states."""
    keys = jax.random.split(jax.random.key(0), 4)
    teacher = lddn.Network(TOPOLOGY, key=keys[0])
    u = jax.random.normal(keys[1], (3, 30, 1))
    state = {
        "u": jnp.zeros((3, 1, 1)),
        "hidden": 0.5 * jax.random.normal(keys[2], (3, 2, 2)),
        "y": jax.random.normal(keys[3], (3, 2, 1)),
    }
    return teacher, lddn.Sequences(u, lddn.predict(teacher, u, state), train_state=True), state


@pytest.fixture(scope="module")
def started(records):
    teacher, data, state = records
    problem = Problem.of(losses.SumSquaredError(), teacher, data, lddn.BPTT())
    return Started.of(teacher, jax.tree.map(lambda line: 0.7 * line, state)), problem


def residuals(trained, problem):
    net, state = problem.parts(trained)
    return (problem.targets["y"] - lddn.predict(net, problem.inputs, state)["y"]).ravel()


@pytest.mark.parametrize("name", in_tiers(["hidden", "y"], fast=["hidden"]))
def test_the_gradient_reaches_the_states(started, name):
    trained, problem = started
    gradient = problem.value_and_grad(trained)[1]
    x, unravel = trained.ravel()
    J = jax.jacfwd(lambda x: residuals(unravel(x), problem))(x)
    expected = unravel(2 * J.T @ residuals(trained, problem))
    np.testing.assert_allclose(gradient.state[name], expected.state[name], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(gradient.net.b["hidden"], expected.net.b["hidden"], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("method", in_tiers({"RTRL": lddn.RTRL(), "BPTT": lddn.BPTT()}, fast=["RTRL"]))
def test_sums_hold_the_columns_of_every_state(started, method):
    trained, p = started
    net, state = p.parts(trained)
    found = sums(
        net, p.loss, p.inputs, p.targets, state, None, steps=p.steps, method=method, trained=tuple(trained.state)
    )
    x, unravel = trained.ravel()
    e = residuals(trained, p)
    J = jax.jacfwd(lambda x: residuals(unravel(x), p))(x)
    np.testing.assert_allclose(found.JTJ, J.T @ J, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(found.JTe, J.T @ e, rtol=1e-10, atol=1e-11)


def test_states_of_different_sequences_do_not_meet(started):
    trained, p = started
    net, state = p.parts(trained)
    JTJ = sums(
        net, p.loss, p.inputs, p.targets, state, None, steps=p.steps, method=lddn.RTRL(), trained=("hidden", "y")
    ).JTJ
    hidden = np.asarray(JTJ)[net.parameter_count : net.parameter_count + 3 * 4, net.parameter_count :][:, : 3 * 4]
    for_two = np.kron(1 - np.eye(3), np.ones((4, 4)))
    assert np.all(hidden * for_two == 0)
    assert np.all(np.diag(hidden) > 0)


def test_levenberg_marquardt_finds_the_states(records):
    teacher, data, state = records
    start = jax.tree.map(lambda w: 0.95 * w, teacher)
    trainer = lddn.LevenbergMarquardt(min_grad=0.0)
    fitted = lddn.fit(start, data, losses.SumSquaredError(), trainer, epochs=60)
    assert fitted.history["loss"][-1] < 1e-18
    # Of three unknown values two sums are read: the sums are found, the values are not told by any data.
    found, true = (
        lddn.simulate(net, data.inputs, at).n["hidden"][:, :2]
        for net, at in ((fitted.net, fitted.initial_state), (teacher, state))
    )
    np.testing.assert_allclose(found, true, atol=1e-6)  # as well as 90 samples tell 13 weights and 12 sums
    again = lddn.predict(fitted.net, data.inputs, fitted.initial_state)["y"]
    np.testing.assert_allclose(again, data.targets["y"], atol=1e-9)


def test_restarts_have_states_of_their_own(records):
    teacher, data, _ = records
    trainer = lddn.LevenbergMarquardt(restarts=2)
    fitted = lddn.fit(teacher, data, losses.SumSquaredError(), trainer, epochs=3)
    assert fitted.history["loss"].shape == (3, 2)
    assert fitted.initial_state["hidden"].shape == (3, 2, 2)
    assert fitted.restarts.b["y"].shape == (2, 1)
    assert fitted.restart_states["hidden"].shape == (2, 3, 2, 2)
    assert fitted.restart_states["u"].shape == (2, 3, 1, 1)
    best = jax.tree.map(lambda line: line[fitted.best_restart], fitted.restart_states)
    jax.tree.map(np.testing.assert_array_equal, best, fitted.initial_state)


@pytest.fixture(scope="module")
def stacked(records):
    """Three networks near the teacher and first states near the true ones, each with its own."""
    teacher, _, state = records
    nets = jax.tree.map(lambda w: jnp.stack([0.95 * w, 1.05 * w, 0.9 * w]), teacher)
    layers = {name: jnp.stack([line, 0.9 * line, 1.1 * line]) for name, line in state.items() if name != "u"}
    return nets, layers


TRAINER = lddn.LevenbergMarquardt(restarts=3)


def test_stacked_networks_train_first_states(records, stacked):
    """Each as it would alone from its own first states, and its value is that of its network and states."""
    _, data, _ = records
    nets, states = stacked
    loss = losses.MeanSquaredError()
    found = lddn.fit(nets, data, loss, TRAINER, epochs=3, initial_state=states)
    values = jax.vmap(lambda net, state: loss.value(net, lddn.predict(net, data.inputs, state), data.targets, None))(
        found.restarts, found.restart_states
    )
    np.testing.assert_allclose(found.restart_values, values, rtol=1e-9)
    assert np.argmin(values) == found.best_restart
    one = jax.tree.map(lambda leaf: leaf[1], (nets, states))
    alone = lddn.fit(one[0], data, loss, lddn.LevenbergMarquardt(), epochs=3, initial_state=one[1])
    np.testing.assert_allclose(alone.history["loss"], found.history["loss"][:, 1], rtol=1e-7)  # sums in another order
    np.testing.assert_allclose(alone.restart_values, found.restart_values[1:2], rtol=1e-7)
    assert alone.restart_states is None


def test_stacked_networks_start_from_the_states_of_the_data(records, stacked):
    _, data, _ = records
    loss = losses.MeanSquaredError()
    first = lddn.fit(stacked[0], data, loss, TRAINER, epochs=1).history["loss"][0]
    values = jax.vmap(lambda net: loss.value(net, lddn.predict(net, data.inputs), data.targets, None))(stacked[0])
    np.testing.assert_allclose(first, values, rtol=1e-9)


def test_a_run_continues_from_what_it_returned(records, stacked, tmp_path):
    _, data, _ = records
    nets, states = stacked
    arguments = (data, losses.MeanSquaredError(), TRAINER)
    first = lddn.fit(nets, *arguments, epochs=2, initial_state=states)
    further = lddn.fit(first.restarts, *arguments, epochs=1, initial_state=first.restart_states)
    np.testing.assert_allclose(further.history["loss"][0], first.restart_values, rtol=1e-9)
    lddn.save(tmp_path / "half.npz", first)
    whole = lddn.fit(nets, *arguments, epochs=4, initial_state=states)
    again = lddn.fit(nets, *arguments, epochs=4, initial_state=states, resume=tmp_path / "half.npz")
    jax.tree.map(np.testing.assert_array_equal, again.restart_states, whole.restart_states)
    np.testing.assert_array_equal(again.restart_values, whole.restart_values)
    with pytest.raises(lddn.CheckpointError, match="initial state"):
        lddn.fit(nets, *arguments, epochs=4, resume=tmp_path / "half.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {"hidden": state["hidden"]}, "initial state 'y' is missing"),
        (lambda state: state | {"y": state["y"][:2]}, r"\(2, 3, 2, 1\).*\(3, 2, 1\).*\(3, 3, 2, 1\).*restart_states"),
        (lambda state: state | {"y": state["y"].at[0, 0].set(jnp.nan)}, "initial state of 'y' is NaN"),
        (lambda state: state["y"], "initial_state=.*needed is a delay state, a dict by layer"),
    ],
    ids=["missing", "shape", "nan", "array"],
)
@pytest.mark.usefixtures("unchecked")
def test_first_states_are_checked(records, stacked, change, words):
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.fit(stacked[0], records[1], losses.MeanSquaredError(), TRAINER, initial_state=change(stacked[1]))


def test_first_states_that_nothing_trains(records, stacked):
    teacher, data, state = records
    plain = lddn.Sequences(data.inputs, data.targets)
    with pytest.raises(lddn.LDDNError, match="data has train_state=False"):
        lddn.fit(teacher, plain, losses.MeanSquaredError(), lddn.LevenbergMarquardt(), initial_state=state)


def test_mini_batches_train_the_states_of_their_sequences(records):
    teacher, data, _ = records
    # One sequence a batch, no momentum: a step of the states is that of each sequence alone.
    trainer = lddn.Optax(optax.sgd(0.0), batch_size=1)
    still = lddn.fit(teacher, data, losses.SumSquaredError(), trainer, epochs=2)
    assert np.all(np.asarray(still.initial_state["y"]) == 0)
    moved = lddn.fit(teacher, data, losses.SumSquaredError(), lddn.Optax(optax.adam(1e-2), 1), epochs=20)
    assert moved.history["loss"][-1] < 0.5 * moved.history["loss"][0]
    assert np.all(np.asarray(moved.initial_state["y"]) != 0)
    assert np.all(np.asarray(moved.initial_state["u"]) == 0)  # lines of inputs are data


def test_weight_decay_leaves_states_alone(records):
    teacher, data, state = records
    given = lddn.Sequences(data.inputs, data.targets, state, train_state=True)
    loss = losses.MeanSquaredError(regularization=0.5)
    fitted = lddn.fit(teacher, given, loss, lddn.LevenbergMarquardt(), epochs=1)
    assert fitted.history["loss"][0] == pytest.approx(float(loss.value(teacher, data.targets, data.targets, None)))


def test_validation_starts_from_the_trained_states(records):
    """Of the same sequences, of which other steps are scored; each network is kept with the states it had."""
    teacher, data, _ = records
    scored = np.ones((3, 30, 1))
    scored[:, 10:20] = 0
    training, validation = (
        lddn.Sequences(data.inputs, data.targets, None, weights, train_state=True) for weights in (scored, 1 - scored)
    )
    loss = losses.MeanSquaredError()
    trainer = lddn.LevenbergMarquardt(restarts=2)
    start = jax.tree.map(lambda w: 0.9 * w, teacher)
    fitted = lddn.fit(start, training, loss, trainer, epochs=4, validation=validation, max_fail=1)
    assert fitted.best_epoch > 0
    values = jax.vmap(
        lambda net, state: loss.value(net, lddn.predict(net, data.inputs, state), data.targets, 1 - scored)
    )(fitted.restarts, fitted.restart_states)
    np.testing.assert_allclose(fitted.restart_values, values, rtol=1e-9)
    assert np.all(fitted.restart_values <= np.nanmin(fitted.history["validation_loss"], axis=0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda u, y, _: lddn.Sequences(u, y), "validation has not.*1 - w, train_state=True.*estimate_state"),
        (lambda u, y, _: lddn.Sequences(u[:2], y[:2], train_state=True), "3 sequences of data.*validation has 2"),
        (
            lambda u, y, _: lddn.Sequences(u.at[1, 7].add(1), y, train_state=True),
            "sequence 1 of validation.*input 'u' differs at time index 7",
        ),
        (
            lambda u, y, s: lddn.Sequences(u, y, s | {"u": s["u"].at[2].add(1)}, train_state=True),
            "sequence 2 of validation.*delay line of input 'u' differs",
        ),
    ],
    ids=["not marked", "number", "inputs", "lines"],
)
def test_validation_of_other_sequences(records, change, words):
    teacher, data, state = records
    held_out = change(data.inputs, data.targets["y"], state)
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.fit(teacher, data, losses.SumSquaredError(), lddn.LevenbergMarquardt(), validation=held_out)


def test_validation_may_be_longer(records):
    """Trained on the first steps of each sequence: the states are those before the first step."""
    teacher, data, _ = records
    first = lddn.Sequences(data.inputs[:, :20], data.targets["y"][:, :20], train_state=True)
    fitted = lddn.fit(teacher, first, losses.SumSquaredError(), lddn.LevenbergMarquardt(), epochs=1, validation=data)
    assert np.isfinite(fitted.restart_values).all()


def test_only_validation_trains_states(records):
    teacher, data, _ = records
    plain = lddn.Sequences(data.inputs, data.targets)
    with pytest.raises(lddn.LDDNError, match="validation has train_state=True and data has not"):
        lddn.fit(teacher, plain, losses.SumSquaredError(), lddn.LevenbergMarquardt(), validation=data)


def test_there_must_be_a_state():
    topology = lddn.models.narx({"u": 1}, {"y": 1})
    data = lddn.Sequences({"u": jnp.ones((9, 1)), "measured_y": jnp.ones((9, 1))}, jnp.ones((9, 1)), train_state=True)
    with pytest.raises(lddn.LDDNError, match="no layer of the network is read through a delay"):
        lddn.fit(lddn.Network(topology, init="zeros"), data, losses.SumSquaredError(), lddn.LevenbergMarquardt())


def test_bayesian_regularization_refuses(records):
    teacher, data, _ = records
    with pytest.raises(lddn.LDDNError, match="no prior for initial states"):
        lddn.fit(teacher, data, losses.SumSquaredError(), lddn.BayesianRegularization())
