"""Whether error bars are right: coverage and calibration, where both are known."""

import numpy as np
import pytest

from lddn_jax import diagnostics
from lddn_jax.errors import ShapeError

Y = np.array([0.0, 1.0, 2.0, np.nan, 3.0])
PREDICTED = np.array([0.3, 1.0, 2.5, 9.0, 5.0])
STD = np.array([0.2, 0.2, 0.2, 0.2, 0.9])  # errors of 1.5, 0, 2.5 and 2.2 deviations


@pytest.mark.parametrize(("k", "expected"), [(1.4, 0.25), (1.6, 0.5), (2.0, 0.5), (2.3, 0.75), (2.6, 1.0)])
def test_coverage_by_hand(k, expected):
    assert diagnostics.coverage(Y, PREDICTED, STD, k) == expected


def test_intervals_of_gaussian_noise_hold_their_nominal_share():
    errors, std = np.random.default_rng(0).normal(size=(2, 40_000))
    std = 0.1 + np.abs(std)
    nominal, observed = diagnostics.calibration(std * errors, np.zeros_like(std), std)
    assert nominal.tolist() == pytest.approx(np.arange(0.05, 1, 0.05))
    np.testing.assert_allclose(observed, nominal, rtol=0, atol=0.01)  # shares of 40,000 draws: 0.0025 uncertain


def test_shapes_must_be_the_same():
    with pytest.raises(ShapeError, match="both must be the same"):
        diagnostics.coverage(Y, PREDICTED, STD[:4])
