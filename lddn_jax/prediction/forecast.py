"""Evaluation of a network on records: predictions in the units of the records, scores and divergence.

    one step ahead    ŷ(t) uses measured outputs up to t − 1: the network with its loop open
    k steps ahead     ŷ(t) uses measured outputs up to t − k
    free run          ŷ(t) uses only measured outputs before the first step: the network with its loop closed
    persistence       ŷ(t) = y(t−1), the baseline
    forecast          free run from the last measured outputs on, for the rows after them

A network that reads measured outputs through delays of at least d > 1 predicts d steps ahead with its loop open, and is
compared with the persistence ŷ(t) = y(t−d). For a record without measured outputs only a free run is possible. It
starts from a delay state of zeros in scaled units, the middle of the training range with `MinMax` scalers.
"""

import dataclasses
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import jax
import numpy as np
from jaxtyping import Float

from lddn_jax import diagnostics
from lddn_jax.checks import check_not_negative, check_positive, expect
from lddn_jax.data.reading import Reading
from lddn_jax.data.records import Record, notes_on
from lddn_jax.data.scaling import scaled
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.sources import label_of, names_of, opened_source, signals_of
from lddn_jax.data.tables import Table
from lddn_jax.data.windowing import starts_of, whole
from lddn_jax.diagnostics.lagged import channels
from lddn_jax.diagnostics.ranges import Excursion, Range, excursions
from lddn_jax.errors import DataError, LDDNError
from lddn_jax.losses import counted
from lddn_jax.network.network import Network
from lddn_jax.network.rewiring import closed_over, measured_loops, open_loop
from lddn_jax.network.signals import Signals, as_signals, measured_name
from lddn_jax.numerics.text_table import aligned, digits, ratio_digits
from lddn_jax.prediction.continuation import Continuation, known_row, measured_rows, state_after
from lddn_jax.prediction.error_bars import ErrorBars
from lddn_jax.prediction.free_run import diverged_at
from lddn_jax.prediction.horizons import k_step, shortest_delay
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.delays import started, state_sizes
from lddn_jax.simulation.simulate import predict
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology

ONE_STEP, FREE_RUN, PERSISTENCE, FORECAST = "one step ahead", "free run", "persistence", "forecast"
MOST_PRINTED_STEPS = 10  # steps of a forecast that are printed
MOST_STEPS = 10_000_000  # steps of a forecast beyond the last row

Channels: TypeAlias = dict[str, Float[np.ndarray, "records time 1"]]
Lines: TypeAlias = dict[str, Float[np.ndarray, " time=_"]]


