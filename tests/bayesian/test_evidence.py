"""The evidence framework: exact where theory is exact, and γ within its range."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from bayesian_records import MSE, SSE, fir, linear_problem
from networks import BY_NAME, declare
from sklearn.linear_model import BayesianRidge
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.bayesian import evidence
from lddn_jax.bayesian.evidence import Strengths
from lddn_jax.bayesian.groups import LABELS, Groups
from lddn_jax.bayesian.posterior import Posterior

EXACT = {"tolerance": 1e-13, "min_grad": 0.0}  # iterated until nothing moves


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


# --- exact where theory is exact --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    in_tiers(
        {"plain": {}} | {str(s): s for s in ({"solver": "qr"}, {"damping": "nielsen"}, {"update": "inner_converged"})},
        fast=["plain"],
    ),
)
def test_a_linear_layer_is_the_closed_form(settings):
    net, data, X, y = linear_problem()
    fitted = lddn.fit(net, data, SSE, lddn.BayesianRegularization(**EXACT, **settings))
    assert fitted.stop_reason == "converged"
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


@pytest.mark.parametrize("solver", in_tiers(["cholesky", "qr"], fast=["qr"]))
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


@pytest.mark.parametrize("groups", ["all", "delay"])
def test_the_covariance_is_the_inverse_of_the_hessian(groups):
    """H = 2β XᵀWX + 2A."""
    net, data, X, _ = linear_problem(seed=3, steps=20)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    groups = Groups.of(net.topology, groups)
    strengths = Strengths(jnp.linspace(0.3, 2.0, len(groups.labels)), jnp.asarray(4.0))
    found = Posterior.at(net, dataclasses.replace(data, weights=weights.reshape(2, 20, 1)), strengths, groups)
    H = 2 * 4.0 * X.T @ (weights[:, None] * X) + 2 * np.diag(groups.spread(strengths.alpha))
    np.testing.assert_allclose(found.covariance @ H, np.eye(len(H)), rtol=0, atol=1e-12)


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


# --- the effective number of parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "low", "high"),
    [
        pytest.param(1e-6, 5.999999, 6.0, marks=pytest.mark.deep),
        pytest.param(0.1, 5.9, 6.0, marks=pytest.mark.deep),
        (3.0, 3.0, 5.9),
        (30.0, 0.0, 1e-3),
    ],
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
        pytest.param("copies", "cholesky", "all", marks=pytest.mark.deep),
        ("copies", "cholesky", "delay"),
        pytest.param("copies", "qr", "delay", marks=pytest.mark.deep),
        pytest.param("idle", "cholesky", "connection", marks=pytest.mark.deep),
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


# --- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", LABELS)
@pytest.mark.parametrize("name", ["awkward", "loops-in-series"])  # the second declares its layers out of order
def test_groups_follow_the_order_of_parameters(name, groups):
    net = BY_NAME[name].net
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
