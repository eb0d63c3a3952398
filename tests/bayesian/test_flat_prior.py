"""Priors that pull elsewhere than to zero, and parameters without a prior."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from bayesian_records import MSE, SSE, fir, linear_problem
from networks import declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.bayesian.evidence import Strengths
from lddn_jax.bayesian.groups import Groups
from lddn_jax.bayesian.posterior import Posterior

EXACT = {"tolerance": 1e-13, "min_grad": 0.0}  # iterated until nothing moves
MEAN = np.array([0.9, -0.5, 0.6, 0.1, -1.0, 0.5])
FREE = np.array([1, 4])  # the delays that have no prior
EXCLUDE = (("y", "u", 1), ("y", "u", 4))
SOLVERS = in_tiers(["cholesky", "qr"], fast=["cholesky", "qr"])


def with_weights(weights) -> lddn.Network:
    net = lddn.Network(fir(len(weights)), init="zeros")
    return net.with_weights(IW={("y", "u"): np.reshape(weights, (-1, 1, 1))})


def fixed_point(X, y, mean, free, rounds=3000):
    """The equations of MacKay with one α, none for `free`, and H inverted as it is."""
    N, P = X.shape
    bound = np.setdiff1d(np.arange(P), free)
    alpha, beta = 1.0, 1.0
    for _ in range(rounds):
        A = np.zeros(P)
        A[bound] = alpha
        H = 2 * beta * X.T @ X + 2 * np.diag(A)
        x = np.linalg.solve(H, 2 * beta * X.T @ y + 2 * A * mean)
        gamma = len(bound) - 2 * alpha * np.trace(np.linalg.inv(H)[np.ix_(bound, bound)])
        E_D, E_W = np.sum((y - X @ x) ** 2), np.sum((x - mean)[bound] ** 2)
        alpha, beta = gamma / (2 * E_W), (N - gamma - len(free)) / (2 * E_D)
    log_evidence = -beta * E_D - alpha * E_W - np.linalg.slogdet(H)[1] / 2
    log_evidence += (
        len(bound) / 2 * np.log(2 * alpha) + N / 2 * np.log(beta / np.pi) + len(free) / 2 * np.log(2 * np.pi)
    )
    return {"alpha": alpha, "beta": beta, "gamma": gamma, "x": x, "H": H, "log_evidence": log_evidence}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("free", [[], FREE], ids=["all have a prior", "two have none"])
def test_a_linear_layer_is_the_closed_form(solver, free):
    """A prior around other weights, with and without parameters that have none; `mean` is not used for those."""
    net, data, X, y = linear_problem(seed=5, noise=1.0)
    trainer = lddn.BayesianRegularization(
        prior_mean=with_weights(MEAN), exclude=EXCLUDE if len(free) else (), solver=solver, **EXACT
    )
    fitted = lddn.fit(net, data, SSE, trainer)
    assert fitted.stop_reason == "converged"
    found, expected = lddn.posterior(fitted, data), fixed_point(X, y, MEAN, np.asarray(free, int))
    np.testing.assert_allclose(found.strengths.alpha[0], expected["alpha"], rtol=1e-8)
    np.testing.assert_allclose(found.strengths.beta, expected["beta"], rtol=1e-8)
    np.testing.assert_allclose(found.gamma[0], expected["gamma"], rtol=1e-8)
    np.testing.assert_allclose(found.net.ravel()[0], expected["x"], rtol=1e-8)
    np.testing.assert_allclose(found.covariance @ expected["H"], np.eye(6), rtol=0, atol=1e-8)
    for log_evidence in (found.log_evidence, fitted.state.log_evidence, fitted.history["log_evidence"][-1]):
        np.testing.assert_allclose(log_evidence, expected["log_evidence"], rtol=1e-8)
    if len(free):
        assert found.groups.labels == ("all", "no prior")
        np.testing.assert_array_equal(found.strengths.alpha[1], 0)
        np.testing.assert_allclose(found.gamma[1], 2, rtol=1e-12)
        np.testing.assert_array_equal(fitted.history["gamma: no prior"], 2)
        assert "alpha: no prior" not in fitted.history


def test_around_other_weights_is_around_zero_for_what_they_leave():
    net, data, X, y = linear_problem(seed=6)
    left = dataclasses.replace(data, targets={"y": jnp.reshape(y - X @ MEAN, (2, -1, 1))})
    around = lddn.posterior(
        lddn.fit(net, data, SSE, lddn.BayesianRegularization(prior_mean=with_weights(MEAN), **EXACT)), data
    )
    zero = lddn.posterior(lddn.fit(net, left, SSE, lddn.BayesianRegularization(**EXACT)), left)
    np.testing.assert_allclose(around.net.ravel()[0] - MEAN, zero.net.ravel()[0], rtol=1e-7)
    np.testing.assert_allclose(around.E_W, zero.E_W, rtol=1e-7)
    np.testing.assert_allclose(around.log_evidence, zero.log_evidence, rtol=1e-9)


STRENGTHS = Strengths(jnp.array([0.8, 0.0]), jnp.asarray(4.0))


def test_no_prior_is_the_limit_of_a_wide_one():
    """y is Gaussian with covariance X A⁻¹Xᵀ/2 + 1/(2β); a flat density of 1 is a wide Gaussian, times its width."""
    net, data, X, y = linear_problem(seed=3, steps=20)
    groups, wide = Groups.of(net.topology, "all", EXCLUDE), 1e-7
    narrow = np.where(np.isin(np.arange(6), FREE), 0, 0.8)
    x = np.linalg.solve(4.0 * X.T @ X + np.diag(narrow), 4.0 * X.T @ y)
    A = np.where(narrow > 0, narrow, wide)
    found = Posterior.at(with_weights(x), data, STRENGTHS, groups)
    marginal = X @ np.diag(1 / (2 * A)) @ X.T + np.eye(len(y)) / 8
    expected = scipy.stats.multivariate_normal(np.zeros(len(y)), marginal).logpdf(y) + np.log(np.pi / wide)
    np.testing.assert_allclose(found.log_evidence, expected, rtol=1e-6)  # the wide prior is not yet flat


@pytest.mark.parametrize("part", ["alpha", "beta"])
def test_the_evidence_is_stationary_where_training_ends(part):
    net, data, _, _ = linear_problem(seed=4)
    trainer = lddn.BayesianRegularization(prior_mean=with_weights(MEAN), exclude=EXCLUDE, **EXACT)
    found = lddn.posterior(lddn.fit(net, data, SSE, trainer), data)

    def at(change):
        a, b = (change, 0.0) if part == "alpha" else (0.0, change)
        strengths = Strengths(found.strengths.alpha * np.exp(a), found.strengths.beta * np.exp(b))
        at = Posterior.at(found.net, data, strengths, found.groups, prior_mean=found.prior_mean)
        return float(at.log_evidence)

    assert abs(at(1e-4) - at(-1e-4)) / 2e-4 < 1e-6
    assert at(0) > max(at(0.1), at(-0.1))


@pytest.mark.parametrize("solver", SOLVERS)
def test_directions_that_nothing_determines_are_left_out(solver):
    """An excluded input that repeats another one: error bars and evidence are those of one input."""
    _, data, _, _ = linear_problem(seed=7)
    u = np.asarray(data.inputs)
    twice = lddn.Topology(
        [lddn.Input("u", 1), lddn.Input("v", 1)],
        [lddn.Layer("y", 1, "linear", bias=False)],
        [lddn.Connection("u", "y", (0, 1, 2, 3)), lddn.Connection("v", "y", (1,))],
        ["y"],
    )
    both = lddn.Sequences({"u": u, "v": u}, data.targets)
    once = lddn.Sequences({"u": u}, data.targets)
    settings = {"solver": solver, "tolerance": 1e-11, "min_grad": 0.0}
    pair = lddn.BayesianRegularization(exclude=[("y", "u", 1), ("y", "v")], **settings)
    single = lddn.BayesianRegularization(exclude=[("y", "u", 1)], **settings)
    found = lddn.posterior(lddn.fit(lddn.Network(twice, key=jax.random.key(0)), both, SSE, pair), both)
    alone = lddn.posterior(lddn.fit(lddn.Network(fir(4), key=jax.random.key(0)), once, SSE, single), once)
    np.testing.assert_allclose(found.gamma, alone.gamma, rtol=1e-6)
    assert float(found.gamma[1]) == 1
    np.testing.assert_allclose(found.strengths.beta, alone.strengths.beta, rtol=1e-6)
    bars, expected = found.predict(both.inputs), alone.predict(once.inputs)
    np.testing.assert_allclose(bars.mean["y"], expected.mean["y"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(bars.parameters["y"], expected.parameters["y"], rtol=1e-5)


# --- around a linear model --------------------------------------------------------------------------------------------

NONLINEAR = declare("u:1", "h:4:tanh y:1:linear", "u>h@0,1 u>y@0,1 h>y", "y")
LINEAR_PART = [("y", "u"), "y"]


@pytest.fixture(scope="module")
def linear_record():
    """A linear system with large weights, and noise."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((60, 1))
    X = np.column_stack([u, np.concatenate([[[0.0]], u[:-1]]), np.ones((60, 1))])
    y = X @ np.array([2.0, -3.0, 1.5]) + 0.3 * rng.standard_normal(60)
    return lddn.Sequences(u, y[:, None]), X, y


