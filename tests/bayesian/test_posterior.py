"""The posterior: noise and error bars, draws, files and figures."""

import json

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from bayesian_records import MSE, NOISE, SSE, linear_problem, noisy_loop, one_step
from networks import declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import diagnostics, losses, plots
from lddn_jax.bayesian.evidence import Strengths
from lddn_jax.bayesian.groups import Groups
from lddn_jax.bayesian.posterior import Posterior


@pytest.fixture(scope="module")
def trained():
    """A network that was trained for a while on a short record, its posterior, and the record."""
    return one_step(150, epochs=20)


@pytest.mark.deep
def test_noise_and_bands_are_those_of_fresh_data():
    fitted, found, _ = one_step(1000, epochs=1000)
    fresh = noisy_loop(1, 4000)
    assert float(1 / (2 * fitted.state.beta)) == pytest.approx(NOISE**2, rel=0.1)
    bars = found.predict(fresh.inputs)
    y, mean, std = (np.asarray(x)[2:] for x in (fresh.targets, bars.mean["y"], bars.std["y"]))
    assert 0.93 <= diagnostics.coverage(y, mean, std) <= 0.97
    nominal, observed = diagnostics.calibration(y, mean, std)
    np.testing.assert_allclose(observed, nominal, atol=0.05)
    assert np.all(np.asarray(bars.parameters["y"])[2:] < std)
    assert np.all(std >= NOISE * 0.9)


@pytest.mark.deep
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


@pytest.mark.parametrize("method", in_tiers({"RTRL": None, "BPTT": lddn.BPTT()}, fast=["RTRL"]))
def test_error_bars_in_a_loop_are_those_of_the_whole_jacobian(trained, method):
    _, found, data = trained
    closed = found.close_loop(output="y", input="measured_y")
    u, y = data.inputs["u"][:40], data.targets[:40]
    inputs, state = {"u": u[2:]}, {"u": u[:2], "y": y[:2]}
    bars = closed.predict(inputs, state, method=method)
    np.testing.assert_allclose(bars.parameters["y"], dense_spread(closed, inputs, state), rtol=1e-8)
    np.testing.assert_allclose(bars.mean["y"], lddn.predict(closed.net, inputs, state)["y"], rtol=1e-12)
    one = found.predict({"u": u, "measured_y": y})
    # The first step of a free run reads what a step with the loop open reads.
    np.testing.assert_allclose(bars.parameters["y"][0], one.parameters["y"][2], rtol=1e-9)


def test_a_loop_that_is_closed_and_opened_again_has_the_same_posterior(trained):
    _, found, _ = trained
    closed = found.close_loop(output="y", input="measured_y")
    again = closed.open_loop(output="y", input="measured_y")
    assert again.net.topology == found.net.topology
    np.testing.assert_array_equal(again.covariance, found.covariance)
    assert again.groups.members == found.groups.members
    names, moved = found.net.parameter_names(), closed.net.parameter_names()
    there = [moved.index(name.replace("IW['hidden', 'measured_y']", "LW['hidden', 'y']")) for name in names]
    np.testing.assert_allclose(np.asarray(closed.covariance)[np.ix_(there, there)], found.covariance, rtol=1e-12)


def test_a_loop_that_is_closed_keeps_the_covariance_of_each_pair_of_weights():
    """Weights of the loop come after those of the hidden layer then, and no weight gets the variance of another."""
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
    u, y = jax.random.normal(jax.random.key(1), (2, 40, 1))
    data, groups = lddn.Sequences({"u": u, "measured_y": y}, y), Groups.of(net.topology, "delay")
    strengths = Strengths(jnp.linspace(0.3, 2.0, len(groups.labels)), jnp.asarray(4.0))
    found = Posterior.at(net, data, strengths, groups)
    closed = found.close_loop(output="y", input="measured_y")
    names, moved = net.parameter_names(), closed.net.parameter_names()
    there = [moved.index(name.replace("IW['hidden', 'measured_y']", "LW['hidden', 'y']")) for name in names]
    assert there != list(range(len(names)))
    np.testing.assert_array_equal(np.asarray(closed.covariance)[np.ix_(there, there)], found.covariance)
    alpha, before = closed.groups.spread(strengths.alpha), groups.spread(strengths.alpha)
    np.testing.assert_array_equal(alpha[np.array(there)], before)


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


@pytest.mark.deep
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


# --- files and figures ------------------------------------------------------------------------------------------------


def test_a_posterior_is_saved_and_comes_back(trained, tmp_path):
    _, found, data = trained
    lddn.save(tmp_path / "posterior.npz", found)
    again = lddn.load(tmp_path / "posterior.npz")
    assert again.groups == found.groups
    assert again.to_dict() == found.to_dict()
    np.testing.assert_array_equal(again.covariance, found.covariance)
    bars, same = (p.predict(jax.tree.map(lambda x: x[:50], data.inputs)) for p in (found, again))
    np.testing.assert_array_equal(same.std["y"], bars.std["y"])
    assert json.loads(json.dumps(found.to_dict()))["parameters"] == found.net.parameter_count
    assert "effective" in str(found)


def test_figures(trained):
    fitted, found, data = trained
    axes = plots.evidence(fitted.history)
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), fitted.history["gamma"])
    bars = found.predict(data.inputs)
    time, (y, mean, std) = (
        np.arange(data.steps),
        (np.asarray(x)[:, 0] for x in (data.targets, bars.mean["y"], bars.std["y"])),
    )
    ax = plots.bands(time, y, mean, std, ylabel="y")
    top = ax.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(np.max(mean + 2 * std))
    curve = plots.calibration(*diagnostics.calibration(y, mean, std))
    assert len(curve.lines[1].get_xdata()) == 19
    plt.close("all")
