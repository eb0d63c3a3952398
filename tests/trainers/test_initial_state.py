"""Estimation of the first states of records that were not trained on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import declare

import lddn_jax as lddn

TOPOLOGY = declare("u:1", "s:2:linear h:2:tanh y:1:linear", "u>s@1 s>s@1 s>h@1 h>s s>y", "y")
COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="module")
def system():
    """A nonlinear state space of two states, and three records of it from other first states than the given ones."""
    net = lddn.Network(TOPOLOGY, key=jax.random.key(0))
    A = [[[0.9, 0.2], [-0.2, 0.8]]]
    net = net.with_weights(LW={("s", "s"): A, ("s", "h"): 0.1 * net.LW["s", "h"]})
    rng = np.random.default_rng(0)
    u, state = rng.standard_normal((3, 60, 1)), {"u": np.zeros((3, 1, 1)), "s": rng.standard_normal((3, 1, 2))}
    return net, u, lddn.predict(net, u, state)["y"], jax.tree.map(jnp.asarray, state)


def squared_errors(net, data, state, steps=20):
    """Σ e² of each sequence over the measured values of the first steps."""
    e = data.targets["y"] - lddn.predict(net, data.inputs, state)["y"]
    return np.nansum(np.asarray(e[..., :steps, :]) ** 2, axis=(-2, -1))


def test_states_are_found_despite_gaps(system):
    net, u, y, state = system
    y = y.at[0, :30].set(jnp.nan).at[1, 3:7].set(jnp.nan)  # of the first record nothing is measured before step 30
    found = lddn.estimate_state(net, lddn.Sequences(u, {"y": y}))
    np.testing.assert_allclose(found["s"], state["s"], rtol=1e-6)
    np.testing.assert_array_equal(found["u"], state["u"])


def test_a_record_without_targets_keeps_its_state(system):
    net, u, y, state = system
    guess = jax.tree.map(lambda line: line + 0.5, state)
    found = lddn.estimate_state(net, lddn.Sequences(u, {"y": y.at[1].set(jnp.nan)}, guess))
    np.testing.assert_array_equal(found["s"][1], guess["s"][1])
    kept = lddn.Sequences(u, {"y": y.at[1].set(jnp.nan)}, guess | {"s": found["s"]})
    assert np.all(squared_errors(net, kept, found)[[0, 2]] < 1e-2 * squared_errors(net, kept, guess)[[0, 2]])


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_the_error_is_never_larger(system, noise):
    net, u, y, state = system
    y = y + noise * np.random.default_rng(1).standard_normal(y.shape)
    data = lddn.Sequences(u, {"y": y}, state)
    found = lddn.estimate_state(net, data)
    assert np.all(squared_errors(net, data, found) <= squared_errors(net, data, state))


def test_what_noise_would_explain_stays_near_the_guess(system):
    """A state that outputs hardly depend on: least squares alone explains the noise by it, and gets above 100."""
    net, u, _, state = system
    weak = net.with_weights(LW={("y", "s"): [[[1.0, 0.0]]], ("s", "s"): [[[0.9, 1e-3], [0.0, 0.8]]]})
    y = lddn.predict(weak, u[0], {name: line[0] for name, line in state.items()})["y"]
    y = y + 0.3 * np.random.default_rng(2).standard_normal(y.shape)
    found = lddn.estimate_state(weak, lddn.Sequences(u[0, :8], y[:8]))
    assert np.abs(found["s"][0, 1]) < 3


def test_each_record_by_itself(system):
    """A batch gives what its records give alone, whatever their number of axes."""
    net, u, y, _ = system
    y = y + 0.1 * np.random.default_rng(1).standard_normal(y.shape)
    whole = lddn.estimate_state(net, lddn.Sequences(u, {"y": y}))["s"]
    alone = lddn.estimate_state(net, lddn.Sequences(u[1], {"y": y[1]}))["s"]
    deeper = lddn.estimate_state(net, lddn.Sequences(u[:, None], {"y": y[:, None]}))["s"]
    np.testing.assert_allclose(alone, whole[1], rtol=1e-8)
    np.testing.assert_allclose(deeper[:, 0], whole, rtol=1e-8)


@pytest.fixture
def stacked(system):
    net = system[0]
    return jax.tree.map(lambda w: jnp.stack([w, 0.9 * w]), net)


def test_stacked_networks_have_states_of_their_own(system, stacked):
    _, u, y, _ = system
    data = lddn.Sequences(u, {"y": y})
    found = lddn.estimate_state(stacked, data)
    assert found["u"].shape == (2, 3, 1, 1)
    each = [lddn.estimate_state(jax.tree.map(lambda w, k=k: w[k], stacked), data) for k in range(2)]
    np.testing.assert_allclose(found["s"], jnp.stack([one["s"] for one in each]), rtol=1e-7)
    outputs = jax.vmap(lambda net, state: lddn.predict(net, u, state)["y"])(stacked, found)
    np.testing.assert_allclose(outputs[0], y, atol=1e-7)


def test_a_run_that_explodes_keeps_its_state(system):
    """No state makes the outputs finite; the given one is returned."""
    net, u, y, state = system
    unstable = net.with_weights(LW={("s", "s"): [[[1e30, 0.0], [0.0, 1e30]]]}, IW={("s", "u"): [[[1.0], [1.0]]]})
    found = lddn.estimate_state(unstable, lddn.Sequences(u, {"y": y}, state))
    np.testing.assert_array_equal(found["s"], state["s"])


def test_a_second_call_compiles_nothing(system):
    """Of other weights and data of the same shapes."""
    net, u, y, _ = system
    data, seen = lddn.Sequences(u, {"y": y}), []
    lddn.estimate_state(net, data)

    def listen(event, seconds, fun_name="", **_):
        if event == COMPILED:
            seen.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        lddn.estimate_state(jax.tree.map(lambda w: 0.9 * w, net), dataclasses.replace(data, targets={"y": 1 + y}))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert [name for name in seen if "estimated" in name] == []
