"""Even sampling: what rounding explains, and what it does not."""

import numpy as np
import pytest

from lddn_jax.data import suspicious_values, uniform_sampling
from lddn_jax.errors import DataError


@pytest.mark.parametrize(
    ("step", "digits"), [(1 / 30, 2), (1 / 3, 1), (1 / 60, 2), (0.0125, 3), (100 / 3, 0), (0.1 + 1e-3, 2)]
)
@pytest.mark.parametrize("start", [0.0, 1.6e9])
def test_rounded_times_are_even(step, digits, start):
    time = start + np.round(step * np.arange(200), digits)
    assert uniform_sampling(time) == pytest.approx(step, rel=1e-2)


@pytest.mark.parametrize(("step", "digits"), [(1 / 30, 2), (1 / 3, 1), (0.0125, 3), (100 / 3, 0)])
@pytest.mark.parametrize("hole", [1, 50, 198])
def test_a_hole_in_rounded_times_is_found(step, digits, hole):
    k = np.arange(200)
    time = np.round(step * (k + (k > hole)), digits)
    with pytest.raises(DataError, match=rf"time\[{hole + 1}\] = .*after time\[{hole}\].*usual"):
        uniform_sampling(time)


def test_missing_instants_are_counted():
    days = 86400.0 * np.array([0, 1, 2, 3, 4, 7, 8])
    with pytest.raises(DataError, match=r"time\[5\].*2 instant.s. are missing, as on weekends"):
        uniform_sampling(days)


@pytest.mark.parametrize(
    ("others", "code"),
    [(np.linspace(-2, 44, 300), -200.0), (np.linspace(2, 1479, 900), -200.0), (np.linspace(0, 1, 50), 9999.0)],
    ids=["far", "of the other sign", "large"],
)
def test_codes_for_missing_values_are_found(others, code):
    assert suspicious_values(np.r_[others, [code] * 4, np.nan]) == {code: 4}
    assert suspicious_values(np.r_[others, code]) == ({code: 1} if code == 9999 else {})


def test_single_values_far_away_are_found():
    noise = np.random.default_rng(0).normal(size=500)
    assert suspicious_values(np.r_[noise, 1e154]) == {1e154: 1}
    assert suspicious_values(np.r_[noise, -1.7e308, 1.7e308]) in ({-1.7e308: 1, 1.7e308: 1}, {})
    assert suspicious_values(np.r_[noise, -9999.0, -9999.0]) == {-9999.0: 2}
    assert suspicious_values(np.r_[noise, 50.0]) == {}  # a spike
    assert suspicious_values(np.r_[np.zeros(500), 1.0]) == {}  # an impulse


@pytest.mark.parametrize(
    "column",
    [
        np.repeat([0.0, 5.0], 100),
        np.minimum(np.linspace(0, 2, 100), 1.0),
        np.r_[np.zeros(5), np.random.default_rng(0).normal(size=500)],
        np.r_[np.linspace(0, 1, 50), [1.5, 1.5, 1.5]],
        np.full(9, np.nan),
    ],
    ids=["levels", "saturation", "rest", "a little outside", "nothing"],
)
def test_steps_and_limits_are_no_codes(column):
    assert suspicious_values(column) == {}
