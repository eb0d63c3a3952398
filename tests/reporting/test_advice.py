"""Every piece of advice is given where it is due, and nowhere else."""

import numpy as np
import pytest
from scipy.signal import lfilter

import lddn_jax as lddn
from lddn_jax import diagnostics
from lddn_jax.diagnostics import HypothesisTest, Score, Stability
from lddn_jax.reporting import advice
from lddn_jax.reporting.collect import collect
from lddn_jax.reporting.findings import diagnose

RNG = np.random.default_rng(0)
U, E = RNG.normal(size=(2, 600))


def crossed(shift, strength=1.0):
    return diagnostics.cross_correlation(U, strength * np.roll(U, shift) + E)


def score(rmse, nrmse=0.1):
    return Score(rmse, nrmse, rmse, 1 - nrmse**2, 100 * (1 - nrmse), 600)


def stability(exponent):
    return Stability(np.full(900, 1.1), np.array([exponent, -np.inf]), np.array(900), np.array(1e-3))


FALLING, FLAT = np.geomspace(1, 1e-6, 100), np.append(np.geomspace(1, 0.1, 20), np.full(80, 0.1))
WHITE, COLORED = (
    HypothesisTest("residuals are white", 20.0, 0.4, 20),
    HypothesisTest("residuals are white", 90.0, 1e-5, 20),
)
SURE = HypothesisTest("residuals are white", 2000.0, 0.0, 20)
OWN = diagnostics.autocorrelation(lfilter([1.0], [1.0, 0, -0.6], E))
ALTERNATING = diagnostics.autocorrelation(lfilter([1.0, -0.5], [1.0], E))

SAID = {
    "missing delay": (
        lambda: advice.about_input(crossed(3), "current", "y", {1, 2}),
        "current at lag 3",
        "try delay 3",
    ),
    "delay is there": (lambda: advice.about_input(crossed(3), "u", "y", {1, 3}), "reads that delay", "hidden neurons"),
    "feedback": (lambda: advice.about_input(crossed(-4), "u", "y", {1}), "u 4 steps later", "controller"),
    "not white": (lambda: advice.about_whiteness(COLORED, OWN, "y", {1}), "p = 1e-05", "Try feedback delay 2"),
    "noise of the sensor": (
        lambda: advice.about_whiteness(COLORED, ALTERNATING, "y", {1}, by_noise=True),
        "measurement noise",
        "evaluate the model by its free run",
    ),
    "a slow rest": (
        lambda: advice.about_whiteness(COLORED, OWN, "y", {1, 2}),
        "reads that delay",
        "feedback delay 3 too, more hidden neurons",
    ),
    "white surely": (lambda: advice.about_whiteness(SURE, OWN, "y", {1, 2}), "p < 1e-12", "reads that delay"),
    "not Gaussian": (lambda: advice.about_normality(COLORED, "y"), "not Gaussian", "outliers"),
    "states miss an input": (
        lambda: advice.about_input(crossed(3), "u", "y", {1}, simulates=True),
        "misses a part of the effect of u",
        "more states",
    ),
    "states of a bad run": (
        lambda: advice.about_free_run(score(0.6, 0.6), {"loss": FLAT}, simulates=True),
        "misses 60 %",
        "Try more states or hidden neurons",
    ),
    "states diverge": (
        lambda: advice.about_divergence("free run", 7, {"loss": FLAT}, simulates=True),
        "diverged at step 7",
        "Try more states or hidden neurons",
    ),
    "conformal bands miss": (
        lambda: advice.about_bands(0.6, "y", 0.9),
        "90 % bands of y contain only 60 %",
        "Train on more of them",
    ),
    "conformal bands beyond training": (
        lambda: advice.about_bands(0.6, "y", 0.9, extrapolates=True),
        "leaves the training range",
        "cover this range",
    ),
    "narrow bands": (lambda: advice.about_coverage(0.7, "y"), "y is 70 %, nominal 95 %", "too narrow"),
    "wide bands": (lambda: advice.about_coverage(1.0, "y", nominal=0.9), "100 %, nominal 90 %", "too wide"),
    "divergence": (
        lambda: advice.about_divergence("free run", 7, {"loss": FLAT}),
        "'free run' diverged at step 7",
        "growing horizons",
    ),
    "divergence after the whole record": (
        lambda: advice.about_divergence("free run", 7, {"loss": FLAT, "horizon": [np.nan] * 100}),
        "'free run' diverged at step 7",
        "Bayesian regularization",
    ),
    "instability": (lambda: advice.about_stability(stability(np.log(1.02))), "grows by 2.0 % per step", "unstable"),
    "doubling": (lambda: advice.about_stability(stability(900.0)), "a factor of 5.185e+21 per step", "unstable"),
    "persistence": (lambda: advice.about_persistence(score(2.0), score(1.0)), "RMSE 2", "Train longer"),
    "persistence of one of several": (
        lambda: advice.about_persistence(score(2.0), score(1.0), output="y3"),
        "the network predicts y3 (RMSE 2) no better than repeating",
        "check the delays",
    ),
    "free run of one of several": (
        lambda: advice.about_free_run(score(1.0, 0.8), {"loss": FLAT}, output="y3"),
        "The free run of y3 misses 80 %",
        "growing horizons",
    ),
    "linear": (
        lambda: advice.about_linear(score(2.0), score(1.0)),
        "no better than that of a linear model (1)",
        "longer",
    ),
    "linear outside": (
        lambda: advice.about_linear(score(2.0), score(1.0), extrapolates=True, output="y3"),
        "The free run of y3 (RMSE 2)",
        "use the linear model outside",
    ),
    "persistence outside": (
        lambda: advice.about_persistence(score(2.0), score(1.0), extrapolates=True),
        "repeating the last measurement (1)",
        "cover this range",
    ),
    "free run": (lambda: advice.about_free_run(score(1.0, 0.8), {"loss": FLAT}), "misses 80 %", "growing horizons"),
    "bad free run": (
        lambda: advice.about_free_run(score(1.0, 2e7), {"loss": []}),
        "worse than the mean of the record (NRMSE 2e+07)",
        "other delays",
    ),
    "free run outside": (
        lambda: advice.about_free_run(score(1.0, 0.8), {"loss": []}, extrapolates=True),
        "because it extrapolates",
        "cover this range",
    ),
    "not finite": (lambda: advice.about_stop("non_finite", {"loss": []}), "became NaN or infinite", "learning rate"),
    "unfinished": (lambda: advice.about_stop("epochs", {"loss": FALLING}), "fell by 72 %", "more epochs"),
}

