"""Batching of records of unequal length, by padding at the end and masking with error weights.

    record 1    x x x x x x x x      weights 1 1 1 1 1 1 1 1
    record 2    x x x x x · · ·              1 1 1 1 1 0 0 0
    record 3    x x ? x x x · ·              1 1 0 1 1 1 0 0        ? a missing target

A network is causal, so padding does not affect the steps before it, and a target with weight 0 does not contribute to
the loss, the gradient, JᵀJ or the number of residuals. So the results of a padded batch are the sum over its records.
Inputs are padded with their last value, which keeps a stable network near its steady state; missing targets are set
to 0.
"""

import dataclasses
import operator
from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from lddn_jax.data.records import Records, as_records
from lddn_jax.data.sequences import Sequences
from lddn_jax.errors import DataError


@dataclasses.dataclass(frozen=True)
class Part:
    """Sequences of equal length, before padding.

    Attributes:
        inputs: `(sequences, time, size)` by input name.
        targets: `(sequences, time, size)` by output layer; NaN where missing.
        state: `(sequences, longest delay, size)` by source, or None.
    """

    inputs: Mapping[str, Float[Array | np.ndarray, "sequences time size=_"]]
    targets: Mapping[str, Float[Array | np.ndarray, "sequences time size=_"]]
    state: Mapping[str, Float[Array | np.ndarray, "sequences longest_delay=_ size=_"]] | None = None

    @property
    def steps(self) -> int:
        """Number of time steps."""
        return next(iter(self.targets.values())).shape[-2]


def stack(records: Records, length: int | None = None) -> Sequences:
    """Stacks records to one batch, padded at the end and masked by error weights.

    Args:
        records: `Record`s with the same signals, of any length.
        length: Number of time steps to pad to; None for that of the longest record.

    Returns:
        `Sequences` of shape `(records, length, size)`. `weights` are 0 past the end of a record and where a target is
        missing, and 1 elsewhere; None if all are 1. Delay states are zero; use `whole` to fill them from the records.

    Raises:
        DataError: If there is no record, or one is longer than `length`.
        ShapeError: If records have different signals.

    Example:
        >>> import numpy as np
        >>> from lddn_jax.data.records import Record
        >>> data = stack([Record({"u": np.ones((n, 1))}, {"y": np.ones((n, 1))}) for n in (3, 2)])
        >>> data.batch, data.steps, data.weights["y"][:, :, 0].tolist()
        ((2,), 3, [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    """
    parts = []
    for record in as_records(records, "stack"):
        inputs, targets = ({name: x[None] for name, x in named.items()} for named in (record.inputs, record.targets))
        parts.append(Part(inputs, targets))
    return joined(parts, length)


def joined(parts: list[Part], length: int | None = None, dropped: int = 0) -> Sequences:
    """Stacks sequences of unequal length to one batch; `length` as in `stack`."""
    longest = max(part.steps for part in parts)
    if not (length is None or hasattr(length, "__index__")):
        raise DataError(f"stack: length={length!r} must be a whole number of time steps, at least {longest}.")
    steps = longest if length is None else operator.index(length)
    if steps < longest:
        raise DataError(f"stack: length={length}, but a record has {longest} samples. Omit length, or cut the record.")
    dtype = jnp.result_type(float)

    def batch(signals, **how):
        padded = {name: [_padded(x, steps, **how) for x in several] for name, several in signals.items()}
        return {name: jnp.asarray(np.concatenate(several).astype(dtype), dtype) for name, several in padded.items()}

    inputs, targets = (
        {name: [getattr(part, kind)[name] for part in parts] for name in getattr(parts[0], kind)}
        for kind in ("inputs", "targets")
    )
    known = {name: [~np.isnan(x) for x in several] for name, several in targets.items()}
    filled = {name: [np.nan_to_num(x, nan=0.0) for x in several] for name, several in targets.items()}
    weights = batch(known, mode="constant")
    state = parts[0].state and {
        name: jnp.concatenate([jnp.asarray(part.state[name], dtype) for part in parts if part.state])
        for name in parts[0].state
    }
    return Sequences(
        batch(inputs, mode="edge"),
        batch(filled, mode="constant"),
        state,
        None if all((np.asarray(weight) > 0).all() for weight in weights.values()) else weights,
        dropped,
    )


def _padded(
    signal: Shaped[Array | np.ndarray, "sequences _ size"], steps: int, mode: Literal["edge", "constant"]
) -> Shaped[np.ndarray, "sequences {steps} size"]:
    """Pads a signal at the end of the time axis, with its last value ("edge") or with zeros ("constant")."""
    signal = np.asarray(signal)
    return np.pad(signal, ((0, 0), (0, steps - signal.shape[1]), (0, 0)), mode=mode)
