"""Output error: a linear state-space model trained on its simulation error, by Levenberg-Marquardt.

    minimize Σ ‖y(t) − ŷ(t)‖²  over A, B, C, D, the offset and the first state of every piece

with ŷ simulated from the first state on. Subspace identification starts it; its estimate is consistent but not the best
one, and output error is the maximum likelihood estimate where the noise of the outputs is white. Long pieces are cut,
each part with a first state of its own, so that they are simulated side by side.

Ljung (1999), *System Identification*, 2nd ed., sections 4.3 and 7.4.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lddn_jax.checks import check_positive, expect
from lddn_jax.data.records import Record, Records, as_records
from lddn_jax.data.starts import Trained, begin
from lddn_jax.errors import LDDNError
from lddn_jax.linear.linear_model import LinearModel
from lddn_jax.linear.moesp import subspace
from lddn_jax.linear.network_weights import STATE
from lddn_jax.linear.pieces import Piece, Pieces, columns_of_signals, pieces_of
from lddn_jax.losses import MeanSquaredError
from lddn_jax.network.network import Network
from lddn_jax.numerics.precision import computing_in
from lddn_jax.topology.topology import Connection, Input, Layer, Topology
from lddn_jax.trainers.levenberg_marquardt import LevenbergMarquardt
from lddn_jax.training.fit import fit

SHORTEST_PART = 500  # samples of a part of a long piece
TIME_CONSTANTS_OF_A_PART = 10
OUTPUT_ERROR_CALL = "output_error(records, states=None, *, start=None, feedthrough=False, epochs=50)"


def output_error(
    records: Records,
    states: int | None = None,
    *,
    start: LinearModel | None = None,
    feedthrough: bool = False,
    epochs: int = 50,
) -> LinearModel:
    """Refines a linear state-space model on its simulation error.

    Args:
        records: A `Record` or a list of records of any length, with gaps or without.
        states: Number of states of the start; None for the order that the singular values suggest.
        start: The model to refine, of state-space form; None for `subspace(records, states, stabilize=True)`.
        feedthrough: Whether inputs act on the outputs without delay; a `start` with a D has it, too.
        epochs: Maximum number of steps of Levenberg-Marquardt.

    Returns:
        A stable `LinearModel`; the start itself if no step makes it better, or only by becoming unstable.

    Raises:
        DataError: If the records are too short or have too many gaps.
        LDDNError: If an argument is invalid.

    Example:
        >>> from lddn_jax.data import Record
        >>> rng = np.random.default_rng(0)
        >>> u, y = rng.normal(size=(300, 1)), np.zeros((300, 1))
        >>> for t in range(1, 300):
        ...     y[t] = 0.9 * y[t - 1] + u[t - 1]
        >>> record = Record({"u": u}, {"y": y + 0.5 * rng.normal(size=y.shape)})
        >>> output_error(record, 1, epochs=5).poles.real.round(2).tolist()
        [0.9]
    """
    check_positive("epochs", epochs, call=OUTPUT_ERROR_CALL, example=50)
    given = as_records(records, "output_error")
    if start is None:
        start = subspace(given, states, feedthrough=feedthrough, stabilize=True)
    expect(LinearModel, "start", start, OUTPUT_ERROR_CALL, "a model, such as lddn.linear.subspace(records, 2)")
    if states is not None and start.states != states:
        raise LDDNError(f"output_error: states={states}, but start has {start.states} states. Omit states.")
    data = pieces_of(given, "output_error")
    start = start.stabilized().normalized(given)
    found = _trained(data, start, feedthrough or start.feedthrough, epochs)
    pieces = [piece for record in given for piece in record.unbroken(2)]
    candidates = [model for model in (found.stabilized(), start) if model.stable]
    return min(candidates, key=lambda model: model.scores(pieces).all.nrmse, default=start).normalized(given)


def _trained(data: Pieces, start: LinearModel, feedthrough: bool, epochs: int) -> LinearModel:
    """The model after training, in the units of the records."""
    scaled = _rescaled(start, data.input_mean, data.input_scale, data.output_mean, data.output_scale)
    scaled = _around_zero(scaled)
    records = [_with_a_row_before(data, u, y) for u, y in _parts(data, start)]
    topology = _topology(data, start.states, feedthrough)
    with computing_in("float64"):
        net = Network(topology, init="zeros", dtype=jnp.float64)
        weights = scaled.weights()
        net = net.with_weights(
            IW={name: weight for name, weight in weights.items() if name in net.IW},
            LW={name: weight for name, weight in weights.items() if name in net.LW},
            b={name: scaled.output_offset[at] for name, at in columns_of_signals(data.output_sizes).items()},
        )
        sequences = begin(topology, records, Trained())
        first = jnp.asarray(scaled.first_states(records)[:, None, :], jnp.float64)
        sequences = dataclasses.replace(sequences, state={**dict(sequences.state or {}), STATE: first})
        fitted = fit(net, sequences, MeanSquaredError(missing="mask"), LevenbergMarquardt(), epochs=epochs)
        arrays = {name: np.asarray(w)[0] for name, w in {**fitted.net.IW, **fitted.net.LW}.items()}
        offset = np.concatenate([np.asarray(fitted.net.b[name]) for name in data.output_sizes])
    inputs, outputs = columns_of_signals(data.input_sizes), columns_of_signals(data.output_sizes)
    B, D = np.zeros_like(start.B), np.zeros_like(start.D)
    C = np.concatenate([arrays[name, STATE] for name in outputs])
    for name, at in inputs.items():
        B[:, at] = arrays[STATE, name]
        if feedthrough:
            D[:, at] = np.concatenate([arrays[to, name] for to in outputs])
    no_u0 = np.zeros_like(data.input_mean)
    found = dataclasses.replace(scaled, A=arrays[STATE, STATE], B=B, C=C, D=D, input_offset=no_u0, output_offset=offset)
    u_mean, y_mean = -data.input_mean / data.input_scale, -data.output_mean / data.output_scale
    return _rescaled(found, u_mean, 1 / data.input_scale, y_mean, 1 / data.output_scale)


def _rescaled(
    model: LinearModel,
    u_mean: Float[np.ndarray, " inputs"],
    u_scale: Float[np.ndarray, " inputs"],
    y_mean: Float[np.ndarray, " outputs"],
    y_scale: Float[np.ndarray, " outputs"],
) -> LinearModel:
    """The model of (u − u_mean) / u_scale and (y − y_mean) / y_scale."""
    return dataclasses.replace(
        model,
        B=model.B * u_scale,
        C=model.C / y_scale[:, None],
        D=model.D * u_scale / y_scale[:, None],
        input_offset=(model.input_offset - u_mean) / u_scale,
        output_offset=(model.output_offset - y_mean) / y_scale,
        regression=None,
    )


def _around_zero(model: LinearModel) -> LinearModel:
    """The same model with u0 = 0, by which its states are shifted; the network has no bias of the states."""
    u0 = model.input_offset
    shift = np.linalg.lstsq(np.eye(model.states) - model.A, -model.B @ u0, rcond=None)[0]
    y0 = model.output_offset + model.C @ shift - model.D @ u0
    return dataclasses.replace(model, input_offset=np.zeros_like(u0), output_offset=y0)


def _parts(data: Pieces, start: LinearModel) -> Iterator[Piece]:
    """The pieces, long ones cut."""
    length = max(SHORTEST_PART, TIME_CONSTANTS_OF_A_PART * min(start.slowest, float(data.longest)))
    for u, y in data.arrays:
        edges = np.linspace(0, len(y), max(1, math.ceil(len(y) / length)) + 1).astype(int)
        for a, b in itertools.pairwise(edges):
            yield u[a:b], y[a:b]


def _with_a_row_before(
    data: Pieces, u: Float[np.ndarray, "time inputs"], y: Float[np.ndarray, "time outputs"]
) -> Record:
    """A piece as a record, after a row without targets, which fills the delay lines, so that every row is a step."""
    u, y = np.concatenate([u[:1], u]), np.concatenate([np.full_like(y[:1], np.nan), y])
    inputs = {name: u[:, at] for name, at in columns_of_signals(data.input_sizes).items()}
    targets = {name: y[:, at] for name, at in columns_of_signals(data.output_sizes).items()}
    return Record(inputs, targets, missing="mask")


def _topology(data: Pieces, states: int, feedthrough: bool) -> Topology:
    """`models.linear_state_space` with a bias of each output, for its offset."""
    return Topology(
        [Input(name, size) for name, size in data.input_sizes.items()],
        [
            Layer(STATE, states, "linear", bias=False),
            *(Layer(name, size, "linear") for name, size in data.output_sizes.items()),
        ],
        [
            *(Connection(name, STATE, (1,)) for name in data.input_sizes),
            Connection(STATE, STATE, (1,)),
            *(Connection(STATE, to) for to in data.output_sizes),
            *(Connection(name, to) for name in data.input_sizes for to in data.output_sizes if feedthrough),
        ],
        list(data.output_sizes),
    )
