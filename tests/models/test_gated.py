"""Long short-term memories and gated recurrent units: the equations, those of PyTorch, and first biases of gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lddn_jax as lddn
from lddn_jax import models
from lddn_jax.network.initializers import Gated

SEQUENCES, STEPS, OUT = 3, 6, {"y": 2}


def sigmoid(n):
    return 1 / (1 + np.exp(-n))


def drawn(topology, seed=0):
    """A network with random weights and biases, and inputs, states and cotangents."""
    net = lddn.Network(topology, key=jax.random.key(seed), init="uniform")
    random = np.random.default_rng(seed)
    state = {name: random.standard_normal((SEQUENCES, *held.shape)) for name, held in lddn.zero_state(topology).items()}
    return net, random.standard_normal((SEQUENCES, STEPS, 2)), state, random.standard_normal((SEQUENCES, STEPS, 2))


def gate(net, name, u, h, t):
    return u[:, t] @ net.IW[name, "u"][0].T + h @ net.LW[name, "hidden"][0].T + net.b[name]


def test_lstm_with_peepholes_is_its_equations():
    net, u, state, _ = drawn(models.lstm({"u": 2}, OUT, hidden=3, peepholes=True))
    found = lddn.predict(net, jnp.asarray(u), state)["y"]
    net = jax.tree.map(np.asarray, net)
    h, c, expected = state["hidden"][:, 0], state["cell"][:, 0], []
    for t in range(STEPS):
        i, f = (sigmoid(gate(net, g, u, h, t) + net.LW[g, "cell"][0] * c) for g in ("input_gate", "forget_gate"))
        c = f * c + i * np.tanh(gate(net, "candidate", u, h, t))
        h = sigmoid(gate(net, "output_gate", u, h, t) + net.LW["output_gate", "cell"][0] * c) * np.tanh(c)
        expected.append(h @ net.LW["y", "hidden"][0].T + net.b["y"])
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=0, atol=1e-13)


def test_gru_is_its_equations():
    net, u, state, _ = drawn(models.gru({"u": 2}, OUT, hidden=3))
    found = lddn.predict(net, jnp.asarray(u), state)["y"]
    net = jax.tree.map(np.asarray, net)
    h, expected = state["hidden"][:, 0], []
    for t in range(STEPS):
        r, z = (sigmoid(gate(net, g, u, h, t)) for g in ("reset_gate", "update_gate"))
        recalled = h @ net.LW["recalled", "hidden"][0].T + net.b["recalled"]
        g = np.tanh(u[:, t] @ net.IW["candidate", "u"][0].T + net.b["candidate"] + r * recalled)
        h = (1 - z) * g + z * h
        expected.append(h @ net.LW["y", "hidden"][0].T + net.b["y"])
    np.testing.assert_allclose(found, np.stack(expected, axis=1), rtol=0, atol=1e-13)


# Layers in PyTorch's order of gates: those that read inputs, those that read states, and those of its two biases.
GATES = {
    "lstm": [("input_gate",) * 4, ("forget_gate",) * 4, ("candidate",) * 4, ("output_gate",) * 4],
    "gru": [("reset_gate",) * 4, ("update_gate",) * 4, ("candidate", "recalled", "candidate", "recalled")],
}


@pytest.mark.parametrize("hidden", [(3,), (3, 3)], ids=["one layer", "two layers"])
@pytest.mark.parametrize("kind", GATES)
def test_outputs_and_gradients_are_those_of_pytorch(kind, hidden):
    torch = pytest.importorskip("torch")
    net, u, state, cotangent = drawn(getattr(models, kind)({"u": 2}, OUT, hidden=hidden), seed=1)
    theirs = getattr(torch.nn, kind.upper())(2, 3, num_layers=len(hidden), batch_first=True, dtype=torch.float64)
    numbers = [f"_{k + 1}" if len(hidden) > 1 else "" for k in range(len(hidden))]
    with torch.no_grad():
        for k, number in enumerate(numbers):
            source = "u" if k == 0 else f"hidden{numbers[k - 1]}"
            for name, block in rows_of(kind, net, number, source).items():
                getattr(theirs, f"{name}_l{k}").copy_(torch.as_tensor(np.array(block)))
    held = [torch.tensor(np.stack([state[f"{name}{n}"][:, 0] for n in numbers]), requires_grad=True)
            for name in (["hidden", "cell"] if kind == "lstm" else ["hidden"])]  # fmt: skip
    signal = torch.tensor(u, requires_grad=True)
    h, _ = theirs(signal, tuple(held) if kind == "lstm" else held[0])
    out = net.LW["y", f"hidden{numbers[-1]}"][0], net.b["y"]
    y = h @ torch.as_tensor(np.array(out[0])).T + torch.as_tensor(np.array(out[1]))
    (y * torch.as_tensor(cotangent)).sum().backward()

    run = lddn.differentiable(lddn.BPTT())
    found, pull = jax.vjp(lambda net, u, state: run(net, u, state)["y"], net, jnp.asarray(u), state)
    gradient, of_inputs, of_state = pull(jnp.asarray(cotangent))
    np.testing.assert_allclose(found, y.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(of_inputs, signal.grad.numpy(), rtol=0, atol=1e-12)
    for name, first in zip(("hidden", "cell"), held, strict=False):
        for k, number in enumerate(numbers):
            np.testing.assert_allclose(of_state[f"{name}{number}"][:, 0], first.grad[k].numpy(), rtol=0, atol=1e-12)
    for k, number in enumerate(numbers):
        source = "u" if k == 0 else f"hidden{numbers[k - 1]}"
        for name, block in rows_of(kind, gradient, number, source, gradients=True).items():
            expected = getattr(theirs, f"{name}_l{k}").grad.numpy()
            np.testing.assert_allclose(block, expected, rtol=0, atol=1e-12, err_msg=f"{name} {k}")


def rows_of(kind, net, number, source, gradients=False):
    """PyTorch's weights of a layer, or their gradients; the second bias is zero where both are of one layer."""
    net = jax.tree.map(np.asarray, net)
    found = {"weight_ih": [], "weight_hh": [], "bias_ih": [], "bias_hh": []}
    for reads_input, reads_state, first, second in GATES[kind]:
        inputs = net.IW if source == "u" else net.LW
        found["weight_ih"].append(inputs[reads_input + number, source][0])
        found["weight_hh"].append(net.LW[reads_state + number, f"hidden{number}"][0])
        found["bias_ih"].append(net.b[first + number])
        found["bias_hh"].append(net.b[second + number] if gradients or first != second else np.zeros(3))
    return {name: np.concatenate(blocks) for name, blocks in found.items()}


