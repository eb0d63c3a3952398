"""Decimation of signals: every n-th sample, after a low-pass filter without phase shift.

    y(k) = Σ_j h(j) x(nk − j),    j = −10n … 10n

h is SciPy's filter for this purpose, 20 n + 1 coefficients of a Hamming window with the cutoff at the new Nyquist
frequency; without it, faster movements and noise would be folded down into the band that is kept. Its phase is zero,
so signals filtered alike keep their delays to each other. At both ends a signal is continued by its reflection through
the end point, so that an offset or a slope leaves no transient.

Missing values cut a signal into stretches that are filtered by themselves. A sample that is kept is missing if any of
those it stands for is: those that are nearer to it than to other samples kept.

Oppenheim & Schafer (2010), *Discrete-Time Signal Processing*, section 4.6; `scipy.signal.decimate`.
"""

import numpy as np
from jaxtyping import Float
from scipy import signal as processing

HALF_FILTER_SAMPLES = 10  # kept samples on each side of one that its filter reaches


def decimated(signal: Float[np.ndarray, "time size"], n: int) -> Float[np.ndarray, "kept size"]:
    """Returns the samples 0, n, 2n … of a signal after an anti-alias filter; NaN where samples are missing.

    Args:
        signal: `(time, size)`; NaN where missing.
        n: The factor.

    Example:
        >>> decimated(np.arange(100.0)[:, None], 25).ravel().round(9).tolist()
        [0.0, 25.0, 50.0, 75.0]
    """
    kept = np.full((-(-len(signal) // n), signal.shape[1]), np.nan)
    for k, column in enumerate(signal.T):
        known = np.pad(~np.isnan(column), 1).astype(np.int8)
        for start, stop in np.flatnonzero(np.diff(known)).reshape(-1, 2).tolist():
            first, last = _standing_for_known(start, stop, len(column), n)
            if first <= last:
                kept[first : last + 1, k] = _filtered(column[start:stop], n, first * n - start, last - first + 1)
    return kept


def _standing_for_known(start: int, stop: int, length: int, n: int) -> tuple[int, int]:
    """The first and last kept sample that stand for samples of a stretch only; the ends of a signal end nothing."""
    before, after = (n - 1) // 2, n // 2
    first = 0 if start == 0 else -(-(start + before) // n)
    last = (length - 1) // n if stop == length else (stop - 1 - after) // n
    return first, last


def _filtered(stretch: Float[np.ndarray, " steps"], n: int, offset: int, count: int) -> Float[np.ndarray, " {count}"]:
    """Filtered samples `offset`, `offset + n` … of a stretch."""
    reach = HALF_FILTER_SAMPLES * n
    # The first sample that the filter returns is that at `offset`, with all that it reaches before it.
    longer = (
        np.pad(stretch, reach, mode="reflect", reflect_type="odd")
        if len(stretch) > 1
        else np.full(1 + 2 * reach, stretch[0])
    )
    largest = np.max(np.abs(longer)) or 1.0
    found = processing.decimate(longer[offset:] / largest, n, ftype="fir", zero_phase=True)
    return largest * found[HALF_FILTER_SAMPLES : HALF_FILTER_SAMPLES + count]
