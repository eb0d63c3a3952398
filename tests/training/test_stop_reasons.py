"""Reasons to stop that a trainer or a callback brings along, through results, checkpoints and resumption."""

import json
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare

import lddn_jax as lddn
from lddn_jax import StopReason

MSE = lddn.losses.MeanSquaredError()
QUIET = StopReason("quiet", "the weights have stopped moving")
BURST = StopReason("burst", "the gradient burst", success=False)


class Descent(lddn.AbstractTrainer):
    """Steepest descent by `rates`, one for each step, which stops after the last of them."""

    reason: str = eqx.field(default=QUIET, static=True)
    rates: tuple[float, ...] = eqx.field(default=(0.05, 0.05, 0.05), static=True)
    restarts: int = eqx.field(default=1, static=True)

    def init(self, net, problem):
        return jnp.zeros((), int)

    def step(self, net, state, problem, key):
        value, gradient = problem.value_and_grad(net)
        rate = jnp.asarray(self.rates)[jnp.minimum(state, len(self.rates) - 1)]
        return jax.tree.map(lambda x, g: x - rate * g, net, gradient), state + 1, {"loss": value, "taken": state + 1}

    def stop_reason(self, info):
        return self.reason if info["taken"] >= len(self.rates) else None


def run(trainer=None, epochs=5, **more):
    u = jax.random.normal(jax.random.key(0), (20, 1))
    net = lddn.Network(declare("u:1", "y:1:linear", "u>y@0,1", "y"), init="zeros")
    return lddn.fit(net, lddn.Sequences(u, 2 * u), MSE, trainer or Descent(), epochs=epochs, **more)


@pytest.fixture(scope="module")
def quiet():
    return run()


def test_a_trainer_stops_for_a_reason_of_its_own(quiet):
    assert quiet.stop_reason == "quiet"
    assert quiet.stop_reason.meaning == QUIET.meaning
    assert quiet.success
    assert len(quiet.history["loss"]) == 3
    assert str(quiet).startswith("stopped after 3 epochs: the weights have stopped moving (quiet)")
    assert json.loads(json.dumps(quiet.to_dict()))["stop_reason"] == "quiet"


def test_it_survives_a_checkpoint(quiet, tmp_path):
    lddn.save(tmp_path / "run.npz", quiet)
    found = lddn.load(tmp_path / "run.npz").stop_reason
    assert (found, found.meaning, found.success) == ("quiet", QUIET.meaning, True)


def test_a_run_that_stopped_for_it_has_nothing_left_to_do(quiet, tmp_path):
    lddn.save(tmp_path / "run.npz", quiet)
    again = run(resume=tmp_path / "run.npz", epochs=9)
    assert (again.stop_reason, len(again.history["loss"])) == ("quiet", 3)
    np.testing.assert_array_equal(again.net.ravel()[0], quiet.net.ravel()[0])


def test_a_run_stopped_before_it_is_resumed_up_to_it(quiet, tmp_path):
    lddn.save(tmp_path / "run.npz", run(epochs=2))
    again = run(resume=tmp_path / "run.npz", epochs=9)
    assert again.stop_reason == "quiet"
    np.testing.assert_array_equal(again.net.ravel()[0], quiet.net.ravel()[0])


def test_each_of_several_networks_stops_for_it():
    found = run(Descent(restarts=3))
    assert found.stop_reasons == (QUIET,) * 3
    assert "stopped: 3 by quiet" in str(found)


def test_a_reason_that_is_no_success_returns_the_network_of_the_smallest_loss():
    """The third step is far too long, so the network before it is the best one."""
    found = run(Descent(BURST, (0.05, 0.05, 1e3)))
    assert (found.success, found.best_epoch) == (False, 2)
    with pytest.raises(lddn.NumericalError, match=r"failed \(burst\): the gradient burst"):
        found.raise_for_status()
    assert run(Descent(QUIET, (0.05, 0.05, 1e3))).best_epoch == 3


def test_a_callback_stops_for_a_reason_of_its_own():
    class Impatient:
        stop_reason = StopReason("impatient", "nobody wanted to wait")

        def on_step(self, state):
            return state.epoch == 2

    found = run(callbacks=[Impatient()])
    assert (found.stop_reason, found.stop_reason.meaning) == ("impatient", "nobody wanted to wait")


@pytest.mark.parametrize("reason", [QUIET, BURST, StopReason.GOAL], ids=str)
def test_a_copy_of_a_reason_is_that_reason(reason):
    copy = pickle.loads(pickle.dumps(reason))
    assert (copy, copy.meaning, copy.success) == (reason, reason.meaning, reason.success)


def test_a_known_reason_is_one_object():
    assert StopReason("goal") is StopReason.GOAL is StopReason("goal", StopReason.GOAL.meaning)
    assert not StopReason.INTERRUPTED.success
    assert StopReason.INTERRUPTED.cut_short
    assert not QUIET.cut_short


def test_a_name_without_a_meaning_must_be_known():
    with pytest.raises(lddn.LDDNError, match=r"'boredom' is unknown.*StopReason\('boredom', \"what it means\"\)"):
        run(Descent("boredom"))


def test_a_known_name_keeps_its_meaning():
    with pytest.raises(lddn.LDDNError, match=r"'goal'.*that name means 'the loss reached the goal'"):
        StopReason("goal", "the ball is in")
