"""Records that are sampled far too fast are noticed, and others are not."""

import numpy as np
import pytest
from scipy import signal

from lddn_jax.diagnostics.oversampling import about_sampling, decimation_factor

RNG = np.random.default_rng(0)
WHITE = RNG.normal(size=12_000)
NOISE = RNG.normal(size=12_000)


def smooth(corner, x=WHITE):
    """White noise through three low-pass filters, of corners in shares of the Nyquist frequency."""
    return signal.sosfilt(signal.butter(6, corner, output="sos"), x)


FINE = {
    "white": WHITE,
    "a random walk": np.cumsum(WHITE),
    "one slow pole": signal.lfilter([1.0], [1.0, -0.99], WHITE),
    "three samples a movement": smooth(0.3),
    "twenty samples a movement": smooth(0.05),
    "a constant": np.full(12_000, 3.0),
    "slow, and hidden in noise": smooth(0.01) / np.std(smooth(0.01)) + 2 * NOISE,
    "too short": smooth(0.005)[2000:2900],
}


@pytest.mark.parametrize("y", FINE.values(), ids=FINE)
def test_others_are_not_noticed(y):
    assert decimation_factor(y) == 1
    assert about_sampling({"y": y}) is None


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.01, 0.1])
@pytest.mark.parametrize(("corner", "factor"), [(0.012, 5), (0.006, 10), (0.0025, 20)])
def test_a_slow_record_is_noticed_through_noise(corner, factor, noise):
    y = smooth(corner)
    y = y / np.std(y) + noise * NOISE
    found = decimation_factor(y)
    assert factor <= found <= 2.5 * factor  # noise hides the fastest movements
    assert f"record.decimate({found})" in about_sampling({"y": y})


def test_a_decimated_record_is_fine():
    y = smooth(0.008)
    assert decimation_factor(signal.decimate(y, decimation_factor(y), ftype="fir")) == 1


def test_every_output_must_be_slow():
    slow = smooth(0.008)
    assert about_sampling({"y": slow, "v": WHITE}) is None
    assert "y, v lie below" in about_sampling({"y": slow, "v": 3 * slow})


def test_gaps_and_units_do_not_matter():
    y = 1e-12 * smooth(0.008)
    whole = decimation_factor(y)
    y[[100, 9000]] = np.nan
    assert decimation_factor(y) == whole
    assert decimation_factor(1e200 * y) == whole