@dataclasses.dataclass(frozen=True)
class Forecast:
    """Predictions and measured outputs of records, in the units of the records; `print` shows the scores.

    Arrays are `(time,)`, one per element of a signal, with all records concatenated. The samples that fill the first
    delay state of a record are not included, and those after the last measured outputs are in `future`.

    Attributes:
        time: Time of the predicted steps of a record, or of pieces of one; row numbers if the record has no times, or
            if there are several records.
        measured: Measured outputs by name; NaN where missing, empty if no output was measured.
        predictions: Predictions by kind and output: {"free run": {"y": …}, "one step ahead": {"y": …}}.
        warmup: Number of first steps of each record that are not scored.
        steps: Number of predicted steps of each record.
        inputs: Inputs by name, without the feedback inputs.
        std: Standard deviation of a measurement in the free run, by output; empty without error bars.
        trained_on: Smallest and largest value in training, by name; empty if unknown.
        run: Sequences of the free run, `(records, time, size)` in scaled units; None if no output was measured.
        ahead: Number of steps ahead of a prediction with the loop open, the smallest delay of the measured outputs.
        spans: Usual range of the outputs, for `diverged_at`; empty if unknown.
        future: Forecast of the steps after the last measured outputs; None if there are none.
        notes: How the file was read.
    """

    time: Float[np.ndarray, " time"]
    measured: Mapping[str, Float[np.ndarray, " time"]]
    predictions: Mapping[str, Mapping[str, Float[np.ndarray, " time"]]]
    warmup: int
    steps: tuple[int, ...]
    inputs: Mapping[str, Float[np.ndarray, " time"]] = dataclasses.field(default_factory=dict)
    std: Mapping[str, Float[np.ndarray, " time"]] = dataclasses.field(default_factory=dict)
    trained_on: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    run: Sequences | None = None
    ahead: int = 1
    spans: Mapping[str, float] = dataclasses.field(default_factory=dict)
    future: Continuation | None = None
    notes: tuple[str, ...] = ()

    @property
    def open_loop(self) -> str:
        """Kind of the predictions with the loop open: "one step ahead", or "2 steps ahead", for example."""
        return steps_ahead(self.ahead)

    @property
    def outside(self) -> dict[str, Excursion]:
        """Inputs and measured outputs that leave the training range, where the network extrapolates."""
        return excursions({name: x[:, None] for name, x in {**self.inputs, **self.scored}.items()}, self.trained_on)

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
        return diverged_at(self.apart(self.predictions[kind], "last"), self.apart(self.scored), ranges=self.spans)

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
        """Returns times, measured outputs, predictions and standard deviations as a `Table`.

        The steps of `future` are the last rows: their predictions are in the columns of the forecast, which have no
        value in the rows before, and all other columns have none in them.
        """
        columns = {"time": self.time, **self.measured}
        for kind, found in self.predictions.items():
            columns |= {f"{name} {kind}": value for name, value in found.items()}
            if kind == FREE_RUN:
                columns |= {f"{name} {kind} std": value for name, value in self.std.items()}
        if self.future is None:
            return Table(columns)
        nothing, later = np.full(len(self.time), np.nan), np.full(len(self.future), np.nan)
        columns = {name: np.append(value, later) for name, value in columns.items()}
        columns["time"] = np.append(self.time, self.future.time)
        for what, lines in ((FORECAST, self.future.predictions), (f"{FORECAST} std", self.future.std)):
            columns |= {f"{name} {what}": np.append(nothing, line) for name, line in lines.items()}
        return Table(columns)

    def __str__(self):
        of_each = " of each record" if len(self.steps) > 1 else ""
        skipped = f"; the first {self.warmup}{of_each} are warm-up and not scored" if self.warmup else ""
        unmeasured = (
            "" if self.measured or not len(self.time) else "; the record has no measured outputs to compare with"
        )
        lines = [f"{len(self.time)} steps{skipped}{unmeasured}"]
        # Causes come before scores.
        beyond = [
            e.about(f"{'measured' if name in self.measured else 'input'} {name}") for name, e in self.outside.items()
        ]
        coming = [] if self.future is None else ["", *self._future_lines(self.future)]
        if not len(self.time):
            return "\n".join(["all measured outputs are needed to start from; none is left to score", *beyond, *coming])
        lines += beyond
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
        return "\n".join([*lines, *coming])

    def _future_lines(self, future: Continuation) -> list[str]:
        """The forecast in words: its first and last steps."""
        count, place = len(future), f"from {future.time[0]:.9g}"
        lines = [f"forecast of {count} step{'s' if count > 1 else ''} after the last measured outputs, {place}:"]
        if future.diverged_at is not None:
            lines.append(f"it diverges at step {future.diverged_at}")
        foreseen = {name: line[:, None] for name, line in future.predictions.items()}
        beyond = excursions(foreseen, self.trained_on)
        lines += [each.about(f"forecast {name}") for name, each in beyond.items() if each.low < each.high]
        half = MOST_PRINTED_STEPS // 2
        shown = range(count) if count <= MOST_PRINTED_STEPS else [*range(half), *range(count - half, count)]
        bars = [name for name in future.predictions if name in future.std]
        columns = [each for name in future.predictions for each in (name, *(["± 2 std"] if name in bars else []))]
        rows: list[tuple[str, ...]] = [("time", *columns)]
        for k in shown:
            if count > MOST_PRINTED_STEPS and k == count - half:
                rows.append(("…", *("" for _ in columns)))
            cells = [
                digits(float(each))
                for name, line in future.predictions.items()
                for each in (line[k], *([2 * future.std[name][k]] if name in bars else []))
            ]
            rows.append((f"{future.time[k]:.9g}", *cells))
        return lines + aligned(rows)

    def _score(self, measured: np.ndarray, predicted: np.ndarray, name: str) -> dict[str, Any]:
        broken = diverged_at(self.apart({name: predicted}, "last"), self.apart({name: measured}), ranges=self.spans)
        if broken is not None:
            return {"rmse": None, "r2": None, "diverged_at": broken}
        moves = np.nanmin(measured) < np.nanmax(measured)  # the R² of a constant target is undefined
        r2 = diagnostics.r2(measured, predicted) if moves else np.inf
        return {"rmse": diagnostics.rmse(measured, predicted), "r2": r2 if np.isfinite(r2) else None}


