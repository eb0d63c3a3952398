"""Training over growing horizons of state spaces whose states are measured values.

With the states x(t) = [ y(t), …, y(t−p+1), u(t−1), …, u(t−q+1) ], a window of h steps from row s of a record starts
from the measured x(s−1) and runs free. The error of long free runs of a poor network is a badly conditioned function of
its weights, so short windows come first; they are many, and computed at once.

Su, McAvoy & Werbos (1992), Ind. Eng. Chem. Res. 31(5), for growing horizons.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lddn_jax.data.records import Record
from lddn_jax.data.sequences import Sequences
from lddn_jax.linear.network_weights import STATE
from lddn_jax.linear.pieces import columns, columns_of_signals

Lags = tuple[int, int]  # p of outputs, q of inputs


def measured_states(
    y: Float[np.ndarray, "rows outputs"], u: Float[np.ndarray, "rows inputs"], lags: Lags, row: int, size: int
) -> Float[np.ndarray, " size"]:
    """Returns x(row), padded with zeros to `size` states."""
    p, q = lags
    values = [y[row - k] for k in range(p)] + [u[row - k] for k in range(1, q)]
    found = np.concatenate(values)
    return np.pad(found, (0, size - found.size))


def count_of_windows(records: Sequence[Record], lags: Lags, length: int) -> int:
    """Returns the number of windows that records have."""
    return sum(len(_firsts(record, lags, length)) for record in records)


def windows_from_measured_states(
    records: Sequence[Record], lags: Lags, size: int, length: int, count: int
) -> Sequences:
    """Returns consecutive windows of all records as sequences, filled up to `count` with ones of weight zero.

    Args:
        records: Records without gaps.
        lags: p and q of the states.
        size: Number of states of the network; those that are not measured values are zero.
        length: Steps of a window.
        count: Number of sequences.
    """
    inputs, targets, first_inputs, states = [], [], [], []
    for record in records:
        y, u = stacked_signals(record)
        for row in _firsts(record, lags, length):
            inputs.append(u[row : row + length])
            targets.append(y[row : row + length])
            first_inputs.append(u[row - 1 : row])
            states.append(measured_states(y, u, lags, row - 1, size)[None])
    missing = count - len(targets)

    def filled(windows):
        return np.pad(np.stack(windows), ((0, missing), (0, 0), (0, 0)))

    weights = np.broadcast_to(np.arange(count)[:, None, None] < len(targets), (count, length, 1)).astype(float)
    u, y, before = filled(inputs), filled(targets), filled(first_inputs)
    sizes = records[0].sizes
    state = _by_name(sizes["inputs"], before) | {STATE: jnp.asarray(filled(states))}
    of_outputs = {name: jnp.asarray(weights) for name in sizes["targets"]}
    return Sequences(_by_name(sizes["inputs"], u), _by_name(sizes["targets"], y), state, of_outputs)


def stacked_signals(record: Record) -> tuple[Float[np.ndarray, "rows outputs"], Float[np.ndarray, "rows inputs"]]:
    """Returns all outputs and all inputs of a record side by side."""
    sizes = record.sizes
    y, u = (
        columns(s, sizes[kind], len(record)) for kind, s in (("targets", record.targets), ("inputs", record.inputs))
    )
    return y, u


def _firsts(record: Record, lags: Lags, length: int) -> range:
    """The first row of each window."""
    return range(max(lags), len(record) - length + 1, length)


def _by_name(sizes: dict[str, int], signal: np.ndarray) -> dict:
    return {name: jnp.asarray(signal[..., at]) for name, at in columns_of_signals(sizes).items()}
