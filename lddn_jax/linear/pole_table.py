"""Poles of a discrete-time model as text, with their time constants and periods.

λ = r e^{jφ}:    time constant −h / log r,    period 2π h / φ,    h the sampling interval
"""

import math

import numpy as np
from jaxtyping import Complex

from lddn_jax.numerics.text_table import aligned, digits, ratio_digits


def pole_table(poles: Complex[np.ndarray, " n"], sample_time: float | None) -> list[str]:
    r"""Returns the lines of a table.

    Args:
        poles: The poles.
        sample_time: Sampling interval; None to count in samples.

    Example:
        >>> print(*pole_table(np.array([0.5j, -0.5j, 0.9]), None), sep="\n")
        pole      radius  time constant  period
        0 + 0.5j  0.5000          1.443       4
        0 - 0.5j  0.5000          1.443       4
        0.9       0.9000          9.491
        Time constants and periods are in samples.
    """
    step = 1.0 if sample_time is None else sample_time
    table = [("pole", "radius", "time constant", "period")]
    for pole in poles:
        radius, angle, imaginary = float(abs(pole)), abs(float(np.angle(pole))), float(np.imag(pole))
        written = digits(float(np.real(pole)))
        if imaginary:
            written += f" {'-' if imaginary < 0 else '+'} {digits(abs(imaginary))}j"
        period = digits(2 * math.pi * step / angle) if angle else ""
        table.append((written, ratio_digits(radius), _time_constant(radius, step), period))
    unit = "samples" if sample_time is None else f"the unit of the sampling interval, {digits(sample_time)}"
    return [*aligned(table), f"Time constants and periods are in {unit}."]


def _time_constant(radius: float, step: float) -> str:
    if radius > 1:
        return "unstable"
    if radius == 1:
        return "integrates"
    return digits(-step / math.log(radius)) if radius > 0 else "0"