def forecast(
    model: Scaled,
    source: Any,
    ahead: Sequence[int] = (1,),
    *,
    warmup: int = 0,
    steps: int = 0,
    posterior: ErrorBars | None = None,
    reading: Reading | None = None,
) -> Forecast:
    """Predicts a record, one or several steps ahead and in free run, scores the predictions, and forecasts its end.

    If the last rows have no measured output, the predictions are scored on the rows before, and `future` of the result
    is the forecast of the last rows, which continues from the last measured values.

    Args:
        model: A network and its scalers, for example from `lddn_jax.identify`. A loop through an output that is closed
            is opened. A network without such a loop is predicted in a free run only.
        source: A `lddn_jax.data.Record`, or any source that `Record.of` takes, with columns named like the inputs and
            outputs of the network. Without output columns, only a free run is made. Outputs of a mapping may be shorter
            than its inputs: `{"u": u, "y": y}` with inputs that are known ahead.
        ahead: Numbers of steps ahead, in addition to the free run; ignored if measured outputs have gaps. Numbers below
            the smallest delay of the measured outputs stand for that delay.
        warmup: Number of first steps that are not scored.
        steps: Number of steps to forecast beyond the last row. A network with inputs, whose later values are unknown,
            can be forecast for as many steps as its smallest delay of an input.
        posterior: Posterior of the network, for error bars of free run and forecast.
        reading: How a file is read; see `lddn_jax.data.Reading`.

    Returns:
        A `Forecast`.

    Raises:
        DataError: If a column is missing, an input is NaN, the record is too short, or inputs are needed for `steps`.

    Example:
        >>> import jax, numpy as np, lddn_jax as lddn
        >>> net = lddn.Network(lddn.models.narx({"u": 1}, {"y": 1}, hidden=2), key=jax.random.key(0))
        >>> u, y = np.random.default_rng(0).normal(size=(2, 30, 1))
        >>> model = lddn.Scaled.fit(net, lddn.Sequences({"u": u, "measured_y": y}, y))
        >>> found = lddn.forecast(model, {"u": u[:, 0], "y": y[:, 0]}, ahead=(1, 3))
        >>> list(found.predictions), len(found.time)
        (['one step ahead', '3 steps ahead', 'free run'], 28)
        >>> lddn.forecast(model, {"u": u[:, 0], "y": y[:25, 0]}).future.time.tolist()  # inputs are known ahead
        [25.0, 26.0, 27.0, 28.0, 29.0]
    """
    fix = "a network with its scalers: Scaled(net, scalers), or Scaled.fit(net, data)"
    expect(Scaled, "model", model, "forecast(model, source, ahead)", fix)
    if not isinstance(ahead, Iterable) or isinstance(ahead, str):
        raise LDDNError(f"forecast: ahead={ahead!r} must be a sequence: ahead=({ahead!r},).")
    ahead = tuple(ahead)
    for k in ahead:
        check_positive("ahead", k)
    check_not_negative("warmup", warmup, numbers.Integral)
    check_not_negative("steps", steps, numbers.Integral)
    if steps > MOST_STEPS:
        raise LDDNError(f"steps={steps!r} are more than a forecast has, at most {MOST_STEPS}. Pass fewer steps.")
    model = loop_opened(model)
    closed, loops = loop_closed(model)
    if posterior is not None:
        posterior = _of_this_network(posterior, closed, loops)
    source = opened_source(source, reading, exogenous(model), model.net.topology.outputs)
    columns = () if isinstance(source, Record) else names_of(source)
    if columns and not any(name in columns for name in model.net.topology.outputs):
        return _unmeasured(model, source, steps, posterior, reading)
    if isinstance(source, Mapping):
        source = _filled_up(source, exogenous(model), model.net.topology.outputs)
    record = record_for(model, source, "mask", reading)
    outputs = model.net.topology.outputs
    rows = measured_rows(record, outputs)
    if not rows:
        raise DataError(
            f"no value of the outputs {list(outputs)} is measured, and a forecast starts from measured values. Leave "
            "out these columns for a free run from the middle of the training range."
        )
    _check_beyond(model, steps)
    held = max((d for d, _ in state_sizes(closed.topology).values()), default=0)
    coming = len(record) - rows + steps
    start = known_row(closed, record, rows) if coming else rows
    _check_inputs(model, record, start if coming else len(record))
    if rows <= held and coming:  # all that was measured is needed to start from
        past = Forecast(
            np.zeros(0), {}, {}, 0, (0,), trained_on=model.ranges, spans=output_ranges(model), notes=notes_on([record])
        )
    else:
        past = evaluate(model, [record.piece(0, rows)], ahead, warmup=warmup, posterior=posterior)
    if not coming:
        return past
    future = _continued(model, closed, record, (rows, start), steps, posterior)
    return dataclasses.replace(past, future=future)


