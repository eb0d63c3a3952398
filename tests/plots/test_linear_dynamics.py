"""Figures of linear models show their frequency response and poles."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import LDDNError, plots


def model(A, inputs=1, outputs=1):
    n = len(A)
    B, C, D = np.ones((n, inputs)), np.ones((outputs, n)), np.zeros((outputs, inputs))
    sizes = ({"u": inputs} if inputs else {}), {"y": outputs}
    return lddn.linear.LinearModel(np.array(A), B, C, D, *sizes, np.zeros(inputs), np.zeros(outputs))


@pytest.fixture
def axes():
    figure, axes = plt.subplots(2)
    yield axes
    plt.close(figure)


def test_bode_draws_magnitude_and_phase_up_to_half_of_the_sampling_frequency(axes):
    assert plots.bode(model([[0.9]]), sample_time=0.01, axes=axes) is axes
    frequency, magnitude = axes[0].lines[0].get_data()
    assert frequency[-1] == pytest.approx(50)
    z = np.exp(2j * np.pi * frequency * 0.01)
    np.testing.assert_allclose(magnitude, np.abs(1 / (z - 0.9)))
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), np.degrees(np.unwrap(np.angle(1 / (z - 0.9)))))
    assert "Hz" in axes[1].get_xlabel()


def test_bode_names_the_pairs_of_several_signals(axes):
    plots.bode(model([[0.5]], inputs=2, outputs=2), axes=axes)
    assert [line.get_label() for line in axes[0].lines][:2] == ["u[0] → y[0]", "u[1] → y[0]"]
    assert "cycles per sample" in axes[1].get_xlabel()


def test_poles_are_drawn_with_the_circle(axes):
    ax = plots.poles(model([[0.5, 0.0], [0.0, 1.5]]), ax=axes[0])
    assert [line.get_label() for line in ax.lines][1:] == ["stable", "unstable"]
    assert [line.get_xdata().tolist() for line in ax.lines][1:] == [[0.5], [1.5]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.bode(model([[0.5]], inputs=0)), "no input"),
        (lambda: plots.bode(model([[0.5]]), sample_time=-1.0), "sample_time=-1.0"),
    ],
)
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(LDDNError, match=message):
        call()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("draw", [plots.bode, plots.poles])
def test_something_else_is_not_a_linear_model(draw):
    with pytest.raises(LDDNError, match=r"lddn\.linear\.subspace"):
        draw(np.eye(2))
