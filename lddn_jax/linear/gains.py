"""B, D, the first state of every piece and the offset, for given A and C: least squares on the simulated output.

    y(t) = y0 + c A^t x(0) + Σ_j z_j(t) b_j + D u(t)        linear in y0, x(0), B and D

The first state of a piece occurs in no other piece, so the rows of each are multiplied by the Qᵀ of a QR factorization
whose first columns are those of its first state: the rows below do not contain it. They are collected to one small
triangle for B, D and y0. The first states follow piece by piece. No normal equations are formed, which would square
the condition number.

Verhaegen & Verdult (2007), *Filtering and System Identification*, section 9.2.4.
"""

import dataclasses
import itertools
import math

import numpy as np
from jaxtyping import Float

from lddn_jax.linear.pieces import Piece
from lddn_jax.linear.realization import spectral_radius
from lddn_jax.linear.responses import sensitivities, simulated

LARGEST_GROWTH = 1e4  # of a free response within a segment, if A is unstable
DEPENDENT = 1e-11  # relative singular value below which columns are dependent


@dataclasses.dataclass(frozen=True)
class Gains:
    """The result.

    Attributes:
        B: `(n, inputs)`.
        D: `(outputs, inputs)`; zero without feedthrough.
        offset: `(outputs,)`.
        first: First state of each segment.
        segments: The pieces; if A is unstable, cut so that no free response becomes large.
    """

    B: Float[np.ndarray, "n inputs"]
    D: Float[np.ndarray, "outputs inputs"]
    offset: Float[np.ndarray, " outputs"]
    first: list[Float[np.ndarray, " n"]]
    segments: list[Piece]


def fit_gains(
    A: Float[np.ndarray, "n n"], C: Float[np.ndarray, "outputs n"], pieces: list[Piece], *, feedthrough: bool
) -> Gains:
    """Fits B, D, the offset and the first states.

    Args:
        A: State matrix.
        C: Output matrix.
        pieces: (u, y) of each piece.
        feedthrough: Whether D is fitted, or zero.
    """
    n, inputs, outputs = len(A), pieces[0][0].shape[1], len(C)
    segments = bounded(A, pieces)
    gains = n * inputs + (outputs * inputs if feedthrough else 0) + outputs
    collected = np.zeros((0, gains + 1))
    norms = np.zeros(gains)
    eliminated = []
    for u, y in segments:
        by_first, common = _rows(A, C, u, feedthrough)
        norms += np.square(common).sum(axis=0)
        rows = np.concatenate([by_first, common, y.reshape(-1, 1)], axis=1)
        R = _triangle(rows)
        eliminated.append(R[:n])
        collected = _triangle(np.concatenate([collected, R[n:, n:]]))
    scale = np.sqrt(np.where(norms > 0, norms, 1.0))
    theta = least_norm(collected[:, :-1] / scale, collected[:, -1]) / scale
    B = theta[: n * inputs].reshape(inputs, n).T
    D = np.zeros((outputs, inputs))
    if feedthrough:
        D = theta[n * inputs : -outputs].reshape(outputs, inputs)
    first = [least_norm(R[:, :n], R[:, -1] - R[:, n:-1] @ theta) for R in eliminated]
    return Gains(B, D, theta[gains - outputs :], first, segments)


def first_state(
    A: Float[np.ndarray, "n n"], C: Float[np.ndarray, "outputs n"], residual: Float[np.ndarray, "time outputs"]
) -> Float[np.ndarray, " n"]:
    """Returns the x(0) whose free response C A^t x(0) is closest to a residual; of several, the shortest.

    Args:
        A: State matrix.
        C: Output matrix.
        residual: Measured outputs minus the response to the inputs; NaN where missing.
    """
    by_first, _ = sensitivities(A, C, np.zeros((len(residual), 0)))
    known = ~np.isnan(residual).reshape(-1)
    return least_norm(by_first.reshape(-1, len(A))[known], residual.reshape(-1)[known])


def bounded(A: Float[np.ndarray, "n n"], pieces: list[Piece]) -> list[Piece]:
    """Returns the pieces, cut so that the free response of an unstable A remains bounded within each.

    Args:
        A: State matrix.
        pieces: (u, y) of each piece.
    """
    longest = bounded_steps(A)
    if longest is None:
        return pieces
    cut = []
    for u, y in pieces:
        count = -(-len(y) // longest)
        cut += [(u[a:b], y[a:b]) for a, b in _ranges(len(y), count)]
    return cut


def bounded_steps(A: Float[np.ndarray, "n n"]) -> int | None:
    """Returns for how many samples free responses of an unstable A remain bounded; None for any number.

    Args:
        A: State matrix.
    """
    radius = spectral_radius(A)
    if radius <= 1:
        return None
    return max(2 * len(A) + 2, int(math.log(LARGEST_GROWTH) / math.log(radius)))


def simulation_error(A: Float[np.ndarray, "n n"], C: Float[np.ndarray, "outputs n"], found: Gains) -> float:
    """Returns the root mean squared error of the simulated outputs.

    Args:
        A: State matrix.
        C: Output matrix.
        found: The gains that belong to A and C.
    """
    total = count = 0
    for (u, y), first in zip(found.segments, found.first, strict=True):
        _, outputs = simulated(A, found.B, C, found.D, u, first)
        total += np.square(y - found.offset - outputs).sum()
        count += y.size
    return math.sqrt(total / count)


def least_norm(X: Float[np.ndarray, "rows columns"], y: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " columns"]:
    """Returns the least-squares solution of X θ = y; of several, the shortest."""
    if not X.size:
        return np.zeros(X.shape[1])
    return np.linalg.lstsq(X, y, rcond=DEPENDENT)[0]


def _ranges(length: int, count: int) -> list[tuple[int, int]]:
    """Cuts `length` samples into `count` ranges of nearly equal length."""
    edges = [length * k // count for k in range(count + 1)]
    return list(itertools.pairwise(edges))


def _rows(
    A: Float[np.ndarray, "n n"],
    C: Float[np.ndarray, "outputs n"],
    u: Float[np.ndarray, "time inputs"],
    feedthrough: bool,
) -> tuple[Float[np.ndarray, "rows n"], Float[np.ndarray, "rows gains"]]:
    """The regressors of one piece: those of the first state, and those of B, D and y0."""
    outputs, n = C.shape
    by_first, by_input = sensitivities(A, C, u)
    rows = len(u) * outputs
    parts = [by_input.reshape(rows, -1)]
    if feedthrough:
        parts.append(np.einsum("ih,tj->tihj", np.eye(outputs), u).reshape(rows, -1))
    parts.append(np.tile(np.eye(outputs), (len(u), 1)))
    return by_first.reshape(rows, n), np.concatenate(parts, axis=1)


def _triangle(rows: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "some columns"]:
    """R of the QR factorization."""
    return np.linalg.qr(rows, mode="r") if rows.size else rows
