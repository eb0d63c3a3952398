"""Residual tests find as much as they say, and no more: false alarms on noise, power against a fault."""

import functools
import json

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

import lddn_jax as lddn
from lddn_jax import diagnostics

DRAWS, STEPS, LAGS = 1000, 400, 10
GAPS = (0.0, 0.2)


def autoregressive(noise, pole):
    return lfilter([1.0], [1.0, -pole], noise, axis=-1)


SEEDS = pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(1, 5))])


@functools.cache
def white(missing):
    """Residuals and inputs that have nothing to do with each other, `(draws, time)`."""
    rng = np.random.default_rng(7)
    e, u = rng.normal(size=(2, DRAWS, STEPS))
    return np.where(rng.random((DRAWS, STEPS)) < missing, np.nan, e), u


@functools.cache
def correlations(missing):
    e, u = white(missing)
    return {
        "auto": [diagnostics.autocorrelation(r, LAGS) for r in e],
        "cross": [diagnostics.cross_correlation(i, r, LAGS) for i, r in zip(u, e, strict=True)],
    }


@functools.cache
def p_values(missing):
    return np.array([diagnostics.ljung_box(e, LAGS).p_value for e in white(missing)[0]])


def assert_rate(alarms, expected):
    """Whether so many alarms are what binomial draws of that rate give, 99 times of 100."""
    low, high = stats.binom.interval(0.99, len(alarms), expected)
    assert low <= np.sum(alarms) <= high, f"{np.mean(alarms):.4f} instead of {expected:.4f}"


@pytest.mark.parametrize("missing", GAPS)
@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize(("kind", "lag"), [("auto", 1), ("auto", 10), ("cross", -7), ("cross", 0), ("cross", 10)])
def test_bounds_have_the_stated_false_alarm_rate(kind, lag, level, missing):
    alarms = [lag in found.outside(level) for found in correlations(missing)[kind]]
    assert_rate(alarms, 1 - level)


@pytest.mark.parametrize("missing", GAPS)
def test_ljung_box_is_uniform_on_white_noise(missing):
    assert stats.kstest(p_values(missing), "uniform").pvalue > 0.01
    assert_rate(p_values(missing) < 0.05, 0.05)


def test_normality_is_uniform_on_gaussian_noise():
    p = [diagnostics.normality(e).p_value for e in white(0.2)[0]]
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.deep
def test_two_slow_signals_do_not_look_correlated():
    """Bounds of 1/√N would raise false alarms at a third of the lags."""
    rng = np.random.default_rng(3)
    u, e = (autoregressive(rng.normal(size=(DRAWS, 1000)), pole)[:, 200:] for pole in (0.9, 0.8))
    found = [diagnostics.cross_correlation(i, r, LAGS) for i, r in zip(u, e, strict=True)]
    rate = np.mean([np.mean(np.abs(c.values) > c.bound(0.95)) for c in found])
    naive = np.mean([np.mean(np.abs(c.values) > 1.96 / np.sqrt(800)) for c in found])
    assert 0.03 < rate < 0.08  # Bartlett's factor is itself an estimate
    assert naive > 0.3


@SEEDS
@pytest.mark.parametrize("missing", GAPS)
def test_an_autoregression_is_found(seed, missing):
    rng = np.random.default_rng(seed)
    e = autoregressive(rng.normal(size=STEPS), 0.5)
    e[rng.random(STEPS) < missing] = np.nan
    found = diagnostics.autocorrelation(e, LAGS)
    assert found.strongest() == 1
    assert 1 in found.outside(0.99)
    assert diagnostics.ljung_box(e, LAGS).p_value < 0.01


@pytest.mark.parametrize("missing", GAPS)
def test_gaps_do_not_make_correlations_smaller(missing):
    e = autoregressive(np.random.default_rng(1).normal(size=(300, STEPS)), 0.5)
    e = np.where(np.random.default_rng(2).random(e.shape) < missing, np.nan, e)
    found = np.mean([diagnostics.autocorrelation(r, 3).values for r in e], axis=0)
    # Less the bias (1 + 3ρ)/N of taking the mean away; the mean of 300 estimates is uncertain by 0.003.
    np.testing.assert_allclose(found, [0.5, 0.25, 0.125], atol=0.02)


