"""Records that hold less than they seem to: interpolated samples, short parts, outputs that stand still."""

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

import lddn_jax as lddn
from lddn_jax.diagnostics import interpolated
from lddn_jax.diagnostics.record_quality import (
    about_codes,
    about_constant,
    about_independence,
    about_interpolation,
    about_length,
    independent_values,
)
from lddn_jax.identification.experiment import Experiment

RNG = np.random.default_rng(0)
HOURS, FINE, T = RNG.normal(size=10), np.linspace(0, 9, 1000), np.arange(1000)
LINES = np.interp(FINE, np.arange(10), HOURS)


@pytest.mark.parametrize(
    ("signal", "values"),
    [
        (LINES, 10),
        (np.round(20 + LINES, 6), 10),
        (1e9 + LINES, 10),
        (1e-9 * LINES, 10),
        (np.where(T % 97 == 0, np.nan, LINES), 10),
        (CubicSpline(np.arange(10), HOURS)(FINE), 8),  # its first and last two pieces are one cubic each
    ],
    ids=["lines", "rounded", "offset", "small", "gaps", "cubics"],
)
def test_interpolated_samples_are_counted(signal, values):
    assert abs(interpolated(signal) - values) <= (2 if np.isnan(signal).any() else 0)


MEASURED = {
    "sine": np.sin(0.01 * T),
    "slow sine": np.sin(1e-3 * T),
    "rounded sine": np.round(np.sin(0.01 * T), 3),
    "coarse": np.round(20 + 5 * np.sin(0.02 * T), 1),
    "noise": RNG.normal(size=1000),
    "first order after steps": np.convolve(np.repeat(RNG.normal(size=50), 20), 0.95 ** np.arange(400))[:1000],
    "ramp": 1.0 * T,
    "two levels": np.repeat(RNG.choice([-1.0, 1.0], 50), 20),
    "constant": np.ones(1000),
    "short": np.array([0.0, 1.0, 2.0]),
    "two": np.array([0.0, 1.0]),
}


@pytest.mark.parametrize("signal", MEASURED.values(), ids=MEASURED)
@pytest.mark.parametrize("digits", [None, 1, 2, 4, 6])
def test_measured_samples_are_not_interpolated(signal, digits):
    assert interpolated(signal if digits is None else np.round(signal, digits)) is None


def test_words():
    assert "its 1000 samples lie on lines or curves between about 10 values" in about_interpolation("y", LINES)
    assert about_interpolation("y", MEASURED["sine"]) is None
    assert "has only 31 steps" in about_length("test part", 31)
    assert about_length("test part", 40) is None
    assert "is 1.5 all through the test part" in about_constant("y", np.array([1.5, np.nan, 1.5]), "test part")
    assert about_constant("y", np.array([1.5, 1.6]), "test part") is None
    assert about_constant("y", np.array([np.nan]), "test part") is None


def test_identify_says_it_before_training():
    table = lddn.data.Table({"u": RNG.normal(size=200), "y": np.interp(np.linspace(0, 9, 200), np.arange(10), HOURS)})
    found = Experiment.of(table, ["u"], ["y"], lddn.Settings(model="narx")).remarks
    assert [words in remark for words, remark in zip(("interpolated", "only 28 steps"), found, strict=True)] == [
        True
    ] * 2
    assert Experiment.of(lddn.data.Table({"u": T, "y": MEASURED["noise"]}), ["u"], ["y"], lddn.Settings()).remarks == []


def test_codes_among_the_values_are_named():
    y = np.where(np.isin(T, (5, 6, 300)), -200.0, MEASURED["sine"])
    assert "-200 (3 times)" in about_codes("y", y)
    assert about_codes("y", MEASURED["noise"]) is None


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9], ids=str)
def test_samples_of_a_slow_signal_count_as_fewer(phi):
    """Of an autoregressive process of first order, n (1 − φ) / (1 + φ) are independent."""
    e, y = np.random.default_rng(0).normal(size=(2, 20_000)), np.zeros((2, 20_000, 1))
    for t in range(1, e.shape[1]):
        y[:, t, 0] = phi * y[:, t - 1, 0] + e[:, t]
    expected = y.size * (1 - phi) / (1 + phi)
    assert independent_values(y) == pytest.approx(expected, rel=0.2)  # the sum of correlations is an estimate
    assert about_independence("y", y, "record") is None


def test_a_slow_test_part_is_told():
    slow = np.cumsum(np.random.default_rng(0).normal(size=31))
    said = about_independence("y", slow, "test part")
    assert said.startswith(
        "y moves so slowly that the 31 steps of the test part say as much as about 4 independent values"
    )
    assert about_independence("y", np.ones(31), "test part") is None
    assert independent_values(np.ones(31)) == 0
