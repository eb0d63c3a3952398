"""Plants, starts and settings for the tests of networks that are fitted one step ahead."""

import jax
import numpy as np

import lddn_jax as lddn
from lddn_jax.data import Record, folds
from lddn_jax.identification.one_step_starts import OneStepStarts
from lddn_jax.identification.structures import LinearStarts
from lddn_jax.linear.network_weights import STATE

TINY = lddn.Settings(states=2, hidden=2, folds=2, keep=1, epochs=4, restarts=2)
KEY = jax.random.key(0)


def record(inputs=2, outputs=2, length=200, lags=(2, 2), seed=0):
    """A NARX plant without noise, with lags p and q; its inputs are two signals if there are several."""
    rng = np.random.default_rng(seed)
    u, y = rng.uniform(-1, 1, (length, inputs)), np.zeros((length, outputs))
    regressors = lags[0] * outputs + lags[1] * inputs
    V, W = 2 * rng.normal(size=(2, regressors)), rng.normal(size=(outputs, 2))
    L = 0.3 * rng.normal(size=(outputs, regressors)) / regressors
    for t in range(max(lags), length):
        r = np.concatenate([*(y[t - i] for i in range(1, lags[0] + 1)), *(u[t - j] for j in range(1, lags[1] + 1))])
        y[t] = L @ r + W @ np.tanh(V @ r) + 0.1
    split = {"u": u[:, :1], "v": u[:, 1:]} if inputs > 1 else {"u": u} if inputs else {}
    return Record(split, {"y": y[:, :1], "z": y[:, 1:]} if outputs > 1 else {"y": y})


def resonant(noise, length=300):
    """A lightly damped plant behind a saturation; one step ahead, noise hides its damping."""
    rng = np.random.default_rng(0)
    u, y = rng.uniform(-1, 1, (length, 1)), np.zeros((length, 1))
    for t in range(2, length):
        y[t] = 1.6 * y[t - 1] - 0.9 * y[t - 2] + np.tanh(4 * u[t - 1])
    return Record({"u": u}, {"y": y + noise * y.std() * rng.normal(size=y.shape)})


def starts(given, trained=True, constant=None):
    found = folds(given, 2, lead=5)
    return OneStepStarts(found, LinearStarts(found, constant=constant or {}), trained)


def free_run_errors(found, structure, frame, restarts):
    nets = found.networks(structure, 1, restarts, KEY, frame)
    data = found.folds.data(frame.topology(found.folds.records[0]), 1)
    states = found.first_states(structure, 1, restarts, data.train, frame)
    one = jax.tree.map(lambda leaf: leaf[0], nets) if restarts > 1 else nets
    state = {STATE: states[STATE][0] if restarts > 1 else states[STATE]}
    run = lddn.predict(one, data.validation.inputs, data.validation.state | state)
    # The blocks that fold 1 holds out, far from the first state.
    held = data.validation
    return {
        name: float(np.abs((np.asarray(y) - np.asarray(held.targets[name])) * np.asarray(held.weights[name])).max())
        for name, y in run.items()
    }
