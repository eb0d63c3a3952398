"""A run that becomes NaN or infinite names the place, and returns a finite network."""

import logging

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax.training.non_finite import locate
from lddn_jax.training.stop_reason import Flag
from lddn_jax.training.trainer import Problem

# Two layers in a chain, the second of which grows without bound by itself.
TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("first", 2), lddn.Layer("grows", 1, "linear"), lddn.Layer("y", 1, "linear")],
    [
        lddn.Connection("u", "first"),
        lddn.Connection("first", "grows"),
        lddn.Connection("grows", "grows", (1,)),
        lddn.Connection("grows", "y"),
    ],
    ["y"],
)
MSE = lddn.losses.MeanSquaredError()


def record(steps: int = 12) -> lddn.Sequences:
    u = jax.random.normal(jax.random.key(0), (3, steps, 1))
    return lddn.Sequences(u, 0.1 * u)


def net(gain: float) -> lddn.Network:
    found = lddn.Network(TOPOLOGY, key=jax.random.key(1))
    return found.with_weights(LW={("grows", "grows"): [[[gain]]]})


def place(net, data) -> "lddn.training.non_finite.NonFinite":
    return locate(net, Problem.of(MSE, net, data, lddn.BPTT()), 5)


def test_the_first_layer_and_time_are_those_of_the_trajectory():
    data, gain = record(), 1e60
    a = np.asarray(lddn.simulate(net(gain), data.inputs).a["grows"])
    time = int(np.argmax(~np.isfinite(a).all(axis=(0, 2))))
    found = place(net(gain), data)
    assert (found.layer, found.time, found.what) == ("grows", time, "net input")
    assert not np.isfinite(a[found.sequence, found.time, 0])
    assert np.isfinite(a[:, :time]).all()
    assert f"layer 'grows' at time step {time} of sequence {found.sequence}" in str(found)


def test_an_input_that_is_not_finite_is_first_seen_by_the_layer_that_reads_it():
    problem = Problem.of(MSE, net(0.5), record(), lddn.BPTT())  # which takes no such input
    problem = eqx.tree_at(lambda p: p.inputs["u"], problem, problem.inputs["u"].at[1, 4].set(jnp.inf))
    found = locate(net(0.5), problem, 5)
    assert (found.layer, found.time, found.sequence) == ("first", 4, 1)


def test_weights_that_are_not_finite_are_named():
    broken = net(0.5).with_weights(b={"grows": [jnp.nan]})
    found = place(broken, record())
    assert (found.layer, found.time, found.parameters) == ("grows", 0, ("b['grows']",))
    assert "parameters already not finite: b['grows']" in str(found)


def test_a_loss_that_overflows_is_told_from_layers_that_do():
    found = place(net(0.5).with_weights(b={"y": [1e200]}), record())
    assert (found.what, found.layer) == ("loss", "y")
    assert "though all layers are finite" in str(found)


class LosesItsGradient(lddn.AbstractTrainer):
    """A trainer one of whose numbers becomes NaN at the third step, though loss and network stay finite."""

    column: str = eqx.field(default="gradient_norm", static=True)
    restarts: int = eqx.field(default=1, static=True)
    always_finite = ("loss", "gradient_norm", "gamma")

    def init(self, net, problem):
        return jnp.zeros(())

    def step(self, net, state, problem, key):
        broken = jnp.where(state >= 2, jnp.nan, 1.0)
        return net, state + 1, {"loss": problem.value(net), self.column: broken}


@pytest.mark.parametrize(
    ("column", "steps"), [("gradient_norm", 2), ("gamma", 2), ("gamma: y", 2), ("other", 4)], ids=str
)
def test_numbers_other_than_the_loss_that_become_nan_end_a_run(column, steps):
    fitted = lddn.fit(net(0.5), record(), MSE, LosesItsGradient(column), epochs=4)
    assert len(fitted.history["loss"]) == steps
    assert fitted.success == (steps == 4)
    if not fitted.success:
        assert (fitted.stop_reason, fitted.non_finite.what) == ("non_finite", column)
        assert f"the {column.replace('_', ' ')} after 2 epochs, though all layers are finite" in str(fitted)


