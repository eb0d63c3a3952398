"""Six kinds of extension, and an optimizer, do what CONTRIBUTING's checklists promise of them.

The extensions lie in `extensions/`, written by the checklists and public names alone. What is checked here comes
with the classes that they are derived from.
"""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import METHODS, blocks
from extensions.callback import Leash
from extensions.gradient_method import StepwiseBPTT
from extensions.loss import HalfSumSquared, LogCosh, VectorNorm
from extensions.model import hammerstein
from extensions.optimizer import polyak_steps
from extensions.random_gradient import ForwardGradient
from extensions.trainer import AT_REST, HeavyBall, State
from extensions.transfer_function import register, snake
from networks import BY_NAME, declare
from tiers import in_tiers

import lddn_jax as lddn

SSE, MSE = lddn.losses.SumSquaredError(), lddn.losses.MeanSquaredError()
FORWARD = ForwardGradient(jax.random.key(3))
FILES = sorted((Path(__file__).parent / "extensions").glob("*.py"))
SMALL = declare("u:1", "h:2:tanh y:1:linear", "u>h@0,1 y>h@1 h>y", "y")


def small_net(seed=0):
    return lddn.Network(SMALL, key=jax.random.key(seed))


def small_data(steps=15):
    u = jax.random.normal(jax.random.key(1), (3, steps, 1))
    return lddn.Sequences(u, jnp.tanh(u))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_extension_imports_public_names_only(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    froms = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert {*froms, *imported} <= {"lddn_jax", "jax", "jax.numpy", "equinox", "optax"}
    used = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "lddn"]
    assert {node.attr for node in used} <= set(lddn.__all__)
    assert not [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ("_error", "_terms")]


# --- a gradient method ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", in_tiers(["awkward", "elman", "softmax-in-a-loop", "multi-rate", "autonomous"], fast=["elman"])
)
def test_a_gradient_method_agrees_with_all_others(name):
    case = BY_NAME[name]
    methods = (lddn.BPTT(), StepwiseBPTT(), StepwiseBPTT(half=True))
    report = lddn.check_gradients(SSE, case.net, case.data, methods)
    assert report.passed, str(report)
    off = {frozenset(d.methods): (d.relative, d.tolerance) for d in report.differences}
    assert off[frozenset({"BPTT", "StepwiseBPTT"})][1] == 1e-11
    relative, tolerance = off[frozenset({"BPTT", "StepwiseBPTT(half=True)"})]
    assert 1e-6 < relative <= tolerance == 1e-2


@pytest.mark.deep
def test_a_gradient_method_has_a_jacobian():
    case = BY_NAME["elman"]
    found = lddn.jacobian(case.net, case.data, StepwiseBPTT(), with_state=True)
    expected = lddn.jacobian(case.net, case.data, lddn.RTRL(), with_state=True)
    for name, block in expected.items():
        np.testing.assert_allclose(found[name], block, rtol=0, atol=1e-12)


@pytest.mark.deep
def test_a_gradient_method_makes_a_simulation_differentiable_in_its_inputs():
    net, data = small_net(), small_data()

    def loss(inputs, method):
        return jnp.sum(lddn.differentiable(method)(net, inputs)["y"] ** 2)

    found, expected = (jax.grad(loss)(data.inputs, method) for method in (StepwiseBPTT(), lddn.BPTT()))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.deep
@pytest.mark.parametrize("trainer", [lddn.Optax(optax.sgd(0.05)), lddn.LevenbergMarquardt()], ids=["sgd", "lm"])
def test_a_gradient_method_trains(trainer):
    net, data = small_net(), small_data()
    found, expected = (
        lddn.fit(net, data, MSE, trainer, gradient=method, epochs=4) for method in (StepwiseBPTT(), lddn.BPTT())
    )
    np.testing.assert_allclose(found.history["loss"], expected.history["loss"], rtol=1e-9)


# --- a random one -----------------------------------------------------------------------------------------------------


def test_a_random_method_is_judged_by_the_mean_of_its_draws():
    case = BY_NAME["single-neuron"]
    report = lddn.check_gradients(SSE, case.net, case.data, (lddn.BPTT(), FORWARD))
    assert report.passed, str(report)
    (found,) = report.deviations
    assert (found.method, found.draws) == ("ForwardGradient", 200)
    assert 0 < found.relative <= found.allowed < 2
    assert "ForwardGradient is random, the mean of 200 draws" in str(report)
    assert report.to_dict()["deviations"]["ForwardGradient"]["allowed"] == found.allowed


