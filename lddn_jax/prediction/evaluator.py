"""Evaluation of a network on records: predictions in the units of the records, scores and divergence.

    one step ahead    ŷ(t) uses measured outputs up to t − 1: the network with its loop open
    k steps ahead     ŷ(t) uses measured outputs up to t − k
    free run          ŷ(t) uses only measured outputs before the first step: the network with its loop closed
    persistence       ŷ(t) = y(t−1), a baseline; another one is the free run of a linear model

A network that reads measured outputs through delays of at least d > 1 predicts d steps ahead with its loop open, and is
compared with the persistence ŷ(t) = y(t−d). Values before the first step of layers that are not measured, such as the
states of a state-space model, are estimated from the first steps of each record (`estimated_states.py`). For a record
without measured outputs only a free run is possible. It starts from a delay state of zeros in scaled units, the middle
of the training range with `MinMax` scalers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from lddn_jax.data.records import Record, notes_on
from lddn_jax.data.scaling import scaled
from lddn_jax.data.sequences import Sequences
from lddn_jax.data.windowing import starts_of, whole
from lddn_jax.errors import DataError
from lddn_jax.losses import counted
from lddn_jax.network.committee import Model
from lddn_jax.network.rewiring import measured_loops
from lddn_jax.network.signals import Signals, as_signals
from lddn_jax.prediction.baselines import RunsFree, linear_lines, persistence_lines, rows_of_records
from lddn_jax.prediction.error_bars import ErrorBars
from lddn_jax.prediction.estimated_states import ESTIMATE, about_states, fitted_steps, with_first_states
from lddn_jax.prediction.feedback import exogenous, least_ahead, loop_closed, loop_opened, opened, output_ranges
from lddn_jax.prediction.forecast_result import FREE_RUN, LINEAR, PERSISTENCE, Forecast, Lines, joined, steps_ahead
from lddn_jax.prediction.horizons import k_step
from lddn_jax.prediction.model_outputs import ModelOutputs, outputs_of
from lddn_jax.prediction.scaled import Scaled
from lddn_jax.simulation.delays import started
from lddn_jax.simulation.simulate import predict
from lddn_jax.topology.plan import plan
from lddn_jax.topology.topology import Topology


def evaluate(
    model: Scaled,
    records: Sequence[Record],
    ahead: Sequence[int] = (1,),
    *,
    warmup: int = 0,
    persistence: bool = False,
    posterior: ErrorBars | None = None,
    first_states: str | int = ESTIMATE,
    linear: RunsFree | None = None,
) -> Forecast:
    """Predicts records with measured outputs and scores the predictions.

    Args:
        model: A network with its loop open, and its scalers.
        records: Records in their own units.
        ahead: Numbers of steps ahead, in addition to the free run; ignored if measured outputs have gaps.
        warmup: Number of first steps of each record that are not scored.
        persistence: Whether to add the persistence baseline.
        posterior: Posterior of the network with its loop closed, for error bars.
        first_states: First states of layers that are not measured: "estimate", "zeros", or the number of first steps
            that they are estimated from. By default it is `warmup`, or chosen if that is shorter than 20 steps.
        linear: A linear model to compare with, in the units of the records, such as a `lddn_jax.linear.LinearModel`.

    Raises:
        DataError: If a record is too short, or `warmup` covers the longest record.
        LDDNError: If `first_states` is anything else.
    """
    fitted = fitted_steps(first_states, warmup, "evaluate(model, records, first_states=...)")
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
    run, used = with_first_states(closed, run, fitted)
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
    free = outputs_of(closed, run.inputs, run.state, steps=run.steps)
    found[FREE_RUN] = free.mean
    lines = {kind: joined(model.in_units(outputs), steps) for kind, outputs in found.items()}
    if persistence:
        lines[PERSISTENCE] = persistence_lines(targets, firsts, least)
    if linear is not None:
        lines[LINEAR] = linear_lines(linear, records, firsts, net.topology.outputs, used)
    names = exogenous(model)
    inputs = [{name: record.inputs[name] for name in names} for record in records]
    return Forecast(
        time=_moments(records, firsts, steps),
        measured=rows_of_records(targets, firsts),
        predictions=lines,
        warmup=warmup,
        steps=steps,
        inputs=rows_of_records(inputs, firsts),
        trained_on=model.ranges,
        std=joined(deviations(model, free, posterior, run), steps),
        run=run,
        ahead=least,
        spans=output_ranges(model),
        notes=(
            *notes_on(records),
            *sampled_otherwise(model, records),
            *about_states(closed, used, warmup),
            *free.notes,
        ),
        fitted_steps=used,
        conformal=model.bands,
    )


def evaluate_sequences(net: Model, data: Sequences) -> Forecast:
    """Predicts sequences with a network without scalers and scores the predictions.

    A network with a loop is evaluated in free run, any other one step ahead, or as many as the smallest delay of its
    measured outputs.

    Args:
        net: The network, with its loop open or closed.
        data: `Sequences` with targets, in the units of the network. With `train_state`, first states of layers that are
            not measured are estimated from their first steps.

    Raises:
        ShapeError: If data does not match the network.
    """
    sizes = net.topology.sizes
    inputs = as_signals("input", data.inputs, {name: sizes[name] for name in net.topology.input_names}, net.dtype)
    targets = as_signals("target", data.targets, {name: sizes[name] for name in net.topology.outputs}, net.dtype)
    run, used = Sequences(inputs, targets, started(net.topology, data), data.weights), 0
    if data.train_state:
        run, used = with_first_states(net, run)
    found = outputs_of(net, inputs, run.state, steps=data.steps)
    least = least_ahead(net, measured_loops(net.topology))
    steps = (data.steps,) * int(np.prod(data.batch))
    has_loop = bool(plan(net.topology).longest_delays.keys() - net.topology.input_names)

    def lines(signals: Mapping[str, Any]) -> Lines:
        flat = {name: np.asarray(x).reshape(-1, data.steps, np.shape(x)[-1]) for name, x in signals.items()}
        return joined(flat, steps)

    return Forecast(
        time=np.arange(sum(steps), dtype=float),
        measured=lines(counted(targets, data.weights)),
        predictions={FREE_RUN if has_loop else steps_ahead(least): lines(found.mean)},
        warmup=0,
        steps=steps,
        inputs=lines(inputs),
        std=lines(found.bars.std) if has_loop and found.bars is not None else {},
        run=run,
        ahead=least,
        notes=(*about_states(net, used, 0), *found.notes),
        fitted_steps=used,
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


def deviations(model: Scaled, free: ModelOutputs, posterior: ErrorBars | None, data: Sequences) -> Signals:
    """Standard deviations of a measurement in the units of the record, `(records, time, size)`; {} if unknown.

    Args:
        model: The model.
        free: Its free run on `data`; a committee knows its spread.
        posterior: The posterior, if there is one; it comes first.
        data: Sequences of the closed loop.
    """
    if posterior is None:
        return {} if free.bars is None else model.errors_in_units(free.bars.std)
    bars = posterior.predict(cast(Signals, data.inputs) if data.inputs else {}, data.state, steps=data.steps)
    return model.errors_in_units(bars.std)


def sampled_otherwise(model: Scaled, records: Sequence[Record]) -> list[str]:
    """A warning of records that are sampled otherwise than those the model was trained on, if they are."""
    warning = None if model.sampling is None else model.sampling.about(records)
    return [] if warning is None else [warning]


def instants_of_rows(record: Record) -> Float[np.ndarray, " time"]:
    """Sampling instants of a record; row numbers if it has none."""
    return np.asarray(np.arange(len(record), dtype=float) if record.time is None else record.time)


def _moments(records: Sequence[Record], firsts: Sequence[int], steps: Sequence[int]) -> Float[np.ndarray, " time"]:
    """Sampling instants of a record or of its pieces; row numbers for unknown instants and for several records."""
    found = np.concatenate([instants_of_rows(record)[first:] for record, first in zip(records, firsts, strict=True)])
    return found if (np.diff(found) > 0).all() else np.arange(sum(steps), dtype=float)