def test_a_linear_path_without_prior_is_not_pulled_to_zero(linear_record):
    """The hidden layer vanishes, and least squares is left."""
    data, X, y = linear_record
    net = lddn.Network(NONLINEAR, key=jax.random.key(0))
    trainer = lddn.BayesianRegularization(exclude=LINEAR_PART, groups="connection")
    fitted = lddn.fit(net, data, MSE, trainer, epochs=200)
    found, least = lddn.posterior(fitted, data), np.linalg.lstsq(X, y)[0]
    gamma = dict(zip(found.groups.labels, np.asarray(found.gamma), strict=True))
    assert gamma["no prior"] == pytest.approx(3)
    assert gamma["h -> y"] < 0.2
    weights = np.append(found.net.IW["y", "u"].ravel(), found.net.b["y"])
    np.testing.assert_allclose(weights, least, rtol=0.01)
    rows = lddn.relevance(found).rows
    assert {row.name for row in rows if np.isinf(row.scale)} == {"u -> y delay 0", "u -> y delay 1", "bias of y"}
    assert all(row.determined == 1 for row in rows if np.isinf(row.scale))
    lddn.plots.relevance(rows)


@pytest.mark.parametrize("restarts", [1, 2])
def test_it_resumes_and_is_saved(linear_record, tmp_path, restarts):
    data, _, _ = linear_record
    net = lddn.Network(NONLINEAR, key=jax.random.key(0))
    trainer = lddn.BayesianRegularization(exclude=LINEAR_PART, prior_mean=net, restarts=restarts)
    lddn.save(tmp_path / "half.npz", lddn.fit(net, data, MSE, trainer, epochs=2))
    whole = lddn.fit(net, data, MSE, trainer, epochs=4)
    again = lddn.fit(net, data, MSE, trainer, epochs=4, resume=tmp_path / "half.npz")
    jax.tree.map(np.testing.assert_array_equal, again.state, whole.state)
    lddn.save(tmp_path / "whole.npz", again)
    found = lddn.posterior(lddn.load(tmp_path / "whole.npz"), data)
    np.testing.assert_allclose(found.log_evidence, whole.state.log_evidence, rtol=0.2)
    np.testing.assert_array_equal(found.prior_mean, net.ravel()[0])
    lddn.save(tmp_path / "posterior.npz", found)
    loaded = lddn.load(tmp_path / "posterior.npz")
    assert loaded.groups == found.groups
    np.testing.assert_array_equal(loaded.prior_mean, found.prior_mean)
    np.testing.assert_array_equal(loaded.root, found.root)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"exclude": [("y", "v")]}, r"\('y', 'v'\) is no bias.*it has \('h', 'u'\)"),
        ({"exclude": "y"}, r"exclude=\('y',\)"),
        ({"exclude": 3}, "exclude=3: needed are connections"),
        ({"exclude": lambda to, source, delay: True}, "leaves no parameter with a prior"),
        ({"exclude": ["y"], "groups": lambda *_: "no prior"}, "name this one otherwise"),
        ({"prior_mean": with_weights(MEAN)}, "prior_mean has another topology.*carry_over"),
        ({"prior_mean": 0.0}, r"prior_mean=net"),
    ],
    ids=["unknown", "text", "number", "everything", "reserved", "topology", "no network"],
)
def test_what_is_no_prior(linear_record, settings, words):
    net = lddn.Network(NONLINEAR, key=jax.random.key(0))
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.fit(net, linear_record[0], MSE, lddn.BayesianRegularization(**settings), epochs=1)


@pytest.mark.parametrize(
    "exclude",
    [[("y", "u"), "y"], {("y", "u"): 0, ("y", None): 0}.keys(), lambda to, source, delay: to == "y" and source != "h"],
    ids=["list", "keys", "function"],
)
def test_forms_of_what_is_excluded(exclude):
    groups = Groups.of(NONLINEAR, "all", lddn.BayesianRegularization(exclude=exclude).exclude)
    without = {groups.taps[k] for k, group in enumerate(groups.of_taps) if group == groups.flat}
    assert without == {("y", "u", 0), ("y", "u", 1), ("y", None, None)}
    assert groups.sizes.tolist() == [16, 3]
