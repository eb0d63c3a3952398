"""Every piece of advice is given where it is due, and nowhere else."""

import numpy as np
import pytest
from scipy.signal import lfilter

from lddn_jax import diagnostics
from lddn_jax.diagnostics import HypothesisTest, Score, Stability
from lddn_jax.reporting import advice

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
        lambda: advice.about_whiteness(COLORED, ALTERNATING, "y", {1}, free_run_as_good=True),
        "measurement noise",
        "evaluate the model by its free run",
    ),
    "a slow rest": (
        lambda: advice.about_whiteness(COLORED, OWN, "y", {2}, free_run_as_good=True),
        "reads that delay",
        "hidden neurons",
    ),
    "white surely": (lambda: advice.about_whiteness(SURE, OWN, "y", {1, 2}), "p < 1e-12", "reads that delay"),
    "not Gaussian": (lambda: advice.about_normality(COLORED, "y"), "not Gaussian", "outliers"),
    "narrow bands": (lambda: advice.about_coverage(0.7, "y"), "y is 70 %, nominal 95 %", "too narrow"),
    "wide bands": (lambda: advice.about_coverage(1.0, "y", nominal=0.9), "100 %, nominal 90 %", "too wide"),
    "output range": (
        lambda: advice.about_range("y", 120, True),
        "free run of y",
        "left the training range at step 120",
    ),
    "input range": (lambda: advice.about_range("u", 0, False), "input u", "at step 0"),
    "divergence": (lambda: advice.about_divergence("free run", 7), "'free run' diverged at step 7", "horizons"),
    "instability": (lambda: advice.about_stability(stability(np.log(1.02))), "grows by 2.0 % per step", "unstable"),
    "persistence": (lambda: advice.about_persistence(score(2.0), score(1.0)), "RMSE 2", "learned nothing"),
    "free run": (lambda: advice.about_free_run(score(1.0, 0.8)), "misses 80 %", "longer horizons"),
    "not finite": (lambda: advice.about_stop("non_finite", {"loss": []}), "became NaN or infinite", "learning rate"),
    "unfinished": (lambda: advice.about_stop("epochs", {"loss": FALLING}), "fell by 72 %", "more epochs"),
}

SILENT = {
    "white residuals": lambda: advice.about_input(diagnostics.cross_correlation(U, E), "u", "y", {1}),
    "weak correlation": lambda: advice.about_input(crossed(3, 0.05), "u", "y", {1}),
    "white": lambda: advice.about_whiteness(WHITE, OWN, "y"),
    "Gaussian": lambda: advice.about_normality(WHITE, "y"),
    "right bands": lambda: advice.about_coverage(0.93, "y"),
    "inside the range": lambda: advice.about_range("y", None, True),
    "stable": lambda: advice.about_stability(stability(-0.01)),
    "not known to be stable": lambda: advice.about_stability(stability(np.nan)),
    "better than persistence": lambda: advice.about_persistence(score(0.5), score(1.0)),
    "good free run": lambda: advice.about_free_run(score(1.0, 0.3)),
    "diverged free run": lambda: advice.about_free_run(score(np.inf, np.inf)),
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