def test_a_biased_random_method_does_not_pass():
    class Biased(ForwardGradient):
        def linearize(self, net, inputs, state, steps):
            return _Reversed(ForwardGradient(self.key).linearize(net, inputs, state, steps))

    class _Reversed(lddn.AbstractLinearization):
        right: lddn.AbstractLinearization

        @property
        def a(self):
            return self.right.a

        def pullback(self, cotangents):
            return jax.tree.map(lambda g: -g, self.right.pullback(cotangents))

    case = BY_NAME["single-neuron"]
    report = lddn.check_gradients(SSE, case.net, case.data, (lddn.BPTT(), Biased(jax.random.key(3))))
    assert not report.passed
    assert "ForwardGradient: NOT as accurate as promised" in str(report)


def test_a_random_method_gets_another_key_at_every_step():
    """A network without weights that matter: its loss stays, and what moves is the estimate itself."""
    net, data = small_net(), small_data()
    trainer = lddn.Optax(optax.sgd(1e-9))
    norms = lddn.fit(net, data, MSE, trainer, gradient=FORWARD, epochs=4).history["gradient_norm"]
    again = lddn.fit(net, data, MSE, trainer, gradient=FORWARD, epochs=4).history["gradient_norm"]
    assert len(set(np.round(norms, 6))) == 4
    np.testing.assert_array_equal(norms, again)


@pytest.mark.deep
def test_a_random_method_gets_another_key_in_every_restart_and_mini_batch():
    data = small_data()
    nets = jax.tree.map(lambda w: jnp.stack([w, w]), small_net())
    found = lddn.fit(nets, data, MSE, HeavyBall(restarts=2, rate=1e-9), gradient=FORWARD, epochs=1)
    assert found.history["speed"][0, 0] != found.history["speed"][0, 1]
    one = jax.tree.map(lambda s: jnp.repeat(s[:1], 3, axis=0), data)  # three times the same sequence
    gradients = []
    keep = optax.stateless(lambda g, _: jax.tree.map(lambda x: -x, g))
    for batches in (1, 3):
        fitted = lddn.fit(small_net(), one, MSE, lddn.Optax(keep, batch_size=3 // batches), gradient=FORWARD, epochs=1)
        gradients.append(fitted.history["gradient_norm"][0])
    assert gradients[0] != pytest.approx(gradients[1], rel=1e-3)


@pytest.mark.deep
def test_a_random_method_trains_and_resumes(tmp_path):
    net, data = small_net(), small_data()

    def run(epochs, **more):
        return lddn.fit(net, data, MSE, lddn.Optax(optax.sgd(5e-3)), gradient=FORWARD, epochs=epochs, **more)

    whole = run(150)
    assert whole.history["loss"][-1] < 0.8 * whole.history["loss"][0]
    lddn.save(tmp_path / "run.npz", run(70))
    np.testing.assert_array_equal(run(150, resume=tmp_path / "run.npz").net.ravel()[0], whole.net.ravel()[0])


def test_a_random_method_has_a_key():
    class Keyless(lddn.AbstractAdjoint):
        @property
        def accuracy(self):
            return lddn.accuracy.Random()

        def linearize(self, net, inputs, state, steps):
            return lddn.BPTT().linearize(net, inputs, state, steps)

    with pytest.raises(lddn.LDDNError, match=r"Keyless is random.*key: jax\.Array"):
        Keyless()


# --- a transfer function ----------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_a_transfer_function_in_a_simulation_and_in_every_method():
    register()
    case = declare("u:2", "h:3:snake y:1:linear", "u>h@0,2 h>h@1 h>y", "y")
    net = lddn.Network(case, key=jax.random.key(0))
    u = jax.random.normal(jax.random.key(1), (2, 8, 2))
    found = lddn.simulate(net, u)
    np.testing.assert_allclose(found.a["h"], snake(found.n["h"]), rtol=1e-13)
    report = lddn.check_gradients(SSE, net, lddn.Sequences(u, jnp.zeros((2, 8, 1))), tuple(METHODS.values()))
    assert report.passed, str(report)


# --- a loss -----------------------------------------------------------------------------------------------------------

LOSSES = {"log-cosh": LogCosh(0.5), "half-sum": HalfSumSquared(), "vector-norm": VectorNorm()}
OUTPUTS = jnp.asarray([[0.5, 1.0], [2.0, -1.0], [0.0, 0.0]])
TARGETS = jnp.asarray([[1.0, 1.5], [1.0, jnp.nan], [3.0, 4.0]])


def masked(loss):
    return type(loss)(*([0.5] if isinstance(loss, LogCosh) else []), missing="mask")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("log-cosh", 0.25 * np.log(np.cosh(np.array([0.5, 0.5, -1, 3, 4]) / 0.5)).sum() / 5),
        ("half-sum", (0.25 + 0.25 + 1 + 9 + 16) / 2),
        ("vector-norm", (np.sqrt(0.5) + 5) / 2),
    ],
)
def test_a_loss_leaves_out_what_is_missing(name, expected):
    loss = masked(LOSSES[name])
    value, gradient = jax.value_and_grad(lambda a: loss({"y": a}, {"y": TARGETS}))(OUTPUTS)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert np.isfinite(gradient).all()
    assert float(gradient[1, 1]) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_an_error_weight_of_zero_is_a_missing_target(name):
    weights, filled = jnp.asarray([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), jnp.nan_to_num(TARGETS, nan=7.0)
    value, gradient = jax.value_and_grad(lambda a: LOSSES[name]({"y": a}, {"y": filled}, weights))(OUTPUTS)
    expected = jax.value_and_grad(lambda a: masked(LOSSES[name])({"y": a}, {"y": TARGETS}))(OUTPUTS)
    np.testing.assert_allclose(value, expected[0], rtol=1e-14)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-14)


