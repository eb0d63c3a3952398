"""Bayesian regularization: exact where theory is exact, honest about noise, and clear about which delays matter."""

import dataclasses
import json
import logging

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
from networks import BY_NAME, declare
from sklearn.linear_model import BayesianRidge

import lddn_jax as lddn
from lddn_jax import diagnostics, losses, plots
from lddn_jax.training import evidence
from lddn_jax.training.evidence import Strengths
from lddn_jax.training.fit import STOP_REASONS
from lddn_jax.training.groups import LABELS, Groups
from lddn_jax.training.posterior import Posterior

SSE, MSE = losses.SumSquaredError(), losses.MeanSquaredError()
EXACT = {"tolerance": 1e-13, "min_grad": 0.0}  # iterated until nothing moves


def fir(taps: int = 6, delays=None) -> lddn.Topology:
    return lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer("y", 1, "linear", bias=False)],
        [lddn.Connection("u", "y", delays or tuple(range(taps)))],
        ["y"],
    )


def linear_problem(seed=0, taps=6, steps=60, noise=0.3, weights=(1.0, -0.7, 0.5, 0.4, -0.9, 0.6), apart=False):
    """Two sequences of a linear system, and its regressors as a matrix; `apart`: no regressor explains any noise."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((2, steps, 1))
    past = np.concatenate([np.zeros((2, taps, 1)), u], axis=1)[..., 0]
    X = np.stack([past[:, taps - d : taps - d + steps] for d in range(taps)], axis=-1).reshape(-1, taps)
    e = rng.standard_normal(2 * steps)
    y = X @ np.asarray(weights)[:taps] + noise * (e - X @ np.linalg.lstsq(X, e)[0] if apart else e)
    net = lddn.Network(fir(taps), key=jax.random.key(seed))
    return net, lddn.Sequences(u, y.reshape(2, steps, 1)), X, y


def closed_form(X, y, rounds=2000):
    """MacKay's fixed point with one α, in the eigenvectors of XᵀX: no Jacobian, no step."""
    N, P = X.shape
    lam, V = np.linalg.eigh(X.T @ X)
    b = V.T @ (X.T @ y)
    alpha, beta = 1.0, 1.0
    for _ in range(rounds):
        z = beta * b / (beta * lam + alpha)
        gamma = np.sum(beta * lam / (beta * lam + alpha))
        E_D = y @ y - 2 * z @ b + z @ (lam * z)
        alpha, beta = gamma / (2 * z @ z), (N - gamma) / (2 * E_D)
    covariance = V @ np.diag(1 / (2 * (beta * lam + alpha))) @ V.T
    log_det = np.sum(np.log(2 * (beta * lam + alpha)))
    log_evidence = -beta * E_D - alpha * z @ z - log_det / 2
    log_evidence += P / 2 * np.log(2 * alpha) + N / 2 * np.log(2 * beta) - N / 2 * np.log(2 * np.pi)
    return {
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        "weights": V @ z,
        "covariance": covariance,
        "log_evidence": log_evidence,
    }


# --- exact where theory is exact -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"solver": "qr"}, {"damping": "nielsen"}, {"update": "inner_converged"}],
    ids=lambda s: str(s) if s else "plain",
)
def test_a_linear_layer_is_the_closed_form(settings):
    net, data, X, y = linear_problem()
    fitted = lddn.fit(net, data, SSE, lddn.BayesianRegularization(**EXACT, **settings))
    assert fitted.stop_reason == "settled"
    found, expected = lddn.posterior(fitted, data), closed_form(X, y)
    np.testing.assert_allclose(found.strengths.alpha[0], expected["alpha"], rtol=1e-8)
    np.testing.assert_allclose(found.strengths.beta, expected["beta"], rtol=1e-8)
    np.testing.assert_allclose(found.gamma[0], expected["gamma"], rtol=1e-8)
    np.testing.assert_allclose(found.net.ravel()[0], expected["weights"], rtol=1e-8)
    np.testing.assert_allclose(found.log_evidence, expected["log_evidence"], rtol=1e-8)
    scale = expected["covariance"].max()
    np.testing.assert_allclose(found.covariance, expected["covariance"], rtol=0, atol=1e-8 * scale)
    np.testing.assert_allclose(fitted.state.gamma, found.gamma, rtol=1e-8)
    np.testing.assert_allclose(fitted.state.log_evidence, found.log_evidence, rtol=1e-8)


