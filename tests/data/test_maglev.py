"""The simulated magnet: against SciPy, against formulas by hand, and at rest on its coil."""

import sys

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lddn_jax.data import maglev, simulate_maglev
from lddn_jax.errors import DataError, LDDNError, NumericalError, ShapeError

MASS, GRAVITY, ALPHA, BETA = 3.0, 9.8, 15.0, 12.0


def by_scipy(current, sample_time=0.01, y0=0.5, v0=0.0, stop=0.01, signed=True):
    """The same law and the same rule of contact, by another integrator."""

    def acceleration(t, state, i):
        sign = np.sign(i) if signed else 1.0
        return [state[1], -GRAVITY + ALPHA / MASS * i**2 * sign / state[0] - BETA / MASS * state[1]]

    def height(t, state, i):
        return state[0] - stop

    height.terminal, height.direction = True, -1

    positions, state = [y0], [y0, v0]
    for i in current[:-1]:
        t = 0.0
        while t < sample_time and not (state == [stop, 0.0] and acceleration(t, state, i)[1] <= 0):
            leg = solve_ivp(
                acceleration,
                (t, sample_time),
                state,
                args=(i,),
                events=height,
                method="DOP853",
                rtol=1e-10,
                atol=1e-12,
            )
            t, state = leg.t[-1], [stop, 0.0] if leg.status == 1 else leg.y[:, -1].tolist()
        positions.append(state[0])
    return np.array(positions)


@pytest.mark.deep
def test_it_agrees_with_scipy():
    current = np.repeat([3.0, 0.5, 2.0, 3.5, 1.0], 40)
    position = simulate_maglev(current)
    assert position.min() > 0.1  # no contact: the differential equation alone
    np.testing.assert_allclose(position, by_scipy(current), rtol=0, atol=1e-6)  # two adaptive integrators


@pytest.mark.parametrize("signed", [True, False])
def test_it_agrees_with_scipy_through_contact(signed):
    # The fall, the impact, the rest and the take-off under a repelling current; then attraction or repulsion.
    current = np.repeat([0.0, 2.0, -0.4, 1.5], [60, 25, 80, 20])
    position = simulate_maglev(current, signed=signed)
    assert (position == 0.01).sum() > 10
    np.testing.assert_allclose(position, by_scipy(current, signed=signed), rtol=0, atol=1e-6)


def test_an_impact_and_a_take_off_within_one_sample():
    # The magnet is shot down at a repelling current that is too weak to stop it but strong at the stop.
    current = np.full(30, 0.5)
    arguments = {"y0": 0.03, "v0": -8.0}
    position = simulate_maglev(current, **arguments)
    assert position.min() > 0.01
    np.testing.assert_allclose(position, by_scipy(current, **arguments), rtol=0, atol=1e-6)


