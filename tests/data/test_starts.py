"""How a record starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import losses
from lddn_jax.data import FromRecord, Given, Record, Trained, WarmUp, Zeros, begin

TOPOLOGY = lddn.Topology(
    [lddn.Input("u", 1)],
    [lddn.Layer("hidden", 2), lddn.Layer("y", 1, transfer="linear")],
    [
        lddn.Connection("u", "hidden", (0, 1)),
        lddn.Connection("y", "hidden", (1, 3)),
        lddn.Connection("hidden", "hidden", (1,)),
        lddn.Connection("hidden", "y"),
    ],
    ["y"],
)


@pytest.fixture(scope="module")
def records():
    rng = np.random.default_rng(0)
    return [
        Record({"u": rng.normal(size=(n, 1)), "other": np.ones((n, 1))}, {"y": rng.normal(size=(n, 1))}, name=name)
        for n, name in ((12, "long"), (9, "short"))
    ]


def test_zeros_use_every_sample(records):
    data = begin(TOPOLOGY, records, Zeros())
    assert (data.batch, data.steps, data.state) == ((2,), 12, None)
    assert set(data.inputs) == {"u"}
    assert np.asarray(data.weights["y"]).sum(axis=(1, 2)).tolist() == [12, 9]


def test_the_record_fills_its_own_lines(records):
    data = begin(TOPOLOGY, records)
    assert data.steps == 9
    np.testing.assert_array_equal(data.state["y"][1], records[1].targets["y"][:3])
    np.testing.assert_array_equal(data.state["u"][1], records[1].inputs["u"][2:3])
    assert np.all(np.asarray(data.state["hidden"]) == 0)


def test_states_are_given(records):
    state = {"u": jnp.ones((2, 1, 1)), "y": jnp.ones((2, 3, 1)), "hidden": jnp.ones((2, 1, 2))}
    data = begin(TOPOLOGY, records, Given(state))
    assert data.steps == 12
    np.testing.assert_array_equal(data.state["hidden"], state["hidden"])
    one_for_all = begin(TOPOLOGY, records, Given(jax.tree.map(lambda line: line[0], state)))
    np.testing.assert_array_equal(one_for_all.state["y"], state["y"])
    with pytest.raises(lddn.ShapeError, match="delay state"):
        begin(TOPOLOGY, records, Given({"u": jnp.ones((2, 1, 1))}))


@pytest.mark.parametrize("start", [Zeros(), FromRecord()], ids=["zeros", "record"])
def test_a_warm_up_runs_but_does_not_count(records, start):
    data, without = begin(TOPOLOGY, records, WarmUp(4, start)), begin(TOPOLOGY, records, start)
    weights = np.asarray(data.weights["y"])
    assert np.all(weights[:, :4] == 0)
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))
    outputs = lddn.predict(net, without.inputs, without.state)["y"]
    lengths = [without.steps, without.steps - 3]
    expected = sum(
        float(np.sum(np.square(np.asarray(without.targets["y"] - outputs)[k, 4:length])))
        for k, length in enumerate(lengths)
    )
    assert float(lddn.value_and_grad(losses.SumSquaredError(), net, data)[0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("unchecked")
def test_a_warm_up_must_leave_something_of_each_record(records):
    with pytest.raises(lddn.DataError, match="record 'short' has 9 samples, so none of it would be scored"):
        begin(TOPOLOGY, records, WarmUp(10))
    with pytest.raises(lddn.DataError, match="whole number from 0"):
        begin(TOPOLOGY, records, WarmUp(12))
    with pytest.raises(lddn.DataError, match="not an initialization method"):
        begin(TOPOLOGY, records, "zeros")


def test_trained_states_belong_to_their_records(records):
    data = begin(TOPOLOGY, records, Trained())
    net, loss = lddn.Network(TOPOLOGY, key=jax.random.key(0)), losses.SumSquaredError()
    fitted = lddn.fit(net, data, loss, lddn.LevenbergMarquardt(), epochs=3)
    again = lddn.Sequences(data.inputs, data.targets, fitted.initial_state, data.weights)
    assert fitted.history["loss"][0] > float(lddn.value_and_grad(loss, fitted.net, again)[0])
    assert fitted.initial_state["y"].shape == (2, 3, 1)
    assert np.all(np.asarray(fitted.initial_state["y"] != data.state["y"]))
    np.testing.assert_array_equal(fitted.initial_state["u"], data.state["u"])


def test_states_of_new_records_are_estimated():
    keys = jax.random.split(jax.random.key(1), 4)
    net = lddn.Network(TOPOLOGY, key=keys[0])
    u = jax.random.normal(keys[1], (2, 40, 1))
    zeros = lddn.zero_state(TOPOLOGY, (2,))
    true = zeros | {
        "y": 0.3 * jax.random.normal(keys[2], (2, 3, 1)),
        "hidden": jax.random.uniform(keys[3], (2, 1, 2), minval=-0.3, maxval=0.3),
    }
    y = lddn.predict(net, u, true)["y"]
    data = lddn.Sequences(u, y.at[1, 2].set(jnp.nan), zeros)
    found = lddn.estimate_state(net, data)
    # y at step 2 of the second record is missing: what follows tells it.
    np.testing.assert_allclose(lddn.predict(net, u, found)["y"], y, atol=1e-7)
    assert np.max(np.abs(lddn.predict(net, u, zeros)["y"] - y)) > 0.01
    np.testing.assert_array_equal(found["u"], zeros["u"])


def test_something_must_tell_the_state():
    net = lddn.Network(TOPOLOGY, init="zeros")
    data = lddn.Sequences(jnp.ones((30, 1)), jnp.ones((30, 1)).at[:5].set(jnp.nan))
    with pytest.raises(lddn.DataError, match="all targets in the first 5 steps are missing"):
        lddn.estimate_state(net, data, steps=5)
    fir = lddn.Network(lddn.models.fir({"u": 1}, {"y": 1}, delays=(0, 1)), init="zeros")
    with pytest.raises(lddn.LDDNError, match="is read through a delay"):
        lddn.estimate_state(fir, lddn.Sequences(jnp.ones((30, 1)), jnp.ones((30, 1))))
