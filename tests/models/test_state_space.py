"""The nonlinear state space is its equation, contains the linear one, and errors name the argument."""

import jax
import numpy as np
import pytest
from agreement import METHODS, TOLERANCE

import lddn_jax as lddn
from lddn_jax.errors import LDDNError, TopologyError

INPUTS, OUTPUTS = {"u": 2, "v": 1}, {"y": 1, "z": 2}
SHAPES = {"both": (3, 2), "state equation": (3, 0), "output equation": (0, 2), "linear": (0, 0)}


def network(hidden=3, output_hidden=2, seed=0, **more):
    topology = lddn.models.state_space(INPUTS, OUTPUTS, states=2, hidden=hidden, output_hidden=output_hidden, **more)
    net = lddn.Network(topology, init="uniform", key=jax.random.key(seed))
    return net


def signals(steps=12, batch=2):
    keys = jax.random.split(jax.random.key(7), 3 + len(INPUTS))
    inputs = {name: jax.random.normal(k, (batch, steps, n)) for k, (name, n) in zip(keys, INPUTS.items(), strict=False)}
    state = {name: jax.random.normal(k, (batch, 1, n)) for k, (name, n) in zip(keys[2:], INPUTS.items(), strict=False)}
    return inputs, state | {"state": jax.random.normal(keys[4], (batch, 1, 2))}


def equation(net, inputs, state, f=np.tanh):
    """The equation of the docstring, row by row."""
    IW, LW, b = ({k: np.asarray(v) for k, v in part.items()} for part in (net.IW, net.LW, net.b))
    steps = next(iter(inputs.values())).shape[1]
    found = {name: [] for name in OUTPUTS}
    x = np.asarray(state["state"])[:, -1]
    before = {name: np.asarray(state[name])[:, -1] for name in inputs}
    for t in range(steps):
        following = x @ LW["state", "state"][0].T + b["state"]
        following = following + sum(before[name] @ IW["state", name][0].T for name in inputs)
        if ("state", "hidden") in LW:
            n = x @ LW["hidden", "state"][0].T + b["hidden"]
            n = n + sum(before[name] @ IW["hidden", name][0].T for name in inputs)
            following = following + f(n) @ LW["state", "hidden"][0].T
        x, before = following, {name: np.asarray(signal)[:, t] for name, signal in inputs.items()}
        for to, lines in found.items():
            y = x @ LW[to, "state"][0].T + b[to]
            if (to, "output_hidden") in LW:
                n = x @ LW["output_hidden", "state"][0].T + b["output_hidden"]
                y = y + f(n) @ LW[to, "output_hidden"][0].T
            if (to, "u") in IW:
                y = y + sum(before[name] @ IW[to, name][0].T for name in inputs)
            lines.append(y)
    return {name: np.stack(lines, axis=1) for name, lines in found.items()}


@pytest.mark.parametrize("feedthrough", [False, True], ids=["no feedthrough", "feedthrough"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_it_is_its_equation(shape, feedthrough):
    net, (inputs, state) = network(*shape, feedthrough=feedthrough), signals()
    found = lddn.predict(net, inputs, state)
    for name, expected in equation(net, inputs, state).items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-12)


def test_another_transfer_function_is_used_in_both_equations():
    net, (inputs, state) = network(transfer="logistic"), signals()
    found = lddn.predict(net, inputs, state)
    for name, expected in equation(net, inputs, state, lambda n: 1 / (1 + np.exp(-n))).items():
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=1e-12)


def test_without_weights_from_its_hidden_layers_it_is_the_linear_model():
    net, (inputs, state) = network(), signals()
    cut = {key: 0 * weight for key, weight in net.LW.items() if key[1] in ("hidden", "output_hidden")}
    quiet = net.with_weights(LW=cut)
    topology = lddn.models.linear_state_space(INPUTS, OUTPUTS, states=2, feedthrough=False)
    linear = lddn.Network(topology, init="zeros")
    assert not any(layer.bias for layer in topology.layers)  # so that the two differ by biases alone
    same = {k: net.IW[k] for k in linear.IW}, {k: net.LW[k] for k in linear.LW}
    linear = linear.with_weights(IW=same[0], LW=same[1])
    quiet = quiet.with_weights(b={name: 0 * bias for name, bias in quiet.b.items()})
    expected = lddn.predict(linear, inputs, state)
    found = lddn.predict(quiet, inputs, state)
    for name in OUTPUTS:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-13)


def test_the_shapes_of_its_weights():
    net = network(3, 4, feedthrough=True)
    assert {k: v.shape for k, v in net.IW.items()} == {
        **{("hidden", name): (1, 3, n) for name, n in INPUTS.items()},
        **{("state", name): (1, 2, n) for name, n in INPUTS.items()},
        **{(to, name): (1, m, n) for name, n in INPUTS.items() for to, m in OUTPUTS.items()},
    }
    assert {k: v.shape for k, v in net.LW.items()} == {
        ("hidden", "state"): (1, 3, 2),
        ("state", "state"): (1, 2, 2),
        ("state", "hidden"): (1, 2, 3),
        ("output_hidden", "state"): (1, 4, 2),
        **{(to, "state"): (1, m, 2) for to, m in OUTPUTS.items()},
        **{(to, "output_hidden"): (1, m, 4) for to, m in OUTPUTS.items()},
    }


def test_it_needs_no_inputs():
    topology = lddn.models.state_space({}, {"y": 1}, states=2, hidden=1)
    net = lddn.Network(topology, key=jax.random.key(0))
    outputs = lddn.predict(net, {}, {"state": np.ones((1, 2))}, steps=5)
    assert outputs["y"].shape == (5, 1)
    assert np.ptp(outputs["y"]) > 0


@pytest.mark.parametrize("name", [name for name in METHODS if name != "Autodiff"])
def test_gradient_methods_agree_on_weights_and_first_states(name):
    net, (inputs, state) = network(), signals(steps=6)
    data = lddn.Sequences(inputs, lddn.predict(network(seed=1), inputs, state), state, train_state=True)
    loss = lddn.losses.MeanSquaredError()
    value, expected = lddn.value_and_grad(loss, net, data, lddn.Autodiff())
    found_value, found = lddn.value_and_grad(loss, net, data, METHODS[name])
    np.testing.assert_allclose(found_value, value, rtol=1e-12)
    x, y = found.ravel()[0], expected.ravel()[0]
    np.testing.assert_allclose(x, y, rtol=0, atol=TOLERANCE[name] * np.abs(y).max())


WRONG = {
    "hidden": ({"hidden": -1}, "hidden=-1 is not a number of neurons; write hidden=5, or 0"),
    "output_hidden": ({"output_hidden": -3}, "output_hidden=-3 is not a number of neurons"),
    "a truth value": ({"hidden": True}, "hidden=True is not a number of neurons"),
    "no states": ({"states": 0}, "state"),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_the_argument(name):
    arguments, message = WRONG[name]
    with pytest.raises(LDDNError, match=message):
        lddn.models.state_space({"u": 1}, {"y": 1}, **arguments)


@pytest.mark.parametrize("output", ["hidden", "state", "output_hidden"])
def test_an_output_cannot_have_the_name_of_a_layer(output):
    with pytest.raises(TopologyError, match=output):
        lddn.models.state_space({"u": 1}, {output: 1}, output_hidden=1)
