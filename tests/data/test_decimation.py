"""Decimation: a filter without phase shift, gaps that stay gaps, and the flag of the readers."""

import numpy as np
import pytest
from scipy import signal

import lddn_jax as lddn
from lddn_jax.data.decimation import decimated

T = np.arange(3000)
SLOW, FAST = np.sin(2 * np.pi * T / 500), np.sin(2 * np.pi * T / 7)


def record(**more):
    return lddn.data.Record({"u": np.stack([SLOW, T / 1000], 1)}, {"y": (5 + SLOW)[:, None]}, **more)


@pytest.mark.parametrize("n", [2, 7, 10])
def test_what_is_slow_stays_up_to_both_ends(n):
    found = record(time=0.01 * T).decimate(n)
    assert len(found) == -(-len(T) // n)
    assert found.sample_time == pytest.approx(0.01 * n)
    for kept, whole in ((found.inputs["u"], record().inputs["u"]), (found.targets["y"], record().targets["y"])):
        # The window of the filter passes slow signals to about 1e-3; a slope exactly.
        np.testing.assert_allclose(kept, whole[::n], atol=3e-3)
    np.testing.assert_allclose(found.inputs["u"][:, 1], T[::n] / 1000, atol=1e-12)


def test_what_is_fast_is_not_folded_down():
    found = decimated((SLOW + FAST)[:, None], 20)[:, 0]
    middle = slice(12, -12)  # the reflected ends of a fast signal are not the signal
    assert np.abs(found - SLOW[::20])[middle].max() < 5e-3
    assert np.abs((SLOW + FAST)[::20] - SLOW[::20]).max() > 0.9  # plain samples


def test_the_filter_is_that_of_scipy():
    x = np.random.default_rng(0).normal(size=2000)
    scipys = signal.decimate(x, 5, ftype="fir", zero_phase=True)
    np.testing.assert_allclose(decimated(x[:, None], 5)[15:-15, 0], scipys[15:-15], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gap", [(1000, 1001), (1003, 1200), (0, 40), (2990, 3000), (1000, 1004)])
def test_a_gap_stays_a_gap(gap):
    y = SLOW.copy()
    y[slice(*gap)] = np.nan
    found = decimated(y[:, None], 10)[:, 0]
    nearest = [np.isnan(y[max(t - 4, 0) : t + 6]).any() for t in range(0, 3000, 10)]
    np.testing.assert_array_equal(np.isnan(found), nearest)
    np.testing.assert_allclose(found[~np.isnan(found)], SLOW[::10][~np.isnan(found)], atol=5e-3)


def test_units_do_not_matter():
    small, large = (decimated(unit * SLOW[:, None], 10) / unit for unit in (1e-300, 1e300))
    np.testing.assert_allclose(small, large, rtol=1e-9, atol=1e-12)


def test_a_factor_of_one_changes_nothing_and_others_are_noted():
    given = record(time=0.01 * T, name="monday")
    assert given.decimate(1) is given
    assert given.decimate(10).notes == ("decimated by 10, to one sample every 0.1",)
    assert given.decimate(10).name == "monday"


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "at least 1"), (2.5, "whole number"), (400, r"leaves 8 of the 3000 samples.*factor up to 300")],
)
@pytest.mark.usefixtures("unchecked")
def test_errors_teach(n, words):
    with pytest.raises(lddn.DataError, match=words):
        record().decimate(n)


def test_a_reader_decimates():
    table = lddn.data.Table({"time": 0.01 * T, "u": SLOW, "y": SLOW})
    reading = lddn.data.Reading(decimate=10)
    found = lddn.data.Record.of(table, ["u"], ["y"], reading=reading)
    assert (len(found), found.notes) == (300, ("decimated by 10, to one sample every 0.1",))


@pytest.mark.parametrize("columns", [("u", "y"), ("u",)], ids=["measured", "only inputs"])
def test_a_forecast_decimates(columns):
    net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=1), init="zeros")
    scaled = lddn.Scaled.fit(net, lddn.Sequences({"u": SLOW[:, None], "measured_y": SLOW[:, None]}, SLOW[:, None]))
    source = {name: SLOW for name in columns}
    found = lddn.forecast(scaled, source, reading=lddn.data.Reading(decimate=10))
    assert len(found.time) in (298, 300)
    assert "decimated by 10" in " ".join(found.notes)
