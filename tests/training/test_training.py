"""The loop, the first-order trainer, and why training stops."""

import dataclasses
import logging

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import EXACT, METHODS

import lddn_jax as lddn
from lddn_jax.training.trainer import Problem

LINEAR = lddn.Topology(
    [lddn.Input("u", 1)], [lddn.Layer("y", 1, "linear")], [lddn.Connection("u", to="y", delays=(0, 1))], ["y"]
)
CLOSED = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("hidden", 3), lddn.Layer("y", 1, "linear")],
    [lddn.Connection("u", "hidden"), lddn.Connection("y", "hidden", (1,)), lddn.Connection("hidden", "y")],
    ["y"],
)
MSE = lddn.losses.MeanSquaredError()
ADAM = lddn.Optax(optax.adam(0.05))


def record(sequences: int = 7, steps: int = 12, seed: int = 0) -> lddn.Sequences:
    u = jax.random.normal(jax.random.key(seed), (sequences, steps, 1))
    before = jnp.concatenate([jnp.zeros_like(u[:, :1]), u[:, :-1]], axis=1)
    return lddn.Sequences(u, 2 * u - 0.5 * before + 1)


def linear_net() -> lddn.Network:
    return lddn.Network(LINEAR, init="zeros")


def test_adam_finds_the_linear_system():
    fitted = lddn.fit(linear_net(), record(), MSE, ADAM, epochs=600)
    np.testing.assert_allclose(fitted.net.IW["y", "u"][:, 0, 0], [2, -0.5], atol=1e-5)  # Adam is not exact
    np.testing.assert_allclose(fitted.net.b["y"], [1], atol=1e-5)
    assert fitted.stop_reason == "epochs"
    assert fitted.best_epoch == 600
    assert fitted.history["loss"].shape == fitted.history["gradient_norm"].shape == (600,)
    assert np.all(np.diff(fitted.history["seconds"]) > 0)


def test_history_starts_with_the_loss_of_the_first_network():
    data = record()
    fitted = lddn.fit(linear_net(), data, MSE, ADAM, epochs=2)
    assert fitted.history["loss"][0] == pytest.approx(float(lddn.value_and_grad(MSE, linear_net(), data)[0]), rel=1e-14)


def test_one_full_batch_step_is_the_step_of_optax():
    net, data = linear_net(), record()
    gradient = lddn.value_and_grad(MSE, net, data)[1]
    with jax.numpy_dtype_promotion("standard"):  # optax relies on it
        updates, _ = ADAM.transformation.update(gradient, ADAM.transformation.init(net), net)
    expected = eqx.apply_updates(net, updates)
    fitted = lddn.fit(net, data, MSE, ADAM, epochs=1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), fitted.net, expected)


