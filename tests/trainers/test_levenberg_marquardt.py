"""Levenberg-Marquardt: one damped step, training with restarts, and the generic core."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from least_squares_records import MSE, SSE, problem
from networks import declare
from tiers import deep_unless, in_tiers

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.gradients.gauss_newton import GaussNewton
from lddn_jax.trainers import damping
from lddn_jax.training.stop_reason import StopReason

# --- one damped step --------------------------------------------------------------------------------------------------


def normal_equations(seed=0):
    J, e = np.random.default_rng(seed).standard_normal((9, 4)), np.random.default_rng(seed + 1).standard_normal(9)
    Q, R = np.linalg.qr(J)
    return J, e, GaussNewton(*(jnp.asarray(x) for x in (J.T @ J, J.T @ e, e @ e, R, Q.T @ e)))


@pytest.mark.parametrize("solver", damping.SOLVERS)
def test_a_step_solves_the_damped_system(solver):
    J, e, normal = normal_equations()
    D = np.array([1.0, 2.0, 0.5, 1.0])
    found = damping.SOLVERS[solver](normal, jnp.asarray(0.3), jnp.asarray(D))
    np.testing.assert_allclose(found, -np.linalg.solve(J.T @ J + 0.3 * np.diag(D**2), J.T @ e), rtol=1e-12)


@pytest.mark.parametrize("solver", damping.SOLVERS)
def test_decay_adds_residuals(solver):
    J, e, normal = normal_equations()
    x = np.array([1.0, -2.0, 0.5, 3.0])
    found = damping.SOLVERS[solver](normal.with_decay(jnp.asarray(x), jnp.asarray(0.2)), jnp.asarray(1e-3), jnp.ones(4))
    expected = -np.linalg.solve(J.T @ J + 0.201 * np.eye(4), J.T @ e + 0.2 * x)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


@pytest.mark.parametrize("schedule", damping.SCHEDULES)
def test_failures_raise_the_damping_until_a_step_helps(schedule):
    """F is not finite beyond a wall that the first steps cross."""
    J, e, normal = normal_equations()
    free = -np.linalg.solve(J.T @ J, J.T @ e)

    def value_of(x):
        inside = jnp.sum(x * x) < 0.01 * free @ free
        return jnp.where(inside, jnp.sum((jnp.asarray(e) + jnp.asarray(J) @ x) ** 2), jnp.nan)

    settings = lddn.LevenbergMarquardt(damping=schedule).settings
    start = jnp.zeros(4)
    trial = damping.damped_step(
        settings,
        normal,
        start,
        value=value_of(start),
        value_of=value_of,
        mu=jnp.asarray(1e-3),
        nu=jnp.asarray(2.0),
    )
    assert trial.accepted
    assert int(trial.rejected) > 2
    assert float(trial.value) < float(value_of(start))
    assert np.isfinite(trial.x).all()


def test_where_no_step_helps_the_damping_ends_beyond_its_limit():
    _, _, normal = normal_equations()
    settings, x = lddn.LevenbergMarquardt(mu_max=1e3).settings, jnp.ones(4)
    trial = damping.damped_step(
        settings,
        normal,
        x,
        value=jnp.asarray(1.0),
        value_of=lambda x: jnp.asarray(2.0),
        mu=jnp.asarray(1e-3),
        nu=jnp.asarray(2.0),
    )
    assert not trial.accepted
    assert float(trial.mu) > 1e3
    np.testing.assert_array_equal(trial.x, x)
    assert float(trial.value) == 1.0


@pytest.mark.parametrize(("gain", "factor"), [(-1.0, 28.0), (0.25, 1.125), (0.5, 1.0), (0.75, 0.875), (1.0, 1 / 3)])
def test_nielsens_schedule_follows_its_equation(gain, factor):
    """μ max(1/3, 1 − (2ρ − 1)³) after a success; μ ν, and ν doubled, after a failure."""
    settings, mu, nu = lddn.LevenbergMarquardt().settings, jnp.asarray(0.2), jnp.asarray(4.0)
    np.testing.assert_allclose(
        damping.nielsen(settings, mu, nu, jnp.asarray(True), jnp.asarray(gain)), [0.2 * factor, 2]
    )
    np.testing.assert_allclose(damping.nielsen(settings, mu, nu, jnp.asarray(False), jnp.asarray(gain)), [0.8, 8])


def test_a_linear_problem_gains_what_a_step_promises():
    """ρ = 1, so Nielsen's μ falls by a third; whatever the lengths of columns."""
    J, e, normal = normal_equations()

    def value_of(x):
        return jnp.sum((jnp.asarray(e) + jnp.asarray(J) @ x) ** 2)

    settings, x, D = lddn.LevenbergMarquardt(damping="nielsen").settings, jnp.zeros(4), jnp.array([1.0, 2.0, 0.5, 1.0])
    trial = damping.damped_step(
        settings, normal, x, value=value_of(x), value_of=value_of, mu=jnp.asarray(3.0), nu=jnp.asarray(2.0), D=D
    )
    assert int(trial.rejected) == 0
    assert float(trial.mu) == pytest.approx(1.0)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    in_tiers(
        {"plain": {}} | {str(s): s for s in ({"solver": "qr"}, {"damping": "nielsen"}, {"restarts": 3})},
        fast=["plain", "{'solver': 'qr'}"],
    ),
)
def test_it_finds_the_network_that_made_the_data(settings):
    net, data = problem(seed=3, share=0.3)
    fitted = lddn.fit(net, data, MSE, lddn.LevenbergMarquardt(**settings), epochs=200)
    losses_ = fitted.history.of(fitted.best_restart)["loss"]
    assert np.all(np.diff(losses_) < 0)
    assert losses_[-1] < 1e-12 * losses_[0]
    assert {"loss", "gradient_norm", "mu", "rejected", "seconds"} <= set(fitted.history)