SILENT = {
    "white residuals": lambda: advice.about_input(diagnostics.cross_correlation(U, E), "u", "y", {1}),
    "weak correlation": lambda: advice.about_input(crossed(3, 0.05), "u", "y", {1}),
    "white": lambda: advice.about_whiteness(WHITE, OWN, "y"),
    "Gaussian": lambda: advice.about_normality(WHITE, "y"),
    "conformal bands": lambda: advice.about_bands(0.86, "y", 0.9),
    "wide conformal bands": lambda: advice.about_bands(1.0, "y", 0.9),
    "right bands": lambda: advice.about_coverage(0.93, "y"),
    "stable": lambda: advice.about_stability(stability(-0.01)),
    "not known to be stable": lambda: advice.about_stability(stability(np.nan)),
    "better than persistence": lambda: advice.about_persistence(score(0.5), score(1.0)),
    "better than linear": lambda: advice.about_linear(score(0.5), score(1.0)),
    "good free run": lambda: advice.about_free_run(score(1.0, 0.3), {"loss": []}),
    "diverged free run": lambda: advice.about_free_run(score(np.inf, np.inf), {"loss": []}),
    "a measurement that stands still": lambda: advice.about_persistence(score(1e-9), score(0.0)),
    "converged": lambda: advice.about_stop("epochs", {"loss": FLAT}),
    "stopped itself": lambda: advice.about_stop("min_grad", {"loss": FALLING}),
    "hardly begun": lambda: advice.about_stop("epochs", {"loss": FALLING[:9]}),
    "another horizon": lambda: advice.about_stop("epochs", {"loss": FALLING, "horizon": [1.0] * 95 + [np.nan] * 5}),
}


@pytest.mark.parametrize(("call", "diagnosis", "remedy"), SAID.values(), ids=SAID)
def test_it_is_said(call, diagnosis, remedy):
    sentence = call()
    assert diagnosis in sentence
    assert remedy in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("call", SILENT.values(), ids=SILENT)
def test_it_is_not_said(call):
    assert call() is None


@pytest.mark.parametrize("about", [name for name in vars(advice) if name.startswith("about_")])
def test_every_advice_is_tested(about):
    assert any(about in call.__code__.co_names for call, *_ in SAID.values())


