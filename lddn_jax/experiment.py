"""A record made ready to train a NARX network: checked, cut in time into three parts, and scaled.

The first part trains, the next validates, the last tests. Scaling is found on the training part alone, and measured
values that are fed back share the scaling of their target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from lddn_jax import models
from lddn_jax.data.scaling import AbstractScaler, MinMax
from lddn_jax.data.sequences import Sequences, windows
from lddn_jax.data.tables import Table, uniform_sampling
from lddn_jax.errors import DataError
from lddn_jax.plan import plan
from lddn_jax.settings import Settings
from lddn_jax.topology import Topology


@dataclass(frozen=True)
class Experiment:
    """A record in scaled units, and the topology it is for.

    Attributes:
        topology: Of the network with its loop open.
        columns: `(time, 1)` by input and target, in the record's units.
        scalers: By column.
        targets: Names of the columns to predict.
        time: `(time,)`, in the record's units; row numbers where it tells none.
        first: Where the training part ends.
        second: Where the validation part ends.
    """

    topology: Topology
    columns: Mapping[str, np.ndarray]
    scalers: Mapping[str, AbstractScaler]
    targets: tuple[str, ...]
    time: np.ndarray
    first: int
    second: int

    @classmethod
    def of(cls, table: Table, inputs: Sequence[str], targets: Sequence[str], settings: Settings) -> "Experiment":
        """Checks a table, cuts it and finds the scaling.

        Raises:
            DataError: If columns are missing or hold NaN, or the record is too short.
            TopologyError: If settings describe no network.
        """
        columns = _columns(table, inputs, targets)
        time = _time(table, columns)
        first, second = _split(len(time), settings)
        topology = models.narx(
            dict.fromkeys(inputs, 1),
            dict.fromkeys(targets, 1),
            hidden=settings.hidden,
            input_delays=settings.input_delays,
            feedback_delays=settings.feedback_delays,
            linear_path=settings.linear_path,
        )
        scalers = {name: MinMax.fit(column[:first]) for name, column in columns.items()}
        return cls(topology, columns, scalers, tuple(targets), time, first, second)

    def on(self, topology: Topology) -> "Experiment":
        """The same record for another topology of the same inputs and targets."""
        return replace(self, topology=topology)

    @property
    def held(self) -> int:
        """Samples that fill the first delay state."""
        return max(plan(self.topology).longest_delays.values())

    @property
    def loops(self) -> dict[str, str]:
        """Target by the input that carries its measured values."""
        return {models.measured_name(target): target for target in self.targets}

    def whole(self, start: int, stop: int) -> Sequences:
        """Samples [start, stop) in one piece, with those before `start` that fill the first delay state."""
        rows = slice(max(start - self.held, 0), stop)
        scaled = {name: self._scaled(name, rows) for name in self.columns}
        measured = {input: scaled[target] for input, target in self.loops.items()}
        others = {name: scaled[name] for name in self.topology.input_names - measured.keys()}
        return Sequences(others | measured, {target: scaled[target] for target in self.targets})

    def windows(self, start: int, stop: int, length: int, topology: Topology | None = None) -> Sequences:
        """The same cut into windows, for the network with its loop open or another topology."""
        topology, cut = topology or self.topology, self.whole(start, stop)
        inputs = {name: signal for name, signal in cut.inputs.items() if name in topology.input_names}
        return windows(topology, inputs, cut.targets, length)

    def __str__(self):
        count = len(self.time)
        parts = f"{self.first} train, {self.second - self.first} validate, {count - self.second} test"
        return f"record: {count} samples; {parts}"

    def _scaled(self, name: str, rows: slice) -> np.ndarray:
        return np.asarray(self.scalers[name].apply(self.columns[name][rows]), jnp.result_type(float))


def _columns(table: Table, inputs: Sequence[str], targets: Sequence[str]) -> dict[str, np.ndarray]:
    if not targets:
        raise DataError(f"no target column was named; choose from {list(table.names)}.")
    both = sorted(set(inputs) & set(targets))
    if both:
        raise DataError(
            f"column {both[0]!r} is both an input and a target; a target's own past is fed back anyway. "
            f"Leave {both[0]!r} out of the inputs."
        )
    columns = {name: table.signal([name]) for name in (*inputs, *targets)}
    for name, column in columns.items():
        missing = np.flatnonzero(~np.isfinite(column[:, 0]))
        if missing.size:
            raise DataError(
                f"column {name!r} has no value in row {missing[0] + 1} of the data ({missing.size} such rows in all). "
                "Fill the gap, or cut the record there."
            )
    return columns


def _time(table: Table, columns: Mapping[str, Any]) -> np.ndarray:
    if "time" not in table.names or "time" in columns:
        return np.arange(len(table), dtype=float)
    uniform_sampling(table["time"])
    return np.asarray(table["time"])


def _split(count: int, settings: Settings) -> tuple[int, int]:
    if not (settings.train > 0 and settings.validation > 0 and settings.train + settings.validation < 1):
        raise DataError(
            f"train={settings.train} and validation={settings.validation} are shares of the record; both must be "
            "positive and leave something to test."
        )
    first = int(settings.train * count)
    second = first + int(settings.validation * count)
    held = max(*settings.input_delays, *settings.feedback_delays, 0)
    window = settings.window if settings.trainer == "adam" else 1
    if first < held + window or second == first:
        raise DataError(
            f"a record of {count} rows is too short: its training part of {first} holds no window of {window} "
            f"steps after {held} rows for the delay state. Pass a shorter window, or bring a longer record."
        )
    return first, second