def test_without_current_it_falls_as_the_formula_says():
    # ÿ = −g − k ẏ, so y = y0 − (g/k) t + (g/k²)(1 − exp(−k t)).
    k, t = BETA / MASS, np.arange(100) * 0.01
    expected = 5.0 - GRAVITY / k * t + GRAVITY / k**2 * (1 - np.exp(-k * t))
    np.testing.assert_allclose(simulate_maglev(np.zeros(100), y0=5.0), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("current", [1.0, 2.5, 4.0])
def test_the_equilibrium_is_kept_and_found(current):
    balance = ALPHA * current**2 / (MASS * GRAVITY)
    kept = simulate_maglev(np.full(300, current), y0=balance)
    np.testing.assert_allclose(kept, balance, rtol=0, atol=1e-8)
    found = simulate_maglev(np.full(500, current), y0=1.3 * balance, sample_time=0.2)
    np.testing.assert_allclose(found[-1], balance, rtol=0, atol=1e-8)


def test_friction_takes_energy_as_the_square_of_the_velocity():
    # At a constant current, E/m = ẏ²/2 + g y − (α/m) i² ln y loses (β/m) ẏ² in each second.
    position = simulate_maglev(np.full(300, 2.0), y0=0.3, sample_time=0.001)
    velocity = (position[2:] - position[:-2]) / 0.002
    potential = GRAVITY * position - ALPHA / MASS * 2.0**2 * np.log(position)
    energy = velocity**2 / 2 + potential[1:-1]
    assert (np.diff(energy) < 0).all()
    lost = BETA / MASS * np.trapezoid(velocity**2, dx=0.001)
    np.testing.assert_allclose(energy[0] - energy[-1], lost, rtol=1e-3)  # velocity and integral by differences


def test_it_lies_on_the_coil_until_it_is_lifted():
    current = np.repeat([0.0, -3.0, 0.1, 1.0], [200, 20, 20, 20])
    position = simulate_maglev(current, stop=0.02)
    assert (position >= 0.02).all()
    # A current of 0.1 A lifts α i² / stop = 7.5 N, less than the weight of 29.4 N.
    np.testing.assert_array_equal(position[100:241], 0.02)
    assert (np.diff(position[240:]) > 0).all()


def test_it_cannot_start_by_moving_into_the_coil():
    current = np.full(20, 2.0)
    pushed, released = (simulate_maglev(current, y0=0.01, v0=v0) for v0 in (-5.0, 0.0))
    np.testing.assert_array_equal(pushed, released)


def test_the_current_of_a_sample_acts_until_the_next():
    weak, strong = np.full(10, 1.0), np.full(10, 1.0)
    strong[5] = 3.0
    difference = simulate_maglev(strong) - simulate_maglev(weak)
    np.testing.assert_array_equal(difference[:6], 0.0)
    assert (difference[6:] > 1e-4).all()


def test_the_sample_time_only_says_where_to_look():
    current = np.repeat([2.0, -0.5, 3.0], 50)
    coarse = simulate_maglev(current, sample_time=0.02)
    fine = simulate_maglev(np.repeat(current, 2), sample_time=0.01)
    np.testing.assert_allclose(fine[::2], coarse, rtol=0, atol=1e-6)  # different steps of the integrator


def test_without_the_sign_either_direction_repels():
    current = np.full(100, 2.0)
    np.testing.assert_array_equal(simulate_maglev(-current, signed=False), simulate_maglev(current, signed=False))
    assert simulate_maglev(-current)[-1] == 0.01


def test_a_record_is_the_simulation_of_its_current():
    table = maglev(300, jax.random.key(0))
    assert table.names == ("time", "current", "position")
    assert all(column.dtype == np.float64 and len(column) == 300 for column in table.columns.values())
    np.testing.assert_array_equal(table["time"], np.arange(300) * 0.01)
    np.testing.assert_array_equal(table["position"], simulate_maglev(table["current"]))


def test_a_key_says_which_record():
    first, again, other = (maglev(300, jax.random.key(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.signal(first.names), again.signal(again.names))
    assert not np.array_equal(first["current"], other["current"])


def test_the_precision_of_jax_changes_nothing_and_is_left_alone():
    table = maglev(300, jax.random.key(0))
    with jax.enable_x64(False):
        single = maglev(300, jax.random.key(0))
        assert not jax.config.jax_enable_x64
    np.testing.assert_array_equal(single.signal(single.names), table.signal(table.names))


def test_levels_and_holds_are_drawn_from_their_ranges():
    current = maglev(500, jax.random.key(3), levels=(1.0, 2.0), holds=(0.05, 0.07))["current"]
    changes = np.flatnonzero(np.diff(current)) + 1
    assert 1.0 <= current.min() < 1.1 < 1.9 < current.max() <= 2.0
    assert set(np.diff(changes)) == {5, 6, 7}


def test_one_sample_is_a_record():
    table = maglev(1, jax.random.key(0))
    assert table["position"].tolist() == [0.5]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: maglev(0, jax.random.key(0)), DataError, "steps=0"),
        (lambda: maglev(9, jax.random.key(0), levels=(4.0, -1.0)), DataError, "levels=.*the smaller first"),
        (lambda: maglev(9, jax.random.key(0), holds=(-1.0, 1.0)), DataError, "holds=.*neither negative"),
        (lambda: maglev(9, jax.random.key(0), sample_time=0.0), DataError, "sample_time=0.0"),
        (lambda: simulate_maglev(np.ones((5, 1))), ShapeError, r"shape \(5, 1\).*current\[:, 0\]"),
        (lambda: simulate_maglev(np.ones(0)), ShapeError, r"shape \(0,\)"),
        (lambda: simulate_maglev(np.array([1.0, np.nan])), DataError, r"current\[1\] is nan"),
        (lambda: simulate_maglev(np.ones(5), y0=0.001), DataError, "y0=0.001.*stop=0.01"),
        (lambda: simulate_maglev(np.ones(5), v0=np.inf), DataError, "v0=inf"),
        (lambda: simulate_maglev(np.ones(5), stop=-1.0), DataError, "stop=-1.0"),
        (lambda: simulate_maglev(np.full(5, 1e200)), NumericalError, "from sample 0 to 1"),
    ],
)
def test_errors_say_what_was_given_and_what_was_needed(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_diffrax_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(LDDNError, match=r"pip install 'lddn_jax\[demo\]'"):
        simulate_maglev(np.ones(5))
