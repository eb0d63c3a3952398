"""Scores against their definitions."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import diagnostics

Y = np.array([1.0, 2.0, 4.0])


def test_rmse_and_r2_by_hand():
    assert diagnostics.rmse(Y, Y + np.array([1, 2, 2])) == pytest.approx(np.sqrt(3))
    assert diagnostics.r2(Y, Y + np.array([1, 2, 2])) == pytest.approx(
        1 - 9 / ((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2)
    )


def test_the_mean_explains_nothing():
    assert diagnostics.r2(Y, np.full(3, Y.mean())) == pytest.approx(0, abs=1e-15)


def test_missing_measurements_do_not_count():
    assert diagnostics.rmse([1, np.nan, 3], [2, 100, 4]) == 1


@pytest.mark.parametrize(("predicted", "expected"), [([2.0, 2.0], 1.0), ([2.0, 3.0], -np.inf)])
def test_a_constant_measurement(predicted, expected):
    assert diagnostics.r2([2.0, 2.0], predicted) == expected


@pytest.mark.parametrize("score", [diagnostics.rmse, diagnostics.r2])
@pytest.mark.parametrize(
    ("measured", "predicted", "words"),
    [([1, 2], [1], "shape"), ([], [], "no measured"), ([np.nan], [1], "no measured")],
)
def test_errors(score, measured, predicted, words):
    with pytest.raises(lddn.ShapeError, match=words):
        score(measured, predicted)
