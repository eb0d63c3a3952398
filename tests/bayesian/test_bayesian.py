"""Training by Bayesian regularization: what it reaches, why it stops, and what it records."""

import dataclasses
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bayesian_records import MSE, SSE, linear_problem, one_step, short_record
from networks import declare

import lddn_jax as lddn
from lddn_jax import diagnostics, losses
from lddn_jax.training.stop_reason import StopReason


@pytest.mark.deep
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


@pytest.mark.deep
def test_both_updates_have_the_same_optimum():
    _, found, data = one_step(1000, epochs=1000)
    trainer = lddn.BayesianRegularization(update="inner_converged", min_grad=0.0)
    fitted = lddn.fit(found.net, data, MSE, trainer, epochs=100)
    assert float(fitted.state.log_evidence) == pytest.approx(float(found.log_evidence), rel=1e-4)
    assert float(fitted.state.gamma[0]) == pytest.approx(float(found.gamma[0]), rel=1e-2)
    kept = np.mean(np.diff(fitted.history["alpha"]) == 0)
    assert 0.2 < kept < 1  # α waits for the inner minimum


@pytest.mark.deep
def test_restarts_are_compared_by_evidence():
    data, topology = short_record(150, 0), declare("u:1", "h:4:tanh y:1:linear", "u>h@0,1,2 h>y", "y")
    net = lddn.Network(topology, key=jax.random.key(0))
    fitted = lddn.fit(net, data, MSE, lddn.BayesianRegularization(restarts=3), epochs=20)
    h = fitted.history
    last = [h.of(k)["log_evidence"][-1] for k in range(3)]
    assert fitted.best_restart == int(np.argmax(last))
    assert float(fitted.state.log_evidence) == max(last)


def test_a_re_estimate_is_that_of_the_network_reached():
    """γ, the evidence and the next α and β after one step, by NumPy; μ is as large as JᵀJ here, and no part of H."""
    net, data, X, y = linear_problem(seed=9)
    fitted = lddn.fit(net, data, SSE, lddn.BayesianRegularization(mu=50.0), epochs=1)
    alpha, beta, x = fitted.history["alpha"][0], fitted.history["beta"][0], np.asarray(fitted.net.ravel()[0])
    (N, P), E_D, E_W = X.shape, np.sum((y - X @ x) ** 2), x @ x
    H = 2 * beta * X.T @ X + 2 * alpha * np.eye(P)
    gamma = P - 2 * alpha * np.trace(np.linalg.inv(H))
    log_evidence = N / 2 * np.log(beta / np.pi) + P / 2 * np.log(2 * alpha) - beta * E_D - alpha * E_W
    log_evidence -= np.linalg.slogdet(H)[1] / 2
    assert fitted.history["rejected"][0] == 0
    np.testing.assert_allclose(fitted.state.gamma, [gamma], rtol=1e-10)
    np.testing.assert_allclose(fitted.state.log_evidence, log_evidence, rtol=1e-10)
    np.testing.assert_allclose(fitted.state.alpha, [gamma / (2 * E_W)], rtol=1e-10)
    np.testing.assert_allclose(fitted.state.beta, (N - gamma) / (2 * E_D), rtol=1e-10)


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
        ("converged", {"tolerance": 1e-2}, "y:1:linear"),
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
    assert StopReason(reason).meaning in str(fitted)


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
    with pytest.raises(lddn.LDDNError, match="BayesianRegularization needs a loss that is a sum of squares"):
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