def test_restarts_lose_their_gradients_too():
    fitted = lddn.fit(net(0.5), record(), MSE, LosesItsGradient(restarts=2), epochs=4)
    assert fitted.stop_reasons == ("non_finite", "non_finite")
    assert fitted.non_finite.what == "gradient_norm"


@pytest.mark.parametrize("validated", [False, True], ids=["", "validated"])
def test_a_run_that_explodes_ends_finite_and_says_where(caplog, validated):
    data = record()
    more = {"validation": record(6)} if validated else {}
    with caplog.at_level(logging.WARNING, "lddn_jax"):
        fitted = lddn.fit(net(0.9), data, MSE, lddn.Optax(optax.sgd(1e9)), epochs=50, **more)
    assert fitted.stop_reason == "non_finite"
    assert not fitted.success
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.net))
    assert np.isfinite(lddn.predict(fitted.net, data.inputs)["y"]).all()
    found = fitted.non_finite
    assert found.layer in ("grows", "y")
    for text in (str(fitted), caplog.text):
        assert f"layer '{found.layer}' at time step {found.time}" in text
    with pytest.raises(lddn.NumericalError, match=f"layer '{found.layer}' at time step {found.time}"):
        fitted.raise_for_status()
    assert fitted.to_dict()["non_finite"] == str(found)


def test_the_guard_may_be_left_out():
    fitted = lddn.fit(net(0.9), record(), MSE, lddn.Optax(optax.sgd(1e9)), epochs=50, nan_guard=False)
    assert (fitted.stop_reason, fitted.non_finite) == ("non_finite", None)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.net))


@pytest.mark.parametrize(
    "trainer", in_tiers({"lm": lddn.LevenbergMarquardt(), "br": lddn.BayesianRegularization()}, fast=["lm"])
)
def test_a_run_that_begins_outside_of_the_finite_numbers(trainer):
    fitted = lddn.fit(net(1e60), record(), MSE, trainer, epochs=5)
    assert (fitted.stop_reason, len(fitted.history["loss"])) == ("non_finite", 0)
    assert fitted.non_finite.layer == "grows"


def test_one_of_several_networks_is_lost():
    """The others continue, and the place where one became NaN or infinite is reported."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), net(0.5), net(1e60), net(0.4))
    fitted = lddn.fit(stacked, record(), MSE, lddn.LevenbergMarquardt(restarts=3), epochs=4)
    assert [str(reason) for reason in fitted.stop_reasons].count("non_finite") == 1
    assert fitted.stop_reasons[1] == "non_finite"
    assert fitted.success
    assert fitted.non_finite is None
    assert fitted.training.non_finite[0].restart == 1
    assert Flag.RESTARTS_LOST in fitted.flags
    assert Flag.RESTARTS_LOST.meaning in str(fitted)


def test_trials_are_counted():
    """With next to no damping the first trial steps give NaN or infinity."""
    trainer = lddn.LevenbergMarquardt(mu=1e-19)
    fitted = lddn.fit(net(0.9), record(60), MSE, trainer, epochs=20)
    history = fitted.history
    assert fitted.rejected == history["rejected"].sum()
    assert fitted.non_finite_trials == history["non_finite"].sum() <= fitted.rejected
    assert (Flag.NON_FINITE_TRIALS in fitted.flags) == (fitted.non_finite_trials > 0)


def test_a_trial_that_is_not_finite_is_counted_as_one():
    """A step of 1e200 overflows the loss."""
    from lddn_jax.gradients.gauss_newton import GaussNewton
    from lddn_jax.trainers.damping import Damping, damped_step

    one = jnp.ones(1)
    normal = GaussNewton(jnp.full((1, 1), 1e-150), jnp.full(1, 1e50), jnp.asarray(1.0))
    mu, nu = jnp.asarray([1e-160, 2.0])
    trial = damped_step(
        Damping(mu=1e-160),
        normal,
        one,
        value=jnp.asarray(1.0),
        value_of=lambda x: jnp.sum(x**4) ** 2,
        mu=mu,
        nu=nu,
    )
    assert int(trial.non_finite) > 0
    assert int(trial.rejected) >= int(trial.non_finite)
