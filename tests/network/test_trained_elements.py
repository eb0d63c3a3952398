"""Weights that are not trained or masked: no parameters anywhere, and moved by nothing."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import BY_NAME, declare
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.bayesian.groups import Groups
from lddn_jax.bayesian.pruning import _without

TOPOLOGY = declare(
    "u:2",
    "x:2:linear! h:2:tanh y:1:linear",
    "u>x@1:fixed x>x@1:diagonal+fixed x>h h>x@1:mask=10/11 u>h@1,2:mask=01/00|00/00 x>y",
    "y",
)
KEY = jax.random.key(3)
FIXED = ("IW", ("x", "u")), ("LW", ("x", "x"))
NET = lddn.Network(TOPOLOGY, key=KEY).with_weights(LW={("x", "x"): [[0.5, -0.4]]})


def data(steps=40, sequences=2):
    u, y = (jax.random.normal(jax.random.fold_in(KEY, k), (sequences, steps, size)) for k, size in ((1, 2), (2, 1)))
    return lddn.Sequences(u, y)


def assert_only_parameters_moved(new, old):
    for field, pair in FIXED:
        np.testing.assert_array_equal(getattr(new, field)[pair], getattr(old, field)[pair])
    np.testing.assert_array_equal(np.asarray(new.LW["x", "h"])[0, 0, 1], 0)
    np.testing.assert_array_equal(np.asarray(new.IW["h", "u"]) * np.array([[[1, 0], [1, 1]], [[1, 1], [1, 1]]]), 0)
    assert not np.array_equal(new.LW["y", "x"], old.LW["y", "x"])


def test_masked_weights_start_at_zero():
    assert np.count_nonzero(NET.LW["x", "h"]) == 3
    assert np.count_nonzero(NET.IW["h", "u"]) == 1


def test_they_are_not_in_the_flat_vector():
    flat, unravel = NET.ravel()
    assert flat.size == NET.parameter_count == len(NET.parameter_names()) == 1 + 4 + 3 + 2 + 2 + 1
    moved = unravel(flat + 1)
    assert_only_parameters_moved(moved, NET)
    np.testing.assert_array_equal(moved.ravel()[0], flat + 1)


@pytest.mark.parametrize("position", in_tiers(list(range(13)), fast=[0, 3, 6, 12]))
def test_parameter_names_say_where_an_element_is(position):
    flat, unravel = lddn.Network(TOPOLOGY, init="zeros").ravel()
    changed, name = unravel(flat.at[position].set(1.0)), NET.parameter_names()[position]
    ((field, key, place),) = [
        (field, key, place)
        for field in ("IW", "LW", "b")
        for key, block in getattr(changed, field).items()
        for place in np.argwhere(np.asarray(block)).tolist()
    ]
    delay = f" delay {TOPOLOGY.delays[key][place[0]]}" if field != "b" else ""
    indices = place[1:] if field != "b" else place
    assert name == f"{field}[{', '.join(map(repr, key)) if field != 'b' else repr(key)}]{delay} {indices}"


def test_a_masked_weight_that_is_not_zero_is_refused():
    with pytest.raises(lddn.ShapeError, match=r"LW.*not zero at \(0, 0, 1\) \(delay, to, from\).*mask"):
        NET.with_weights(LW={("x", "h"): np.ones((1, 2, 2))})


def test_masked_weights_do_not_act():
    """Even if something put other numbers there."""
    others = NET.LW | {("x", "h"): NET.LW["x", "h"].at[0, 0, 1].set(9.0)}
    wrong = eqx.tree_at(lambda net: net.LW, NET, others)
    given = data()
    np.testing.assert_array_equal(lddn.predict(wrong, given.inputs)["y"], lddn.predict(NET, given.inputs)["y"])


def test_weights_that_are_carried_over_are_masked():
    net = lddn.Network(declare("u:2", "y:2:tanh", "u>y@0,1", "y"), key=KEY)
    sparse = lddn.carry_over(net, declare("u:2", "y:2:tanh", "u>y@1:mask=10/11", "y"))
    np.testing.assert_array_equal(sparse.IW["y", "u"][0], np.asarray(net.IW["y", "u"][1]) * [[1, 0], [1, 1]])


def test_a_pruned_delay_takes_its_mask_along():
    topology = declare("u:1 v:1", "y:1:linear", "u>y@0,1,2:mask=1|0|1 v>y", "y")
    smaller = _without(topology, {("y", "u", 0)})
    assert smaller == declare("u:1 v:1", "y:1:linear", "u>y@1,2:mask=0|1 v>y", "y")


OPTIMIZERS = {
    "weight decay": optax.adamw(0.01, weight_decay=0.5),
    "noise": optax.chain(optax.sgd(0.01), optax.add_noise(1.0, 0.0, jax.random.key(0))),
    "momentum": optax.sgd(0.01, momentum=0.9),
}


@pytest.mark.parametrize("optimizer", in_tiers(list(OPTIMIZERS), fast=["weight decay"]))
def test_no_optimizer_moves_them(optimizer):
    optimizer = OPTIMIZERS[optimizer]
    fitted = lddn.fit(NET, data(), lddn.losses.MeanSquaredError(regularization=0.1), lddn.Optax(optimizer), epochs=3)
    assert_only_parameters_moved(fitted.net, NET)


TRAINERS = {
    "lm": lddn.LevenbergMarquardt(),
    "restarts": lddn.LevenbergMarquardt(restarts=3),
    "br": lddn.BayesianRegularization(),
}


@pytest.mark.parametrize("trainer", in_tiers(list(TRAINERS), fast=["restarts"]))
def test_no_trainer_moves_them(trainer):
    fitted = lddn.fit(NET, data(), lddn.losses.SumSquaredError(), TRAINERS[trainer], epochs=3)
    assert_only_parameters_moved(fitted.net, NET)
    if fitted.restarts is not None:
        for k in range(3):
            assert_only_parameters_moved(jax.tree.map(lambda leaf, k=k: leaf[k], fitted.restarts), NET)


def test_states_are_trained_beside_them():
    given = dataclasses.replace(data(), train_state=True)
    fitted = lddn.fit(NET, given, lddn.losses.SumSquaredError(), lddn.LevenbergMarquardt(), epochs=3)
    assert_only_parameters_moved(fitted.net, NET)
    assert np.count_nonzero(fitted.initial_state["x"])


def test_a_trainer_of_a_users_own_does_not_move_them():
    class Drift(lddn.AbstractTrainer):
        restarts = 1

        def init(self, net, problem):
            return {"count": jnp.zeros(())}

        def step(self, net, state, problem, key):
            return jax.tree.map(lambda leaf: leaf + 0.01, net), state, {"loss": problem.value(net)}

    fitted = lddn.fit(NET, data(), lddn.losses.SumSquaredError(), Drift(), epochs=2)
    assert fitted.net is not NET
    assert_only_parameters_moved(fitted.net, NET)


def test_adaptation_does_not_move_them():
    given = data(steps=5)
    found = lddn.adapt(NET, jax.tree.map(lambda signal: signal[0], given), optax.adamw(0.05, weight_decay=0.5))
    assert_only_parameters_moved(found.net, NET)


def test_weight_decay_is_of_parameters():
    loss = lddn.losses.SumSquaredError(regularization=0.5)
    np.testing.assert_allclose(loss.decay(NET), (NET.ravel()[0] ** 2).sum(), rtol=1e-14)


def test_priors_are_of_parameters():
    groups = Groups.of(TOPOLOGY, "delay")
    sizes = dict(zip(groups.labels, groups.sizes.tolist(), strict=True))
    assert sizes == {
        "u -> h delay 1": 1, "x -> h delay 0": 4, "h -> x delay 1": 3, "x -> y delay 0": 2,
        "bias of h": 2, "bias of y": 1,
    }  # fmt: skip
    assert len(groups.members) == NET.parameter_count


@pytest.mark.parametrize("topology", ["u>y:fixed", "u>y:mask=00/00"])
def test_nothing_left_to_train(topology):
    net = lddn.Network(declare("u:2", "y:2:tanh!", topology, "y"), key=KEY)
    given = lddn.Sequences(jnp.ones((5, 2)), jnp.ones((5, 2)))
    with pytest.raises(lddn.LDDNError, match=r"nothing is left to train.*lddn\.simulate"):
        lddn.fit(net, given, lddn.losses.SumSquaredError(), lddn.LevenbergMarquardt())


def test_files_keep_them(tmp_path):
    lddn.save(tmp_path / "net.npz", NET)
    again = lddn.load(tmp_path / "net.npz")
    assert again.topology == TOPOLOGY
    assert jax.tree.all(jax.tree.map(np.array_equal, again, NET))


def test_the_summary_tells_them():
    lines = NET.summary().splitlines()
    assert "u [1] fixed, x [1] diagonal fixed, h [1] masked" in lines[3]
    assert lines[-1] == "13 parameters and 6 fixed weights, float64"


@pytest.mark.parametrize("name", in_tiers(["masks", "fixed-weights-in-a-loop", "fixed-factors"], fast=[]))
def test_methods_report_agreement(name):
    case = BY_NAME[name]
    report = lddn.check_gradients(lddn.losses.SumSquaredError(), case.net, case.data)
    assert report.passed, str(report)