def test_a_linear_layer_is_the_bayesian_ridge_of_scikit_learn():
    net, data, X, y = linear_problem(seed=1)
    found = lddn.posterior(lddn.fit(net, data, MSE, lddn.BayesianRegularization(**EXACT)), data)
    ridge = BayesianRidge(
        alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, fit_intercept=False, compute_score=True, tol=1e-13, max_iter=5000
    ).fit(X, y)
    np.testing.assert_allclose(2 * found.strengths.beta, ridge.alpha_, rtol=1e-5)
    np.testing.assert_allclose(2 * found.strengths.alpha[0], ridge.lambda_, rtol=1e-5)
    np.testing.assert_allclose(found.net.ravel()[0], ridge.coef_, rtol=1e-5)
    np.testing.assert_allclose(found.covariance, ridge.sigma_, rtol=0, atol=1e-5 * ridge.sigma_.max())
    np.testing.assert_allclose(found.log_evidence, ridge.scores_[-1], rtol=1e-5)
    mean, std = ridge.predict(X, return_std=True)
    bars = found.predict(data.inputs)
    np.testing.assert_allclose(bars.mean["y"].ravel(), mean, rtol=0, atol=1e-5 * np.abs(mean).max())
    np.testing.assert_allclose(bars.std["y"].ravel(), std, rtol=1e-5)


@pytest.mark.parametrize("solver", ["cholesky", "qr"])
def test_one_prior_for_each_delay_is_the_fixed_point_of_its_equations(solver):
    net, data, X, y = linear_problem(seed=2, noise=0.2)
    trainer = lddn.BayesianRegularization(groups="delay", solver=solver, **EXACT)
    found = lddn.posterior(lddn.fit(net, data, SSE, trainer), data)
    alpha, beta, N = np.ones(6), 1.0, len(y)
    for _ in range(3000):
        H = 2 * beta * X.T @ X + 2 * np.diag(alpha)
        x = np.linalg.solve(H, 2 * beta * X.T @ y)
        gamma = 1 - 2 * alpha * np.diag(np.linalg.inv(H))
        alpha, beta = gamma / (2 * x * x), (N - gamma.sum()) / (2 * np.sum((y - X @ x) ** 2))
    assert gamma.min() > 0.9  # none runs away, so that the fixed point is a point
    np.testing.assert_allclose(found.strengths.alpha, alpha, rtol=1e-8)
    np.testing.assert_allclose(found.strengths.beta, beta, rtol=1e-8)
    np.testing.assert_allclose(found.gamma, gamma, rtol=1e-8)
    np.testing.assert_allclose(found.net.ravel()[0], x, rtol=1e-8)


def most_probable(net, X, y, weights, strengths, groups):
    """The network that minimizes F for given α and β, and the covariance of y before any parameter is known."""
    alpha, beta = np.asarray(groups.spread(strengths.alpha)), float(strengths.beta)
    x = np.linalg.solve(beta * X.T @ (weights[:, None] * X) + np.diag(alpha), beta * X.T @ (weights * y))
    marginal = X @ np.diag(1 / (2 * alpha)) @ X.T + np.diag(1 / (2 * beta * weights))
    return net.ravel()[1](jnp.asarray(x)), marginal


@pytest.mark.parametrize("groups", ["all", "delay"])
def test_the_evidence_is_the_density_of_the_data(groups):
    """For a linear layer y is Gaussian with covariance X A⁻¹Xᵀ/2 + W⁻¹/(2β), error weights and a gap included."""
    net, data, X, y = linear_problem(seed=3, steps=20)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    known = np.arange(len(y)) != 7
    groups = Groups.of(net.topology, groups)
    strengths = Strengths(jnp.linspace(0.3, 2.0, len(groups.labels)), jnp.asarray(4.0))
    net, marginal = most_probable(net, X[known], y[known], weights[known], strengths, groups)
    targets = jnp.asarray(np.where(known, y, np.nan).reshape(2, 20, 1))
    data = dataclasses.replace(data, targets=targets, weights=weights.reshape(2, 20, 1))
    found = Posterior.at(net, data, strengths, groups)
    expected = scipy.stats.multivariate_normal(np.zeros(len(y) - 1), marginal).logpdf(y[known])
    assert int(found.counts.N) == len(y) - 1
    np.testing.assert_allclose(found.log_evidence, expected, rtol=1e-11)


def test_the_evidence_is_stationary_where_training_ends():
    net, data, _, _ = linear_problem(seed=4)
    found = lddn.posterior(lddn.fit(net, data, SSE, lddn.BayesianRegularization(**EXACT)), data)
    step = 1e-4

    def at(a, b):
        strengths = Strengths(found.strengths.alpha * np.exp(a), found.strengths.beta * np.exp(b))
        return float(Posterior.at(found.net, data, strengths, found.groups).log_evidence)

    assert abs(at(step, 0) - at(-step, 0)) / (2 * step) < 1e-6
    assert abs(at(0, step) - at(0, -step)) / (2 * step) < 1e-6
    assert at(0, 0) > max(at(0.1, 0), at(-0.1, 0), at(0, 0.1), at(0, -0.1))


