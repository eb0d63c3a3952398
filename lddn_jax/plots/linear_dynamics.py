"""Frequency response and poles of a linear model, such as one of `lddn_jax.linear`."""

import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Complex, Float

from lddn_jax.checks import expect, is_number
from lddn_jax.errors import LDDNError, shown
from lddn_jax.plots.axes import COLORS, axes_or_new, legend, new_axes, shortened, styles

FREQUENCIES = 400
WIDEST_DECADES = 6  # of frequencies, for poles close to the circle


@runtime_checkable
class LinearDynamics(Protocol):
    """What these figures need of a model: `LinearModel` has it."""

    input_sizes: Mapping[str, int]
    output_sizes: Mapping[str, int]

    @property
    def poles(self) -> Complex[np.ndarray, " n"]:
        """Poles of the model, in discrete time."""
        ...

    def frequency_response(
        self, w: Float[np.ndarray, " frequencies"]
    ) -> Complex[np.ndarray, "frequencies outputs inputs"]:
        """Response at angular frequencies in radians per sample."""
        ...


def bode(model: LinearDynamics, sample_time: float | None = None, *, axes: Any = None) -> Any:
    """Plots magnitude and phase of the frequency response, one line for each pair of input and output.

    Frequencies end at half of the sampling frequency, and start well below the slowest pole.

    Args:
        model: A linear model, for example of `lddn_jax.linear.subspace`.
        sample_time: Sampling interval in seconds, for frequencies in hertz; None for cycles per sample.
        axes: Two matplotlib axes, for magnitude and phase; None for new ones, one above the other.

    Returns:
        The axes.

    Raises:
        LDDNError: If `model` is not a linear model, has no input, or the sampling interval is not positive.
    """
    _check_model(model, "bode(model, sample_time)")
    if not model.input_sizes:
        raise LDDNError("bode: the model has no input, so it has no frequency response; plots.poles(model) shows it.")
    if sample_time is not None and not is_number(sample_time, above=0):
        raise LDDNError(f"bode: sample_time={shown(sample_time)} must be a positive number of seconds, or None.")
    w = _frequencies(model.poles)
    response = model.frequency_response(w)
    frequency = w / (2 * math.pi * (sample_time or 1.0))
    axes = new_axes(2, (9.0, 5.0), stacked=True) if axes is None else axes
    outputs, inputs = _channels(model.output_sizes), _channels(model.input_sizes)
    named = len(outputs) * len(inputs) > 1
    pairs = [(i, j) for i in range(len(outputs)) for j in range(len(inputs))]
    for (i, j), style in zip(pairs, styles(), strict=False):
        found = response[:, i, j]
        magnitude = np.where(found == 0, np.nan, np.abs(found))
        label = shortened(f"{inputs[j]} → {outputs[i]}") if named else "_"
        axes[0].plot(frequency, magnitude, linewidth=1.3, label=label, **style)
        axes[1].plot(frequency, np.degrees(np.unwrap(np.angle(found))), linewidth=1.3, label="_", **style)
    unit = "cycles per sample" if sample_time is None else "Hz"
    logarithmic = bool((np.abs(response) > 0).any())
    axes[0].set(ylabel="magnitude", xscale="log", yscale="log" if logarithmic else "linear")
    axes[1].set(ylabel="phase in degrees", xlabel=f"frequency in {unit}", xscale="log")
    legend(axes[0])
    return axes


def poles(model: LinearDynamics, *, ax: Any = None) -> Any:
    """Plots the poles in the complex plane, with the unit circle, outside of which a pole is unstable.

    Args:
        model: A linear model, for example of `lddn_jax.linear.subspace`.
        ax: Matplotlib axes; None for new ones.

    Returns:
        The axes.

    Raises:
        LDDNError: If `model` is not a linear model.
    """
    _check_model(model, "poles(model)")
    ax = axes_or_new(ax)
    angle = np.linspace(0, 2 * math.pi, 361)
    ax.plot(np.cos(angle), np.sin(angle), color="#999999", linewidth=0.8, label="_")
    found = model.poles
    for stable, color in ((True, COLORS[0]), (False, COLORS[1])):
        part = found[(np.abs(found) < 1) == stable]
        if len(part):
            label = "stable" if stable else "unstable"
            ax.plot(np.real(part), np.imag(part), "x", color=color, markersize=8, label=label)
    ax.set(xlabel="real part", ylabel="imaginary part", aspect="equal")
    legend(ax)
    return ax


def _check_model(model: object, call: str) -> None:
    expect(LinearDynamics, "model", model, call, "a linear model, such as lddn.linear.subspace(records, 2)")


def _frequencies(found: Complex[np.ndarray, " n"]) -> Float[np.ndarray, " frequencies"]:
    """Angular frequencies in radians per sample, from a tenth of the lowest corner frequency to π."""
    corners = np.abs(np.log(np.where(found == 0, 1e-300, found)))
    lowest = 0.1 * corners.min(initial=1.0)
    first = max(lowest, math.pi * 10.0**-WIDEST_DECADES)
    return np.geomspace(min(first, math.pi / 10), math.pi, FREQUENCIES)


def _channels(sizes: Mapping[str, int]) -> list[str]:
    """Names of all elements of signals: "u", or "u[0]", "u[1]" … if it has several."""
    return [name if size == 1 else f"{name}[{k}]" for name, size in sizes.items() for k in range(size)]
