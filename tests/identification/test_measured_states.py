"""Windows that start from measured states, and training over growing horizons."""

import jax
import numpy as np
import pytest
from one_step import KEY, TINY, free_run_errors, resonant, starts

import lddn_jax as lddn
from lddn_jax.data import Record
from lddn_jax.identification.measured_states import count_of_windows, measured_states, windows_from_measured_states
from lddn_jax.identification.structures import Structure
from lddn_jax.linear.network_weights import STATE


def counted_up(length, inputs=2):
    """A record whose values tell their row: y(t) = t, u(t) = 100 t, v(t) = 1000 t."""
    t = np.arange(length, dtype=float)[:, None]
    return Record({"u": 100 * t, "v": 1000 * t} if inputs else {}, {"y": t})


def test_states_are_the_measured_values_before():
    record = counted_up(20)
    y, u = record.targets["y"], np.concatenate(list(record.inputs.values()), axis=1)
    np.testing.assert_array_equal(measured_states(y, u, (2, 3), 9, 7), [9, 8, 800, 8000, 700, 7000, 0])


def test_windows_follow_each_other_from_the_first_row_whose_states_are_known():
    records = [counted_up(20), counted_up(11)]
    assert count_of_windows(records, (2, 3), 5) == 3 + 1
    data = windows_from_measured_states(records, (2, 3), 6, 5, 6)
    assert data.batch == (6,)
    assert data.steps == 5
    np.testing.assert_array_equal(data.targets["y"][:4, 0, 0], [3, 8, 13, 3])
    np.testing.assert_array_equal(data.inputs["v"][:4, -1, 0], [7000, 12000, 17000, 7000])
    np.testing.assert_array_equal(data.state["u"][:4, 0, 0], [200, 700, 1200, 200])
    np.testing.assert_array_equal(data.state[STATE][1, 0], [7, 6, 600, 6000, 500, 5000])
    np.testing.assert_array_equal(data.weights["y"][:, 0, 0], [1, 1, 1, 1, 0, 0])


def test_a_network_that_is_the_plant_has_no_error_in_any_window():
    given = resonant(0.0)
    found, structure = starts(given), Structure(2, 8, 0)
    net = found._one_step(structure, None, 1, KEY, structure)
    data = windows_from_measured_states([given], found.lags(2), 2, 7, count_of_windows([given], found.lags(2), 7))
    run = lddn.predict(jax.tree.map(lambda leaf: leaf[0], net), data.inputs, data.state)
    assert float(np.abs(np.asarray(run["y"]) - np.asarray(data.targets["y"])).max()) < 0.02 * given.targets["y"].std()


def test_records_without_inputs():
    data = windows_from_measured_states([counted_up(12, inputs=0)], (3, 0), 3, 4, 2)
    np.testing.assert_array_equal(data.state[STATE][:, 0], [[2, 1, 0], [6, 5, 4]])
    assert not data.inputs


def test_horizons_undo_what_noise_does_to_one_step_ahead():
    given, structure = resonant(0.1), Structure(2, 3, 0)
    found = starts(given)
    one_step = found._one_step(structure, 1, 2, KEY, structure)
    over_horizons = found.networks(structure, 1, 2, KEY, structure)

    class Fixed:
        def __init__(self, nets):
            self.nets, self.folds, self.first_states = nets, found.folds, found.first_states

        def networks(self, *args):
            return self.nets

    before, after = (free_run_errors(Fixed(nets), structure, structure, 2)["y"] for nets in (one_step, over_horizons))
    assert after < 0.7 * before


def test_the_best_networks_of_the_first_horizon_are_trained_further():
    found, structure = starts(resonant(0.0)), Structure(2, 3, 0)
    nets, reason = found.on_everything(structure, 4, 2, 3, KEY, Structure(3, 3, 1))
    assert not reason.cut_short
    assert {leaf.shape[0] for leaf in jax.tree.leaves(nets)} == {2}


def test_a_time_limit_ends_all_horizons():
    found, structure = starts(resonant(0.1)), Structure(2, 3, 0)
    limit = lddn.callbacks.TimeLimit(1e-6)
    _, reason = found.on_everything(structure, 4, 2, 50, KEY, structure, [limit])
    assert reason == "time"


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [(["v"], ["y"], r"no input 'v'; its inputs are \['u'\]"), (["u"], ["ya"], "no target 'ya'.*Did you mean 'y'")],
)
def test_signals_that_a_record_does_not_have(inputs, targets, message):
    with pytest.raises(lddn.DataError, match=message):
        lddn.identify(resonant(0.0), inputs, targets, TINY)