# --- first biases ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "gates"), [("lstm", ["forget_gate_1", "forget_gate_2"]), ("gru", ["update_gate_1", "update_gate_2"])]
)
def test_gates_that_keep_start_with_a_bias_of_one(model, gates):
    topology = getattr(models, model)({"u": 1}, {"y": 1}, hidden=(4, 3))
    net = lddn.Network(topology, key=jax.random.key(0), init=Gated())
    assert {name for name, b in net.b.items() if np.all(b == 1)} == set(gates)
    assert all(np.all(b == 0) for name, b in net.b.items() if name not in gates)
    plain = lddn.Network(topology, key=jax.random.key(0), init="glorot")
    assert jax.tree.all(jax.tree.map(np.array_equal, (net.IW, net.LW), (plain.IW, plain.LW)))


def test_chrono_initialization():
    """Time constants 1 / (1 − f) of the cells are spread over the steps to remember, and i = 1 − f."""
    net = lddn.Network(models.lstm({"u": 1}, {"y": 1}, hidden=50), key=jax.random.key(0), init=Gated(memory=100))
    forget, write = sigmoid(np.asarray(net.b["forget_gate"])), sigmoid(np.asarray(net.b["input_gate"]))
    np.testing.assert_allclose(write, 1 - forget, rtol=1e-12)
    constants = 1 / (1 - forget)
    np.testing.assert_allclose(np.sort(constants), 2 + 98 * (np.arange(50) + 0.5) / 50, rtol=1e-12)


def test_gates_of_a_users_own():
    topology = lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer("valve", 2, "logistic"), lddn.Layer("x", 2, "linear", False, "product")],
        [lddn.Connection("u", "valve"), lddn.Connection("valve", "x", weights="identity"),
         lddn.Connection("x", "x", (1,), "identity")],
        ["x"],
    )  # fmt: skip
    net = lddn.Network(topology, key=jax.random.key(0), init=Gated("uniform", forget_bias=2.0, keeping=("valve",)))
    np.testing.assert_array_equal(net.b["valve"], [2.0, 2.0])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [({"memory": 1}, r"memory=1 .*at least 2.*memory=200"), ({"forget_bias": "one"}, r"forget_bias='one'.*1\.0")],
    ids=["memory", "bias"],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(lddn.TopologyError, match=message):
        Gated(**settings)