def test_a_nan_without_a_mask_is_an_error():
    with pytest.raises(lddn.DataError, match="time 1, element 1"):
        LogCosh()({"y": OUTPUTS}, {"y": TARGETS})


def test_settings_of_a_loss_are_checked_along_with_those_of_its_class():
    with pytest.raises(lddn.LDDNError, match="scale_of_error=0"):
        LogCosh(0)
    with pytest.raises(lddn.LDDNError, match='missing="error"'):
        LogCosh(missing="leave")


@pytest.mark.deep
@pytest.mark.parametrize("name", LOSSES)
def test_every_method_takes_a_loss(name):
    case = BY_NAME["elman"]
    report = lddn.check_gradients(LOSSES[name], case.net, case.data, (lddn.BPTT(), lddn.Autodiff(), lddn.RTRL()))
    assert report.passed, str(report)


@pytest.mark.deep
def test_levenberg_marquardt_minimizes_a_sum_of_squares_of_ones_own():
    net, data = small_net(), small_data()
    own, known = (lddn.fit(net, data, loss, lddn.LevenbergMarquardt(), epochs=5) for loss in (HalfSumSquared(), SSE))
    np.testing.assert_allclose(own.history["loss"], known.history["loss"] / 2, rtol=1e-9)
    with pytest.raises(lddn.LDDNError, match="LogCosh"):
        lddn.fit(net, data, LogCosh(), lddn.LevenbergMarquardt())


def test_an_abstract_loss_cannot_be_made():
    class Unfinished(lddn.AbstractElementwise):
        pass

    with pytest.raises(TypeError, match="error"):
        Unfinished()


# --- a trainer --------------------------------------------------------------------------------------------------------


def linear():
    u = jax.random.normal(jax.random.key(0), (2, 20, 1))
    net = lddn.Network(declare("u:1", "y:1:linear", "u>y@0,1", "y"), init="zeros")
    return net, lddn.Sequences(u, 2 * u + 1)


@pytest.fixture(scope="module")
def rested():
    return lddn.fit(*linear(), MSE, HeavyBall(), epochs=400)


def test_a_trainer_reaches_the_minimum_and_says_why_it_stopped(rested):
    assert rested.stop_reason is AT_REST
    assert rested.success
    assert AT_REST.meaning in str(rested)
    np.testing.assert_allclose(rested.net.b["y"], [1.0], atol=1e-3)
    assert rested.history["speed"][-1] < 1e-4 <= rested.history["speed"][-2]


def test_a_saved_state_comes_back_as_its_class(rested, tmp_path):
    lddn.save(tmp_path / "run.npz", rested)
    found = lddn.load(tmp_path / "run.npz")
    assert isinstance(found.state, State)
    np.testing.assert_array_equal(found.state.velocity.ravel()[0], rested.state.velocity.ravel()[0])
    assert (found.stop_reason, found.stop_reason.meaning) == (AT_REST, AT_REST.meaning)