# --- the effective number of parameters ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "low", "high"), [(1e-6, 5.999999, 6.0), (0.1, 5.9, 6.0), (3.0, 3.0, 5.9), (30.0, 0.0, 1e-3)]
)
def test_gamma_falls_from_all_parameters_to_none(noise, low, high):
    """As the noise grows. Chance correlations with it, which a draw may have, are left out."""
    net, data, _, _ = linear_problem(seed=8, noise=noise, apart=True)
    data = dataclasses.replace(data, targets=data.targets / max(noise, 1))
    fitted = lddn.fit(net, data, SSE, lddn.BayesianRegularization(min_grad=0.0))
    assert low <= float(fitted.state.gamma[0]) <= high
    assert np.all(fitted.history["gamma"] >= 0)
    assert np.all(fitted.history["gamma"] <= 6)


def twins(topology, seed=0):
    """More parameters than data, and inputs that are almost copies of each other."""
    u = np.random.default_rng(seed).standard_normal((12, 1))
    return lddn.Sequences(np.concatenate([u, u + 1e-9], axis=1), np.sin(u))


HARD = {
    "copies": lambda: (declare("u:2", "h:6:tanh y:1:linear", "u>h@0,1,2 h>y", "y"), twins),
    "idle": lambda: (BY_NAME["idle-layers"].topology, lambda topology: BY_NAME["idle-layers"].data),
}


@pytest.mark.filterwarnings("ignore::lddn_jax.TopologyWarning")
@pytest.mark.parametrize(
    ("name", "solver", "groups"),
    [
        ("copies", "cholesky", "all"),
        ("copies", "cholesky", "delay"),
        ("copies", "qr", "delay"),
        ("idle", "cholesky", "connection"),
    ],
)
def test_gamma_never_leaves_its_range(name, solver, groups):
    topology, make = HARD[name]()
    net = lddn.Network(topology, key=jax.random.key(0))
    trainer = lddn.BayesianRegularization(solver=solver, groups=groups)
    fitted = lddn.fit(net, make(topology), MSE, trainer, epochs=12)
    h, sizes = fitted.history, fitted.state.groups.sizes
    assert np.isfinite(h["log_evidence"]).all()
    assert np.all(h["gamma"] >= 0)
    assert np.all(h["gamma"] <= net.parameter_count)
    assert np.all(np.asarray(fitted.state.gamma) <= sizes)
    assert np.all(np.asarray(fitted.state.alpha) > 0)


def test_floors_are_flagged_where_there_is_no_noise():
    net, data, _, _ = linear_problem(seed=5, noise=0.0)
    fitted = lddn.fit(net, data, SSE, lddn.BayesianRegularization(min_grad=0.0), epochs=40)
    assert bool(fitted.state.floors.error)
    assert fitted.history["floors"][-1] >= 1
    assert np.isfinite([float(fitted.state.beta), float(fitted.state.log_evidence)]).all()
    assert float(fitted.state.gamma[0]) == pytest.approx(6.0, abs=1e-9)


def test_every_limit_of_a_re_estimate():
    groups = Groups.of(fir(2), "delay")
    counts = evidence.Counts(jnp.asarray(2.0), jnp.asarray(0.0), jnp.asarray(1.0))
    strengths, floors = evidence.re_estimate(
        jnp.array([1.0, 1.0]), jnp.asarray(0.0), jnp.array([0.0, 1e300]), counts, groups
    )
    assert [bool(floors.freedom), bool(floors.error), *floors.weight.tolist(), *floors.gamma.tolist()] == [
        *(True, True),
        *(True, False),
        *(False, True),
    ]
    np.testing.assert_allclose(1 / np.sqrt(2 * strengths.alpha), [evidence.LEAST_WEIGHT, evidence.LARGEST_WEIGHT])
    assert 0 < float(strengths.beta) < np.inf


# --- noise and error bars --------------------------------------------------------------------------------------------

NOISE = 0.05


def noisy_loop(seed, steps, noise=NOISE):
    """A known LDDN: a closed network of three hidden neurons, with Gaussian noise as one more input of its output."""
    topology = declare("u:1 e:1", "h:3:tanh y:1:linear", "u>h@1,2 y>h@1,2 h>y e>y y>y@1", "y")
    net = lddn.Network(topology, key=jax.random.key(11))
    LW = {("y", "y"): [[[0.5]]], ("y", "h"): 0.5 * net.LW["y", "h"]}
    net = net.with_weights(IW={("y", "e"): [[[noise]]]}, LW=LW)
    rng = np.random.default_rng(seed)
    inputs = {"u": rng.uniform(-1, 1, (steps, 1)), "e": rng.standard_normal((steps, 1))}
    y = lddn.predict(net, inputs)["y"]
    return lddn.Sequences({"u": inputs["u"], "measured_y": y}, y)


@pytest.fixture(scope="module")
def one_step():
    """A NARX network trained on a thousand noisy steps, one step ahead."""
    topology = lddn.models.narx({"u": 1}, {"y": 1}, hidden=5)
    data = noisy_loop(0, 1000)
    fitted = lddn.fit(lddn.Network(topology, key=jax.random.key(0)), data, MSE, lddn.BayesianRegularization())
    return fitted, lddn.posterior(fitted, data), data


