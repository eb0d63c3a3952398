"""Numbers on paper: four significant digits, and columns that never touch."""

import numpy as np
import pytest

from lddn_jax.diagnostics import Score
from lddn_jax.numerics.text_table import aligned, column_digits, digits, ratio_digits, text_width
from lddn_jax.prediction.forecast_result import Forecast


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.23456e-9, "1.235e-09"),
        (11214.214146, "11214"),
        (9999.7, "10000"),
        (-2098452656.728210, "-2.098e+09"),
        (0.0, "0"),
        (-0.0, "0"),
        (np.nan, "undefined"),
        (-np.inf, "-infinite"),
    ],
)
def test_a_number_has_four_digits(number, text):
    assert digits(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0211, "0.02110"), (1e-9, "1.000e-09"), (1234.0, "1234"), (-12.0, "-12.00"), (0, "0"), (np.inf, "infinite")],
)
def test_numbers_of_a_column_have_equally_many_digits(number, text):
    assert column_digits(number) == text


@pytest.mark.parametrize(
    ("number", "resolution", "text"),
    [
        (1e9 + 1.25, 0.7, "1000000001.25"),
        (5.0, 0.7, "5"),
        (-1e9, 0.0, "-1e+09"),
        (1e-6 + 1e-9, 1e-9, "1.001e-06"),
        (273.15, np.nan, "273.1"),
        (1e9 + 0.5, 1e-12, "1000000000.5"),
    ],
)
def test_a_difference_stays_visible(number, resolution, text):
    assert digits(number, resolution) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.99756, "0.9976"), (0.999996, "0.999996"), (1 - 1e-12, "> 0.999999"), (1.0, "1.0000"), (-0.25, "-0.2500")],
)
def test_the_distance_from_one_is_visible(ratio, text):
    assert ratio_digits(ratio) == text


def test_columns_are_aligned_and_never_touch():
    rows = [("", "RMSE", "R²"), ("温度, free run", "1" * 30, "-2"), ("y", "2"), ("ü", "3", "0.5", "<- best")]
    lines = aligned(rows, "<>><")
    ends = [text_width(lines[k][: lines[k].index(cell) + len(cell)]) for k, cell in enumerate(("RMSE", "1" * 30))]
    assert ends[0] == ends[1]
    assert lines[3].endswith("0.5  <- best")


def test_scores_of_any_size_are_readable():
    """Neither zeros for small units, nor numbers of ten digits, nor columns that run into each other."""
    y = 1e-9 * np.sin(np.arange(50))
    far = np.where(np.arange(50) < 40, y, 50 * y)
    text = str(
        Forecast(np.arange(50.0), {"y": y}, {"one step ahead": {"y": y + 1e-11}, "free run": {"y": far}}, 0, (50,))
    )
    assert "1.000e-11" in text
    rows = [line.split("  ") for line in text.splitlines()[2:]]
    assert all(len([cell for cell in row if cell]) == 3 for row in rows)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (Score(2.0, 3.0, 1.0, -8.0, -200.0, 9), ["2.000", "3.000", "1.000", "-8.0000", "worse than the mean"]),
        (Score(2.0, np.inf, 1.0, -np.inf, -np.inf, 9), ["2.000", "undefined", "1.000", "undefined", "undefined"]),
        (Score(*[np.nan] * 5, 0), ["undefined"] * 5),
        (Score(1e-9, 0.001, 1e-9, 0.999999, 99.9, 9), ["1.000e-09", "0.001000", "1.000e-09", "0.999999", "99.90"]),
    ],
)
def test_scores_in_words(score, expected):
    assert list(score.in_words().values()) == expected
