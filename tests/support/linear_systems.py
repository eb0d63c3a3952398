"""Random linear systems, their records, and a plain loop that simulates them."""

import numpy as np

from lddn_jax.data import Record


def system(states, inputs, outputs, seed=0, feedthrough=True):
    """A random stable system: some real poles, some pairs, in coordinates that are not orthogonal."""
    rng = np.random.default_rng([seed, states, inputs, outputs])
    A, k = np.zeros((states, states)), 0
    while k < states:
        if states - k >= 2 and rng.random() < 0.6:
            radius, angle = rng.uniform(0.5, 0.97), rng.uniform(0.2, 2.8)
            c, s = radius * np.cos(angle), radius * np.sin(angle)
            A[k : k + 2, k : k + 2] = [[c, s], [-s, c]]
            k += 2
        else:
            A[k, k] = rng.uniform(-0.9, 0.95)
            k += 1
    T = rng.normal(size=(states, states)) + 2 * np.eye(states)
    D = rng.normal(size=(outputs, inputs)) * feedthrough
    return T @ A @ np.linalg.inv(T), rng.normal(size=(states, inputs)), rng.normal(size=(outputs, states)), D


def simulated(A, B, C, D, u, first, offset=7.0):
    """The equations as a loop."""
    x = [first]
    for t in range(1, len(u)):
        x.append(A @ x[-1] + B @ u[t - 1])
    return np.array(x) @ C.T + u @ D.T + offset


def records_of(A, B, C, D, lengths=(400,), seed=1, noise=0.0):
    """Records of a system from random first states, with white noise in the outputs."""
    rng = np.random.default_rng(seed)
    records = []
    for length in lengths:
        u = 5 + 3 * rng.normal(size=(length, B.shape[1]))
        y = simulated(A, B, C, D, u, rng.normal(size=len(A)))
        y = y + noise * y.std(axis=0) * rng.normal(size=y.shape)
        records.append(Record({"u": u} if B.shape[1] else {}, {"y": y}))
    return records


def distance(poles, expected):
    """The largest distance of a known pole to the nearest one that was found."""
    assert len(poles) == len(expected)
    return max(np.abs(poles - pole).min() for pole in expected)