def evaluate(
    model: Scaled,
    records: Sequence[Record],
    ahead: Sequence[int] = (1,),
    *,
    warmup: int = 0,
    persistence: bool = False,
    posterior: ErrorBars | None = None,
) -> Forecast:
    """Predicts records with measured outputs and scores the predictions.

    Args:
        model: A network with its loop open, and its scalers.
        records: Records in their own units.
        ahead: Numbers of steps ahead, in addition to the free run; ignored if measured outputs have gaps.
        warmup: Number of first steps of each record that are not scored.
        persistence: Whether to add the persistence baseline.
        posterior: Posterior of the network with its loop closed, for error bars.

    Raises:
        DataError: If a record is too short, or `warmup` covers the longest record.
    """
    model = loop_opened(model)
    net = model.net
    closed, loops = loop_closed(model)
    least = least_ahead(net, loops)
    records = _without_gaps(records, closed.topology)
    firsts = [starts_of(closed.topology, record, 1)[0] for record in records]
    steps = tuple(len(record) - first for record, first in zip(records, firsts, strict=True))
    if not 0 <= warmup < max(steps):
        raise DataError(
            f"warmup={warmup}: the longest record has only {max(steps)} steps after those that fill its delay state."
        )
    run = whole(closed.topology, [scaled(record, model.scalers) for record in records])
    found: dict[str, Any] = {}
    targets = [{name: record.targets[name] for name in net.topology.outputs} for record in records]
    if loops and not any(np.isnan(y).any() for each in targets for y in each.values()):
        data = opened(net, run, loops)
        for k in dict.fromkeys(max(k, least) for k in ahead):
            found[steps_ahead(k)] = (
                predict(net, data.inputs, data.state, steps=data.steps)
                if k == least
                else k_step(net, data, k, loops=loops)
            )
    found[FREE_RUN] = predict(closed, run.inputs, run.state, steps=run.steps)
    lines = {kind: joined(model.in_units(outputs), steps) for kind, outputs in found.items()}
    if persistence:
        earlier = [
            {name: y[np.maximum(np.arange(first, len(y)) - least, 0)] for name, y in each.items()}
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
        trained_on=model.ranges,
        std={} if posterior is None else joined(_std(model, posterior, run), steps),
        run=run,
        ahead=least,
        spans=output_ranges(model),
        notes=notes_on(records),
    )


def _without_gaps(records: Sequence[Record], topology: Topology) -> Sequence[Record]:
    """Cuts records where inputs are missing, which no simulation can cross."""
    if not any(np.isnan(x).any() for record in records for x in record.inputs.values()):
        return records
    shortest = max(plan(topology).longest_delays.values(), default=0) + 1
    pieces = [piece for record in records for piece in record.unbroken(shortest, targets=False)]
    if not pieces:
        raise DataError(
            f"no record has {shortest} samples without a missing input, all but one of which fill the delays."
        )
    return pieces


