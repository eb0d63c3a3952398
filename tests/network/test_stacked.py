"""Stacked networks: made by `jax.vmap`, used under `jax.vmap`, rewired as a whole, and trained by restarts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn

TOPOLOGY = lddn.models.narx({"u": 1}, {"y": 1}, hidden=2, input_delays=(1, 2), feedback_delays=(1, 3))
KEYS = jax.random.split(jax.random.key(0), 3)
U = jax.random.normal(jax.random.key(1), (12, 1))
INPUTS = {"u": U, "measured_y": jnp.tanh(U)}
DATA = lddn.Sequences(INPUTS, jnp.tanh(U))
MSE = lddn.losses.MeanSquaredError()


@pytest.fixture(scope="module")
def nets():
    return jax.vmap(lambda key: lddn.Network(TOPOLOGY, key=key))(KEYS)


def one(nets, k):
    return jax.tree.map(lambda leaf: leaf[k], nets)


MAPPED = {
    "predict": lambda net: lddn.predict(net, INPUTS),
    "value_and_grad": lambda net: lddn.value_and_grad(MSE, net, DATA),
    "jacobian": lambda net: lddn.jacobian(net, DATA),
    "gauss_newton": lambda net: lddn.gauss_newton(net, DATA, MSE).JTJ,
    "ravel": lambda net: net.ravel()[0],
    "differentiable": lambda net: jax.grad(lambda net: lddn.differentiable(lddn.BPTT())(net, INPUTS)["y"].sum())(net),
    "with_weights": lambda net: net.with_weights(b={"y": jnp.ones(1)}),
}


@pytest.mark.parametrize("function", MAPPED.values(), ids=MAPPED)
def test_calls_are_mapped_over_them(function, nets):
    found = jax.jit(jax.vmap(function))(nets)
    for k in range(3):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), one(found, k), function(one(nets, k))
        )


REWIRED = {
    "close_loop": lambda net: lddn.close_loop(net, "y", "measured_y"),
    "open_loop": lambda net: lddn.open_loop(lddn.close_loop(net, "y", "measured_y"), "y", "fed"),
    "remove_delay": lambda net: lddn.remove_delay(net, 1),
    "add_delay": lambda net: lddn.add_delay(net, 2),
}


@pytest.mark.parametrize("function", REWIRED.values(), ids=REWIRED)
def test_they_are_rewired_as_a_whole(function, nets):
    found = function(nets)
    for k in range(3):
        jax.tree.map(np.testing.assert_array_equal, one(found, k), function(one(nets, k)))


def test_their_summary_says_how_many_they_are(nets):
    assert nets.summary().endswith("13 parameters, float64, for each of 3 stacked networks")
    assert one(nets, 0).summary().endswith("13 parameters, float64")


def test_restarts_train_them(nets):
    fitted = lddn.fit(nets, DATA, MSE, lddn.LevenbergMarquardt(restarts=3), epochs=2)
    alone = lddn.fit(one(nets, 2), DATA, MSE, lddn.LevenbergMarquardt(), epochs=2)
    np.testing.assert_allclose(fitted.history["loss"][:, 2], alone.history["loss"], rtol=1e-9)


def test_a_loop_over_value_and_grad_is_traced(nets):
    """What the error about training inside `jax.jit` suggests."""

    def train(net):
        def step(net, _):
            value, gradient = lddn.value_and_grad(MSE, net, DATA)
            return jax.tree.map(lambda x, g: x - 0.1 * g, net, gradient), value

        return jax.lax.scan(step, net, length=3)[1]

    losses = jax.jit(jax.vmap(train))(nets)
    assert losses.shape == (3, 3)
    assert np.all(losses[:, 2] < losses[:, 0])
