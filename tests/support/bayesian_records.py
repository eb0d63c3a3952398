"""Records that tests of Bayesian regularization share, and what was trained on them."""

import functools

import jax
import numpy as np
from networks import declare

import lddn_jax as lddn
from lddn_jax import losses

SSE, MSE = losses.SumSquaredError(), losses.MeanSquaredError()


def fir(taps: int = 6, delays=None) -> lddn.Topology:
    return lddn.Topology(
        [lddn.Input("u", 1)],
        [lddn.Layer("y", 1, "linear", bias=False)],
        [lddn.Connection("u", "y", delays or tuple(range(taps)))],
        ["y"],
    )


def linear_problem(seed=0, taps=6, steps=60, noise=0.3, weights=(1.0, -0.7, 0.5, 0.4, -0.9, 0.6), apart=False):
    """Two sequences of a linear system, and its regressors as a matrix; `apart`: no regressor explains any noise."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((2, steps, 1))
    past = np.concatenate([np.zeros((2, taps, 1)), u], axis=1)[..., 0]
    X = np.stack([past[:, taps - d : taps - d + steps] for d in range(taps)], axis=-1).reshape(-1, taps)
    e = rng.standard_normal(2 * steps)
    y = X @ np.asarray(weights)[:taps] + noise * (e - X @ np.linalg.lstsq(X, e)[0] if apart else e)
    net = lddn.Network(fir(taps), key=jax.random.key(seed))
    return net, lddn.Sequences(u, y.reshape(2, steps, 1)), X, y


NOISE = 0.05


def noisy_loop(seed, steps, noise=NOISE):
    """A known LDDN: a closed network of three hidden neurons, with Gaussian noise as one more input of its output."""
    topology = declare("u:1 e:1", "h:3:tanh y:1:linear", "u>h@1,2 y>h@1,2 h>y e>y y>y@1", "y")
    net = lddn.Network(topology, key=jax.random.key(11))
    LW = {("y", "y"): [[[0.5]]], ("y", "h"): 0.5 * net.LW["y", "h"]}
    net = net.with_weights(IW={("y", "e"): [[[noise]]]}, LW=LW)
    rng = np.random.default_rng(seed)
    inputs = {"u": rng.uniform(-1, 1, (steps, 1)), "e": rng.standard_normal((steps, 1))}
    y = lddn.predict(net, inputs)["y"]
    return lddn.Sequences({"u": inputs["u"], "measured_y": y}, y)


def short_record(steps, seed):
    rng = np.random.default_rng(seed)
    u = rng.uniform(-1, 1, (steps, 1))
    past = np.concatenate([np.zeros((2, 1)), u])
    clean = 0.6 * np.tanh(2 * u) - 0.5 * past[1:-1] * u + 0.3 * past[:-2]
    return lddn.Sequences(u, clean + 0.1 * rng.standard_normal((steps, 1)))


@functools.cache
def one_step(steps, epochs):
    """A NARX network trained one step ahead on a noisy record: how training ended, the posterior, and the record."""
    topology = lddn.models.narx({"u": 1}, {"y": 1}, hidden=5)
    net, data = lddn.Network(topology, key=jax.random.key(0)), noisy_loop(0, steps)
    fitted = lddn.fit(net, data, MSE, lddn.BayesianRegularization(), epochs=epochs)
    return fitted, lddn.posterior(fitted, data), data


@functools.cache
def delays_found(seed):
    """A nonlinear system that reads two delays of eight, seen with noise: these two, and the posterior."""
    topology = declare("u:1", "h:3:tanh y:1:linear", "u>h@0,1,2,3,4,5,6,7 h>y", "y")
    trainer = lddn.BayesianRegularization(groups="delay", tolerance=1e-5)
    rng = np.random.default_rng(seed)
    true = tuple(sorted(rng.choice(8, 2, replace=False).tolist()))
    u = rng.standard_normal((400, 1))
    past = np.concatenate([np.zeros((7, 1)), u])
    first, second = (past[7 - d : 407 - d] for d in true)
    data = lddn.Sequences(u, np.tanh(first) - 0.7 * second + 0.1 * rng.standard_normal((400, 1)))
    fitted = lddn.fit(lddn.Network(topology, key=jax.random.key(seed)), data, MSE, trainer, epochs=100)
    return true, lddn.posterior(fitted, data)
