"""Subspace identification of a linear state-space model (PO-MOESP).

The outputs of i successive samples are a linear function of the state before them and of the inputs within them,

    Y_f = Γ X + H U_f + noise,    Γ = (C; C A; …; C A^(i−1))

with one column for every time at which there are i samples before (past, p) and i after (future, f). The LQ
factorization

    (1, U_f)       (L11           ) (Q1)
    (U_p, Y_p)  =  (L21  L22      ) (Q2)
    Y_f            (L31  L32  L33 ) (Q3)

removes the offset and the inputs, and keeps of the outputs what the past explains: the instruments U_p and Y_p are not
correlated with the noise of the future. So L32 has the range of Γ. Its singular value decomposition gives Γ; C is its
first block row and A maps it to itself one block row later. Columns of all pieces stand side by side before the
factorization, which is done for some thousand at a time, so that memory does not grow with the record.

The order is the one that minimizes σ²_(n+1) + log(N) n (m + 2p) / N, where σ are the canonical correlations between
past and future, N is the number of samples, m that of inputs and p that of outputs.

Verhaegen (1994), Automatica 30(1), 61-74 (PO-MOESP); Verhaegen & Verdult (2007), *Filtering and System Identification*,
section 9.6; Bauer (2001), Automatica 37(10), 1561-1573 (order).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lddn_jax.checks import check_positive
from lddn_jax.data.records import Records
from lddn_jax.errors import DataError
from lddn_jax.linear.gains import Gains, fit_gains, least_norm, simulation_error
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.pieces import Piece, Pieces, pieces_of
from lddn_jax.linear.realization import balancing, pulled_in, spectral_radius
from lddn_jax.linear.responses import simulated

COLUMNS_AT_ONCE = 8_000  # of the data matrices, in one factorization
TRIED_HORIZONS = (5, 10, 15, 20, 30, 40)
MOST_SUGGESTED_STATES = 10  # that is suggested
SUBSPACE_CALL = "subspace(records, states=None, *, horizon=None, feedthrough=False, stabilize=False)"


def subspace(
    records: Records,
    states: int | None = None,
    *,
    horizon: int | None = None,
    feedthrough: bool = False,
    stabilize: bool = False,
) -> LinearModel:
    """Identifies a linear state-space model from records, without iterations.

        x(t) = A x(t−1) + B (u(t−1) − u0),    y(t) = y0 + C x(t) + D (u(t) − u0)

    A and C come from a subspace of the data matrices (PO-MOESP); B, D, y0 and the first state of every piece from least
    squares on the simulated output. Records with gaps are split into pieces. Every signal is standardized within,
    and the states of the result are uncorrelated and of unit variance over the records.

    Args:
        records: A `Record` or a list of records of any length. Inputs called `measured_y`, where `y` is a target, are
            ignored.
        states: Number of states, the order of the model; None for the order that the singular values suggest.
        horizon: Number of past and of future samples of a column of the data matrices, larger than the order. None
            tries several and keeps the one with the smallest error of the simulated output.
        feedthrough: Whether inputs act on the outputs without delay, by a D.
        stabilize: Whether poles outside of the unit circle are reflected into it, before B and D are fitted.

    Returns:
        A `LinearModel`, with the singular values by which to choose an order.

    Raises:
        DataError: If the records are too short or have too many gaps.
        LDDNError: If `states` or `horizon` is not a positive whole number.

    Example:
        >>> from lddn_jax.data import Record
        >>> u = np.random.default_rng(0).normal(size=(300, 1))
        >>> y = np.zeros((300, 1))
        >>> for t in range(2, 300):
        ...     y[t] = 1.5 * y[t - 1] - 0.7 * y[t - 2] + u[t - 1]
        >>> model = subspace(Record({"u": u}, {"y": y}), states=2)
        >>> np.abs(model.poles).round(6).tolist(), model.stable
        ([0.83666, 0.83666], True)
    """
    for name, value in (("states", states), ("horizon", horizon)):
        if value is not None:
            check_positive(name, value, call=SUBSPACE_CALL, example=2 if name == "states" else 20)
    data = pieces_of(records, "subspace")
    if states is None:
        widest = _factorized(data, _horizons(data, 1, horizon)[-1])
        states = suggested_order(widest, data.samples)
    candidates = [_candidate(data, states, i, feedthrough, stabilize) for i in _horizons(data, states, horizon)]
    # The error of an unstable model is that of short segments, so it is not compared with that of a stable one.
    best = min(candidates, key=lambda candidate: (spectral_radius(candidate.A) > 1, candidate.error))
    return _in_units(data, best)


@dataclasses.dataclass(frozen=True)
class _Factors:
    """L22, L32 and L33 of the LQ factorization, and its sizes."""

    L22: Float[np.ndarray, "past past"]
    L32: Float[np.ndarray, "future past"]
    L33: Float[np.ndarray, "future future"]
    horizon: int
    outputs: int
    inputs: int
    columns: int


@dataclasses.dataclass(frozen=True)
class _Candidate:
    A: Float[np.ndarray, "n n"]
    C: Float[np.ndarray, "outputs n"]
    gains: Gains
    singular_values: Float[np.ndarray, " values"]
    horizon: int
    error: float


def suggested_order(factors: "_Factors", samples: int) -> int:
    """Returns the order by the canonical correlations of past and future.

    Args:
        factors: The factorization.
        samples: Number of samples.
    """
    covariance = factors.L32 @ factors.L32.T + factors.L33 @ factors.L33.T
    variance, axes = np.linalg.eigh(covariance)
    kept = variance > 1e-12 * max(variance.max(initial=0.0), np.finfo(float).tiny)
    correlations = np.linalg.svd((axes[:, kept].T @ factors.L32) / np.sqrt(variance[kept])[:, None], compute_uv=False)
    m, p = factors.inputs, factors.outputs
    largest = min(MOST_SUGGESTED_STATES, (factors.horizon - 1) * p, len(correlations))
    price = math.log(max(samples, 2)) * (m + 2 * p) / max(samples, 2)
    left = np.append(correlations, 0.0)
    return 1 + int(np.argmin([left[n] ** 2 + price * n for n in range(1, largest + 1)])) if largest else 1


def _horizons(data: Pieces, states: int, horizon: int | None) -> list[int]:
    """The horizons that are tried, smallest first."""
    inputs, outputs = data.arrays[0][0].shape[1], data.arrays[0][1].shape[1]
    least = -(-states // outputs) + 1  # Γ needs as many rows as states, one block row later too
    if horizon is not None:
        if horizon < least:
            raise DataError(
                f"subspace: horizon={horizon} is too short for {states} states of {outputs} output(s); pass "
                f"horizon={least} or more, or fewer states."
            )
        if _columns(data, horizon) < 1:
            raise DataError(
                f"subspace: horizon={horizon} needs {2 * horizon} successive samples without a missing value, and the "
                f"longest piece has {data.longest}. Pass horizon={max(1, data.longest // 2)} or less."
            )
        return [horizon]
    wanted = sorted({least, *(i for i in TRIED_HORIZONS if i > least)})
    # Each row of the data matrices takes up one column, and the noise is averaged over those that are left.
    usable = [i for i in wanted if _columns(data, i) >= 2 * (2 * i * (inputs + outputs) + 1)]
    usable = usable or [i for i in (least,) if _columns(data, i) > i * (inputs + outputs) + least * inputs]
    if not usable:
        needed = 2 * least + 2 * least * (inputs + outputs)
        raise DataError(
            f"subspace: {data.samples} samples, of which the longest piece without a missing value has {data.longest}, "
            f"are too few for {states} state(s), {inputs} input(s) and {outputs} output(s); pass about {needed} "
            "samples or fewer states."
        )
    return usable


def _columns(data: Pieces, horizon: int) -> int:
    """The number of columns of the data matrices."""
    return sum(max(0, len(y) - 2 * horizon + 1) for _, y in data.arrays)


def _factorized(data: Pieces, horizon: int) -> _Factors:
    inputs, outputs = data.arrays[0][0].shape[1], data.arrays[0][1].shape[1]
    R = np.zeros((0, 1 + 2 * horizon * (inputs + outputs)))
    for u, y in _blocks(data.arrays, horizon):
        rows = np.concatenate(
            [
                np.ones((len(y) - 2 * horizon + 1, 1)),
                _hankel(u[horizon:], horizon),
                _hankel(u[:-horizon], horizon),
                _hankel(y[:-horizon], horizon),
                _hankel(y[horizon:], horizon),
            ],
            axis=1,
        )
        R = np.linalg.qr(np.concatenate([R, rows]), mode="r")
    a = 1 + horizon * inputs
    b = a + horizon * (inputs + outputs)
    L = np.zeros((R.shape[1], R.shape[1]))
    L[:, : len(R)] = R.T
    return _Factors(L[a:b, a:b], L[b:, a:b], L[b:, b:], horizon, outputs, inputs, _columns(data, horizon))


def _blocks(pieces: Sequence[Piece], horizon: int) -> list[Piece]:
    """Parts of the pieces, overlapping by what a column needs, so that each column is in one of them."""
    parts = []
    for u, y in pieces:
        count = len(y) - 2 * horizon + 1
        for start in range(0, count, COLUMNS_AT_ONCE):
            stop = min(start + COLUMNS_AT_ONCE, count) + 2 * horizon - 1
            parts.append((u[start:stop], y[start:stop]))
    return parts


def _hankel(signal: Float[np.ndarray, "time size"], horizon: int) -> Float[np.ndarray, "columns rows"]:
    """The transposed block Hankel matrix: row t has the samples t … t + horizon − 1."""
    windows = np.lib.stride_tricks.sliding_window_view(signal, horizon, axis=0)
    return windows.transpose(0, 2, 1).reshape(len(windows), -1)


def _candidate(data: Pieces, states: int, horizon: int, feedthrough: bool, stabilize: bool) -> _Candidate:
    factors = _factorized(data, horizon)
    U, singular_values, _ = np.linalg.svd(factors.L32)
    root = np.sqrt(singular_values[:states] / max(singular_values[0], np.finfo(float).tiny))
    gamma = U[:, :states] * np.pad(root, (0, states - len(root)))
    p = factors.outputs
    C = gamma[:p]
    A = np.stack([least_norm(gamma[:-p], gamma[p:, k]) for k in range(states)], axis=1)
    if stabilize:
        A = pulled_in(A)
    gains = fit_gains(A, C, data.arrays, feedthrough=feedthrough)
    return _Candidate(A, C, gains, singular_values, horizon, simulation_error(A, C, gains))


def _in_units(data: Pieces, found: _Candidate) -> LinearModel:
    """The model in the units of the records, with balanced states."""
    A, C, gains = found.A, found.C, found.gains
    second_moment = np.zeros_like(A)
    for (u, _), first in zip(gains.segments, gains.first, strict=True):
        x, _ = simulated(A, gains.B, C, gains.D, u, first)
        second_moment += x.T @ x / data.samples
    T, inverse = balancing(A, C, second_moment, found.horizon)
    return LinearModel(
        A=T @ A @ inverse,
        B=T @ gains.B / data.input_scale,
        C=data.output_scale[:, None] * (C @ inverse),
        D=data.output_scale[:, None] * gains.D / data.input_scale,
        input_sizes=data.input_sizes,
        output_sizes=data.output_sizes,
        input_offset=data.input_mean,
        output_offset=data.output_mean + data.output_scale * gains.offset,
        sample_time=data.sample_time,
        singular_values=found.singular_values,
    )
