"""Sequences from records, as windows or whole, with delay states filled from the samples before them.

    | D samples | window 1 | window 2 | window 3 | dropped |        D the longest delay
      fill the    its last D samples
      state of    fill the state of
      window 1    window 2, …

Delay states of inputs are taken from the inputs, and those of outputs, which a closed loop has, from the targets.
"""

import logging
import math
import operator
from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lddn_jax.data.records import Record, Records, as_records, holds_records
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.sources import Channels
from lddn_jax.data.stacking import Part, joined
from lddn_jax.errors import DataError, ShapeError
from lddn_jax.losses import error_weights
from lddn_jax.network.signals import Signals, SignalsLike, WeightsLike, as_signals, first_nan, is_traced
from lddn_jax.simulation.delays import AnyArray, cut, known_before, state_sizes
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology, check_topology

_logger = logging.getLogger("lddn_jax")


def windows(
    topology: Topology,
    inputs: SignalsLike | Records,
    targets: SignalsLike = None,
    length: int = 100,
    *,
    weights: WeightsLike = None,
) -> Sequences:
    """Cuts long records into windows and fills the delay state of each window from the samples before it.

    Delay states of inputs are taken from `inputs`, and those of outputs, which a closed loop has, from `targets`. Other
    layers that are read through a delay are not measured and start from zero. The first samples, as many as the longest
    delay, fill the delay state of the first window; a remainder at the end that is shorter than a window is dropped.
    `dropped` of the result counts both.

    Args:
        topology: Topology of the network.
        inputs: `(*batch, time, size)` by input name, or one array. Or a `Record` or a list of records, which contain
            the targets; signals that the topology does not have are ignored, and windows start where no target that a
            delay state needs is missing.
        targets: `(*batch, time, size)` by output layer, or one array.
        length: Time steps per window.
        weights: Error weights that broadcast over batch, time and element, by output layer or one array for all. They
            are cut in the same way. A window gets weight 0 if a target in its delay state has weight 0.

    Returns:
        `Sequences` of shape `(*batch · windows, length, size)`; windows of one record are consecutive.

    Raises:
        DataError: If a record is too short for one window, or a target that a delay state needs is NaN.
        ShapeError: If names or shapes do not match the topology.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", to="y", delays=(1, 2))], ["y"])
        >>> data = windows(topology, jnp.zeros((205, 1)), jnp.zeros((205, 1)), length=100)
        >>> data.batch, data.dropped
        ((2,), 5)
        >>> records = [Record({"u": np.zeros((n, 1))}, {"y": np.zeros((n, 1))}) for n in (42, 25)]
        >>> windows(topology, records, length=10).batch
        (6,)
    """
    check_topology(topology, "windows(topology, inputs, targets, length)")
    if not hasattr(length, "__index__") or length < 1:
        raise DataError(f"windows: length={length!r}; a window has a whole number of time steps, at least 1.")
    length = operator.index(length)
    if holds_records(inputs):
        if targets is not None or weights is not None:
            raise DataError(
                "windows: records contain their targets, and weights follow from missing values. Write "
                "lddn.windows(topology, records, length=...)."
            )
        records = as_records(inputs, "windows")
        return _side_by_side(topology, records, [starts_of(topology, record, length) for record in records], length)
    inputs, targets = _signals(topology, cast(SignalsLike, inputs), targets)
    steps = next(iter(targets.values())).shape[-2]
    longest = _longest(topology)
    count = (steps - longest) // length
    if count < 1:
        raise DataError(_too_short("a record", steps, longest, length))
    starts = [longest + k * length for k in range(count)]
    _check_known(topology, inputs | targets, starts)
    part = _cut(topology, inputs, targets, starts, length)
    dropped = steps - count * length
    _log(count * length, steps, dropped, longest)
    cut_weights = None if weights is None else _cut_weights(topology, weights, targets, starts, length)
    return Sequences(part.inputs, part.targets, part.state, cut_weights, dropped=dropped)


def whole(topology: Topology, records: Records, *, pad_to: int | None = None) -> Sequences:
    """Makes one sequence of each record, with its delay state filled from the first samples.

    The first samples, as many as the longest delay, fill the delay state. If a target is missing there, the sequence
    starts later, at the first step with a complete delay state. Sequences are padded and masked as in `stack`.

    Args:
        topology: Topology of the network; signals that it does not have are ignored.
        records: A `Record` or a list of records.
        pad_to: Number of time steps to pad to; None for that of the longest sequence.

    Returns:
        `Sequences` of shape `(records, steps, size)`; `dropped` counts the samples before the first steps.

    Raises:
        DataError: If a record is too short.
        ShapeError: If names or sizes do not match the topology.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("u", to="y", delays=(1, 2))], ["y"])
        >>> data = whole(topology, [Record({"u": np.ones((n, 1))}, {"y": np.ones((n, 1))}) for n in (12, 7)])
        >>> data.batch, data.steps, data.dropped, float(data.weights["y"].sum())
        ((2,), 10, 4, 15.0)
    """
    check_topology(topology, "whole(topology, records)")
    records = as_records(records, "whole")
    return _side_by_side(topology, records, [starts_of(topology, record, 1)[:1] for record in records], None, pad_to)


def _side_by_side(
    topology: Topology, records: list[Record], starts: list[list[int]], length: int | None, pad_to: int | None = None
) -> Sequences:
    """The sequences of all records from `starts` on, `length` steps long, or to the end of the record if None."""
    parts, total, used = [], 0, 0
    for record, begins in zip(records, starts, strict=True):
        steps = len(record) - begins[0] if length is None else length
        inputs, targets = _signals(topology, *held_by(topology, record))
        parts.append(_cut(topology, inputs, targets, begins, steps))
        total, used = total + len(record), used + steps * len(begins)
    _log(used, total, total - used, _longest(topology))
    return joined(parts, pad_to, total - used)