def test_noise_and_bands_are_those_of_fresh_data(one_step):
    fitted, found, _ = one_step
    fresh = noisy_loop(1, 4000)
    assert float(1 / (2 * fitted.state.beta)) == pytest.approx(NOISE**2, rel=0.1)
    bars = found.predict(fresh.inputs)
    y, mean, std = (np.asarray(x)[2:] for x in (fresh.targets, bars.mean["y"], bars.std["y"]))
    assert 0.93 <= diagnostics.coverage(y, mean, std) <= 0.97
    nominal, observed = diagnostics.calibration(y, mean, std)
    np.testing.assert_allclose(observed, nominal, atol=0.05)
    assert np.all(np.asarray(bars.parameters["y"])[2:] < std)
    assert np.all(std >= NOISE * 0.9)


def test_bands_of_a_closed_loop_cover_its_measurements():
    """A network that runs free, measured with noise: training closed is training on the model that is true."""
    topology = declare("u:1", "h:3:tanh y:1:linear", "u>h@1 y>h@1 h>y", "y")
    teacher = lddn.Network(topology, key=jax.random.key(5))
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (3000, 1))
    y = lddn.predict(teacher, u)["y"] + NOISE * rng.standard_normal((3000, 1))
    start = jax.tree.map(lambda a, b: 0.8 * a + 0.2 * b, teacher, lddn.Network(topology, key=jax.random.key(6)))
    data = lddn.Sequences(u[:600], y[:600])
    found = lddn.posterior(lddn.fit(start, data, MSE, lddn.BayesianRegularization(), epochs=200), data)
    bars = found.predict(u)
    assert float(found.noise["y"]) == pytest.approx(NOISE, rel=0.1)
    assert 0.93 <= diagnostics.coverage(y[600:], bars.mean["y"][600:], bars.std["y"][600:]) <= 0.97


def dense_spread(found, inputs, state):
    rows = lddn.jacobian(found.net, lddn.Sequences(inputs, None, state), lddn.Autodiff())["y"]
    return np.sqrt(np.einsum("tip,pq,tiq->ti", rows, found.covariance, rows))


@pytest.mark.parametrize("method", [None, lddn.BPTT()], ids=["RTRL", "BPTT"])
def test_error_bars_in_a_loop_are_those_of_the_whole_jacobian(one_step, method):
    _, found, data = one_step
    closed = found.close_loop(output="y", input="measured_y")
    u, y = data.inputs["u"][:40], data.targets[:40]
    inputs, state = {"u": u[2:]}, {"u": u[:2], "y": y[:2]}
    bars = closed.predict(inputs, state, method=method)
    np.testing.assert_allclose(bars.parameters["y"], dense_spread(closed, inputs, state), rtol=1e-8)
    np.testing.assert_allclose(bars.mean["y"], lddn.predict(closed.net, inputs, state)["y"], rtol=1e-12)
    one = found.predict({"u": u, "measured_y": y})
    # The first step of a free run reads what a step with the loop open reads.
    np.testing.assert_allclose(bars.parameters["y"][0], one.parameters["y"][2], rtol=1e-9)


def test_a_loop_that_is_closed_and_opened_again_has_the_same_posterior(one_step):
    _, found, _ = one_step
    closed = found.close_loop(output="y", input="measured_y")
    again = closed.open_loop(output="y", input="measured_y")
    assert again.net.topology == found.net.topology
    np.testing.assert_array_equal(again.covariance, found.covariance)
    assert again.groups.members == found.groups.members
    names, moved = found.net.parameter_names(), closed.net.parameter_names()
    there = [moved.index(name.replace("IW['hidden', 'measured_y']", "LW['hidden', 'y']")) for name in names]
    np.testing.assert_allclose(np.asarray(closed.covariance)[np.ix_(there, there)], found.covariance, rtol=1e-12)


def test_draws_have_the_posterior_as_their_distribution():
    net, data, _, _ = linear_problem(seed=6)
    found = lddn.posterior(lddn.fit(net, data, SSE, lddn.BayesianRegularization()), data)
    draws = found.sample(jax.random.key(0), 20_000)
    assert draws.IW["y", "u"].shape == (20_000, 6, 1, 1)
    x = np.asarray(draws.IW["y", "u"]).reshape(20_000, 6)
    scale = float(jnp.max(jnp.diag(found.covariance)))
    np.testing.assert_allclose(np.cov(x.T), found.covariance, atol=0.05 * scale)  # 20,000 draws: two digits
    sampled, bars = found.predict_by_sampling(jax.random.key(1), 4000, data.inputs), found.predict(data.inputs)
    np.testing.assert_allclose(sampled.parameters["y"][:, 6:], bars.parameters["y"][:, 6:], rtol=0.1)
    np.testing.assert_allclose(sampled.mean["y"], bars.mean["y"], atol=0.1 * np.sqrt(scale))


