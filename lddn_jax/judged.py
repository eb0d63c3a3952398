"""A trained network and its signals on a record, in one form whatever it comes from.

An identified network comes with its record and is judged on the test part, in the record's units; a fit is judged on
the data that it is given with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from lddn_jax import diagnostics
from lddn_jax.data.batches import Sequences
from lddn_jax.data.records import Record
from lddn_jax.data.scaling import MinMax
from lddn_jax.data.sequences import whole
from lddn_jax.data.units import scaled
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.errors import LDDNError
from lddn_jax.identify import Identified
from lddn_jax.losses import counted
from lddn_jax.models import measured_name
from lddn_jax.network import Network
from lddn_jax.plan import plan
from lddn_jax.prediction import with_gaps
from lddn_jax.recipes import Regularized
from lddn_jax.scaled import Scaled
from lddn_jax.signals import as_signals
from lddn_jax.simulate import predict
from lddn_jax.training.closed_loop import ClosedLoop, closed_over, diverged_at, loops_of
from lddn_jax.training.fit import Fitted, History

ONE_STEP, FREE_RUN, PERSISTENCE = "one step ahead", "closed loop (free run)", "persistence y(t) = y(t−1)"

Channels = dict[str, np.ndarray]


@dataclass(frozen=True)
class Judged:
    """A network and its record. Signals are by element, `(*batch, time, 1)`, in the record's units.

    Attributes:
        net: The network as it was trained.
        trained: What training returned, in words.
        stop_reason: See `lddn_jax.Fitted`.
        history: Of the network returned.
        best_epoch: See `lddn_jax.Fitted`; None where there is no such thing.
        time: `(time,)` of the judged part.
        inputs: Inputs of the judged part, by name.
        measured: Measured outputs.
        predictions: By what they are, and by output.
        loop: The network whose loop is closed, and data for it in its own units; None if there is no loop.
        opened: The network and data that the horizon profile is made of; None if there is no loop, or a gap in it.
        record: Of an identified network the whole record by column, its time and its parts.
        ranges: Of signals in the part that trained; empty if it is not known.
        std: Standard deviation of a measurement in the free run, by output; empty unless there are error bars.
        scale: What turns an error of an output from the units of `opened` into the record's.
    """

    net: Network
    trained: str
    stop_reason: str
    history: History
    best_epoch: int | None
    time: np.ndarray
    inputs: Channels
    measured: Channels
    predictions: dict[str, Channels]
    loop: tuple[Network, Sequences] | None = None
    opened: tuple[Network, Sequences] | None = None
    record: tuple[Mapping[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]] | None = None
    ranges: Mapping[str, Any] = field(default_factory=dict)
    std: Channels = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """What there are predictions of, persistence apart."""
        return [kind for kind in self.predictions if kind != PERSISTENCE]

    def diverged(self, kind: str) -> int | None:
        """Returns the first step at which a prediction left the finite numbers or all that was measured."""
        with np.errstate(over="ignore"):
            signals = [{k: jnp.asarray(v) for k, v in part.items()} for part in (self.predictions[kind], self.measured)]
        return diverged_at(*signals)

    @property
    def residuals(self) -> Channels:
        """Measured − predicted by output, of the first of `predictions`; NaN from where that diverged."""
        first = self.predictions[self.models[0]]
        step = self.diverged(self.models[0])
        until = (np.arange(len(self.time)) < (len(self.time) if step is None else step))[:, None]
        return {name: y - np.where(until, first[name], np.nan) for name, y in self.measured.items()}


def judged(found: Any, data: Sequences | Record | None = None) -> Judged:
    """Gathers what is known of a trained network.

    Args:
        found: `Identified`, `Fitted` or `ClosedLoop`; or a `Scaled` network whose loop is open.
        data: What to judge a `Fitted` or `ClosedLoop` on, or a `Record` for a `Scaled`; an `Identified` brings its own.

    Raises:
        LDDNError: If data are missing, or given to an `Identified`.
    """
    if isinstance(found, Identified):
        if data is not None:
            raise LDDNError("an Identified is judged on the test part of its own record; leave data out.")
        return _of_identified(found)
    if isinstance(found, Scaled):
        if not isinstance(data, Record):
            raise LDDNError(
                "a Scaled network is judged on a record: report(model, lddn.data.Record.of(...), path=...)."
            )
        return _of_model(found, data)
    if not isinstance(found, (Fitted, ClosedLoop)):
        raise LDDNError(
            f"{type(found).__name__} cannot be judged; give what identify, fit or fit_closed_loop returned, or a "
            "lddn.Scaled network."
        )
    if not isinstance(data, Sequences) or data.targets is None:
        raise LDDNError("a fit is judged on data with targets: report(fitted, data, path='report.html').")
    net, topology = found.net, found.net.topology
    sizes = topology.sizes
    inputs = as_signals("input", data.inputs, {name: sizes[name] for name in topology.input_names}, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in topology.outputs}, net.dtype)
    has_loop = bool(plan(topology).longest_delays.keys() - topology.input_names)
    has_measured = any(measured_name(output) in topology.input_names for output in topology.outputs)
    complete = not any(np.isnan(np.asarray(y)).any() for y in with_gaps(targets, data.weights).values())
    own = Sequences(inputs, targets, data.state, data.weights)
    predicted = channels(predict(net, inputs, data.state, steps=data.steps))
    return Judged(
        net=net,
        trained=str(found),
        stop_reason=_last(found).stop_reason,
        history=found.history.of(found.best_restart) if isinstance(found, Fitted) else found.history,
        best_epoch=found.best_epoch if isinstance(found, Fitted) else None,
        time=np.arange(data.steps, dtype=float),
        inputs=channels(inputs),
        measured=channels(counted(targets, data.weights)),
        predictions={FREE_RUN if has_loop else ONE_STEP: predicted},
        loop=(net, own) if has_loop else None,
        opened=(net, own) if has_measured or (has_loop and complete) else None,
    )


def _of_identified(found: Identified) -> Judged:
    experiment, trained, held = found.experiment, found.trained, found.experiment.held
    test, loops = experiment.test, experiment.loops
    steps = [len(piece) - held for piece in test]
    longest = [max(test, key=len)]
    closed = closed_over(found.net, loops)

    def apart(joined: Mapping[str, np.ndarray], fill: str = "nan") -> Channels:
        """Pieces that lie one after the other, side by side: `(pieces, time, 1)`, with NaN or the last value behind."""
        ends = np.cumsum(steps)[:-1]
        return {name: _padded(np.split(np.asarray(line, float), ends), fill) for name, line in joined.items()}

    def of_test(start: int, before_end: int, kind: str) -> Channels:
        pieces = [
            _elements({k: x for k, x in getattr(record, kind).items() if k not in loops}, start, before_end)
            for record in test
        ]
        return {name: _padded([piece[name] for piece in pieces], "nan") for name in pieces[0]}

    measured = apart(found.measured)
    for y in measured.values():
        y[:, : found.settings.warmup] = np.nan  # as in its scores
    predictions = {
        ONE_STEP: apart(found.one_step, "last"),
        FREE_RUN: apart(found.closed_loop, "last"),
        PERSISTENCE: of_test(held - 1, 1, "targets"),
    }
    fitted = trained.after if isinstance(trained, Regularized) else trained
    trained_on = [_elements(r.targets, 0, 0) | _elements(r.inputs, 0, 0) for r in experiment.train]
    inputs = of_test(held, 0, "inputs")
    ranges = {k: np.concatenate([part[k] for part in trained_on])[:, None] for k in (*inputs, *measured)}
    return Judged(
        net=found.net,
        trained=str(trained),
        stop_reason=_last(fitted).stop_reason,
        history=trained.history.of(fitted.best_restart) if isinstance(fitted, Fitted) else trained.history,
        best_epoch=fitted.best_epoch if isinstance(fitted, Fitted) else None,
        time=found.time if len(test) == 1 else np.arange(max(steps), dtype=float),
        inputs=inputs,
        measured=measured,
        predictions=predictions,
        loop=(closed, experiment.cut(longest, None, closed.topology)),
        opened=(found.net, experiment.cut(longest, None)),
        record=_whole_record(found),
        ranges=diagnostics.training_range(ranges),
        std=apart(found.std, "last"),
        scale={
            name: float(experiment.scalers[name].error_scale()[0])
            for name in experiment.targets
            if found.net.topology.sizes[name] == 1
        },
    )


def _of_model(model: Scaled, record: Record) -> Judged:
    """A saved network on a record that has measured outputs, without gaps."""
    topology, loops = model.net.topology, loops_of(model.net, None)
    closed = closed_over(model.net, loops)
    units = scaled(record.measured(loops), model.scalers)
    opened, free = whole(topology, units), whole(closed.topology, units)
    held = len(record) - opened.steps

    def run(net, data):
        return {name: y[0] for name, y in channels(model.in_units(predict(net, data.inputs, data.state))).items()}

    measured = channels({name: record.targets[name] for name in topology.outputs})
    ranges = {name: (s.lowest, s.highest) for name, s in model.scalers.items() if isinstance(s, MinMax)}
    return Judged(
        net=model.net,
        trained="a network that was trained before",
        stop_reason="",
        history=History({"loss": []}),
        best_epoch=None,
        time=np.arange(held, len(record), dtype=float) if record.time is None else record.time[held:],
        inputs=channels({name: record.inputs[name][held:] for name in topology.input_names - loops.keys()}),
        measured={name: y[held:] for name, y in measured.items()},
        predictions={
            ONE_STEP: run(model.net, opened),
            FREE_RUN: run(closed, free),
            PERSISTENCE: {name: y[held - 1 : -1] for name, y in measured.items()},
        },
        loop=(closed, free),
        opened=(model.net, opened),
        ranges={name: tuple(map(np.asarray, pair)) for name, pair in ranges.items() if name not in loops},
        scale={name: float(model.scalers[name].error_scale()[0]) for name in topology.outputs},
    )


def _whole_record(found: Identified) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, tuple[float, float]]]:
    """All records one after the other by element, their time, and where the parts begin and end."""
    experiment = found.experiment
    parts = {"train": experiment.train, "validation": experiment.validation, "test": experiment.test}
    pieces = [piece for part in parts.values() for piece in part]
    shown = [
        _elements({k: x for k, x in p.inputs.items() if k not in experiment.loops} | dict(p.targets), 0, 0)
        for p in pieces
    ]
    lines = {name: np.concatenate([piece[name] for piece in shown]) for name in shown[0]}
    stops = np.cumsum([sum(map(len, part)) for part in parts.values()])
    time = np.arange(stops[-1], dtype=float)
    if all(piece.time is not None for piece in pieces):
        known = np.concatenate([piece.time for piece in pieces])
        time = known if (np.diff(known) > 0).all() else time
    starts = [0, *stops[:-1]]
    splits = {
        name: (float(time[start]), float(time[min(stop, len(time) - 1)]))
        for name, start, stop in zip(parts, starts, stops, strict=True)
    }
    return lines, time, splits


def _elements(signals: Mapping[str, Any], start: int, before_end: int) -> dict[str, np.ndarray]:
    """Rows of signals by element, `(time,)`."""
    return {name: x[start : len(x) - before_end, 0] for name, x in channels(signals).items()}


def _padded(pieces: Sequence[np.ndarray], fill: str) -> np.ndarray:
    longest = max(map(len, pieces))
    ends = [np.full(longest - len(piece), np.nan if fill == "nan" else piece[-1]) for piece in pieces]
    return np.stack([np.concatenate([piece, end]) for piece, end in zip(pieces, ends, strict=True)])[..., None]


def _last(found: Fitted | ClosedLoop) -> Fitted:
    """The fit that led to the network returned."""
    return found if isinstance(found, Fitted) else found.stages[found.best_stage].fitted
