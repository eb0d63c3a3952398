"""Preparation of records for a NARX network: division into training, validation and test parts, and scaling.

Scalers are fitted to the training part only, and measured values that are fed back share the scaler of their target.
Each piece of a part fills its delay states from its own first samples, so no target is used in two parts. Records are
cut where targets are missing, because the network reads measured targets.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lddn_jax import models
from lddn_jax.data.records import Record, as_records, holds_records, timed_record
from lddn_jax.data.scaling import AbstractScaler, scaled, scalers_of
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.split import divide
from lddn_jax.data.windowing import whole, windows
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.diagnostics.record_quality import about_interpolation, about_length
from lddn_jax.errors import DataError
from lddn_jax.identification.settings import Settings
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology


@dataclass(frozen=True)
class Experiment:
    """Records in three parts, and the topology of the network.

    Attributes:
        topology: Topology with the loop open.
        targets: Names of the outputs.
        scalers: Scalers by input and target; an input of measured values shares the scaler of its target.
        train, validation, test: Records in their own units, without gaps, measured targets among the inputs.
    """

    topology: Topology
    targets: tuple[str, ...]
    scalers: Mapping[str, AbstractScaler]
    train: list[Record]
    validation: list[Record]
    test: list[Record]

    @classmethod
    def of(
        cls,
        given: Any,
        inputs: Sequence[str],
        targets: Sequence[str],
        settings: Settings,
        validation: Any = None,
    ) -> "Experiment":
        """Checks the records, divides them and fits the scalers.

        Args:
            given: A table, a record, a path, or a list of them; see `Record.of`.
            inputs: Names of input columns; may be empty.
            targets: Names of the columns to predict.
            settings: See `Settings`.
            validation: Validation records, in the same forms as `given`; None: a share of those given.

        Raises:
            DataError: If columns are missing, hold NaN where they may not, or a part is too short.
            TopologyError: If the settings give an invalid topology.
        """
        _check_names(inputs, targets)
        records = _records(given, inputs, targets, settings)
        topology = narx_of(settings, **records[0].sizes)
        needed = max(plan(topology).longest_delays.values()) + (settings.window if settings.trainer == "adam" else 1)
        own = [] if validation is None else _records(validation, inputs, targets, settings)
        parts = _parts(records, settings, own, needed)
        loops = {models.measured_name(target): target for target in targets}
        pieces = [[p.measured(loops) for record in part for p in record.unbroken(needed)] for part in parts]
        for name, part in zip(("training", "validation", "test"), pieces, strict=True):
            if not part:
                raise DataError(
                    f"the {name} part has no stretch of {needed} rows without a missing target; "
                    f"{needed - 1} of them fill the delays. Use a longer record or shorter delays."
                )
        scalers = scalers_of(pieces[0], shared=loops)
        return cls(topology, tuple(targets), scalers, *pieces)

    def on(self, topology: Topology) -> "Experiment":
        """Returns the same records for another topology of the same inputs and targets, with no longer delays."""
        return replace(self, topology=topology)

    @property
    def held(self) -> int:
        """Number of samples that fill the initial delay state of a piece."""
        return max(plan(self.topology).longest_delays.values())

    @property
    def loops(self) -> dict[str, str]:
        """Targets by the input with their measured values."""
        return {models.measured_name(target): target for target in self.targets}

    @functools.cached_property
    def scaled_train(self) -> list[Record]:
        """`train` in scaled units."""
        return [scaled(record, self.scalers) for record in self.train]

    @functools.cached_property
    def scaled_validation(self) -> list[Record]:
        """`validation` in scaled units."""
        return [scaled(record, self.scalers) for record in self.validation]

    @property
    def remarks(self) -> list[str]:
        """Warnings about the records themselves: interpolated targets, and a test part that is too short."""
        longest = max(self.train, key=len)
        found = [about_interpolation(name, line) for name, line in channels(longest.targets).items()]
        found.append(about_length("test part", sum(len(piece) - self.held for piece in self.test)))
        return [remark for remark in found if remark]

    def cut(
        self, records: Sequence[Record], length: int | None, topology: Topology | None = None, skip: int = 0
    ) -> Sequences:
        """Returns records as `Sequences`, cut into windows of equal length.

        Args:
            records: Records of any part, in scaled units.
            length: Steps of a window; None keeps each record in one piece.
            topology: Topology of the `Sequences`, such as that of the closed loop; None for that of the open loop.
            skip: Number of samples to skip at the start of each record.
        """
        chosen = [record.piece(skip, len(record)) for record in records]
        topology = topology or self.topology
        return whole(topology, chosen) if length is None else windows(topology, chosen, length=length)

    def __str__(self):
        def counted(part):
            pieces = f" in {len(part)} pieces" if len(part) > 1 else ""
            return f"{sum(map(len, part))} samples{pieces}"

        return (
            f"train: {counted(self.train)}; validate: {counted(self.validation)}; test: {counted(self.test)} "
            f"(the first {self.held} of each piece fill its delay state)"
        )


def narx_of(settings: Settings, inputs: Mapping[str, int], targets: Mapping[str, int]) -> Topology:
    """Returns the topology of the settings, for inputs and targets of given sizes.

    Raises:
        TopologyError: If the settings give an invalid topology.
    """
    return models.narx(
        inputs,
        targets,
        hidden=settings.hidden,
        input_delays=settings.input_delays,
        feedback_delays=settings.feedback_delays,
        linear_path=settings.linear_path,
    )


def _check_names(inputs: Sequence[str], targets: Sequence[str]) -> None:
    if not targets:
        raise DataError("no target column was given; name the columns to predict, such as targets=['position'].")
    both = sorted(set(inputs) & set(targets))
    if both:
        raise DataError(
            f"column {both[0]!r} is both an input and a target, but the past of a target is always fed back. "
            f"Leave {both[0]!r} out of the inputs."
        )


def _records(given: Any, inputs: Sequence[str], targets: Sequence[str], settings: Settings) -> list[Record]:
    if holds_records(given):
        return [_counted(record) for record in as_records(given, "identify")]
    sources = given if isinstance(given, (list, tuple)) else [given]
    return [_counted(timed_record(source, list(inputs), list(targets), settings.missing)) for source in sources]


def _counted(record: Record) -> Record:
    """The record with row numbers in place of unknown times, so that its pieces know their place in it."""
    return record if record.time is not None else replace(record, time=np.arange(len(record), dtype=float))


def _parts(records: list[Record], settings: Settings, own: list[Record], needed: int) -> list[list[Record]]:
    train, validation = settings.train, 0.0 if own else settings.validation
    test = 1 - train - settings.validation
    shares = (train / (train + test), 0.0, test / (train + test)) if own else (train, validation, test)
    found = divide(records, settings.division, shares, shortest=needed)
    return [found.train, own or found.validation, found.test]