def held_by(topology: Topology, record: Record) -> tuple[Channels, Channels]:
    """The inputs and targets of a record that a topology has."""
    inputs = {name: x for name, x in record.inputs.items() if name in topology.input_names}
    return inputs, {name: x for name, x in record.targets.items() if name in topology.outputs}


def _signals(topology: Topology, inputs: SignalsLike, targets: SignalsLike) -> tuple[Signals, Signals]:
    dtype, sizes = jnp.result_type(float), topology.sizes
    inputs = as_signals("input", inputs, {name: sizes[name] for name in topology.input_names}, dtype)
    targets = as_signals("target", targets, {name: sizes[name] for name in topology.outputs}, dtype)
    shapes = {name: signal.shape[:-1] for name, signal in (inputs | targets).items()}
    if len(set(shapes.values())) > 1:
        raise ShapeError(f"inputs and targets differ in (*batch, time): {shapes}. Cut all to one length.")
    return inputs, targets


def _longest(topology: Topology) -> int:
    return max(plan(topology).longest_delays.values(), default=0)


def with_windows(topology: Topology, records: Sequence[Record], length: int) -> list[Record]:
    """Returns the records that have a window of `length` steps with a known delay state."""
    return [record for record in records if _starts(topology, record, length)]


def starts_of(topology: Topology, record: Record, length: int) -> list[int]:
    """First steps of the windows of a record: consecutive, but later where a target for the delay state is missing."""
    starts = _starts(topology, record, length)
    if not starts:
        longest, steps = _longest(topology), len(record)
        called = f"record {record.name!r}" if record.name else "a record"
        if steps < longest + length:
            raise DataError(_too_short(called, steps, longest, length))
        raise DataError(
            f"{called} of {steps} steps gives no window of {length}: before every possible start, a target that the "
            "delay state needs is missing. Fill the gaps, or omit this record."
        )
    return starts


def _starts(topology: Topology, record: Record, length: int) -> list[int]:
    longest, steps = _longest(topology), len(record)
    filled = np.arange(steps + 1) >= longest
    for name, (held, _) in state_sizes(topology).items():
        if name in record.targets:
            filled &= known_before(~np.isnan(record.targets[name]).any(axis=1), held)
    candidates = np.flatnonzero(filled[: max(steps - length + 1, 0)])
    starts: list[int] = []
    place = 0
    while place < len(candidates):
        starts.append(int(candidates[place]))
        place = int(np.searchsorted(candidates, starts[-1] + length))
    return starts


def _check_known(topology: Topology, known: Signals, starts: Sequence[int]) -> None:
    """Raises a DataError if a delay state would contain NaN."""
    for name, (held, _) in state_sizes(topology).items():
        if name not in known or is_traced(known[name]):
            continue
        where = first_nan(_gathered(np.asarray(known[name]), starts, held, 0))
        if where is not None:
            raise DataError(
                f"the delay state of {name!r} would be NaN in window {where[0]}: a value just before it is "
                "missing from the record. Fill that gap, or choose windows that start elsewhere."
            )


def _cut(topology: Topology, inputs: Signals, targets: Signals, starts: Sequence[int], length: int) -> Part:
    """The windows `(windows, length, size)` from each start on, with their delay states."""
    known = inputs | targets
    lanes = len(starts) * math.prod(next(iter(targets.values())).shape[:-2])
    state = {}
    for name, (held, size) in state_sizes(topology).items():
        if name in known:
            state[name] = _gathered(known[name], starts, held, 0)
        else:
            state[name] = jnp.zeros((lanes, held, size), jnp.result_type(float))
            _logger.info("windows: layer %r is not measured; its delay state starts from zero.", name)

    def ahead(signals):
        return {name: _gathered(signal, starts, 0, length) for name, signal in signals.items()}

    return Part(ahead(inputs), ahead(targets), state)


def _cut_weights(
    topology: Topology, weights: WeightsLike, targets: Signals, starts: Sequence[int], length: int
) -> dict[str, Float[Array, "windows {length} size=_"]]:
    full = error_weights(weights, targets)
    held = [_gathered(full[name], starts, d, 0) for name, (d, _) in state_sizes(topology).items() if name in full]
    ahead = {name: _gathered(weight, starts, 0, length) for name, weight in full.items()}
    for values in held:
        filled = jnp.all(values > 0, axis=(1, 2), keepdims=True)
        ahead = {name: jnp.where(filled, weight, 0) for name, weight in ahead.items()}
    return ahead


def _gathered(signal: AnyArray, starts: Sequence[int], before: int, after: int) -> AnyArray:
    """Cuts (*batch, time, size) to (*batch · windows, before + after, size) around each start."""
    if isinstance(signal, jax.Array) and not is_traced(signal):
        # By NumPy, because indexing of arrays on a device compiles a program for every shape.
        return cast(AnyArray, jnp.asarray(_gathered(np.asarray(signal), starts, before, after)))
    pieces = cut(signal, starts, before, after)
    return pieces.reshape(-1, before + after, signal.shape[-1])


def _too_short(called: str, steps: int, longest: int, length: int) -> str:
    return (
        f"{called} of {steps} steps gives no window: {longest} are needed for the delay state and {length} for one "
        "window. "
        + (f"Pass length={steps - longest} or less, or a longer record." if steps > longest else "Give a longer one.")
    )


def _log(used: int, steps: int, dropped: int, longest: int) -> None:
    _logger.info("windows: %d of %d steps; %d dropped (%d fill the first delay state).", used, steps, dropped, longest)
