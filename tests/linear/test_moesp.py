"""Subspace identification recovers a known system from its noise-free outputs."""

import numpy as np
import pytest

import lddn_jax as lddn
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
    rng = np.random.default_rng(seed)
    records = []
    for length in lengths:
        u = 5 + 3 * rng.normal(size=(length, B.shape[1]))
        y = simulated(A, B, C, D, u, rng.normal(size=len(A)))
        y = y + noise * y.std(axis=0) * rng.normal(size=y.shape)
        records.append(Record({"u": u}, {"y": y}))
    return records


def distance(poles, expected):
    """The largest distance of a pole to its nearest."""
    assert len(poles) == len(expected)
    return max(np.abs(poles - pole).min() for pole in expected)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("states", [1, 2, 3, 4, 5, 6])
def test_poles_and_outputs_of_a_known_system(states, inputs, outputs):
    A, B, C, D = system(states, inputs, outputs)
    (record,) = records_of(A, B, C, D)
    model = lddn.linear.subspace(record, feedthrough=True)  # the order is found, too
    assert distance(model.poles, np.linalg.eigvals(A)) < 1e-6
    np.testing.assert_allclose(model.free_run(record)["y"], record.targets["y"], atol=1e-6)