def test_weights_of_outputs_are_different_noises():
    """An output with error weight w has noise of variance 1/(2β w)."""
    topology = lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer("a", 1, "linear"), lddn.Layer("b", 1, "linear")],
        [lddn.Connection("u", "a"), lddn.Connection("u", "b")],
        ["a", "b"],
    )
    rng = np.random.default_rng(0)
    u, e = rng.standard_normal((2000, 1)), rng.standard_normal((2, 2000, 1))
    data = lddn.Sequences(u, {"a": u + 0.1 * e[0], "b": -u + 0.4 * e[1]})
    loss = losses.SumSquaredError(output_weights={"a": 16.0})
    fitted = lddn.fit(lddn.Network(topology, key=jax.random.key(0)), data, loss, lddn.BayesianRegularization())
    noise = lddn.posterior(fitted, data, loss=loss).noise
    assert float(noise["a"]) == pytest.approx(0.1, rel=0.05)
    assert float(noise["b"]) == pytest.approx(0.4, rel=0.05)


# --- relevance and pruning -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def delays_found():
    """A nonlinear system that reads two delays of eight, seen with noise: for ten seeds what relevance says."""
    topology = declare("u:1", "h:3:tanh y:1:linear", "u>h@0,1,2,3,4,5,6,7 h>y", "y")
    trainer = lddn.BayesianRegularization(groups="delay", tolerance=1e-5)
    found = {}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        true = tuple(sorted(rng.choice(8, 2, replace=False).tolist()))
        u = rng.standard_normal((400, 1))
        past = np.concatenate([np.zeros((7, 1)), u])
        first, second = (past[7 - d : 407 - d] for d in true)
        data = lddn.Sequences(u, np.tanh(first) - 0.7 * second + 0.1 * rng.standard_normal((400, 1)))
        fitted = lddn.fit(lddn.Network(topology, key=jax.random.key(seed)), data, MSE, trainer, epochs=100)
        found[seed] = true, lddn.posterior(fitted, data)
    return found


def ranked_first(posterior):
    return tuple(sorted([row.delay for row in lddn.relevance(posterior) if row.source == "u"][:2]))


def test_the_true_delays_rank_first(delays_found):
    hits = [ranked_first(posterior) == true for true, posterior in delays_found.values()]
    assert sum(hits) >= 9


def test_pruning_keeps_the_true_delays_and_says_what_it_changes(delays_found):
    true, found = delays_found[0]
    pruned = lddn.prune(found.net, found, threshold=0.3)
    assert pruned.net.topology.delays["h", "u"] == true
    assert {(to, source) for to, source, _ in pruned.removed} == {("h", "u")}
    data = pruned.data(found.data)
    change = lddn.predict(pruned.net, data.inputs)["y"] - lddn.predict(found.net, found.data.inputs)["y"]
    assert pruned.change["y"] == pytest.approx(float(jnp.sqrt(jnp.mean(change**2))))
    assert pruned.change["y"] < 0.2 * float(found.noise["y"])
    refitted = lddn.fit(pruned.net, data, MSE, lddn.BayesianRegularization(groups="delay"), epochs=20)
    assert float(lddn.posterior(refitted, data).log_evidence) > float(found.log_evidence) - 1


def test_pruning_drops_what_reaches_no_output_and_cuts_delay_states():
    topology = declare("u:1 v:1", "g:2:tanh h:2:tanh y:1:linear", "v>g@1 u>h@1,4 g>y@2 h>y y>h@3", "y")
    net, rng = lddn.Network(topology, key=jax.random.key(0)), np.random.default_rng(0)
    inputs = {"u": rng.standard_normal((3, 9, 1)), "v": rng.standard_normal((3, 9, 1))}
    state = {"u": rng.standard_normal((3, 4, 1)), "v": rng.standard_normal((3, 1, 1)), "y": np.ones((3, 3, 1))}
    state |= {"g": np.zeros((3, 2, 2))}
    data = lddn.Sequences(*jax.tree.map(jnp.asarray, (inputs, rng.standard_normal((3, 9, 1)), state)))
    strong = {"y <- g": 1e9, "h <- u 4": 1e9, "rest": 1e-3}

    def name(to, source, delay):
        return {("y", "g", 2): "y <- g", ("h", "u", 4): "h <- u 4"}.get((to, source, delay), "rest")

    groups = Groups.of(topology, name)
    alpha = jnp.array([strong[label] for label in groups.labels])
    found = Posterior.at(net, data, Strengths(alpha, jnp.asarray(10.0)), groups)
    pruned = lddn.prune(net, found, threshold=0.05)
    assert [layer.name for layer in pruned.net.topology.layers] == ["h", "y"]
    assert pruned.net.topology.input_names == {"u"}
    assert pruned.net.topology.delays["h", "u"] == (1,)
    assert set(pruned.removed) == {("y", "g", 2), ("h", "u", 4), ("g", "v", 1)}
    less = pruned.data(data)
    np.testing.assert_array_equal(less.state["u"], data.state["u"][:, -1:])
    np.testing.assert_array_equal(pruned.net.IW["h", "u"], net.IW["h", "u"][:1])
    zeroed = net.with_weights(
        IW={("h", "u"): net.IW["h", "u"].at[1].set(0)}, LW={("y", "g"): jnp.zeros_like(net.LW["y", "g"])}
    )
    expected = lddn.predict(zeroed, data.inputs, data.state)["y"]
    np.testing.assert_allclose(lddn.predict(pruned.net, less.inputs, less.state)["y"], expected, rtol=1e-12)


