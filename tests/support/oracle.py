"""The equations of a Layered Digital Dynamic Network as plain loops, letter for letter: the last word on what is right.

    n^m(t) = Σ_{l ∈ L^f_m} Σ_{d ∈ DL_{m,l}} LW^{m,l}(d) a^l(t−d)
           + Σ_{l ∈ I_m} Σ_{d ∈ DI_{m,l}} IW^{m,l}(d) p^l(t−d) + b^m
    a^m(t) = f^m(n^m(t))

A layer that multiplies has the product over its connections of these sums over d, and no bias.

It shares nothing with the package but the declaration of a topology, and is never optimized. Everything here also takes
complex numbers, so that the complex step

    ∂F/∂x = Im F(x + ih) / h,   h = 1e-30

gives derivatives that are exact to rounding: nothing is subtracted. A function with kinks is continued from the piece
that the real part lies in.
"""

import functools

import numpy as np

STEP = 1e-30


def _softmax(n):
    e = np.exp(n - n.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


TRANSFER = {
    "linear": lambda n: n,
    "complement": lambda n: 1 - n,
    "tanh": np.tanh,
    "logistic": lambda n: 1 / (1 + np.exp(-n)),
    "softplus": lambda n: np.log(1 + np.exp(n)),
    "radbas": lambda n: np.exp(-n * n),
    "softmax": _softmax,
    "elliotsig": lambda n: n / (1 + np.sign(n.real) * n),
    "elu": lambda n: np.where(n.real > 0, n, np.exp(np.where(n.real > 0, 0, n)) - 1),
    "relu": lambda n: np.where(n.real > 0, n, 0),
    "leaky_relu": lambda n: np.where(n.real > 0, n, 0.01 * n),
    "satlin": lambda n: np.where(n.real < 0, 0, np.where(n.real > 1, 1, n)),
    "satlins": lambda n: np.where(n.real < -1, -1, np.where(n.real > 1, 1, n)),
    "tribas": lambda n: np.where(abs(n.real) < 1, 1 - np.sign(n.real) * n, 0),
    "hardlim": lambda n: np.where(n.real >= 0, 1.0, 0.0),
    # The two that networks.py registers as a user would.
    "own_swish": lambda n: n / (1 + np.exp(-n)),
    "own_sphere": lambda n: n / np.sqrt(1 + (n * n).sum(axis=-1, keepdims=True)),
}
ALIASES = {"purelin": "linear", "tansig": "tanh", "logsig": "logistic", "sigmoid": "logistic", "poslin": "relu"}


def simulate(topology, weights, inputs, state, steps):
    """Returns n and a, `(*batch, time, size)` by layer, and the delay state after the last step.

    Args:
        topology: The declaration.
        weights: `{"IW": {(to, source): (delay, to, from)}, "LW": likewise, "b": {layer: (size,)}}`; diagonal ones are
            `(delay, size)`, and those of an identity missing.
        inputs: p, `(*batch, time, size)` by input.
        state: `(*batch, longest delay, size)` by source, oldest first.
        steps: Number of time steps.
    """
    layers = {layer.name: layer for layer in topology.layers}
    batch = next((signal.shape[:-2] for signal in (*inputs.values(), *state.values())), ())

    def a(name, t):
        if t < 0:
            return state[name][..., t, :]  # oldest first: the value at t = −1 is the last one
        if name in inputs:
            return inputs[name][..., t, :]
        transfer = layers[name].transfer
        return TRANSFER[ALIASES.get(transfer, transfer)](n(name, t))

    @functools.cache
    def n(m, t):
        multiplies = layers[m].net_input == "product"
        total = np.full((*batch, layers[m].size), 1.0 if multiplies else 0.0)
        if layers[m].bias:
            total = total + weights["b"][m]
        for connection in topology.connections:
            if connection.to == m:
                source = connection.source
                z = sum(times(connection, k, a(source, t - d)) for k, d in enumerate(connection.delays))
                total = total * z if multiplies else total + z
        return total

    def times(connection, k, s):
        if connection.weights == "identity":
            return s
        W = weights["IW" if connection.source in inputs else "LW"][connection.to, connection.source][k]
        return W * s if connection.weights == "diagonal" else s @ W.T

    def over(steps, function, name):
        return np.stack([function(name, t) for t in steps], axis=-2)

    return (
        {name: over(range(steps), n, name) for name in layers},
        {name: over(range(steps), a, name) for name in layers},
        {name: over(range(steps - held.shape[-2], steps), a, name) for name, held in state.items()},
    )


def loss(outputs, targets):
    """The sum of squared errors Σ (t − a)², without ½."""
    return sum(((targets[name] - outputs[name]) ** 2).sum() for name in targets)


def gradient(function, topology, weights, inputs, state, steps, wrt=("IW", "LW", "b", "state")):
    """Returns the complex-step derivative of `function(a)`, a number or an array, in every element of every block.

    Args:
        function: Of the layers' outputs by name; analytic.
        topology: As for `simulate`, like the arguments that follow.
        weights: See there.
        inputs: See there.
        state: See there.
        steps: See there.
        wrt: Kinds of blocks: "IW", "LW", "b", "state" and "inputs".

    Returns:
        Arrays of the shape of the block, followed by that of the function's value, by (kind, name).
    """
    blocks = {**weights, "inputs": inputs, "state": state}
    found = {}
    for kind in wrt:
        for name, block in blocks[kind].items():
            derivatives = []
            for element in np.ndindex(*block.shape):
                moved = block.astype(complex)
                moved[element] += 1j * STEP
                changed = blocks | {kind: blocks[kind] | {name: moved}}
                _, a, _ = simulate(topology, changed, changed["inputs"], changed["state"], steps)
                derivatives.append(np.imag(function(a)) / STEP)
            found[kind, name] = np.reshape(derivatives, block.shape + np.shape(derivatives[0]))
    return found