def evaluate_sequences(net: Network, data: Sequences) -> Forecast:
    """Predicts sequences with a network without scalers and scores the predictions.

    A network with a loop is evaluated in free run, any other one step ahead, or as many as the smallest delay of its
    measured outputs.

    Args:
        net: The network, with its loop open or closed.
        data: `Sequences` with targets, in the units of the network.

    Raises:
        ShapeError: If data does not match the network.
    """
    sizes = net.topology.sizes
    inputs = as_signals("input", data.inputs, {name: sizes[name] for name in net.topology.input_names}, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in net.topology.outputs}, net.dtype)
    state = started(net.topology, data)
    run = Sequences(inputs, targets, state, data.weights)
    outputs = predict(net, inputs, state, steps=data.steps)
    least = least_ahead(net, measured_loops(net.topology))
    steps = (data.steps,) * int(np.prod(data.batch))
    has_loop = bool(plan(net.topology).longest_delays.keys() - net.topology.input_names)

    def lines(signals: Mapping[str, Any]) -> Lines:
        flat = {name: np.asarray(x).reshape(-1, data.steps, np.shape(x)[-1]) for name, x in signals.items()}
        return joined(flat, steps)

    return Forecast(
        time=np.arange(sum(steps), dtype=float),
        measured=lines(counted(targets, data.weights)),
        predictions={FREE_RUN if has_loop else steps_ahead(least): lines(outputs)},
        warmup=0,
        steps=steps,
        inputs=lines(inputs),
        run=run,
        ahead=least,
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


def least_ahead(net: Network, loops: Mapping[str, str]) -> int:
    """Returns how many steps ahead a network predicts with its loop open: the smallest delay of measured outputs.

    A delay of 0, as after `remove_delay`, counts as 1: the targets are later values than those measured.
    """
    return max(shortest_delay(net.topology, loops) or 1, 1)


def loop_opened(model: Scaled) -> Scaled:
    """Returns a model whose loops through its outputs are open, so that it reads measured outputs."""
    topology = model.net.topology
    if measured_loops(topology):
        return model
    net, scalers = model.net, dict(model.scalers)
    for name in topology.outputs:
        late = [c.to for c in topology.connections if c.source == name and c.delays[0] > 0]
        if late and measured_name(name) not in topology.sizes:
            net = open_loop(net, output=name, input=measured_name(name), to=late)
            scalers[measured_name(name)] = scalers[name]
    return Scaled(net, scalers) if net is not model.net else model


def loop_closed(model: Scaled) -> tuple[Network, dict[str, str]]:
    """Returns the network with its loops closed, and the output of each feedback input.

    Raises:
        DataError: If a feedback input is read without delay.
    """
    topology = model.net.topology
    loops = measured_loops(topology)
    at_once = [c for c in topology.connections if c.source in loops and c.delays[0] == 0]
    if at_once:
        raise DataError(
            f"{at_once[0]}: the network reads {at_once[0].source!r} without delay, as after lddn.remove_delay, so its "
            "outputs are later values than those in the same row. Undo that and forecast the later values: "
            "forecast(lddn.Scaled(lddn.add_delay(model.net), model.scalers), source, steps=1)."
        )
    return closed_over(model.net, loops), loops


def output_ranges(model: Scaled) -> dict[str, float]:
    """Returns twice the unit of each element of an output: the training range with `MinMax`, else two deviations."""
    scales = {name: 2 * np.asarray(model.scalers[name].error_scale()) for name in model.net.topology.outputs}
    return {name: float(scale[0, 0]) for name, scale in channels({k: v[None] for k, v in scales.items()}).items()}


def exogenous(model: Scaled) -> list[str]:
    """Returns the names of the inputs that are not feedback inputs."""
    loops = measured_loops(model.net.topology)
    return [i.name for i in model.net.topology.inputs if i.name not in loops]


def record_for(model: Scaled, source: Any, missing: str = "error", reading: Reading | None = None) -> Record:
    """Builds the record of a network's inputs and outputs from a source; a `Record` is returned unchanged.

    Args:
        model: A network with its loop open.
        source: As in `Record.of`; a column `time` that is not a signal gives the sampling instants.
        missing: As in `Record`.
        reading: How a file is read.
    """
    if isinstance(source, Record):
        needed, held = (*exogenous(model), *model.net.topology.outputs), {**source.inputs, **source.targets}
        for name in needed:
            if name not in held:
                raise DataError(f"{source} has no {name!r}; the network needs all of {list(needed)}.")
        return source
    outputs = list(model.net.topology.outputs)
    return Record.of(source, exogenous(model), outputs, missing=missing, reading=reading)


def _unmeasured(
    model: Scaled, source: Any, steps: int, posterior: ErrorBars | None, reading: Reading | None
) -> Forecast:
    inputs = exogenous(model)
    if not inputs or steps:
        why = "steps beyond the end start from measured values" if inputs else "the network has no other input"
        raise DataError(
            f"the record has none of the outputs {list(model.net.topology.outputs)}, and {why}. Pass a record with "
            "measured outputs to start from."
        )
    signals, _, instants, notes = signals_of(source, inputs, [], None, reading)
    units = {name: model.scalers[name].apply(signal)[None] for name, signal in signals.items()}
    data = Sequences(units, None)  # raises if an input is NaN
    free = predict(loop_closed(model)[0], data.inputs)
    return Forecast(
        time=np.arange(data.steps, dtype=float) if instants is None else instants,
        measured={},
        predictions={FREE_RUN: joined(model.in_units(free), (data.steps,))},
        warmup=0,
        steps=(data.steps,),
        inputs=_rows([signals], [0]),
        trained_on=model.ranges,
        std={} if posterior is None else joined(_std(model, posterior, data), (data.steps,)),
        notes=(f"{label_of(source) or 'the record'}: {'; '.join(notes)}",) if notes else (),
    )


def _continued(
    model: Scaled,
    closed: Network,
    record: Record,
    measured_and_known: tuple[int, int],
    steps: int,
    posterior: ErrorBars | None,
) -> Continuation:
    """The forecast of the rows after the measured ones, and of `steps` more."""
    rows, start = measured_and_known
    outputs, names = closed.topology.outputs, exogenous(model)
    units = scaled(record, model.scalers)
    state, count = state_after(closed, units, rows, start), len(record) - rows + steps
    # Inputs beyond the last row are not read: their delays are at least `steps`.
    inputs = {name: _longer(np.asarray(units.inputs[name]), steps)[None, rows:] for name in names}
    data = Sequences(inputs, None if inputs else dict.fromkeys(outputs, np.zeros((1, count, 1))), state)
    free = model.in_units(predict(closed, inputs, state, steps=count))
    lines = joined(free, (count,))
    measured = _rows([{name: record.targets[name][:rows] for name in outputs}], [0])
    ranges = output_ranges(model)
    return Continuation(
        time=_longer(_instants(record), steps, record.sample_time or 1.0)[rows:],
        predictions=lines,
        inputs=_rows([{name: record.inputs[name] for name in names}], [rows]) if names else {},
        std={} if posterior is None else joined(_std(model, posterior, data), (count,)),
        diverged_at=_first_far(lines, measured, ranges),
    )


def _first_far(lines: Lines, measured: Lines, ranges: Mapping[str, float]) -> int | None:
    """The first step at which a forecast is far outside of all measured values."""
    steps = len(next(iter(lines.values())))
    first = [
        diverged_at(
            {name: line[:, None]},
            {name: np.resize([np.nanmin(measured[name]), np.nanmax(measured[name])], (steps, 1))},
            ranges=ranges,
        )
        for name, line in lines.items()
    ]
    return min((k for k in first if k is not None), default=None)


def _longer(signal: np.ndarray, steps: int, by: float = 0.0) -> np.ndarray:
    """The signal and `steps` more values along time: the last one, increased by `by` at each step."""
    more = np.arange(1, steps + 1, dtype=float).reshape(-1, *(1,) * (signal.ndim - 1))
    return np.concatenate([signal, signal[-1:] + by * more]) if steps else signal


def _filled_up(source: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, Any]:
    """The columns of a mapping, with outputs that are shorter than the inputs continued by NaN, and times by steps."""
    if not all(name in source for name in (*inputs, *outputs)):
        return dict(source)  # whatever is missing is reported where the record is made
    steps = max((len(np.atleast_1d(source[name])) for name in inputs), default=0)
    filled = dict(source)
    for name in (*outputs, *(["time"] if "time" in source else [])):
        column = np.atleast_1d(source[name])
        missing = steps - len(column)
        if 0 < missing < steps and np.issubdtype(column.dtype, np.number):
            by = float(column[-1] - column[-2]) if name == "time" and len(column) > 1 else np.nan
            filled[name] = _longer(column.astype(float), missing, by)
    return filled


def _check_inputs(model: Scaled, record: Record, start: int) -> None:
    """Raises a DataError if an input is missing in a row that the forecast passes."""
    for name in exogenous(model):
        missing = np.flatnonzero(np.isnan(record.inputs[name][start:]).any(axis=1))
        if missing.size:
            raise DataError(
                f"input {name!r} is missing in row {start + int(missing[0])}, which the forecast needs, the first of "
                f"{missing.size}. Fill the gap, or end the record before it."
            )


def _check_beyond(model: Scaled, steps: int) -> None:
    """Raises a DataError if inputs are needed that are not known beyond the last row."""
    names = exogenous(model)
    delay = shortest_delay(model.net.topology, names)
    if steps and delay is not None and steps > delay:
        known = f"for {delay} step{'s' if delay > 1 else ''}, its smallest delay" if delay else "for no step"
        raise DataError(
            f"steps={steps} beyond the last row: the network reads {', '.join(names)}, which are known {known}. Append "
            f"{steps} rows with {', '.join(names)} and without a value of {', '.join(model.net.topology.outputs)}."
        )


def _of_this_network(posterior: ErrorBars, closed: Network, loops: Mapping[str, str]) -> ErrorBars:
    """The posterior with its loop closed, after checking that it is one of this network."""
    needed = "the posterior of its network, such as the result of lddn.posterior(fitted, data)"
    expect(ErrorBars, "posterior", posterior, "forecast(model, source, posterior=...)", needed)
    for input, output in loops.items():
        if input in posterior.net.topology.input_names:
            posterior = posterior.close_loop(output=output, input=input)
    if not same_network(posterior.net, closed):
        raise DataError(
            "forecast: the posterior is that of another network. Pass the one that was computed for this network, or "
            "omit posterior."
        )
    return posterior


def same_network(one: Network, other: Network) -> bool:
    """Returns whether two networks have the same topology and weights."""
    if one.topology != other.topology:
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _std(model: Scaled, posterior: ErrorBars, data: Sequences) -> Signals:
    """Standard deviations of a measurement in the units of the record, `(records, time, size)`."""
    bars = posterior.predict(cast(Signals, data.inputs) if data.inputs else {}, data.state, steps=data.steps)
    return model.errors_in_units(bars.std)


def _instants(record: Record) -> Float[np.ndarray, " time"]:
    return np.asarray(np.arange(len(record), dtype=float) if record.time is None else record.time)


def _rows(records: Sequence[Mapping[str, np.ndarray]], firsts: Sequence[int]) -> Lines:
    """Rows of every record from its first step on, concatenated."""
    each = list(zip(records, firsts, strict=True))
    whole = {name: np.concatenate([record[name][first:] for record, first in each]) for name in records[0]}
    return {name: line[:, 0] for name, line in channels(whole).items()}


def _moments(records: Sequence[Record], firsts: Sequence[int], steps: Sequence[int]) -> Float[np.ndarray, " time"]:
    """Sampling instants of a record or of its pieces; row numbers for unknown instants and for several records."""
    found = np.concatenate([_instants(record)[first:] for record, first in zip(records, firsts, strict=True)])
    return found if (np.diff(found) > 0).all() else np.arange(sum(steps), dtype=float)
