"""Forecast of a record: its predictions, scored, and a free run from the last measured outputs on.

A record without measured outputs has only a free run. It starts from a delay state of zeros in scaled units, the middle
of the training range with `MinMax` scalers.
"""

import dataclasses
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lddn_jax.checks import check_not_negative, check_positive, expect
from lddn_jax.data.decimation import decimated
from lddn_jax.data.reading import Reading
from lddn_jax.data.records import Record, notes_on
from lddn_jax.data.scaling import scaled
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.sources import label_of, names_of, opened_source, signals_of
from lddn_jax.errors import DataError, LDDNError, fix
from lddn_jax.network.committee import Model
from lddn_jax.prediction.baselines import RunsFree, rows_of_records
from lddn_jax.prediction.continuation import Continuation, known_row, state_after
from lddn_jax.prediction.error_bars import ErrorBars
from lddn_jax.prediction.estimated_states import ESTIMATE, fitted_steps
from lddn_jax.prediction.evaluator import deviations, evaluate, instants_of_rows, sampled_otherwise
from lddn_jax.prediction.feedback import (
    exogenous,
    loop_closed,
    loop_opened,
    output_ranges,
    record_for,
    same_network,
)
from lddn_jax.prediction.forecast_result import FREE_RUN, Forecast, Lines, joined
from lddn_jax.prediction.free_run import diverged_at
from lddn_jax.prediction.horizons import shortest_delay
from lddn_jax.prediction.model_outputs import outputs_of
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.delays import state_sizes

MOST_STEPS = 10_000_000  # steps of a forecast beyond the last row


def forecast(
    model: Scaled,
    source: Any,
    ahead: Sequence[int] = (1,),
    *,
    warmup: int = 0,
    steps: int = 0,
    posterior: ErrorBars | None = None,
    first_states: str | int = ESTIMATE,
    linear: RunsFree | None = None,
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
        posterior: Posterior of the network, for error bars of free run and forecast; those of a committee come from the
            spread of its members.
        first_states: Values before the first step of layers that are not measured, such as the states of a state-space
            model: "estimate", "zeros", or the number of first steps that they are estimated from. By default it is
            `warmup`, or chosen, at most 100, if that is shorter than 20 steps. Steps that are fitted are scored, unless
            they are warm-up; the notes of the result say so.
        linear: A linear model to compare with, in the units of the record: its free run is another row of scores.
        reading: How a file is read; see `lddn_jax.data.Reading`.

    Returns:
        A `Forecast`.

    Raises:
        DataError: If a column is missing, an input is NaN, the record is too short, or inputs are needed for `steps`.
        LDDNError: If an argument is out of range.

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
    needed = "a network with its scalers: Scaled(net, scalers), or Scaled.fit(net, data)"
    expect(Scaled, "model", model, "forecast(model, source, ahead)", needed)
    if not isinstance(ahead, Iterable) or isinstance(ahead, str):
        raise LDDNError(f"forecast: ahead={ahead!r} must be a sequence: ahead=({ahead!r},).")
    ahead = tuple(ahead)
    for k in ahead:
        check_positive("ahead", k)
    check_not_negative("warmup", warmup, numbers.Integral)
    check_not_negative("steps", steps, numbers.Integral)
    fitted = fitted_steps(first_states, int(warmup), "forecast(model, source, first_states=...)")
    if steps > MOST_STEPS:
        given = fix(f"steps={steps!r}", f"--steps {steps}")
        raise LDDNError(f"{given} are more than a forecast has, at most {MOST_STEPS}. Pass fewer steps.")
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
    rows = record.measured_rows(outputs)
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
            *(np.zeros(0), {}, {}, 0, (0,)),
            trained_on=model.ranges,
            spans=output_ranges(model),
            notes=(*notes_on([record]), *sampled_otherwise(model, [record])),
            conformal=model.bands,
        )
    else:
        past = evaluate(
            model,
            [record.piece(0, rows)],
            ahead,
            warmup=warmup,
            posterior=posterior,
            first_states=first_states,
            linear=linear,
        )
    if not coming:
        return past
    future = _continued(model, closed, record, (rows, start), steps, posterior, fitted)
    return dataclasses.replace(past, future=future)


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
    n = 1 if reading is None else reading.decimate
    if n > 1:
        signals = {name: decimated(signal, n) for name, signal in signals.items()}
        instants, notes = None if instants is None else instants[::n], (*notes, f"decimated by {n}")
    units = {name: model.scalers[name].apply(signal)[None] for name, signal in signals.items()}
    data = Sequences(units, None)  # raises if an input is NaN
    free = outputs_of(loop_closed(model)[0], data.inputs)
    return Forecast(
        time=np.arange(data.steps, dtype=float) if instants is None else instants,
        measured={},
        predictions={FREE_RUN: joined(model.in_units(free.mean), (data.steps,))},
        warmup=0,
        steps=(data.steps,),
        inputs=rows_of_records([signals], [0]),
        trained_on=model.ranges,
        std=joined(deviations(model, free, posterior, data), (data.steps,)),
        notes=(*([f"{label_of(source) or 'the record'}: {'; '.join(notes)}"] if notes else []), *free.notes),
    )


def _continued(
    model: Scaled,
    closed: Model,
    record: Record,
    measured_and_known: tuple[int, int],
    steps: int,
    posterior: ErrorBars | None,
    fitted: int | None,
) -> Continuation:
    """The forecast of the rows after the measured ones, and of `steps` more."""
    rows, start = measured_and_known
    outputs, names = closed.topology.outputs, exogenous(model)
    units = scaled(record, model.scalers)
    state, count = state_after(closed, units, rows, start, fitted), len(record) - rows + steps
    # Inputs beyond the last row are not read: their delays are at least `steps`.
    inputs = {name: _longer(np.asarray(units.inputs[name]), steps)[None, rows:] for name in names}
    data = Sequences(inputs, None if inputs else dict.fromkeys(outputs, np.zeros((1, count, 1))), state)
    free = outputs_of(closed, inputs, state, steps=count)
    lines = joined(model.in_units(free.mean), (count,))
    measured = rows_of_records([{name: record.targets[name][:rows] for name in outputs}], [0])
    ranges = output_ranges(model)
    return Continuation(
        time=_longer(instants_of_rows(record), steps, record.sample_time or 1.0)[rows:],
        predictions=lines,
        inputs=rows_of_records([{name: record.inputs[name] for name in names}], [rows]) if names else {},
        std=joined(deviations(model, free, posterior, data), (count,)),
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
            f"{fix(f'steps={steps}', f'--steps {steps}')} beyond the last row: the network reads {', '.join(names)}, "
            f"whose values are known {known}. Append {steps} rows with {', '.join(names)} and without a value of "
            f"{', '.join(model.net.topology.outputs)}{fix('', ', or pass --inputs-from FILE')}."
        )


def _of_this_network(posterior: ErrorBars, closed: Model, loops: Mapping[str, str]) -> ErrorBars:
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
