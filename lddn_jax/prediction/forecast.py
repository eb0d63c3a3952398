"""Evaluation of a network on records: predictions in the units of the records, scores and divergence.

    one step ahead    ŷ(t) uses measured outputs up to t − 1: the network with its loop open
    k steps ahead     ŷ(t) uses measured outputs up to t − k
    free run          ŷ(t) uses only measured outputs before the first step: the network with its loop closed
    persistence       ŷ(t) = y(t−1), the baseline

For a record without measured outputs only a free run is possible. It starts from a delay state of zeros in scaled
units, the middle of the training range with `MinMax` scalers.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from jaxtyping import Float

from lddn_jax import diagnostics
from lddn_jax.checks import check_positive, expect
from lddn_jax.data.records import Record, timed_record
from lddn_jax.data.scaling import scaled
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.sources import names_of, signals_of
from lddn_jax.data.tables import Table
from lddn_jax.data.windowing import starts_of, whole
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.diagnostics.ranges import Excursion, Range, excursions
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.losses import counted
from lddn_jax.network.network import Network
from lddn_jax.network.rewiring import closed_over, loops_of, measured_loops
from lddn_jax.network.signals import Signals, as_signals
from lddn_jax.numerics.text_table import aligned, digits, ratio_digits
from lddn_jax.prediction.free_run import diverged_at
from lddn_jax.prediction.horizons import k_step
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.delays import cut, state_sizes
from lddn_jax.simulation.simulate import predict
from lddn_jax.topology.plan import plan

ONE_STEP, FREE_RUN, PERSISTENCE = "one step ahead", "free run", "persistence"

Channels: TypeAlias = dict[str, Float[np.ndarray, "records time 1"]]
Lines: TypeAlias = dict[str, Float[np.ndarray, " time=_"]]


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Predictions and measured outputs of records, in the units of the records; `print` shows the scores.

    Arrays are `(time,)`, one per element of a signal, with all records concatenated. The samples that fill the first
    delay state of a record are not included.

    Attributes:
        time: Time of the predicted steps of a record, or of pieces of one; row numbers if the record has no times, or
            if there are several records.
        measured: Measured outputs by name; NaN where missing, empty if no output was measured.
        predictions: Predictions by kind and output: {"free run": {"y": …}, "one step ahead": {"y": …}}.
        warmup: Number of first steps of each record that are not scored.
        steps: Number of predicted steps of each record.
        inputs: Inputs by name, without the feedback inputs.
        std: Standard deviation of a measurement in the free run, by output; empty without error bars.
        ranges: Smallest and largest value in training, by name; empty if unknown.
        run: Sequences of the free run, `(records, time, size)` in scaled units; None if no output was measured.
    """

    time: Float[np.ndarray, " time"]
    measured: Mapping[str, Float[np.ndarray, " time"]]
    predictions: Mapping[str, Mapping[str, Float[np.ndarray, " time"]]]
    warmup: int
    steps: tuple[int, ...]
    inputs: Mapping[str, Float[np.ndarray, " time"]] = dataclasses.field(default_factory=dict)
    std: Mapping[str, Float[np.ndarray, " time"]] = dataclasses.field(default_factory=dict)
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    run: Sequences | None = None

    @property
    def outside(self) -> dict[str, Excursion]:
        """Inputs and measured outputs that leave the training range, where the network extrapolates."""
        return excursions(self.apart(self.inputs) | self.apart(self.scored), self.ranges)

    @property
    def scored(self) -> Lines:
        """Measured outputs, with NaN in the warm-up steps."""
        counts = np.concatenate([np.arange(count) >= self.warmup for count in self.steps])
        return {name: np.where(counts, y, np.nan) for name, y in self.measured.items()}

    @property
    def scores(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Scores by kind of prediction and output, without the warm-up; empty if no output was measured.

        `rmse` is in the units of the record, `r2` the coefficient of determination. If a prediction diverged, both are
        None and `diverged_at` is the first such step in any record. With error bars, `coverage` is the fraction of
        measurements within two standard deviations of the free run.
        """
        scored = self.scored
        found = {
            kind: {name: self._score(y, lines[name], name) for name, y in scored.items()}
            for kind, lines in self.predictions.items()
            if scored
        }
        for name, std in self.std.items():
            y, there = scored[name], ~np.isnan(scored[name])
            share = diagnostics.coverage(y[there], self.predictions[FREE_RUN][name][there], std[there])
            found[FREE_RUN][name]["coverage"] = share
        return found

    def diverged(self, kind: str) -> int | None:
        """Returns the first step at which a kind of prediction diverged in any record, or None; see `diverged_at`."""
        if not self.measured:
            return None
        return diverged_at(self.apart(self.predictions[kind], "last"), self.apart(self.scored))

    def joined(self, outputs: Mapping[str, Any]) -> Lines:
        """Concatenates outputs `(records, time, size)` to `(time,)` by element, without the padding of short records.

        Args:
            outputs: Outputs by output layer.
        """
        return joined(outputs, self.steps)

    def apart(self, lines: Mapping[str, Float[np.ndarray, " time=_"]], fill: str = "nan") -> Channels:
        """Splits concatenated signals into records, `(records, time, 1)`; the inverse of `joined`.

        Args:
            lines: Signals `(time,)` by name.
            fill: Padding of short records: "nan", or "last" for their last value.
        """
        longest, ends = max(self.steps), np.cumsum(self.steps)[:-1]

        def padded(piece: Float[np.ndarray, " own_steps"]) -> Float[np.ndarray, " longest"]:
            return np.append(piece, np.full(longest - len(piece), np.nan if fill == "nan" else piece[-1]))

        return {
            name: np.stack([padded(piece) for piece in np.split(np.asarray(line, float), ends)])[..., None]
            for name, line in lines.items()
        }

    def to_table(self) -> Table:
        """Returns times, measured outputs and predictions as a `Table`."""
        columns = {"time": self.time, **self.measured}
        for kind, found in self.predictions.items():
            columns |= {f"{name} {kind}": value for name, value in found.items()}
        return Table(columns)

    def __str__(self):
        of_each = " of each record" if len(self.steps) > 1 else ""
        skipped = f"; the first {self.warmup}{of_each} are warm-up and not scored" if self.warmup else ""
        unmeasured = "" if self.measured else "; the record has no measured outputs to compare with"
        lines = [f"{len(self.time)} steps{skipped}{unmeasured}"]
        for name, excursion in self.outside.items():  # causes come before scores
            lines.append(excursion.about(f"{'measured' if name in self.measured else 'input'} {name}"))
        if not self.measured:
            return "\n".join(lines)
        rows: list[tuple[str, ...]] = [("", "RMSE", "R²")]
        for kind, outputs in self.scores.items():
            for name, score in outputs.items():
                r2 = "undefined" if score["r2"] is None else ratio_digits(score["r2"])
                broken = "diverged", f"at step {score.get('diverged_at')}"
                rows.append((f"{name}, {kind}", *(broken if score["rmse"] is None else (digits(score["rmse"]), r2))))
        lines += aligned(rows)
        constant = [name for name, y in self.scored.items() if np.nanmin(y) == np.nanmax(y)]
        if constant:
            lines.append(f"measured {', '.join(constant)} is constant here, so R² is undefined")
        if any(np.isnan(y).any() for y in self.measured.values()):
            lines.append("measured outputs have gaps, so only a free run is possible")
        return "\n".join(lines)

    def _score(self, measured: np.ndarray, predicted: np.ndarray, name: str) -> dict[str, Any]:
        broken = diverged_at(self.apart({name: predicted}, "last"), self.apart({name: measured}))
        if broken is not None:
            return {"rmse": None, "r2": None, "diverged_at": broken}
        r2 = diagnostics.r2(measured, predicted)
        # The R² of a constant target is −∞ unless it is predicted exactly.
        return {"rmse": diagnostics.rmse(measured, predicted), "r2": r2 if np.isfinite(r2) else None}


def forecast(model: Scaled, source: Any, ahead: Sequence[int] = (1,), *, warmup: int = 0) -> Forecast:
    """Predicts a record, one or several steps ahead and in free run, and scores the predictions.

    Args:
        model: A network with its loop open and its scalers, for example from `lddn_jax.identify`.
        source: A `lddn_jax.data.Record`, or any source that `Record.of` takes, with columns named like the inputs and
            outputs of the network. Without output columns, only a free run is made.
        ahead: Numbers of steps ahead, in addition to the free run; ignored if measured outputs have gaps.
        warmup: Number of first steps that are not scored.

    Returns:
        A `Forecast`.

    Raises:
        DataError: If a column is missing, an input is NaN, or the record is too short.

    Example:
        >>> import jax, numpy as np, lddn_jax as lddn
        >>> net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
        >>> u, y = np.random.default_rng(0).normal(size=(2, 30, 1))
        >>> model = lddn.Scaled.fit(net, lddn.Sequences({"u": u, "measured_y": y}, y))
        >>> found = lddn.forecast(model, {"u": u[:, 0], "y": y[:, 0]}, ahead=(1, 3))
        >>> list(found.predictions), len(found.time)
        (['one step ahead', '3 steps ahead', 'free run'], 28)
    """
    fix = "a network with its scalers: Scaled(net, scalers), or Scaled.fit(net, data)"
    expect(Scaled, "model", model, "forecast(model, source, ahead)", fix)
    if not isinstance(ahead, Iterable):
        raise LDDNError(f"forecast: ahead={ahead!r} must be a sequence: ahead=({ahead!r},).")
    for k in ahead:
        check_positive("ahead", k)
    loops_of(model.net, None)
    columns = () if isinstance(source, Record) else names_of(source)
    if columns and not any(name in columns for name in model.net.topology.outputs):
        return _unmeasured(model, source)
    return evaluate(model, [record_for(model, source, "mask")], ahead, warmup=warmup)


def evaluate(
    model: Scaled, records: Sequence[Record], ahead: Sequence[int] = (1,), *, warmup: int = 0, persistence: bool = False
) -> Forecast:
    """Predicts records with measured outputs and scores the predictions.

    Args:
        model: A network with its loop open, and its scalers.
        records: Records in their own units.
        ahead: Numbers of steps ahead, in addition to the free run; ignored if measured outputs have gaps.
        warmup: Number of first steps of each record that are not scored.
        persistence: Whether to add the persistence baseline.

    Raises:
        DataError: If a record is too short, or `warmup` covers the longest record.
    """
    net, loops = model.net, loops_of(model.net, None)
    closed = closed_over(net, loops)
    firsts = [starts_of(closed.topology, record, 1)[0] for record in records]
    steps = tuple(len(record) - first for record, first in zip(records, firsts, strict=True))
    if not 0 <= warmup < max(steps):
        raise DataError(
            f"warmup={warmup}: the longest record has only {max(steps)} steps after those that fill its delay state."
        )
    run = whole(closed.topology, [scaled(record, model.scalers) for record in records])
    found: dict[str, Any] = {}
    targets = [{name: record.targets[name] for name in net.topology.outputs} for record in records]
    if not any(np.isnan(y).any() for each in targets for y in each.values()):
        data = opened(net, run, loops)
        for k in ahead:
            found[steps_ahead(k)] = (
                predict(net, data.inputs, data.state, steps=data.steps) if k == 1 else k_step(net, data, k, loops=loops)
            )
    found[FREE_RUN] = predict(closed, run.inputs, run.state, steps=run.steps)
    lines = {kind: joined(model.in_units(outputs), steps) for kind, outputs in found.items()}
    if persistence:
        earlier = [
            {name: cut(y, range(first, len(y)), 1, 0)[:, 0] for name, y in each.items()}
            for each, first in zip(targets, firsts, strict=True)
        ]
        lines[PERSISTENCE] = _rows(earlier, [0] * len(earlier))
    names = exogenous(model)
    inputs = [{name: record.inputs[name] for name in names} for record in records]
    return Forecast(
        time=_moments(records, firsts, steps),
        measured=_rows(targets, firsts),
        predictions=lines,
        warmup=warmup,
        steps=steps,
        inputs=_rows(inputs, firsts),
        ranges=model.ranges,
        run=run,
    )


def evaluate_sequences(net: Network, data: Sequences) -> Forecast:
    """Predicts sequences with a network without scalers and scores the predictions.

    A network with a loop is evaluated in free run, any other one step ahead.

    Args:
        net: The network, with its loop open or closed.
        data: `Sequences` with targets, in the units of the network.

    Raises:
        ShapeError: If data does not match the network.
    """
    sizes = net.topology.sizes
    inputs = as_signals("input", data.inputs, {name: sizes[name] for name in net.topology.input_names}, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in net.topology.outputs}, net.dtype)
    run = Sequences(inputs, targets, data.state, data.weights)
    outputs = predict(net, inputs, data.state, steps=data.steps)
    steps = (data.steps,) * int(np.prod(data.batch))
    has_loop = bool(plan(net.topology).longest_delays.keys() - net.topology.input_names)

    def lines(signals: Mapping[str, Any]) -> Lines:
        flat = {name: np.asarray(x).reshape(-1, data.steps, np.shape(x)[-1]) for name, x in signals.items()}
        return joined(flat, steps)

    return Forecast(
        time=np.arange(sum(steps), dtype=float),
        measured=lines(counted(targets, data.weights)),
        predictions={FREE_RUN if has_loop else ONE_STEP: lines(outputs)},
        warmup=0,
        steps=steps,
        inputs=lines(inputs),
        run=run,
    )


def opened(net: Network, run: Sequences, loops: Mapping[str, str]) -> Sequences:
    """Converts data for a closed loop to data for the open loop, with the targets as feedback inputs.

    Args:
        net: The network with its loop open.
        run: Data of the closed loop, without gaps.
        loops: Output layer by name of its feedback input.
    """
    inputs, targets, before = (cast(Signals, part) for part in (run.inputs, run.targets, run.state or {}))
    lines = {name: (before[loops.get(name, name)], held) for name, (held, _) in state_sizes(net.topology).items()}
    state = {name: line[..., line.shape[-2] - held :, :] for name, (line, held) in lines.items()}
    measured = {input: targets[output] for input, output in loops.items()}
    return dataclasses.replace(run, inputs={**inputs, **measured}, state=state)


def joined(outputs: Mapping[str, Any], steps: Sequence[int]) -> Lines:
    """Concatenates signals `(records, time, size)` over records to `(time,)` by element."""
    pieces = {
        name: np.concatenate([np.asarray(piece)[:count] for piece, count in zip(signal, steps, strict=True)])
        for name, signal in outputs.items()
    }
    return {name: line[:, 0] for name, line in channels(pieces).items()}


def steps_ahead(k: int) -> str:
    """Returns the name of predictions k steps ahead."""
    return ONE_STEP if k == 1 else f"{k} steps ahead"


def exogenous(model: Scaled) -> list[str]:
    """Returns the names of the inputs that are not feedback inputs."""
    loops = measured_loops(model.net.topology)
    return [i.name for i in model.net.topology.inputs if i.name not in loops]


def record_for(model: Scaled, source: Any, missing: str = "error") -> Record:
    """Builds the record of a network's inputs and outputs from a source; a `Record` is returned unchanged.

    Args:
        model: A network with its loop open.
        source: As in `Record.of`; a column `time` that is not a signal gives the sampling instants.
        missing: As in `Record`.
    """
    if isinstance(source, Record):
        needed, held = (*exogenous(model), *model.net.topology.outputs), {**source.inputs, **source.targets}
        for name in needed:
            if name not in held:
                raise DataError(f"{source} has no {name!r}; the network needs all of {list(needed)}.")
        return source
    return timed_record(source, exogenous(model), list(model.net.topology.outputs), missing)


def _unmeasured(model: Scaled, source: Any) -> Forecast:
    inputs, columns = exogenous(model), names_of(source)
    if not inputs:
        raise DataError(
            f"the record has none of the outputs {list(model.net.topology.outputs)}, and the network has no other "
            "input. Pass a record with measured outputs to start from."
        )
    signals, _, instants = signals_of(source, inputs, [], "time" if "time" in {*columns} - {*inputs} else None)
    units = {name: model.scalers[name].apply(signal)[None] for name, signal in signals.items()}
    data = Sequences(units, None)  # raises if an input is NaN
    free = predict(closed_over(model.net, loops_of(model.net, None)), data.inputs)
    return Forecast(
        time=np.arange(data.steps, dtype=float) if instants is None else instants,
        measured={},
        predictions={FREE_RUN: joined(model.in_units(free), (data.steps,))},
        warmup=0,
        steps=(data.steps,),
        inputs=_rows([signals], [0]),
        ranges=model.ranges,
    )


def _rows(records: Sequence[Mapping[str, np.ndarray]], firsts: Sequence[int]) -> Lines:
    """Rows of every record from its first step on, concatenated."""
    each = list(zip(records, firsts, strict=True))
    whole = {name: np.concatenate([record[name][first:] for record, first in each]) for name in records[0]}
    return {name: line[:, 0] for name, line in channels(whole).items()}


def _moments(records: Sequence[Record], firsts: Sequence[int], steps: Sequence[int]) -> Float[np.ndarray, " time"]:
    """Sampling instants of a record or of its pieces; row numbers for unknown instants and for several records."""
    times = [np.arange(len(r), dtype=float) if r.time is None else np.asarray(r.time) for r in records]
    found = np.concatenate([time[first:] for time, first in zip(times, firsts, strict=True)])
    return found if (np.diff(found) > 0).all() else np.arange(sum(steps), dtype=float)