@pytest.mark.deep
def test_a_resumed_run_is_the_run_that_was_not_stopped(rested, tmp_path):
    lddn.fit(*linear(), MSE, HeavyBall(), epochs=10, callbacks=[lddn.callbacks.Checkpoint(tmp_path, every=5)])
    resumed = lddn.fit(*linear(), MSE, HeavyBall(), epochs=400, resume=tmp_path)
    np.testing.assert_array_equal(resumed.net.ravel()[0], rested.net.ravel()[0])
    np.testing.assert_array_equal(resumed.history["speed"], rested.history["speed"])


@pytest.mark.deep
def test_a_trainer_has_restarts(tmp_path):
    net, data = small_net(), small_data()

    def run(epochs, **more):
        return lddn.fit(net, data, MSE, HeavyBall(restarts=3), epochs=epochs, key=jax.random.key(5), **more)

    found = run(6)
    assert found.history["loss"].shape == (6, 3)
    assert len(set(found.history["loss"][0])) == 3
    alone = lddn.fit(net, data, MSE, HeavyBall(), epochs=6)
    np.testing.assert_allclose(found.history["loss"][:, 0], alone.history["loss"], rtol=1e-12)
    lddn.save(tmp_path / "run.npz", run(3))
    again = run(6, resume=tmp_path / "run.npz")
    np.testing.assert_array_equal(again.history["loss"], found.history["loss"])


@pytest.mark.deep
def test_a_trainer_trains_initial_states():
    net, data = linear()
    topology = declare("u:1", "y:1:linear", "u>y y>y@1", "y")
    net = lddn.Network(topology, key=jax.random.key(0))
    data = lddn.Sequences(data.inputs, data.targets, train_state=True)
    found = lddn.fit(net, data, MSE, HeavyBall(rate=0.01), epochs=20)
    assert float(jnp.abs(found.initial_state["y"]).max()) > 0
    assert found.history["loss"][-1] < found.history["loss"][0]


# --- a callback -------------------------------------------------------------------------------------------------------


def test_a_callback_ends_training_for_a_reason_of_its_own():
    leash = Leash(0.5)
    found = lddn.fit(*linear(), MSE, HeavyBall(), epochs=100, callbacks=[leash])
    assert (found.stop_reason, found.stop_reason.meaning) == ("leash", Leash.stop_reason.meaning)
    assert leash.ended
    assert len(leash.distances) == len(found.history["loss"])
    assert leash.distances[-2] <= 0.5 < leash.distances[-1]


@pytest.mark.deep
def test_a_callback_serves_several_runs(tmp_path):
    leash = Leash(100.0)
    lddn.fit(*linear(), MSE, HeavyBall(), epochs=6, callbacks=[leash, lddn.callbacks.Checkpoint(tmp_path, every=3)])
    assert len(leash.distances) == 6
    lddn.fit(*linear(), MSE, HeavyBall(), epochs=9, callbacks=[leash], resume=tmp_path)
    assert len(leash.distances) == 3


# --- a model ----------------------------------------------------------------------------------------------------------


def test_a_model_is_a_topology():
    topology = hammerstein({"u": 1, "v": 2}, {"y": 1}, hidden=3)
    assert topology == declare(
        "u:1 v:2",
        "hidden:3:tanh static_y:1:linear y:1:linear",
        "u>hidden v>hidden hidden>static_y static_y>y@1,2 y>y@1,2",
        "y",
    )
    assert lddn.Topology.from_dict(topology.to_dict()) == topology
    with pytest.raises(lddn.TopologyError, match="feedback_delays"):
        hammerstein({"u": 1}, {"y": 1}, feedback_delays=(0, 1))


@pytest.mark.deep
def test_every_method_takes_a_model():
    topology = hammerstein({"u": 1}, {"y": 1, "z": 2}, hidden=2)
    net, u = lddn.Network(topology, key=jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 8, 1))
    report = lddn.check_gradients(SSE, net, lddn.Sequences(u, {"y": u, "z": jnp.zeros((2, 8, 2))}))
    assert report.passed, str(report)


# --- an optimizer -----------------------------------------------------------------------------------------------------


def test_an_optimizer_trains():
    found = lddn.fit(*linear(), MSE, lddn.Optax(polyak_steps()), epochs=40)
    assert found.history["loss"][-1] < 1e-6
    assert np.isfinite(found.history["loss"]).all()


