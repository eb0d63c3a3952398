"""How a record starts: what the delay lines hold before its first step.

    Zeros()             nothing happened before; exact for a plant at rest at zero
    FromRecord()        the first samples fill the delay lines; layers that nobody measured start from zero
    Given(state)        you know
    WarmUp(n)           from one of these; the first n steps run, but are not scored: what was wrong fades away
    Trained()           from one of these as a first guess; states are parameters, a set for each record

The choice is part of the sequences it makes, so training, prediction and scores cannot disagree about it:

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
from lddn_jax.simulation.delays import as_state
from lddn_jax.topology.topology import Topology, check_topology


class AbstractStart(abc.ABC):
    """A way to start records: pass one to `begin`."""

    @abc.abstractmethod
    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the records as one batch, with the states they start from."""


@dataclasses.dataclass(frozen=True)
class Zeros(AbstractStart):
    """All delay lines hold zeros; every sample of a record is a step."""

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the records as they are."""
        used = []
        for record in records:
            inputs, targets = held_by(topology, record)
            used.append(dataclasses.replace(record, inputs=inputs, targets=targets))
        return stack(used)


@dataclasses.dataclass(frozen=True)
class FromRecord(AbstractStart):
    """The first samples of a record fill its delay lines, as many as the longest delay; the rest are steps."""

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the records without their first samples."""
        return whole(topology, records)


@dataclasses.dataclass(frozen=True, eq=False)
class Given(AbstractStart):
    """States that are known.

    Args:
        state: `(records, longest delay, size)` by source, oldest value first; without the first axis, one for all.
    """

    state: StateLike

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns the records as they are, with these states."""
        data = Zeros().sequences(topology, records)
        state = as_state(topology, self.state, data.batch, jnp.result_type(float))
        return dataclasses.replace(data, state=state)


@dataclasses.dataclass(frozen=True)
class WarmUp(AbstractStart):
    """The first steps of each record run, but count in no loss and no score.

    Args:
        steps: How many.
        start: What the first of them starts from.
    """

    steps: int
    start: AbstractStart = Zeros()

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns those of `start`, with error weight zero in the first steps."""
        data = self.start.sequences(topology, records)
        if isinstance(self.steps, bool) or not isinstance(self.steps, int) or not 0 <= self.steps < data.steps:
            raise DataError(
                f"WarmUp(steps={self.steps!r}): needed is a whole number from 0 to less than the {data.steps} steps of "
                "the longest record."
            )
        weights = error_weights(data.weights, cast(Signals, data.targets))
        scored = (np.arange(data.steps) >= self.steps)[:, None]
        masked = {name: jnp.where(jnp.asarray(scored)[None], weight, 0) for name, weight in weights.items()}
        for k, record in enumerate(records):
            if not any(bool(jnp.any(weight[k] > 0)) for weight in masked.values()):
                called = f"record {record.name!r}" if record.name else "a record"
                raise DataError(
                    f"WarmUp(steps={self.steps}): {called} has {len(record)} samples, so none of it would be scored. "
                    "Warm up for fewer steps, or leave that record out."
                )
        return dataclasses.replace(data, weights=masked)


@dataclasses.dataclass(frozen=True)
class Trained(AbstractStart):
    """`fit` trains the states of layers along with the network, one set for each record.

    They come back as `fitted.initial_state`. For records that did not train, `lddn_jax.estimate_state` finds them.

    Args:
        start: The first guess.
    """

    start: AbstractStart = FromRecord()

    def sequences(self, topology: Topology, records: list[Record]) -> Sequences:
        """Returns those of `start`, marked."""
        return dataclasses.replace(self.start.sequences(topology, records), train_state=True)


def begin(topology: Topology, records: Records, start: AbstractStart | None = None) -> Sequences:
    """Makes one batch of records, each with the state that it starts from.

    Args:
        topology: The network's declaration; signals of records that it does not have are left out.
        records: A `Record`, or a list of them, of any length each.
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
        raise DataError(f"start={start!r} is no way to start a record; write lddn.data.WarmUp(20), for example.")
    return start.sequences(topology, as_records(records, "begin"))