def test_a_correlation_of_nothing_has_no_strongest_lag():
    lags = np.arange(3)
    assert diagnostics.Correlation(lags, np.full(3, np.nan), np.ones(3)).strongest() is None
    assert diagnostics.Correlation(lags, np.array([np.nan, -0.2, 0.1]), np.ones(3)).strongest() == 1


@SEEDS
@pytest.mark.parametrize("delay", [-4, 0, 3])
def test_an_input_that_was_missed_is_found_at_its_delay(delay, seed):
    u, e = np.random.default_rng(seed).normal(size=(2, STEPS))
    found = diagnostics.cross_correlation(u, np.roll(u, delay) + e, LAGS)
    assert found.strongest() == delay
    assert delay in found.outside(0.99)


def test_values_by_hand():
    e = np.array([1.0, -2.0, 3.0, -2.0])  # mean 0, variance 4.5
    found = diagnostics.autocorrelation(e, 2)
    np.testing.assert_allclose(found.values, [(-2 - 6 - 6) / 3 / 4.5, (3 + 4) / 2 / 4.5])
    np.testing.assert_allclose(found.bound(0.95), 1.959964 / np.sqrt([3, 2]), rtol=1e-6)  # a quantile of 7 digits


def test_ljung_box_is_the_textbooks_formula():
    e = np.random.default_rng(0).normal(size=50)
    z = e - e.mean()
    r = [np.sum(z[k:] * z[:-k]) / np.sum(z * z) for k in range(1, 6)]
    Q = 50 * 52 * sum(value**2 / (50 - k) for k, value in enumerate(r, start=1))
    found = diagnostics.ljung_box(e, 5, fitted=2)
    assert found.statistic == pytest.approx(Q, rel=1e-12)
    assert found.p_value == pytest.approx(stats.chi2.sf(Q, 3))


def test_no_pair_reaches_over_the_end_of_a_record():
    """Signs alternate within a record; only a pair across the border of two records has equal signs."""
    records = np.stack([np.tile([1.0, -1.0], 10), -np.tile([1.0, -1.0], 10)])[..., None]
    assert diagnostics.autocorrelation(records, 1).values == pytest.approx([-1])
    assert diagnostics.autocorrelation(records, 1).std == pytest.approx([1 / np.sqrt(38)])
    assert diagnostics.autocorrelation(records.reshape(-1), 1).values[0] > -1


def test_no_pair_reaches_over_a_gap():
    e = np.array([1.0, -1.0, np.nan, 1.0, -1.0])
    found = diagnostics.autocorrelation(e, 2)
    np.testing.assert_allclose(found.values, [-1, -1])  # (1, -1), (1, -1); over the gap (-1, 1)
    np.testing.assert_allclose(found.std, [1 / np.sqrt(2), 1])


def test_a_lag_without_any_pair_says_nothing():
    found = diagnostics.autocorrelation(np.array([1.0, np.nan, -1.0, np.nan, 1.0]), 2)
    assert np.isnan(found.values[0])
    assert found.outside(0.5) in [(), (2,)]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["values"][0] is None


def test_constant_residuals_are_not_correlated():
    assert diagnostics.autocorrelation(np.full(30, 0.1), 3).values.tolist() == [0, 0, 0]


def test_results_print():
    e = np.tile([1.0, -1.0], 50)
    assert str(diagnostics.autocorrelation(e, 2)).splitlines()[1].endswith("**")
    assert "residuals are white" in str(diagnostics.ljung_box(e, 2))


SHORT = np.arange(5.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: diagnostics.autocorrelation(SHORT, 5), "lags=5 of a record of 5"),
        (lambda: diagnostics.autocorrelation(np.ones((2, 5, 2)), 1), r"signal\[\.\.\., 0:1\]"),
        (lambda: diagnostics.autocorrelation(np.full(5, np.nan), 1), "fewer than two"),
        (lambda: diagnostics.autocorrelation([1.0, np.inf, 2.0], 1), "infinite at step 1"),
        (lambda: diagnostics.cross_correlation(np.arange(4.0), SHORT, 1), "shape"),
        (lambda: diagnostics.ljung_box(SHORT, 2, fitted=2), "no degree of freedom"),
        (lambda: diagnostics.ljung_box([1.0, np.nan, 2.0], 1), "missing values leave no pair"),
        (lambda: diagnostics.normality(SHORT), "20 and 2 are needed"),
    ],
)
def test_errors_teach(call, words):
    with pytest.raises(lddn.LDDNError, match=words):
        call()
