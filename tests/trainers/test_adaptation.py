"""One update for each sample."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from networks import BY_NAME
from tiers import in_tiers

import lddn_jax as lddn
from lddn_jax import losses

ADALINE = lddn.Topology(
    [lddn.Input("p", 2)], [lddn.Layer("y", 1, transfer="linear")], [lddn.Connection("p", "y", (0, 1, 3))], ["y"]
)


def summing():
    """Leaves the network alone, and adds up the gradients it is shown."""

    def update(gradient, total, net=None):
        return jax.tree.map(jnp.zeros_like, gradient), jax.tree.map(jnp.add, total, gradient)

    return optax.GradientTransformation(lambda net: jax.tree.map(jnp.zeros_like, net), update)


def lms(p, target, rate):
    """Widrow and Hoff's rule, letter by letter: w is (delay, element)."""
    w, b, outputs = np.zeros((3, 2)), 0.0, []
    line = np.zeros((4, 2))  # p(t), p(t−1), …
    for now, wanted in zip(p, target[:, 0], strict=True):
        line = np.concatenate([now[None], line[:3]])
        taps = line[[0, 1, 3]]
        outputs.append(np.sum(w * taps) + b)
        e = wanted - outputs[-1]
        w, b = w + 2 * rate * e * taps, b + 2 * rate * e
    return w, b, np.array(outputs)


def test_a_linear_layer_is_an_adaline():
    rng = np.random.default_rng(0)
    p, target = rng.normal(size=(60, 2)), rng.normal(size=(60, 1))
    w, b, outputs = lms(p, target, 0.02)
    adapted = lddn.adapt(lddn.Network(ADALINE, init="zeros"), lddn.Sequences(p, target), optax.sgd(0.02))
    np.testing.assert_allclose(adapted.net.IW["y", "p"][:, 0], w, rtol=1e-12)
    np.testing.assert_allclose(adapted.net.b["y"], [b], rtol=1e-12)
    np.testing.assert_allclose(adapted.outputs["y"][:, 0], outputs, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(adapted.losses, (target[:, 0] - outputs) ** 2, rtol=1e-11)


@pytest.mark.parametrize(
    "name",
    in_tiers(
        ["awkward", "awkward-two-batch-axes", "narx-closed", "multi-rate", "softmax-in-a-loop"],
        fast=["narx-closed"],
    ),
)
def test_gradients_of_all_samples_add_up_to_that_of_the_record(name):
    case = BY_NAME[name]
    value, gradient = lddn.value_and_grad(losses.SumSquaredError(), case.net, case.data)
    adapted = lddn.adapt(case.net, case.data, summing())
    assert float(jnp.sum(adapted.losses)) == pytest.approx(float(value), rel=1e-12)
    found, expected = adapted.adapting.optimizer.ravel()[0], gradient.ravel()[0]
    assert np.max(np.abs(found - expected)) < 1e-11 * np.max(np.abs(expected))
    outputs = lddn.predict(case.net, case.data.inputs, case.data.state)
    assert all(np.max(np.abs(adapted.outputs[n] - outputs[n])) < 1e-13 for n in outputs)


def test_sample_by_sample_is_the_same():
    case = BY_NAME["narx-closed"]
    net, data = case.net, case.data
    whole = lddn.adapt(net, data, optax.adam(1e-2))
    adapter = lddn.Adapter(optax.adam(1e-2))
    adapting = adapter.init(net, data.state, data.batch)
    for t in range(data.steps):
        now, wanted = ({n: s[..., t, :] for n, s in dict(signals).items()} for signals in (data.inputs, data.targets))
        net, adapting, outputs = adapter.step(net, adapting, now, wanted)
        assert np.max(np.abs(outputs["y"] - whole.outputs["y"][..., t, :])) < 1e-13
    assert np.max(np.abs(net.ravel()[0] - whole.net.ravel()[0])) < 1e-13
    assert np.max(np.abs(adapting.state["y"] - whole.adapting.state["y"])) < 1e-13


def test_a_drifting_plant_is_followed():
    """RTRL on a recurrent network: after the plant has changed, the error comes down again."""
    topology = lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer("y", 1, transfer="linear", bias=False)],
        [lddn.Connection("u", "y"), lddn.Connection("y", "y", (1,))],
        ["y"],
    )
    u = np.random.default_rng(1).normal(size=(2000, 1))
    y = np.zeros((2001, 1))
    for t in range(2000):
        y[t + 1] = (0.3 if t < 1000 else 0.7) * y[t] + u[t]
    adapted = lddn.adapt(lddn.Network(topology, init="zeros"), lddn.Sequences(u, y[1:]), optax.sgd(0.01))
    assert float(adapted.net.LW["y", "y"][0, 0, 0]) == pytest.approx(0.7, abs=1e-3)
    assert np.mean(adapted.losses[1000:1020]) > 100 * np.mean(adapted.losses[1900:])


def test_a_missing_target_is_no_update():
    p, target = np.ones((3, 2)), np.full((3, 1), np.nan)
    net = lddn.Network(ADALINE, key=jax.random.key(0))
    adapted = lddn.adapt(net, lddn.Sequences(p, target), optax.sgd(0.1))
    assert np.array_equal(adapted.net.ravel()[0], net.ravel()[0])
    with pytest.raises(lddn.DataError, match="NaN"):
        lddn.adapt(net, lddn.Sequences(p, target), optax.sgd(0.1), losses.SumSquaredError())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", [0.01, "sgd"])
def test_a_transformation_is_needed(wrong):
    with pytest.raises(lddn.LDDNError, match=r"lddn\.Adapter\(optax\.sgd\(0\.01\)\)"):
        lddn.Adapter(wrong)
