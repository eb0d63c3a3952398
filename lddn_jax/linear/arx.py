"""ARX: a linear difference equation, fitted to the prediction one step ahead by least squares.

    y(t) = Σ_d F_d y(t−d) + Σ_d G_d u(t−d) + b,    minimize Σ ‖y(t) − ŷ(t)‖²

Every complete row of every piece counts: those whose past lies within the piece. It is the best predictor one step
ahead, but not the best simulator: noise in the outputs biases F. `subspace` and `output_error` fit the simulation.

Ljung (1999), *System Identification*, 2nd ed., section 4.2.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lddn_jax.checks import whole_number
from lddn_jax.data.records import Records
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.linear.gains import least_norm
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.pieces import Pieces, columns_of_signals, pieces_of
from lddn_jax.linear.regression import Delays, Regression, observer_form, operating_point
from lddn_jax.network.signals import measured_name


def arx(records: Records, input_delays: Sequence[int] = (1, 2), feedback_delays: Sequence[int] = (1, 2)) -> LinearModel:
    """Fits a linear difference equation by least squares.

    Its weights are those of `lddn_jax.models.narx(..., linear_path=True)` from inputs and measured outputs to the
    outputs, so a NARX network can start from it.

    Args:
        records: A `Record` or a list of records, of any length, with gaps or without. Inputs called `measured_y`, where
            `y` is a target, are ignored.
        input_delays: Delays of every input, in samples.
        feedback_delays: Delays of every output; all positive.

    Returns:
        A `LinearModel`, whose `regression` has the equation.

    Raises:
        DataError: If the records are too short.
        LDDNError: If a delay is not a whole number, is too small or occurs twice.

    Example:
        >>> from lddn_jax.data import Record
        >>> u = np.random.default_rng(0).normal(size=(300, 1))
        >>> y = np.zeros((300, 1))
        >>> for t in range(2, 300):
        ...     y[t] = 1.5 * y[t - 1] - 0.7 * y[t - 2] + u[t - 1]
        >>> arx(Record({"u": u}, {"y": y}), input_delays=[1]).weights()["y", "measured_y"].ravel().round(6).tolist()
        [1.5, -0.7]
    """
    input_delays = _checked("input_delays", input_delays, 0)
    feedback_delays = _checked("feedback_delays", feedback_delays, 1)
    data = pieces_of(records, "arx")
    inputs, outputs = len(data.input_mean), len(data.output_mean)
    X, Y = _rows(data, input_delays, feedback_delays)
    least = X.shape[1]
    if len(X) < least:
        raise DataError(
            f"arx: {len(X)} complete rows of {data.samples} samples are too few for {least} weights of each output, "
            f"with input_delays={input_delays} and feedback_delays={feedback_delays}. Pass fewer delays or longer "
            "records."
        )
    theta = np.stack([least_norm(X, y) for y in Y.T], axis=1)
    split = len(feedback_delays) * outputs
    F = theta[:split].reshape(len(feedback_delays), outputs, outputs).transpose(0, 2, 1)
    G = theta[split:-1].reshape(len(input_delays), inputs, outputs).transpose(0, 2, 1)
    u0, y0 = operating_point(F, G, theta[-1])  # standardized, so it is the closest to the middle of the records
    F = data.output_scale[:, None] * F / data.output_scale
    G = data.output_scale[:, None] * G / data.input_scale
    middle = data.output_scale * theta[-1] + data.output_mean
    b = middle - F.sum(axis=0) @ data.output_mean - G.sum(axis=0) @ data.input_mean
    A, B, C, D = observer_form(F, G, feedback_delays, input_delays)
    return LinearModel(
        A=A,
        B=B,
        C=C,
        D=D,
        input_sizes=data.input_sizes,
        output_sizes=data.output_sizes,
        input_offset=data.input_mean + data.input_scale * u0,
        output_offset=data.output_mean + data.output_scale * y0,
        sample_time=data.sample_time,
        regression=_named(data, F, G, b),
    )


def _checked(name: str, delays: Sequence[int], least: int) -> Delays:
    if isinstance(delays, str) or not hasattr(delays, "__iter__"):
        raise LDDNError(f"arx: {name}={delays!r}; needed is a sequence of delays, such as {name}=(1, 2).")
    found = tuple(whole_number(delay, f"arx: a delay of {name}", least, error=LDDNError) for delay in delays)
    if len(set(found)) < len(found):
        raise LDDNError(f"arx: {name}={found} has a delay twice.")
    if not found and least:
        raise LDDNError(f"arx: {name} is empty; pass at least one delay, such as {name}=(1,).")
    return found


def _rows(
    data: Pieces, input_delays: Delays, feedback_delays: Delays
) -> tuple[Float[np.ndarray, "rows weights"], Float[np.ndarray, "rows outputs"]]:
    """Regressors (past outputs, past inputs, 1) and outputs of all complete rows."""
    longest = max((*input_delays, *feedback_delays))
    X, Y = [], []
    for u, y in data.arrays:
        rows = np.arange(longest, len(y))
        past = [y[rows - delay] for delay in feedback_delays] + [u[rows - delay] for delay in input_delays]
        X.append(np.concatenate([*past, np.ones((len(rows), 1))], axis=1))
        Y.append(y[rows])
    return np.concatenate(X), np.concatenate(Y)


def _named(
    data: Pieces,
    F: Float[np.ndarray, "feedback_delays outputs outputs"],
    G: Float[np.ndarray, "input_delays outputs inputs"],
    b: Float[np.ndarray, " outputs"],
) -> Regression:
    weights = {}
    rows_of, columns_of = columns_of_signals(data.output_sizes), columns_of_signals(data.input_sizes)
    for to, rows in rows_of.items():
        weights |= {(to, name): G[:, rows, at] for name, at in columns_of.items() if len(G)}
        weights |= {(to, measured_name(name)): F[:, rows, at] for name, at in rows_of.items()}
    return Regression(weights, {name: b[rows] for name, rows in rows_of.items()})
