"""Initial states: how the delay lines of a record are filled before its first step.

    Zeros()             with zeros; exact for a plant at rest at zero
    FromRecord()        from the first samples of the record; unmeasured layers start from zero
    Given(state)        with a known state
    WarmUp(n)           by another method; the first n steps have weight 0, so that initial errors can decay
    Trained()           by another method as initial guess; `fit` trains the states, one set per record

The choice is stored in the resulting sequences, so training, prediction and scores use the same one:

    data = lddn.data.begin(topology, records, WarmUp(20))
    fitted = lddn.fit(net, data, ...)
    outputs = lddn.predict(fitted.net, data.inputs, data.state)
"""

import abc
import dataclasses
from typing import cast

import jax.numpy as jnp
import numpy as np

from lddn_jax.data.records import Record, Records, as_records
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.stacking import stack
from lddn_jax.data.windowing import held_by, whole
from lddn_jax.errors import DataError
from lddn_jax.losses import error_weights
from lddn_jax.network.signals import Signals, StateLike
from lddn_jax.simulation.delays import as_state, zero_state
from lddn_jax.topology.topology import Topology, check_topology


class AbstractStart(abc.ABC):
    """Base class of initialization methods; pass one to `begin`."""

    @abc.abstractmethod
    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the records as one batch, with their initial states."""


@dataclasses.dataclass(frozen=True)
class Zeros(AbstractStart):
    """Fills all delay lines with zeros; every sample of a record is a step."""

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the whole records with zero states."""
        used = []
        for record in records:
            inputs, targets = held_by(topology, record)
            used.append(record.replaced(inputs=inputs, targets=targets))
        data = stack(used)
        if topology.inputs:
            return data
        # Only the delay state tells the number of sequences of a network without inputs.
        return dataclasses.replace(data, state=zero_state(topology, data.batch) or None)


@dataclasses.dataclass(frozen=True)
class FromRecord(AbstractStart):
    """Fills the delay lines from the first samples of a record, as many as the longest delay; the rest are steps."""

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the records without the samples that fill their delay lines."""
        return whole(topology, records)


@dataclasses.dataclass(frozen=True, eq=False)
class Given(AbstractStart):
    """Starts from known states.

    Args:
        state: `(records, longest delay, size)` by source, oldest value first; or `(longest delay, size)`, one for all.
    """

    state: StateLike

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the whole records with these states."""
        data = Zeros().sequences(topology, records)
        state = as_state(topology, self.state, data.batch, jnp.result_type(float))
        return dataclasses.replace(data, state=state)


@dataclasses.dataclass(frozen=True)
class WarmUp(AbstractStart):
    """Excludes the first steps of each record from losses and scores.

    Args:
        steps: Number of warm-up steps.
        start: How the state before the first of them is initialized.
    """

    steps: int
    start: AbstractStart = Zeros()

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the sequences of `start`, with error weight 0 in the first steps."""
        data = self.start.sequences(topology, records)
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or not 0 <= self.steps < data.steps:
            raise DataError(
                f"WarmUp(steps={self.steps!r}): needed is a whole number from 0 to {data.steps - 1}, less than the "
                f"{data.steps} steps of the longest record."
            )
        weights = error_weights(data.weights, cast(Signals, data.targets))
        scored = (np.arange(data.steps) >= self.steps)[:, None]
        masked = {name: jnp.where(jnp.asarray(scored)[None], weight, 0) for name, weight in weights.items()}
        for k, record in enumerate(records):
            if not any(bool(jnp.any(weight[k] > 0)) for weight in masked.values()):
                called = f"record {record.name!r}" if record.name else "a record"
                raise DataError(
                    f"WarmUp(steps={self.steps}): {called} has {len(record)} samples, so none of it would be scored. "
                    "Pass fewer steps, or omit that record."
                )
        return dataclasses.replace(data, weights=masked)


@dataclasses.dataclass(frozen=True)
class Trained(AbstractStart):
    """Trains the initial states of layers together with the network, one set per record.

    `fit` returns them as `fitted.initial_state`. For records not used in training, use `lddn_jax.estimate_state`. So
    other records cannot be the `validation` of `fit`; a block of the same records can, selected by error weights:

        data = begin(topology, records, Trained())
        scored = np.ones((*data.batch, data.steps, 1)); scored[..., 600:800, :] = 0
        training, validation = (dataclasses.replace(data, weights=w) for w in (scored, 1 - scored))

    Args:
        start: How the initial guess is made.
    """

    start: AbstractStart = FromRecord()

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the sequences of `start` with `train_state=True`."""
        return dataclasses.replace(self.start.sequences(topology, records), train_state=True)


def begin(topology: Topology, records: Records, start: AbstractStart | None = None) -> Sequences:
    """Stacks records to one batch with initial states.

    Args:
        topology: Topology of the network; signals that it does not have are ignored.
        records: A `Record` or a list of records, of any length.
        start: `FromRecord()` if None; or `Zeros()`, `Given(state)`, `WarmUp(steps, start)`, `Trained(start)`.

    Returns:
        `Sequences` of shape `(records, steps, size)`, padded at the end and masked by error weights.

    Raises:
        DataError: If a record is too short.
        ShapeError: If names or shapes do not fit the topology.

    Example:
        >>> from lddn_jax import Connection, Input, Layer, Topology
        >>> topology = Topology([Input("u", 1)], [Layer("y", 1)], [Connection("y", to="y", delays=(2,)),
        ...                     Connection("u", to="y")], ["y"])
        >>> record = Record({"u": np.ones((9, 1))}, {"y": np.ones((9, 1))})
        >>> begin(topology, record).steps, begin(topology, record, Zeros()).steps
        (7, 9)
        >>> begin(topology, record, WarmUp(3)).weights["y"][0, :, 0].tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    check_topology(topology, "begin(topology, records, start)")
    start = FromRecord() if start is None else start
    if not isinstance(start, AbstractStart):
        raise DataError(f"start={start!r} is not an initialization method; write lddn.data.WarmUp(20), for example.")
    return start.sequences(topology, as_records(records, "begin"))
