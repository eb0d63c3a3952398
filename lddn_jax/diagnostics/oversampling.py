"""Signs that a record is sampled far too fast: all structure of its outputs lies far below the Nyquist frequency.

One step ahead such a record is predicted by repetition, delays of a few samples see nothing of the dynamics, and a
free run needs thousands of steps for what ten times fewer would show. With the power spectrum S(ω) of the output, its
difference y(t) − y(t−1) has the spectrum |1 − e^(−iω)|² S(ω) = 4 sin²(ω/2) S(ω), which weighs fast movements. The
frequency ω₉₉ below which 99 % of that power lies is compared with the Nyquist frequency π:

    N = π / (10 ω₉₉)        decimated by N, ω₉₉ is a tenth of the new Nyquist frequency: 20 samples a period

White measurement noise is the floor of S at high frequencies. Bands that do not rise above it count as noise, and the
floor is subtracted from all others. Inputs are not looked at: what they hold at frequencies at which the output does
not move, no model of that output needs.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy import signal as processing

from lddn_jax.diagnostics.lagged import channel
from lddn_jax.errors import fix
from lddn_jax.network.signals import ArrayOrList

STRUCTURE_SHARE = 0.99  # of the power of the difference, below ω₉₉
NYQUIST_PER_STRUCTURE = 10.0  # new Nyquist frequency, in ω₉₉
LEAST_FACTOR = 5  # smallest decimation worth a remark
LEAST_KEPT_SAMPLES = 200  # of a decimated record
ABOVE_FLOOR = 3.0  # spectrum of a band that is not only noise, in floors
LEAST_STRUCTURE = 0.5  # of the power of the signal that lies above the floor; below, the signal is noise
BANDS = 200  # into which frequencies are averaged, beyond the lowest ones
ROUND_FACTORS = (1, 2, 5)  # leading digits of suggested factors


def decimation_factor(signal: ArrayOrList) -> int:
    """Returns by how much an output may be decimated without loss: 1, or 5, 10, 20, 50 and so on.

    Args:
        signal: `(time,)` or `(*batch, time, 1)`; NaN where missing. The longest stretch without gaps is looked at.

    Raises:
        ShapeError: If the signal has several elements.
        DataError: If fewer than two values are not NaN.

    Example:
        >>> import numpy as np
        >>> decimation_factor(np.sin(0.02 * np.arange(5000))), decimation_factor(np.sin(0.4 * np.arange(5000)))
        (10, 1)
    """
    y = _longest_stretch(channel("signal", signal))
    most = len(y) // LEAST_KEPT_SAMPLES
    if most < LEAST_FACTOR or np.ptp(y) == 0:
        return 1
    at = _frequency_of_structure(y / np.max(np.abs(y)))
    if at is None:
        return 1
    factor = min(most, 1 / (NYQUIST_PER_STRUCTURE * at))
    if factor < LEAST_FACTOR:
        return 1
    power = 10 ** int(np.floor(np.log10(factor)))
    return max(digit * power for digit in ROUND_FACTORS if digit * power <= factor)


def about_sampling(outputs: Mapping[str, ArrayOrList]) -> str | None:
    """Warns of a record that is sampled far too fast, if it is for each of its outputs.

    Args:
        outputs: Measured outputs by name.
    """
    known = {name: line for name, line in outputs.items() if np.sum(~np.isnan(np.asarray(line, float))) > 1}
    factor = min((decimation_factor(line) for line in known.values()), default=1)
    if factor == 1:
        return None
    several = len(known) > 1
    return (
        f"The record is sampled far too fast: {100 * STRUCTURE_SHARE:.0f} % of the movement of {', '.join(known)} "
        f"lie{'' if several else 's'} below {100 / (NYQUIST_PER_STRUCTURE * factor):.2g} % of the Nyquist frequency. A "
        "model of fewer, more distant samples trains faster and its delays see the dynamics: "
        f"{fix(f'record.decimate({factor}), or Reading(decimate={factor})', f'--decimate {factor}')}."
    )


def _longest_stretch(records: Float[np.ndarray, "records time"]) -> Float[np.ndarray, " steps"]:
    """The longest stretch without missing values."""
    known = np.pad(~np.isnan(records), ((0, 0), (1, 1))).astype(np.int8)
    edges = [np.flatnonzero(np.diff(row)).reshape(-1, 2) for row in known]
    stretches = [(stop - start, k, start) for k, pairs in enumerate(edges) for start, stop in pairs]
    length, k, start = max(stretches)
    return records[k, start : start + length]


def _frequency_of_structure(y: Float[np.ndarray, " time"]) -> float | None:
    """ω₉₉ / π: the share of the Nyquist frequency below which the movement lies; None if the signal is noise."""
    f, power = processing.periodogram(np.diff(y), window="hann", detrend="constant", fs=2.0)
    f, power = f[1:], power[1:]
    weight = 4 * np.sin(0.5 * np.pi * f) ** 2
    S = power / weight
    per_band = max(len(S) // BANDS, 1)
    starts = np.unique(np.concatenate([np.arange(min(per_band, len(S))), np.arange(0, len(S), per_band)]))
    counts = np.diff(np.append(starts, len(S)))
    mean = np.add.reduceat(S, starts) / counts
    center = np.add.reduceat(f, starts) / counts
    floor = np.median(mean[center > 0.5])
    structure = np.where(mean > ABOVE_FLOOR * floor, mean - floor, 0.0)
    if np.sum(structure * counts) < LEAST_STRUCTURE * np.sum(mean * counts):
        return None
    below = np.cumsum(structure * np.add.reduceat(weight, starts))
    return float(center[np.searchsorted(below, STRUCTURE_SHARE * below[-1])])
