"""Figures draw what they are given, on the axes they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from lddn_jax import plots

TIME = np.linspace(0, 1, 11)


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_response_draws_every_signal(ax):
    assert plots.response(TIME, TIME, {"model": 2 * TIME, "other": 3 * TIME}, ylabel="y", ax=ax) is ax
    assert [line.get_label() for line in ax.lines] == ["measured", "model", "other"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), 2 * TIME)
    assert ax.get_ylabel() == "y"


def test_errors_are_measured_minus_predicted(ax):
    plots.errors(TIME, TIME, {"model": 3 * TIME}, ax=ax)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), -2 * TIME)


def test_training_curve_marks_the_best_network(ax):
    plots.training_curve({"loss": [3.0, 2.0], "validation_loss": [4.0, 5.0]}, best_epoch=1, ax=ax)
    assert ax.get_yscale() == "log"
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 1])
    np.testing.assert_array_equal(ax.lines[1].get_xdata(), [1, 2])  # a validation loss is that after the step
    assert "epoch 1" in ax.lines[2].get_label()


def test_axes_are_made_when_none_are_given():
    ax = plots.training_curve({"loss": [1.0]})
    assert len(ax.lines) == 1
    plt.close(ax.figure)