def test_relevance_as_a_table(delays_found):
    _, found = delays_found[1]
    table = lddn.relevance(found)
    assert len(table) == 8 + 1 + 2  # delays, the read-out, two biases
    by_group = {}
    for row, group in zip(found.groups.taps, found.groups.of_taps, strict=True):
        by_group[row] = group
    for row in table:
        group = by_group[row.tap]
        assert row.determined == pytest.approx(float(found.gamma[group]) / row.parameters, abs=1e-9)
        assert row.scale == pytest.approx(float(1 / jnp.sqrt(2 * found.strengths.alpha[group])))
    assert "u -> h delay 7" in str(table)
    assert table.to_csv().splitlines()[0] == "to,source,delay,parameters,determined,scale,weight"
    assert json.loads(json.dumps(table.to_dict()))[0]["to"] == table.rows[0].to


def test_pruning_asks_for_what_it_needs(one_step):
    _, found, _ = one_step
    with pytest.raises(lddn.LDDNError, match="between 0"):
        lddn.prune(found.net, found, threshold=2.0)
    closed = found.close_loop(output="y", input="measured_y")
    with pytest.raises(lddn.LDDNError, match="data=sequences"):
        lddn.prune(closed.net, closed)
    with pytest.raises(lddn.LDDNError, match=r"prune\(posterior.net"):
        lddn.prune(lddn.Network(fir(), init="zeros"), found)


# --- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", LABELS)
def test_groups_follow_the_order_of_parameters(groups):
    net = BY_NAME["awkward"].net
    found = Groups.of(net.topology, groups)
    assert len(found.members) == net.parameter_count
    assert found.sizes.sum() == net.parameter_count
    names = {(to, s, d): f"b[{to!r}]" if s is None else f"W[{to!r}, {s!r}] delay {d} " for to, s, d in found.taps}
    assert all(names[found.taps[k]] in name for k, name in zip(found.members, net.parameter_names(), strict=True))
    values = jnp.arange(net.parameter_count).astype(float)
    for c, total in enumerate(found.sum(values)):
        assert float(total) == float(values[found.of_parameters == c].sum())
    np.testing.assert_array_equal(found.spread(jnp.arange(len(found.labels))), found.of_parameters)


@pytest.mark.parametrize(
    ("groups", "labels"),
    [
        ("all", ("all",)),
        ("layer", ("h", "y")),
        ("connection", ("u -> h", "h -> y", "bias of h")),
        ("delay", ("u -> h delay 0", "u -> h delay 2", "h -> y delay 0", "bias of h")),
        ("source", ("u", "h", "bias")),
        (lambda to, source, delay: "late" if (delay or 0) > 1 else "early", ("early", "late")),
    ],
    ids=["all", "layer", "connection", "delay", "source", "function"],
)
def test_names_of_groups(groups, labels):
    assert Groups.of(declare("u:1", "h:2:tanh y:1:linear!", "u>h@0,2 h>y", "y"), groups).labels == labels


# --- training --------------------------------------------------------------------------------------------------------


def short_record(steps, seed):
    rng = np.random.default_rng(seed)
    u = rng.uniform(-1, 1, (steps, 1))
    past = np.concatenate([np.zeros((2, 1)), u])
    clean = 0.6 * np.tanh(2 * u) - 0.5 * past[1:-1] * u + 0.3 * past[:-2]
    return lddn.Sequences(u, clean + 0.1 * rng.standard_normal((steps, 1)))


def test_a_large_network_does_not_overfit():
    """Three hundred noisy steps and 301 parameters: no validation part, and still near the noise."""
    data, fresh = short_record(300, 0), short_record(3000, 1)
    found = {}
    for hidden, trainer in (
        (20, lddn.BayesianRegularization()),
        (50, lddn.BayesianRegularization()),
        (50, lddn.LevenbergMarquardt()),
    ):
        topology = declare("u:1", f"h:{hidden}:tanh y:1:linear", "u>h@0,1,2,3 h>y", "y")
        fitted = lddn.fit(lddn.Network(topology, key=jax.random.key(3)), data, MSE, trainer, epochs=70)
        error = diagnostics.rmse(fresh.targets, lddn.predict(fitted.net, fresh.inputs)["y"]) / 0.1
        found[hidden, type(trainer).__name__] = error, getattr(fitted.state, "gamma", None)
    assert found[50, "BayesianRegularization"][0] <= 1.1
    assert found[20, "BayesianRegularization"][0] <= 1.1
    assert found[50, "LevenbergMarquardt"][0] > 1.5
    few, many = (float(found[hidden, "BayesianRegularization"][1][0]) for hidden in (20, 50))
    assert many == pytest.approx(few, rel=0.15)