def minimum_by_scipy(net, data):
    flat, unravel = net.ravel()
    residuals = jax.jit(lambda x: (data.targets - lddn.predict(unravel(x), data.inputs)["y"]).ravel())
    jacobian = jax.jit(jax.jacrev(lambda x: (data.targets - plain(unravel(x), data)).ravel()))
    found = scipy.optimize.least_squares(
        residuals, np.asarray(flat), jac=jacobian, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    return 2 * found.cost


def minimum_by_optimistix(net, data):
    optimistix = pytest.importorskip("optimistix")
    flat, unravel = net.ravel()

    def residuals(x, _):
        return (data.targets - plain(unravel(x), data)).ravel()

    # It relies on the promotion that JAX does by default.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        solver = optimistix.LevenbergMarquardt(rtol=1e-14, atol=1e-14)
        found = optimistix.least_squares(residuals, solver, flat, max_steps=5000, throw=False)
        return float(jnp.sum(residuals(found.value, None) ** 2))


PEERS = {"SciPy": minimum_by_scipy, "optimistix": minimum_by_optimistix}


def plain(net, data):
    from lddn_jax.gradients.autodiff import plain_scan

    return plain_scan(net, {"u": data.inputs}, lddn.zero_state(net.topology), data.steps)["y"]


@pytest.mark.parametrize(
    ("peer", "connections"),
    [
        pytest.param(peer, connections, marks=deep_unless((peer, name) == ("SciPy", "NARX")), id=f"{peer}-{name}")
        for peer in PEERS
        for name, connections in {
            "NARX": "u>h@1 y>h@1,2 h>y",
            "Elman": "u>h h>h@1 h>y",
            "distributed": "u>h@0,2 h>y@1 u>y",
        }.items()
    ],
)
def test_the_same_optimum_as_peers(peer, connections):
    """With noise, so that the minimum is not zero."""
    topology = declare("u:1", "h:2:tanh y:1:linear", connections, "y")
    teacher, net = (lddn.Network(topology, key=jax.random.key(k)) for k in (1, 2))
    u = jax.random.normal(jax.random.key(0), (80, 1))
    y = lddn.predict(teacher, u)["y"] + 0.05 * jax.random.normal(jax.random.key(9), (80, 1))
    data = lddn.Sequences(u, y)
    start = jax.tree.map(lambda a, b: 0.8 * a + 0.2 * b, teacher, net)  # both go to the same of many minima
    fitted = lddn.fit(start, data, SSE, lddn.LevenbergMarquardt(min_grad=1e-11), epochs=500)
    assert fitted.history["loss"][-1] == pytest.approx(PEERS[peer](start, data), rel=1e-8)


def test_weight_decay_is_part_of_what_is_minimized():
    net, data = problem(seed=3, share=0.3)
    loss = losses.MeanSquaredError(regularization=1e-2)
    fitted = lddn.fit(net, data, loss, lddn.LevenbergMarquardt(min_grad=1e-10), epochs=300)
    value, gradient = lddn.value_and_grad(loss, fitted.net, data)
    assert fitted.stop_reason in ("min_grad", "mu_max")
    assert float(optax.tree.norm(gradient)) < 1e-8
    assert fitted.history["loss"][-1] == pytest.approx(float(value), rel=1e-10)


def test_the_recorded_gradient_is_that_of_the_loss():
    net, data = problem()
    loss = losses.MeanSquaredError(regularization=0.2)
    fitted = lddn.fit(net, data, loss, lddn.LevenbergMarquardt(), epochs=1)
    value, gradient = lddn.value_and_grad(loss, net, data)
    assert fitted.history["loss"][0] == pytest.approx(float(value), rel=1e-12)
    assert fitted.history["gradient_norm"][0] == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-10)


