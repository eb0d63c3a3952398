"""The simulated tanks: against SciPy, by their balance of water, and the noise and gaps of their records."""

import sys

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lddn_jax.data import simulate_tanks, tank_records, tanks
from lddn_jax.errors import DataError, LDDNError, ShapeError

AREA, OUTLET, PIPE, PUMP = np.array([28.0, 32.0]), np.array([0.071, 0.057]), 0.05, np.array([3.33, 3.35])


def flow(head):
    return np.sqrt(2 * 981.0) * head / (head**2 + 0.01**2) ** 0.25


def by_scipy(pumps, h0, sample_time=5.0):
    """The same law by another integrator."""

    def slope(t, h, u):
        across = PIPE * flow(h[0] - h[1])
        return (PUMP * u - OUTLET * flow(h) + np.array([-across, across])) / AREA

    levels = [np.array(h0)]
    for u in pumps[:-1]:
        leg = solve_ivp(slope, (0, sample_time), levels[-1], args=(u,), method="LSODA", rtol=1e-10, atol=1e-12)
        levels.append(leg.y[:, -1])
    return np.stack(levels)


@pytest.mark.parametrize("h0", [(10.0, 10.0), (0.0, 0.0), (25.0, 3.0)], ids=str)
def test_against_scipy(h0):
    pumps = np.random.default_rng(0).uniform(0, 5, (8, 2)).repeat(5, axis=0)
    pumps[-15:] = 0.0  # they run empty
    np.testing.assert_allclose(simulate_tanks(pumps, h0=h0), by_scipy(pumps, h0), rtol=1e-6, atol=1e-6)  # its tolerance


def test_at_rest_what_flows_in_flows_out():
    levels = simulate_tanks(np.tile([2.0, 4.0], (1000, 1)))
    across = PIPE * flow(levels[-1, 0] - levels[-1, 1])
    np.testing.assert_allclose(OUTLET * flow(levels[-1]) + [across, -across], PUMP * [2.0, 4.0], rtol=1e-6)
    assert levels[-1, 1] > levels[-1, 0] > 0


@pytest.mark.parametrize("pump", [0, 1])
def test_each_pump_moves_both_levels(pump):
    still, more = np.full((20, 2), 3.0), np.full((20, 2), 3.0)
    more[:, pump] = 4.0
    rise = simulate_tanks(more)[-1] - simulate_tanks(still)[-1]
    assert rise[pump] > rise[1 - pump] > 0.05


def test_empty_tanks_stay_empty():
    levels = simulate_tanks(np.zeros((300, 2)), h0=(2.0, 0.0))
    assert (levels >= -1e-9).all()
    assert levels[-1].max() < 1e-6


def test_a_record():
    table = tanks(300, jax.random.key(0), noise=0.0)
    assert table.names == ("time", "pump_1", "pump_2", "level_1", "level_2")
    np.testing.assert_array_equal(table["time"], np.arange(300) * 5.0)
    pumps, levels = table.signal(["pump_1", "pump_2"]), table.signal(["level_1", "level_2"])
    np.testing.assert_array_equal(levels, simulate_tanks(pumps))
    assert (pumps >= 1).all()
    assert (pumps <= 5).all()
    assert 1 < levels.min() < levels.max() < 60
    np.testing.assert_array_equal(tanks(300, jax.random.key(0), noise=0.0)["level_2"], table["level_2"])


def test_noise_and_gaps():
    clean, noisy = (tanks(1000, jax.random.key(1), noise=noise, gaps=gaps) for noise, gaps in ((0.0, 0.0), (0.2, 0.1)))
    error = noisy.signal(["level_1", "level_2"]) - clean.signal(["level_1", "level_2"])
    missing = np.isnan(error)
    np.testing.assert_array_equal(missing.sum(axis=0), 100)
    assert (missing[:, 0] != missing[:, 1]).any()
    np.testing.assert_allclose(np.nanstd(error, axis=0), 0.2, atol=0.02)  # of 900 draws: four standard errors
    np.testing.assert_array_equal(noisy["pump_1"], clean["pump_1"])


def test_a_record_shorter_than_a_gap():
    assert len(tanks(3, jax.random.key(0), gaps=0.5)) == 3


def test_records_of_unequal_length():
    records = tank_records(jax.random.key(0))
    assert [(one.name, len(one)) for one in records] == [("run 1", 600), ("run 2", 400), ("run 3", 250)]
    assert all(np.isnan(one.targets["level_1"]).any() for one in records)
    assert records[0].sample_time == 5.0
    assert not np.array_equal(records[0].inputs["pump_1"][:250], records[2].inputs["pump_1"])


KEY = jax.random.key(0)
REFUSED = {
    "no steps": (lambda: tanks(0, KEY), DataError, "tanks: steps=0 must be a positive whole number: steps=4000"),
    "noise": (lambda: tanks(10, KEY, noise=-1.0), DataError, "noise=-1.0"),
    "gaps": (lambda: tanks(10, KEY, gaps=1.0), DataError, "gaps=1.0; needed is a fraction"),
    "levels": (lambda: tanks(10, KEY, levels=(5.0, 1.0)), DataError, r"levels=\(5.0, 1.0\).*levels=\(1.0, 5.0\)"),
    "negative levels": (lambda: tanks(10, KEY, levels=(-1.0, 1.0)), DataError, "voltages must be finite"),
    "transposed": (lambda: simulate_tanks(np.ones((2, 9))), ShapeError, r"\(2, 9\).*pumps.T"),
    "NaN": (lambda: simulate_tanks(np.array([[1.0, 1.0], [1.0, np.nan]])), DataError, r"pumps\[1, 1\] is nan"),
    "h0": (lambda: simulate_tanks(np.ones((3, 2)), h0=(1.0, -1.0)), DataError, "h0="),
    "sample time": (lambda: simulate_tanks(np.ones((3, 2)), sample_time=0.0), DataError, "sample_time=0.0"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_without_diffrax(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(LDDNError, match=r"pip install 'lddn_jax\[demo\]'"):
        tanks(10, KEY)