def test_noise_is_warned_of_as_rarely_as_stated():
    draws = np.random.default_rng(1).normal(size=(400, 2, 300))
    said = sum(advice.about_input(diagnostics.cross_correlation(u, e), "u", "y", ()) is not None for u, e in draws)
    assert said <= 10  # 1 % of 400 are 4; 10 is the 99.7 % quantile of that binomial


# ---- all of it together ----------------------------------------------------------------------------------------------


def linear(theta, noise=0.0, sensor=0.0, steps=900, delay=1):
    """Data of y(t) = Σ θ(d) y(t−d) + u(t−delay) + noise, measured by a sensor."""
    draw = np.random.default_rng(3).normal
    u, y = draw(size=steps), np.zeros(steps)
    for t in range(max(len(theta), delay), steps):
        y[t] = sum(a * y[t - d - 1] for d, a in enumerate(theta)) + u[t - delay] + noise * draw()
    return u, y + sensor * draw(size=steps)


def narx(theta, names=("u", "y"), delay=1):
    """The linear NARX model y(t) = Σ θ(d) y(t−d) + u(t−delay), with scalers that change nothing."""
    u, y = names
    delays = tuple(range(1, len(theta) + 1))
    topology = lddn.Topology(
        [lddn.Input(u, 1), lddn.Input(f"measured_{y}", 1)],
        [lddn.Layer(y, 1, "linear")],
        [lddn.Connection(u, y, (delay,)), lddn.Connection(f"measured_{y}", y, delays)],
        [y],
    )
    weights = {(y, u): np.ones((1, 1, 1)), (y, f"measured_{y}"): np.reshape(theta, (-1, 1, 1))}
    net = lddn.Network(topology, init="zeros").with_weights(IW=weights)
    wide = lddn.data.MinMax.fit(np.array([[-50.0], [50.0]]), -50.0, 50.0)
    return lddn.Scaled(net, dict.fromkeys((u, y, f"measured_{y}"), wide))


def advised(model, u, y, names=("u", "y")):
    record = lddn.data.Record({names[0]: u[:, None]}, {names[1]: y[:, None]})
    known = collect(model, record)
    return " ".join(advice.advise(known, diagnose(known)))


THIRD = (1.8, -1.2, 0.3)


def test_a_name_with_brackets_keeps_its_delays():
    """A delay that the network reads is not to be added."""
    names = ("T [C]", "flow [m/s]")
    said = advised(narx((0.5,), names), *linear((0.5,), noise=0.1, delay=2), names)
    assert "correlate with T [C] at lag 1" in said
    assert "although the network reads that delay" in said
    read = advice.delays_read(narx((0.5,), names, delay=3).net.topology)
    assert (read["T [C]"], read["flow [m/s]"]) == ({3}, {1})
    assert advice.delays_read(lddn.models.narx({"u": 1}, {"y": 2}))["y[1]"] == {1, 2}


def test_noise_of_a_sensor_is_known_by_its_free_run():
    said = advised(narx((1.2, -0.5)), *linear((1.2, -0.5), sensor=0.5))
    assert "as expected from measurement noise" in said
    assert "not larger, so a larger network would not help" in said


def test_a_missing_feedback_delay_is_no_noise():
    """Residuals that a third delay explains are negatively correlated, too, and the free run is not worse."""
    said = advised(narx(THIRD[:2]), *linear(THIRD, noise=0.1))
    assert "noise" not in said
    assert "feedback delay 3" in said


def test_a_useless_model_is_not_told_of_its_residuals():
    u, y = linear((0.5,))
    said = advised(narx((-0.9,)), u, 5 + y)
    assert "worse than the mean" in said
    assert "not white" not in said


def test_a_perfect_model_is_told_nothing():
    u, y = linear((1.2, -0.5))
    assert advised(narx((1.2, -0.5)), u, y + 1e-9 * np.cumsum(u)) == ""


def test_causes_come_before_symptoms():
    u, y = linear((1.2, -0.5), noise=0.1)
    said = advised(narx((1.2, -0.5)), u + np.where(np.arange(900) > 300, 100, 0), y)
    places = [
        said.index(words) for words in ("The input u leaves", "no better than repeating", "The free run is worse")
    ]
    assert places == sorted(places)
    assert said.count("because it extrapolates") == 2
    assert "Residuals" not in said


def test_an_output_that_stands_still_is_said_and_its_scores_are_not():
    said = advised(narx((0.5,)), np.zeros(60), np.full(60, 1.5))
    assert "The measured y is 1.5 all through the record" in said
    assert "repeating the last measurement (" not in said
