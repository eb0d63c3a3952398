"""PyTorch as a peer: `torch.nn.RNN` for Elman networks of delay 1, `torch.nn.LSTM`, a loop over steps for others."""

import numpy as np
import torch

import lddn_jax as lddn
from benchmarks import peers_lstm
from benchmarks.peers import Peer
from lddn_jax.topology.plan import plan

torch.set_num_threads(1)  # the harness pins one core; more threads would only wait for each other
_FUNCTIONS = {"linear": lambda n: n, "tanh": torch.tanh, "logistic": torch.sigmoid}


def is_elman(topology: lddn.Topology) -> bool:
    """Returns whether `torch.nn.RNN` computes this network: u -> hidden (tanh, own delay 1) -> y (linear)."""
    expected = {("hidden", "u"): (0,), ("hidden", "hidden"): (1,), ("y", "hidden"): (0,)}
    return topology.delays == expected and topology.layer("hidden").transfer == "tanh"


def nn_rnn(net: lddn.Network, data: lddn.Sequences) -> Peer:
    """`torch.nn.RNN` with a linear read-out."""
    u, target = _tensor(data.inputs["u"]), _tensor(data.targets["y"])
    neurons = net.topology.sizes["hidden"]
    rnn = torch.nn.RNN(1, neurons, batch_first=True, dtype=u.dtype)
    out = torch.nn.Linear(neurons, 1, dtype=u.dtype)
    blocks = {
        ("IW", ("hidden", "u")): rnn.weight_ih_l0,
        ("LW", ("hidden", "hidden")): rnn.weight_hh_l0,
        ("b", "hidden"): rnn.bias_ih_l0,
        ("LW", ("y", "hidden")): out.weight,
        ("b", "y"): out.bias,
    }
    with torch.no_grad():
        rnn.bias_hh_l0.zero_()
        for (field, key), parameter in blocks.items():
            array = np.asarray(getattr(net, field)[key])
            parameter.copy_(_tensor(array[0] if field != "b" else array))

    def run():
        for parameter in (*rnn.parameters(), *out.parameters()):
            parameter.grad = None
        value = torch.sum((target - out(rnn(u)[0])) ** 2)
        value.backward()
        return value

    def result():
        value = run().item()
        return value, {
            (field, key): p.grad.numpy()[None] if field != "b" else p.grad.numpy() for (field, key), p in blocks.items()
        }

    return Peer(run, result)


def nn_lstm(net: lddn.Network, data: lddn.Sequences) -> Peer:
    """`torch.nn.LSTM` with a linear read-out."""
    u, target = _tensor(data.inputs["u"]), _tensor(data.targets["y"])
    given = {name: _tensor(array) for name, array in peers_lstm.stacked_gates(net).items()}
    rnn = torch.nn.LSTM(u.shape[-1], given["C"].shape[1], batch_first=True, dtype=u.dtype)
    out = torch.nn.Linear(given["C"].shape[1], given["C"].shape[0], dtype=u.dtype)
    p = {"W": rnn.weight_ih_l0, "R": rnn.weight_hh_l0, "b": rnn.bias_ih_l0, "C": out.weight, "d": out.bias}
    with torch.no_grad():
        rnn.bias_hh_l0.zero_()
        for name, parameter in p.items():
            parameter.copy_(given[name])

    def run():
        for parameter in (*rnn.parameters(), *out.parameters()):
            parameter.grad = None
        value = torch.sum((target - out(rnn(u)[0])) ** 2)
        value.backward()
        return value

    def result():
        value = run().item()
        return value, peers_lstm.by_gate({name: parameter.grad.numpy() for name, parameter in p.items()})

    return Peer(run, result)


def step_loop(net: lddn.Network, data: lddn.Sequences) -> Peer:
    """A loop over time steps, one matrix product for each connection and delay, `backward()`."""
    topology, order = net.topology, plan(net.topology).simulation_order
    p = {
        (field, key): _tensor(array).requires_grad_()
        for field in ("IW", "LW", "b")
        for key, array in getattr(net, field).items()
    }
    inputs = {name: _tensor(signal).unbind(1) for name, signal in data.inputs.items()}
    targets = {name: _tensor(signal) for name, signal in data.targets.items()}
    steps = data.steps
    held = {name: list(_tensor(state).unbind(1)) for name, state in data.state.items()}
    fed = {name: [(s, d) for (to, s), d in topology.delays.items() if to == name] for name in order}

    def run():
        for parameter in p.values():
            parameter.grad = None
        lines = {name: list(values) for name, values in held.items()}
        outputs = {name: [] for name in topology.outputs}
        for t in range(steps):
            now = {name: signal[t] for name, signal in inputs.items()}
            for name in order:
                n = p["b", name]
                for source, delays in fed[name]:
                    weights = p["IW" if source in inputs else "LW", (name, source)]
                    for k, d in enumerate(delays):
                        n = n + (now[source] if d == 0 else lines[source][-d]) @ weights[k].T
                now[name] = _FUNCTIONS[topology.layer(name).transfer](n)
            for name in lines:
                lines[name].append(now[name])
            for name in outputs:
                outputs[name].append(now[name])
        value = sum(torch.sum((targets[name] - torch.stack(a, 1)) ** 2) for name, a in outputs.items())
        value.backward()
        return value

    def result():
        value = run().item()
        return value, {key: parameter.grad.numpy() for key, parameter in p.items()}

    return Peer(run, result)


def _tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.array(array))