def test_both_updates_have_the_same_optimum(one_step):
    _, found, data = one_step
    trainer = lddn.BayesianRegularization(update="inner_converged", min_grad=0.0)
    fitted = lddn.fit(found.net, data, MSE, trainer, epochs=100)
    assert float(fitted.state.log_evidence) == pytest.approx(float(found.log_evidence), rel=1e-4)
    assert float(fitted.state.gamma[0]) == pytest.approx(float(found.gamma[0]), rel=1e-2)
    kept = np.mean(np.diff(fitted.history["alpha"]) == 0)
    assert 0.2 < kept < 1  # α waits for the inner minimum


def test_restarts_are_compared_by_evidence():
    data, topology = short_record(150, 0), declare("u:1", "h:4:tanh y:1:linear", "u>h@0,1,2 h>y", "y")
    net = lddn.Network(topology, key=jax.random.key(0))
    fitted = lddn.fit(net, data, MSE, lddn.BayesianRegularization(restarts=3), epochs=20)
    h = fitted.history
    last = [h.of(k)["log_evidence"][-1] for k in range(3)]
    assert fitted.best_restart == int(np.argmax(last))
    assert float(fitted.state.log_evidence) == max(last)


def test_what_is_recorded():
    net, data, X, y = linear_problem(seed=7)
    fitted = lddn.fit(net, data, MSE, lddn.BayesianRegularization(groups="delay"), epochs=3)
    h = fitted.history
    assert h["loss"][0] == pytest.approx(float(lddn.value_and_grad(MSE, net, data)[0]))
    assert h["E_D"][0] == pytest.approx(len(y) * h["loss"][0])
    names = {"beta", "gamma", "E_W", "log_evidence", "mu", "rejected", "settled", "floors", "gradient_norm"}
    assert names | {"alpha: u -> y delay 5", "gamma: u -> y delay 0"} <= set(h)
    total = sum(h[f"gamma: u -> y delay {d}"] for d in range(6))
    np.testing.assert_allclose(total, h["gamma"], rtol=1e-12)
    x = np.asarray(net.ravel()[0])
    alpha, beta = np.array([h[f"alpha: u -> y delay {d}"][0] for d in range(6)]), h["beta"][0]
    gradient = 2 * beta * X.T @ (X @ x - y) + 2 * alpha * x
    assert h["gradient_norm"][0] == pytest.approx(np.linalg.norm(gradient))


@pytest.mark.parametrize(
    ("reason", "settings", "layers"),
    [
        ("settled", {"tolerance": 1e-2}, "y:1:linear"),
        ("min_grad", {"min_grad": 1e9}, "y:1:linear"),
        ("mu_max", {"mu": 5e-3, "mu_max": 6e-3, "min_grad": 0.0, "tolerance": 0.0}, "h:3:tanh y:1:linear"),
        ("epochs", {"min_grad": 0.0, "tolerance": 0.0}, "y:1:linear"),
    ],
)
def test_it_says_why_it_stopped(reason, settings, layers):
    connections = "u>h@0,1 h>y" if "h:" in layers else "u>y@0,1"
    net = lddn.Network(declare("u:1", layers, connections, "y"), key=jax.random.key(0))
    trainer, epochs = lddn.BayesianRegularization(**settings), 2 if reason == "epochs" else 60
    fitted = lddn.fit(net, short_record(100, 0), MSE, trainer, epochs=epochs)
    assert fitted.stop_reason == reason
    assert STOP_REASONS[reason] in str(fitted)


def test_signals_far_from_unit_scale_are_warned_of(caplog):
    net, data, _, _ = linear_problem()
    trainer = lddn.BayesianRegularization()
    with caplog.at_level(logging.WARNING, "lddn_jax"):
        lddn.fit(net, data, SSE, trainer, epochs=1)
    assert not caplog.records
    lddn.fit(net, dataclasses.replace(data, targets=1000 * data.targets), SSE, trainer, epochs=1)
    assert "target 'y' has a root mean square" in caplog.text
    assert "lddn.data.MinMax.fit" in caplog.text