@pytest.mark.parametrize("method", [METHODS[name] for name in EXACT], ids=EXACT)
def test_every_exact_gradient_trains_alike(method):
    net, data = lddn.Network(CLOSED, key=jax.random.key(3)), record(3, 6)
    fitted = lddn.fit(net, data, MSE, ADAM, gradient=method, epochs=5)
    reference = lddn.fit(net, data, MSE, ADAM, epochs=5)
    np.testing.assert_allclose(fitted.history["loss"], reference.history["loss"], rtol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_mini_batches_use_every_sequence_once_in_a_pass(batch_size):
    """With a learning rate of zero, the batch losses of a pass add up to the whole loss."""
    trainer = lddn.Optax(optax.sgd(0.0), batch_size=batch_size)
    data = record(7)
    fitted = lddn.fit(linear_net(), data, lddn.losses.SumSquaredError(), trainer, epochs=1, key=jax.random.key(5))
    whole = float(lddn.value_and_grad(lddn.losses.SumSquaredError(), linear_net(), data)[0])
    batches = -(-7 // batch_size)
    assert fitted.history["loss"][0] * batches == pytest.approx(whole, rel=1e-13)


def test_the_last_mini_batch_counts_only_its_own_sequences():
    """A mean over a batch that was filled up is the mean over the sequences that belong to it."""
    net, data = linear_net(), record(5)
    problem = Problem.of(MSE, net, data, lddn.BPTT())
    filled = problem.take(jnp.array([4, 0, 1]), jnp.array([True, False, False]))
    alone = problem.take(jnp.array([4]))
    for got, expected in zip(filled.value_and_grad(net), alone.value_and_grad(net), strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), got, expected)


def test_shuffling_follows_the_key():
    trainer, net = lddn.Optax(optax.sgd(0.05), batch_size=2), linear_net()
    histories = [
        lddn.fit(net, record(), MSE, trainer, epochs=3, key=jax.random.key(k)).history["loss"] for k in (0, 0, 1)
    ]
    np.testing.assert_array_equal(histories[0], histories[1])
    assert np.any(histories[0] != histories[2])


def test_every_epoch_has_an_order_of_its_own():
    """The second epoch of a run, and the first of another one that starts from where the first epoch of that led."""
    trainer = lddn.Optax(optax.sgd(0.05), batch_size=2)
    once, twice = (lddn.fit(linear_net(), record(), MSE, trainer, epochs=n) for n in (1, 2))
    again = lddn.fit(once.net, record(), MSE, trainer, epochs=1)
    assert np.max(np.abs(twice.net.ravel()[0] - again.net.ravel()[0])) > 1e-4


def test_a_line_search_gets_its_value_function():
    fitted = lddn.fit(linear_net(), record(4, 8), MSE, lddn.Optax(optax.lbfgs()), epochs=15)
    assert fitted.history["loss"][-1] < 1e-12


def test_validation_returns_the_best_network():
    data, held_out = record(seed=0), record(3, seed=1)
    trainer = lddn.Optax(optax.sgd(0.9))  # too fast: the loss rises
    fitted = lddn.fit(linear_net(), data, MSE, trainer, epochs=50, validation=held_out, max_fail=4)
    losses = fitted.history["validation_loss"]
    first = float(lddn.value_and_grad(MSE, linear_net(), held_out)[0])
    assert fitted.stop_reason == "max_fail"
    assert fitted.best_epoch == int(np.argmin([first, *losses]))
    assert len(losses) == fitted.best_epoch + 4
    best = float(lddn.value_and_grad(MSE, fitted.net, held_out)[0])
    assert best == pytest.approx(min(first, *losses), rel=1e-12)


def test_goal_returns_the_network_that_reached_it():
    fitted = lddn.fit(linear_net(), record(), MSE, ADAM, epochs=600, goal=0.1)
    assert fitted.stop_reason == "goal"
    assert fitted.history["loss"][-1] <= 0.1 < fitted.history["loss"][-2]
    value = float(lddn.value_and_grad(MSE, fitted.net, record())[0])
    assert value == pytest.approx(fitted.history["loss"][-1], rel=1e-12)


def test_an_exploding_loss_stops_with_a_finite_network(caplog):
    net = lddn.Network(LINEAR, key=jax.random.key(0))
    with caplog.at_level(logging.WARNING, "lddn_jax"):
        fitted = lddn.fit(net, record(), MSE, lddn.Optax(optax.sgd(1e80)), epochs=50)
    assert fitted.stop_reason == "non_finite"
    assert "non_finite" in str(fitted)
    value = float(lddn.value_and_grad(MSE, fitted.net, record())[0])
    assert value == pytest.approx(fitted.history["loss"].min(), rel=1e-12)
    assert fitted.best_epoch == np.argmin(fitted.history["loss"])
    assert "the best network before" in caplog.text


def test_a_non_finite_last_step_is_noticed():
    fitted = lddn.fit(linear_net(), record(), MSE, lddn.Optax(optax.sgd(jnp.inf)), epochs=1)
    assert fitted.stop_reason == "non_finite"
    jax.tree.map(np.testing.assert_array_equal, fitted.net, linear_net())


@pytest.mark.parametrize("batch_size", [None, 3], ids=["full", "mini-batches"])
def test_one_trace_in_a_whole_fit(batch_size):
    traces = 0

    @dataclasses.dataclass(frozen=True)
    class Counting:
        inner: optax.GradientTransformation

        def init(self, params):
            return self.inner.init(params)

        def update(self, *arguments, **others):
            nonlocal traces
            traces += 1
            return self.inner.update(*arguments)

    counting = Counting(optax.adam(0.01))
    transformation = optax.GradientTransformationExtraArgs(counting.init, counting.update)
    lddn.fit(linear_net(), record(7), MSE, lddn.Optax(transformation, batch_size), epochs=4)
    assert traces == 1


def test_missing_targets_are_left_out():
    data = record()
    gaps = lddn.Sequences(data.inputs, data.targets.at[:, 3].set(jnp.nan))
    loss = lddn.losses.MeanSquaredError(missing="mask")
    fitted = lddn.fit(linear_net(), gaps, loss, lddn.Optax(optax.adam(0.05), batch_size=3), epochs=300)
    np.testing.assert_allclose(fitted.net.IW["y", "u"][:, 0, 0], [2, -0.5], atol=1e-3)  # Adam is not exact


def test_float32_stays_float32():
    net = lddn.Network(CLOSED, key=jax.random.key(0), dtype=jnp.float32)
    fitted = lddn.fit(net, record(3, 6), MSE, ADAM, epochs=2)
    assert {leaf.dtype for leaf in jax.tree.leaves(fitted.net)} == {jnp.dtype(jnp.float32)}


def test_history_reads_as_a_table(tmp_path):
    fitted = lddn.fit(linear_net(), record(), MSE, ADAM, epochs=3)
    fitted.history.to_csv(tmp_path / "history.csv")
    table = lddn.data.read_csv(tmp_path / "history.csv")
    assert table.names == ("epoch", "loss", "gradient_norm", "seconds")
    np.testing.assert_array_equal(table["loss"], fitted.history["loss"])
    with pytest.raises(KeyError, match="recorded are"):
        fitted.history["mu"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"trainer": optax.adam(0.1)}, "lddn.Optax"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": 2.5}, "whole number"),
        ({"max_fail": 0}, "max_fail=0"),
        ({"trainer": lddn.Optax(optax.sgd(0.1), batch_size=8)}, "lddn.windows"),
        ({"data": lddn.Sequences(jnp.zeros((2, 5, 2)), jnp.zeros((2, 5, 1)))}, "size 1"),
        ({"validation": lddn.Sequences(jnp.zeros((5, 1)), jnp.full((5, 1), jnp.nan))}, "NaN at"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
@pytest.mark.usefixtures("unchecked")
def test_errors_come_before_training(arguments, words):
    given = {"net": linear_net(), "data": record(), "loss": MSE, "trainer": ADAM} | arguments
    with pytest.raises(lddn.LDDNError, match=words):
        lddn.fit(**given)


@pytest.mark.usefixtures("unchecked")
def test_batch_size_must_be_a_positive_whole_number():
    with pytest.raises(lddn.LDDNError, match="batch_size=0"):
        lddn.Optax(optax.sgd(0.1), batch_size=0)
    with pytest.raises(lddn.LDDNError, match=r"optax\.adam"):
        lddn.Optax("adam")
