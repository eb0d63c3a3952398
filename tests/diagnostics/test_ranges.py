"""The range that trained a model, and the first step that leaves it."""

import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import diagnostics

RECORDS = {"u": np.array([[[0.0, 5.0], [2.0, np.nan]], [[1.0, 6.0], [-1.0, 5.5]]])}  # two records, two elements


def test_range_of_each_element_over_all_records():
    low, high = diagnostics.training_range(RECORDS)["u"]
    assert (low.tolist(), high.tolist()) == ([-1, 5], [2, 6])


@pytest.mark.parametrize(
    ("values", "margin", "first"),
    [
        ([[0, 5.5], [1, 6.5]], 0.0, 1),
        ([[0, 5.5], [1, 6.5]], 0.5, None),
        ([[0, 4.9], [1, 6.5]], 0.0, 0),
        ([[2, 6], [-1, 5]], 0.0, None),
        ([[0, 5], [np.inf, 5]], 10.0, 1),
        ([[np.nan, 5], [0, 5]], 0.0, None),
    ],
)
def test_first_step_outside(values, margin, first):
    ranges = diagnostics.training_range(RECORDS)
    assert diagnostics.first_outside({"u": np.array(values, float)}, ranges, margin) == {"u": first}


def test_any_sequence_counts():
    runs = np.zeros((3, 10, 1))
    runs[1, 7], runs[2, 4] = 2, -2
    assert diagnostics.first_outside({"y": runs}, {"y": (np.array([-1.0]), np.array([1.0]))}) == {"y": 4}


def test_errors_teach():
    with pytest.raises(lddn.DataError, match="all NaN"):
        diagnostics.training_range({"u": np.full((3, 1), np.nan)})
    with pytest.raises(lddn.ShapeError, match="2 elements"):
        diagnostics.first_outside({"u": np.zeros((3, 1))}, diagnostics.training_range(RECORDS))
    with pytest.raises(lddn.ShapeError, match="'v'"):
        diagnostics.first_outside({"u": np.zeros((3, 1))}, {"v": (np.zeros(1), np.ones(1))})


def test_an_excursion_tells_how_often_and_how_far():
    y = np.array([0.5, 3.0, 3.31, np.nan, -2.0, 0.0])[:, None]
    ranges = {"y": (np.array([0.0]), np.array([3.0]))}
    found = diagnostics.excursions({"y": y, "z": y}, ranges)  # z has no known range
    assert found.keys() == {"y"}
    assert (found["y"].first, found["y"].count, found["y"].total, found["y"].furthest) == (2, 2, 5, -2.0)
    said = found["y"].about("The input y")
    assert said.startswith(
        "The input y leaves the training range [0, 3] at 2 of 5 steps, first at step 2, and reaches -2"
    )
    assert diagnostics.excursions({"y": y[:2]}, ranges) == {}


def test_a_signal_that_was_constant_in_training():
    ranges = {"step": (np.array([np.float32(0.1)], float), np.array([np.float32(0.1)], float))}
    assert diagnostics.excursions({"step": np.full((9, 1), 0.1)}, ranges) == {}  # but for rounding
    said = str(diagnostics.excursions({"step": np.array([[0.1], [0.2]])}, ranges)["step"])
    assert "step was 0.1 all through training, so its effect is not known" in said


def test_a_large_offset_does_not_hide_the_range():
    ranges = {"y": (np.array([1e9 - 1.5]), np.array([1e9 + 1.5]))}
    assert "[999999998.5, 1000000001.5]" in str(diagnostics.excursions({"y": np.array([[1e9 + 7]])}, ranges)["y"])