STOPS = {
    "epochs": ({}, {"epochs": 2}),
    "goal": ({}, {"goal": 1e-2}),
    "min_grad": ({"min_grad": 1e-2}, {}),
    "mu_max": ({"mu": 0.5, "mu_max": 0.6, "min_grad": 0.0}, {}),
    "max_fail": ({}, {"max_fail": 1}),
}


@pytest.mark.parametrize("reason", STOPS)
def test_it_says_why_it_stopped(reason):
    net, data = problem(seed=3)
    settings, arguments = STOPS[reason]
    if reason == "max_fail":
        arguments = arguments | {"validation": dataclasses.replace(data, targets={"y": -data.targets["y"]})}
    fitted = lddn.fit(net, data, MSE, lddn.LevenbergMarquardt(**settings), **arguments)
    assert fitted.stop_reason == reason
    assert StopReason(reason).meaning in str(fitted)


def test_a_record_that_explodes_is_not_finite_and_says_so(caplog):
    net, data = problem()
    wild = net.with_weights(LW={("y", "h"): 1e200 * net.LW["y", "h"]})
    fitted = lddn.fit(wild, data, SSE, lddn.LevenbergMarquardt())
    assert fitted.stop_reason == "non_finite"
    assert "the best network before" in caplog.text


def test_restarts_keep_all_histories_and_return_the_best():
    net, data = problem(seed=3)
    trainer = lddn.LevenbergMarquardt(restarts=3)
    fitted = lddn.fit(net, data, MSE, trainer, epochs=8, key=jax.random.key(7))
    assert fitted.history["loss"].shape == (8, 3)
    assert fitted.history["seconds"].shape == (8,)
    assert len(fitted.stop_reasons) == 3
    nets = [jax.tree.map(lambda leaf, k=k: leaf[k], fitted.restarts) for k in range(3)]
    values = [float(lddn.value_and_grad(MSE, n, data)[0]) for n in nets]
    assert fitted.best_restart == int(np.argmin(values))
    assert float(lddn.value_and_grad(MSE, fitted.net, data)[0]) == min(values)


def test_restarts_start_apart():
    net, _ = problem()
    starts = lddn.LevenbergMarquardt(restarts=4).starts(net, jax.random.key(0))
    weights = np.asarray(starts.LW["h", "y"]).reshape(4, -1)
    np.testing.assert_array_equal(weights[0], net.LW["h", "y"].ravel())
    assert len(np.unique(weights[:, 0])) == 4


def test_a_restart_is_what_it_would_be_alone():
    net, data = problem(seed=3)
    several = lddn.fit(net, data, MSE, lddn.LevenbergMarquardt(restarts=3), epochs=6)
    alone = lddn.fit(net, data, MSE, lddn.LevenbergMarquardt(), epochs=6)
    np.testing.assert_allclose(several.history["loss"][:, 0], alone.history["loss"], rtol=1e-9)
    first = jax.tree.map(lambda leaf: leaf[0], several.restarts)
    np.testing.assert_allclose(first.ravel()[0], alone.net.ravel()[0], rtol=1e-6)


@pytest.mark.deep
def test_restarts_go_on_from_where_they_were():
    net, data = problem(seed=3)
    trainer = lddn.LevenbergMarquardt(restarts=2)
    first = lddn.fit(net, data, MSE, trainer, epochs=4)
    second = lddn.fit(first.restarts, data, MSE, trainer, epochs=1)
    after = [
        float(lddn.value_and_grad(MSE, jax.tree.map(lambda x, k=k: x[k], first.restarts), data)[0]) for k in (0, 1)
    ]
    np.testing.assert_allclose(second.history["loss"][0], after, rtol=1e-12)
    with pytest.raises(lddn.LDDNError, match="restarts=2"):
        lddn.fit(first.restarts, data, MSE, lddn.LevenbergMarquardt(restarts=5), epochs=1)


