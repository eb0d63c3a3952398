"""Preparation of records for a NARX network: division into training, validation and test parts, and scaling.

Scalers are fitted to the training part only, and measured values that are fed back share the scaler of their target.
Each piece of a part fills its delay states from its own first samples, so no target is used in two parts. Records are
cut where targets are missing, because the network reads measured targets.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lddn_jax import models
from lddn_jax.checks import did_you_mean
from lddn_jax.data.reading import Reading
from lddn_jax.data.records import Record, as_records, holds_records, notes_on, records_in
from lddn_jax.data.scaling import AbstractScaler, is_constant, scaled, scalers_of
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.split import divide
from lddn_jax.data.windowing import whole, windows
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.diagnostics.oversampling import about_sampling
from lddn_jax.diagnostics.record_quality import about_interpolation, about_length
from lddn_jax.errors import DataError
from lddn_jax.identification.declared import check_signals
from lddn_jax.identification.settings import Settings
from lddn_jax.network.initializers import Ignoring, Initializer
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology
from lddn_jax.training.stop_reason import Flag

SMALLEST_SHARE = 1e-3  # of the range of all records, below which the variation of one is invisible
FEWEST_IN_A_FOLD = 5  # samples
FEWEST_SAMPLES = 20  # of a piece whose range is compared


@dataclass(frozen=True)
class Experiment:
    """Records in three parts, and the topology of the network.

    Attributes:
        topology: Topology with the loop open.
        targets: Names of the outputs.
        scalers: Scalers by input and target; an input of measured values shares the scaler of its target.
        train, validation, test: Records in their own units, without gaps, measured targets among the inputs.
        constant: Elements of inputs that do not vary in the training part, with their value, by input.
        left_out: What was left out of the records, one line each.
    """

    topology: Topology
    targets: tuple[str, ...]
    scalers: Mapping[str, AbstractScaler]
    train: list[Record]
    validation: list[Record]
    test: list[Record]
    constant: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        given: Any,
        inputs: Sequence[str],
        targets: Sequence[str],
        settings: Settings,
        validation: Any = None,
        reading: Reading | None = None,
    ) -> "Experiment":
        """Checks the records, divides them and fits the scalers.

        Args:
            given: A table, a record, a path, or a list of them; see `Record.of`.
            inputs: Names of input columns; may be empty.
            targets: Names of the columns to predict.
            settings: See `Settings`.
            validation: Validation records, in the same forms as `given`; None: a share of those given.
            reading: How files are read.

        Raises:
            DataError: If columns are missing, hold NaN where they may not, or a part is too short.
            TopologyError: If the settings give an invalid topology.
        """
        _check_names(inputs, targets)
        whole_records = _records(given, inputs, targets, settings, reading)
        records = _up_to_the_last_target(whole_records)
        topology = topology_of(settings, **records[0].sizes)
        held = max(plan(topology).longest_delays.values(), default=0)
        window = settings.window if settings.trainer == "adam" else 1
        own = [] if validation is None else _records(validation, inputs, targets, settings, reading)
        parts = _parts(records, settings, _up_to_the_last_target(own), held + 1)
        measured = {models.measured_name(target): target for target in targets}
        loops = {name: target for name, target in measured.items() if name in topology.input_names}
        pieces, left_out = [], _about_the_end(whole_records, records)
        for name, part, steps in zip(("training", "validation", "test"), parts, (window, 1, 1), strict=True):
            all_pieces = [piece for record in part for piece in record.unbroken(1)]
            long = [piece.measured(loops) for piece in all_pieces if len(piece) >= held + steps]
            if not long and not part and name == "validation":  # folds need none
                pieces.append([])
                continue
            if not long:
                reason = f"{held} fill the delays" + (f" and {steps} are a window" if steps > 1 else "")
                raise DataError(
                    f"of the {sum(map(len, records))} samples, the {name} part has {sum(map(len, part))}, and no "
                    f"stretch of {held + steps} rows without a missing target: {reason}. Use a longer record, "
                    f"{'a shorter window' if steps > 1 else 'another division'} or shorter delays."
                )
            if len(long) < len(all_pieces):
                short, of_all = len(all_pieces) - len(long), len(all_pieces)
                left_out.append(f"{name} part: {short} of {of_all} pieces have fewer than {held + steps} rows")
            pieces.append(long)
        samples = sum(map(len, pieces[0]))
        if settings.chosen_model == "state-space" and samples < FEWEST_IN_A_FOLD * settings.folds:
            raise DataError(
                f"the training part has {samples} samples, too few for {settings.folds} folds of {FEWEST_IN_A_FOLD} or "
                "more. Use a longer record, or fewer folds."
            )
        constant = _constant(pieces[0])
        pieces[0] = [_exactly(record, constant) for record in pieces[0]]
        scalers = scalers_of(pieces[0], shared=loops)
        return cls(topology, tuple(targets), scalers, *pieces, constant=constant, left_out=tuple(left_out))

    @property
    def reading_notes(self) -> tuple[str, ...]:
        """How the files of all records were read, each note once."""
        return notes_on(record for part in (self.train, self.validation, self.test) for record in part)

    def on(self, topology: Topology) -> "Experiment":
        """Returns the same records for another topology of the same inputs and targets, with no longer delays."""
        return replace(self, topology=topology)

    @property
    def held(self) -> int:
        """Number of samples that fill the initial delay state of a piece."""
        return max(plan(self.topology).longest_delays.values(), default=0)

    @property
    def loops(self) -> dict[str, str]:
        """Targets by the input with their measured values."""
        measured = {models.measured_name(target): target for target in self.targets}
        return {name: target for name, target in measured.items() if name in self.topology.input_names}

    def initializer(self, init: str) -> str | Initializer:
        """Returns an initializer by which a network ignores inputs that do not vary in the training part."""
        if not self.constant:
            return init
        return Ignoring(init, tuple((name, tuple(elements)) for name, elements in self.constant.items()))

    @property
    def notes(self) -> dict[str, str]:
        """Notes on the training part, by name of a `lddn_jax.training.stop_reason.Flag`."""
        loops = self.loops
        parts = {
            Flag.CONSTANT_INPUT: self._constant_in(
                "input",
                [name for name in self.constant if name not in loops],
                "weights that read it start at zero and get no gradient, so the model ignores its changes",
            ),
            Flag.CONSTANT_TARGET: self._constant_in(
                "target", [name for name in self.constant if name in loops], "there is nothing to learn"
            )
            or self._constant_targets(),
            Flag.UNEQUAL_SCALES: self._unequal(),
        }
        return {str(flag): note for flag, note in parts.items() if note}

    def _constant_targets(self) -> str:
        """A sentence on targets that do not vary, for a network that does not read them; empty if there are none."""
        shown = []
        for name in self.targets:
            columns = np.concatenate([record.targets[name] for record in self.train])
            constant = np.flatnonzero(is_constant(columns))
            called = f"element {{}} of target {name!r}" if columns.shape[1] > 1 else f"target {name!r}"
            shown += [f"{called.format(k)} is {columns[0, k]:.6g}" for k in constant]
        return f"{', '.join(shown)} in all of the training part: there is nothing to learn" if shown else ""

    def _constant_in(self, kind: str, names: Sequence[str], consequence: str) -> str:
        """A sentence on inputs or targets that do not vary in the training part; empty if there are none."""
        shown = []
        for name in names:
            several = self.train[0].inputs[name].shape[1] > 1
            for k, value in self.constant[name].items():
                called = f"element {k} of {kind}" if several else kind
                shown.append(f"{called} {self.loops.get(name, name)!r} is {value:.6g}")
        more = f" and {len(shown) - 5} more" if len(shown) > 5 else ""
        return f"{', '.join(shown[:5])}{more} in all of the training part: {consequence}" if shown else ""

    def _unequal(self) -> str:
        """A sentence if a training record varies far less than all of them together; empty if none does."""
        for kind in ("targets", "inputs"):
            for name in getattr(self.train[0], kind):
                whole = np.ptp(np.concatenate([getattr(r, kind)[name] for r in self.train]), axis=0)
                for record in self.train:
                    own = np.ptp(getattr(record, kind)[name], axis=0)
                    hidden = (own > 0) & (own < SMALLEST_SHARE * whole) & (len(record) >= FEWEST_SAMPLES)
                    if hidden.any():
                        k = int(np.argmax(hidden))
                        called = f"record {record.name!r}" if record.name else "one record"
                        return (
                            f"{name!r} varies by {own[k]:.3g} in {called} and by {whole[k]:.3g} over all: under one "
                            "scale the smaller one is invisible; train a model for each"
                        )
        return ""

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
        """Warnings about the records themselves: sampled too fast, interpolated targets, a test part too short."""
        longest = max(self.train, key=len)
        outputs = channels(longest.targets)
        found = [about_sampling(outputs), *(about_interpolation(name, line) for name, line in outputs.items())]
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

        validate = f" validate: {counted(self.validation)};" if self.validation else ""
        fill = "sample fills" if self.held == 1 else f"{self.held} samples fill"
        parts = (
            f"train: {counted(self.train)};{validate} test: {counted(self.test)} "
            f"(the first {fill} the delay state of each piece)"
            if not self.validation
            else f"train: {counted(self.train)};{validate} test: {counted(self.test)} "
            f"(the first {self.held} of each piece fill its delay state)"
        )
        return "\n".join([parts, *(f"left out: {line}" for line in self.left_out)])


def _constant(records: Sequence[Record]) -> dict[str, dict[int, float]]:
    """Elements of inputs that do not vary over all records, with their values, by input."""
    found = {}
    for name in records[0].inputs:
        columns = np.concatenate([record.inputs[name] for record in records])
        elements = {int(k): float(columns[0, k]) for k in np.flatnonzero(is_constant(columns))}
        found |= {name: elements} if elements else {}
    return found


def _exactly(record: Record, constant: Mapping[str, Mapping[int, float]]) -> Record:
    """Returns a record whose constant inputs are free of rounding."""
    inputs = dict(record.inputs)
    for name, elements in constant.items():
        inputs[name] = np.array(inputs[name])
        for k, value in elements.items():
            inputs[name][:, k] = value
    return record.replaced(inputs=inputs) if constant else record


def topology_of(settings: Settings, inputs: Mapping[str, int], targets: Mapping[str, int]) -> Topology:
    """Returns the topology of the settings; for state spaces one of those that compete, whose delays all have.

    Raises:
        TopologyError: If a declared network has other inputs or outputs.
    """
    if settings.named is not None:
        return settings.topology_for(inputs, targets)
    if settings.declared is not None:
        check_signals(settings.declared, dict(inputs), dict(targets))
        return settings.declared
    if settings.chosen_model == "narx":
        return narx_of(settings, inputs, targets)
    hidden, output_hidden = (5, 4) if settings.hidden is None else (settings.hidden, 0)
    return models.state_space(
        inputs,
        targets,
        states=(settings.orders or (2,))[0],
        hidden=hidden,
        output_hidden=output_hidden if settings.output_hidden is None else settings.output_hidden,
    )


def narx_of(settings: Settings, inputs: Mapping[str, int], targets: Mapping[str, int]) -> Topology:
    """Returns the topology of the settings, for inputs and targets of given sizes.

    Raises:
        TopologyError: If the settings give an invalid topology.
    """
    return models.narx(
        inputs,
        targets,
        hidden=settings.narx_hidden,
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


def _records(
    given: Any, inputs: Sequence[str], targets: Sequence[str], settings: Settings, reading: Reading | None
) -> list[Record]:
    if holds_records(given):
        return [_counted(_with_signals(record, inputs, targets)) for record in as_records(given, "identify")]
    sources = given if isinstance(given, (list, tuple)) else [given]
    return [
        _counted(record)
        for source in sources
        for record in records_in(source, list(inputs), list(targets), missing=settings.missing, reading=reading)
    ]


def _with_signals(record: Record, inputs: Sequence[str], targets: Sequence[str]) -> Record:
    """The record with the inputs and targets of these names only."""
    for kind, names, known in (("input", inputs, record.inputs), ("target", targets, record.targets)):
        for name in names:
            if name not in known:
                raise DataError(
                    f"{kind}s={list(names)}: record {record.name!r} has no {kind} {name!r}; its {kind}s are "
                    f"{list(known)}.{did_you_mean(name, known)}"
                )
    return record.replaced(
        inputs={name: record.inputs[name] for name in inputs}, targets={name: record.targets[name] for name in targets}
    )


def _counted(record: Record) -> Record:
    """The record with row numbers in place of unknown times, so that its pieces know their place in it."""
    return record if record.time is not None else record.replaced(time=np.arange(len(record), dtype=float))


def _up_to_the_last_target(records: list[Record]) -> list[Record]:
    """The records without rows at the end in which no target was measured: they are there to be forecast."""
    return [record.piece(0, record.measured_rows() or len(record)) for record in records]


def _about_the_end(given: list[Record], used: list[Record]) -> list[str]:
    rows = sum(map(len, given)) - sum(map(len, used))
    return [f"{rows} rows at the end without a measured target, which predict forecasts"] if rows else []


def _parts(records: list[Record], settings: Settings, own: list[Record], needed: int) -> list[list[Record]]:
    train, validation = settings.train, 0.0 if own else settings.validation
    test = 1 - train - settings.validation
    folds = settings.chosen_model == "state-space"  # which hold out every part of the records in turn
    if folds:
        train, validation = train + validation, 0.0
    shares = (train / (train + test), 0.0, test / (train + test)) if own else (train, validation, test)
    found = divide(records, settings.division, shares, shortest=needed)
    return [[*found.train, *own], [], found.test] if folds else [found.train, own or found.validation, found.test]