def test_blocks_of_a_step_by_step_gradient_are_those_of_the_network():
    case = BY_NAME["awkward"]
    gradient, _ = StepwiseBPTT().pullback(case.net, *case.signals, {"y": jnp.ones((*case.batch, case.steps, 2))})
    assert blocks(gradient, {}).keys() == blocks(case.net, {}).keys()


# --- what an extension gets wrong ------------------------------------------------------------------------------------


class Wrong(lddn.AbstractAdjoint):
    """BPTT, and then something is done to the result of its pullback."""

    change: Callable = eqx.field(static=True)

    def linearize(self, net, inputs, state, steps):
        return WrongLinearization(lddn.BPTT().linearize(net, inputs, state, steps), self.change)


class WrongLinearization(lddn.AbstractLinearization):
    whole: lddn.AbstractLinearization
    change: Callable = eqx.field(static=True)

    @property
    def a(self):
        return self.whole.a

    def pullback(self, cotangents):
        return self.change(*self.whole.pullback(cotangents))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda gradient, state: gradient, "the pullback of Wrong.* returned Network;"),
        (lambda gradient, state: (state, gradient), "needed: .*a Network"),
        (lambda gradient, state: (gradient, {}), "∂F/∂state, a dict of the sources"),
        (lambda gradient, state: (jax.tree.map(lambda g: g[None], gradient), state), "returned shape .* is needed"),
    ],
    ids=["no state", "swapped", "no sources", "not summed"],
)
def test_a_pullback_of_another_structure_is_rejected(change, words):
    case = BY_NAME["elman"]
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.value_and_grad(lddn.losses.SumSquaredError(), case.net, case.data, Wrong(change))


class Misstepping(lddn.AbstractTrainer):
    """Does something else to what a step returns."""

    change: Callable = eqx.field(static=True)
    restarts: ClassVar[int] = 1

    def init(self, net, problem):
        return jnp.zeros(())

    def step(self, net, state, problem, key):
        return self.change(net, state, {"loss": problem.value(net)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda net, state, info: (net, state), "Misstepping.step returned tuple; it returns a network, a state"),
        (lambda net, state, info: (net, state, {}), "loss of `net` as 'loss'"),
        (lambda net, state, info: (net, state[None], info), "a state of another structure, shape or dtype"),
        (lambda net, state, info: (net.ravel()[0], state, info), "a network of another structure"),
    ],
    ids=["two values", "no loss", "state", "network"],
)
def test_a_step_that_returns_something_else_is_rejected(change, words):
    case = BY_NAME["elman"]
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.fit(case.net, case.data, lddn.losses.SumSquaredError(), Misstepping(change), epochs=1)


@pytest.mark.usefixtures("unchecked")
def test_the_error_function_of_a_loss_returns_each_element():
    class Summed(lddn.AbstractElementwise):
        def error(self, e):
            return jnp.sum(e * e)

    case = BY_NAME["elman"]
    with pytest.raises(lddn.ShapeError, match=r"Summed.error returned shape .* element by element"):
        lddn.value_and_grad(Summed(), case.net, case.data)


def test_an_accuracy_is_one():
    class Vague(lddn.AbstractAdjoint):
        @property
        def accuracy(self):
            return 1e-3

        def linearize(self, net, inputs, state, steps):
            return lddn.BPTT().linearize(net, inputs, state, steps)

    case = BY_NAME["elman"]
    with pytest.raises(lddn.LDDNError, match=r"Vague.accuracy is 0.001.*Approximate\(1e-3\)"):
        lddn.check_gradients(lddn.losses.SumSquaredError(), case.net, case.data, (lddn.BPTT(), Vague()))


class Velocity(eqx.Module):
    velocity: lddn.Network


class Momentum(lddn.AbstractTrainer):
    restarts: ClassVar[int] = 1

    def init(self, net, problem):
        return Velocity(jax.tree.map(jnp.zeros_like, net))

    def step(self, net, state, problem, key):
        return net, state, {"loss": problem.value(net)}


def test_a_state_of_more_arrays_than_were_registered_is_returned_by_name(tmp_path, caplog):
    lddn.register_trainer_state("tests.Velocity", Velocity)
    case = BY_NAME["elman"]
    fitted = lddn.fit(case.net, case.data, lddn.losses.SumSquaredError(), Momentum(), epochs=1)
    lddn.save(tmp_path / "fit.npz", fitted)
    found = lddn.load(tmp_path / "fit.npz").state
    assert len(found) == len(jax.tree.leaves(case.net))
    assert "pass described and like" in caplog.text.lower()