def test_a_history_of_restarts_as_a_table(tmp_path):
    net, data = problem()
    fitted = lddn.fit(net, data, MSE, lddn.LevenbergMarquardt(restarts=2), epochs=2)
    fitted.history.to_csv(tmp_path / "history.csv")
    assert "loss_0,loss_1" in (tmp_path / "history.csv").read_text().splitlines()[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mu": 0.0}, "mu=0.0 must be a number, positive"),
        ({"mu_dec": 1.0}, "between 0 and 1"),
        ({"mu_inc": 1.0}, "larger than 1"),
        ({"mu_max": 1e-5}, "larger than mu=0.001"),
        ({"min_grad": -1.0}, "min_grad"),
        ({"solver": "svd"}, r"\['cholesky', 'qr'\]"),
        ({"damping": "fast"}, r"\['nielsen', 'textbook'\]"),
        ({"restarts": 0}, "restarts=0"),
    ],
    ids=str,
)
def test_senseless_settings(settings, words):
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.LevenbergMarquardt(**settings)


def test_float32_is_refused_with_the_fix():
    net, data = problem()
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), net)
    with pytest.raises(lddn.PrecisionError, match=r'jax_enable_x64", True\).*allow_float32=True'):
        lddn.fit(single, data, MSE, lddn.LevenbergMarquardt())
    fitted = lddn.fit(single, data, MSE, lddn.LevenbergMarquardt(allow_float32=True), epochs=3)
    assert fitted.net.dtype == jnp.float32


def test_a_loss_without_squares_is_refused():
    net, data = problem()
    with pytest.raises(lddn.LDDNError, match="MeanAbsoluteError is not one"):
        lddn.fit(net, data, losses.MeanAbsoluteError(), lddn.LevenbergMarquardt())


# --- the generic core -------------------------------------------------------------------------------------------------


def rosenbrock(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


@pytest.mark.parametrize("schedule", damping.SCHEDULES)
@pytest.mark.parametrize("solver", damping.SOLVERS)
@pytest.mark.parametrize("scaled", [pytest.param(False, marks=pytest.mark.deep), True])
def test_rosenbrock(solver, schedule, scaled):
    start = jnp.array([-1.2, 1.0])
    found = lddn.levenberg_marquardt(rosenbrock, start, solver=solver, damping=schedule, scaled=scaled)
    np.testing.assert_allclose(found.parameters, [1, 1], rtol=1e-10)
    assert found.stop_reason != "max_steps"


def test_parameters_of_any_structure_and_very_different_size():
    """y = a exp(b t), with a and b fourteen orders of magnitude apart."""
    t = jnp.linspace(0, 1, 20)
    target = 3e-7 * jnp.exp(2e7 * 1e-7 * t)

    def residuals(p):
        return {"left": (p["a"] * jnp.exp(p["b"] * 1e-7 * t) - target)[:10] * 1e7, "right": jnp.zeros(1)}

    found = lddn.levenberg_marquardt(residuals, {"a": jnp.asarray(1e-7), "b": jnp.asarray(1e7)})
    np.testing.assert_allclose([found.parameters["a"], found.parameters["b"]], [3e-7, 2e7], rtol=1e-8)


@pytest.mark.usefixtures("unchecked")
def test_it_stops_at_its_limits():
    assert lddn.levenberg_marquardt(rosenbrock, jnp.array([-1.2, 1.0]), max_steps=2).stop_reason == "max_steps"
    assert lddn.levenberg_marquardt(rosenbrock, jnp.array([-1.2, 1.0]), goal=3.0).stop_reason == "goal"
    broken = lddn.levenberg_marquardt(lambda x: jnp.log(x), jnp.array([-1.0]))
    assert broken.stop_reason == "non_finite"
    assert float(broken.parameters[0]) == -1.0
    with pytest.raises(lddn.LDDNError, match="floating-point"):
        lddn.levenberg_marquardt(rosenbrock, jnp.array([1, 2]))


@pytest.mark.parametrize("trainer", [lddn.LevenbergMarquardt, lddn.BayesianRegularization])
def test_the_first_arguments_are_those_of_the_damping(trainer):
    made = trainer(0.5, 0.2, 5.0, 1e6)
    assert (made.mu, made.mu_dec, made.mu_inc, made.mu_max) == (0.5, 0.2, 5.0, 1e6)
