"""Networks under stress: which stay bounded outside of the range that they were trained in."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax.data import Record, folds
from lddn_jax.trainers import stress
from lddn_jax.trainers.stress import bounded_under_stress

U = np.random.default_rng(0).uniform(-1, 1, (60, 1))
TOPOLOGY = lddn.models.state_space({"u": 1}, {"y": 1}, states=1, hidden=1)
ZERO = lddn.Network(TOPOLOGY, init="zeros", dtype="float64")


def sequences(u=U, largest=1.0):
    return folds(Record({"u": u}, {"y": largest * u / np.abs(u).max()}), 2).whole(TOPOLOGY).train


def stacked(*nets):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *nets)


def gain(pole, k, c=0.0):
    """x(t) = pole x(t−1) + k u(t−1) + c, y = x."""
    return ZERO.with_weights(
        IW={("state", "u"): [[[k]]]}, LW={("state", "state"): [[[pole]]], ("y", "state"): [[[1.0]]]}, b={"state": [c]}
    )


def test_a_network_that_grows_without_bound_is_found():
    nets = stacked(gain(0.5, 0.5), gain(1.2, 0.5), gain(0.5, 0.5))
    assert bounded_under_stress(nets, sequences()).tolist() == [True, False, True]


def test_the_bound_is_ten_times_the_largest_target():
    """The largest output of a gain is that under inputs of twice the size."""
    largest = 2 * np.abs(U[:-1]).max()
    nets = stacked(gain(0.0, 9.9 / largest), gain(0.0, 10.1 / largest))
    assert bounded_under_stress(nets, sequences()).tolist() == [True, False]
    assert bounded_under_stress(nets, sequences(largest=1.1)).all()


@pytest.mark.parametrize("number", range(5))
def test_each_of_the_runs_counts(monkeypatch, number):
    """As they are, scaled by 1.5, −1.5 and 2, and reversed in time."""
    data, runs = sequences(), []
    u = np.asarray(data.inputs["u"])
    expected = [u, 1.5 * u, -1.5 * u, 2 * u, u[:, ::-1]]

    def outputs(nets, data, states):
        np.testing.assert_array_equal(data.inputs["u"], expected[len(runs)])
        runs.append(len(runs) == number)
        return {"y": np.full((2, *u.shape), 11.0 if runs[-1] else 9.0) * np.array([1.0, 0.5])[:, None, None, None]}

    monkeypatch.setattr(stress, "outputs_of_members", outputs)
    assert bounded_under_stress(stacked(ZERO, ZERO), data).tolist() == [False, True]
    assert len(runs) == 5


def test_not_a_number_is_not_bounded():
    net = gain(0.5, 0.5).with_weights(b={"y": [np.nan]})
    assert bounded_under_stress(stacked(net, gain(0.5, 0.5)), sequences()).tolist() == [False, True]


def test_targets_without_weight_do_not_count():
    data = sequences()
    huge = np.asarray(data.targets["y"]).copy()
    huge[0, 7] = 1e9
    weights = np.ones_like(huge)
    weights[0, 7] = 0
    data = dataclasses.replace(data, targets={"y": jnp.asarray(huge)}, weights={"y": jnp.asarray(weights)})
    assert bounded_under_stress(stacked(gain(1.2, 0.5), gain(0.5, 0.5)), data).tolist() == [False, True]


def test_first_states_are_zero():
    """Trained ones would hide that a network explodes from others."""
    data, nets = sequences(), stacked(gain(0.5, 0.5), gain(0.4, 0.5))
    states = {"state": jnp.full((2, data.batch[0], 1, 1), 1e6)}
    assert bounded_under_stress(nets, data, states).all()


def test_networks_without_inputs_are_not_tried():
    topology = lddn.models.linear_state_space({}, {"y": 1}, states=1)
    nets = stacked(*[lddn.Network(topology, init="zeros", dtype="float64")] * 2)
    data = folds(Record({}, {"y": U}), 2).whole(topology).train
    assert bounded_under_stress(nets, data).tolist() == [True, True]
