"""Simulation of a linear state equation, for many columns at once and without a loop over samples.

    X(0) = first,    X(t+1) = A X(t) + F(t)

The record is cut into about √T chunks of about √T samples. One loop simulates all chunks together from zero, one passes
the last state of each chunk on to the next, and the free responses A^k X of these states are added. So both loops have
√T steps of matrix products, in place of T steps, and any A is allowed, also one without a full set of eigenvectors.
"""

import math

import numpy as np
from jaxtyping import Float


def propagate(
    A: Float[np.ndarray, "n n"], first: Float[np.ndarray, "n columns"], forcing: Float[np.ndarray, "time n columns"]
) -> Float[np.ndarray, "time_and_one n columns"]:
    """Returns X(0) … X(T), the states before and after each of the T forcings.

    Args:
        A: State matrix.
        first: X(0).
        forcing: F(0) … F(T−1).

    Example:
        >>> propagate(np.array([[0.5]]), np.array([[8.0]]), np.zeros((3, 1, 1)))[:, 0, 0].tolist()
        [8.0, 4.0, 2.0, 1.0]
    """
    steps, n, columns = forcing.shape
    length = max(1, math.isqrt(steps))
    chunks = max(1, -(-steps // length))
    padded = np.zeros((chunks * length, n, columns))
    padded[:steps] = forcing
    # (sample of the chunk, state, chunk · column): one matrix product advances all chunks by a sample.
    F = padded.reshape(chunks, length, n, columns).transpose(1, 2, 0, 3).reshape(length, n, chunks * columns)
    X = np.zeros((length + 1, n, chunks * columns))
    for k in range(length):
        X[k + 1] = A @ X[k] + F[k]
    ends = X[length].reshape(n, chunks, columns)
    starts = np.zeros((n, chunks, columns))
    starts[:, 0] = first
    over_a_chunk = np.linalg.matrix_power(A, length)
    for chunk in range(chunks - 1):
        starts[:, chunk + 1] = over_a_chunk @ starts[:, chunk] + ends[:, chunk]
    free = starts.reshape(n, chunks * columns)
    for k in range(length + 1):
        X[k] += free
        free = A @ free
    states = X[:length].reshape(length, n, chunks, columns).transpose(2, 0, 1, 3).reshape(-1, n, columns)
    last = X[length].reshape(n, chunks, columns)[:, -1]
    states = np.concatenate([states, last[None]])
    return states[: steps + 1]


def simulated(
    A: Float[np.ndarray, "n n"],
    B: Float[np.ndarray, "n inputs"],
    C: Float[np.ndarray, "outputs n"],
    D: Float[np.ndarray, "outputs inputs"],
    u: Float[np.ndarray, "time inputs"],
    first: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, "time n"], Float[np.ndarray, "time outputs"]]:
    """Returns the states x(0) … x(T−1) and outputs of x(t) = A x(t−1) + B u(t−1), y(t) = C x(t) + D u(t).

    Args:
        A: State matrix.
        B: Input matrix.
        C: Output matrix.
        D: Feedthrough.
        u: Inputs u(0) … u(T−1).
        first: x(0).
    """
    x = propagate(A, first[:, None], (u[:-1] @ B.T)[:, :, None])[:, :, 0]
    return x, x @ C.T + u @ D.T


def sensitivities(
    A: Float[np.ndarray, "n n"], C: Float[np.ndarray, "outputs n"], u: Float[np.ndarray, "time inputs"]
) -> tuple[Float[np.ndarray, "time outputs n"], Float[np.ndarray, "time outputs inputs n"]]:
    """Returns the derivatives of the outputs with respect to the first state and to B.

        ∂y_i(t)/∂x(0) = c_i A^t
        ∂y_i(t)/∂b_j = Σ_s c_i A^(t−1−s) u_j(s) = z_ij(t),    z_ij(t+1) = z_ij(t) A + c_i u_j(t)

    Args:
        A: State matrix.
        C: Output matrix, with rows c_i.
        u: Inputs u(0) … u(T−1).
    """
    steps, inputs = u.shape
    outputs, n = C.shape
    forcing = np.einsum("ik,tj->tkij", C, u[:-1]).reshape(steps - 1, n, outputs * inputs)
    first = np.concatenate([np.zeros((n, outputs * inputs)), C.T], axis=1)
    forcing = np.concatenate([forcing, np.zeros((steps - 1, n, outputs))], axis=2)
    found = propagate(A.T, first, forcing)
    by_input = found[:, :, : outputs * inputs].reshape(steps, n, outputs, inputs).transpose(0, 2, 3, 1)
    return found[:, :, outputs * inputs :].transpose(0, 2, 1), by_input