def test_what_it_cannot_train_on():
    net, data, _, _ = linear_problem()
    with pytest.raises(lddn.LDDNError, match=r"regularization=0.1.*MeanSquaredError\(\)"):
        lddn.fit(net, data, losses.MeanSquaredError(regularization=0.1), lddn.BayesianRegularization())
    with pytest.raises(lddn.LDDNError, match="Bayesian regularization needs a loss that is a sum of squares"):
        lddn.fit(net, data, losses.Huber(), lddn.BayesianRegularization())
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), net)
    with pytest.raises(lddn.PrecisionError, match=r"lddn.BayesianRegularization\(allow_float32=True\)"):
        lddn.fit(single, data, SSE, lddn.BayesianRegularization())
    fitted = lddn.fit(single, data, SSE, lddn.BayesianRegularization(allow_float32=True), epochs=5)
    assert fitted.net.dtype == fitted.state.beta.dtype == jnp.float32


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"update": "never"}, "every_step"),
        ({"mu": 0.0}, "mu=0.0"),
        ({"tolerance": -1.0}, "tolerance=-1.0"),
        ({"restarts": 0}, "restarts=0"),
        ({"start": 0.0}, "start=0.0"),
        ({"solver": "svd"}, "cholesky"),
    ],
    ids=str,
)
def test_senseless_settings(settings, words):
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.BayesianRegularization(**settings)


def test_senseless_groups():
    net, data, _, _ = linear_problem()
    with pytest.raises(lddn.LDDNError, match="groups='neuron' is unknown"):
        lddn.fit(net, data, SSE, lddn.BayesianRegularization(groups="neuron"))
    with pytest.raises(lddn.LDDNError, match=r"returned 3 for \(to, source, delay\)"):
        lddn.fit(net, data, SSE, lddn.BayesianRegularization(groups=lambda to, source, delay: 3))


def test_a_posterior_needs_alpha_and_beta():
    net, data, _, _ = linear_problem()
    fitted = lddn.fit(net, data, SSE, lddn.LevenbergMarquardt(), epochs=1)
    with pytest.raises(lddn.LDDNError, match=r"lddn.BayesianRegularization\(\)"):
        lddn.posterior(fitted, data)


# --- comparison, files, figures --------------------------------------------------------------------------------------


def test_evidence_compares_delays(tmp_path):
    """The truth reads delays 0 and 2; more of them fit better, and are paid for."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((300, 1))
    y = u - 0.8 * np.concatenate([np.zeros((2, 1)), u[:-2]]) + 0.2 * rng.standard_normal((300, 1))
    topologies = {str(n): fir(delays=tuple(range(n))) for n in (3, 9)}
    trainer = lddn.BayesianRegularization()
    found = lddn.compare(topologies, lddn.Sequences(u, y), trainer=trainer, held_out=lddn.Sequences(u, y))
    assert found.best.name == "3"
    assert found.best.held_out_rmse == pytest.approx(found.best.train_rmse)
    rows = found.to_dict()
    assert [row["parameters"] for row in rows] == [3, 9]
    assert rows[0]["train_rmse"] > rows[1]["train_rmse"]
    assert json.loads(json.dumps(rows)) == rows
    assert found.to_csv(tmp_path / "table.csv") == (tmp_path / "table.csv").read_text()
    line = next(line for line in str(found).splitlines() if line.startswith("3 "))
    assert line.endswith("<- largest evidence")


def test_a_comparison_needs_the_same_targets():
    u = np.random.default_rng(0).standard_normal((50, 1))
    trainer = lddn.BayesianRegularization()
    with pytest.raises(lddn.DataError, match=r"judged on 48 residuals and .* on 50; evidence"):
        lddn.compare(
            [fir(1), fir(delays=(2,))],
            lambda topology: lddn.windows(topology, u, u, 50 - max(topology.delays["y", "u"])),
            trainer=trainer,
            epochs=2,
        )
    with pytest.raises(lddn.LDDNError, match="no topology"):
        lddn.compare({}, lddn.Sequences(u, u))


def test_a_posterior_is_saved_and_comes_back(one_step, tmp_path):
    _, found, data = one_step
    lddn.save(tmp_path / "posterior.npz", found)
    again = lddn.load(tmp_path / "posterior.npz")
    assert again.groups == found.groups
    assert again.to_dict() == found.to_dict()
    np.testing.assert_array_equal(again.covariance, found.covariance)
    bars, same = (p.predict(jax.tree.map(lambda x: x[:50], data.inputs)) for p in (found, again))
    np.testing.assert_array_equal(same.std["y"], bars.std["y"])
    assert json.loads(json.dumps(found.to_dict()))["parameters"] == found.net.parameter_count
    assert "effective" in str(found)


def test_figures(one_step, delays_found):
    fitted, found, data = one_step
    axes = plots.evidence(fitted.history)
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), fitted.history["gamma"])
    bars = found.predict(data.inputs)
    time, (y, mean, std) = np.arange(1000), (np.asarray(x)[:, 0] for x in (data.targets, bars.mean["y"], bars.std["y"]))
    ax = plots.bands(time, y, mean, std, ylabel="y")
    top = ax.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(np.max(mean + 2 * std))
    chart = plots.relevance(lddn.relevance(delays_found[0][1]))
    assert len(chart.patches) == 2 * 11
    curve = plots.calibration(*diagnostics.calibration(y, mean, std))
    assert len(curve.lines[1].get_xdata()) == 19
    plt.close("all")
